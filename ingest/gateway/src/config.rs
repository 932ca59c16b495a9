//! The settings of a gateway: where it listens and produces, which streams it serves, and its bounds.

use super::access_log::AccessLog;
use http_server::{TlsFiles, TokenSettings};
use ingest::kafka::KafkaConfig;
use prometheus_client::registry::Registry;
use std::net::SocketAddr;
use std::time::Duration;

/// A kind of record that has a topic: what `POST /NAME/` accepts and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Its name: the last segment of a path, the suffix of a topic (`.NAME`) or of a Kinesis stream (`-NAME`).
    pub name: String,
    /// The topic that it means; `None`: its records have none here, and only names that end in it are served.
    pub topic: Option<String>,
    /// The fields of a record in the order in which they are echoed.
    pub fields: Vec<Field>,
}

/// A field of a record, as `POST /NAME/` checks and echoes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// What it must be.
    pub ty: FieldType,
    /// Whether it must be there; one that need not be may be null too.
    pub required: bool,
}

/// What the value of a field must be, or become without loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// A text.
    Text,
    /// A whole number.
    Whole,
    /// A number.
    Number,
}

/// The bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's body, or of one record of a streamed request.
    pub body_bytes: usize,
    /// Bytes that were taken and that Kafka has not acknowledged.
    pub in_flight_bytes: usize,
    /// Connections at the same time.
    pub connections: usize,
    /// For a TLS handshake, for a request's head, and for a connection without a request.
    pub header_timeout: Duration,
    /// For a request's body; between two pieces of a streamed one; for a client to continue reading its answer.
    pub body_timeout: Duration,
    /// For Kafka's acknowledgement.
    pub produce_timeout: Duration,
    /// Between the moment at which the gateway is told to stop and is not ready any more, and that at which it takes no
    /// further connection: for load balancers to notice.
    pub drain_delay: Duration,
    /// For requests under way when the gateway is told to stop.
    pub drain_timeout: Duration,
}

/// Everything a gateway is told.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it produces to.
    pub kafka: KafkaConfig,
    /// The kinds of records, each with its topic.
    pub streams: Vec<Stream>,
    /// The names of the field that makes a record's key, four at most.
    pub key_fields: Vec<String>,
    /// The paths that may stand in front of an interface's own; `None`: any single segment that is no name of ours.
    pub prefixes: Option<Vec<String>>,
    /// Names under which the gateway is reached, and whose pages may send requests to it.
    pub hosts: Vec<String>,
    /// The region that signatures of AWS's clients are made for, and that streams lie in; `None`: any is accepted.
    pub region: Option<String>,
    /// Other names of topics: what a client says, and the topic that is meant.
    pub aliases: Vec<(String, String)>,
    /// The number of partitions over which a topic's keys are spread, where it is not what Kafka says at the start.
    pub pins: Vec<(String, i32)>,
    /// Whether only the topics of the streams, and those of aliases, are served.
    pub strict_topics: bool,
    /// Whether missing topics are created.
    pub create_topics: bool,
    /// Whether a client may delete topics.
    pub delete_topics: bool,
    /// Partitions of a new topic; `None` leaves it to the broker.
    pub new_partitions: Option<i32>,
    /// The bounds.
    pub limits: Limits,
    /// Where tokens come from; nowhere: no token is needed.
    pub tokens: TokenSettings,
    /// TLS, when wanted.
    pub tls: Option<TlsFiles>,
    /// Where the access log goes.
    pub access_log: AccessLog,
    /// What `/version` says.
    pub version: &'static str,
    /// Metrics of the process, shown with the gateway's own.
    pub process_metrics: fn() -> Registry,
}
