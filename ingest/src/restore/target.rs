//! The topics that are restored into: whether they can hold the records, and how far an earlier restore has come.
//!
//! The last record of a partition says in its headers which record of the lake it is, and how many come before it. So it
//! says where the first one stands, which must be where Kafka's records begin: a record too many, from another writer or
//! sent twice, or one that retention has removed shows there.

use super::error::{RestoreError, Wrong};
use super::headers::Origin;
use super::options::RestoreTopic;
use crate::kafka::{Cluster, KafkaConfig, TopicSettings, Watermarks, create_topic, topic_settings};
use crate::topic_partition::TopicPartition;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use values::{Offset, Partition};

/// How long a topic that was created may take to appear.
const APPEARS: Duration = Duration::from_secs(30);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// How far a partition is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Restored {
    /// Where the first record stands, or will.
    pub(super) base: Offset,
    /// The last record that is there.
    pub(super) last: Option<LastRecord>,
}

/// The last restored record of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastRecord {
    pub(super) origin: Origin,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
}

impl Restored {
    /// How many records are there.
    pub(super) fn records(&self) -> u64 {
        self.last.as_ref().map_or(0, |last| last.origin.index + 1)
    }
}

/// Creates the topics that Kafka lacks, if that is allowed, and refuses those that cannot hold the records. `needed` is
/// the number of partitions that a topic needs. Returns the bytes that each topic takes in one batch, as far as known.
pub(super) async fn prepare(
    config: &KafkaConfig,
    cluster: &Arc<Cluster>,
    topics: &[(&RestoreTopic, i32)],
    create: bool,
) -> Result<BTreeMap<String, u64>, RestoreError> {
    for &(topic, needed) in topics {
        if partitions(cluster, &topic.into).await?.is_none() {
            if !create {
                return Err(RestoreError::NoTopic {
                    topic: topic.into.clone(),
                });
            }
            if create_topic(config, &topic.into, needed).await? {
                tracing::info!("created topic {} with {needed} partitions", topic.into);
            }
            appears(cluster, &topic.into, needed).await?;
        }
        let has = partitions(cluster, &topic.into).await?.unwrap_or(0);
        if has < needed {
            return Err(RestoreError::FewPartitions {
                topic: topic.into.clone(),
                has,
                needed,
            });
        }
    }
    let names: Vec<String> = topics.iter().map(|(topic, _)| topic.into.clone()).collect();
    let settings = topic_settings(config, &names).await.unwrap_or_else(|error| {
        tracing::warn!("cannot read the settings of topics: {}", causes::with_causes(&error));
        None
    });
    let settings = settings.unwrap_or_default();
    for topic in names.iter().filter(|topic| !settings.contains_key(*topic)) {
        tracing::warn!(
            "the settings of topic {topic} may not be seen (grant DESCRIBE_CONFIGS): it must not be compacted, nor lose \
             records to retention.bytes"
        );
    }
    let mut batches = BTreeMap::new();
    for (topic, settings) in settings {
        check_settings(&topic, &settings)?;
        let limit = settings.get("max.message.bytes").and_then(|bytes| bytes.parse().ok());
        batches.extend(limit.map(|limit| (topic, limit)));
    }
    Ok(batches)
}

