//! The coordinator: the one place that decides what is read, when an epoch closes, and what is committed.
//!
//! It lives beside worker 0 of process 0. A start goes: list the lake → take the sink's fence → read the committed
//! frontier under it → ask Kafka for its ends → replay → hand over → commit epoch 0. After that the loop is closed:
//! an epoch is closed when the last one is committed and something has arrived, or once a second as the fence's
//! heartbeat; while a commit is slow, the open epoch grows instead of a queue.

use super::collect::{Closed, Event};
use super::hand_over::{HandOver, Known, hand_over};
use super::plan::{Plan, Planner};
use super::protocol::{Command, Consume, Generations, Note, Pass, TopicPartition};
use super::target::{Commit, History, Recorded, Target};
use super::{EngineError, Outcome, ProcessState, Report};
use crate::config::{Mode, RunSettings};
use ingest::coverage::{AcceptGap, Accepted, Counted, Coverage, Gap, OrderConflict};
use ingest::kafka::Cluster;
use ingest::lake::{Lake, Object, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

/// An idle run commits an empty epoch this often: it is the fence's heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often Kafka is asked for new partitions and for its ends.
const METADATA: Duration = Duration::from_secs(5);
/// Objects assigned in one command.
const OBJECTS_A_COMMAND: usize = 1024;
/// Passes over history before giving up on a sink that loses what is staged.
const PASSES: u32 = 5;

/// How far one partition's answer reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// The first offset covered.
    pub first: i64,
    /// The next offset wanted: everything below is in the answer, or in a recorded gap.
    pub next: i64,
}

/// What has been counted since the run began.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// Records read, each arrival counted.
    pub records: u64,
    /// Records rejected.
    pub rejected: u64,
    /// Rejects by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Fields that could not be read and became null, by `kind.field`.
    pub fields: BTreeMap<String, u64>,
}

/// See the module's head.
pub struct Coordinator {
    pub(super) settings: Arc<RunSettings>,
    pub(super) accept_gaps: Vec<AcceptGap>,
    pub(super) lake: Option<Lake>,
    pub(super) cluster: Option<Arc<Cluster>>,
    pub(super) target: Target,
    pub(super) planner: Planner,
    pub(super) events: UnboundedReceiver<Event>,
    pub(super) process: Arc<ProcessState>,
    pub(super) workers: usize,
    pub(super) recorded: Recorded,
    pub(super) fence: Option<i64>,
    pub(super) pass: u32,
    pub(super) epoch: u64,
    pub(super) objects: Vec<Object>,
    pub(super) counted: BTreeMap<u32, (u64, Option<Range<i64>>)>,
    pub(super) unreadable: BTreeMap<u32, String>,
    pub(super) legacy: Option<(u64, u64)>,
    pub(super) frontier: BTreeMap<TopicPartition, Reach>,
    pub(super) gaps: Vec<(TopicPartition, Range<i64>, String)>,
    pub(super) generations: Generations,
    pub(super) fresh_boundaries: bool,
    pub(super) live: BTreeSet<TopicPartition>,
    pub(super) totals: Totals,
    pub(super) hydrated: Option<Closed>,
}

impl Coordinator {
    /// Runs to the end: for a backfill the commit of history, else until stopped or failed.
    pub async fn run(&mut self) -> Result<Outcome, EngineError> {
        self.list().await?;
        self.claim().await?;
        let ends = self.ends().await?;
        self.find_generations(&ends).await?;
        self.hydrate().await?;
        self.process.observer.hydrated();
        match self.settings.mode {
            Mode::Run => self.follow().await,
            _ => Ok(Outcome::Finished),
        }
    }

    /// What there is to say at the end.
    pub(super) fn report(&self) -> Report {
        let mut report = Report {
            totals: self.totals.clone(),
            ..Report::default()
        };
        for (at, reach) in &self.frontier {
            let partitions = report.frontier.entry(self.topic_name(at.topic).to_owned()).or_default();
            partitions.insert(at.partition, reach.next);
        }
        report
    }

    /// The name of a topic that records have come from.
    pub(super) fn topic_name(&self, topic: u8) -> &str {
        super::reader::topic_name(&self.settings.topics, topic)
    }

    /// `topic/partition`.
    fn place(&self, at: TopicPartition) -> String {
        format!("{}/{}", self.topic_name(at.topic), at.partition)
    }

