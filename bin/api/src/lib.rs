//! Results over HTTP: tables as rows and as a stream of changes, and why a number is what it is.

#![forbid(unsafe_code)]

mod status;

pub use status::{
    Freshness, LoggedError, OperatorStatus, PartitionStatus, Phase, ReplayStatus, Status, StatusBody, Trend,
    handle_status,
};
