//! Asks Kafka which holes of history hold no record, and remembers those that are natural and the objects that have them
//! inside.
//!
//! Records are counted here, not taken in: the hand-over reads holes that are not natural, together with the object
//! before them when it lacks records that Kafka has, since they may be missing anywhere in it. An object that turns out to
//! have holes inside is read again as well: its lines have been taken for records at other offsets, and at lower ones.

use super::flow::ReplayError;
use super::lake_read::log_place;
use super::phases::Replay;
use super::probe::Arrived;
use crate::error::EngineError;
use crate::log::holes::{self, Suspect, Tail, Verdict};
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
        self.found_are_spanned()?;
        let mut suspects: BTreeMap<TopicPartition, Vec<Suspect>> = BTreeMap::new();
        let mut tails: BTreeMap<TopicPartition, (Tail, Offset)> = BTreeMap::new();
        let last = self.last_objects();
        for (at, coverage) in coverage {
            let at = *at;
            let settled = self.settled(at, coverage).await?;
            let known = self.answer.natural.entry(at).or_default();
            *known = known.without(&settled);
            let Some(marks) = self.watermarks.get(&at) else {
                continue;
            };
            let span = marks.low..marks.stable;
            if self.recorded.untrusted.contains(&at) {
                *known = known.without(&holes::behind_objects(coverage, &span, |id| self.read.lines(id)));
            }
            let bound = self
                .upto
                .as_ref()
                .map_or(Offset::MAX, |upto| upto.get(&at).copied().unwrap_or(Offset::ZERO));
            let found = holes::suspects(coverage, known, &span, bound, |id| self.read.lines(id));
            if !found.is_empty() {
                suspects.insert(at, found);
            }
            let tail = last.get(&at).and_then(|object| Tail::of(object, coverage));
            if let Some(tail) = tail.filter(|tail| span.contains(&tail.start)) {
                tails.insert(at, (tail, span.end.min(bound)));
            }
        }
        let queues = suspects
            .iter()
            .map(|(at, suspects)| (*at, holes::read_ranges(suspects)));
        let arrived = self.run.probe(queues.collect()).await?;
        let mut again: BTreeMap<TopicPartition, Again> = BTreeMap::new();
        for (at, suspects) in suspects {
            let nothing = RangeSet::default();
            let arrived = arrived.get(&at).unwrap_or(&nothing);
            let compacted = self.run.is_compacted(at.topic).await? != Some(false);
            let (natural, doubtful) = (
                self.answer.natural.entry(at).or_default(),
                &mut again.entry(at).or_default().doubtful,
            );
            for suspect in suspects {
                match suspect.judge(arrived, compacted) {
                    Verdict::Natural => holes::keep(natural, suspect.hole),
                    Verdict::Sparse(before, mut object) => {
                        doubtful.push(suspect.read_range());
                        object.version = SparseObject::version_of(self.read.object(before.object));
                        self.read.found.insert(before.object, object);
                    }
                    Verdict::Doubtful => doubtful.push(suspect.read_range()),
                    Verdict::Lacking => {}
                }
            }
        }
        // where its holes were too many to be kept, an object is covered, and placed too low
        for (at, reach) in self.read.unplaced() {
            let spanned = self.watermarks.get(&at);
            if spanned.is_some_and(|marks| marks.low <= reach.start && reach.end <= marks.stable) {
                again.entry(at).or_default().doubtful.push(reach);
            }
        }
        for again in again.values_mut() {
            again.doubtful.sort_by_key(|range| range.start);
        }
        self.answer.sparse = self.read.sparse_objects();
        let forgotten = |of: &SparseObjects| of.iter().filter(|(_, object)| !object.is_placed()).count();
        let forgotten: usize = self.answer.sparse.values().map(forgotten).sum();
        if forgotten > 0 {
            tracing::warn!(
                objects = forgotten,
                "holes inside of objects are too many to be kept: later starts place the lines of the oldest without them"
            );
        }
        for (at, reach) in self.find_tails(tails).await? {
            again.entry(at).or_default().tail = Some(reach);
        }
        self.answer.natural.retain(|_, holes| !holes.is_empty());
        Ok(again)
    }

    /// What history covers so that its holes need no proof any more: not the objects whose lines may stand elsewhere, as
    /// long as the holes can show where. In a compacted topic they cannot.
    async fn settled(&mut self, at: TopicPartition, coverage: &Coverage) -> Result<RangeSet, EngineError> {
        let open = coverage.inexact.iter().chain(&coverage.unproved);
        let open = open.filter(|object| !self.read.is_placed(object.object));
        let open: RangeSet = open.map(|object| object.from..object.to).collect();
        let has_holes = |natural: &RangeSet| open.iter().any(|range| !natural.within(range).is_empty());
        if self.answer.natural.get(&at).is_some_and(has_holes) && self.run.is_compacted(at.topic).await? == Some(true) {
            return Ok(coverage.ranges.clone());
        }
        Ok(coverage.ranges.without(&open))
    }

    /// What an earlier look of this pass has found is to be read from Kafka: where retention has passed it since, another
    /// pass places its lines between the holes.
    fn found_are_spanned(&self) -> Result<(), ReplayError> {
        let passed = |id: &u32| {
            let (at, start) = log_place(self.read.object(*id))?;
            Some(self.watermarks.get(&at)?.low > start)
        };
        if self.read.found.keys().any(|id| passed(id) == Some(true)) {
            let reason = "retention has passed an object that was to be read from Kafka".to_owned();
            return Err(ReplayError::Again { full: false, reason });
        }
        Ok(())
    }

    /// The last sound object of each partition.
    fn last_objects(&self) -> BTreeMap<TopicPartition, Counted> {
        let mut objects: BTreeMap<TopicPartition, Vec<Counted>> = BTreeMap::new();
        for object in self.read.of_log().filter(|object| !self.read.is_damaged(object.object)) {
            objects.entry(object.at()).or_default().push(object);
        }
        let last = |(at, objects)| Some((at, Tail::last(objects)?));
        objects.into_iter().filter_map(last).collect()
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
