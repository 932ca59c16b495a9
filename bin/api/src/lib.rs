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
mod setting;
mod shared;
mod state;
mod status;
mod wait;

pub use api::{Api, ApiOptions, absent};
pub use setting::Setting;
pub use state::Bounds;
pub use status::{
    DataflowBody, DataflowEdge, DataflowOperator, Latency, LoggedError, NodeKind, OperatorStatus, PartitionStatus,
    Percentiles, Phase, ReplayStatus, Status, StatusBody, Trend, handle_dataflow, handle_status,
};

#[cfg(test)]
mod tests;
