//! Epoch 0: the replay of history, the hand-over to Kafka, and the commit of both; again when a sink has lost what was
//! staged.

use super::bounds::Bounds;
use super::flow::ReplayError;
use super::lake_read::log_place;
use super::prove::Again;
use super::state::Coordinator;
use crate::answer::{Missing, newer};
use crate::collect::ClosedEpoch;
use crate::error::EngineError;
use crate::log::growth::PartitionWatermarks;
use crate::log::hand_over::{HandOver, Known, ReadRange, hand_over};
use crate::protocol::{Command, Consume, Counts, Pass, Purpose, ReaderReport};
use crate::target::{History, Staged};
use crate::topic_partition::TopicPartition;
use crate::watch::{self, Watch};
use ingest::coverage::{Accepted, Coverage, Gap, OrderConflict, RangeSet};
use ingest::lake::{Object, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Passes over history before giving up on a sink that loses what is staged.
const PASSES: u32 = 5;

/// What a pass has to know.
struct ReplayState<'a> {
    /// Where Kafka begins and ends, as it was seen first.
    watermarks: PartitionWatermarks,
    /// Sees what changes in Kafka meanwhile.
    watch: Option<&'a Watch>,
    upto: &'a Option<Bounds>,
    /// Whether cleaned tables are reconciled in full.
    full: bool,
    /// What earlier passes have computed: they are committed as one.
    before: Option<ClosedEpoch>,
    /// Whether lake and Kafka have been compared.
    compared: bool,
}

impl Coordinator {
    /// Replays history until it is committed as epoch 0.
    pub(super) async fn hydrate(
        &mut self,
        watermarks: PartitionWatermarks,
        watch: Option<&Watch>,
    ) -> Result<(), EngineError> {
        let definitions = self.target.definitions();
        let full = self.target.keeps_cleaned() && self.recorded.full_reconcile(definitions, &self.answer.generations);
        let upto = match self.bounds(&watermarks).await {
            Ok(upto) => upto,
            Err(ReplayError::Failed(error)) => return Err(error),
            // nothing is staged while lines are counted
            Err(ReplayError::Again { .. }) => return Err(EngineError::DataflowEnded),
        };
        let mut replay = ReplayState {
            watermarks,
            watch,
            upto: &upto,
            full,
            before: None,
            compared: false,
        };
        let first = self.flow.pass();
        loop {
            self.flow.next_pass();
            let reason = match self.replay(&mut replay).await {
                Ok(()) => return Ok(()),
                Err(ReplayError::Failed(error)) => return Err(error),
                Err(ReplayError::Again { full, reason }) => {
                    replay.full |= full;
                    reason
                }
            };
            let passes = self.flow.pass() - first;
            if passes >= PASSES {
                return Err(EngineError::NeverStaged { passes, reason });
            }
            tracing::warn!(reason, "history is replayed again");
        }
    }

    /// One pass over history, up to the commit of epoch 0.
    async fn replay(&mut self, replay: &mut ReplayState<'_>) -> Result<(), ReplayError> {
        let fence = self.target.create_staging().await?;
        let persisted = if replay.full {
            BTreeMap::new()
        } else {
            self.recorded.persisted()
        };
        self.flow.broadcast(Command::Begin(Box::new(Pass {
            number: self.flow.pass(),
            fence,
            cleaned: self.target.keeps_cleaned(),
            persisted: persisted.clone(),
            legacy_persisted: !replay.full && self.recorded.legacy.is_some(),
            hashed: self.recorded.hashed(),
            generations: self.answer.generations.clone(),
            upto: replay.upto.clone(),
        })));
        self.read.begin_pass();
        self.answer.frontier.clear();
        self.answer.empty.clear();
        self.live.clear();
        let upto = replay.upto.clone();
        let wanted = move |object: &Object| is_wanted(object, &upto);
        self.read_objects(0, &persisted, wanted.clone()).await?;
        let mut plans = self.hand_over(replay).await?;
        if plans.values().any(|plan| !plan.gaps.is_empty()) && self.look_again(replay, &persisted, wanted).await? {
            plans = self.hand_over(replay).await?;
        }
        self.accept_gaps(&plans)?;
        self.read_kafka(&plans).await?;
        let staged = self.flush_staging().await?;
        for (at, plan) in &plans {
            let reach = self.answer.frontier.entry(*at).or_default();
            reach.first = plan.first;
            reach.next = reach.next.max(plan.next);
            if let Some(recorded) = self.recorded.partitions.get(at) {
                reach.last = newer(reach.last, recorded.last);
            }
        }
        self.answer.missing = self.missing(&plans);
        self.answer.legacy = self.read.legacy();
        self.answer.hashes = match replay.upto {
            Some(_) => BTreeMap::new(),
            None => self.read.hashes(),
        };
        self.answer.write_holes();
        self.note_last_records(&replay.watermarks).await?;
        if !replay.full && self.recorded.coverage_differs(&self.answer, &self.read.archived()) {
            let reason = "the log covers other records than at the last commit".to_owned();
            return Err(ReplayError::Again { full: true, reason });
        }
        if self.options.is_backfill() {
            self.refuse_to_go_back()?;
        }
        // a repeated pass adds nothing to what the first one computed: its epochs are committed as one
        if replay.watch.is_some_and(Watch::has_growth) {
            self.flow.hold();
        }
        let closing = self.flow.close().await?;
        if closing.stop {
            // the epoch is closed but not committed: the next start does it again
            return Err(EngineError::Stopped.into());
        }
        self.go_live(&plans);
        let closed = match replay.before.take() {
            Some(before) => closing.closed.after(before),
            None => closing.closed,
        };
        let history = History {
            staged: fence.map(|_| Staged {
                rows: staged,
                replaced: self.read.replaced(),
                from_kafka: again(&plans),
            }),
            full: replay.full,
        };
        // another pass starts from what this one has computed; what it counted has been counted
        let kept = ClosedEpoch {
            counts: Counts::default(),
            ..closed.clone()
        };
        let result = self.commit(closed, Some(history), replay.watch).await;
        let result = result.map_err(ReplayError::from);
        if let Err(ReplayError::Again { .. }) = result {
            replay.before = Some(kept);
        }
        result
    }

