//! A partition of a topic by numbers.

use serde::{Deserialize, Serialize};
use values::Partition;

/// A partition of a topic. Topics are numbered by the caller, and partitions by Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic's number.
    pub topic: u8,
    /// The partition.
    pub partition: Partition,
}

impl TopicPartition {
    /// This partition of the topic with this number.
    pub fn new(topic: u8, partition: Partition) -> TopicPartition {
        TopicPartition { topic, partition }
    }
}
