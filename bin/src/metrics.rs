//! What Prometheus sees of a process. The names of an engine stand here and in the files below, and tests pin them:
//! dashboards depend on them.
//!
//! Names follow Prometheus' conventions: base units, the unit last, `_total` for counters. What changes with each object,
//! batch or commit is counted where it happens; everything else is asked for when `/metrics` is.

mod documented;
mod estimate;
mod partitions;
mod process;
mod taken;

pub use documented::{Documented, documented, families};
pub(crate) use partitions::PartitionLabels;
pub use process::of_process;

use api::Status;
use engine::{Observer, Profile, Source};
use estimate::HydrationEstimate;
use ingest::lake::LakeState;
use partitions::PartitionsCollector;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use taken::{ResultLabels, TakenCollector, Takes};

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why a record was rejected, as a label: one of a fixed list of reasons.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: String,
}

/// Where records come from, as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SourceLabels {
    source: &'static str,
}

/// A schema of results, as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SchemaLabels {
    schema: String,
}

/// A histogram for each source; looked up once.
#[derive(Debug)]
struct BySource {
    family: Family<SourceLabels, Histogram, fn() -> Histogram>,
    lake: Histogram,
    kafka: Histogram,
}

impl BySource {
    fn new(histogram: fn() -> Histogram) -> BySource {
        let family = Family::new_with_constructor(histogram);
        let of = |source| family.get_or_create_owned(&SourceLabels { source });
        BySource {
            lake: of("lake"),
            kafka: of("kafka"),
            family,
        }
    }

    fn observe(&self, source: Source, took: Duration) {
        let histogram = match source {
            Source::Lake => &self.lake,
            Source::Kafka => &self.kafka,
        };
        histogram.observe(took.as_secs_f64());
    }
}

