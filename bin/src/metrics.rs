//! What Prometheus sees of a process. All names stand here, and a test pins them: dashboards depend on them.

use crate::summary::{cpu_seconds, status_bytes};
use engine::{Profile, Taken};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A partition, as labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabels {
    topic: String,
    partition: i32,
}

/// Why a record was rejected, as a label: one of a fixed list of reasons.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: String,
}

/// A result, as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: String,
}

/// The metrics of one process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    freshness: Gauge<f64, AtomicU64>,
    pace: Gauge<f64, AtomicU64>,
    frontier: Family<PartitionLabels, Gauge>,
    lag: Family<PartitionLabels, Gauge>,
    hydration_records: Counter,
    hydration_expected: Gauge,
    commit: Histogram,
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
            0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0,
        ];
        let mut metrics = Metrics {
            registry: Registry::with_prefix("pinflow"),
            freshness: Gauge::default(),
            pace: Gauge::default(),
            frontier: Family::default(),
            lag: Family::default(),
            hydration_records: Counter::default(),
            hydration_expected: Gauge::default(),
            commit: Histogram::new(commit_buckets),
            live_records: Counter::default(),
            result_rows: Family::default(),
            dead_letters: Family::default(),
            dead_letters_dropped: Counter::default(),
            gap_offsets: Gauge::default(),
            lake: LakeOutage::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "freshness_seconds",
            "From the Kafka timestamp of the oldest record of the last commit to that commit's acknowledgement",
            metrics.freshness.clone(),
        );
        registry.register(
            "pace_seconds",
            "How far apart live commits are at least: engine.pace, or more while commits are slow",
            metrics.pace.clone(),
        );
        registry.register(
            "frontier_offset",
            "First offset of the partition that the tables do not contain",
            metrics.frontier.clone(),
        );
        registry.register(
            "kafka_lag_records",
            "Records in Kafka beyond the committed frontier",
            metrics.lag.clone(),
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
            "live_records",
            "Records that live commits took in: over pinflow_sink_commit_seconds_count, records a commit",
            metrics.live_records.clone(),
        );
        registry.register_collector(Box::new(crate::stages::StageTimes::default()));
        registry.register("sink_commit_seconds", "How long a commit took", metrics.commit.clone());
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

    /// All metrics of a run at zero, and what its results take.
    pub fn of_run(profile: Option<Arc<Profile>>) -> Metrics {
        let mut metrics = Metrics::new();
        if let Some(profile) = profile {
            metrics.registry.register_collector(Box::new(ResultsTaken(profile)));
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

    /// How long the oldest record of a commit took from Kafka into the tables.
    pub fn freshness(&self, age: Duration) {
        self.freshness.set(age.as_secs_f64());
    }

    /// How far apart live commits are at least.
    pub fn pace(&self, pace: Duration) {
        self.pace.set(pace.as_secs_f64());
    }

    /// The committed frontier of a partition.
    pub fn frontier(&self, topic: &str, partition: i32, next: i64) {
        self.frontier
            .get_or_create(&PartitionLabels {
                topic: topic.to_owned(),
                partition,
            })
            .set(next);
    }

    /// How far a partition is behind.
    pub fn lag(&self, topic: &str, partition: i32, records: i64) {
        self.lag
            .get_or_create(&PartitionLabels {
                topic: topic.to_owned(),
                partition,
            })
            .set(records);
    }

    /// Records of history have been read; `expected` is what history will be in all.
    pub fn hydration(&self, records: u64, expected: u64) {
        self.hydration_records.inc_by(records);
        self.hydration_expected.set(i64::try_from(expected).unwrap_or(i64::MAX));
    }

    /// A commit took this long.
    pub fn committed(&self, took: Duration) {
        self.commit.observe(took.as_secs_f64());
    }

    /// A live commit took in so many records.
    pub fn live_records(&self, records: u64) {
        self.live_records.inc_by(records);
    }

    /// A live commit took out or put in so many rows of a result.
    pub fn result_rows(&self, result: &str, rows: u64) {
        self.result_rows
            .get_or_create(&ResultLabels {
                result: result.to_owned(),
            })
            .inc_by(rows);
    }

    /// Records were rejected.
    pub fn dead_letters(&self, reason: &str, count: u64) {
        self.dead_letters
            .get_or_create(&ReasonLabels {
                reason: reason.to_owned(),
            })
            .inc_by(count);
    }

    /// Dead letters went because their table is limited.
    pub fn dead_letters_dropped(&self, count: u64) {
        self.dead_letters_dropped.inc_by(count);
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

/// What the operators of each result take, as of the moment that it is asked.
#[derive(Debug)]
struct ResultsTaken(Arc<Profile>);

impl Collector for ResultsTaken {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let taken: Vec<(ResultLabels, Taken)> = (self.0.results().into_iter())
            .map(|(result, taken)| (ResultLabels { result }, taken))
            .collect();
        let mut busy = encoder.encode_descriptor(
            "result_busy_seconds",
            "How long the operators of a result ran in this process; of operators that results share, each has its part",
            None,
            MetricType::Counter,
        )?;
        for (labels, taken) in &taken {
            ConstCounter::new(taken.busy.as_secs_f64()).encode(busy.encode_family(labels)?)?;
        }
        let mut bytes = encoder.encode_descriptor(
            "result_state_bytes",
            "What the operators of a result keep in this process; of operators that results share, each has its part",
            None,
            MetricType::Gauge,
        )?;
        for (labels, taken) in &taken {
            ConstGauge::new(taken.bytes as f64).encode(bytes.encode_family(labels)?)?;
        }
        Ok(())
    }
}

/// What every Prometheus client tells of its process.
pub fn of_process() -> Registry {
    let mut process = Registry::default();
    process.register_collector(Box::new(ProcessCollector));
    process
}

/// What every Prometheus client tells of its process, read from /proc when asked.
#[derive(Debug)]
struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let cpu = ConstCounter::new(cpu_seconds());
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "User and system time",
            None,
            cpu.metric_type(),
        )?)?;
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Resident memory",
                status_bytes("VmRSS:").map(|bytes| bytes as f64),
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory",
                status_bytes("VmSize:").map(|bytes| bytes as f64),
            ),
            ("process_threads", "Threads", count("/proc/self/task")),
            ("process_open_fds", "Open file descriptors", count("/proc/self/fd")),
            ("process_max_fds", "File descriptors at most", max_fds()),
            (
                "process_start_time_seconds",
                "Start of the process since 1970",
                start_time(),
            ),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

