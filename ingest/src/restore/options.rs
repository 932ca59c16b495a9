//! What to restore, and what the caller knows and this module does not.

use crate::coverage::{AcceptGap, Gap, OrderConflict};
use crate::kafka::KafkaConfig;
use std::sync::Arc;

/// A topic of the lake, and where its records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreTopic {
    /// Its name in the lake.
    pub name: String,
    /// Its name in Kafka.
    pub into: String,
    /// Whether it is an error that the lake has no records of it.
    pub required: bool,
}

/// What to restore, and how.
#[derive(Clone)]
pub struct RestoreOptions {
    /// Kafka.
    pub kafka: KafkaConfig,
    /// The topics; no two go into the same one.
    pub topics: Vec<RestoreTopic>,
    /// Whether topics that Kafka lacks are created, with as many partitions as the lake has.
    pub create_topics: bool,
    /// Gaps of the lake that are no reason to stop.
    pub accept_gaps: Vec<AcceptGap>,
    /// Whether objects of older layouts, which have no offsets, may be left out.
    pub skip_legacy: bool,
    /// Objects of an S3 lake read at the same time.
    pub objects_in_flight: usize,
    /// What records mean.
    pub meaning: Arc<dyn Meaning>,
}

/// What a record means, as far as its key is concerned. `topic` is the place of the topic in the options.
pub trait Meaning: Send + Sync {
    /// The key that producers give a record with this value.
    fn key_of_value(&self, topic: u8, value: &[u8]) -> Option<Vec<u8>>;

    /// The key of a record that a line of the archiver deletes ([`NullValues::Write`](crate::archive::NullValues::Write)
    /// makes it); `None` for every other line.
    fn deleted_by_line(&self, topic: u8, line: &[u8]) -> Option<Vec<u8>>;

    /// The key of a deleted record from a line of Connect's `tombstone/` folder.
    fn deleted_by_key(&self, topic: u8, line: &[u8]) -> Vec<u8>;
}

/// A pass over all records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// They are written.
    Write,
    /// They are read back and compared.
    Compare,
}

/// Is notified of what a restore does. Calls are short.
pub trait Observer: Send + Sync {
    /// Offsets that the lake lacks, whether they are accepted or not.
    fn gap(&self, _gap: &Gap) {}
    /// Objects whose order is not known.
    fn order(&self, _conflict: &OrderConflict) {}
    /// A pass over so many objects of so many stored bytes begins.
    fn begins(&self, _pass: Pass, _objects: u64, _bytes: u64) {}
    /// An object of so many stored bytes has been read to its end; so many records of it counted.
    fn object(&self, _records: u64, _bytes: u64) {}
    /// The pass has ended.
    fn ends(&self, _pass: Pass) {}
}
