//! What a commit answers for: how far each partition is covered, what is missing, and what is known of the lake.

use super::log::generations::Generations;
use super::log::holes;
use super::log::sparse::SparseObjects;
use super::process::Reached;
use super::protocol::{LinesHash, Mark};
use super::recorded_detail::detail;
use ingest::coverage::RangeSet;
use ingest::kafka::RecordId;
use ingest::{Offset, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// How far one partition's answer reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OffsetRange {
    /// The first offset covered.
    pub first: Offset,
    /// The next offset wanted: everything below is in the answer, or in a recorded gap.
    pub next: Offset,
    /// The last record below that came from Kafka.
    pub last: Option<RecordId>,
}

impl OffsetRange {
    /// What is shown of it.
    pub fn shown(&self) -> Reached {
        let stamp = self.last.map(|last| last.timestamp);
        Reached {
            next: self.next,
            newest: stamp.filter(|stamp| *stamp >= 0),
        }
    }
}

/// A hole of the log that is part of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Offsets that nothing holds any more.
    Offsets {
        /// The partition.
        at: TopicPartition,
        /// The offsets.
        range: Range<Offset>,
        /// Why.
        reason: &'static str,
    },
    /// An object without offsets that was skipped.
    Object {
        /// The topic's number, if it stands in a topic's folder.
        topic: Option<u8>,
        /// The object.
        key: String,
    },
}

/// What the answer reaches over.
#[derive(Default)]
pub struct Answer {
    /// Per partition, how far.
    pub frontier: BTreeMap<TopicPartition, OffsetRange>,
    /// Records without offsets and the hash of their objects.
    pub legacy: Option<(u64, u64)>,
    /// Accepted holes.
    pub missing: Arc<[Missing]>,
    /// Offsets that are proved to hold no record.
    pub natural: BTreeMap<TopicPartition, RangeSet>,
    /// What the lake covers, as far as this start has found.
    pub lake: BTreeMap<TopicPartition, RangeSet>,
    /// Objects with holes inside of which it is known where their lines stand.
    pub sparse: BTreeMap<TopicPartition, SparseObjects>,
    /// Per partition, hashes of the lake's lines; empty for a replay that ends at a bound.
    pub hashes: BTreeMap<TopicPartition, LinesHash>,
    /// Those that this replay has found empty in Kafka, where the lake has nothing.
    pub empty: BTreeMap<TopicPartition, RangeSet>,
    /// The generations of records.
    pub generations: Generations,
    /// How many partitions each topic was seen to have.
    pub counts: BTreeMap<u8, i32>,
    /// The natural holes as they are written with the frontier.
    pub details: BTreeMap<TopicPartition, Arc<serde_json::Value>>,
}

impl Answer {
    /// An answer that covers nothing yet, with what is known of the log before anything is read: natural holes, how many
    /// partitions each topic has, and the generations of records.
    pub fn new(
        natural: BTreeMap<TopicPartition, RangeSet>,
        counts: BTreeMap<u8, i32>,
        generations: Generations,
    ) -> Answer {
        Answer {
            natural,
            counts,
            generations,
            ..Answer::default()
        }
    }

    /// From the next commit on, the holes known by now are written with the frontier.
    pub fn write_holes(&mut self) {
        let (nothing, none) = (RangeSet::default(), SparseObjects::default());
        let detail = |at: &TopicPartition| {
            let holes = self.natural.get(at).unwrap_or(&nothing);
            let lake = self.lake.get(at).unwrap_or(&nothing);
            let hash = self.hashes.get(at).map(|hash| hash.all);
            Arc::new(detail(holes, lake, hash, self.sparse.get(at).unwrap_or(&none)))
        };
        let partitions = self.natural.keys().chain(self.lake.keys());
        self.details = partitions.map(|at| (*at, detail(at))).collect();
    }

    /// Takes in what Kafka gave where the lake has nothing: offsets without a record.
    pub fn found_empty(&mut self, at: TopicPartition, mark: &Mark) {
        let nothing = RangeSet::default();
        let (empty, lake) = (
            self.empty.entry(at).or_default(),
            self.lake.get(&at).unwrap_or(&nothing),
        );
        let holes = mark.holes.iter().flat_map(|(from, to)| lake.missing(*from..*to));
        holes.for_each(|hole| empty.insert(hole));
    }

    /// Takes in how far a partition has been read.
    pub fn advance(&mut self, at: TopicPartition, mark: &Mark) {
        let reach = self.frontier.entry(at).or_insert(OffsetRange {
            first: mark.next,
            next: mark.next,
            last: None,
        });
        reach.next = reach.next.max(mark.next);
        reach.last = newer(mark.last, reach.last);
        if !mark.holes.is_empty() {
            let natural = self.natural.entry(at).or_default();
            mark.holes
                .iter()
                .for_each(|(from, to)| holes::keep(natural, *from..*to));
        }
    }
}

/// The one with the greater offset.
pub fn newer(one: Option<RecordId>, other: Option<RecordId>) -> Option<RecordId> {
    one.into_iter().chain(other).max_by_key(|id| id.offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::Partition;

    #[test]
    fn an_answer_never_moves_back_and_remembers_holes() {
        let at = TopicPartition {
            topic: 0,
            partition: Partition(0),
        };
        let id = |offset| RecordId {
            offset,
            timestamp: 0,
            hash: 0,
        };
        let mark = |next, last, holes: &[(i64, i64)]| Mark {
            next,
            last,
            holes: holes.iter().map(|(from, to)| (Offset(*from), Offset(*to))).collect(),
        };
        let mut answer = Answer::default();
        answer.advance(at, &mark(Offset(10), Some(id(Offset(8))), &[(9, 10)]));
        answer.advance(at, &mark(Offset(7), None, &[]));
        let reach = answer.frontier[&at];
        assert_eq!((reach.next, reach.last), (Offset(10), Some(id(Offset(8)))));
        assert_eq!(answer.natural[&at].to_string(), "9..10");
    }
}
