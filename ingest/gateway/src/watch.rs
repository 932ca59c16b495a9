//! Periodic checks: whether Kafka answers, and whether files have changed.

use super::metadata::TopicError;
use super::state::State;
use http_server::Certificate;

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;
use tokio::runtime::Handle;

const PAUSE: Duration = Duration::from_millis(500);
/// Kafka answers within this time, or counts as out of reach.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The threads that look, one at Kafka and one at files, so that a token is revoked in time also when Kafka does not
/// answer. They end when this is dropped, and are not waited for: one may be asking Kafka, and they hold nothing that has
/// to be given back.
pub(super) struct Watch {
    _kafka: SyncSender<()>,
    _files: SyncSender<()>,
}

impl Watch {
    pub(super) fn start(state: Arc<State>, certificate: Option<Arc<Certificate>>) -> std::io::Result<Watch> {
        let runtime = Handle::current();
        let shared = Arc::clone(&state);
        let mut prepared = false;
        let kafka = move || {
            let unreachable = unreachable(&shared);
            if unreachable.is_none() && !prepared {
                prepared = true;
                runtime.block_on(prepare(&shared));
            }
            shared.readiness.set_kafka(unreachable);
            shared.topics.admin.expire();
        };
        let files = move || {
            state.connections.close_slow_served();
            state.tokens.refresh();
            if let Some(certificate) = &certificate {
                certificate.refresh();
            }
        };
        Ok(Watch {
            _kafka: repeat("gateway:watch", kafka)?,
            _files: repeat("gateway:files", files)?,
        })
    }
}

/// Does something again and again, with a pause, until the sender is dropped.
fn repeat(name: &str, mut act: impl FnMut() + Send + 'static) -> std::io::Result<SyncSender<()>> {
    let (alive, ended) = sync_channel(0);
    let looking = move || {
        loop {
            act();
            if ended.recv_timeout(PAUSE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    };
    std::thread::Builder::new().name(name.into()).spawn(looking)?;
    Ok(alive)
}

/// Why Kafka cannot be reached.
fn unreachable(state: &State) -> Option<String> {
    let mut topics = state.streams.iter().filter_map(|stream| stream.topic.as_deref());
    let topic = topics.next().unwrap_or("pinflow");
    match state.topics.ask(topic, TIMEOUT) {
        Err(TopicError::Unreachable(text)) => Some(format!("Kafka does not answer: {text}")),
        Err(error @ TopicError::Unauthenticated) => Some(error.to_string()),
        // whatever it says, it answers
        _ => None,
    }
}

/// Reads, once, over how many partitions each topic's keys are spread, and creates what is missing if it may.
async fn prepare(state: &State) {
    for topic in state.streams.iter().filter_map(|stream| stream.topic.as_deref()) {
        match state.topics.get(topic).await {
            Ok(_) => {}
            Err(TopicError::Unknown) => {
                tracing::warn!("there is no topic {topic} yet: --create-topics would make it");
            }
            Err(error) => tracing::warn!("topic {topic}: {error}"),
        }
    }
}
