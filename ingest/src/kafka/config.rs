//! Which Kafka to talk to, and which of librdkafka's properties are the user's to set.
//!
//! Properties pass through under librdkafka's own dotted names, so that its documentation is ours. A few carry the
//! promise that every offset counts once; a user who set them would get wrong tables without a message, so they are
//! refused by name and with the reason. The rest is checked by librdkafka itself.

use super::config_error::{DEFAULT_GROUP, KafkaConfigError};
use super::iam::{self, Tokens};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use std::fmt;
use std::fs::File;
use std::time::Duration;

/// Where Kafka is and how to talk to it.
#[derive(Clone)]
pub struct KafkaConfig {
    /// `host:port[,host:port…]`.
    pub bootstrap: String,
    /// librdkafka properties by their own names; of a name that occurs twice the last one counts.
    pub properties: Vec<(String, String)>,
    /// The group under which offsets are committed for lag tools; nothing is ever read from it.
    pub group_id: String,
    /// For how long a broker may gather records for one answer to a reader: more records an answer, fewer answers. Zero
    /// asks for every record at once. So does a `fetch.wait.max.ms` of the user's, with a `fetch.min.bytes` of theirs.
    pub pace: Duration,
}

const POSITION: &str =
    "positions are committed with the tables in Postgres, and Kafka's group offsets only follow them";
const END: &str = "a partition's end closes the first epoch, so pinflow must hear of it";
const ADDRESS: &str = "name the brokers with --kafka";
const ALONE: &str = "partitions are assigned by hand, there is no group to balance";
const LEGACY: &str = "offsets are never stored by the client";

/// The properties that are ours, with the reason a user is told.
const OWNED: [(&str, &str); 19] = [
    (
        "allow.auto.create.topics",
        "pinflow never creates a topic that it reads",
    ),
    ("auto.commit.enable", POSITION),
    ("auto.commit.interval.ms", POSITION),
    (
        "auto.offset.reset",
        "an offset that Kafka no longer holds is a gap, which is reported and never jumped over",
    ),
    ("bootstrap.servers", ADDRESS),
    ("enable.auto.commit", POSITION),
    ("enable.auto.offset.store", POSITION),
    ("enable.partition.eof", END),
    ("group.id", "name the group with the key group_id of [kafka]"),
    ("group.instance.id", ALONE),
    ("group.protocol", ALONE),
    ("group.remote.assignor", ALONE),
    (
        "isolation.level",
        "records of open and aborted transactions must not be counted: it is always read_committed",
    ),
    ("log.queue", "librdkafka's log is part of pinflow's"),
    ("metadata.broker.list", ADDRESS),
    ("offset.store.method", LEGACY),
    ("offset.store.path", LEGACY),
    ("offset.store.sync.interval.ms", LEGACY),
    ("partition.assignment.strategy", ALONE),
];

/// What a user may override: low latency, fast recovery, and little prefetching, since each partition has a queue
/// of its own in librdkafka.
const DEFAULTS: [(&str, &str); 11] = [
    ("client.id", "pinflow"),
    ("check.crcs", "true"),
    // the end of a partition is reported by an empty answer, and this is how long that one may take
    ("fetch.wait.max.ms", "100"),
    // librdkafka's second would be the pause of a reader whose prefetch queue was full for a moment
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.error.backoff.ms", "100"),
    ("queued.max.messages.kbytes", "4096"),
    ("queued.min.messages", "20000"),
    // a broker that was away for minutes is found again within a second
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.keepalive.enable", "true"),
    ("socket.nagle.disable", "true"),
    // a topic that seems deleted is asked for again by us, so librdkafka need not wait for half a minute
    ("topic.metadata.propagation.max.ms", "2000"),
];

/// A broker that has so many bytes for a reader answers without gathering more.
const GATHERED_BYTES: &str = "100000";
/// The longest that a broker gathers: the end of a partition is seen no earlier.
const MOST_WAIT: Duration = Duration::from_millis(100);

impl KafkaConfig {
    /// The group id if none is configured.
    pub const DEFAULT_GROUP: &'static str = DEFAULT_GROUP;

