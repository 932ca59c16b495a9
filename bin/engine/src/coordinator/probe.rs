//! Asks Kafka where it holds records, without taking them in.

use super::flow::ReplayError;
use super::run::Run;
use crate::error::EngineError;
use crate::protocol::{Consume, Purpose, ReaderReport};
use ingest::coverage::RangeSet;
use ingest::{Offset, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;

/// Where Kafka holds records, by partition.
pub(super) type Arrived = BTreeMap<TopicPartition, RangeSet>;

impl Run {
    /// Counts where Kafka holds records, one range of a partition after the other.
    pub(super) async fn probe(
        &mut self,
        read_ranges: BTreeMap<TopicPartition, Vec<Range<Offset>>>,
    ) -> Result<Arrived, ReplayError> {
        let mut queues: BTreeMap<TopicPartition, std::vec::IntoIter<Range<Offset>>> = read_ranges
            .into_iter()
            .map(|(at, read_ranges)| (at, read_ranges.into_iter()))
            .collect();
        let mut arrived = Arrived::new();
        let mut waiting = 0;
        for (at, queue) in &mut queues {
            waiting += usize::from(self.probe_next(*at, queue));
        }
        while waiting > 0 {
            let ReaderReport::Probed { pass, at, records } = self.flow.next_report().await? else {
                continue;
            };
            if pass != self.flow.pass() {
                continue;
            }
            let found = arrived.entry(at).or_default();
            records.into_iter().for_each(|(from, to)| found.insert(from..to));
            let queue = queues.get_mut(&at).ok_or(EngineError::DataflowEnded)?;
            waiting -= usize::from(!self.probe_next(at, queue));
        }
        Ok(arrived)
    }

    fn probe_next(&self, at: TopicPartition, queue: &mut std::vec::IntoIter<Range<Offset>>) -> bool {
        let Some(read_range) = queue.next() else { return false };
        self.flow.consume(Consume {
            at,
            from: read_range.start,
            until: Some(read_range.end),
            bound: read_range.end,
            purpose: Purpose::Probe,
            after: None,
        });
        true
    }
}
