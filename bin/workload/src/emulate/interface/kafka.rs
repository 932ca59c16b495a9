//! Kafka itself: an idempotent producer that waits for all replicas. Records are keyed by the post's index, and go to
//! the partition that Java's producer would choose.

use super::super::item::Item;
use super::super::options::EmulateOptions;
use super::error::DestinationError;
use super::outcome::SendOutcome;
use ingest::kafka::Tokens;
use rdkafka::ClientConfig;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::util::Timeout;
use std::time::Duration;

/// The producer, and the topic of each kind.
pub struct Kafka {
    producer: FutureProducer<Log>,
    topics: [Option<String>; 3],
    patience: Duration,
}

impl Kafka {
    /// Makes the producer, which connects by itself.
    pub fn open(options: &EmulateOptions) -> Result<Kafka, DestinationError> {
        let mut config = ClientConfig::new();
        // one record waits for its answer before the next of the same post is sent: nothing is gained by waiting
        config.set("linger.ms", "0").set("client.id", "pinflow-emulate");
        config.extend(options.properties.iter().cloned());
        config
            .set("bootstrap.servers", &options.to)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", options.patience.as_millis().max(1000).to_string());
        let tokens = Tokens::of(&mut config)?;
        let producer = config
            .create_with_context(Log(tokens))
            .map_err(DestinationError::Producer)?;
        Ok(Kafka {
            producer,
            topics: options.topics.clone(),
            patience: options.patience,
        })
    }

    /// Sends a record; librdkafka tries again by itself.
    pub async fn send(&self, item: &Item) -> SendOutcome {
        let topic = self.topics[usize::from(item.kind)].as_deref().unwrap_or_default();
        let key = item.ind.map(|ind| ind.to_string());
        let mut record = FutureRecord::<str, [u8]>::to(topic);
        if let Some(key) = &key {
            record = record.key(key);
        }
        // without a key a tombstone would say nothing
        if !item.delete || key.is_none() {
            record = record.payload(&item.value);
        }
        match self.producer.send(record, Timeout::After(self.patience)).await {
            Ok(_) => SendOutcome::Acknowledged,
            Err((error, _)) => classify_delivery_error(topic, &error),
        }
    }
}

fn classify_delivery_error(topic: &str, error: &KafkaError) -> SendOutcome {
    let why = format!("producing to {topic}: {error}");
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize | Code::InvalidMessage) => SendOutcome::Refused(why),
        // the patience is over
        Some(Code::MessageTimedOut | Code::QueueFull) => SendOutcome::Retry { why, after: None },
        _ => SendOutcome::Stop(why),
    }
}

/// librdkafka's log lines as ours.
struct Log(Tokens);

impl ClientContext for Log {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.0.make()
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", facility, "{message}")
            }
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
                tracing::warn!(target: "librdkafka", facility, "{message}")
            }
            _ => tracing::debug!(target: "librdkafka", facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}
