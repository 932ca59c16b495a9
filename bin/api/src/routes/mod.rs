//! One file for each route; `page`, `stored` and `read` are shared.

pub mod audit;
pub mod changes;
pub mod configuration;
pub mod dataflow;
pub mod frontier;
pub mod gaps;
pub mod lineage;
pub mod openapi;
mod page;
mod read;
pub mod rejects;
pub mod status;
mod stored;
pub mod table;
pub mod tables;
pub mod why;

/// The routes, as the description writes them.
pub const PATHS: [&str; 14] = [
    "/api/status",
    "/api/dataflow",
    "/api/configuration",
    "/api/results",
    "/api/results/{table}",
    "/api/results/{table}/changes",
    "/api/changes",
    "/api/why/{table}",
    "/api/lineage/{topic}/{partition}/{offset}",
    "/api/rejects",
    "/api/gaps",
    "/api/audit",
    "/api/frontier",
    "/openapi.json",
];
