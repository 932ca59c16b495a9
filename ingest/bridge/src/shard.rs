//! A shard of a stream, and what one request for its records returns.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The name of a shard, `shardId-000000000000`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ShardId(Arc<str>);

impl ShardId {
    pub(crate) fn new(id: &str) -> ShardId {
        ShardId(id.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A shard, and the shards that it continues: one after a split, two after a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) id: ShardId,
    pub(crate) parents: Vec<ShardId>,
}

/// Where in a shard reading begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// At the oldest record that is there.
    TrimHorizon,
    /// At the first record of this time or later, in milliseconds since 1970.
    AtMs(i64),
    /// After the record with this sequence number.
    After(String),
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Start::TrimHorizon => f.write_str("from its beginning"),
            Start::AtMs(ms) => write!(f, "from {ms} ms since 1970"),
            Start::After(sequence) => write!(f, "after {sequence}"),
        }
    }
}

/// A record as Kinesis has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) sequence: String,
    pub(crate) partition_key: String,
    pub(crate) data: Vec<u8>,
    /// Milliseconds since 1970.
    pub(crate) arrival_ms: Option<i64>,
}

impl Record {
    /// What it costs in memory, about.
    pub(crate) fn cost(&self) -> usize {
        self.sequence.capacity() + self.partition_key.capacity() + self.data.capacity() + size_of::<Record>()
    }
}

/// What one request for records returns.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) records: Vec<Record>,
    /// What the next request asks with; `None`: the shard is closed, and this was its end.
    pub(crate) next: Option<String>,
    /// How far what was read is behind the tip.
    pub(crate) behind: Duration,
}
