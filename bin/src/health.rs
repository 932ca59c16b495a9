//! Readiness of a process, from the state that its parts report: history is committed, no topic is missing, the lag is
//! below its limit, and the lake is available.

use engine::Observer;
use ingest::Partition;
use ingest::lake::LakeState;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

/// Whether this process is ready: what `/readyz` says.
#[derive(Debug, Default)]
pub struct Health {
    /// The greatest lag, in records, of a ready process.
    lag_threshold: u64,
    /// Only process 0 knows about hydration and lag; the others are ready when they run.
    follows: bool,
    hydrated: AtomicBool,
    absent_topics: AtomicUsize,
    lag: Mutex<BTreeMap<(String, Partition), i64>>,
    /// Since when the lake has been unavailable, and why.
    lake: Mutex<Option<(Instant, String)>>,
}

impl Health {
    /// Not ready yet; `process` is the index of this process.
    pub fn new(process: usize, lag_threshold: u64) -> Health {
        Health {
            lag_threshold,
            follows: process > 0,
            ..Health::default()
        }
    }

    /// History is committed.
    pub fn hydrated(&self) {
        self.hydrated.store(true, Ordering::Relaxed);
    }

    /// So many topics are neither in the lake nor in Kafka.
    pub fn absent(&self, topics: usize) {
        self.absent_topics.store(topics, Ordering::Relaxed);
    }

    /// Since when the lake has been unavailable, and why; `None` when it is available.
    pub fn lake_unavailable(&self, outage: Option<(Instant, String)>) {
        *self.lake.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = outage;
    }

    /// How far a partition is behind.
    pub fn lag(&self, topic: &str, partition: Partition, records: i64) {
        let mut lag = self.lag.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        lag.insert((topic.to_owned(), partition), records);
    }

    /// Why this process is not ready, or `None` when it is.
    pub fn unready_reason(&self) -> Option<String> {
        let lake = self.lake.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((since, error)) = &*lake {
            let seconds = since.elapsed().as_secs();
            return Some(format!("the lake has been unavailable for {seconds} s: {error}"));
        }
        if self.follows {
            return None;
        }
        if !self.hydrated.load(Ordering::Relaxed) {
            return Some("history is not committed yet".to_owned());
        }
        let absent = self.absent_topics.load(Ordering::Relaxed);
        if absent > 0 {
            return Some(format!("{absent} topics exist neither in the lake nor in Kafka"));
        }
        let lag = self.lag.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let waiting: u64 = lag.values().map(|records| u64::try_from(*records).unwrap_or(0)).sum();
        let threshold = self.lag_threshold;
        (waiting > threshold).then(|| format!("the Kafka lag of {waiting} records exceeds {threshold}"))
    }
}

impl Observer for Health {
    fn hydrated(&self) {
        Health::hydrated(self);
    }

    fn lag(&self, topic: &str, partition: Partition, records: i64) {
        Health::lag(self, topic, partition, records);
    }

    fn absent(&self, topics: usize) {
        Health::absent(self, topics);
    }

    fn lake(&self, state: &LakeState) {
        self.lake_unavailable(match state {
            LakeState::Unavailable { since, error } => Some((*since, error.clone())),
            LakeState::Available => None,
        });
    }
}