    /// A configuration without properties, under the default group id.
    pub fn new(bootstrap: impl Into<String>) -> KafkaConfig {
        KafkaConfig {
            bootstrap: bootstrap.into(),
            properties: Vec::new(),
            group_id: Self::DEFAULT_GROUP.into(),
            pace: Duration::ZERO,
        }
    }

    /// Checks everything that can be checked without a broker.
    pub fn check(&self) -> Result<(), KafkaConfigError> {
        if self.bootstrap.split(',').all(|broker| broker.trim().is_empty()) {
            return Err(KafkaConfigError::NoBootstrap);
        }
        if self.group_id.trim().is_empty() {
            return Err(KafkaConfigError::NoGroup);
        }
        for (name, value) in &self.properties {
            refuse_owned(name, &OWNED)?;
            check_property(name, iam::known_to_librdkafka(name, value))?;
            check_file(name, value)?;
        }
        Tokens::of(&mut self.client_config()).map(drop)
    }

    /// Refuses properties that are a client's own, each with the reason a user is told; what [`KafkaConfig::check`] says is
    /// not repeated.
    ///
    /// # Errors
    /// [`KafkaConfigError::Owned`], which names the property.
    pub fn refuse_owned(&self, owned: &[(&str, &'static str)]) -> Result<(), KafkaConfigError> {
        let mut properties = self.properties.iter();
        properties.try_for_each(|(name, _)| refuse_owned(name, owned))
    }

    /// The complete librdkafka configuration; the caller has checked `self`.
    pub(crate) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in DEFAULTS {
            config.set(name, value);
        }
        // who waits longer on purpose wants to wait for nothing that is there
        let chosen = self.properties.iter().any(|(name, _)| name == "fetch.wait.max.ms");
        if !self.pace.is_zero() && !chosen {
            let wait = self.pace.as_millis().clamp(1, MOST_WAIT.as_millis());
            config
                .set("fetch.wait.max.ms", wait.to_string())
                .set("fetch.min.bytes", GATHERED_BYTES);
        }
        config.extend(self.properties.iter().cloned());
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", &self.group_id)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("allow.auto.create.topics", "false")
            .set_log_level(log_level());
        config
    }
}

/// Values of properties may be secrets.
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.iter().map(|(name, _)| name).collect();
        let KafkaConfig {
            bootstrap, group_id, ..
        } = self;
        f.debug_struct("KafkaConfig")
            .field("bootstrap", bootstrap)
            .field("properties", &names)
            .field("group_id", group_id)
            .finish()
    }
}

