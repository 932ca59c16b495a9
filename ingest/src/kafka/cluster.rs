//! Questions about topics and partitions, and the group offsets that lag tools look at.

use super::client::{Context, consumer, serve, warn_of_commit};
use super::{KafkaConfig, KafkaError};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a question may take, the first one included.
const PATIENCE: Duration = Duration::from_secs(30);
/// A question is asked anew at this interval, so that a refused password ends the wait.
const TRY: Duration = Duration::from_secs(2);
/// Between two tries that were refused at once.
const PAUSE: Duration = Duration::from_millis(200);

/// A connection for questions. Each waits for its answer, thirty seconds at most.
pub struct Cluster {
    consumer: Arc<BaseConsumer<Context>>,
    bootstrap: String,
    patience: Duration,
    /// A partition can be assigned once at a time.
    sampling: Mutex<()>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// From where to where Kafka holds records of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset that is held.
    pub low: i64,
    /// The offset after the last one that a reader of committed records can get: the last stable offset, which an
    /// open transaction holds back.
    pub high: i64,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
}

impl Cluster {
    /// Connects, and waits until a broker has answered.
    pub fn connect(config: &KafkaConfig) -> Result<Cluster, KafkaError> {
        Cluster::connect_within(config, PATIENCE)
    }

    /// [`Cluster::connect`] with another patience, for this and for all further questions.
    pub fn connect_within(config: &KafkaConfig, patience: Duration) -> Result<Cluster, KafkaError> {
        let consumer = Arc::new(consumer(config)?);
        let stop = Arc::new(AtomicBool::new(false));
        let (served, stopped) = (consumer.clone(), stop.clone());
        let thread = std::thread::Builder::new()
            .name("kafka-cluster".into())
            .spawn(move || {
                while !stopped.load(SeqCst) {
                    serve(&served);
                    std::thread::park_timeout(Duration::from_millis(100));
                }
            })
            .expect("the system starts a thread");
        let bootstrap = config.bootstrap.clone();
        let cluster = Cluster {
            consumer,
            bootstrap,
            patience,
            sampling: Mutex::default(),
            stop,
            thread: Some(thread),
        };
        cluster.ask("the cluster", |client, timeout| {
            let missing = Native::MetadataFetch(Code::OperationTimedOut);
            client.client().fetch_cluster_id(timeout).ok_or(missing)
        })?;
        Ok(cluster)
    }

