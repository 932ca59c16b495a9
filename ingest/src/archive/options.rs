//! The options of the archiver, and its observer.

use super::cutter::CutOptions;
use super::layout::Layout;
use super::writer::Stored;
use crate::coverage::Gap;
use crate::kafka::KafkaConfig;
use std::sync::Arc;
use std::time::Duration;
use values::{Offset, Partition};

/// What becomes of null values.
#[derive(Clone)]
pub enum NullValues {
    /// A line that says what is deleted, made from the topic's number and the record's key; `None` where the key says
    /// nothing, and the key itself is archived.
    Write(Arc<dyn Fn(u8, &[u8]) -> Option<String> + Send + Sync>),
    /// They are passed over: a replay of the lake brings deleted rows back.
    Ignore,
}

/// What to archive, and how.
#[derive(Clone)]
pub struct ArchiveOptions {
    /// Kafka, with the group that the offsets are committed under.
    pub kafka: KafkaConfig,
    /// The topics' names.
    pub topics: Vec<String>,
    /// How keys are made.
    pub layout: Layout,
    /// Where pieces end.
    pub cut: CutOptions,
    /// Every open piece ends when the clock passes a multiple of this.
    pub rotate: Option<Duration>,
    /// `s3.part.size`
    pub part_bytes: usize,
    /// What becomes of null values.
    pub null_values: NullValues,
    /// Values that are no JSON, or longer than `record_bytes`, are kept beside the lake instead of in it.
    pub dead_letters: bool,
    /// A longer value is rejected by readers.
    pub record_bytes: usize,
    /// Objects written at the same time.
    pub objects_in_flight: usize,
    /// Bytes of records in memory.
    pub buffer_bytes: usize,
    /// Archive what Kafka holds now, then end.
    pub once: bool,
}

/// Is notified of what the archiver does. Calls are short and come from the loop.
pub trait Observer: Send + Sync {
    /// The lake is known, reading begins.
    fn ready(&self) {}
    /// Nothing can be done while another archiver has the lake.
    fn waiting_for(&self, _topic: &str) {}
    /// A piece is durable.
    fn stored(&self, _stored: Stored) {}
    /// Everything below `archived` is durable; Kafka ends at `end`.
    fn progress(&self, _topic: &str, _partition: Partition, _archived: Offset, _end: Offset) {}
    /// Kafka holds the partition from this offset on: retention has dropped what lies below.
    fn kafka_start(&self, _topic: &str, _partition: Partition, _start: Offset) {}
    /// Offsets that Kafka has dropped and the lake lacks.
    fn gap(&self, _gap: &Gap) {}
}

/// What a run has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchiveSummary {
    /// The sums of all pieces.
    pub stored: Stored,
    /// Offsets of the gaps that were met.
    pub gap_offsets: u64,
}
