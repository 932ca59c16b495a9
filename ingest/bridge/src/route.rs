//! Where a record goes: its topic, its key and its partition, as the gateway would place it.

use super::aggregated::{self, Inner};
use super::config::BridgeConfig;
use super::error::BridgeError;
use super::producer::{Origin, Outgoing, Producer, WriteError};
use super::shard::{Record, ShardId};
use ingest::Partition;
use ingest::kafka::Cluster;
use rdkafka::message::{Header, OwnedHeaders};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::block_in_place;

/// The topics that have been needed so far, with the number of partitions over which keys are spread: the same as long
/// as the process lives.
pub(crate) struct Routes {
    config: Arc<BridgeConfig>,
    pinned: BTreeMap<String, i32>,
}

impl Routes {
    pub(crate) fn new(config: Arc<BridgeConfig>) -> Routes {
        let pinned = BTreeMap::new();
        Routes { config, pinned }
    }

    /// Puts a record of a shard into the producer's transaction, and each that is packed in it; how many they are.
    pub(crate) fn send(
        &mut self,
        cluster: &Cluster,
        producer: &Producer,
        shard: &ShardId,
        record: &Record,
    ) -> Result<u64, WriteError> {
        let Some(packed) = aggregated::unpack(&record.data) else {
            let plain = Inner {
                partition_key: &record.partition_key,
                data: &record.data,
            };
            self.send_one(cluster, producer, (shard, record), plain, None)?;
            return Ok(1);
        };
        let mut count = 0;
        for inner in packed {
            self.send_one(cluster, producer, (shard, record), inner, Some(count))?;
            count += 1;
        }
        Ok(count)
    }

    fn send_one(
        &mut self,
        cluster: &Cluster,
        producer: &Producer,
        (shard, record): (&ShardId, &Record),
        inner: Inner<'_>,
        subsequence: Option<u64>,
    ) -> Result<(), WriteError> {
        let config = Arc::clone(&self.config);
        let topic = self.topic(&config, shard, record, inner.partition_key)?;
        let count = self.count(cluster, topic)?;
        let ind = gateway::key_in_value(inner.data, &config.key_fields);
        let placed_by = Some(inner.partition_key.as_bytes());
        let partition = gateway::partition_of(ind, placed_by, &config.key_fields, count);
        let key = ind.map(|ind| ind.to_string());
        producer.send(Outgoing {
            topic,
            partition: partition.unwrap_or(Partition(0)),
            key: key.as_deref().map(str::as_bytes),
            value: Some(inner.data),
            headers: Some(headers(&config.kinesis.stream, shard, record, inner, subsequence)),
            origin: Origin::Record {
                shard: shard.clone(),
                sequence: record.sequence.clone(),
            },
        })
    }

    fn topic<'c>(
        &self,
        config: &'c BridgeConfig,
        shard: &ShardId,
        record: &Record,
        partition_key: &str,
    ) -> Result<&'c str, WriteError> {
        let stream = &config.kinesis.stream;
        let topic = gateway::topic_of_stream(&config.streams, &config.aliases, stream, partition_key);
        topic.or(config.other_topic.as_deref()).ok_or_else(|| {
            WriteError::Refused(BridgeError::NoKind {
                stream: stream.clone(),
                shard: shard.to_string(),
                sequence: record.sequence.clone(),
                key: partition_key.to_owned(),
            })
        })
    }

    /// The number of partitions over which the keys of a topic are spread. A transaction is open: whether a topic that
    /// one broker does not know is really absent, the caller finds out afterwards.
    fn count(&mut self, cluster: &Cluster, topic: &str) -> Result<i32, WriteError> {
        if let Some(count) = self.pinned.get(topic) {
            return Ok(*count);
        }
        let refused = |error: BridgeError| WriteError::Refused(error);
        let held = block_in_place(|| cluster.partitions(topic)).map_err(WriteError::Over)?;
        let held = held
            .ok_or_else(|| {
                refused(BridgeError::NoTopic {
                    topic: topic.to_owned(),
                })
            })?
            .len();
        let pin = self.config.pins.iter().find(|(name, _)| name == topic);
        let pinned = pin.map_or(i32::try_from(held).unwrap_or(i32::MAX), |(_, count)| *count);
        if usize::try_from(pinned).unwrap_or(0) > held {
            let topic = topic.to_owned();
            return Err(refused(BridgeError::Pinned { topic, pinned, held }));
        }
        tracing::info!("topic {topic} has {held} partitions, keys are spread over {pinned}");
        self.pinned.insert(topic.to_owned(), pinned);
        Ok(pinned)
    }
}

/// Where a record comes from.
fn headers(stream: &str, shard: &ShardId, record: &Record, inner: Inner<'_>, subsequence: Option<u64>) -> OwnedHeaders {
    fn with(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
        let value = Some(value);
        headers.insert(Header { key, value })
    }
    let headers = OwnedHeaders::new_with_capacity(6);
    let headers = with(headers, "kinesis.stream", stream);
    let headers = with(headers, "kinesis.shard", shard.as_str());
    let headers = with(headers, "kinesis.sequence", &record.sequence);
    let headers = with(headers, "kinesis.partition-key", inner.partition_key);
    let headers = match record.arrival_ms {
        Some(ms) => with(headers, "kinesis.arrival", &ms.to_string()),
        None => headers,
    };
    match subsequence {
        Some(number) => with(headers, "kinesis.subsequence", &number.to_string()),
        None => headers,
    }
}
