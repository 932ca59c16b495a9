//! Asks Kafka which holes of history hold no record, and remembers those that are natural and the objects that have them
//! inside.
//!
//! Records are counted here, not taken in: the hand-over reads holes that are not natural, together with the object
//! before them when it lacks records that Kafka has, since they may be missing anywhere in it. An object that turns out to
//! have holes inside is read again as well: its lines have been taken for records at other offsets, and at lower ones.

use super::flow::ReplayError;
use super::lake_read::FoundSparse;
use super::phases::Replay;
use super::probe::Arrived;
use crate::log::holes::{self, Suspect, Tail};
use crate::log::sparse::{SparseObject, SparseObjects};
use ingest::coverage::{Counted, Coverage, RangeSet};
use ingest::{Offset, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;

/// What has to be read from Kafka although the lake has it.
#[derive(Debug, Default)]
pub(super) struct Again {
    /// Objects that may lack records or have holes inside, with the holes behind them.
    pub doubtful: Vec<Range<Offset>>,
    /// The last object, when holes lie inside: its records may have any of these offsets.
    pub tail: Option<Range<Offset>>,
}

impl Replay<'_> {
    /// Proves what can be proved of the holes of `coverage`. Returns what has to be read from Kafka again.
    pub(super) async fn prove_holes(
        &mut self,
        coverage: &BTreeMap<TopicPartition, Coverage>,
    ) -> Result<BTreeMap<TopicPartition, Again>, ReplayError> {
        let mut suspects: BTreeMap<TopicPartition, Vec<Suspect>> = BTreeMap::new();
        let mut tails: BTreeMap<TopicPartition, (Tail, Offset)> = BTreeMap::new();
        let last = self.last_objects();
        let placed = self.read.sparse_objects(false);
        for (at, coverage) in coverage {
            let at = *at;
            let known = self.answer.natural.entry(at).or_default();
            // what history covers by now needs no proof
            *known = known.without(&coverage.ranges);
            let sparse = placed.get(&at).into_iter().flat_map(SparseObjects::iter);
            // a sparse object reaches further than its lines say
            sparse.for_each(|(start, object)| holes::keep(known, start.plus(object.lines)..object.end(start)));
            let Some(marks) = self.watermarks.get(&at) else {
                continue;
            };
            let span = marks.low..marks.stable;
            let bound = self
                .upto
                .as_ref()
                .map_or(Offset::MAX, |upto| upto.get(&at).copied().unwrap_or(Offset::ZERO));
            let found = holes::suspects(coverage, known, &span, bound, |id| self.read.lines(id));
            if !found.is_empty() {
                suspects.insert(at, found);
            }
            let open = last.get(&at).filter(|object| !self.read.is_sparse(object.object));
            let tail = open.and_then(|object| Tail::of(object, coverage));
            if let Some(tail) = tail.filter(|tail| span.contains(&tail.start)) {
                tails.insert(at, (tail, span.end.min(bound)));
            }
        }
        let queues = suspects
            .iter()
            .map(|(at, suspects)| (*at, holes::read_ranges(suspects)));
        let arrived = self.run.probe(queues.collect()).await?;
        let compaction = if suspects.is_empty() {
            BTreeMap::new()
        } else {
            self.run.compaction().await?.clone()
        };
        let mut again: BTreeMap<TopicPartition, Again> = BTreeMap::new();
        let mut found = Vec::new();
        for (at, suspects) in suspects {
            let nothing = RangeSet::default();
            let arrived = arrived.get(&at).unwrap_or(&nothing);
            let compacted = compaction.get(&at.topic).copied();
            let in_doubt = compacted == Some(true);
            let sparse = |suspect: &Suspect| {
                let before = suspect.sparse(arrived, in_doubt)?;
                (!self.read.is_sparse(before.object)).then_some(before)
            };
            for suspect in &suspects {
                let Some(before) = sparse(suspect) else { continue };
                let reach = suspect.read_range();
                let proved = match compacted {
                    Some(false) => {
                        let empty: RangeSet = arrived.missing(reach.clone()).into_iter().collect();
                        let version = SparseObject::version_of(self.read.object(before.object));
                        SparseObject::prove(reach.clone(), before.lines, version, &empty)
                    }
                    _ => None,
                };
                found.push((
                    before.object,
                    FoundSparse {
                        at,
                        reach,
                        sparse: proved,
                    },
                ));
            }
            let doubtful = suspects.iter().filter(|suspect| suspect.is_doubtful(arrived, in_doubt));
            again.entry(at).or_default().doubtful = doubtful.map(Suspect::read_range).collect();
            let natural = self.answer.natural.entry(at).or_default();
            let proved = suspects.into_iter().filter(|hole| hole.is_natural(arrived, in_doubt));
            proved.for_each(|suspect| holes::keep(natural, suspect.hole));
        }
        self.read.found.extend(found);
        // an earlier look may have found some: their holes are natural now, and none of them is a suspect any more
        for found in self.read.found.values() {
            let doubtful = &mut again.entry(found.at).or_default().doubtful;
            doubtful.push(found.reach.clone());
            doubtful.sort_by_key(|range| range.start);
        }
        self.answer.sparse = self.read.sparse_objects(true);
        for (at, reach) in self.find_tails(tails).await? {
            again.entry(at).or_default().tail = Some(reach);
        }
        self.answer.natural.retain(|_, holes| !holes.is_empty());
        Ok(again)
    }

    /// The last sound object of each partition.
    fn last_objects(&self) -> BTreeMap<TopicPartition, Counted> {
        let mut last: BTreeMap<TopicPartition, Counted> = BTreeMap::new();
        for object in self.read.of_log().filter(|object| !self.read.is_damaged(object.object)) {
            let at = object.at();
            if last.get(&at).is_none_or(|known| known.start <= object.start) {
                last.insert(at, object);
            }
        }
        last
    }

    /// Finds how far last objects with holes inside reach.
    async fn find_tails(
        &mut self,
        tails: BTreeMap<TopicPartition, (Tail, Offset)>,
    ) -> Result<BTreeMap<TopicPartition, Range<Offset>>, ReplayError> {
        let mut seen: BTreeMap<TopicPartition, Offset> =
            tails.iter().map(|(at, (tail, _))| (*at, tail.start)).collect();
        let mut arrived = Arrived::new();
        let nothing = RangeSet::default();
        loop {
            let mut read_ranges = BTreeMap::new();
            for (at, (tail, end)) in &tails {
                let found = arrived.get(at).unwrap_or(&nothing);
                if let Some(read_range) = tail.next_stretch(found, seen[at], *end) {
                    seen.insert(*at, read_range.end);
                    read_ranges.insert(*at, vec![read_range]);
                }
            }
            if read_ranges.is_empty() {
                break;
            }
            for (at, found) in self.run.probe(read_ranges).await? {
                let arrived = arrived.entry(at).or_default();
                found.iter().for_each(|range| arrived.insert(range));
            }
        }
        let reach = |(at, (tail, _)): (TopicPartition, (Tail, Offset))| {
            let reach = tail.reach(arrived.get(&at).unwrap_or(&nothing), seen[&at])?;
            let place = self.run.place(at);
            tracing::info!(
                place,
                ?reach,
                "the last object has holes inside, and is read from Kafka again"
            );
            Some((at, reach))
        };
        Ok(tails.into_iter().filter_map(reach).collect())
    }
}
