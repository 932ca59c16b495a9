//! What a reader is asked to read: offsets of one partition.

use super::record::RecordId;
use values::{Offset, Partition};

/// Offsets of one partition to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The caller's number of the topic, handed back with its records.
    pub topic: u8,
    /// The topic's name in Kafka.
    pub name: String,
    /// The partition.
    pub partition: Partition,
    /// The first offset that is wanted.
    pub from: Offset,
    /// The first offset that is not wanted any more; `None` reads without end.
    ///
    /// It is reached when a record at or past it, or the end of the partition at or past it, has been seen, so it
    /// should not lie beyond the high watermark; if it does the range ends when the partition has grown to it.
    pub until: Option<Offset>,
    /// The last record that was read before `from`, where one is known: while Kafka holds its offset it must be the same
    /// record, otherwise the topic was created again and the range fails with [`KafkaError::TopicRemade`](super::KafkaError::TopicRemade).
    pub after: Option<RecordId>,
}

impl Range {
    pub(super) fn same_partition(&self, other: &Range) -> bool {
        self.partition == other.partition && self.name == other.name
    }
}