    /// The partitions of a topic in ascending order, or `None` when there is no such topic.
    pub fn partitions(&self, topic: &str) -> Result<Option<Vec<i32>>, KafkaError> {
        self.ask(&format!("the partitions of {topic}"), |client, timeout| {
            let metadata = client.fetch_metadata(Some(topic), timeout)?;
            let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
                return Ok(None);
            };
            match found.error().map(Code::from) {
                Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownTopicId) => return Ok(None),
                // a partition without a leader is a partition
                Some(code) if found.partitions().is_empty() => return Err(Native::MetadataFetch(code)),
                _ => {}
            }
            let mut partitions: Vec<i32> = found.partitions().iter().map(|partition| partition.id()).collect();
            partitions.sort_unstable();
            Ok(Some(partitions))
        })
        .map_err(|error| name_topic(error, topic))
    }

    /// From where to where Kafka holds a partition now.
    pub fn watermarks(&self, topic: &str, partition: i32) -> Result<Watermarks, KafkaError> {
        self.ask(&format!("the offsets of {topic}/{partition}"), |client, timeout| {
            client
                .fetch_watermarks(topic, partition, timeout)
                .map(|(low, high)| Watermarks { low, high })
        })
        .map_err(|error| name_topic(error, topic))
    }

    /// From where to where Kafka holds each partition of some topics, by the topics' numbers; a topic that does not exist
    /// (yet) has none.
    pub fn spans<'a>(
        &self,
        topics: impl IntoIterator<Item = (u8, &'a str)>,
    ) -> Result<BTreeMap<(u8, i32), Watermarks>, KafkaError> {
        let mut spans = BTreeMap::new();
        for (number, topic) in topics {
            for partition in self.partitions(topic)?.unwrap_or_default() {
                spans.insert((number, partition), self.watermarks(topic, partition)?);
            }
        }
        Ok(spans)
    }

    /// Leaves, for each (topic, partition, next offset), that offset with the group. This is advice for lag tools:
    /// it does not wait, and a failure is only logged.
    pub fn commit_offsets<'a>(&self, next: impl IntoIterator<Item = (&'a str, i32, i64)>) {
        self.commit(next, CommitMode::Async);
    }

    /// [`Cluster::commit_offsets`] before the end of a program: waits until the broker has them.
    pub fn commit_last_offsets<'a>(&self, next: impl IntoIterator<Item = (&'a str, i32, i64)>) {
        self.commit(next, CommitMode::Sync);
    }

    fn commit<'a>(&self, next: impl IntoIterator<Item = (&'a str, i32, i64)>, mode: CommitMode) {
        let mut list = TopicPartitionList::new();
        for (topic, partition, next) in next {
            if let Err(error) = list.add_partition_offset(topic, partition, Offset::Offset(next)) {
                tracing::warn!("{topic}/{partition}: {next} is no offset to commit: {error}");
            }
        }
        if list.count() == 0 {
            return;
        }
        if let Err(error) = self.consumer.commit(&list, mode) {
            warn_of_commit(&error);
        }
    }

    /// The offsets that the group was left with, `None` where there are none.
    pub fn committed_offsets(&self, of: &[(&str, i32)]) -> Result<Vec<Option<i64>>, KafkaError> {
        self.ask("the group's offsets", |client, timeout| {
            let mut list = TopicPartitionList::with_capacity(of.len());
            for (topic, partition) in of {
                list.add_partition(topic, *partition);
            }
            let list = client.committed_offsets(list, timeout)?;
            let offset = |(topic, partition): &(&str, i32)| match list.find_partition(topic, *partition)?.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            Ok(of.iter().map(offset).collect())
        })
    }

    /// The record at exactly this offset; `None` when there is none (any more, yet, or because it is a hole).
    pub fn sample(&self, topic: &str, partition: i32, offset: i64) -> Result<Option<Sample>, KafkaError> {
        let Watermarks { low, high } = self.watermarks(topic, partition)?;
        if offset < low || offset >= high {
            return Ok(None);
        }
        let failed = |action| move |source| KafkaError::Client { action, source };
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(topic, partition, Offset::Offset(offset))
            .map_err(failed("name a partition"))?;
        let _one = self.sampling.lock().unwrap_or_else(PoisonError::into_inner);
        // before the assignment, so that nothing comes on the common queue
        let queue = self.consumer.split_partition_queue(topic, partition);
        let queue = queue.ok_or_else(|| failed("split off a partition's queue")(Native::Canceled))?;
        self.consumer
            .incremental_assign(&list)
            .map_err(failed("assign a partition"))?;
        let found = self.first(&queue, offset, &format!("the record {topic}/{partition} {offset}"));
        drop(queue);
        self.consumer
            .incremental_unassign(&list)
            .map_err(failed("give back a partition"))?;
        found
    }

    /// The first thing on a queue that says whether there is a record at `offset`.
    fn first(
        &self,
        queue: &rdkafka::consumer::base_consumer::PartitionQueue<Context>,
        offset: i64,
        question: &str,
    ) -> Result<Option<Sample>, KafkaError> {
        let start = Instant::now();
        while start.elapsed() < self.patience {
            match queue.poll(TRY) {
                Some(Ok(message)) if message.offset() < offset => {}
                Some(Ok(message)) if message.offset() > offset => return Ok(None),
                Some(Ok(message)) => {
                    let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                    return Ok(Some(Sample {
                        key: owned(message.key()),
                        value: owned(message.payload()),
                    }));
                }
                // the end, or retention was faster than we
                Some(Err(Native::PartitionEOF(_) | Native::MessageConsumption(Code::AutoOffsetReset))) => {
                    return Ok(None);
                }
                Some(Err(error)) => tracing::warn!("asking for {question} again: {error}"),
                None => {}
            }
        }
        Err(self.unreachable(question))
    }

    /// Asks until there is an answer that does not call for patience, or patience ends.
    fn ask<T>(
        &self,
        question: &str,
        ask: impl Fn(&BaseConsumer<Context>, Duration) -> Result<T, Native>,
    ) -> Result<T, KafkaError> {
        let start = Instant::now();
        let context = self.consumer.context();
        loop {
            let left = self.patience.saturating_sub(start.elapsed());
            let source = match ask(&self.consumer, TRY.min(left).max(Duration::from_millis(1))) {
                Ok(answer) => {
                    context.authenticated();
                    return Ok(answer);
                }
                Err(source) => source,
            };
            if let Some(detail) = context.authentication_failure() {
                return Err(KafkaError::Authentication {
                    bootstrap: self.bootstrap.clone(),
                    detail,
                });
            }
            if !passes(&source) {
                return Err(KafkaError::Refused {
                    question: question.to_owned(),
                    source,
                });
            }
            if start.elapsed() + PAUSE >= self.patience {
                return Err(self.unreachable(question));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn unreachable(&self, question: &str) -> KafkaError {
        KafkaError::Unreachable {
            bootstrap: self.bootstrap.clone(),
            waited: self.patience,
            question: question.to_owned(),
            detail: self.consumer.context().trouble(),
        }
    }
}

/// Whether an answer may be another one a little later.
fn passes(error: &Native) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::Resolve
                | Code::SSL
                | Code::Authentication
                | Code::WaitingForCoordinator
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::BrokerNotAvailable
                | Code::ReplicaNotAvailable
                | Code::NetworkException
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::OffsetNotAvailable
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
        )
    )
}

/// Refusals that have a name of their own.
fn name_topic(error: KafkaError, topic: &str) -> KafkaError {
    match &error {
        KafkaError::Refused { source, .. } if source.rdkafka_error_code() == Some(Code::TopicAuthorizationFailed) => {
            KafkaError::NotAuthorized {
                topic: topic.to_owned(),
            }
        }
        _ => error,
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the Kafka cluster's thread had panicked");
            }
        }
    }
}
