//! Checked settings of `pinflow gateway`.

use super::forms::{check_topic, parse_duration, to_path};
use super::layers::Effective;
use super::problem::ConfigError;
use super::reader::Reader;
use engine::KINDS;
use gateway::{AccessLog, Limits, RECORD_OVERHEAD, check_prefix};
use http_server::{TlsFiles, TokenSettings};
use ingest::kafka::KafkaConfig;
use std::net::SocketAddr;

/// What `gateway` needs.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it produces to.
    pub kafka: KafkaConfig,
    /// The topic of each kind (0 = pin, 1 = geo, 2 = user).
    pub topics: [Option<String>; 3],
    /// The paths that may stand in front of an interface's own; `None`: any single segment that is no name of it.
    pub prefixes: Option<Vec<String>>,
    /// Names under which it is reached, and whose pages may send requests to it.
    pub hosts: Vec<String>,
    /// The region of signatures and streams, for clients of AWS; `None`: any is accepted.
    pub region: Option<String>,
    /// Other names of topics and streams, with the topic that is meant.
    pub aliases: Vec<(String, String)>,
    /// The number of partitions over which a topic's keys are spread.
    pub pins: Vec<(String, i32)>,
    /// Whether only configured topics and aliases are served.
    pub strict_topics: bool,
    /// Whether missing topics are created.
    pub create_topics: bool,
    /// Whether clients may delete topics.
    pub delete_topics: bool,
    /// Partitions of a new topic; `None`: the broker's default.
    pub new_partitions: Option<i32>,
    /// Where tokens come from.
    pub tokens: TokenSettings,
    /// Certificate and key.
    pub tls: Option<TlsFiles>,
    /// Where the access log goes.
    pub access_log: AccessLog,
    /// The bounds.
    pub limits: Limits,
}

impl GatewaySettings {
    /// Checks the settings of `gateway`.
    pub fn check(effective: &Effective) -> Result<GatewaySettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let listen = reader.listen();
        let listen = reader.need(
            "serve.listen",
            listen,
            "`gateway` needs --listen ADDR:PORT, the address for producers".into(),
        );
        let kafka = reader.kafka();
        let kafka = reader.need(
            "kafka.bootstrap",
            kafka,
            "`gateway` needs --kafka HOST:PORT, the destination of the records".into(),
        );
        if let Some(kafka) = &kafka
            && let Err(error) = gateway::check_properties(kafka)
        {
            reader.wrong_property(&error);
        }
        let tokens = reader.tokens();
        let tls = match (
            reader.optional("gateway.tls_cert", to_path),
            reader.optional("gateway.tls_key", to_path),
        ) {
            (Some(certificates), Some(key)) => Some(TlsFiles { certificates, key }),
            (None, None) => None,
            _ => {
                reader.missing("TLS needs both --tls-cert and --tls-key".into());
                None
            }
        };
        let open = listen.is_some_and(|listen| !listen.ip().to_canonical().is_loopback());
        if open && (tokens.files.is_empty() || tls.is_none()) && !reader.switch("gateway.insecure") {
            let lacks = match (tokens.files.is_empty(), tls.is_none()) {
                (true, true) => "tokens (--token-file) and TLS (--tls-cert, --tls-key)",
                (true, false) => "tokens (--token-file)",
                _ => "TLS (--tls-cert, --tls-key)",
            };
            reader.missing(format!(
                "a gateway on a non-loopback address needs {lacks}: configure them, listen on 127.0.0.1, or pass --insecure"
            ));
        }
        let duration = |reader: &mut Reader<'_>, path| reader.optional(path, parse_duration).unwrap_or_default();
        let limits = Limits {
            body_bytes: reader.whole("gateway.body_bytes", 1 << 10, 1 << 29) as usize,
            in_flight_bytes: reader.whole("gateway.in_flight_bytes", 1 << 16, 1 << 31) as usize,
            connections: reader.whole("gateway.connections", 1, 1_000_000) as usize,
            header_timeout: duration(&mut reader, "gateway.header_timeout"),
            body_timeout: duration(&mut reader, "gateway.body_timeout"),
            produce_timeout: duration(&mut reader, "gateway.produce_timeout"),
            drain_delay: duration(&mut reader, "gateway.drain_delay"),
            drain_timeout: duration(&mut reader, "gateway.drain_timeout"),
        };
        // a record of a stream holds it twice: until it is acknowledged, and until that is reported
        let overhead = 2 * RECORD_OVERHEAD;
        if limits.body_bytes + overhead > limits.in_flight_bytes {
            reader.missing(format!(
                "gateway.body_bytes and {overhead} for the record are more than gateway.in_flight_bytes: such a body \
                 would never be taken"
            ));
        }
        for (path, time) in [
            ("gateway.header_timeout", limits.header_timeout),
            ("gateway.body_timeout", limits.body_timeout),
            ("gateway.produce_timeout", limits.produce_timeout),
        ] {
            if time.is_zero() {
                reader.missing(format!("{path} must be at least 1s"));
            }
        }
        let access_log = reader.optional("gateway.access_log", |text| match text {
            "off" => Ok(AccessLog::Off),
            "stdout" => Ok(AccessLog::Stdout),
            "stderr" => Ok(AccessLog::Stderr),
            other => Err(format!("invalid destination `{other}`: expected stdout, stderr or off")),
        });
        let prefix = |text: &str| check_prefix(text, &KINDS).map_err(|error| error.to_string());
        let prefixes = reader.entry("gateway.prefixes").is_some();
        let prefixes = prefixes.then(|| reader.list("gateway.prefixes", prefix));
        let hosts = reader.hosts();
        let region = reader.optional("gateway.region", |text| {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
                Ok(text.to_owned())
            } else {
                Err(format!("invalid region `{text}`: expected a name such as eu-west-1"))
            }
        });
        let (aliases, pins) = (reader.aliases(), reader.pins());
        let topics = reader.topics();
        let strict_topics = reader.switch("gateway.strict_topics");
        let create_topics = reader.switch("gateway.create_topics");
        let delete_topics = reader.switch("gateway.delete_topics");
        let new_partitions = reader
            .optional_whole("gateway.new_partitions", 1, 100_000)
            .map(|count| count as i32);
        let access_log = access_log.unwrap_or(AccessLog::Stdout);
        let (Some(listen), Some(kafka)) = (listen, kafka) else {
            return reader.refuse();
        };
        let settings = GatewaySettings {
            prefixes,
            hosts,
            region,
            aliases,
            pins,
            strict_topics,
            create_topics,
            delete_topics,
            new_partitions,
            topics,
            listen,
            kafka,
            tokens,
            tls,
            access_log,
            limits,
        };
        reader.done(settings)
    }
}

impl Reader<'_> {
    /// Other names of topics and streams, with the topic that is meant.
    pub(super) fn aliases(&mut self) -> Vec<(String, String)> {
        self.map("gateway.aliases", check_topic)
    }

    /// The number of partitions over which a topic's keys are spread.
    pub(super) fn pins(&mut self) -> Vec<(String, i32)> {
        self.map("gateway.pin_partitions", |text| match text.parse::<i32>() {
            Ok(count @ 1..=100_000) => Ok(count),
            _ => Err(format!("invalid number of partitions `{text}`")),
        })
    }
}
