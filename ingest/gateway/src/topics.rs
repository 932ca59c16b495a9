//! Names of topics and streams, and what is known about the topics behind them.
//!
//! A client reaches the topics of the streams, names that end in `.STREAM`, and configured aliases; all others do
//! not exist for it, so that no request writes to an unexpected topic. A stream of Kinesis is also found by the end of its
//! name, which is good enough for a record and not for a change: what is created or deleted is named exactly. Strict
//! names leave configured topics and aliases alone. The number of partitions over which keys are
//! spread is read when a topic is first seen and then stays: see [`super::partition`].

use super::admin::{Admin, AdminError};
use super::calls::{Calls, Shared};
use super::config::{GatewayConfig, Stream};
use super::metadata::{self, ListedTopic, Placed, TopicError};
use super::placement::{exact_topic, has_suffix, topic_of_kind};
use super::producer::Producer;
use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

/// How long a question for a topic may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long the answer that there is no such topic is believed.
const ABSENT: Duration = Duration::from_millis(500);
/// Names remembered as absent, or topics created on the way.
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

/// All topics that the gateway serves.
pub(super) struct Topics {
    pub(super) producer: Producer,
    pub(super) admin: Admin,
    streams: Vec<Stream>,
    aliases: HashMap<String, String>,
    pins: HashMap<String, i32>,
    strict: bool,
    create: bool,
    new_partitions: Option<i32>,
    known: RwLock<HashMap<String, Arc<Topic>>>,
    /// Over how many partitions keys were spread first. Outlives what is known of a topic: a broker that starts may say that
    /// there is none.
    spread: Mutex<HashMap<String, i32>>,
    absent: Mutex<HashMap<String, Instant>>,
    calls: Calls,
    wanted: Shared<Result<Arc<Topic>, TopicError>>,
    described: Shared<Result<Vec<Placed>, TopicError>>,
    listed: Shared<Result<Arc<[ListedTopic]>, TopicError>>,
    /// The id of the cluster, once Kafka has said it: it stays the same.
    cluster_id: OnceLock<Arc<str>>,
    cluster_asked: Shared<Result<Arc<str>, TopicError>>,
}

impl Topics {
    pub(super) fn new(config: &GatewayConfig, producer: Producer) -> Topics {
        Topics {
            admin: Admin::new(&producer),
            producer,
            streams: config.streams.clone(),
            aliases: config.aliases.iter().cloned().collect(),
            pins: config.pins.iter().cloned().collect(),
            strict: config.strict_topics,
            create: config.create_topics,
            new_partitions: config.new_partitions,
            known: RwLock::default(),
            spread: Mutex::default(),
            absent: Mutex::default(),
            calls: Calls::new(),
            wanted: Shared::new(),
            described: Shared::new(),
            listed: Shared::new(),
            cluster_id: OnceLock::new(),
            cluster_asked: Shared::new(),
        }
    }

