//! The coordinator: the one place that decides what is read, when an epoch closes, and what is committed.
//!
//! It lives beside worker 0 of process 0. A start goes: list the lake → take the sink's fence → read the committed
//! frontier under it → ask Kafka for its ends → replay → hand over → commit epoch 0. After that the loop is closed:
//! an epoch is closed when the last one is committed and something has arrived, or once a second as the fence's
//! heartbeat; while a commit is slow, the open epoch grows instead of a queue.

mod bounds;
mod history;
mod identity;
mod live;
mod natural;
mod start;

pub(crate) use natural::DETAIL as NATURAL;

use super::collect::{Closed, Event};
use super::plan::{Plan, Planner};
use super::protocol::{Generations, Note, TopicPartition};
use super::target::{Commit, History, Recorded, Target};
use super::{EngineError, Outcome, ProcessState, Report};
use crate::config::{Mode, RunSettings};
use ingest::coverage::{AcceptGap, Gap, RangeSet};
use ingest::kafka::Cluster;
use ingest::lake::{Lake, Object};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedReceiver;

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
    /// The digests of the contents of objects without offsets.
    pub(super) digests: BTreeMap<u32, u64>,
    pub(super) unreadable: BTreeMap<u32, String>,
    pub(super) legacy: Option<(u64, u64)>,
    pub(super) frontier: BTreeMap<TopicPartition, Reach>,
    pub(super) gaps: Vec<(TopicPartition, Range<i64>, String)>,
    pub(super) generations: Generations,
    pub(super) fresh_boundaries: bool,
    pub(super) live: BTreeSet<TopicPartition>,
    pub(super) totals: Totals,
    pub(super) hydrated: Option<Closed>,
    /// Whether lake and Kafka have been found to be of one log.
    pub(super) identified: bool,
    /// Holes of history that Kafka has proved to be natural.
    pub(super) natural: BTreeMap<TopicPartition, RangeSet>,
    /// Objects that lack records which Kafka has, with the holes behind them.
    pub(super) short: BTreeMap<TopicPartition, Vec<Range<i64>>>,
    /// Natural holes as they are recorded with each partition.
    pub(super) details: BTreeMap<TopicPartition, serde_json::Value>,
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

    /// The generation that begins when partitions are added to a topic.
    fn next_generation(&self, topic: u8) -> u8 {
        let of_topic = self.generations.iter().filter(|(at, _)| at.topic == topic);
        let generations = of_topic.flat_map(|(_, starts)| starts.iter().map(|(_, generation)| *generation));
        generations.max().unwrap_or(1) + 1
    }

    fn gap(&self, at: TopicPartition, range: &Range<i64>) -> Gap {
        Gap {
            topic: self.topic_name(at.topic).to_owned(),
            partition: at.partition,
            from: range.start,
            to: range.end,
        }
    }

    // ---- epochs -------------------------------------------------------------------------------------------------

    /// Closes the open epoch and waits for everything it changed; also says whether the next one has a record, and
    /// whether a stop was asked for.
    async fn close_live(&mut self) -> Result<(Closed, bool, bool), EngineError> {
        let epoch = self.epoch;
        self.epoch += 1;
        self.planner.send(Plan::Open(self.epoch));
        let (mut data, mut stop) = (false, false);
        loop {
            match self.events.recv().await.ok_or(EngineError::Gone)? {
                Event::Closed(closed) if closed.epoch == epoch => return Ok((closed, data, stop)),
                Event::Closed(closed) => {
                    return Err(EngineError::failed(format!(
                        "epoch {} closed before {epoch}",
                        closed.epoch
                    )));
                }
                Event::Note(at, Note::Data) if at == self.epoch => data = true,
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
        let live = commit.history.is_none();
        let mut oldest: Option<i64> = None;
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
        let began = Instant::now();
        let stop = Arc::clone(&self.process);
        let state = super::target::State {
            topics: &self.settings.topics,
            frontier: &self.frontier,
            gaps: &self.gaps,
            legacy: self.legacy,
            generations: &self.generations,
            details: &self.details,
            totals: &self.totals,
        };
        tokio::select! {
            committed = self.target.commit(commit, &state) => committed?,
            () = stop.stopped_for(Duration::from_secs(10)) => return Err(EngineError::Stopped),
        }
        self.process.observer.committed(began.elapsed());
        if let Some(oldest) = oldest.filter(|_| live) {
            self.process
                .observer
                .freshness(age(oldest, jiff::Timestamp::now().as_millisecond()));
        }
        for (at, reach) in &self.frontier {
            let topic = self.settings.topics[at.topic as usize].as_deref().unwrap_or("unknown");
            self.process.observer.frontier(topic, at.partition, reach.next);
        }
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
}
