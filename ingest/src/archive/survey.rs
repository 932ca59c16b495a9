//! Which partitions there are, and how far they reach, asked again and again while the archiver runs.

use crate::kafka::{Cluster, KafkaError, Watermarks};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;

/// How often Kafka is asked for partitions and ends.
const SURVEY_EVERY: Duration = Duration::from_secs(3);

/// The watermarks of each (topic, partition).
pub(super) type Marks = BTreeMap<(u8, i32), Watermarks>;

/// What Kafka holds of these topics, each known by its place among them.
pub(super) fn survey(cluster: &Cluster, topics: &[String]) -> Result<Marks, KafkaError> {
    cluster.spans((0..).zip(topics.iter().map(String::as_str)))
}

/// Asks Kafka again and again, on a thread of its own because the answers are waited for.
pub(super) struct Surveyor {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Surveyor {
    /// Asks until dropped; the channel holds one answer.
    pub(super) fn start(cluster: Arc<Cluster>, topics: Vec<String>) -> (Surveyor, mpsc::Receiver<Marks>) {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, surveys) = mpsc::channel(1);
        let stopped = Arc::clone(&stop);
        let ask = move || {
            while !stopped.load(Ordering::SeqCst) {
                std::thread::park_timeout(SURVEY_EVERY);
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                match survey(&cluster, &topics) {
                    // one that is not taken in time is out of date
                    Ok(marks) => drop(sender.try_send(marks)),
                    Err(error) => tracing::warn!(
                        "Kafka was not asked for its partitions: {}",
                        causes::with_causes(&error)
                    ),
                }
            }
        };
        let thread = std::thread::Builder::new().name("archive-survey".into()).spawn(ask);
        let thread = thread.inspect_err(|error| tracing::warn!("no thread looks for new partitions: {error}"));
        (
            Surveyor {
                stop,
                thread: thread.ok(),
            },
            surveys,
        )
    }
}

impl Drop for Surveyor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}
