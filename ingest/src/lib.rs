//! Bytes with a log position: the lake, Kafka, and the way from one to the other.
//!
//! ```text
//!  Kafka ──▶ archive ──▶ lake ──▶ restore ──▶ Kafka
//!    │                    │
//!    ▼                    ▼
//!  kafka::Reader   lake::Fetcher      coverage: which offsets
//!    └────── bytes ───────┘           are there, and which lack
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`lake`] | objects in S3 or in a folder: names, listing, fetching, lines, conditional writes |
//! | [`kafka`] | ranges of partitions, watermarks, samples of single records |
//! | [`coverage`] | the offsets that objects cover, gaps, and the order of objects that overlap |
//! | [`archive`] | Kafka to the lake, compaction, audit |
//! | [`restore`] | the lake to Kafka |
//!
//! A source returns records as bytes together with (topic, partition, offset). Topics are numbered by the caller, and
//! nothing here depends on what a record means.

pub mod archive;
pub mod aws;
#[cfg(test)]
#[path = "../../tests/src/byte_fuzz.rs"]
mod byte_fuzz;
pub mod coverage;
#[doc(hidden)]
pub mod failpoint;
pub mod kafka;
pub mod lake;
pub mod restore;
mod topic_partition;

pub use topic_partition::TopicPartition;
pub use values::{Offset, Partition};
