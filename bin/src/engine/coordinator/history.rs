//! Epoch 0: the replay of history, the hand-over to Kafka, and the commit of both; again when a sink has lost what was
//! staged.

use super::bounds::Bounds;
use super::{Coordinator, Reach};
use crate::config::Mode;
use crate::engine::EngineError;
use crate::engine::hand_over::{HandOver, Known, Stretch, hand_over};
use crate::engine::plan::Plan;
use crate::engine::protocol::{Command, Consume, Note, Pass, TopicPartition};
use crate::engine::target::History;
use ingest::coverage::{Accepted, Counted, Coverage, Gap, LegacyObject, OrderConflict, RangeSet};
use ingest::lake::{Object, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Objects assigned in one command.
const OBJECTS_A_COMMAND: usize = 1024;
/// Passes over history before giving up on a sink that loses what is staged.
const PASSES: u32 = 5;

impl Coordinator {
    pub(super) async fn hydrate(&mut self) -> Result<(), EngineError> {
        let mut full = self.target.keeps_cleaned() && self.recorded.full_reconcile(self.target.definitions());
        let upto = self.bounds().await?;
        loop {
            self.pass += 1;
            if self.pass > PASSES {
                return Err(EngineError::failed(
                    "history was replayed too often without reaching the sink",
                ));
            }
            match self.replay(full, &upto).await {
                Ok(()) => return Ok(()),
                Err(EngineError::Again { full: again, reason }) => {
                    tracing::warn!(reason, "history is replayed again");
                    full |= again;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One pass over history, up to the commit of epoch 0.
    async fn replay(&mut self, full: bool, upto: &Option<Bounds>) -> Result<(), EngineError> {
        let staging = self.target.create_staging().await?;
        let settled = if full { BTreeMap::new() } else { self.recorded.settled() };
        self.planner.send(Plan::All(Command::Begin(Box::new(Pass {
            number: self.pass,
            fence: self.fence.filter(|_| staging),
            cleaned: self.target.keeps_cleaned(),
            settled,
            legacy_settled: !full && self.recorded.legacy.is_some(),
            generations: self.generations.clone(),
            upto: upto.clone(),
        }))));
        self.counted.clear();
        self.digests.clear();
        self.unreadable.clear();
        self.frontier.clear();
        self.live.clear();
        self.read_objects(0, upto).await?;
        let plans = self.plan_hand_over(upto).await?;
        self.read_kafka(&plans).await?;
        let staged = self.flush_staging().await?;
        self.note_gaps(&plans);
        self.details = self.details();
        for (at, plan) in &plans {
            let reach = self.frontier.entry(*at).or_insert(Reach {
                first: plan.first,
                next: plan.next,
            });
            reach.first = plan.first;
            reach.next = reach.next.max(plan.next);
        }
        if !full && self.recorded.coverage_differs(&self.frontier, &self.gaps, self.legacy) {
            let reason = "the log covers other offsets than at the last commit".to_owned();
            return Err(EngineError::Again { full: true, reason });
        }
        if self.settings.mode == Mode::Backfill {
            self.recorded.refuse_to_go_back(&self.frontier, |at| self.place(at))?;
        }
        // a repeated pass adds nothing to what the first one computed: its epochs are committed as one
        let mut closed = self.close().await?;
        if let Some(before) = self.hydrated.take() {
            closed
                .results
                .iter_mut()
                .zip(before.results)
                .for_each(|(rows, earlier)| {
                    rows.extend(earlier);
                    differential_dataflow::consolidation::consolidate(rows);
                });
            closed.notes.splice(0..0, before.notes);
        }
        let history = History {
            staged: staging.then_some(staged),
            full,
        };
        let result = self.commit(&closed, Some(history)).await;
        if let Err(EngineError::Again { .. }) = result {
            closed.notes.retain(|note| !matches!(note, Note::Counted { .. }));
            self.hydrated = Some(closed);
        }
        result
    }

    /// Assigns the objects from number `from` on, and waits until all have been read.
    async fn read_objects(&mut self, from: usize, upto: &Option<Bounds>) -> Result<(), EngineError> {
        let wanted = |object: &Object| match (object.topic, &object.place, upto) {
            (Some(topic), Place::Log { partition, start }, Some(bounds)) => {
                let at = TopicPartition {
                    topic,
                    partition: *partition,
                };
                bounds.get(&at).is_some_and(|bound| start < bound)
            }
            _ => true,
        };
        let objects: Vec<(u32, Object)> = self
            .objects
            .iter()
            .enumerate()
            .skip(from)
            .filter(|(_, object)| wanted(object))
            .map(|(number, object)| (number as u32 + 1, object.clone()))
            .collect();
        self.read(objects, true).await
    }

    /// Assigns objects and waits until all have been read; `shown` says whether that is history's progress.
    pub(super) async fn read(&mut self, mut objects: Vec<(u32, Object)>, shown: bool) -> Result<(), EngineError> {
        let mut waiting: BTreeSet<u32> = objects.iter().map(|(id, _)| *id).collect();
        let bytes: u64 = objects.iter().map(|(_, object)| object.size).sum();
        if shown {
            self.process.observer.history(objects.len() as u64, bytes);
        }

        // the largest first to the least loaded; then each in the order of offsets, so that the three records of
        // a post are read close to each other
        objects.sort_by(|(a, one), (b, other)| other.size.cmp(&one.size).then(a.cmp(b)));
        let mut shares: Vec<(u64, Vec<(u32, Object)>)> = vec![(0, Vec::new()); self.workers];
        for object in objects {
            let share = shares
                .iter_mut()
                .min_by_key(|(bytes, _)| *bytes)
                .expect("at least one worker");
            share.0 += object.1.size.max(1);
            share.1.push(object);
        }
        for (worker, (_, mut share)) in shares.into_iter().enumerate() {
            share.sort_by_key(|(id, object)| match object.place {
                Place::Legacy => (-1, 0, *id),
                Place::Log { partition, start } => (start, partition, *id),
            });
            for objects in share.chunks(OBJECTS_A_COMMAND) {
                self.planner.send(Plan::To(worker, Command::Read(objects.to_vec())));
            }
        }
        while !waiting.is_empty() {
            match self.note().await? {
                Note::Object {
                    pass,
                    id,
                    lines,
                    bytes,
                    rejected,
                    covers,
                    digest,
                } if pass == self.pass => {
                    waiting.remove(&id);
                    if let Some(digest) = digest {
                        self.digests.insert(id, digest);
                    }
                    self.counted.insert(id, (lines, covers.map(|(from, to)| from..to)));
                    if shown {
                        self.process.observer.object(lines, bytes, rejected);
                    }
                }
                Note::Unreadable { pass, id, lines, error } if pass == self.pass => {
                    waiting.remove(&id);
                    let key = self.objects[id as usize - 1].key.clone();
                    if !self.settings.skip_unreadable {
                        return Err(EngineError::failed(format!(
                            "object {key} cannot be read: {error} (mend it, or go on without it with --skip-unreadable)"
                        )));
                    }
                    tracing::warn!(object = key, error, "skipped an object that cannot be read");
                    self.counted.insert(id, (lines, None));
                    self.unreadable.insert(id, error);
                }
                other => self.unexpected(other)?,
            }
        }
        Ok(())
    }

    /// What the objects read so far cover, per partition.
    fn covered(&mut self) -> BTreeMap<(u8, i32), Coverage> {
        let mut counted = Vec::new();
        let mut legacy = Vec::new();
        for (id, (lines, covers)) in &self.counted {
            let object = &self.objects[*id as usize - 1];
            match (object.topic, object.place) {
                (Some(topic), Place::Log { partition, start }) => {
                    let (lines, covers) = (*lines, covers.clone());
                    counted.push(Counted {
                        topic,
                        partition,
                        start,
                        lines,
                        covers,
                        object: *id,
                    });
                }
                _ => legacy.extend(self.digests.get(id).map(|digest| LegacyObject {
                    key: &object.key,
                    records: *lines,
                    digest: *digest,
                })),
            }
        }
        let digest = ingest::coverage::legacy_digest(legacy);
        self.legacy = (digest.records > 0).then_some((digest.records, digest.hash));
        let names: Vec<&str> = (0..3).map(|topic| self.topic_name(topic)).collect();
        ingest::coverage::coverage(&counted, &names)
    }

    /// Plans the hand-over of every partition; stops at gaps that nobody has accepted.
    async fn plan_hand_over(
        &mut self,
        upto: &Option<Bounds>,
    ) -> Result<BTreeMap<TopicPartition, HandOver>, EngineError> {
        let plans = self.hand_over(upto).await?;
        if plans.values().all(|plan| plan.gaps.is_empty()) || self.lake.is_none() {
            return self.accept_gaps(plans);
        }
        // a LIST may have missed a new key: look once more before calling it a gap
        let before = self.objects.len();
        self.list().await?;
        if self.objects.len() > before {
            self.read_objects(before, upto).await?;
        }
        let plans = self.hand_over(upto).await?;
        self.accept_gaps(plans)
    }

    async fn hand_over(&mut self, upto: &Option<Bounds>) -> Result<BTreeMap<TopicPartition, HandOver>, EngineError> {
        let mut history = self.covered();
        // Kafka is asked again after the replay: retention may have moved on meanwhile
        let mut ends = self.ends().await?;
        self.check_identity(&history, &ends).await?;
        self.prove_holes(&history, &ends, upto).await?;
        let of_lake = history.keys().map(|(topic, partition)| TopicPartition {
            topic: *topic,
            partition: *partition,
        });
        let mut partitions: BTreeSet<TopicPartition> = of_lake.chain(ends.keys().copied()).collect();
        partitions.extend(self.recorded.partitions.keys());
        if let Some(bounds) = upto {
            partitions.retain(|at| bounds.contains_key(at));
            partitions.extend(bounds.keys());
        }
        let absent = |topic: &u8| {
            self.settings.topics[*topic as usize].is_some() && !partitions.iter().any(|at| at.topic == *topic)
        };
        self.process.observer.absent((0..3).filter(absent).count());
        let mut plans = BTreeMap::new();
        for at in partitions.iter().copied() {
            let coverage = history.remove(&(at.topic, at.partition)).unwrap_or_default();
            let natural = self.natural.get(&at).into_iter().flat_map(RangeSet::iter);
            let covered: RangeSet = coverage.ranges.iter().chain(natural).collect();
            let unreadable = self.unreadable.keys().map(|id| &self.objects[*id as usize - 1]);
            let starts = unreadable.filter_map(|object| match object.place {
                Place::Log { partition, start } if object.topic == Some(at.topic) && partition == at.partition => {
                    Some(start)
                }
                _ => None,
            });
            let known = Known {
                unreadable: starts.min(),
                covered: covered.iter().collect(),
                conflicts: coverage
                    .conflicts
                    .iter()
                    .map(|conflict| conflict.from..conflict.to)
                    .chain(self.short.get(&at).into_iter().flatten().cloned())
                    .collect(),
                kafka: ends.remove(&at),
                recorded: self.recorded.partitions.get(&at).map(|reach| reach.first..reach.next),
                live: self.settings.mode == Mode::Run,
                upto: upto.as_ref().and_then(|bounds| bounds.get(&at).copied()),
            };
            let place = self.place(at);
            let plan = hand_over(&known).map_err(|error| EngineError::failed(format!("{place}: {error}")))?;
            plans.insert(at, plan);
        }
        Ok(plans)
    }

    /// Prints every gap; those that are not accepted stop the run.
    fn accept_gaps(
        &mut self,
        plans: BTreeMap<TopicPartition, HandOver>,
    ) -> Result<BTreeMap<TopicPartition, HandOver>, EngineError> {
        let accepted = Accepted::new(&self.accept_gaps, &[]);
        let mut refused = Vec::new();
        for (at, plan) in &plans {
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
                return Err(EngineError::failed(format!(
                    "{conflict}: objects interleave there, and Kafka no longer has their order (merge them into \
                     objects of consecutive offsets)"
                )));
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
        match refused.first() {
            None => Ok(plans),
            Some(first) => Err(EngineError::failed(format!(
                "{} of the log {} missing, first {first}: neither the lake nor Kafka has it (restore it, or go on \
                 without it with --accept-gap)",
                refused.len(),
                if refused.len() == 1 { "range is" } else { "ranges are" },
            ))),
        }
    }

    /// Whether a gap is what an unreadable object was to hold.
    fn skipped(&self, at: TopicPartition, range: &Range<i64>) -> bool {
        self.unreadable.keys().any(|id| {
            let object = &self.objects[*id as usize - 1];
            let read = self.counted.get(id).map_or(0, |(lines, _)| *lines as i64);
            object.topic == Some(at.topic)
                && matches!(object.place, Place::Log { partition, start }
                    if partition == at.partition && start + read == range.start)
        })
    }

    fn note_gaps(&mut self, plans: &BTreeMap<TopicPartition, HandOver>) {
        let mut gaps = Vec::new();
        for (at, plan) in plans {
            for range in &plan.gaps {
                let reason = if self.skipped(*at, range) {
                    "unreadable"
                } else {
                    "accepted"
                };
                gaps.push((*at, range.clone(), reason.to_owned()));
            }
        }
        self.process
            .observer
            .gaps(gaps.iter().map(|(_, range, _)| range.end - range.start).sum());
        self.gaps = gaps;
    }

    /// Assigns what the hand-over wants of Kafka, and waits until everything that existed has been read.
    async fn read_kafka(&mut self, plans: &BTreeMap<TopicPartition, HandOver>) -> Result<(), EngineError> {
        // a partition is read by one worker and one stretch at a time: holes first, then the live stretch
        let mut queues: BTreeMap<TopicPartition, std::vec::IntoIter<Stretch>> = plans
            .iter()
            .map(|(at, plan)| (*at, plan.stretches.clone().into_iter()))
            .collect();
        let mut waiting = BTreeSet::new();
        let partitions: Vec<TopicPartition> = queues.keys().copied().collect();
        for at in partitions {
            if self.consume_next(at, &mut queues) {
                waiting.insert(at);
            }
        }
        while !waiting.is_empty() {
            match self.note().await? {
                Note::Reached { pass, at, next, .. } if pass == self.pass => {
                    let reach = self.frontier.entry(at).or_insert(Reach { first: next, next });
                    reach.next = reach.next.max(next);
                    if !self.consume_next(at, &mut queues) {
                        waiting.remove(&at);
                    }
                }
                other => self.unexpected(other)?,
            }
        }
        Ok(())
    }

    fn consume_next(
        &mut self,
        at: TopicPartition,
        queues: &mut BTreeMap<TopicPartition, std::vec::IntoIter<Stretch>>,
    ) -> bool {
        let Some(stretch) = queues.get_mut(&at).and_then(|queue| queue.next()) else {
            return false;
        };
        if stretch.until.is_none() {
            self.live.insert(at);
        }
        let range = Consume {
            at,
            from: stretch.from,
            until: stretch.until,
            bound: stretch.bound,
            probe: false,
        };
        self.planner
            .send(Plan::To(self.owner(at), Command::Consume(vec![range])));
        true
    }

    /// The worker that reads a partition.
    pub(super) fn owner(&self, at: TopicPartition) -> usize {
        (at.partition as usize * 3 + at.topic as usize) % self.workers
    }

    async fn flush_staging(&mut self) -> Result<[u64; 4], EngineError> {
        self.planner.send(Plan::All(Command::FlushStaging));
        let mut staged = [0; 4];
        let mut waiting = self.workers;
        while waiting > 0 {
            match self.note().await? {
                Note::Staged { pass, rows } if pass == self.pass => {
                    staged.iter_mut().zip(rows).for_each(|(total, rows)| *total += rows);
                    waiting -= 1;
                }
                other => self.unexpected(other)?,
            }
        }
        Ok(staged)
    }
}
