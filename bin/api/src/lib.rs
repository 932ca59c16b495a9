//! Results over HTTP: tables as rows and as a stream of changes, and why a number is what it is.
//!
//! ```text
//! engine ─ commits ─▶ queue ─▶ follow ─▶ shared: State (all tables at one commit), recent changes
//!        │                       ▲             │                  │
//!        │                  load (PostgreSQL)  ▼                  ▼
//!        │                                 routes: rows       feeds ─▶ a stream for each client
//!        └─ what it does ─▶ status ─▶ routes: status, dataflow         ▲ snapshots of large tables
//!                 PostgreSQL, in one transaction ─▶ routes: why, lineage, rejects, gaps
//! ```
//!
//! | module | does |
//! |---|---|
//! | `api`, `routes` | takes a request to its route, and the answer to the server |
//! | `queue`, `follow`, `load` | takes commits over from the engine, or reads the tables where there are none yet |
//! | `state`, `rows`, `recent`, `shared` | what is held in memory, copied on write |
//! | `feeds`, `events` | streams of changes |
//! | `query`, `params`, `cell`, `order` | filters, and values as JSON and CSV, as PostgreSQL has them |
//! | `postgres` | connections, and snapshots of one commit |
//! | `provenance`, `objects`, `records`, `audit` | where records come from, what they say, and what the lake has of the log |
//! | `status` | what the run is doing |
//!
//! The engine waits for none of this: it hands its commits to a bounded queue.

#![forbid(unsafe_code)]

mod accept;
mod answer;
mod api;
mod audit;
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
pub use audit::Auditor;
pub use setting::Setting;
pub use state::Bounds;
pub use status::{
    DataflowBody, DataflowEdge, DataflowOperator, Latency, LoggedError, NodeKind, OperatorStatus, PartitionStatus,
    Percentiles, Phase, ReplayStatus, Status, StatusBody, Trend, handle_dataflow, handle_status,
};

#[cfg(test)]
mod tests;