    fn gap(&self, at: TopicPartition, range: &Range<i64>) -> Gap {
        Gap {
            topic: self.topic_name(at.topic).to_owned(),
            partition: at.partition,
            from: range.start,
            to: range.end,
        }
    }

    // ---- the start ----------------------------------------------------------------------------------------------

    async fn list(&mut self) -> Result<(), EngineError> {
        let Some(lake) = &self.lake else { return Ok(()) };
        let names: Vec<String> = self
            .settings
            .topics
            .iter()
            .map(|name| name.clone().unwrap_or_default())
            .collect();
        let listing = lake.list(&names).await.map_err(EngineError::failed)?;
        let known: BTreeSet<String> = self.objects.iter().map(|object| object.key.clone()).collect();
        // legacy objects first: their number is their rank, and it shares bits with the records' indexes
        // a legacy object that a second look finds has no rank among those that were read: the next start takes it in
        let late = |object: &Object| !known.is_empty() && matches!(object.place, Place::Legacy);
        let fresh = |object: &Object| !known.contains(&object.key) && !late(object);
        let mut fresh: Vec<Object> = listing.objects.into_iter().filter(fresh).collect();
        fresh.sort_by_key(|object| !matches!(object.place, Place::Legacy));
        self.objects.extend(fresh);
        tracing::info!(objects = self.objects.len(), "listed the lake");
        Ok(())
    }

    async fn claim(&mut self) -> Result<(), EngineError> {
        let (fence, recorded) = self.target.claim(&self.settings).await?;
        self.fence = fence;
        self.recorded = recorded;
        Ok(())
    }

