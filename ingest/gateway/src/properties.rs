//! librdkafka's properties for producing: which are ours, and what a user may override.

use ingest::kafka::{KafkaConfig, KafkaConfigError};
use rdkafka::config::ClientConfig;
use std::time::Duration;

const PROMISE: &str = "the gateway answers only for what every replica in sync has taken, and writes it once";
const ADDRESS: &str = "name the brokers with --kafka";
const PLACE: &str = "the gateway places keys itself, over a pinned number of partitions";
const TIME: &str = "set produce_timeout of [gateway]";
const REPORTS: &str = "delivery reports are required to answer requests";

/// The properties that are ours, with the reason a user is told.
const OWNED: [(&str, &str); 15] = [
    ("acks", PROMISE),
    ("request.required.acks", PROMISE),
    ("enable.idempotence", PROMISE),
    ("enable.gapless.guarantee", PROMISE),
    ("transactional.id", "the gateway writes no transactions"),
    ("bootstrap.servers", ADDRESS),
    ("metadata.broker.list", ADDRESS),
    ("partitioner", PLACE),
    ("delivery.timeout.ms", TIME),
    ("message.timeout.ms", TIME),
    ("delivery.report.only.error", REPORTS),
    ("produce.offset.report", REPORTS),
    ("log.queue", "librdkafka's log is part of pinflow's"),
    ("allow.auto.create.topics", "topics are made with --create-topics alone"),
    ("queue.buffering.overflow.strategy", REPORTS),
];

/// What a user may override: few milliseconds of gathering, since a request waits for every record.
const DEFAULTS: [(&str, &str); 9] = [
    ("client.id", "pinflow-gateway"),
    ("linger.ms", "3"),
    // max.message.bytes of a topic is a limit on batches, and all records of one that is too large fail
    ("batch.size", "65536"),
    ("compression.codec", "none"),
    ("queue.buffering.max.messages", "400000"),
    ("queue.buffering.max.kbytes", "2097151"),
    // a broker that was away for minutes is found again within a second
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.keepalive.enable", "true"),
    ("topic.metadata.propagation.max.ms", "5000"),
];

/// Refuses properties that are ours; what [`KafkaConfig::check`] says is not repeated.
pub fn check(config: &KafkaConfig) -> Result<(), KafkaConfigError> {
    config.refuse_owned(&OWNED)
}

/// The complete configuration of a producer; the caller has checked `config`.
pub(super) fn producer(config: &KafkaConfig, timeout: Duration, message_bytes: usize) -> ClientConfig {
    let mut client = ClientConfig::new();
    for (name, value) in DEFAULTS {
        client.set(name, value);
    }
    // keys, headers and framing come on top of a body; the broker has its own limit and the last word
    let message_bytes = message_bytes.saturating_add(64 << 10).min(1_000_000_000);
    client.set("message.max.bytes", message_bytes.to_string());
    client.extend(config.properties.iter().cloned());
    client
        .set("bootstrap.servers", &config.bootstrap)
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("message.timeout.ms", timeout.as_millis().to_string())
        .set("allow.auto.create.topics", "false")
        .set_log_level(ingest::kafka::log_level());
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> KafkaConfig {
        let mut config = KafkaConfig::new("127.0.0.1:9092");
        config.properties.push((name.into(), value.into()));
        config
    }

    #[test]
    fn what_carries_the_promise_is_refused_and_the_rest_is_taken() {
        for (name, reason) in OWNED {
            let error = check(&with(name, "1")).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(reason), "{error}");
        }
        assert_eq!(check(&with("linger.ms", "20")), Ok(()));
        let config = producer(&with("linger.ms", "20"), Duration::from_secs(7), 1000);
        assert_eq!(config.get("linger.ms"), Some("20"));
        assert_eq!(config.get("acks"), Some("all"));
        assert_eq!(config.get("message.timeout.ms"), Some("7000"));
        config.create_native_config().expect("librdkafka takes every default");
    }
}
