//! Results over HTTP: tables as rows and as a stream of changes, and why a number is what it is.
#![forbid(unsafe_code)]

mod accept;
mod answer;
mod api;
mod body;
mod cell;
mod error;
mod events;
mod feeds;
mod follow;
mod frontier;
mod load;
mod objects;
mod order;
mod params;
mod pins;
mod postgres;
mod provenance;
mod query;
mod queue;
mod recent;
mod records;
mod routes;
mod rows;
mod shared;
mod state;
mod status;
mod wait;

pub use api::{Api, ApiOptions, absent};
pub use state::Bounds;
pub use status::{
    Freshness, LoggedError, OperatorStatus, PartitionStatus, Phase, ReplayStatus, Status, StatusBody, Trend,
    handle_status,
};

#[cfg(test)]
mod tests;
