//! What is known of a run, and the body that says it.

use super::body::{Latency, OperatorStatus, PartitionStatus, Percentiles, ReplayStatus, StatusBody};
use super::bottleneck::{Busiest, Facts, bottleneck};
use super::dataflow::Dataflow;
use super::lag::Partition;
use super::phase::Phase;
use super::rounded::rounded;
use super::sampled::Sampled;
use super::waits::{self, Waits};
use super::window::Window;
use engine::{OperatorTaken, Wait};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// The last error of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedError {
    /// When it was logged.
    pub at: SystemTime,
    /// Its text, without secrets.
    pub message: String,
}

/// A run whose records wait for so long catches up.
const BEHIND_SECONDS: f64 = 10.0;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Listing,
    Replaying,
    Following,
}

/// Objects of history that are read, and those that are to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replay {
    pub(super) began: Instant,
    pub(super) objects: u64,
    pub(super) objects_total: u64,
    pub(super) bytes: u64,
    pub(super) bytes_total: u64,
}

/// What is known of a run.
pub(super) struct State {
    pub(super) stage: Stage,
    pub(super) replay: Replay,
    pub(super) partitions: BTreeMap<String, BTreeMap<i32, Partition>>,
    pub(super) commit: i64,
    pub(super) committing: Option<Instant>,
    pub(super) window: Window,
    pub(super) rejects: BTreeMap<String, u64>,
    pub(super) gaps: i64,
    pub(super) lake_outage: Option<(Instant, String)>,
    pub(super) waits: Waits,
    pub(super) busy: Sampled<(usize, String)>,
    pub(super) waited: Sampled<(usize, Wait)>,
    pub(super) dataflow: Dataflow,
}

impl State {
    pub(super) fn new(now: Instant) -> State {
        State {
            stage: Stage::Listing,
            replay: Replay {
                began: now,
                objects: 0,
                objects_total: 0,
                bytes: 0,
                bytes_total: 0,
            },
            partitions: BTreeMap::new(),
            commit: 0,
            committing: None,
            window: Window::new(now),
            rejects: BTreeMap::new(),
            gaps: 0,
            lake_outage: None,
            waits: Waits::default(),
            busy: Sampled::new(),
            waited: Sampled::new(),
            dataflow: Dataflow::new(),
        }
    }

    pub(super) fn partition(&mut self, topic: &str, partition: i32) -> &mut Partition {
        // most calls are of a topic that is known: no name is copied for them
        if !self.partitions.contains_key(topic) {
            self.partitions.insert(topic.to_owned(), BTreeMap::new());
        }
        let of_topic = self.partitions.get_mut(topic).expect("it was put there");
        of_topic
            .entry(partition)
            .or_insert_with(|| Partition::new(Instant::now()))
    }

