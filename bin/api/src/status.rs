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
mod state;
mod waits;
mod window;

pub use body::{Latency, OperatorStatus, PartitionStatus, Percentiles, ReplayStatus, StatusBody};
pub use dataflow::{DataflowBody, DataflowEdge, DataflowOperator, NodeKind};
pub use lag::Trend;
pub use phase::Phase;
pub use state::LoggedError;

use engine::{Graph, Observer, OperatorTaken, Profile, Reached, Source, Wait};
use ingest::Offset;
use ingest::lake::LakeState;
use state::{Replay, Stage, State, busy, seconds};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Who knows the last error.
type LastError = Box<dyn Fn() -> Option<LoggedError> + Send + Sync>;

/// See the module's head. Shared by the engine, which fills it, and by those who ask.
pub struct Status {
    state: Mutex<State>,
    profile: Option<Arc<Profile>>,
    last_error: LastError,
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
mod tests;
