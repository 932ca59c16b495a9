//! Records of the log, read again from Kafka or the lake: what a record says of itself where no table holds it any more.

use crate::objects::{Line, Objects};
use dataflows::{Decoder, Kind, Limits, Raw};
use engine::KafkaSource;
use ingest::TopicPartition;
use ingest::kafka::{Cluster, KafkaError, Sample};
use ingest::lake::Original;
use operators::{Offset, Partition, Position};
use std::time::Duration;

/// How long Kafka is asked for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where records are read again.
#[derive(Debug)]
pub struct Records {
    kafka: Option<KafkaSource>,
    limits: Limits,
}

impl Records {
    /// From this cluster, if the run reads one; `limits` are those of the run.
    pub fn new(kafka: Option<KafkaSource>, limits: Limits) -> Records {
        Records { kafka, limits }
    }

    /// The `ind` of the post that a record is of. `None` where neither Kafka nor the lake holds the record any more or
    /// answers in time, and for a record that is a dead letter.
    pub async fn post(&self, kind: Kind, topic: &str, partition: i32, offset: i64, lake: &Objects) -> Option<i64> {
        let position = Position::new(1, Offset(offset), Partition(partition)).ok()?;
        let (key, value) = match self.of_kafka(topic, partition, offset).await {
            Some(sample) => (sample.key, sample.value),
            None => {
                let at = TopicPartition::new(kind as u8, Partition(partition));
                key_and_value(lake.line(at, offset, self.limits.record_bytes).await?)
            }
        };
        let raw = Raw {
            kind,
            position,
            key: key.as_deref(),
            value: value.as_deref(),
        };
        let event = Decoder::new(self.limits).decode(raw).ok()?;
        Some(event.key)
    }

    async fn of_kafka(&self, topic: &str, partition: i32, offset: i64) -> Option<Sample> {
        let config = self.kafka.as_ref()?.config.clone();
        let name = topic.to_owned();
        // a connection of its own, gone with the request: such requests are rare, and few at the same time
        let sample = tokio::task::spawn_blocking(move || -> Result<Option<Sample>, KafkaError> {
            Cluster::connect_within(&config, TIMEOUT)?.sample(&name, Partition(partition), Offset(offset))
        });
        match sample.await {
            Ok(Ok(sample)) => sample,
            Ok(Err(error)) => {
                let error = causes::with_causes(&error);
                tracing::debug!(topic, partition, offset, %error, "a record cannot be read again");
                None
            }
            Err(_) => {
                tracing::error!("reading a record again panicked");
                None
            }
        }
    }
}

/// The record that a line of the lake stands for.
fn key_and_value(line: Line) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let original = line.is_ours.then(|| ingest::lake::original(&line.bytes)).flatten();
    match original {
        Some(Original::Value(value)) => (None, Some(value)),
        Some(Original::Tombstone(key)) => (key, None),
        None if line.deletes => (Some(line.bytes), None),
        None => (None, Some(line.bytes)),
    }
}