    fn partitions(&self) -> impl Iterator<Item = (&str, i32, &Partition)> {
        self.partitions.iter().flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(|(partition, known)| (topic.as_str(), *partition, known))
        })
    }

    pub(super) fn body(
        &self,
        operators: &[OperatorTaken],
        last_error: Option<LoggedError>,
        now: Instant,
        wall: i64,
    ) -> StatusBody {
        let busy = self.busy.shares(busy(operators), now);
        let facts = self.facts(&busy, now, wall);
        let freshness = percentiles(self.window.freshness_ms([0.5, 0.99], now), 1);
        let operator = |operator: &OperatorTaken| {
            let share = busy.get(&(operator.worker, operator.name.clone()));
            OperatorStatus {
                name: operator.name.clone(),
                worker: operator.worker,
                busy: rounded(share.copied().unwrap_or(0.0), 4),
                bytes: operator.taken.bytes,
            }
        };
        let at = |error: &LoggedError| jiff::Timestamp::try_from(error.at).ok().map(|at| format!("{at:.3}"));
        StatusBody {
            phase: facts.phase,
            replay: self.replay_status(now),
            partitions: self.partitions_status(now, wall),
            commit: self.commit,
            commits_per_second: rounded(self.window.commits_per_second(now), 1),
            freshness_ms: freshness,
            latency_ms: Latency {
                visible: freshness,
                commit: percentiles(self.window.commit_ms([0.5, 0.99], now), 2),
                broker: percentiles(self.window.round_trip_ms([0.5, 0.99], now), 2),
            },
            operators: operators.iter().map(operator).collect(),
            rejects: self.rejects.clone(),
            gaps: self.gaps,
            last_error_at: last_error.as_ref().and_then(at),
            last_error: last_error.map(|error| error.message),
            bottleneck: bottleneck(&facts),
        }
    }

    pub(super) fn partitions_status(&self, now: Instant, wall: i64) -> Vec<PartitionStatus> {
        let partition = |(topic, partition, known): (&str, i32, &Partition)| PartitionStatus {
            topic: topic.to_owned(),
            partition,
            lake_end: known.lake_end,
            start: known.start(),
            frontier: known.frontier(),
            end: known.end(),
            lag_records: known.lag_records(),
            lag_seconds: rounded(known.lag_seconds(now, wall), 3),
            trend: known.trend(now),
        };
        self.partitions().map(partition).collect()
    }

    fn replay_status(&self, now: Instant) -> ReplayStatus {
        if self.stage == Stage::Following {
            return ReplayStatus {
                percent: 100.0,
                eta_seconds: Some(0.0),
            };
        }
        let Replay { bytes, bytes_total, .. } = self.replay;
        let share = if bytes_total == 0 {
            0.0
        } else {
            bytes as f64 / bytes_total as f64
        };
        let seconds = now.saturating_duration_since(self.replay.began).as_secs_f64();
        let left = bytes_total.saturating_sub(bytes) as f64;
        ReplayStatus {
            percent: rounded(share * 100.0, 1).min(99.9),
            eta_seconds: (bytes > 0).then(|| rounded(left / bytes as f64 * seconds, 1)),
        }
    }

    fn facts(&self, busy: &BTreeMap<(usize, String), f64>, now: Instant, wall: i64) -> Facts {
        let since = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
        let lag_seconds = self.partitions().map(|(_, _, known)| known.lag_seconds(now, wall));
        let lag_seconds = lag_seconds.fold(0.0, f64::max);
        let phase = match self.stage {
            Stage::Listing => Phase::Listing,
            Stage::Replaying => Phase::Replaying,
            Stage::Following if lag_seconds >= BEHIND_SECONDS => Phase::CatchingUp,
            Stage::Following => Phase::Live,
        };
        let waited = self.waited.shares(seconds(self.waits.sums(now)), now);
        let mut workers: Vec<usize> = busy.keys().map(|(worker, _)| *worker).collect();
        workers.extend(waited.keys().map(|(worker, _)| *worker));
        workers.sort_unstable();
        workers.dedup();
        let waits = |on: Wait| waits::of_all(&waited, workers.len(), on);
        Facts {
            phase,
            lake_outage: self.lake_outage.as_ref().map(|(at, error)| (since(*at), error.clone())),
            objects_left: self.replay.objects_total.saturating_sub(self.replay.objects),
            committing: self.committing.map(since),
            commit_share: self.window.commit_share(now),
            busiest: busiest(busy),
            waits_for_lake: waits(Wait::Lake),
            waits_for_staging: waits(Wait::Staging),
            lag_records: self.partitions().map(|(_, _, known)| known.lag_records()).sum(),
            lag_seconds,
            records_per_second: self.window.records_per_second(now),
        }
    }
}

/// How long each operator ran.
pub(super) fn busy(operators: &[OperatorTaken]) -> BTreeMap<(usize, String), f64> {
    let of = |operator: &OperatorTaken| {
        let key = (operator.worker, operator.name.clone());
        (key, operator.taken.busy.as_secs_f64())
    };
    operators.iter().map(of).collect()
}

pub(super) fn seconds<K: Ord>(sums: BTreeMap<K, Duration>) -> BTreeMap<K, f64> {
    let seconds = sums.into_iter().map(|(key, sum)| (key, sum.as_secs_f64()));
    seconds.collect()
}

/// Percentiles of a window, as they are shown.
fn percentiles(of: Option<[f64; 2]>, digits: i32) -> Percentiles {
    Percentiles {
        p50: of.map(|[p50, _]| rounded(p50, digits)),
        p99: of.map(|[_, p99]| rounded(p99, digits)),
    }
}

/// The worker that is busy most of the time.
pub(super) fn busiest(busy: &BTreeMap<(usize, String), f64>) -> Option<Busiest> {
    let mut workers: BTreeMap<usize, Busiest> = BTreeMap::new();
    for ((worker, name), share) in busy {
        let of_worker = workers.entry(*worker).or_insert_with(|| Busiest {
            worker: *worker,
            share: 0.0,
            operator: (name.clone(), *share),
        });
        of_worker.share = (of_worker.share + share).min(1.0);
        if *share > of_worker.operator.1 {
            of_worker.operator = (name.clone(), *share);
        }
    }
    workers.into_values().max_by(|a, b| a.share.total_cmp(&b.share))
}
