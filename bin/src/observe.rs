//! What a run shows of itself while it runs: the engine reports, metrics, health and progress listen.

use crate::config::{BackfillSettings, RunSettings};
use crate::health::Health;
use crate::metrics::{HydrationEstimate, Metrics};
use engine::{Observer, Options, Profile};
use ingest::lake::LakeState;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use workload::progress::{Progress, ProgressStyle};

/// Metrics, health and progress of one process.
#[derive(Debug)]
pub struct Shown {
    /// What Prometheus sees.
    pub metrics: Arc<Metrics>,
    /// What `/readyz` says.
    pub health: Arc<Health>,
    estimate: HydrationEstimate,
    progress: Mutex<Option<Progress>>,
    /// What operators take; noted where metrics are served.
    profile: Option<Arc<Profile>>,
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

    /// Begins to show `backfill`, which has no server that answers questions.
    pub fn of_backfill(settings: &BackfillSettings) -> Shown {
        Shown::new(&settings.engine, ProgressStyle::for_terminal(), None, 0)
    }

    fn new(options: &Options, style: ProgressStyle, profile: Option<Arc<Profile>>, ready_lag_records: u64) -> Shown {
        let process = options.workers.process;
        Shown {
            metrics: Arc::new(Metrics::of_run(profile.clone())),
            health: Arc::new(Health::new(process, ready_lag_records)),
            estimate: HydrationEstimate::default(),
            progress: Mutex::new((process == 0).then(|| Progress::start(style))),
            profile,
        }
    }

    fn with_progress(&self, act: impl FnOnce(&Progress)) {
        if let Some(progress) = &*self.progress.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            act(progress);
        }
    }
}

impl Observer for Shown {
    fn history(&self, objects: u64, bytes: u64) {
        self.estimate.total(bytes);
        self.with_progress(|progress| progress.total(objects, bytes));
    }

    fn object(&self, records: u64, bytes: u64, rejected: u64) {
        let expected = self.estimate.read(records, bytes);
        self.metrics.hydration(records, expected);
        self.with_progress(|progress| progress.object(records, bytes, rejected));
    }

    fn hydrated(&self) {
        self.health.hydrated();
        let progress = self
            .progress
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take();
        // its last line comes before anything live
        if let Some(progress) = progress {
            progress.finish();
        }
    }

    fn committed(&self, took: Duration) {
        self.metrics.committed(took);
    }

    fn live_records(&self, records: u64) {
        self.metrics.live_records(records);
    }

    fn result_rows(&self, result: &str, rows: u64) {
        self.metrics.result_rows(result, rows);
    }

    fn pace(&self, pace: Duration) {
        self.metrics.pace(pace);
    }

    fn freshness(&self, age: Duration) {
        self.metrics.freshness(age);
    }

    fn frontier(&self, topic: &str, partition: i32, next: i64) {
        self.metrics.frontier(topic, partition, next);
    }

    fn lag(&self, topic: &str, partition: i32, records: i64) {
        self.metrics.lag(topic, partition, records);
        self.health.lag(topic, partition, records);
    }

    fn dead_letters(&self, reason: &str, count: u64) {
        self.metrics.dead_letters(reason, count);
    }

    fn dead_letters_dropped(&self, count: u64) {
        self.metrics.dead_letters_dropped(count);
    }

    fn gaps(&self, offsets: i64) {
        self.metrics.gaps(offsets);
    }

    fn profile(&self) -> Option<Arc<Profile>> {
        self.profile.clone()
    }

    fn absent(&self, topics: usize) {
        self.health.absent(topics);
    }

    fn lake(&self, state: &LakeState) {
        let outage = match state {
            LakeState::Unavailable { since, error } => Some((*since, error.clone())),
            LakeState::Available => None,
        };
        self.metrics.lake_unavailable(outage.as_ref().map(|(since, _)| *since));
        self.health.lake_unavailable(outage);
    }
}
