//! Tables outside of the process: PostgreSQL and CSV files. The meaning of the tables is not known here: they come as
//! [`values::Table`]s.
//!
//! ```text
//!  history ──▶ Stager ──▶ staging tables ──┐
//!                                          ▼
//!  Step (changes, frontier) ──▶ Sink ──▶ one transaction: fence, tables, frontier, NOTIFY ──▶ Snapshot, verify
//! ```
//!
//! The guarantee: every committed transaction holds, in all tables at once, the answer for one recorded vector of log
//! offsets, and nothing is applied twice or by a run that was superseded.
//!
//! | module | does |
//! |---|---|
//! | [`schema`] | creates and compares the tables |
//! | [`fence`] | who may commit |
//! | [`sink`], [`commit`] | one transaction per step, tried until it is done |
//! | [`progress`] | what the tables answer for |
//! | [`history`], [`stager`] | millions of cleaned rows, staged beside the tables and settled by position |
//! | [`read`], [`snapshot`] | tables, frontier and SQL definitions in one snapshot |
//! | [`mod@csv`], [`text`] | files, and values as Postgres prints them |
//! | [`failpoint`] | where a test may kill the process |

#![forbid(unsafe_code)]

mod access;
mod backoff;
mod changes;
pub mod commit;
pub mod config;
pub mod conninfo;
mod control;
pub mod csv;
mod definition;
mod encode;
pub mod error;
pub mod failpoint;
pub mod fence;
mod float_text;
mod hash;
pub mod history;
mod numeric;
mod postgres_error;
pub mod progress;
mod quote;
pub mod read;
mod reject_cap;
mod reject_limits;
mod reject_surplus;
mod rejects;
mod results;
mod rows;
pub mod schema;
mod session;
mod shape;
pub mod sink;
pub mod snapshot;
mod sql;
pub mod stager;
pub mod step;
mod table_spec;
mod target;
pub mod text;
mod tls;

pub use commit::channel;
pub use config::PostgresConfig;
pub use conninfo::{Conninfo, ConninfoError};
pub use definition::Definition;
pub use error::{Class, ResultProblem, SinkError};
pub use fence::Claim;
pub use postgres_error::PostgresError;
pub use progress::{
    AcceptedGap, Generation, LastRecord, Legacy, PartitionProgress, Progress, SharedSet, UNKNOWN_TOPIC,
};
pub use quote::{qualified, quoted};
pub use read::{Difference, Reader, Side, TableCheck, Verification, read_value};
pub use reject_cap::DroppedRejects;
pub use reject_limits::RejectLimits;
pub use results::{ResultChange, ResultsPlan, is_reserved_name, plan_results};
pub use rows::{CleanedRow, Reject, RejectPlace};
pub use session::connect;
pub use sink::{Sink, SinkState};
pub use snapshot::{FoundReject, FoundRow, FoundTombstone, RecordedResult, Snapshot};
pub use stager::{StageBatch, Stager, StagerOptions};
pub use step::{Committed, Staged, StagedHistory, Step};
pub use target::SslMode;
