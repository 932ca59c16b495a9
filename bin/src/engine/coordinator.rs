//! The coordinator: the one place that decides what is read, when an epoch closes, and what is committed.
//!
//! It lives beside worker 0 of process 0. A start goes: list the lake → take the sink's fence → read the committed
//! frontier under it → ask Kafka for its ends → replay → hand over → commit epoch 0. After that the loop is closed:
//! an epoch is closed when the last one is committed, something has arrived and the pace is over, or once a second as
//! the fence's heartbeat; while a commit is slow, the open epoch grows instead of a queue.
//!
//! | part | does |
//! |---|---|
//! | [`flow`] | commands to the dataflow, events from it |
//! | `start` | what happens before the first byte is read |
//! | `history`, `bounds`, `read`, `prove` | epoch 0 |
//! | `identity` | compares the log with what is known of it |
//! | `live`, `pace`, `growth` | what comes after |

mod bounds;
mod flow;
mod growth;
mod history;
mod identity;
mod live;
mod pace;
mod prove;
mod read;
mod start;

pub use flow::Flow;

use super::collect::Closed;
use super::error::{EngineError, Outcome};
use super::log::generations::Generations;
use super::log::growth::Seen;
use super::log::holes;
use super::protocol::{LinesHash, Mark, Note, TopicPartition};
use super::recorded::Recorded;
use super::target::{Commit, History, State, Target};
use super::watch::{self, Watch};
use super::{ProcessState, Report};
use crate::config::{Mode, RunSettings};
use ingest::coverage::{AcceptGap, Gap, RangeSet};
use ingest::kafka::{Cluster, RecordId};
use ingest::lake::Lake;
use read::LakeRead;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How far one partition's answer reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// The first offset covered.
    pub first: i64,
    /// The next offset wanted: everything below is in the answer, or in a recorded gap.
    pub next: i64,
    /// The last record below that came from Kafka.
    pub last: Option<RecordId>,
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

/// Where the log comes from.
pub struct Sources {
    /// History, if there is a lake.
    pub lake: Option<Lake>,
    /// Kafka, if there is one.
    pub cluster: Option<Arc<Cluster>>,
}

/// A hole of the log that is part of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Offsets that nothing holds any more.
    Offsets {
        /// The partition.
        at: TopicPartition,
        /// The offsets.
        range: Range<i64>,
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
    pub frontier: BTreeMap<TopicPartition, Reach>,
    /// Records without offsets and the hash of their objects.
    pub legacy: Option<(u64, u64)>,
    /// Accepted holes.
    pub missing: Vec<Missing>,
    /// Offsets that are proved to hold no record.
    pub natural: BTreeMap<TopicPartition, RangeSet>,
    /// What the lake covers, as far as this start has found.
    pub lake: BTreeMap<TopicPartition, RangeSet>,
    /// Per partition, hashes of the lake's lines; empty for a replay that ends at a bound.
    pub hashes: BTreeMap<TopicPartition, LinesHash>,
    /// Those that this replay has found empty in Kafka, where the lake has nothing.
    pub empty: BTreeMap<TopicPartition, RangeSet>,
    /// The generations of records.
    pub generations: Generations,
    /// How many partitions each topic was seen to have.
    pub counts: BTreeMap<u8, i32>,
    /// The natural holes as they are written with the frontier.
    pub details: BTreeMap<TopicPartition, serde_json::Value>,
}

impl Answer {
    /// From the next commit on, the holes known by now are written with the frontier.
    pub(super) fn write_holes(&mut self) {
        let nothing = RangeSet::default();
        let detail = |at: &TopicPartition| {
            let (holes, lake) = (self.natural.get(at), self.lake.get(at));
            let hash = self.hashes.get(at).map(|hash| hash.all);
            super::recorded::detail(holes.unwrap_or(&nothing), lake.unwrap_or(&nothing), hash)
        };
        let partitions = self.natural.keys().chain(self.lake.keys());
        self.details = partitions.map(|at| (*at, detail(at))).collect();
    }

