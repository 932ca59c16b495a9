//! What is looked at all the time: whether Kafka answers, and whether files have changed.

use super::service::Shared;
use super::tls::Certificate;
use super::topics::TopicError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;

const PAUSE: Duration = Duration::from_millis(500);
/// Kafka answers within this time, or counts as out of reach.
const PATIENCE: Duration = Duration::from_secs(2);

/// The thread that looks; it ends when dropped.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(shared: Arc<Shared>, certificate: Option<Arc<Certificate>>) -> std::io::Result<Watch> {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, runtime) = (Arc::clone(&stop), Handle::current());
        let watch = move || {
            let mut greeted = false;
            while !stopped.load(Ordering::Relaxed) {
                let obstacle = obstacle(&shared);
                if obstacle.is_none() && !greeted {
                    greeted = true;
                    runtime.block_on(greet(&shared));
                }
                say(&shared, obstacle);
                shared.tokens.refresh();
                if let Some(certificate) = &certificate {
                    certificate.refresh();
                }
                std::thread::park_timeout(PAUSE);
            }
        };
        let thread = std::thread::Builder::new().name("gateway:watch".into()).spawn(watch)?;
        Ok(Watch {
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // it may be waiting for Kafka, and holds nothing that has to be given back
            drop(thread);
        }
    }
}

/// Why Kafka cannot be reached.
fn obstacle(shared: &Shared) -> Option<String> {
    let mut topics = shared.streams.iter().filter_map(|stream| stream.topic.as_deref());
    let topic = topics.next().unwrap_or("pinflow");
    match shared.topics.ask(topic, PATIENCE) {
        Err(TopicError::Unreachable(text)) => Some(format!("Kafka does not answer: {text}")),
        // whatever it says, it answers
        _ => None,
    }
}

fn say(shared: &Shared, obstacle: Option<String>) {
    let mut current = shared.obstacle.write().unwrap_or_else(PoisonError::into_inner);
    match (&*current, &obstacle) {
        (None, Some(text)) => tracing::warn!("{text}"),
        (Some(_), None) => tracing::info!("Kafka answers"),
        _ => {}
    }
    *current = obstacle;
}

/// Reads, once, over how many partitions each topic's keys are spread, and makes what is missing if it may.
async fn greet(shared: &Shared) {
    for topic in shared.streams.iter().filter_map(|stream| stream.topic.as_deref()) {
        match shared.topics.get(topic).await {
            Ok(_) => {}
            Err(TopicError::Unknown) => {
                tracing::warn!("there is no topic {topic} yet: --create-topics would make it");
            }
            Err(error) => tracing::warn!("topic {topic}: {error:?}"),
        }
    }
}