    /// What Kafka spans of each partition of our topics.
    async fn ends(&self) -> Result<BTreeMap<TopicPartition, Range<i64>>, EngineError> {
        let Some(cluster) = self.cluster.clone() else {
            return Ok(BTreeMap::new());
        };
        let topics = self.settings.topics.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let mut ends = BTreeMap::new();
            for (topic, name) in topics
                .iter()
                .enumerate()
                .filter_map(|(n, name)| Some((n as u8, name.as_deref()?)))
            {
                let Some(partitions) = cluster.partitions(name)? else {
                    tracing::warn!(topic = name, "the topic does not exist in Kafka yet");
                    continue;
                };
                for partition in partitions {
                    let marks = cluster.watermarks(name, partition)?;
                    ends.insert(TopicPartition { topic, partition }, marks.low..marks.high);
                }
            }
            Ok::<_, ingest::kafka::KafkaError>(ends)
        });
        asked.await.map_err(EngineError::failed)?.map_err(EngineError::failed)
    }

    /// Partitions that were added while nobody watched begin a new generation of their topic.
    async fn find_generations(&mut self, ends: &BTreeMap<TopicPartition, Range<i64>>) -> Result<(), EngineError> {
        if let Some(lake) = &self.lake {
            let of_lake = super::generations::read(lake, &self.settings.topics).await;
            self.generations = of_lake.map_err(EngineError::failed)?;
        }
        // the tables know best: what they were made with stands
        self.generations.extend(self.recorded.generations.clone());
        for topic in 0..3u8 {
            let known: BTreeSet<i32> = self
                .recorded
                .partitions
                .keys()
                .filter(|at| at.topic == topic)
                .map(|at| at.partition)
                .collect();
            let added = ends
                .keys()
                .any(|at| at.topic == topic && !known.contains(&at.partition));
            if known.is_empty() || !added {
                continue;
            }
            let newest = |starts: &Vec<(i64, u8)>| starts.iter().map(|(_, generation)| *generation).max();
            let of_topic = self.generations.iter().filter(|(at, _)| at.topic == topic);
            let generation = of_topic.filter_map(|(_, starts)| newest(starts)).max().unwrap_or(1) + 1;
            for (at, span) in ends.iter().filter(|(at, _)| at.topic == topic) {
                let committed = self.recorded.partitions.get(at).map_or(0, |reach| reach.next);
                let start = if known.contains(&at.partition) {
                    span.end.max(committed)
                } else {
                    0
                };
                self.add_boundary(*at, generation, start);
            }
        }
        Ok(())
    }

    fn add_boundary(&mut self, at: TopicPartition, generation: u8, start: i64) {
        let starts = self.generations.entry(at).or_default();
        if starts.is_empty() && start > 0 {
            starts.push((0, 1));
        }
        if starts.contains(&(start, generation)) {
            return;
        }
        starts.push((start, generation));
        self.fresh_boundaries = true;
        let topic = self.topic_name(at.topic).to_owned();
        tracing::info!(
            topic,
            partition = at.partition,
            generation,
            start,
            "a generation begins"
        );
    }

    // ---- history ------------------------------------------------------------------------------------------------

    async fn hydrate(&mut self) -> Result<(), EngineError> {
        let mut full = self.target.keeps_cleaned() && self.recorded.full_reconcile(self.target.definitions());
        loop {
            self.pass += 1;
            if self.pass > PASSES {
                return Err(EngineError::failed(
                    "history was replayed too often without reaching the sink",
                ));
            }
            match self.replay(full).await {
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
    async fn replay(&mut self, full: bool) -> Result<(), EngineError> {
        let staging = self.target.create_staging().await?;
        let upto = self.upto();
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
        self.unreadable.clear();
        self.frontier.clear();
        self.live.clear();
        self.read_objects(0, &upto).await?;
        let plans = self.plan_hand_over(&upto).await?;
        self.read_kafka(&plans).await?;
        let staged = self.flush_staging().await?;
        self.note_gaps(&plans);
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

    fn upto(&self) -> Option<BTreeMap<TopicPartition, i64>> {
        let frontier = self.settings.upto.as_ref()?;
        let mut bounds = BTreeMap::new();
        for (topic, name) in self.settings.topics.iter().enumerate() {
            let Some(partitions) = name.as_ref().and_then(|name| frontier.0.get(name)) else {
                continue;
            };
            for (partition, next) in partitions {
                bounds.insert(
                    TopicPartition {
                        topic: topic as u8,
                        partition: *partition,
                    },
                    *next,
                );
            }
        }
        Some(bounds)
    }

    /// Assigns the objects from number `from` on, and waits until all have been read.
    async fn read_objects(
        &mut self,
        from: usize,
        upto: &Option<BTreeMap<TopicPartition, i64>>,
    ) -> Result<(), EngineError> {
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
        let mut objects: Vec<(u32, Object)> = self
            .objects
            .iter()
            .enumerate()
            .skip(from)
            .filter(|(_, object)| wanted(object))
            .map(|(number, object)| (number as u32 + 1, object.clone()))
            .collect();
        let mut waiting: BTreeSet<u32> = objects.iter().map(|(id, _)| *id).collect();
        let bytes: u64 = objects.iter().map(|(_, object)| object.size).sum();
        self.process.observer.history(objects.len() as u64, bytes);

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
                } if pass == self.pass => {
                    waiting.remove(&id);
                    self.counted.insert(id, (lines, covers.map(|(from, to)| from..to)));
                    self.process.observer.object(lines, bytes, rejected);
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
                _ => legacy.push((object.key.as_str(), *lines)),
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
        upto: &Option<BTreeMap<TopicPartition, i64>>,
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

    async fn hand_over(
        &mut self,
        upto: &Option<BTreeMap<TopicPartition, i64>>,
    ) -> Result<BTreeMap<TopicPartition, HandOver>, EngineError> {
        let mut covered = self.covered();
        // Kafka is asked again after the replay: retention may have moved on meanwhile
        let mut ends = self.ends().await?;
        let of_lake = covered.keys().map(|(topic, partition)| TopicPartition {
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
            let coverage = covered.remove(&(at.topic, at.partition)).unwrap_or_default();
            let known = Known {
                covered: coverage.ranges.iter().collect(),
                conflicts: coverage
                    .conflicts
                    .iter()
                    .map(|conflict| conflict.from..conflict.to)
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
        let mut queues: BTreeMap<TopicPartition, std::vec::IntoIter<super::hand_over::Stretch>> = plans
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
        queues: &mut BTreeMap<TopicPartition, std::vec::IntoIter<super::hand_over::Stretch>>,
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
        };
        self.planner
            .send(Plan::To(self.owner(at), Command::Consume(vec![range])));
        true
    }

    /// The worker that reads a partition.
    fn owner(&self, at: TopicPartition) -> usize {
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

    // ---- live ---------------------------------------------------------------------------------------------------

    async fn follow(&mut self) -> Result<Outcome, EngineError> {
        let mut heartbeat = Instant::now() + HEARTBEAT;
        let mut metadata = tokio::time::interval(METADATA);
        metadata.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        // since when the open epoch holds a record
        let mut data: Option<Instant> = None;
        let mut stopping = false;
        loop {
            if data.is_none() && !stopping {
                tokio::select! {
                    event = self.events.recv() => match event.ok_or(EngineError::Gone)? {
                        Event::Note(epoch, Note::Data) if epoch == self.epoch => data = Some(Instant::now()),
                        Event::Note(_, Note::Stop) => stopping = true,
                        Event::Note(_, other) => self.unexpected(other)?,
                        Event::Closed(closed) => return Err(EngineError::failed(format!(
                            "epoch {} closed by itself", closed.epoch
                        ))),
                    },
                    _ = tokio::time::sleep_until(heartbeat.into()) => {}
                    _ = metadata.tick() => { self.watch_kafka().await?; continue }
                }
                if data.is_none() && !stopping && Instant::now() < heartbeat {
                    continue;
                }
            }
            let (closed, more, stop) = self.close_live().await?;
            stopping |= stop;
            self.commit(&closed, None).await?;
            if let Some(since) = std::mem::replace(&mut data, more) {
                self.process.observer.freshness(since.elapsed());
            }
            heartbeat = Instant::now() + HEARTBEAT;
            if stopping {
                return Ok(Outcome::Stopped);
            }
        }
    }

    /// Looks for new partitions and how far behind we are.
    async fn watch_kafka(&mut self) -> Result<(), EngineError> {
        let ends = match self.ends().await {
            Ok(ends) => ends,
            Err(error) => {
                tracing::warn!(%error, "Kafka does not answer");
                return Ok(());
            }
        };
        for (at, span) in &ends {
            let next = self.frontier.get(at).map_or(span.start, |reach| reach.next);
            let topic = self.topic_name(at.topic).to_owned();
            self.process
                .observer
                .lag(&topic, at.partition, (span.end - next).max(0));
        }
        let added: Vec<TopicPartition> = ends.keys().filter(|at| !self.live.contains(at)).copied().collect();
        for topic in 0..3u8 {
            let added: Vec<TopicPartition> = added.iter().filter(|at| at.topic == topic).copied().collect();
            if added.is_empty() {
                continue;
            }
            if self.live.iter().any(|at| at.topic == topic) {
                let newest = |starts: &Vec<(i64, u8)>| starts.iter().map(|(_, generation)| *generation).max();
                let of_topic = self.generations.iter().filter(|(at, _)| at.topic == topic);
                let generation = of_topic.filter_map(|(_, starts)| newest(starts)).max().unwrap_or(1) + 1;
                self.planner.send(Plan::All(Command::Generation(topic, generation)));
            }
            for at in added {
                let low = ends[&at].start;
                tracing::info!(
                    topic = self.topic_name(topic),
                    partition = at.partition,
                    "found a new partition"
                );
                self.live.insert(at);
                self.frontier.entry(at).or_insert(Reach { first: low, next: low });
                let range = Consume {
                    at,
                    from: low,
                    until: None,
                    bound: low,
                };
                self.planner
                    .send(Plan::To(self.owner(at), Command::Consume(vec![range])));
            }
        }
        Ok(())
    }

    // ---- epochs -------------------------------------------------------------------------------------------------

    /// Closes the open epoch and waits for everything it changed; also says since when the next one has a record, if
    /// it has any, and whether a stop was asked for.
    async fn close_live(&mut self) -> Result<(Closed, Option<Instant>, bool), EngineError> {
        let epoch = self.epoch;
        self.epoch += 1;
        self.planner.send(Plan::Open(self.epoch));
        let (mut data, mut stop) = (None, false);
        loop {
            match self.events.recv().await.ok_or(EngineError::Gone)? {
                Event::Closed(closed) if closed.epoch == epoch => return Ok((closed, data, stop)),
                Event::Closed(closed) => {
                    return Err(EngineError::failed(format!(
                        "epoch {} closed before {epoch}",
                        closed.epoch
                    )));
                }
                Event::Note(at, Note::Data) if at == self.epoch => data = Some(Instant::now()),
                Event::Note(_, Note::Stop) => stop = true,
                Event::Note(_, other) => self.unexpected(other)?,
            }
        }
    }

    async fn close(&mut self) -> Result<Closed, EngineError> {
        let (closed, _, stop) = self.close_live().await?;
        if stop {
            // the epoch is closed but not committed: the next start does it again
            return Err(EngineError::Stopped);
        }
        Ok(closed)
    }

    /// Commits an epoch; `history` is given for the one that ends the replay.
    async fn commit(&mut self, closed: &Closed, history: Option<History>) -> Result<(), EngineError> {
        let results = closed.results.clone();
        let mut commit = Commit {
            epoch: closed.epoch,
            results,
            history,
            ..Commit::default()
        };
        for note in &closed.notes {
            match note {
                Note::Mark { at, next } => {
                    let reach = self.frontier.entry(*at).or_insert(Reach {
                        first: *next,
                        next: *next,
                    });
                    reach.next = reach.next.max(*next);
                }
                Note::Boundary { at, generation, start } => self.add_boundary(*at, *generation, *start),
                Note::Row(row) => commit.rows.push(row),
                Note::Rejected(reject) => commit.rejects.push(reject),
                Note::Counted {
                    records,
                    rejected,
                    reasons,
                    fields,
                } => {
                    self.totals.records += records;
                    self.totals.rejected += rejected;
                    for (reason, n) in reasons {
                        self.process.observer.dead_letters(reason, *n);
                        *self.totals.reasons.entry(reason.clone()).or_default() += n;
                    }
                    for (field, n) in fields {
                        *self.totals.fields.entry(field.clone()).or_default() += n;
                    }
                }
                other => unreachable!("{other:?} does not wait for its epoch"),
            }
        }
        let began = Instant::now();
        let stop = Arc::clone(&self.process);
        let state = super::target::State {
            topics: &self.settings.topics,
            frontier: &self.frontier,
            gaps: &self.gaps,
            legacy: self.legacy,
            generations: &self.generations,
            totals: &self.totals,
        };
        tokio::select! {
            committed = self.target.commit(commit, &state) => committed?,
            () = stop.stopped_for(Duration::from_secs(10)) => return Err(EngineError::Stopped),
        }
        self.process.observer.committed(began.elapsed());
        for (at, reach) in &self.frontier {
            let topic = self.settings.topics[at.topic as usize].as_deref().unwrap_or("unknown");
            self.process.observer.frontier(topic, at.partition, reach.next);
        }
        self.advise_kafka();
        self.write_generations().await;
        Ok(())
    }

    /// Commits group offsets, which only tools that show lag read.
    fn advise_kafka(&self) {
        let Some(cluster) = &self.cluster else { return };
        let offsets: Vec<(&str, i32, i64)> = self
            .live
            .iter()
            .filter_map(|at| Some((self.topic_name(at.topic), at.partition, self.frontier.get(at)?.next)))
            .collect();
        cluster.commit_offsets(offsets);
    }

    /// Keeps the boundaries of generations beside the objects, for readers that have no tables.
    async fn write_generations(&mut self) {
        if !std::mem::take(&mut self.fresh_boundaries) {
            return;
        }
        let Some(lake) = &self.lake else { return };
        if let Err(error) = super::generations::write(lake, &self.settings.topics, &self.generations).await {
            tracing::warn!(%error, "the boundaries of generations could not be written to the lake");
            self.fresh_boundaries = true;
        }
    }

    /// The next note of the dataflow while history is replayed.
    async fn note(&mut self) -> Result<Note, EngineError> {
        match self.events.recv().await.ok_or(EngineError::Gone)? {
            Event::Note(_, Note::Stop) => Err(EngineError::Stopped),
            Event::Note(_, note) => Ok(note),
            Event::Closed(closed) => Err(EngineError::failed(format!("epoch {} closed too early", closed.epoch))),
        }
    }

    /// Notes that may come at any time.
    fn unexpected(&self, note: Note) -> Result<(), EngineError> {
        match note {
            Note::Broken(error) => Err(EngineError::Failed(error)),
            Note::StagingLost { pass, error } if pass == self.pass => Err(EngineError::Again {
                full: false,
                reason: format!("staging was lost: {error}"),
            }),
            // reports of an earlier pass, or of a bound that lies behind
            _ => Ok(()),
        }
    }
}
