//! The FastAPI era: one object a request, a path for each kind.

use super::super::item::Item;
use super::dialect::Dialect;
use super::http::Call;

const PATHS: [&str; 3] = ["/pin/", "/geo/", "/user/"];

/// `POST /pin/`.
pub struct Pin;

impl Dialect for Pin {
    fn call(&self, item: &Item) -> Call {
        Call {
            put: false,
            path: PATHS[usize::from(item.kind)].to_owned(),
            content_type: "application/json",
            body: item.value.clone(),
        }
    }
}
