//! Kafka: records with their log position, and what must be known about the log before and while it is read.
//!
//! Two things face outwards. [`Cluster`] answers questions (which partitions, from where to where, one record at an
//! offset) and leaves the group offsets that lag tools look at. [`Reader`] delivers ranges of partitions, each from
//! an offset on, until another or for ever.
//!
//! Positions belong to the caller. There is no group balancing, no offset is ever taken from the broker, and a
//! position that the broker does not hold is an error and not a reason to jump (`auto.offset.reset=error`): the
//! frontier stands in the same transaction as the tables, and anything else would be a second opinion.
//!
//! Everything is read committed. Offsets are sparse: transaction markers, aborted records and compaction leave
//! holes, so the offset after a record is never assumed to hold one, and the end of a range is taken from the end
//! of the partition as the broker reports it, not from the last record that was seen.
//!
//! This module does not know what a record holds, does not group, order or deduplicate across partitions, and
//! writes nothing to Kafka but group offsets.

mod batch;
mod client;
mod cluster;
mod config;
mod error;
mod fetch;
mod iam;
mod output;
mod reader;
mod retention;
mod throttle;

pub(crate) use client::{Authentication, log_line};
pub(crate) use config::log_level;

pub use batch::{Batch, Polled, Span};
pub use cluster::{Cluster, Sample, Watermarks};
pub use config::{KafkaConfig, KafkaConfigError};
pub use error::KafkaError;
pub use iam::Tokens;
pub use reader::{Range, Reader, ReaderOptions};
pub use retention::retention;
