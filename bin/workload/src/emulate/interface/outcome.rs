//! What became of one attempt to send a record.

use std::time::Duration;

/// What became of one attempt to send a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendOutcome {
    /// It is in Kafka.
    Acknowledged,
    /// It may be sent again, not before this pause if there is one.
    Retry {
        /// Why it was not taken.
        why: String,
        /// What `Retry-After` asked for.
        after: Option<Duration>,
    },
    /// This record will never be taken; others will.
    Refused(String),
    /// No record will be taken.
    Stop(String),
}