fn count(folder: &str) -> Option<f64> {
    Some(std::fs::read_dir(folder).ok()?.count() as f64)
}

fn max_fds() -> Option<f64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .map(|limit| limit as f64)
}

/// Boot time is what remains of now after the uptime; a process knows its start in clock ticks after boot.
fn start_time() -> Option<f64> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // the name in parentheses may contain anything, so count from its end: field 22 is the 20th after it
    let ticks: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    Some(now - uptime + ticks / rustix::param::clock_ticks_per_second() as f64)
}

/// The latest whole numbers behind an estimate of how many records history has.
#[derive(Debug, Default)]
pub struct HydrationEstimate {
    records: AtomicU64,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
}

impl HydrationEstimate {
    /// History has so many bytes.
    pub fn total(&self, bytes: u64) {
        self.bytes_total.store(bytes, Ordering::Relaxed);
    }

    /// So many more records in so many more bytes have been read; returns how many records there will be in all.
    pub fn read(&self, records: u64, bytes: u64) -> u64 {
        let records = self.records.fetch_add(records, Ordering::Relaxed) + records;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let total = self.bytes_total.load(Ordering::Relaxed).max(bytes);
        if bytes == 0 {
            records
        } else {
            (u128::from(records) * u128::from(total) / u128::from(bytes)) as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_pinned() {
        let metrics = Metrics::new();
        metrics.freshness(Duration::from_millis(1500));
        metrics.pace(Duration::from_millis(5));
        metrics.frontier("pin", 0, 42);
        metrics.lag("pin", 0, 7);
        metrics.hydration(10, 20);
        metrics.committed(Duration::from_millis(4));
        metrics.live_records(12);
        metrics.result_rows("users_joined_by_year", 3);
        metrics.dead_letters("not_json", 3);
        metrics.dead_letters_dropped(2);
        metrics.gaps(300);
        let text = metrics.text();
        for line in [
            "pinflow_freshness_seconds 1.5",
            "pinflow_pace_seconds 0.005",
            "pinflow_frontier_offset{topic=\"pin\",partition=\"0\"} 42",
            "pinflow_kafka_lag_records{topic=\"pin\",partition=\"0\"} 7",
            "pinflow_hydration_records_total 10",
            "pinflow_hydration_records_expected 20",
            "pinflow_sink_commit_seconds_count 1",
            "pinflow_live_records_total 12",
            "pinflow_result_rows_changed_total{result=\"users_joined_by_year\"} 3",
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

    #[test]
    fn the_process_started_a_moment_ago() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let started = start_time().unwrap();
        assert!((0.0..3600.0).contains(&(now - started + 1.0)), "{started} {now}");
    }

    #[test]
    fn expected_records_follow_the_bytes() {
        let estimate = HydrationEstimate::default();
        estimate.total(1000);
        assert_eq!(estimate.read(10, 100), 100);
        assert_eq!(estimate.read(10, 900), 20);
        assert_eq!(estimate.read(5, 500), 25);
    }
}