/// The metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    labels: SchemaLabels,
    fence: Family<SchemaLabels, Gauge>,
    freshness: Gauge<f64, AtomicU64>,
    freshness_of_commits: Histogram,
    pace: Gauge<f64, AtomicU64>,
    estimate: HydrationEstimate,
    hydration_records: Counter,
    hydration_expected: Gauge,
    commit: Histogram,
    last_commit: Family<SchemaLabels, Gauge<f64, AtomicU64>>,
    fetch: BySource,
    decode: BySource,
    live_records: Counter,
    result_rows: Family<ResultLabels, Counter>,
    dead_letters: Family<ReasonLabels, Counter>,
    dead_letters_dropped: Counter,
    gap_offsets: Gauge,
    lake: LakeOutage,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Metrics {
        // from a commit on a free core to one that waited for a busy disk or a stalled server
        let commit_buckets = [
            0.001, 0.0015, 0.002, 0.003, 0.004, 0.005, 0.006, 0.008, 0.01, 0.012, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2,
            0.5, 1.0, 2.0, 5.0, 15.0, 60.0,
        ];
        // from one pace to a producer whose records were on their way for an hour
        let freshness_buckets = [
            0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0,
        ];
        let mut metrics = Metrics {
            registry: Registry::with_prefix("pinflow"),
            labels: SchemaLabels { schema: String::new() },
            fence: Family::default(),
            freshness: Gauge::default(),
            freshness_of_commits: Histogram::new(freshness_buckets),
            pace: Gauge::default(),
            estimate: HydrationEstimate::default(),
            hydration_records: Counter::default(),
            hydration_expected: Gauge::default(),
            commit: Histogram::new(commit_buckets),
            last_commit: Family::default(),
            // from a batch that was there already to an object that a throttled server sends
            fetch: BySource::new(|| {
                Histogram::new([0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0])
            }),
            // from one record to a chunk of a megabyte on a busy core
            decode: BySource::new(|| {
                Histogram::new([
                    0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0,
                ])
            }),
            live_records: Counter::default(),
            result_rows: Family::default(),
            dead_letters: Family::default(),
            dead_letters_dropped: Counter::default(),
            gap_offsets: Gauge::default(),
            lake: LakeOutage::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "fence",
            "Number of the fence that this run holds; a run with a smaller one than another run of the schema commits nothing",
            metrics.fence.clone(),
        );
        registry.register(
            "freshness_seconds",
            "From the Kafka timestamp of the oldest record of the last commit to that commit's acknowledgement",
            metrics.freshness.clone(),
        );
        registry.register(
            "commit_freshness_seconds",
            "From the Kafka timestamp of the oldest record of a commit to the commit's acknowledgement",
            metrics.freshness_of_commits.clone(),
        );
        registry.register(
            "pace_seconds",
            "How far apart live commits are at least: engine.pace, or more while commits are slow",
            metrics.pace.clone(),
        );
        registry.register(
            "hydration_records",
            "Records of history read",
            metrics.hydration_records.clone(),
        );
        registry.register(
            "hydration_records_expected",
            "Records of history in all, estimated from the bytes read so far",
            metrics.hydration_expected.clone(),
        );
        registry.register(
            "fetch_seconds",
            "How long an object of the lake took to open and read, waits for the server included, or a batch of records to take out of the Kafka client, without the wait for them",
            metrics.fetch.family.clone(),
        );
        registry.register(
            "decode_seconds",
            "How long a chunk of an object, or a batch of Kafka, took to decode and clean",
            metrics.decode.family.clone(),
        );
        registry.register(
            "live_records",
            "Records that live commits took in: over pinflow_sink_commit_seconds_count, records a commit",
            metrics.live_records.clone(),
        );
        registry.register_collector(Box::new(crate::stages::StageTimes::default()));
        registry.register("sink_commit_seconds", "How long a commit took", metrics.commit.clone());
        registry.register(
            "last_commit_timestamp_seconds",
            "When the last commit was acknowledged, since 1970; without records there is one commit a second",
            metrics.last_commit.clone(),
        );
        registry.register(
            "result_rows_changed",
            "Rows of a result that live commits took out or put in",
            metrics.result_rows.clone(),
        );
        registry.register(
            "dead_letter",
            "Records that no rule accepts, by reason",
            metrics.dead_letters.clone(),
        );
        registry.register(
            "dead_letter_dropped",
            "Dead letters that went because their table is limited",
            metrics.dead_letters_dropped.clone(),
        );
        registry.register(
            "archive_gap_offsets",
            "Offsets inside accepted gaps",
            metrics.gap_offsets.clone(),
        );
        registry.register_collector(Box::new(metrics.lake.clone()));
        // process metrics have the names that every Prometheus client gives them, without our prefix
        metrics
    }

    /// All metrics of a run on this schema at zero, where its partitions stand, and what its results and operators take.
    pub fn of_run(schema: &str, status: Arc<Status>, profile: Option<Arc<Profile>>) -> Metrics {
        Metrics::with(schema, status, profile)
    }

    fn with(schema: &str, status: Arc<Status>, taken: Option<impl Takes>) -> Metrics {
        let mut metrics = Metrics {
            labels: SchemaLabels {
                schema: schema.to_owned(),
            },
            ..Metrics::new()
        };
        let registry = &mut metrics.registry;
        registry.register_collector(Box::new(PartitionsCollector(status)));
        if let Some(taken) = taken {
            registry.register_collector(Box::new(TakenCollector(taken)));
        }
        metrics
    }

    /// These metrics and those of the process, for a command that is not the engine. The registry has the prefix
    /// `pinflow`.
    pub fn of(registry: Registry) -> Metrics {
        Metrics {
            registry,
            ..Metrics::new()
        }
    }

    /// Offsets inside accepted gaps.
    pub fn gaps(&self, offsets: i64) {
        self.gap_offsets.set(offsets);
    }

    /// Since when the lake cannot be used; `None` when it can.
    pub fn lake_unavailable(&self, since: Option<Instant>) {
        self.lake.set(since);
    }

    /// Everything in the OpenMetrics text format.
    pub fn text(&self) -> String {
        use prometheus_client::encoding::text::{encode_eof, encode_registry};
        let mut text = String::with_capacity(4096);
        encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, &of_process()))
            .and_then(|()| encode_eof(&mut text))
            .expect("writing to a String");
        text
    }
}

impl Observer for Metrics {
    fn claimed(&self, fence: i64, _commit: i64) {
        self.fence.get_or_create(&self.labels).set(fence);
    }

    fn history(&self, _objects: u64, bytes: u64) {
        self.estimate.total(bytes);
    }

    fn object(&self, records: u64, bytes: u64, _rejected: u64) {
        let expected = self.estimate.read(records, bytes);
        self.hydration_records.inc_by(records);
        self.hydration_expected.set(i64::try_from(expected).unwrap_or(i64::MAX));
    }

    fn fetched(&self, from: Source, took: Duration) {
        self.fetch.observe(from, took);
    }

    fn decoded(&self, from: Source, took: Duration) {
        self.decode.observe(from, took);
    }

    fn committed(&self, _number: i64, took: Duration) {
        self.commit.observe(took.as_secs_f64());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.last_commit.get_or_create(&self.labels).set(now.as_secs_f64());
    }

    fn live_records(&self, records: u64) {
        self.live_records.inc_by(records);
    }

    fn result_rows(&self, result: &str, rows: u64) {
        let result = result.to_owned();
        self.result_rows.get_or_create(&ResultLabels { result }).inc_by(rows);
    }

    fn pace(&self, pace: Duration) {
        self.pace.set(pace.as_secs_f64());
    }

    fn freshness(&self, age: Duration) {
        self.freshness.set(age.as_secs_f64());
        self.freshness_of_commits.observe(age.as_secs_f64());
    }

