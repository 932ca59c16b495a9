//! `GET /openapi.json`: the routes and what they answer, in OpenAPI 3.1.

use crate::accept::JSON;
use crate::answer::{Answer, answer as whole};
use bytes::Bytes;
use hyper::StatusCode;

/// The description.
pub const DESCRIPTION: &str = include_str!("../openapi.json");

/// Answers with the description.
pub fn answer() -> Answer {
    let body = vec![Bytes::from_static(DESCRIPTION.as_bytes())];
    whole(StatusCode::OK, JSON, body)
}