    /// Takes in what Kafka gave where the lake has nothing: offsets without a record.
    pub(super) fn found_empty(&mut self, at: TopicPartition, mark: &Mark) {
        let nothing = RangeSet::default();
        let (empty, lake) = (
            self.empty.entry(at).or_default(),
            self.lake.get(&at).unwrap_or(&nothing),
        );
        let holes = mark.holes.iter().flat_map(|(from, to)| lake.missing(*from..*to));
        holes.for_each(|hole| empty.insert(hole));
    }

    /// Takes in how far a partition has been read.
    pub(super) fn advance(&mut self, at: TopicPartition, mark: &Mark) {
        let reach = self.frontier.entry(at).or_insert(Reach {
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
fn newer(one: Option<RecordId>, other: Option<RecordId>) -> Option<RecordId> {
    one.into_iter().chain(other).max_by_key(|id| id.offset)
}

/// See the module's head.
pub struct Coordinator {
    settings: Arc<RunSettings>,
    accept_gaps: Vec<AcceptGap>,
    sources: Sources,
    target: Target,
    flow: Flow,
    process: Arc<ProcessState>,
    /// What the tables answered for when the run began.
    recorded: Recorded,
    /// What this run has read of the lake.
    read: LakeRead,
    /// What the next commit answers for.
    answer: Answer,
    /// The partitions that are read without an end.
    live: BTreeSet<TopicPartition>,
    /// Topics that have to exist and do not: the run is not ready.
    demanded: Vec<u8>,
    /// Names that exist and look like theirs.
    nearest: Vec<String>,
    totals: Totals,
    began: Instant,
}

impl Coordinator {
    /// A coordinator that has done nothing yet.
    pub fn new(
        settings: Arc<RunSettings>,
        accept_gaps: Vec<AcceptGap>,
        sources: Sources,
        target: Target,
        flow: Flow,
        process: Arc<ProcessState>,
    ) -> Coordinator {
        Coordinator {
            settings,
            accept_gaps,
            sources,
            target,
            flow,
            process,
            recorded: Recorded::default(),
            read: LakeRead::default(),
            answer: Answer::default(),
            live: BTreeSet::new(),
            demanded: Vec::new(),
            nearest: Vec::new(),
            totals: Totals::default(),
            began: Instant::now(),
        }
    }

    /// Runs to the end: for a backfill the commit of history, else until stopped or failed. What there is to say then.
    pub async fn run(mut self) -> Result<Report, EngineError> {
        let result = self.hydrate_and_follow().await;
        self.flow.end(&result);
        self.target.close().await;
        result.map(|_| self.report())
    }

    async fn hydrate_and_follow(&mut self) -> Result<Outcome, EngineError> {
        self.list().await?;
        self.claim().await?;
        let (seen, ends) = self.first_look().await?;
        self.find_missing_topics(&ends).await?;
        let watch = self.watch(seen);
        self.hydrate(ends, watch.as_ref()).await?;
        self.process.observer.hydrated();
        match self.settings.mode {
            Mode::Run => self.follow(watch).await,
            _ => Ok(Outcome::Finished),
        }
    }

    fn watch(&self, seen: Seen) -> Option<Watch> {
        let cluster = self
            .sources
            .cluster
            .as_ref()
            .filter(|_| self.settings.mode == Mode::Run)?;
        let topics = self.settings.topics.clone();
        Some(Watch::start(Arc::clone(cluster), topics, seen, live::METADATA))
    }

    fn report(&self) -> Report {
        let mut report = Report {
            totals: self.totals.clone(),
            ..Report::default()
        };
        for (at, reach) in &self.answer.frontier {
            let partitions = report.frontier.entry(self.topic_name(at.topic).to_owned()).or_default();
            partitions.insert(at.partition, reach.next);
        }
        report
    }

    /// What comes of a future, unless the process is asked to stop first: for what takes its time before anything is
    /// committed.
    async fn unless_stopped<T>(
        process: &ProcessState,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        tokio::select! {
            done = work => done,
            () = process.stopped_for(Duration::ZERO) => Err(EngineError::Stopped),
        }
    }

    /// The name of a topic that records have come from.
    fn topic_name(&self, topic: u8) -> &str {
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

    /// Commits an epoch; `history` is given for the one that ends the replay.
    /// The readers go on meanwhile, until `watch` sees that a topic has grown.
    async fn commit(
        &mut self,
        closed: &Closed,
        history: Option<History>,
        watch: Option<&Watch>,
    ) -> Result<(), EngineError> {
        let mut commit = Commit {
            epoch: closed.epoch,
            results: closed.results.clone(),
            history,
            ..Commit::default()
        };
        let live = commit.history.is_none();
        let mut oldest: Option<i64> = None;
        let before = self.totals.records;
        for note in &closed.notes {
            match note {
                Note::Mark { at, mark } => self.answer.advance(*at, mark),
                Note::Stamped { oldest: stamp } => oldest = Some(oldest.map_or(*stamp, |oldest| oldest.min(*stamp))),
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
        if commit.history.is_some() {
            self.totals.replay.get_or_insert(Replay {
                records: self.totals.records,
                seconds: self.began.elapsed().as_secs_f64(),
                workers: self.flow.workers(),
            });
        }
        let began = Instant::now();
        let process = Arc::clone(&self.process);
        let state = State {
            topics: &self.settings.topics,
            answer: &self.answer,
            totals: &self.totals,
        };
        let dropped = {
            let mut committed = std::pin::pin!(self.target.commit(commit, &state));
            let mut stopped = std::pin::pin!(process.stopped_for(Duration::from_secs(10)));
            let mut holding = false;
            loop {
                tokio::select! {
                    committed = &mut committed => break committed?,
                    () = &mut stopped => return Err(EngineError::Stopped),
                    () = watch::growth(watch), if !holding => {
                        self.flow.hold();
                        holding = true;
                    }
                }
            }
        };
        self.process.observer.dead_letters_dropped(dropped);
        self.process.observer.committed(began.elapsed());
        if live {
            self.process.observer.live_records(self.totals.records - before);
            let changed = self.settings.results.definitions().iter().zip(&closed.results);
            for (result, rows) in changed.filter(|(_, rows)| !rows.is_empty()) {
                let observer = &self.process.observer;
                observer.result_rows(result.table.name, rows.len() as u64);
            }
        }
        if let Some(oldest) = oldest.filter(|_| live) {
            let now = jiff::Timestamp::now().as_millisecond();
            self.process.observer.freshness(age(oldest, now));
        }
        for (at, reach) in &self.answer.frontier {
            let topic = self.topic_name(at.topic);
            self.process.observer.frontier(topic, at.partition, reach.next);
        }
        Ok(())
    }
}

/// How long ago `stamp` was; a producer whose clock is ahead of ours has just written.
fn age(stamp: i64, now: i64) -> Duration {
    Duration::from_millis(u64::try_from(now.saturating_sub(stamp)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_ahead_makes_no_negative_age() {
        assert_eq!(age(1_000, 1_250), Duration::from_millis(250));
        assert_eq!(age(1_000, 900), Duration::ZERO);
        assert_eq!(age(i64::MIN, 900), Duration::from_millis(i64::MAX as u64));
    }

    #[test]
    fn an_answer_never_moves_back_and_remembers_holes() {
        let at = TopicPartition { topic: 0, partition: 0 };
        let id = |offset| RecordId {
            offset,
            timestamp: 0,
            hash: 0,
        };
        let mark = |next, last, holes: &[(i64, i64)]| Mark {
            next,
            last,
            holes: holes.to_vec(),
        };
        let mut answer = Answer::default();
        answer.advance(at, &mark(10, Some(id(8)), &[(9, 10)]));
        answer.advance(at, &mark(7, None, &[]));
        let reach = answer.frontier[&at];
        assert_eq!((reach.next, reach.last), (10, Some(id(8))));
        assert_eq!(answer.natural[&at].to_string(), "9..10");
    }
}
