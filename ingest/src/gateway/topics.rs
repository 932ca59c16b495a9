//! Names of topics and streams, and what is known about the topics behind them.
//!
//! A client reaches the topics of the streams, names that end in `.STREAM`, and configured aliases; all others do
//! not exist for it, so that no request writes where nobody looks. A stream of Kinesis is also found by the end of its
//! name, which is good enough for a record and not for a change: what is created or deleted is named exactly. Strict
//! names leave configured topics and aliases alone. The number of partitions over which keys are
//! spread is read when a topic is first seen and then stays: see [`super::partition`].

use super::admin::{self, AdminError};
use super::config::{GatewayConfig, Stream};
use super::producer::{AskError, Producer};
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How long a question for a topic may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the answer that there is no such topic is believed.
const ABSENT: Duration = Duration::from_millis(500);
/// Names remembered as absent, or topics made on the way.
const REMEMBERED: usize = 10_000;

/// A topic that exists.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) name: String,
    /// Keys are spread over so many partitions.
    pub(super) pinned: i32,
    /// Kafka has so many.
    held: AtomicI32,
}

/// Why there is no topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TopicError {
    /// There is none of this name.
    #[error("it does not exist")]
    Unknown,
    /// Kafka does not answer.
    #[error("Kafka does not answer: {0}")]
    Unreachable(String),
    /// Kafka does not let the gateway see it.
    #[error("the gateway is not authorized to access it: grant it DESCRIBE and WRITE")]
    Denied,
    /// Kafka does not accept the gateway's credentials.
    #[error("Kafka does not accept the credentials of the gateway: check sasl.* and security.protocol")]
    Unauthenticated,
    /// It cannot be used as configured, or at all.
    #[error("{0}")]
    Refused(String),
}

impl From<AskError> for TopicError {
    fn from(error: AskError) -> TopicError {
        match error {
            AskError::Unreachable(text) => TopicError::Unreachable(text),
            AskError::Unauthenticated => TopicError::Unauthenticated,
        }
    }
}

/// A partition as Kafka describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) partition: i32,
    pub(super) leader: i32,
    /// Broker, and whether it is in sync.
    pub(super) replicas: Vec<(i32, bool)>,
}

/// All topics that the gateway serves.
pub(super) struct Topics {
    pub(super) producer: Producer,
    streams: Vec<Stream>,
    aliases: HashMap<String, String>,
    pins: HashMap<String, i32>,
    strict: bool,
    create: bool,
    new_partitions: Option<i32>,
    known: RwLock<HashMap<String, Arc<Topic>>>,
    absent: Mutex<HashMap<String, Instant>>,
    /// Questions at the same time; they block a thread each.
    asking: Semaphore,
}

impl Topics {
    pub(super) fn new(config: &GatewayConfig, producer: Producer) -> Topics {
        Topics {
            producer,
            streams: config.streams.clone(),
            aliases: config.aliases.iter().cloned().collect(),
            pins: config.pins.iter().cloned().collect(),
            strict: config.strict_topics,
            create: config.create_topics,
            new_partitions: config.new_partitions,
            known: RwLock::default(),
            absent: Mutex::default(),
            asking: Semaphore::new(4),
        }
    }