    /// The topic that is configured under this very name, or under this alias.
    pub(super) fn exact<'a>(&'a self, name: &str) -> Option<&'a str> {
        let alias = |name: &str| self.aliases.get(name).map(String::as_str);
        exact_topic(&self.streams, alias, name)
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
        topic_of_kind(&self.streams, stream, partition_key)
    }

    /// A topic by Kafka's name for it; created when that is allowed.
    pub(super) async fn get(self: &Arc<Self>, name: &str) -> Result<Arc<Topic>, TopicError> {
        if let Some(topic) = self.cached(name) {
            return Ok(topic);
        }
        if self.is_absent(name) {
            return Err(TopicError::Unknown);
        }
        let find = || async {
            let (topics, name) = (Arc::clone(self), name.to_owned());
            let found = self.calls.run(move || topics.find(&name)).await;
            found.unwrap_or(Err(TopicError::Busy))
        };
        self.wanted.ask(name, find).await
    }

    /// The same for a topic that exists: none is created for a question.
    pub(super) async fn existing(self: &Arc<Self>, name: &str) -> Result<Arc<Topic>, TopicError> {
        if let Some(topic) = self.cached(name) {
            return Ok(topic);
        }
        self.describe(name).await?;
        self.get(name).await
    }

    /// How many partitions the topic has; Kafka is asked where this one is not among those known.
    pub(super) async fn partitions(self: &Arc<Self>, topic: &Topic, wanted: i32) -> Result<i32, TopicError> {
        let held = topic.held.load(Ordering::Relaxed);
        let question = format!("{}/{wanted}", topic.name);
        if wanted < held || self.is_absent(&question) {
            return Ok(held);
        }
        let held = i32::try_from(self.describe(&topic.name).await?.len()).unwrap_or(i32::MAX);
        topic.held.store(held, Ordering::Relaxed);
        if wanted >= held {
            self.remember_absent(&question);
        }
        Ok(held)
    }

    /// The partitions of a topic as Kafka has them now.
    pub(super) async fn describe(self: &Arc<Self>, name: &str) -> Result<Vec<Placed>, TopicError> {
        let describe = || async {
            let (topics, name) = (Arc::clone(self), name.to_owned());
            let described = self.calls.run(move || topics.ask(&name, TIMEOUT)).await;
            described.unwrap_or(Err(TopicError::Busy))
        };
        self.described.ask(name, describe).await
    }

    /// The names of the topics that exist and that a client may name, in order.
    pub(super) async fn list(self: &Arc<Self>) -> Result<Vec<String>, TopicError> {
        let listed = self.listed().await?;
        Ok(listed.iter().map(|topic| topic.name.clone()).collect())
    }

    /// The topics that exist and that a client may name, in the order of their names.
    pub(super) async fn listed(self: &Arc<Self>) -> Result<Arc<[ListedTopic]>, TopicError> {
        let list = || async {
            let topics = Arc::clone(self);
            let listed = self.calls.run(move || {
                let mut listed = metadata::topics(&topics.producer, TIMEOUT)?;
                listed.retain(|topic| topics.served(&topic.name));
                listed.sort_unstable_by(|one, other| one.name.cmp(&other.name));
                Ok(Arc::from(listed))
            });
            listed.await.unwrap_or(Err(TopicError::Busy))
        };
        self.listed.ask("", list).await
    }

    /// The id of the cluster, as Kafka says it.
    pub(super) async fn cluster_id(self: &Arc<Self>) -> Result<Arc<str>, TopicError> {
        if let Some(id) = self.cluster_id.get() {
            return Ok(Arc::clone(id));
        }
        let ask = || async {
            let topics = Arc::clone(self);
            let asked = self.calls.run(move || metadata::cluster_id(&topics.producer, TIMEOUT));
            let id = asked.await.unwrap_or(Err(TopicError::Busy));
            id.map(|id| Arc::clone(self.cluster_id.get_or_init(|| id.into())))
        };
        self.cluster_asked.ask("", ask).await
    }

    /// Creates a topic, whether missing ones are created by themselves or not.
    pub(super) async fn make(self: &Arc<Self>, name: &str, partitions: Option<i32>) -> Result<(), AdminError> {
        let (topics, name) = (Arc::clone(self), name.to_owned());
        let made = self.calls.run(move || topics.create(&name, partitions)).await;
        made.unwrap_or(Err(TopicError::Busy.into()))
    }

    /// Deletes a topic.
    pub(super) async fn delete(self: &Arc<Self>, name: &str) -> Result<(), AdminError> {
        let (topics, name) = (Arc::clone(self), name.to_owned());
        let deleted = self.calls.run(move || {
            let deleted = topics.admin.delete(&name);
            if deleted.is_ok() {
                tracing::warn!("topic {name} was deleted by a client");
                topics.forget(&name);
                topics.spread().remove(&name);
            }
            deleted
        });
        deleted.await.unwrap_or(Err(TopicError::Busy.into()))
    }

    /// The topic is not what it was: the next request asks again.
    pub(super) fn forget(&self, name: &str) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Asks Kafka for a topic, blocking.
    pub(super) fn ask(&self, name: &str, timeout: Duration) -> Result<Vec<Placed>, TopicError> {
        metadata::partitions(&self.producer, name, timeout)
    }

    /// Looks a topic up, and creates it where that is allowed; blocking.
    fn find(&self, name: &str) -> Result<Arc<Topic>, TopicError> {
        // it may have been found while this call waited
        if let Some(topic) = self.cached(name) {
            return Ok(topic);
        }
        let mut found = self.ask(name, TIMEOUT);
        if self.create && found == Err(TopicError::Unknown) {
            match self.create(name, None) {
                Ok(()) | Err(AdminError::Exists) => found = self.appear(name),
                Err(AdminError::Topic(error)) => found = Err(error),
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

    fn create(&self, name: &str, partitions: Option<i32>) -> Result<(), AdminError> {
        let partitions = self.pins.get(name).copied().or(partitions).or(self.new_partitions);
        let created = self.admin.create(name, partitions);
        if created.is_ok() {
            tracing::info!("topic {name} was created");
            self.absent.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        }
        created
    }

    /// A topic that was created is known to every broker a moment later.
    fn appear(&self, name: &str) -> Result<Vec<Placed>, TopicError> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match self.ask(name, TIMEOUT) {
                Err(TopicError::Unknown) if Instant::now() < deadline => {}
                Ok(placed) if placed.iter().any(|placed| placed.leader < 0) && Instant::now() < deadline => {}
                found => return found,
            }
            std::thread::sleep(Duration::from_millis(50));
        }
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

    fn remember(&self, name: &str, held: usize) -> Result<Arc<Topic>, TopicError> {
        let held = i32::try_from(held).unwrap_or(i32::MAX);
        let pinned = self
            .pins
            .get(name)
            .copied()
            .unwrap_or_else(|| self.spread_over(name, held));
        if pinned > held {
            // the client may know the topic by another name
            let text = format!("its keys are pinned to {pinned} partitions, and it has {held}");
            tracing::error!("topic {name}: {text}");
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

    /// Over how many partitions keys are spread: as many as at first, unless there are fewer now, in another topic.
    fn spread_over(&self, name: &str, held: i32) -> i32 {
        let mut spread = self.spread();
        match spread.get_mut(name) {
            Some(first) => {
                *first = held.min(*first);
                *first
            }
            None => {
                if spread.len() < REMEMBERED {
                    spread.insert(name.to_owned(), held);
                }
                held
            }
        }
    }

    fn spread(&self) -> MutexGuard<'_, HashMap<String, i32>> {
        self.spread.lock().unwrap_or_else(PoisonError::into_inner)
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

/// Kafka's rule for names of topics.
fn is_topic_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name.bytes().all(plain)
}
