//! Kafka: records with their log position, and what must be known about the log before and while it is read.
//!
//! Two things face outwards. [`Cluster`] answers questions (which partitions, from where to where, one record at an
//! offset) and leaves the group offsets that lag tools look at. [`Reader`] delivers ranges of partitions, each from
//! an offset on, until another or without end.
//!
//! Positions belong to the caller. There is no group balancing, no offset is ever taken from the broker, and a
//! position that the broker does not hold is an error and not a reason to jump (`auto.offset.reset=error`): the
//! frontier stands in the same transaction as the tables, and anything else would be a second opinion.
//!
//! A topic that was deleted and created again under its name is another log. A [`RecordId`] tells its records from
//! those of the old one, and a reader never continues in it: see `assigned_partition.rs`.
//!
//! Everything is read committed. Offsets are sparse: transaction markers, aborted records and compaction leave
//! holes, so the offset after a record is never assumed to hold one, and the end of a range is taken from the end
//! of the partition as the broker reports it, not from the last record that was seen.
//!
//! This module does not know what a record holds, does not group, order or deduplicate across partitions, and
//! writes nothing to Kafka but group offsets and, when it is asked to, new topics.

mod ask;
mod assigned_partition;
mod batch;
mod client;
mod cluster;
mod config;
mod config_error;
mod error;
mod fetch;
mod iam;
mod message;
mod output;
mod range;
mod reader;
mod reader_options;
mod record;
mod retention;
mod sample;
mod throttle;
mod topic;
mod watermarks;

pub use batch::{Batch, Polled, Span};
pub use client::{Authentication, log_line};
pub use cluster::Cluster;
pub use config::{KafkaConfig, check_file, log_level};
pub use config_error::KafkaConfigError;
pub use error::{KafkaError, LibrdkafkaError, Remade};
pub use iam::Tokens;
pub use range::Range;
pub use reader::Reader;
pub use reader_options::ReaderOptions;
pub use record::{RecordId, RecordRef};
pub use retention::{compaction, retention};
pub use sample::{Sample, Sampled};
pub use topic::{TopicSettings, create_topic, create_topic_with, topic_settings};
pub use watermarks::Watermarks;