    /// The topic that is configured under this very name, or under this alias.
    pub(super) fn exact<'a>(&'a self, name: &str) -> Option<&'a str> {
        let mut own = self.streams.iter().filter_map(|stream| stream.topic.as_deref());
        let alias = self.aliases.get(name).map(String::as_str);
        alias.or_else(|| own.find(|topic| *topic == name))
    }

    /// The topic that a client means, if it may mean one by this name.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        let suffixed = || self.streams.iter().any(|stream| has_suffix(name, &stream.name, &['.']));
        self.exact(name)
            .or_else(|| (!self.strict && suffixed() && is_topic_name(name)).then_some(name))
    }

    /// The topic that a Kinesis stream means: by its name, or by the name of its kind, or by a partition key's.
    pub(super) fn of_stream<'a>(&'a self, stream: &str, partition_key: Option<&str>) -> Option<&'a str> {
        if let Some(topic) = self.exact(stream) {
            return Some(topic);
        }
        if self.strict || !is_topic_name(stream) {
            return None;
        }
        let kind = [Some(stream), partition_key].into_iter().flatten().find_map(|text| {
            let kind = |stream: &&Stream| text == stream.name || has_suffix(text, &stream.name, &['-', '.', '_']);
            self.streams.iter().find(kind)
        })?;
        kind.topic.as_deref()
    }

    /// A topic by Kafka's name for it; made when that is allowed.
    pub(super) async fn get(self: &Arc<Self>, name: &str) -> Result<Arc<Topic>, TopicError> {
        if let Some(topic) = self.cached(name) {
            return Ok(topic);
        }
        let _permit = self.asking.acquire().await;
        if let Some(topic) = self.cached(name) {
            return Ok(topic);
        }
        if self.is_absent(name) {
            return Err(TopicError::Unknown);
        }
        let mut found = self.describe(name).await;
        if self.create && found == Err(TopicError::Unknown) {
            match self.make(name, None).await {
                Ok(()) | Err(AdminError::Exists) => found = self.appear(name).await,
                Err(AdminError::Unreachable(text)) => return Err(TopicError::Unreachable(text)),
                Err(AdminError::Unknown) => {}
                Err(AdminError::Denied) => return Err(TopicError::Denied),
                Err(AdminError::Refused(text)) => return Err(TopicError::Refused(text)),
            }
        }
        match found {
            Ok(placed) => self.remember(name, placed.len()),
            Err(error) => {
                if error == TopicError::Unknown {
                    self.remember_absent(name);
                }
                Err(error)
            }
        }
    }

    /// Whether the topic has this partition; asks Kafka when it is beyond those known.
    pub(super) async fn has_partition(self: &Arc<Self>, topic: &Topic, partition: i32) -> Result<bool, TopicError> {
        if partition < 0 {
            return Ok(false);
        }
        if partition < topic.held.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let question = format!("{}/{partition}", topic.name);
        let _permit = self.asking.acquire().await;
        if self.is_absent(&question) {
            return Ok(false);
        }
        let held = i32::try_from(self.describe(&topic.name).await?.len()).unwrap_or(i32::MAX);
        topic.held.store(held, Ordering::Relaxed);
        if partition >= held {
            self.remember_absent(&question);
        }
        Ok(partition < held)
    }

    /// The partitions of a topic as Kafka has them now.
    pub(super) async fn describe(self: &Arc<Self>, name: &str) -> Result<Vec<Placed>, TopicError> {
        let (topics, name) = (Arc::clone(self), name.to_owned());
        let asked = tokio::task::spawn_blocking(move || topics.ask(&name, TIMEOUT)).await;
        asked.unwrap_or_else(|_| Err(TopicError::Unreachable("the question was given up".into())))
    }

    /// The names of the topics that exist and that a client may name, in order.
    pub(super) async fn list(self: &Arc<Self>) -> Result<Vec<String>, TopicError> {
        let topics = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = topics.producer.ask(|client| client.fetch_metadata(None, TIMEOUT))?;
            let names = metadata.topics().iter().map(|topic| topic.name());
            let mut names: Vec<String> = names.filter(|name| topics.served(name)).map(str::to_owned).collect();
            names.sort_unstable();
            Ok(names)
        });
        asked
            .await
            .unwrap_or_else(|_| Err(TopicError::Unreachable("the question was given up".into())))
    }

    /// Makes a topic, whether missing ones are made by themselves or not.
    pub(super) async fn make(&self, name: &str, partitions: Option<i32>) -> Result<(), AdminError> {
        let partitions = self.pins.get(name).copied().or(partitions).or(self.new_partitions);
        let made = admin::create(&self.producer, name, partitions).await;
        if made.is_ok() {
            tracing::info!("topic {name} was made");
            self.absent.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
        made
    }

    /// Deletes a topic.
    pub(super) async fn delete(&self, name: &str) -> Result<(), AdminError> {
        let deleted = admin::delete(&self.producer, name).await;
        if deleted.is_ok() {
            tracing::warn!("topic {name} was deleted by a client");
            self.forget(name);
        }
        deleted
    }

    /// The topic is not what it was: the next request asks again.
    pub(super) fn forget(&self, name: &str) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Asks Kafka for a topic, blocking.
    pub(super) fn ask(&self, name: &str, timeout: Duration) -> Result<Vec<Placed>, TopicError> {
        let unreachable = |text: String| TopicError::Unreachable(text);
        let metadata = self.producer.ask(|client| client.fetch_metadata(Some(name), timeout))?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
            return Err(TopicError::Unknown);
        };
        match topic.error().map(Code::from) {
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownTopicId) => {
                return Err(TopicError::Unknown);
            }
            Some(Code::InvalidTopic) => return Err(TopicError::Unknown),
            Some(Code::TopicAuthorizationFailed) => return Err(TopicError::Denied),
            Some(code) if topic.partitions().is_empty() => return Err(unreachable(code.to_string())),
            _ => {}
        }
        let mut placed: Vec<Placed> = topic
            .partitions()
            .iter()
            .map(|partition| Placed {
                partition: partition.id(),
                leader: partition.leader(),
                replicas: partition
                    .replicas()
                    .iter()
                    .map(|id| (*id, partition.isr().contains(id)))
                    .collect(),
            })
            .collect();
        placed.sort_unstable_by_key(|placed| placed.partition);
        Ok(placed)
    }

    fn served(&self, name: &str) -> bool {
        self.named(name).is_some_and(|topic| topic == name) || self.aliases.values().any(|topic| topic == name)
    }

    fn cached(&self, name: &str) -> Option<Arc<Topic>> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(name)
            .cloned()
    }

    /// A topic that was made is known to every broker a moment later.
    async fn appear(self: &Arc<Self>, name: &str) -> Result<Vec<Placed>, TopicError> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match self.describe(name).await {
                Err(TopicError::Unknown) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Ok(placed) if placed.iter().any(|placed| placed.leader < 0) && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                found => return found,
            }
        }
    }

    fn remember(&self, name: &str, held: usize) -> Result<Arc<Topic>, TopicError> {
        let held = i32::try_from(held).unwrap_or(i32::MAX);
        let pinned = self.pins.get(name).copied().unwrap_or(held);
        if pinned > held {
            let text = format!("keys of {name} are pinned to {pinned} partitions, and Kafka has {held}");
            tracing::error!("{text}");
            return Err(TopicError::Refused(text));
        }
        tracing::info!("topic {name} has {held} partitions, its keys are spread over {pinned}");
        let topic = Arc::new(Topic {
            name: name.to_owned(),
            pinned,
            held: AtomicI32::new(held),
        });
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            return Ok(topic);
        }
        Ok(Arc::clone(known.entry(name.to_owned()).or_insert(topic)))
    }

    fn is_absent(&self, name: &str) -> bool {
        let absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        absent.get(name).is_some_and(|since| since.elapsed() < ABSENT)
    }

    fn remember_absent(&self, name: &str) {
        let mut absent = self.absent.lock().unwrap_or_else(PoisonError::into_inner);
        if absent.len() >= REMEMBERED {
            absent.clear();
        }
        absent.insert(name.to_owned(), Instant::now());
    }
}

/// Whether `name` ends in `suffix` after one of these separators.
fn has_suffix(name: &str, suffix: &str, separators: &[char]) -> bool {
    name.strip_suffix(suffix)
        .is_some_and(|rest| rest.len() > 1 && rest.ends_with(separators))
}

/// Kafka's rule for names of topics.
fn is_topic_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(plain)
}
