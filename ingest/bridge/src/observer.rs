//! What a bridge shows of itself while it works.

use std::time::Duration;

/// What was committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    /// Records.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Transactions that contained records.
    pub transactions: u64,
}

impl Copied {
    /// Adds what one more transaction committed.
    pub(crate) fn add(&mut self, other: Copied) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.transactions += other.transactions;
    }
}

/// Is told what happens; nothing is asked of it.
pub trait Observer: Send + Sync {
    /// The positions are known, and shards are being read.
    fn ready(&self);
    /// A transaction was committed.
    fn committed(&self, copied: Copied);
    /// So many shards are being read, and the one furthest behind is so far behind the stream's tip.
    fn progress(&self, shards: usize, behind: Duration);
    /// Kinesis answered that it is asked too often.
    fn throttled(&self);
    /// Records of a shard may have been trimmed before they were read, and that is accepted.
    fn trimmed(&self);
}
