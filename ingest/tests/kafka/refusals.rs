//! What a person is shown when Kafka cannot be reached: one sentence with the broker and the cause.

use crate::broker::shared;
use causes::with_causes;
use ingest::kafka::{Cluster, KafkaConfig, KafkaError};
use std::time::Duration;

/// The text of the refusal.
fn refusal(bootstrap: &str, properties: &[(&str, &str)]) -> String {
    let properties = properties
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()));
    let config = KafkaConfig {
        properties: properties.collect(),
        ..KafkaConfig::new(bootstrap)
    };
    let error: KafkaError = Cluster::connect_within(&config, Duration::from_secs(4))
        .err()
        .expect("no connection");
    with_causes(&error)
}

#[test]
fn refusals_name_broker_cause_and_hint_in_one_sentence() {
    let unanswered = |bootstrap: &str, cause: &str| {
        format!("no answer from Kafka at {bootstrap} within 4s to the question for the cluster: {cause}")
    };
    let closed = "127.0.0.1:1";
    assert_eq!(refusal(closed, &[]), unanswered(closed, "Connection refused"));
    let unknown = "no.such.host.invalid:9092";
    let text = refusal(unknown, &[]);
    assert!(
        text.starts_with(&unanswered(unknown, "Failed to resolve 'no.such.host.invalid:9092': ")),
        "{text}"
    );
    assert_eq!(
        refusal(
            closed,
            &[("security.protocol", "SSL"), ("ssl.ca.location", "/etc/passwd")]
        )
        .split(": ")
        .take(3)
        .collect::<Vec<_>>()
        .join(": "),
        "librdkafka failed to create a consumer: Client creation error: ssl.ca.location failed"
    );
    assert_eq!(
        refusal(
            closed,
            &[("security.protocol", "SSL"), ("ssl.ca.location", "/no/such.pem")]
        ),
        "Kafka property ssl.ca.location: cannot read /no/such.pem: No such file or directory (os error 2)"
    );

    let Some((broker, _up)) = shared() else { return };
    let other_protocol = "the broker closed the connection (check security.protocol)";
    assert_eq!(
        refusal(&broker.bootstrap, &[("security.protocol", "SSL")]),
        unanswered(&broker.bootstrap, other_protocol)
    );
    assert_eq!(refusal(&broker.sasl, &[]), unanswered(&broker.sasl, other_protocol));
    let password = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", "reader"),
        ("sasl.password", "hunter2"),
    ];
    assert_eq!(
        refusal(&broker.sasl, &password),
        format!(
            "Kafka at {} refuses to authenticate us: SASL authentication error: Authentication failed: Invalid \
             username or password (check sasl.* and security.protocol)",
            broker.sasl
        )
    );
}
