//! Questions about topics and partitions, and the group offsets that lag tools look at.
//!
//! What is asked about offsets stands in `watermarks.rs`, about records in `sample.rs`.

use super::ask::{Asker, is_unknown};
use super::client::warn_of_commit;
use super::{KafkaConfig, KafkaError};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use values::{Offset, Partition};

/// How long a question may take, the first one included.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a topic must be unknown to be believed absent.
const ABSENT_AFTER: Duration = Duration::from_secs(10);
/// How often a topic that seems absent is asked for.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// A connection for questions. Each waits for its answer, thirty seconds at most.
pub struct Cluster {
    pub(super) asker: Asker,
    /// A partition can be assigned once at a time.
    pub(super) sampling: Mutex<()>,
    /// How long the last answer about offsets took.
    pub(super) round_trip: Mutex<Option<Duration>>,
}

impl Cluster {
    /// Connects, and waits until a broker has answered.
    pub fn connect(config: &KafkaConfig) -> Result<Cluster, KafkaError> {
        Cluster::connect_within(config, PATIENCE)
    }

    /// [`Cluster::connect`] with another retry timeout, for this and for all further questions.
    pub fn connect_within(config: &KafkaConfig, retry_timeout: Duration) -> Result<Cluster, KafkaError> {
        let cluster = Cluster {
            asker: Asker::start(config, retry_timeout)?,
            sampling: Mutex::default(),
            round_trip: Mutex::default(),
        };
        let client = &cluster.asker.committed;
        cluster.asker.ask(client, "the cluster", |timeout| {
            let missing = Native::MetadataFetch(Code::OperationTimedOut);
            client.client().fetch_cluster_id(timeout).ok_or(missing)
        })?;
        Ok(cluster)
    }

    /// The names of all topics that this user may see, in ascending order, without those that Kafka keeps for itself
    /// (`__consumer_offsets` and others whose names begin with two underscores).
    pub fn topics(&self) -> Result<Vec<String>, KafkaError> {
        let client = &self.asker.committed;
        self.asker.ask(client, "the names of topics", |timeout| {
            let metadata = client.fetch_metadata(None, timeout)?;
            let names = metadata.topics().iter().map(|topic| topic.name());
            let mut names: Vec<String> = names
                .filter(|name| !name.starts_with("__"))
                .map(str::to_owned)
                .collect();
            names.sort_unstable();
            Ok(names)
        })
    }

    /// The partitions of a topic in ascending order, or `None` when the broker that was asked knows no such topic.
    ///
    /// A broker that is starting does not know all topics at once: who concludes from the absence of a topic asks
    /// [`Cluster::confirmed_absent`].
    pub fn partitions(&self, topic: &str) -> Result<Option<Vec<Partition>>, KafkaError> {
        let client = &self.asker.committed;
        let question = format!("the partitions of {topic}");
        let asked = self.asker.ask(client, &question, |timeout| {
            let metadata = client.fetch_metadata(Some(topic), timeout)?;
            let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else {
                return Ok(None);
            };
            match found.error().map(Code::from) {
                Some(code) if is_unknown(&Native::MetadataFetch(code)) => return Ok(None),
                // a partition without a leader is a partition
                Some(code) if found.partitions().is_empty() => return Err(Native::MetadataFetch(code)),
                _ => {}
            }
            let mut partitions: Vec<Partition> = found
                .partitions()
                .iter()
                .map(|partition| Partition(partition.id()))
                .collect();
            partitions.sort_unstable();
            Ok(Some(partitions))
        });
        asked.map_err(|error| name_topic(error, topic))
    }

    /// Whether a topic does not exist, asked again and again for ten seconds before it is said. `false` comes as soon as
    /// a broker knows the topic.
    pub fn confirmed_absent(&self, topic: &str) -> Result<bool, KafkaError> {
        let start = Instant::now();
        while self.partitions(topic)?.is_none() {
            if start.elapsed() >= ABSENT_AFTER {
                return Ok(true);
            }
            std::thread::sleep(ASK_EVERY);
        }
        Ok(false)
    }

    /// How long the last request for offsets took, from asking to the answer of the last broker that was asked; `None`
    /// before there was one. The brokers look such offsets up at once: it is the round trip to them.
    pub fn round_trip(&self) -> Option<Duration> {
        *self.round_trip.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves, for each (topic, partition, next offset), that offset with the group. This is advice for lag tools:
    /// it does not wait, and a failure is only logged.
    pub fn commit_offsets<'a>(&self, next: impl IntoIterator<Item = (&'a str, Partition, Offset)>) {
        self.commit(next, CommitMode::Async);
    }

    /// [`Cluster::commit_offsets`] before the end of a program: waits until the broker has them.
    pub fn commit_last_offsets<'a>(&self, next: impl IntoIterator<Item = (&'a str, Partition, Offset)>) {
        self.commit(next, CommitMode::Sync);
    }

    fn commit<'a>(&self, next: impl IntoIterator<Item = (&'a str, Partition, Offset)>, mode: CommitMode) {
        let mut list = TopicPartitionList::new();
        for (topic, partition, next) in next {
            if let Err(error) = list.add_partition_offset(topic, partition.0, rdkafka::Offset::Offset(next.0)) {
                tracing::warn!("{topic}/{partition}: {next} is not an offset to commit: {error}");
            }
        }
        if list.count() == 0 {
            return;
        }
        if let Err(error) = self.asker.committed.commit(&list, mode) {
            warn_of_commit(&error);
        }
    }

    /// The offsets that the group was left with, `None` where there are none.
    pub fn committed_offsets(&self, of: &[(&str, Partition)]) -> Result<Vec<Option<Offset>>, KafkaError> {
        let client = &self.asker.committed;
        self.asker.ask(client, "the group's offsets", |timeout| {
            let mut list = TopicPartitionList::with_capacity(of.len());
            for (topic, partition) in of {
                list.add_partition(topic, partition.0);
            }
            let list = client.committed_offsets(list, timeout)?;
            let offset =
                |(topic, partition): &(&str, Partition)| match list.find_partition(topic, partition.0)?.offset() {
                    rdkafka::Offset::Offset(offset) => Some(Offset(offset)),
                    _ => None,
                };
            Ok(of.iter().map(offset).collect())
        })
    }
}

/// Refusals that have a name of their own.
pub(super) fn name_topic(error: KafkaError, topic: &str) -> KafkaError {
    match &error {
        KafkaError::Refused { source, .. } if source.code() == Some(Code::TopicAuthorizationFailed) => {
            KafkaError::NotAuthorized {
                topic: topic.to_owned(),
            }
        }
        _ => error,
    }
}
