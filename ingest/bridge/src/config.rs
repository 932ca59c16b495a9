//! The settings of a bridge: the stream, where its records go, and the bounds.

use gateway::Stream;
use ingest::kafka::KafkaConfig;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where a shard without a position is read from: fixed at the first start, and kept with the positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beginning {
    /// The oldest record that the stream still has.
    TrimHorizon,
    /// The first record that arrived at this time or later, in milliseconds since 1970.
    AtMs(i64),
}

/// The stream, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KinesisConfig {
    /// Its name.
    pub stream: String,
    /// The endpoint of a server other than AWS's.
    pub endpoint: Option<String>,
}

/// Everything a bridge is told.
#[derive(Debug, Clone)]
pub struct BridgeConfig {
    /// The source.
    pub kinesis: KinesisConfig,
    /// The destination.
    pub kafka: KafkaConfig,
    /// The kinds of records, each with its topic.
    pub streams: Vec<Stream>,
    /// The names of the field that makes a record's key.
    pub key_fields: Vec<String>,
    /// Other names of topics: what the stream may be called, and the topic that is meant.
    pub aliases: Vec<(String, String)>,
    /// The number of partitions over which a topic's keys are spread, where it is not what Kafka says at the start.
    pub pins: Vec<(String, i32)>,
    /// The topic of records of no known kind; none: such a record ends the bridge.
    pub other_topic: Option<String>,
    /// The topic of positions, which is the transactional id, too.
    pub positions: String,
    /// Where the first start begins.
    pub from: Beginning,
    /// Time between two transactions at least.
    pub commit_interval: Duration,
    /// Time between two requests for the records of a shard that is read to its tip.
    pub poll_interval: Duration,
    /// Bytes of records that are read and not committed, at most.
    pub buffer_bytes: usize,
    /// Go on where records were trimmed before they were read.
    pub accept_trimmed: bool,
    /// End when every shard is read to its tip.
    pub once: bool,
}
