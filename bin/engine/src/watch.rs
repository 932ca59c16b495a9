//! Looks at Kafka's partitions at an interval, on a task of its own: a commit that blocks does not keep it from seeing
//! two growths of a topic as two.

use super::log::growth::{Change, PartitionWatermarks, Seen};
use super::process::Observer;
use super::topics::Topics;
use ingest::kafka::{Cluster, KafkaError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// What Kafka holds of each partition of our topics now.
pub async fn watermarks(cluster: &Arc<Cluster>, topics: &Topics) -> Result<PartitionWatermarks, super::EngineError> {
    let (cluster, topics) = (Arc::clone(cluster), topics.clone());
    let asked = tokio::task::spawn_blocking(move || look(&cluster, &topics)).await;
    Ok(asked.map_err(super::error::panicked("asking Kafka"))??)
}

fn look(cluster: &Cluster, topics: &Topics) -> Result<PartitionWatermarks, KafkaError> {
    cluster.spans(topics.named())
}

/// Shows what Kafka holds.
pub fn show(observer: &dyn Observer, topics: &Topics, watermarks: &PartitionWatermarks) {
    for (at, marks) in watermarks {
        let held = marks.low..marks.stable.max(marks.low);
        observer.kafka(topics.name(at.topic), at.partition, held);
    }
}

/// What has been seen since it was last taken.
#[derive(Default)]
pub struct Observed {
    /// The newest ends; none when there was no look since.
    pub watermarks: Option<PartitionWatermarks>,
    /// All changes, in their order.
    pub changes: Vec<Change>,
}

/// The task. Dropping it ends it.
pub struct Watch {
    observed: Arc<Mutex<Observed>>,
    changed: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Goes on from what has been `seen`. Each look is shown at once, also while a commit takes its time.
    pub fn start(
        cluster: Arc<Cluster>,
        topics: Topics,
        mut seen: Seen,
        interval: Duration,
        observer: Arc<dyn Observer>,
    ) -> Watch {
        let observed = Arc::<Mutex<Observed>>::default();
        let shown = Arc::clone(&observed);
        let changed = Arc::<Notify>::default();
        let change = Arc::clone(&changed);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                match watermarks(&cluster, &topics).await {
                    Ok(watermarks) => {
                        show(&*observer, &topics, &watermarks);
                        if let Some(took) = cluster.round_trip() {
                            observer.round_trip(took);
                        }
                        let changes = seen.look(watermarks.clone());
                        let mut observed = lock(&shown);
                        observed.watermarks = Some(watermarks);
                        observed.changes.extend(changes);
                        change.notify_waiters();
                    }
                    Err(error) => {
                        tracing::warn!(error = %causes::with_causes(&error), "cannot read partition metadata from Kafka, retrying")
                    }
                }
            }
        });
        Watch {
            observed,
            changed,
            task,
        }
    }

    /// Waits until a growth has been seen that is not taken.
    pub async fn growth(&self) {
        loop {
            let changed = self.changed.notified();
            if self.has_growth() {
                return;
            }
            changed.await;
        }
    }

    /// Whether a growth has been seen that is not taken.
    pub fn has_growth(&self) -> bool {
        let observed = lock(&self.observed);
        observed
            .changes
            .iter()
            .any(|change| matches!(change, Change::Grown { .. }))
    }

    /// Takes what has been seen.
    pub fn take(&self) -> Observed {
        std::mem::take(&mut *lock(&self.observed))
    }
}

/// Waits until a growth has been seen; never returns where nothing watches.
pub async fn growth(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.growth().await,
        None => std::future::pending().await,
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(observed: &Mutex<Observed>) -> MutexGuard<'_, Observed> {
    observed.lock().unwrap_or_else(PoisonError::into_inner)
}
