//! What a run is doing, how far it is, and what limits it: the bodies of `GET /api/status` and `GET /api/dataflow`.
//!
//! [`Status`] listens to the engine. What it keeps is bounded: a minute of figures ([`window`]), four looks at each
//! partition ([`lag`]), eleven samples of the operators ([`sampled`]). Every method is a few additions under a lock that
//! nobody holds for longer; once a second one of them samples the operators too.

mod body;
mod bottleneck;
mod dataflow;
mod histogram;
mod lag;
mod phase;
mod rounded;
mod sampled;
mod waits;
mod window;

pub use body::{Latency, OperatorStatus, PartitionStatus, Percentiles, ReplayStatus, StatusBody};
pub use dataflow::{DataflowBody, DataflowEdge, DataflowOperator, NodeKind};
pub use lag::Trend;
pub use phase::Phase;

use bottleneck::{Busiest, Facts, bottleneck};
use dataflow::Dataflow;
use engine::{Graph, Observer, OperatorTaken, Profile, Reached, Source, Wait};
use ingest::Offset;
use ingest::lake::LakeState;
use lag::Partition;
use rounded::rounded;
use sampled::Sampled;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use waits::Waits;
use window::Window;

/// A run whose records wait for so long catches up.
const BEHIND_SECONDS: f64 = 10.0;

/// The last error of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedError {
    /// When it was logged.
    pub at: SystemTime,
    /// Its text, without secrets.
    pub message: String,
}

/// Who knows the last error.
type LastError = Box<dyn Fn() -> Option<LoggedError> + Send + Sync>;

/// See the module's head. Shared by the engine, which fills it, and by those who ask.
pub struct Status {
    state: Mutex<State>,
    profile: Option<Arc<Profile>>,
    last_error: LastError,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Listing,
    Replaying,
    Following,
}

/// Objects of history that are read, and those that are to be read.
#[derive(Clone, Copy, Debug)]
struct Replay {
    began: Instant,
    objects: u64,
    objects_total: u64,
    bytes: u64,
    bytes_total: u64,
}

struct State {
    stage: Stage,
    replay: Replay,
    partitions: BTreeMap<String, BTreeMap<i32, Partition>>,
    commit: i64,
    committing: Option<Instant>,
    window: Window,
    rejects: BTreeMap<String, u64>,
    gaps: i64,
    lake_outage: Option<(Instant, String)>,
    waits: Waits,
    busy: Sampled<(usize, String)>,
    waited: Sampled<(usize, Wait)>,
    dataflow: Dataflow,
}

/// The answer to `GET /api/status`.
pub fn handle_status(status: &Status) -> StatusBody {
    status.body()
}

/// The answer to `GET /api/dataflow`.
pub fn handle_dataflow(status: &Status) -> DataflowBody {
    let graph = status.graph();
    let now = Instant::now();
    let mut state = status.locked();
    let body = state.dataflow.body(&graph, state.window.commit_share(now), now);
    if state.dataflow.is_due(now) {
        state.dataflow.sample(&graph, now);
    }
    body
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status").finish_non_exhaustive()
    }
}

impl Status {
    /// Of a run that begins now. Without a profile nothing is known of operators; `last_error` is asked with each answer.
    pub fn new(
        profile: Option<Arc<Profile>>,
        last_error: impl Fn() -> Option<LoggedError> + Send + Sync + 'static,
    ) -> Status {
        let now = Instant::now();
        Status {
            state: Mutex::new(State::new(now)),
            profile,
            last_error: Box::new(last_error),
        }
    }

    /// Where the partitions stand, in the order of topics and partitions.
    pub fn partitions(&self) -> Vec<PartitionStatus> {
        let (now, wall) = (Instant::now(), jiff::Timestamp::now().as_millisecond());
        self.locked().partitions_status(now, wall)
    }

