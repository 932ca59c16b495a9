//! What a restore has found and done.

use crate::coverage::Gap;
use serde::Serialize;
use values::{Offset, Partition};

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    /// The topic's name in the lake.
    pub topic: String,
    /// The topic that it was restored into.
    pub into: String,
    /// The partition, the same in both.
    pub partition: Partition,
    /// The records of the lake, all of which the topic holds now.
    pub records: u64,
    /// How many of them this run has written; the others were there.
    pub written: u64,
    /// The offsets that the lake covers: the first, and the one after the last.
    pub lake: Option<(Offset, Offset)>,
    /// The offsets of the records in Kafka: the first, and the one after the last.
    pub kafka: (Offset, Offset),
    /// Whether every record has the offset in Kafka that it had.
    pub offsets_kept: bool,
    /// Offsets that the lake lacks, and that were accepted.
    pub gaps: Vec<Gap>,
    /// Objects in which the offsets of lines are not certain: their records may have had higher ones.
    pub inexact_objects: u64,
}

/// All partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// By topic and partition.
    pub partitions: Vec<PartitionReport>,
}
