//! What Kafka says of its topics. Everything here blocks.

use super::producer::{AskError, Producer};
use ingest::Partition;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::time::Duration;

/// Why there is no topic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum TopicError {
    /// There is none of this name.
    #[error("it does not exist")]
    Unknown,
    /// Too many questions wait already.
    #[error("too many calls to Kafka are waiting")]
    Busy,
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
    pub(super) partition: Partition,
    pub(super) leader: i32,
    /// Broker, and whether it is in sync.
    pub(super) replicas: Vec<(i32, bool)>,
}

/// A topic of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ListedTopic {
    pub(super) name: String,
    /// How many partitions it has.
    pub(super) partitions: usize,
    /// How many replicas each of them has.
    pub(super) replicas: usize,
}

impl ListedTopic {
    /// A topic with these partitions.
    pub(super) fn of(name: &str, placed: &[Placed]) -> ListedTopic {
        ListedTopic {
            name: name.to_owned(),
            partitions: placed.len(),
            replicas: placed.first().map_or(0, |first| first.replicas.len()),
        }
    }
}

/// The partitions of a topic, in order.
pub(super) fn partitions(producer: &Producer, name: &str, timeout: Duration) -> Result<Vec<Placed>, TopicError> {
    let unreachable = |text: String| TopicError::Unreachable(text);
    let metadata = producer.ask(|client| client.fetch_metadata(Some(name), timeout))?;
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
    let placed = topic.partitions().iter().map(|partition| Placed {
        partition: Partition(partition.id()),
        leader: partition.leader(),
        replicas: partition
            .replicas()
            .iter()
            .map(|id| (*id, partition.isr().contains(id)))
            .collect(),
    });
    let mut placed: Vec<Placed> = placed.collect();
    placed.sort_unstable_by_key(|placed| placed.partition);
    Ok(placed)
}

/// All topics.
pub(super) fn topics(producer: &Producer, timeout: Duration) -> Result<Vec<ListedTopic>, TopicError> {
    let metadata = producer.ask(|client| client.fetch_metadata(None, timeout))?;
    let listed = metadata.topics().iter().map(|topic| ListedTopic {
        name: topic.name().to_owned(),
        partitions: topic.partitions().len(),
        replicas: topic.partitions().first().map_or(0, |first| first.replicas().len()),
    });
    Ok(listed.collect())
}

/// The id of the cluster.
pub(super) fn cluster_id(producer: &Producer, timeout: Duration) -> Result<String, TopicError> {
    let late = || KafkaError::MetadataFetch(Code::OperationTimedOut);
    Ok(producer.ask(|client| client.fetch_cluster_id(timeout).ok_or_else(late))?)
}
