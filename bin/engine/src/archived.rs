//! A range of offsets that an object of the lake holds.

use ingest::{Offset, TopicPartition};
use std::ops::Range;

/// An object of the lake, as a start has found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedRange {
    /// The partition.
    pub at: TopicPartition,
    /// The offsets that it covers, or that its records may have.
    pub reach: Range<Offset>,
    /// The offsets that its lines take from its start on.
    pub assigned: Range<Offset>,
    /// Whether its writer says what it covers, so that each record has its assigned offset.
    pub exact: bool,
    /// Where the next object starts.
    pub follower: Option<Offset>,
}