    /// How long the readers of this process have waited for this.
    pub fn waited(&self, on: Wait) -> Duration {
        let sums = self.locked().waits.sums(Instant::now());
        sums.iter()
            .filter(|((_, wait), _)| *wait == on)
            .map(|(_, waited)| *waited)
            .sum()
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn operators(&self) -> Vec<OperatorTaken> {
        self.profile
            .as_ref()
            .map_or_else(Vec::new, |profile| profile.operators())
    }

    fn graph(&self) -> Graph {
        self.profile
            .as_ref()
            .map_or_else(Graph::default, |profile| profile.graph())
    }

    /// Samples the operators, when it is time to.
    fn sample(&self, state: &mut State, now: Instant) {
        if state.busy.is_due(now) {
            state.busy.take(busy(&self.operators()), now);
            state.waited.take(seconds(state.waits.sums(now)), now);
        }
        if state.dataflow.is_due(now) {
            state.dataflow.sample(&self.graph(), now);
        }
    }

    fn body(&self) -> StatusBody {
        let (now, wall) = (Instant::now(), jiff::Timestamp::now().as_millisecond());
        // before the lock: the operators have locks of their own
        let operators = self.operators();
        let last_error = (self.last_error)();
        let mut state = self.locked();
        let body = state.body(&operators, last_error, now, wall);
        if state.busy.is_due(now) {
            state.busy.take(busy(&operators), now);
            let waited = seconds(state.waits.sums(now));
            state.waited.take(waited, now);
        }
        body
    }
}

/// How long each operator ran.
fn busy(operators: &[OperatorTaken]) -> BTreeMap<(usize, String), f64> {
    let of = |operator: &OperatorTaken| {
        let key = (operator.worker, operator.name.clone());
        (key, operator.taken.busy.as_secs_f64())
    };
    operators.iter().map(of).collect()
}

fn seconds<K: Ord>(sums: BTreeMap<K, Duration>) -> BTreeMap<K, f64> {
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

impl State {
    fn new(now: Instant) -> State {
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

    fn partition(&mut self, topic: &str, partition: i32) -> &mut Partition {
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

    fn body(
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

    fn partitions_status(&self, now: Instant, wall: i64) -> Vec<PartitionStatus> {
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

/// The worker that is busy most of the time.
fn busiest(busy: &BTreeMap<(usize, String), f64>) -> Option<Busiest> {
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

impl Observer for Status {
    fn claimed(&self, _fence: i64, commit: i64) {
        self.locked().commit = commit;
    }

    fn history(&self, objects: u64, bytes: u64) {
        let mut state = self.locked();
        state.stage = Stage::Replaying;
        // history that is read again begins again: its commit has failed
        state.committing = None;
        state.replay = Replay {
            began: Instant::now(),
            objects: 0,
            objects_total: objects,
            bytes: 0,
            bytes_total: bytes,
        };
    }

    fn object(&self, _records: u64, bytes: u64, _rejected: u64) {
        let mut state = self.locked();
        state.replay.objects += 1;
        state.replay.bytes += bytes;
        self.sample(&mut state, Instant::now());
    }

    fn hydrated(&self) {
        self.locked().stage = Stage::Following;
    }

    fn waits(&self, worker: usize, on: Option<Wait>) {
        self.locked().waits.begin(worker, on, Instant::now());
    }

    fn read(&self, topic: &str, from: Source, records: u64) {
        self.locked().dataflow.read(topic, from, records);
    }

    fn lake_end(&self, topic: &str, partition: ingest::Partition, end: Offset) {
        let mut state = self.locked();
        state.partition(topic, partition.0).lake_end = Some(end.0);
        state.dataflow.read(topic, Source::Lake, 0);
    }

    fn kafka(&self, topic: &str, partition: ingest::Partition, held: Range<Offset>) {
        let held = held.start.0..held.end.0;
        let mut state = self.locked();
        state.partition(topic, partition.0).look(held, Instant::now());
        state.dataflow.read(topic, Source::Kafka, 0);
    }

    fn round_trip(&self, took: Duration) {
        self.locked().window.round_trip(took, Instant::now());
    }

    fn committing(&self) {
        self.locked().committing = Some(Instant::now());
    }

    fn committed(&self, number: i64, took: Duration) {
        let now = Instant::now();
        let mut state = self.locked();
        state.committing = None;
        state.commit = number;
        state.window.committed(took, now);
        self.sample(&mut state, now);
    }

    fn live_records(&self, records: u64) {
        self.locked().window.records(records, Instant::now());
    }

    fn result_rows(&self, _result: &str, rows: u64) {
        self.locked().dataflow.written(rows);
    }

    fn freshness(&self, age: Duration) {
        self.locked().window.freshness(age, Instant::now());
    }

    fn frontier(&self, topic: &str, partition: ingest::Partition, reached: Reached) {
        self.locked().partition(topic, partition.0).advance(reached);
    }

    fn dead_letters(&self, reason: &str, count: u64) {
        let mut state = self.locked();
        match state.rejects.get_mut(reason) {
            Some(sum) => *sum += count,
            None => drop(state.rejects.insert(reason.to_owned(), count)),
        }
    }

    fn gaps(&self, offsets: i64) {
        self.locked().gaps = offsets;
    }

    fn lake(&self, state: &LakeState) {
        self.locked().lake_outage = match state {
            LakeState::Unavailable { since, error } => Some((*since, error.clone())),
            LakeState::Available => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status::new(None, || None)
    }

    fn reached(next: i64) -> Reached {
        Reached {
            next: Offset(next),
            newest: None,
        }
    }

    #[test]
    fn the_shape_is_the_contract() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
        let message = "cannot reach Kafka".to_owned();
        let error = LoggedError { at, message };
        let status = Status::new(None, move || Some(error.clone()));
        status.claimed(3, 369);
        status.kafka("pin", ingest::Partition(0), Offset::range(0..1));
        status.lake_end("pin", ingest::Partition(0), Offset(1));
        status.hydrated();
        status.committed(370, Duration::from_millis(4));
        status.frontier("pin", ingest::Partition(0), reached(1));
        status.freshness(Duration::from_millis(12));
        status.dead_letters("not_json", 2);
        status.dead_letters("not_json", 1);
        status.gaps(300);
        let body = serde_json::to_value(handle_status(&status)).unwrap();
        let expected = serde_json::json!({
            "phase": "live",
            "replay": { "percent": 100.0, "eta_seconds": 0.0 },
            "partitions": [{
                "topic": "pin", "partition": 0, "lake_end": 1, "start": 0, "frontier": 1, "end": 1,
                "lag_records": 0, "lag_seconds": 0.0, "trend": "steady",
            }],
            "commit": 370,
            "commits_per_second": 1.0,
            "freshness_ms": { "p50": 12.0, "p99": 12.0 },
            "latency_ms": {
                "visible": { "p50": 12.0, "p99": 12.0 },
                "commit": { "p50": 3.97, "p99": 3.97 },
                "broker": { "p50": null, "p99": null },
            },
            "operators": [],
            "rejects": { "not_json": 3 },
            "gaps": 300,
            "last_error": "cannot reach Kafka",
            "last_error_at": "1970-01-01T00:00:01.500Z",
            "bottleneck": "Nothing: no records arrive.",
        });
        assert_eq!(body, expected);
        let read: StatusBody = serde_json::from_value(body.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), body);
    }

    #[test]
    fn phases_follow_one_another_and_percent_is_100_once_history_is_committed() {
        let status = status();
        let shown = || {
            let body = handle_status(&status);
            (body.phase, body.replay.percent)
        };
        assert_eq!(shown(), (Phase::Listing, 0.0));
        assert_eq!(handle_status(&status).replay.eta_seconds, None);
        status.history(3, 1000);
        assert_eq!(shown(), (Phase::Replaying, 0.0));
        status.object(10, 250, 0);
        assert_eq!(shown(), (Phase::Replaying, 25.0));
        assert!(handle_status(&status).replay.eta_seconds.unwrap() >= 0.0);
        status.object(10, 750, 0);
        assert_eq!(shown(), (Phase::Replaying, 99.9));
        // its commit fails, and it is read again
        status.committing();
        status.history(3, 1000);
        assert_eq!(shown(), (Phase::Replaying, 0.0));
        assert_eq!(status.locked().committing, None);
        status.hydrated();
        assert_eq!(shown(), (Phase::Live, 100.0));
        // nothing of a new partition is committed for longer than a run may be behind
        let long_ago = (jiff::Timestamp::now().as_millisecond()) - 60_000;
        status.frontier(
            "pin",
            ingest::Partition(0),
            Reached {
                next: Offset(5),
                newest: Some(long_ago),
            },
        );
        status.kafka("pin", ingest::Partition(0), Offset::range(0..50));
        assert_eq!(shown(), (Phase::CatchingUp, 100.0));
        status.frontier("pin", ingest::Partition(0), reached(50));
        assert_eq!(shown(), (Phase::Live, 100.0));
    }

    #[test]
    fn before_the_first_commit_the_last_run_s_is_told() {
        let status = status();
        status.claimed(3, 370);
        status.frontier("pin", ingest::Partition(0), reached(7));
        status.kafka("geo", ingest::Partition(1), Offset::range(2..9));
        let body = handle_status(&status);
        assert_eq!(body.commit, 370);
        let shown: Vec<_> = body
            .partitions
            .iter()
            .map(|of| (of.topic.as_str(), of.frontier, of.end))
            .collect();
        assert_eq!(shown, [("geo", None, 9), ("pin", Some(7), 7)]);
    }

    #[test]
    fn the_busiest_worker_is_named_with_its_operator() {
        let busy = [
            ((0, "Read"), 0.5),
            ((0, "other"), 0.1),
            ((1, "Read"), 0.3),
            ((1, "a: count"), 0.6),
        ];
        let busy = busy.map(|((worker, name), share)| ((worker, name.to_owned()), share));
        let busiest = busiest(&busy.into()).unwrap();
        assert_eq!((busiest.worker, busiest.operator), (1, ("a: count".to_owned(), 0.6)));
        assert!((busiest.share - 0.9).abs() < 1e-9);
        assert_eq!(super::busiest(&BTreeMap::new()), None);
    }

    #[test]
    fn a_replay_that_waits_says_for_what() {
        let status = status();
        status.history(2, 10);
        status.waits(0, Some(Wait::Lake));
        // the first sample is taken with the first answer
        handle_status(&status);
        std::thread::sleep(Duration::from_millis(50));
        let sentence = handle_status(&status).bottleneck;
        assert!(sentence.starts_with("The lake: workers wait "), "{sentence}");
    }
}
