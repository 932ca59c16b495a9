//! Epoch 0: the replay of history, the hand-over to Kafka, and the commit of both; again when a sink has lost what was
//! staged.

use super::flow::ReplayError;
use super::lake_read::log_place;
use super::missing::KnownTopics;
use super::phases::{Bounds, Live, Replay, Surveyed};
use super::prove::Again;
use crate::answer::{Missing, newer};
use crate::collect::ClosedEpoch;
use crate::error::EngineError;
use crate::log::hand_over::{HandOver, Known, hand_over};
use crate::protocol::{Command, Consume, Counts, Pass, Purpose, ReaderReport};
use crate::target::{History, Staged};
use crate::watch::{self, Watch};
use ingest::coverage::{Accepted, Coverage, Gap, OrderConflict, RangeSet};
use ingest::lake::{Object, Place};
use ingest::{Offset, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Passes over history before giving up on a sink that loses what is staged.
const PASSES: u32 = 5;

impl<'a> Surveyed<'a> {
    /// Replays history until it is committed as epoch 0.
    pub(super) async fn hydrate(mut self) -> Result<Live<'a>, EngineError> {
        let target = &self.run.target;
        let definitions = target.definitions();
        let full = target.keeps_cleaned() && self.recorded.full_reconcile(definitions, &self.answer.generations);
        let upto = match self.count_first().await {
            Ok(upto) => upto,
            Err(ReplayError::Failed(error)) => return Err(error),
            // nothing is staged while lines are counted
            Err(ReplayError::Again { .. }) => return Err(EngineError::DataflowEnded),
        };
        let replay = Replay {
            run: self.run,
            read: self.read,
            recorded: self.recorded,
            answer: self.answer,
            watermarks: self.watermarks,
            missing: self.missing,
            watch: self.watch,
            upto,
            full,
            before: None,
            compared: false,
            lost: None,
        };
        replay.repeat().await
    }
}

impl Surveyed<'_> {
    /// What has to be counted before anything is read: where the replay ends, and where the lines of sparse objects stand.
    async fn count_first(&mut self) -> Result<Option<Bounds>, ReplayError> {
        let upto = self.bounds().await?;
        self.find_sparse().await?;
        Ok(upto)
    }
}

