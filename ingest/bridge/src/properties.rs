//! librdkafka's properties for transactions: which are ours, and what a user may override.

use ingest::kafka::{KafkaConfig, KafkaConfigError};
use rdkafka::config::ClientConfig;
use std::time::Duration;

const PROMISE: &str = "a record and its position are written in one transaction, once";
const ADDRESS: &str = "name the brokers with --kafka";
const FENCE: &str = "the id of the transactions is the name of the topic of positions: set it with --positions";
const PLACE: &str = "the bridge places keys itself, as the gateway does";
const TIME: &str = "it follows from the time that a transaction may take";

/// The properties that are ours, with the reason a user is told.
const OWNED: [(&str, &str); 15] = [
    ("acks", PROMISE),
    ("request.required.acks", PROMISE),
    ("enable.idempotence", PROMISE),
    ("enable.gapless.guarantee", PROMISE),
    ("transactional.id", FENCE),
    ("transaction.timeout.ms", TIME),
    ("bootstrap.servers", ADDRESS),
    ("metadata.broker.list", ADDRESS),
    ("partitioner", PLACE),
    ("delivery.timeout.ms", TIME),
    ("message.timeout.ms", TIME),
    ("delivery.report.only.error", PROMISE),
    ("log.queue", "librdkafka's log is part of pinflow's"),
    ("allow.auto.create.topics", "the bridge creates no topic of records"),
    ("queue.buffering.overflow.strategy", PROMISE),
];

/// What a user may override.
const DEFAULTS: [(&str, &str); 6] = [
    ("client.id", "pinflow-bridge"),
    ("linger.ms", "5"),
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.keepalive.enable", "true"),
    // a record of Kinesis has up to 10 MiB; the topic has its own limit and the last word
    ("message.max.bytes", "12582912"),
    // that limit is one of batches: small records must not fill one that a topic with a low limit does not take
    ("batch.size", "65536"),
];

/// How long a transaction may take. Readers of committed records wait for an open one, so that one which was left open
/// by a bridge that died holds them back for so long at most.
pub(crate) const TRANSACTION: Duration = Duration::from_secs(30);

/// Refuses properties that are ours; what [`KafkaConfig::check`] says is not repeated.
///
/// # Errors
/// [`KafkaConfigError::Owned`].
pub fn check(config: &KafkaConfig) -> Result<(), KafkaConfigError> {
    config.refuse_owned(&OWNED)
}

/// The complete configuration of a producer; the caller has checked `config`.
pub(crate) fn producer(config: &KafkaConfig, id: &str) -> ClientConfig {
    let mut client = ClientConfig::new();
    for (name, value) in DEFAULTS {
        client.set(name, value);
    }
    client.extend(config.properties.iter().cloned());
    client
        .set("bootstrap.servers", &config.bootstrap)
        .set("transactional.id", id)
        .set("transaction.timeout.ms", TRANSACTION.as_millis().to_string())
        .set("message.timeout.ms", TRANSACTION.as_millis().to_string())
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("allow.auto.create.topics", "false")
        .set_log_level(ingest::kafka::log_level());
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_carries_the_promise_is_refused_and_the_rest_is_taken() {
        let with = |name: &str, value: &str| {
            let mut config = KafkaConfig::new("127.0.0.1:9092");
            config.properties.push((name.into(), value.into()));
            config
        };
        for (name, reason) in OWNED {
            let error = check(&with(name, "1")).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(reason), "{error}");
        }
        let mine = with("linger.ms", "20");
        assert_eq!(check(&mine), Ok(()));
        let config = producer(&mine, "id");
        assert_eq!(config.get("linger.ms"), Some("20"));
        assert_eq!(config.get("transactional.id"), Some("id"));
        let batch: usize = config.get("batch.size").unwrap().parse().unwrap();
        assert!(
            batch <= 64 << 10,
            "full batches of small records are too large for topics with a low limit"
        );
        config.create_native_config().expect("librdkafka takes every default");
    }
}
