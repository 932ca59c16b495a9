//! What a run shows of itself while it runs: the engine reports, and metrics, health, status and progress listen.

use crate::config::{BackfillSettings, RunSettings};
use crate::health::Health;
use crate::logging;
use crate::metrics::Metrics;
use api::{Api, Status};
use engine::{Commit, Observer, Options, Profile, Reached, SinkOptions, Source, Wait};
use ingest::lake::LakeState;
use ingest::{Offset, Partition};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use workload::progress::{Progress, ProgressStyle};

/// The parts that listen to the engine of one process: each hears everything, in this order.
pub struct Shown {
    /// What Prometheus sees.
    pub metrics: Arc<Metrics>,
    /// What `/readyz` says.
    pub health: Arc<Health>,
    /// What `/api/status` says.
    pub status: Arc<Status>,
    parts: Vec<Arc<dyn Observer>>,
    /// What operators take; noted where metrics are served.
    profile: Option<Arc<Profile>>,
    /// What answers questions about results, where that is served.
    api: Option<Arc<Api>>,
}

impl Shown {
    /// Begins to show `run`.
    pub fn of_run(settings: &RunSettings) -> Shown {
        let profile = settings.serve.is_some().then(Arc::<Profile>::default);
        Shown::new(
            &settings.engine,
            ProgressStyle::Log,
            profile,
            settings.ready_lag_records,
        )
    }

    /// What it holds is handed to `api` as well.
    pub fn with_api(self, api: Option<Arc<Api>>) -> Shown {
        Shown { api, ..self }
    }

    /// Begins to show `backfill`, which has no server that answers questions.
    pub fn of_backfill(settings: &BackfillSettings) -> Shown {
        Shown::new(&settings.engine, ProgressStyle::for_terminal(), None, 0)
    }

    fn new(options: &Options, style: ProgressStyle, profile: Option<Arc<Profile>>, ready_lag_records: u64) -> Shown {
        let process = options.workers.process;
        let schema = match &options.sink {
            SinkOptions::Postgres(postgres) => postgres.schema.as_str(),
            SinkOptions::Files(_) => "",
        };
        let status = Arc::new(Status::new(profile.clone(), logging::last_error));
        let metrics = Arc::new(Metrics::of_run(schema, Arc::clone(&status), profile.clone()));
        let health = Arc::new(Health::new(process, ready_lag_records));
        let progress = Arc::new(ReplayProgress::start((process == 0).then_some(style)));
        Shown {
            parts: vec![
                Arc::clone(&metrics) as Arc<dyn Observer>,
                Arc::clone(&status) as Arc<dyn Observer>,
                Arc::clone(&health) as Arc<dyn Observer>,
                progress,
            ],
            metrics,
            health,
            status,
            profile,
            api: None,
        }
    }

    fn each(&self, report: impl Fn(&dyn Observer)) {
        self.parts.iter().for_each(|part| report(&**part));
    }
}

impl Observer for Shown {
    fn claimed(&self, fence: i64, commit: i64) {
        self.each(|part| part.claimed(fence, commit));
    }

    fn history(&self, objects: u64, bytes: u64) {
        self.each(|part| part.history(objects, bytes));
    }

    fn object(&self, records: u64, bytes: u64, rejected: u64) {
        self.each(|part| part.object(records, bytes, rejected));
    }

    fn fetched(&self, from: Source, took: Duration) {
        self.each(|part| part.fetched(from, took));
    }

    fn decoded(&self, from: Source, took: Duration) {
        self.each(|part| part.decoded(from, took));
    }

    fn read(&self, topic: &str, from: Source, records: u64) {
        self.each(|part| part.read(topic, from, records));
    }

    fn waits(&self, worker: usize, on: Option<Wait>) {
        self.each(|part| part.waits(worker, on));
    }

    fn lake_end(&self, topic: &str, partition: Partition, end: Offset) {
        self.each(|part| part.lake_end(topic, partition, end));
    }

    fn kafka(&self, topic: &str, partition: Partition, held: Range<Offset>) {
        self.each(|part| part.kafka(topic, partition, held.clone()));
    }

    fn round_trip(&self, took: Duration) {
        self.each(|part| part.round_trip(took));
    }

    fn hydrated(&self) {
        self.each(|part| part.hydrated());
    }

    fn committing(&self) {
        if self.api.is_some() {
            http_server::begin_urgent_work();
        }
        self.each(|part| part.committing());
    }

    fn committed(&self, number: i64, took: Duration) {
        http_server::end_urgent_work();
        self.each(|part| part.committed(number, took));
    }

    fn persisted(&self, commit: Commit<'_>) {
        if let Some(api) = &self.api {
            api.persisted(commit);
        }
    }

    fn live_records(&self, records: u64) {
        self.each(|part| part.live_records(records));
    }

    fn result_rows(&self, result: &str, rows: u64) {
        self.each(|part| part.result_rows(result, rows));
    }

    fn pace(&self, pace: Duration) {
        self.each(|part| part.pace(pace));
    }

    fn freshness(&self, age: Duration) {
        self.each(|part| part.freshness(age));
    }

    fn frontier(&self, topic: &str, partition: Partition, reached: Reached) {
        self.each(|part| part.frontier(topic, partition, reached));
    }

    fn lag(&self, topic: &str, partition: Partition, records: i64) {
        self.each(|part| part.lag(topic, partition, records));
    }

    fn dead_letters(&self, reason: &str, count: u64) {
        self.each(|part| part.dead_letters(reason, count));
    }

    fn dead_letters_dropped(&self, count: u64) {
        self.each(|part| part.dead_letters_dropped(count));
    }

    fn gaps(&self, offsets: i64) {
        self.each(|part| part.gaps(offsets));
    }

    fn lake(&self, state: &LakeState) {
        self.each(|part| part.lake(state));
    }

    fn absent(&self, topics: usize) {
        self.each(|part| part.absent(topics));
    }

    fn profile(&self) -> Option<Arc<Profile>> {
        self.profile.clone()
    }
}

/// The progress of a replay, until it has ended.
struct ReplayProgress(Mutex<Option<Progress>>);

impl ReplayProgress {
    fn start(style: Option<ProgressStyle>) -> ReplayProgress {
        ReplayProgress(Mutex::new(style.map(Progress::start)))
    }

    fn with(&self, act: impl FnOnce(&Progress)) {
        if let Some(progress) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            act(progress);
        }
    }
}

impl Observer for ReplayProgress {
    fn history(&self, objects: u64, bytes: u64) {
        self.with(|progress| progress.total(objects, bytes));
    }

    fn object(&self, records: u64, bytes: u64, rejected: u64) {
        self.with(|progress| progress.object(records, bytes, rejected));
    }

    fn hydrated(&self) {
        let progress = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // its last line comes before anything live
        if let Some(progress) = progress {
            progress.finish();
        }
    }
}