async fn appears(cluster: &Arc<Cluster>, topic: &str, needed: i32) -> Result<(), RestoreError> {
    let start = Instant::now();
    while partitions(cluster, topic).await?.is_none_or(|has| has < needed) && start.elapsed() < APPEARS {
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// How many partitions a topic has; `None` when it does not exist.
async fn partitions(cluster: &Arc<Cluster>, topic: &str) -> Result<Option<i32>, RestoreError> {
    let (cluster, topic) = (Arc::clone(cluster), topic.to_owned());
    let asked = tokio::task::spawn_blocking(move || cluster.partitions(&topic)).await;
    let partitions = asked.map_err(|_| RestoreError::Panicked)??;
    Ok(partitions.map(|partitions| partitions.len() as i32))
}

fn check_settings(topic: &str, settings: &TopicSettings) -> Result<(), RestoreError> {
    if settings
        .get("cleanup.policy")
        .is_some_and(|policy| policy.contains("compact"))
    {
        return Err(RestoreError::Compacted {
            topic: topic.to_owned(),
        });
    }
    let limit = settings
        .get("retention.bytes")
        .and_then(|bytes| bytes.parse::<i64>().ok());
    if let Some(bytes) = limit.filter(|bytes| *bytes >= 0) {
        tracing::warn!(
            "topic {topic} keeps {bytes} bytes of a partition (retention.bytes): Kafka may delete restored records"
        );
    }
    Ok(())
}

/// How far each partition of a topic is restored; refuses one that holds anything else. The lake has records of those
/// that are planned, from these offsets on. While the topic is not `claimed` another restore may write it, so that its end is where it was when it
/// was asked for first.
pub(super) fn restored(
    cluster: &Cluster,
    topic: &RestoreTopic,
    planned: &BTreeMap<Partition, Offset>,
    claimed: bool,
) -> Result<BTreeMap<Partition, Restored>, RestoreError> {
    let mut found = BTreeMap::new();
    for (TopicPartition { partition, .. }, marks) in cluster.spans([(0, topic.into.as_str())])? {
        let high = if claimed { marks.high } else { marks.stable };
        let marks = Watermarks { high, ..marks };
        let restored = of_partition(cluster, topic, partition, marks)?;
        match planned.get(&partition) {
            None if restored.last.is_some() => {
                return Err(not_empty(topic, partition, marks, "of which the lake has no records"));
            }
            Some(lake) if restored.last.is_some() => check_beginning(cluster, topic, partition, restored.base, *lake)?,
            _ => {}
        }
        found.insert(partition, restored);
    }
    Ok(found)
}

/// Whether the lake still has the record that was restored first.
fn check_beginning(
    cluster: &Cluster,
    topic: &RestoreTopic,
    partition: Partition,
    base: Offset,
    lake: Offset,
) -> Result<(), RestoreError> {
    let first = cluster.sample(&topic.into, partition, base)?;
    // another record than a restored one is found when all are compared
    let origin = first.and_then(|first| Origin::of_headers(&first.headers, &topic.name, partition));
    match origin {
        Some(origin) if origin.offset < lake => Err(RestoreError::BeginningLost {
            topic: topic.name.clone(),
            into: topic.into.clone(),
            partition,
            lake,
            restored: origin.offset,
        }),
        _ => Ok(()),
    }
}

/// How far one partition is restored.
pub(super) fn of_partition(
    cluster: &Cluster,
    topic: &RestoreTopic,
    partition: Partition,
    marks: Watermarks,
) -> Result<Restored, RestoreError> {
    if marks.low == marks.high {
        return Ok(Restored {
            base: marks.low,
            last: None,
        });
    }
    let refused = |why| not_empty(topic, partition, marks, why);
    if marks.stable < marks.high {
        return Err(refused("and a transaction is open"));
    }
    let at = marks.high.previous();
    let Some(sample) = cluster.sample(&topic.into, partition, at)? else {
        return Err(refused("and no record stands at its end"));
    };
    let Some(origin) = Origin::of_headers(&sample.headers, &topic.name, partition) else {
        return Err(refused("and no restore of this topic has written the last record"));
    };
    if marks.low.plus(origin.index) != at {
        return Err(RestoreError::Spoiled {
            topic: topic.into.clone(),
            partition,
            offset: at,
            why: Wrong::Position,
        });
    }
    let last = LastRecord {
        origin,
        key: sample.key,
        value: sample.value,
    };
    Ok(Restored {
        base: marks.low,
        last: Some(last),
    })
}

fn not_empty(topic: &RestoreTopic, partition: Partition, marks: Watermarks, why: &'static str) -> RestoreError {
    RestoreError::NotEmpty {
        topic: topic.into.clone(),
        partition,
        held: marks.low..marks.high,
        why,
    }
}