    /// A LIST may have missed a new key: looks once more before calling it a gap. Whether anything was read.
    async fn look_again(
        &mut self,
        replay: &ReplayState<'_>,
        persisted: &BTreeMap<TopicPartition, i64>,
        wanted: impl Fn(&Object) -> bool,
    ) -> Result<bool, ReplayError> {
        let Some(listing) = self.listing().await? else {
            return Ok(false);
        };
        let before = self.read.objects().len();
        self.read.add(listing.objects, |at| replay.watermarks.contains_key(&at));
        let found = self.read.objects().len() > before;
        if found {
            self.read_objects(before, persisted, wanted).await?;
        }
        Ok(found)
    }

    /// Plans the hand-over of every partition.
    async fn hand_over(
        &mut self,
        replay: &mut ReplayState<'_>,
    ) -> Result<BTreeMap<TopicPartition, HandOver>, ReplayError> {
        let names: Vec<String> = (0..3).map(|topic| self.topic_name(topic).to_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut history = self.read.coverage(&names);
        // retention may have moved on during the replay; partitions and watermarks are those of the first look
        if let Some(cluster) = &self.sources.cluster {
            let asked = watch::watermarks(cluster, &self.options.log.topics);
            let now = Self::unless_stopped(&self.process, asked).await?;
            for (at, marks) in &mut replay.watermarks {
                marks.low = now.get(at).map_or(marks.low, |now| now.low.max(marks.low));
            }
        }
        if !std::mem::replace(&mut replay.compared, true) {
            self.check_lake(&history, &replay.watermarks).await?;
        }
        let again = self.prove_holes(&history, &replay.watermarks, replay.upto).await?;
        let lake = history.iter().map(|((topic, partition), coverage)| {
            let (topic, partition) = (*topic, *partition);
            (TopicPartition { topic, partition }, coverage.ranges.clone())
        });
        self.answer.lake = lake.collect();
        for (at, ranges) in &self.answer.lake {
            if let Some(last) = ranges.iter().last() {
                let topic = self.topic_name(at.topic);
                self.process.observer.lake_end(topic, at.partition, last.end);
            }
        }
        let of_lake = history.keys().map(|(topic, partition)| TopicPartition {
            topic: *topic,
            partition: *partition,
        });
        let mut partitions: BTreeSet<TopicPartition> = of_lake.chain(replay.watermarks.keys().copied()).collect();
        partitions.extend(self.recorded.partitions.keys());
        if let Some(bounds) = replay.upto {
            partitions.retain(|at| bounds.contains_key(at));
            partitions.extend(bounds.keys());
        }
        let mut plans = BTreeMap::new();
        for at in partitions {
            let coverage = history.remove(&(at.topic, at.partition)).unwrap_or_default();
            let known = self.known(at, &coverage, again.get(&at), replay);
            let place = self.place(at);
            let plan = hand_over(&known).map_err(|source| EngineError::LogShorter { place, source })?;
            plans.insert(at, plan);
        }
        Ok(plans)
    }

    /// What the hand-over of a partition is planned from.
    fn known(&self, at: TopicPartition, coverage: &Coverage, again: Option<&Again>, replay: &ReplayState<'_>) -> Known {
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
            kafka: replay
                .watermarks
                .get(&at)
                .map(|marks| marks.low..marks.stable.max(marks.low)),
            recorded: recorded.or_else(|| self.is_added(at).then_some(0..0)),
            live: !self.options.is_backfill(),
            upto: replay.upto.as_ref().and_then(|bounds| bounds.get(&at).copied()),
        }
    }

