//! What a run counts, and what is left of it when it has ended.

use super::protocol::Counts;
use ingest::{Offset, Partition};
use std::collections::BTreeMap;

/// What has been counted since the run began.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Records, each arrival counted, and what became of them.
    pub counts: Counts,
    /// How history was replayed, once it was.
    pub replay: Option<Replay>,
}

/// A replay of history, for those who want to know how long the next one takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replay {
    /// Records read.
    pub records: u64,
    /// From the start of the run to its first commit.
    pub seconds: f64,
    /// Workers in all processes.
    pub workers: usize,
}

/// What a finished run leaves for its summary.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was counted.
    pub totals: Totals,
    /// The frontier of the last commit: topic → partition → next offset.
    pub frontier: BTreeMap<String, BTreeMap<Partition, Offset>>,
    /// Wall time from the start.
    pub seconds: f64,
}
