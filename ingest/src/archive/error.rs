//! What stops an archiver.

use crate::kafka::KafkaError;
use crate::lake::LakeError;
use std::ops::Range;
use values::{Offset, Partition};

/// Why archiving, compacting or auditing could not continue.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The lake.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The lake holds another record than Kafka at the same offset.
    #[error(
        "{key} holds another record than Kafka at offset {offset} (was the topic created again? archive it under a new name, or into another lake)"
    )]
    OtherRecords {
        /// The object's key.
        key: String,
        /// The record's offset.
        offset: Offset,
    },
    /// The lake is ahead of Kafka.
    #[error(
        "the lake holds {topic}/{partition} up to offset {lake}, Kafka ends at {kafka} (was the topic created again? archive it under a new name, or into another lake)"
    )]
    Ahead {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// Where the lake ends.
        lake: Offset,
        /// Where Kafka ends.
        kafka: Offset,
    },
    /// What was written is not what is read.
    #[error("{key} does not hold what was written to it, {covers:?}: nothing was removed")]
    Unverified {
        /// The object's key.
        key: String,
        /// What it was to cover.
        covers: Range<Offset>,
    },
    /// One compaction at a time.
    #[error("another compaction is at work on {url} (wait for its end)")]
    Busy {
        /// The lake.
        url: String,
    },
    /// There is nothing to archive.
    #[error("no such topic in Kafka: {topics}")]
    NoTopics {
        /// Their names.
        topics: String,
    },
    /// A task of ours ended in a panic, which has been reported.
    #[error("a task panicked")]
    Panicked,
}
