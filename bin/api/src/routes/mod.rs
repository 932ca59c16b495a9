//! One file for each route.

pub mod changes;
pub mod frontier;
pub mod gaps;
pub mod openapi;
pub mod rejects;
pub mod table;
pub mod tables;

/// The routes, as the description writes them.
pub const PATHS: [&str; 8] = [
    "/api/results",
    "/api/results/{table}",
    "/api/results/{table}/changes",
    "/api/changes",
    "/api/rejects",
    "/api/gaps",
    "/api/frontier",
    "/openapi.json",
];
