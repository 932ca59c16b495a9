//! What a run is doing.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// It lists the lake, takes the fence, and looks at the tables and at Kafka.
    #[serde(rename = "listing")]
    Listing,
    /// It reads history, and what follows it in Kafka, up to the first commit.
    #[serde(rename = "replaying")]
    Replaying,
    /// It follows Kafka, and records wait for ten seconds or longer.
    #[serde(rename = "catching up")]
    CatchingUp,
    /// It follows Kafka.
    #[serde(rename = "live")]
    Live,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Listing => "listing",
            Phase::Replaying => "replaying",
            Phase::CatchingUp => "catching up",
            Phase::Live => "live",
        })
    }
}