impl<'a> Replay<'a> {
    async fn repeat(mut self) -> Result<Live<'a>, EngineError> {
        let first = self.run.flow.pass();
        loop {
            self.run.flow.next_pass();
            let reason = match self.pass().await {
                Ok(live) => return Ok(self.live(live)),
                Err(ReplayError::Failed(error)) => return Err(error),
                Err(ReplayError::Again { full, reason }) => {
                    self.full |= full;
                    self.lost.get_or_insert_default();
                    reason
                }
            };
            let passes = self.run.flow.pass() - first;
            if passes >= PASSES {
                return Err(EngineError::NeverStaged { passes, reason });
            }
            tracing::warn!(reason, "history is replayed again");
        }
    }

    /// Epoch 0 is committed, and these partitions are read on.
    fn live(self, partitions: BTreeSet<TopicPartition>) -> Live<'a> {
        Live {
            known: KnownTopics::of(&self.read, &self.recorded),
            run: self.run,
            answer: self.answer,
            partitions,
            missing: self.missing,
            watch: self.watch,
        }
    }

    /// One pass over history, up to the commit of epoch 0. The partitions that are read on after it.
    async fn pass(&mut self) -> Result<BTreeSet<TopicPartition>, ReplayError> {
        let fence = self.run.target.create_staging().await?;
        let persisted = if self.full {
            BTreeMap::new()
        } else {
            self.recorded.persisted()
        };
        self.run.flow.broadcast(Command::Begin(Box::new(Pass {
            number: self.run.flow.pass(),
            fence,
            cleaned: self.run.target.keeps_cleaned(),
            persisted: persisted.clone(),
            legacy_persisted: !self.full && self.recorded.legacy.is_some(),
            hashed: self.run.target.keeps_hashes().then(|| self.recorded.hashed()),
            generations: self.answer.generations.clone(),
            upto: self.upto.clone(),
        })));
        self.read.begin_pass();
        self.answer.frontier.clear();
        self.answer.empty.clear();
        self.read_objects(0, &persisted).await?;
        let mut plans = self.hand_over().await?;
        if plans.values().any(|plan| !plan.gaps.is_empty()) && self.look_again(&persisted).await? {
            plans = self.hand_over().await?;
        }
        self.accept_gaps(&plans)?;
        self.refuse_to_lose(&plans)?;
        self.read_kafka(&plans).await?;
        let staged = self.flush_staging().await?;
        self.answer_for(&plans).await?;
        if !self.full && self.recorded.coverage_differs(&self.answer, &self.read.archived()) {
            let reason = "the log covers other records than at the last commit".to_owned();
            return Err(ReplayError::Again { full: true, reason });
        }
        if self.run.options.is_backfill() {
            self.refuse_to_go_back()?;
        }
        // a repeated pass adds nothing to what the first one computed: its epochs are committed as one
        if self.watch.as_ref().is_some_and(Watch::has_growth) {
            self.run.flow.hold();
        }
        let closing = self.run.flow.close().await?;
        if closing.stop {
            // the epoch is closed but not committed: the next start does it again
            return Err(EngineError::Stopped.into());
        }
        let closed = match self.before.take() {
            Some(before) => closing.closed.after(before),
            None => closing.closed,
        };
        let history = History {
            staged: fence.map(|_| Staged {
                rows: staged,
                replaced: self.read.replaced(),
                from_kafka: again(&plans),
            }),
            full: self.full,
        };
        // another pass starts from what this one has computed; what it counted has been counted
        let kept = ClosedEpoch {
            counts: Counts::default(),
            ..closed.clone()
        };
        let committed = self
            .run
            .commit(&mut self.answer, closed, Some(history), self.watch.as_ref());
        match committed.await.map_err(ReplayError::from) {
            // not before: what readers took in meanwhile would be in a pass that has to be repeated, beyond its frontier
            Ok(()) => Ok(self.go_live(&plans)),
            Err(ReplayError::Again { full, reason }) => {
                self.before = Some(kept);
                Err(ReplayError::Again { full, reason })
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the objects from number `from` on that may hold something that is wanted.
    async fn read_objects(
        &mut self,
        from: usize,
        persisted: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), ReplayError> {
        let wanted = |object: &Object| is_wanted(object, &self.upto);
        let reading = self.run.read_objects(&mut self.read, from, persisted, wanted);
        reading.await
    }

    /// Takes in what the pass covers, now that lake and Kafka are read.
    async fn answer_for(&mut self, plans: &BTreeMap<TopicPartition, HandOver>) -> Result<(), ReplayError> {
        for (at, plan) in plans {
            let reach = self.answer.frontier.entry(*at).or_default();
            reach.first = plan.first;
            reach.next = reach.next.max(plan.next);
            if let Some(recorded) = self.recorded.partitions.get(at) {
                reach.last = newer(reach.last, recorded.last);
            }
        }
        self.answer.missing = self.missing(plans).into();
        self.answer.legacy = self.read.legacy();
        self.answer.hashes = match self.upto {
            Some(_) => BTreeMap::new(),
            None => self.read.hashes(),
        };
        self.answer.write_holes();
        let noted = self.run.note_last_records(&mut self.answer, &self.watermarks);
        Ok(noted.await?)
    }

    /// A LIST may have missed a new key: looks once more before calling it a gap. Whether anything was read.
    async fn look_again(&mut self, persisted: &BTreeMap<TopicPartition, Offset>) -> Result<bool, ReplayError> {
        let Some(listing) = self.run.listing().await? else {
            return Ok(false);
        };
        let before = self.read.objects().len();
        self.read.add(listing.objects, |at| self.watermarks.contains_key(&at));
        let found = self.read.objects().len() > before;
        if found {
            self.read_objects(before, persisted).await?;
        }
        Ok(found)
    }

    /// Plans the hand-over of every partition.
    async fn hand_over(&mut self) -> Result<BTreeMap<TopicPartition, HandOver>, ReplayError> {
        let names: Vec<String> = (0..3).map(|topic| self.run.topic_name(topic).to_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut history = self.read.coverage(&names);
        // retention may have moved on during the replay; partitions and watermarks are those of the first look
        if let Some(cluster) = &self.run.sources.cluster {
            let asked = watch::watermarks(cluster, &self.run.options.log.topics);
            let now = self.run.process.unless_stopped(asked).await?;
            for (at, marks) in &mut self.watermarks {
                marks.low = now.get(at).map_or(marks.low, |now| now.low.max(marks.low));
            }
        }
        if !std::mem::replace(&mut self.compared, true) {
            self.run.check_lake(&self.read, &history, &self.watermarks).await?;
        }
        let again = self.prove_holes(&history).await?;
        let lake = history.iter().map(|(at, coverage)| (*at, coverage.ranges.clone()));
        self.answer.lake = lake.collect();
        for (at, ranges) in &self.answer.lake {
            if let Some(last) = ranges.iter().last() {
                let topic = self.run.topic_name(at.topic);
                self.run.process.observer.lake_end(topic, at.partition, last.end);
            }
        }
        let of_lake = history.keys().copied();
        let mut partitions: BTreeSet<TopicPartition> = of_lake.chain(self.watermarks.keys().copied()).collect();
        partitions.extend(self.recorded.partitions.keys());
        if let Some(bounds) = &self.upto {
            partitions.retain(|at| bounds.contains_key(at));
            partitions.extend(bounds.keys());
        }
        let mut plans = BTreeMap::new();
        for at in partitions {
            let coverage = history.remove(&at).unwrap_or_default();
            let known = self.known(at, &coverage, again.get(&at));
            let place = self.run.place(at);
            let plan = hand_over(&known).map_err(|source| EngineError::LogShorter { place, source })?;
            plans.insert(at, plan);
        }
        Ok(plans)
    }

    /// What the hand-over of a partition is planned from.
    fn known(&self, at: TopicPartition, coverage: &Coverage, again: Option<&Again>) -> Known {
        let natural = self.answer.natural.get(&at).into_iter().flat_map(RangeSet::iter);
        let (doubtful, tail) = again.map_or((&[][..], None), |again| (again.doubtful.as_slice(), again.tail.clone()));
        let covered = coverage.ranges.iter().chain(natural).chain(tail.clone());
        let covered: RangeSet = covered.collect();
        let damaged = self.read.damaged().filter_map(|(_, object)| log_place(object));
        let damaged = damaged.filter(|(of, _)| *of == at).map(|(_, start)| start);
        let conflicts = coverage.conflicts.iter().map(|conflict| conflict.from..conflict.to);
        let recorded = self.recorded.partitions.get(&at).map(|reach| reach.first..reach.next);
        Known {
            unreadable: damaged.min(),
            covered: covered.iter().collect(),
            conflicts: conflicts.chain(doubtful.iter().cloned()).chain(tail).collect(),
            kafka: self
                .watermarks
                .get(&at)
                .map(|marks| marks.low..marks.stable.max(marks.low)),
            recorded: recorded.or_else(|| self.recorded.is_added(at).then_some(Offset::ZERO..Offset::ZERO)),
            live: !self.run.options.is_backfill(),
            upto: self.upto.as_ref().and_then(|bounds| bounds.get(&at).copied()),
        }
    }

    /// Prints every gap; those that are not accepted stop the run.
    fn accept_gaps(&self, plans: &BTreeMap<TopicPartition, HandOver>) -> Result<(), EngineError> {
        let accepted = Accepted::new(&self.run.options.accept_gaps, &[]);
        let mut refused = Vec::new();
        for (at, plan) in plans {
            if let Some(range) = plan.conflicts.first() {
                let Gap {
                    topic,
                    partition,
                    from,
                    to,
                } = self.run.gap(*at, range);
                let conflict = OrderConflict {
                    topic,
                    partition,
                    from,
                    to,
                };
                eprintln!("{conflict}");
                return Err(EngineError::Order(conflict));
            }
            for range in &plan.gaps {
                let gap = self.run.gap(*at, range);
                eprintln!("{gap}");
                let accepted = accepted.covers(&gap) || self.recorded.accepted(*at, range) || self.skipped(*at, range);
                if !accepted {
                    refused.push(gap);
                }
            }
        }
        let count = refused.len();
        match refused.into_iter().next() {
            None => Ok(()),
            Some(first) => Err(EngineError::Gaps { count, first }),
        }
    }

    /// Another pass adds to what the first one has computed, and takes nothing away: what was there then has to be there
    /// still, whether its absence would be accepted or not.
    fn refuse_to_lose(&mut self, plans: &BTreeMap<TopicPartition, HandOver>) -> Result<(), EngineError> {
        let damaged: BTreeSet<u32> = self.read.damaged().map(|(id, _)| id).collect();
        if let Some(lost) = &self.lost {
            let known = |at: TopicPartition, range: &Range<Offset>| {
                let covers = |lost: &RangeSet| lost.covers(range.clone());
                let gaps = lost.gaps.as_ref();
                gaps.is_none_or(|gaps| gaps.get(&at).is_some_and(covers)) || self.recorded.accepted(at, range)
            };
            let mut gaps = plans
                .iter()
                .flat_map(|(at, plan)| plan.gaps.iter().map(|range| (*at, range)));
            let gap = gaps.find(|(at, range)| !known(*at, range));
            let object = damaged.difference(&lost.damaged).next();
            // a record that came from Kafka is in the results, and has to come again for the cleaned tables; as long as
            // Kafka has it, only the lake may be the reason that it is not read from there
            let lacking = lost.again.iter().find_map(|(at, ranges)| {
                let of = plans.get(at).into_iter().flat_map(|plan| &plan.read_ranges);
                let again = of.filter(|of| of.again).map(|of| of.from..of.bound);
                let comes: RangeSet = again.chain(self.read.reach_of_placed(*at)).collect();
                let marks = self.watermarks.get(at);
                let is_gone = |range: &Range<Offset>| marks.is_none_or(|marks| range.start < marks.low);
                let lacking = ranges
                    .iter()
                    .find(|range| is_gone(range) && !comes.covers(range.clone()))?;
                Some(self.run.gap(*at, &lacking).to_string())
            });
            let what = gap
                .map(|(at, range)| self.run.gap(at, range).to_string())
                .or(lacking)
                .or_else(|| Some(self.read.object(*object?).key.clone()));
            if let Some(what) = what {
                return Err(EngineError::LessHistory { what });
            }
        }
        let lost = self.lost.get_or_insert_default();
        let known = lost.gaps.get_or_insert_default();
        for (at, plan) in plans {
            let gaps = known.entry(*at).or_default();
            plan.gaps.iter().for_each(|range| gaps.insert(range.clone()));
        }
        lost.damaged.extend(damaged);
        for (at, range) in again(plans) {
            lost.again.entry(at).or_default().insert(range);
        }
        Ok(())
    }

    /// Whether a gap is what damaged objects were to hold, and nothing else.
    fn skipped(&self, at: TopicPartition, range: &Range<Offset>) -> bool {
        let mut from = range.start;
        while from < range.end {
            match self.read.lost_from(at, from) {
                Some(to) if to > from => from = to,
                _ => return false,
            }
        }
        true
    }

    /// The accepted holes of the answer.
    fn missing(&self, plans: &BTreeMap<TopicPartition, HandOver>) -> Vec<Missing> {
        let mut missing = Vec::new();
        let mut offsets = 0;
        for (at, plan) in plans {
            for range in &plan.gaps {
                offsets += range.end - range.start;
                missing.push(Missing::Offsets {
                    at: *at,
                    range: range.clone(),
                    reason: if self.skipped(*at, range) {
                        "unreadable"
                    } else {
                        "accepted"
                    },
                });
            }
        }
        let objects = self.read.damaged().filter(|(_, object)| log_place(object).is_none());
        missing.extend(objects.map(|(_, object)| Missing::Object {
            topic: object.topic,
            key: object.key.clone(),
        }));
        self.run.process.observer.gaps(offsets);
        missing
    }

    /// A target never moves back.
    fn refuse_to_go_back(&self) -> Result<(), EngineError> {
        for (at, recorded) in &self.recorded.partitions {
            let offered = self.answer.frontier.get(at).map_or(Offset::ZERO, |reach| reach.next);
            if offered < recorded.next {
                return Err(EngineError::MovesBack {
                    place: self.run.place(*at),
                    recorded: recorded.next,
                    offered,
                });
            }
        }
        Ok(())
    }

    /// Reads the partitions on from where epoch 0 has ended.
    fn go_live(&self, plans: &BTreeMap<TopicPartition, HandOver>) -> BTreeSet<TopicPartition> {
        let mut live = BTreeSet::new();
        let endless = |plan: &HandOver| plan.read_ranges.iter().any(|read_range| read_range.until.is_none());
        for at in plans.iter().filter(|(_, plan)| endless(plan)).map(|(at, _)| *at) {
            let reach = self.answer.frontier.get(&at).copied().unwrap_or_default();
            live.insert(at);
            self.run.flow.consume(Consume {
                at,
                from: reach.next,
                until: None,
                bound: reach.next,
                purpose: Purpose::Take,
                after: reach.last,
            });
        }
        live
    }

    async fn flush_staging(&mut self) -> Result<[u64; 4], ReplayError> {
        self.run.flow.broadcast(Command::FlushStaging);
        let mut staged = [0; 4];
        let mut waiting = self.run.flow.workers();
        while waiting > 0 {
            match self.run.flow.next_report().await? {
                ReaderReport::Staged { pass, rows } if pass == self.run.flow.pass() => {
                    staged.iter_mut().zip(rows).for_each(|(total, rows)| *total += rows);
                    waiting -= 1;
                }
                _ => {}
            }
        }
        Ok(staged)
    }
}

/// Whether an object may hold something that is wanted.
fn is_wanted(object: &Object, upto: &Option<Bounds>) -> bool {
    match (object.topic, object.place, upto) {
        (Some(topic), Place::Log { partition, start }, Some(bounds)) => {
            let at = TopicPartition { topic, partition };
            bounds.get(&at).is_some_and(|bound| start < *bound)
        }
        _ => true,
    }
}

/// The ranges of Kafka that the lake has, too.
fn again(plans: &BTreeMap<TopicPartition, HandOver>) -> Vec<(TopicPartition, Range<Offset>)> {
    let of = |(at, plan): (&TopicPartition, &HandOver)| {
        let again = plan.read_ranges.iter().filter(|read_range| read_range.again);
        again
            .map(|read_range| (*at, read_range.from..read_range.bound))
            .collect::<Vec<_>>()
    };
    plans.iter().flat_map(of).collect()
}
