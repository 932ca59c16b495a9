//! What an HTTP interface has of its own.

use super::super::item::Item;
use super::http::{Answer, Call};
use super::outcome::SendOutcome;

/// An HTTP interface: how to ask, and what a success really says. Other answers mean the same in all of them.
pub trait Dialect: Send + Sync {
    /// The request for a record.
    fn call(&self, item: &Item) -> Call;

    /// What a 2xx answer means.
    fn success(&self, _answer: &Answer) -> SendOutcome {
        SendOutcome::Acknowledged
    }
}