    fn dead_letters(&self, reason: &str, count: u64) {
        let reason = reason.to_owned();
        self.dead_letters.get_or_create(&ReasonLabels { reason }).inc_by(count);
    }

    fn dead_letters_dropped(&self, count: u64) {
        self.dead_letters_dropped.inc_by(count);
    }

    fn gaps(&self, offsets: i64) {
        Metrics::gaps(self, offsets);
    }

    fn lake(&self, state: &LakeState) {
        self.lake_unavailable(match state {
            LakeState::Unavailable { since, .. } => Some(*since),
            LakeState::Available => None,
        });
    }
}

/// How long the lake has not been usable, as of the moment that it is asked.
#[derive(Clone, Debug, Default)]
pub struct LakeOutage(Arc<Mutex<Option<Instant>>>);

impl LakeOutage {
    /// Since when the lake cannot be used; `None` when it can.
    pub fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = since;
    }
}

impl Collector for LakeOutage {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let since = *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let gauge = ConstGauge::new(since.map_or(0.0, |since| since.elapsed().as_secs_f64()));
        gauge.encode(encoder.encode_descriptor(
            "lake_unavailable_seconds",
            "How long the lake has not been usable; 0 when it is",
            None,
            gauge.metric_type(),
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::documented::example_of_run;
    use super::*;

    #[test]
    fn names_and_labels_are_pinned() {
        let text = example_of_run();
        for line in [
            "pinflow_fence{schema=\"pins\"} 3",
            "pinflow_freshness_seconds 1.5",
            "pinflow_commit_freshness_seconds_bucket{le=\"2.0\"} 1",
            "pinflow_pace_seconds 0.005",
            "pinflow_frontier_offset{topic=\"pin\",partition=\"0\"} 42.0",
            "pinflow_kafka_start_offset{topic=\"pin\",partition=\"0\"} 2.0",
            "pinflow_kafka_end_offset{topic=\"pin\",partition=\"0\"} 49.0",
            "pinflow_kafka_lag_records{topic=\"pin\",partition=\"0\"} 7.0",
            "pinflow_hydration_records_total 10",
            "pinflow_hydration_records_expected 20",
            "pinflow_fetch_seconds_bucket{le=\"0.3\",source=\"lake\"} 1",
            "pinflow_fetch_seconds_bucket{le=\"0.0003\",source=\"kafka\"} 1",
            "pinflow_decode_seconds_bucket{le=\"0.003\",source=\"lake\"} 1",
            "pinflow_decode_seconds_count{source=\"kafka\"} 0",
            "pinflow_reader_wait_seconds_total{on=\"staging\"} 0.0",
            "pinflow_sink_commit_seconds_count 1",
            "pinflow_live_records_total 12",
            "pinflow_result_rows_changed_total{result=\"users_joined_by_year\"} 3",
            "pinflow_result_busy_seconds_total{result=\"users_joined_by_year\"} 0.5",
            "pinflow_result_state_bytes{result=\"users_joined_by_year\"} 68.0",
            "pinflow_operator_busy_seconds_total{operator=\"posts: latest\",worker=\"1\"} 0.5",
            "pinflow_operator_state_bytes{operator=\"posts: latest\",worker=\"1\"} 68.0",
            "pinflow_sink_commit_seconds_bucket{le=\"0.005\"} 1",
            "pinflow_dead_letter_total{reason=\"not_json\"} 3",
            "pinflow_dead_letter_dropped_total 2",
            "pinflow_archive_gap_offsets 300",
            "pinflow_lake_unavailable_seconds 0.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        for name in [
            "pinflow_kafka_lag_seconds{topic=\"pin\",partition=\"0\"}",
            "pinflow_last_commit_timestamp_seconds{schema=\"pins\"}",
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
            "process_threads",
            "process_open_fds",
            "process_max_fds",
            "process_start_time_seconds",
        ] {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_else(|| panic!("{name}\n{text}"));
            assert!(value.trim().parse::<f64>().unwrap() > 0.0, "{name}{value}");
        }
        let version = format!("pinflow_build_info{{version=\"{}\",os=", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&version), "{text}");
    }

    #[test]
    fn what_has_not_happened_has_no_time() {
        let text = Metrics::new().text();
        assert!(!text.contains("\npinflow_last_commit_timestamp_seconds{"), "{text}");
        assert!(!text.contains("\npinflow_fence{"), "{text}");
    }

    #[test]
    fn an_outage_of_the_lake_is_as_long_as_it_lasts() {
        let metrics = Metrics::new();
        metrics.lake_unavailable(Some(Instant::now() - Duration::from_secs(90)));
        let seconds = |text: String| -> f64 {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix("pinflow_lake_unavailable_seconds "));
            value.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
        };
        assert!((90.0..100.0).contains(&seconds(metrics.text())));
        metrics.lake_unavailable(None);
        assert_eq!(seconds(metrics.text()), 0.0);
    }
}
