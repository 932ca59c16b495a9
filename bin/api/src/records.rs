//! Records of the log, read again from Kafka: what a record says of itself where no table holds it any more.

use dataflows::{Decoder, Kind, Limits, Raw};
use engine::KafkaSource;
use ingest::kafka::{Cluster, KafkaError, Sample};
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

    /// The `ind` of the post that a record is of. `None` where Kafka does not hold the record any more or does not
    /// answer in time, and for a record that is a dead letter.
    pub async fn post(&self, kind: Kind, topic: &str, partition: i32, offset: i64) -> Option<i64> {
        let config = self.kafka.as_ref()?.config.clone();
        let name = topic.to_owned();
        // a connection of its own, gone with the request: such requests are rare, and few at the same time
        let sample = tokio::task::spawn_blocking(move || -> Result<Option<Sample>, KafkaError> {
            Cluster::connect_within(&config, TIMEOUT)?.sample(&name, Partition(partition), Offset(offset))
        });
        let sample = match sample.await {
            Ok(Ok(sample)) => sample?,
            Ok(Err(error)) => {
                let error = causes::with_causes(&error);
                tracing::debug!(topic, partition, offset, %error, "a record cannot be read again");
                return None;
            }
            Err(_) => {
                tracing::error!("reading a record again panicked");
                return None;
            }
        };
        let raw = Raw {
            kind,
            position: Position::new(1, Offset(offset), Partition(partition)).ok()?,
            key: sample.key.as_deref(),
            value: sample.value.as_deref(),
        };
        let event = Decoder::new(self.limits).decode(raw).ok()?;
        Some(event.key)
    }
}