    /// Prints every gap; those that are not accepted stop the run.
    fn accept_gaps(&self, plans: &BTreeMap<TopicPartition, HandOver>) -> Result<(), EngineError> {
        let accepted = Accepted::new(&self.options.accept_gaps, &[]);
        let mut refused = Vec::new();
        for (at, plan) in plans {
            if let Some(range) = plan.conflicts.first() {
                let Gap {
                    topic,
                    partition,
                    from,
                    to,
                } = self.gap(*at, range);
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
                let gap = self.gap(*at, range);
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

    /// Whether a gap is what a damaged object was to hold.
    fn skipped(&self, at: TopicPartition, range: &Range<i64>) -> bool {
        self.read.damaged().any(|(id, object)| {
            let read = i64::try_from(self.read.lines(id)).unwrap_or(i64::MAX);
            log_place(object).is_some_and(|(of, start)| of == at && start.saturating_add(read) == range.start)
        })
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
        self.process.observer.gaps(offsets);
        missing
    }

    /// A target never moves back.
    fn refuse_to_go_back(&self) -> Result<(), EngineError> {
        for (at, recorded) in &self.recorded.partitions {
            let offered = self.answer.frontier.get(at).map_or(0, |reach| reach.next);
            if offered < recorded.next {
                return Err(EngineError::MovesBack {
                    place: self.place(*at),
                    recorded: recorded.next,
                    offered,
                });
            }
        }
        Ok(())
    }

    /// Assigns what the hand-over wants of Kafka, and waits until everything that existed has been read.
    async fn read_kafka(&mut self, plans: &BTreeMap<TopicPartition, HandOver>) -> Result<(), ReplayError> {
        // a partition is read by one worker and one range at a time: holes first, then the live range
        let mut queues: BTreeMap<TopicPartition, std::vec::IntoIter<ReadRange>> = plans
            .iter()
            .map(|(at, plan)| (*at, plan.read_ranges.clone().into_iter()))
            .collect();
        let mut waiting = 0;
        for (at, queue) in &mut queues {
            waiting += usize::from(self.consume_next(*at, queue));
        }
        while waiting > 0 {
            let ReaderReport::Reached { pass, at, mark } = self.flow.next_report().await? else {
                continue;
            };
            if pass != self.flow.pass() {
                continue;
            }
            self.answer.advance(at, &mark);
            self.answer.found_empty(at, &mark);
            if let Some(queue) = queues.get_mut(&at) {
                waiting -= usize::from(!self.consume_next(at, queue));
            }
        }
        Ok(())
    }

    /// Assigns the next range of a partition, at most up to its bound: what lies behind it is of a later epoch, in
    /// which a generation may have begun.
    fn consume_next(&mut self, at: TopicPartition, queue: &mut std::vec::IntoIter<ReadRange>) -> bool {
        let Some(read_range) = queue.next() else { return false };
        let mut after = None;
        if read_range.until.is_none() {
            let recorded = self.recorded.partitions.get(&at).and_then(|reach| reach.last);
            let read = self.answer.frontier.get(&at).and_then(|reach| reach.last);
            after = newer(recorded, read).filter(|last| last.offset < read_range.from);
        }
        self.flow.consume(Consume {
            at,
            from: read_range.from,
            until: Some(read_range.bound),
            bound: read_range.bound,
            purpose: if read_range.again {
                Purpose::TakeAgain
            } else {
                Purpose::Take
            },
            after,
        });
        true
    }

    /// Reads the partitions on from where epoch 0 has ended.
    fn go_live(&mut self, plans: &BTreeMap<TopicPartition, HandOver>) {
        let endless = |plan: &HandOver| plan.read_ranges.iter().any(|read_range| read_range.until.is_none());
        for at in plans.iter().filter(|(_, plan)| endless(plan)).map(|(at, _)| *at) {
            let reach = self.answer.frontier.get(&at).copied().unwrap_or_default();
            self.live.insert(at);
            self.flow.consume(Consume {
                at,
                from: reach.next,
                until: None,
                bound: reach.next,
                purpose: Purpose::Take,
                after: reach.last,
            });
        }
    }

    async fn flush_staging(&mut self) -> Result<[u64; 4], ReplayError> {
        self.flow.broadcast(Command::FlushStaging);
        let mut staged = [0; 4];
        let mut waiting = self.flow.workers();
        while waiting > 0 {
            match self.flow.next_report().await? {
                ReaderReport::Staged { pass, rows } if pass == self.flow.pass() => {
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
fn again(plans: &BTreeMap<TopicPartition, HandOver>) -> Vec<(TopicPartition, Range<i64>)> {
    let of = |(at, plan): (&TopicPartition, &HandOver)| {
        let again = plan.read_ranges.iter().filter(|read_range| read_range.again);
        again
            .map(|read_range| (*at, read_range.from..read_range.bound))
            .collect::<Vec<_>>()
    };
    plans.iter().flat_map(of).collect()
}
