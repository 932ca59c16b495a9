//! A partition of a topic by numbers.

use ingest::coverage::Counted;
use serde::{Deserialize, Serialize};

/// A partition of a topic; topics are numbered like kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic's number: 0 pin, 1 geo, 2 user.
    pub topic: u8,
    /// The partition.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition that an object of the log is of.
    pub fn of(object: &Counted) -> TopicPartition {
        TopicPartition {
            topic: object.topic,
            partition: object.partition,
        }
    }
}
