//! The body of `GET /api/status`.

use super::lag::Trend;
use super::phase::Phase;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The body of `GET /api/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusBody {
    /// What the run is doing.
    pub phase: Phase,
    /// How far history is read.
    pub replay: ReplayStatus,
    /// In the order of topics and partitions.
    pub partitions: Vec<PartitionStatus>,
    /// The number of the last commit, counted over the life of the schema; 0 before the first one.
    pub commit: i64,
    /// Over the last 10 s. Without records there is one commit a second.
    pub commits_per_second: f64,
    /// From the timestamp of the oldest record of a commit to the commit's acknowledgement: `visible` of `latency_ms`.
    pub freshness_ms: Percentiles,
    /// Where the time goes.
    #[serde(default)]
    pub latency_ms: Latency,
    /// On the workers of this process, by worker and name.
    pub operators: Vec<OperatorStatus>,
    /// Records rejected since the run began, by reason, those of history included.
    pub rejects: BTreeMap<String, u64>,
    /// Offsets inside accepted gaps.
    pub gaps: i64,
    /// What was logged last as an error, or as a warning about Kafka, the lake or PostgreSQL.
    pub last_error: Option<String>,
    /// When that was, as in RFC 3339.
    pub last_error_at: Option<String>,
    /// One sentence that names what limits the run.
    pub bottleneck: String,
}

/// How far history is read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplayStatus {
    /// Bytes of objects read, of all bytes: 0 to 99.9 during the replay, 100 once it is committed.
    pub percent: f64,
    /// How long the objects that are left take at the pace so far; null before there is one, 0 once it is committed.
    pub eta_seconds: Option<f64>,
}

/// Where a partition stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionStatus {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// Up to where the lake covered it when the run began; null when it does not, or is not read yet.
    pub lake_end: Option<i64>,
    /// The first offset that Kafka holds; null before Kafka was looked at.
    pub start: Option<i64>,
    /// The first offset that the tables do not contain; null before the first commit.
    pub frontier: Option<i64>,
    /// The offset after the last record that is known to be in Kafka. Kafka is looked at every 5 s.
    pub end: i64,
    /// Offsets between the two.
    pub lag_records: i64,
    /// How long the first of them has waited at most; 0 when there are none; before the first commit, how long ago the run
    /// saw the partition first.
    pub lag_seconds: f64,
    /// How the lag changed in the last looks at Kafka, 15 s.
    pub trend: Trend,
}

/// Percentiles of the last minute in milliseconds; null when there was nothing to measure in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// The median.
    pub p50: Option<f64>,
    /// The 99th percentile.
    pub p99: Option<f64>,
}

/// How long things took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// From the timestamp of the oldest record of a commit to the commit's acknowledgement.
    pub visible: Percentiles,
    /// The commit: from the end of its epoch to PostgreSQL's acknowledgement.
    pub commit: Percentiles,
    /// A round trip to the brokers: how long they took to answer a request for the ends of partitions, which is asked
    /// every 5 s.
    pub broker: Percentiles,
}

/// What an operator takes on a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorStatus {
    /// The result that it is made for, and what it is; `Read` decodes, `Collect` gathers changes, `other` is the rest.
    pub name: String,
    /// The worker's index over all processes.
    pub worker: usize,
    /// The share of the last 10 s that it ran, 0 to 1.
    pub busy: f64,
    /// Its state.
    pub bytes: usize,
}