fn refuse_owned(name: &str, owned: &[(&str, &'static str)]) -> Result<(), KafkaConfigError> {
    match owned.iter().find(|(owned, _)| *owned == name) {
        Some((_, reason)) => Err(KafkaConfigError::Owned {
            name: name.to_owned(),
            reason,
        }),
        None => Ok(()),
    }
}

/// Lets librdkafka judge one property.
fn check_property(name: &str, value: &str) -> Result<(), KafkaConfigError> {
    use rdkafka::types::RDKafkaConfRes;
    let failed = |reason: String| KafkaConfigError::Value {
        name: name.to_owned(),
        reason,
    };
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => Ok(()),
        Err(rdkafka::error::KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Err(KafkaConfigError::Unknown { name: name.to_owned() })
        }
        Err(rdkafka::error::KafkaError::ClientConfig(_, reason, ..)) => Err(failed(reason)),
        Err(other) => Err(failed(other.to_string())),
    }
}

/// The properties that name a file or a folder of certificates or keys.
const FILES: [&str; 5] = [
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.crl.location",
    "ssl.key.location",
    "ssl.keystore.location",
];

/// Whether the file that a property names can be opened: librdkafka reads it when a client is made, and a client of
/// another protocol would not miss it. Properties of other names name no files.
///
/// # Errors
/// [`KafkaConfigError::Value`], which names the file.
pub fn check_file(name: &str, value: &str) -> Result<(), KafkaConfigError> {
    // of ssl.ca.location, the word that lets OpenSSL look for the system's certificates
    if !FILES.contains(&name) || value.is_empty() || value == "probe" {
        return Ok(());
    }
    File::open(value).map(drop).map_err(|error| KafkaConfigError::Value {
        name: name.to_owned(),
        reason: format!("cannot read {value}: {error}"),
    })
}

/// Debug lines cost librdkafka's threads time, so they are asked for only when they are logged.
pub fn log_level() -> RDKafkaLogLevel {
    if tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG) {
        RDKafkaLogLevel::Debug
    } else {
        RDKafkaLogLevel::Info
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(properties: &[(&str, &str)]) -> KafkaConfig {
        let properties = properties
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        KafkaConfig {
            properties,
            ..KafkaConfig::new("127.0.0.1:9092")
        }
    }

    #[test]
    fn owned_properties_are_refused_by_name_and_with_the_reason() {
        for (name, reason) in OWNED {
            let error = with(&[("client.id", "x"), (name, "true")]).check().unwrap_err();
            assert_eq!(
                error,
                KafkaConfigError::Owned {
                    name: name.into(),
                    reason
                }
            );
            let text = error.to_string();
            assert!(text.contains(name) && text.contains(reason), "{text}");
        }
    }

    #[test]
    fn every_owned_property_exists() {
        for (name, _) in OWNED {
            let unknown = check_property(name, "true") == Err(KafkaConfigError::Unknown { name: name.into() });
            assert!(!unknown, "{name} is not a property of librdkafka");
        }
    }

    #[test]
    fn the_rest_is_judged_by_librdkafka() {
        let good = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", "PLAIN"),
            ("ssl.ca.location", "probe"),
            ("ssl.certificate.location", ""),
            ("ssl.keystore.location", "/dev/null"),
        ];
        assert_eq!(with(&good).check(), Ok(()));
        assert_eq!(
            with(&[("sasl.mechanisme", "PLAIN")]).check(),
            Err(KafkaConfigError::Unknown {
                name: "sasl.mechanisme".into()
            })
        );
        let error = with(&[("fetch.wait.max.ms", "soon")]).check().unwrap_err();
        assert!(
            matches!(&error, KafkaConfigError::Value { name, .. } if name == "fetch.wait.max.ms"),
            "{error}"
        );
        let error = with(&[("client.id", "a\0b")]).check().unwrap_err();
        assert!(
            matches!(&error, KafkaConfigError::Value { name, .. } if name == "client.id"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        for name in FILES {
            let error = with(&[(name, "/nonexistent/x.pem")]).check().unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("/nonexistent/x.pem"), "{error}");
        }
        assert_eq!(with(&[("client.id", "/nonexistent/x.pem")]).check(), Ok(()));
    }

    #[test]
    fn values_are_not_printed() {
        let text = format!("{:?}", with(&[("sasl.password", "hunter2")]));
        assert!(text.contains("sasl.password") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn empty_addresses_and_groups_are_refused() {
        for bootstrap in ["", " ", ",", " , "] {
            assert_eq!(KafkaConfig::new(bootstrap).check(), Err(KafkaConfigError::NoBootstrap));
        }
        let config = KafkaConfig {
            group_id: " ".into(),
            ..KafkaConfig::new("b:9092")
        };
        assert_eq!(config.check(), Err(KafkaConfigError::NoGroup));
        assert!(config.check().unwrap_err().to_string().ends_with("default, pinflow"));
    }

    #[test]
    fn users_override_the_defaults_but_never_what_is_ours() {
        let config = with(&[("client.id", "mine"), ("isolation.level", "read_uncommitted")]).client_config();
        assert_eq!(config.get("client.id"), Some("mine"));
        assert_eq!(config.get("fetch.wait.max.ms"), Some("100"));
        assert_eq!(config.get("isolation.level"), Some("read_committed"));
        assert_eq!(config.get("auto.offset.reset"), Some("error"));
        assert_eq!(config.get("group.id"), Some("pinflow"));
        config.create_native_config().expect("librdkafka takes every default");
    }
}
