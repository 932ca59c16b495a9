//! The Postgres sink against a real PostgreSQL: a private cluster of the machine's own binaries.
//!
//! Without PostgreSQL the tests are skipped, and fail under CI.

mod cluster;
mod commit;
mod crash;
mod dead_letters;
mod fail_over;
mod fence;
mod files;
mod forget;
mod history;
mod latency;
mod listener;
#[path = "../../../tests/src/need.rs"]
mod need;
mod proxy;
mod read;
mod reconnect;
mod results;
mod schema;
mod surplus;
mod tables;
mod tls;
mod upgrade;
