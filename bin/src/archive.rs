//! `pinflow archive`: the wiring around the archiver: settings, the form of a delete, signals, metrics.

use crate::config::ArchiveSettings;
use crate::delete_line::{TombstoneKeys, of_ind};
use crate::exit::Failure;
use crate::health::Health;
use crate::lake::{failed, runtime};
use crate::metrics::{LakeOutage, Metrics, PartitionLabels};
use crate::output;
use crate::serve;
use crate::signals;
use dataflows::{Kind, Limits};
use ingest::archive::{ArchiveOptions, NullValues, Observer, Stored, archive};
use ingest::coverage::Gap;
use ingest::lake::{LakeObserver, LakeState};
use ingest::{Offset, Partition};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What requests for results are told.
const NO_RESULTS: &str = "`pinflow archive` serves no results: `pinflow run` does";
/// How long the program waits for threads that wait for servers, at its end.
const GRACE: Duration = Duration::from_secs(2);

/// Archives until it is told to stop.
pub fn run(settings: &ArchiveSettings) -> Result<(), Failure> {
    let runtime = runtime()?;
    let shown = Arc::new(Shown::new(settings.ready_lag_records));
    let observer = Arc::clone(&shown);
    let observer = LakeObserver::new(move |state| observer.lake(state));
    let lake = runtime.block_on(settings.lake.open(Some(observer))).map_err(failed)?;
    let server = match &settings.serve {
        Some(serve) => Some(serve::start(
            serve,
            (shown.metrics(), Arc::clone(&shown.health), Err(NO_RESULTS)),
        )?),
        None => None,
    };
    let stop = signals::stop("objects that are complete are written, open ones will be read again").map_err(failed)?;
    let began = Instant::now();
    let options = options(settings);
    let observer = Arc::clone(&shown) as Arc<dyn Observer>;
    let ended = runtime.block_on(archive(lake, options, observer, stop));
    runtime.shutdown_timeout(GRACE);
    drop(server);
    let archived = ended.map_err(failed)?;
    let Stored {
        objects,
        records,
        bytes,
        found,
        ..
    } = archived.stored;
    let seconds = began.elapsed().as_secs_f64();
    output::print(format_args!(
        "archived {records} records in {objects} objects, {bytes} bytes, in {seconds:.1} s; {found} objects were there already\n"
    ))
}

fn options(settings: &ArchiveSettings) -> ArchiveOptions {
    let mut kafka = settings.kafka.clone();
    kafka.group_id = settings.group_id.clone();
    let named: Vec<(Kind, String)> = Kind::ALL
        .into_iter()
        .zip(&settings.topics)
        .filter_map(|(kind, topic)| Some((kind, topic.clone()?)))
        .collect();
    let kinds: Vec<Kind> = named.iter().map(|(kind, _)| *kind).collect();
    ArchiveOptions {
        kafka,
        topics: named.into_iter().map(|(_, topic)| topic).collect(),
        layout: settings.layout.clone(),
        cut: settings.cut,
        rotate: settings.rotate,
        part_bytes: settings.part_bytes,
        null_values: if settings.write_deletes {
            NullValues::Write(Arc::new(deletes(kinds, settings.record_bytes)))
        } else {
            NullValues::Ignore
        },
        dead_letters: settings.dead_letters,
        record_bytes: settings.record_bytes,
        objects_in_flight: settings.objects_in_flight,
        buffer_bytes: settings.buffer_bytes,
        once: settings.once,
    }
}

/// The line of a delete: the engine's own reading of a tombstone's key, in the form in which it reads deletes.
fn deletes(kinds: Vec<Kind>, record_bytes: usize) -> impl Fn(u8, &[u8]) -> Option<String> + Send + Sync {
    let limits = Limits {
        record_bytes,
        ..Limits::default()
    };
    let keys = TombstoneKeys::new(kinds, limits);
    move |topic, key| Some(of_ind(keys.ind(topic, key)?))
}

/// What an archiver shows of itself.
struct Shown {
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    objects: Counter,
    found: Counter,
    records: Counter,
    bytes: Counter,
    gap_offsets: Gauge,
    offset: Family<PartitionLabels, Gauge>,
    kafka_start: Family<PartitionLabels, Gauge>,
    lag: Family<PartitionLabels, Gauge>,
    outage: LakeOutage,
}

impl Shown {
    fn new(ready_lag_records: u64) -> Shown {
        let mut registry = Registry::with_prefix("pinflow");
        let (objects, found, records, bytes) = (
            Counter::default(),
            Counter::default(),
            Counter::default(),
            Counter::default(),
        );
        let (gap_offsets, offset, lag) = (Gauge::default(), Family::default(), Family::default());
        let kafka_start: Family<PartitionLabels, Gauge> = Family::default();
        registry.register("archive_objects", "Objects written", objects.clone());
        registry.register(
            "archive_objects_found",
            "Objects that were to be written and were there already",
            found.clone(),
        );
        registry.register("archive_records", "Records in the objects written", records.clone());
        registry.register(
            "archive_bytes",
            "Bytes of the objects written, as stored",
            bytes.clone(),
        );
        registry.register(
            "archive_gap_offsets",
            "Offsets that Kafka has dropped and the lake lacks",
            gap_offsets.clone(),
        );
        registry.register(
            "archive_offset",
            "First offset of the partition that is not durable in the lake",
            offset.clone(),
        );
        registry.register(
            "kafka_start_offset",
            "First offset of the partition that Kafka holds, looked at every 3 s",
            kafka_start.clone(),
        );
        registry.register(
            "archive_lag_records",
            "Records in Kafka that are not durable in the lake",
            lag.clone(),
        );
        let outage = LakeOutage::default();
        registry.register_collector(Box::new(outage.clone()));
        Shown {
            health: Arc::new(Health::new(0, ready_lag_records)),
            metrics: Arc::new(Metrics::of(registry)),
            objects,
            found,
            records,
            bytes,
            gap_offsets,
            offset,
            kafka_start,
            lag,
            outage,
        }
    }

    fn lake(&self, state: LakeState) {
        let outage = match state {
            LakeState::Unavailable { since, error } => Some((since, error)),
            LakeState::Available => None,
        };
        self.outage.set(outage.as_ref().map(|(since, _)| *since));
        self.health.lake_unavailable(outage);
    }

    fn metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }
}

impl Observer for Shown {
    fn ready(&self) {
        self.health.hydrated();
    }

    fn stored(&self, stored: Stored) {
        self.objects.inc_by(stored.objects);
        self.found.inc_by(stored.found);
        self.records.inc_by(stored.records);
        self.bytes.inc_by(stored.bytes);
    }

    fn progress(&self, topic: &str, partition: Partition, archived: Offset, end: Offset) {
        let labels = PartitionLabels {
            topic: topic.to_owned(),
            partition: partition.0,
        };
        let waiting = (end - archived).max(0);
        self.offset.get_or_create(&labels).set(archived.0);
        self.lag.get_or_create(&labels).set(waiting);
        self.health.lag(topic, partition, waiting);
    }

    fn kafka_start(&self, topic: &str, partition: Partition, start: Offset) {
        let topic = topic.to_owned();
        self.kafka_start
            .get_or_create(&PartitionLabels {
                topic,
                partition: partition.0,
            })
            .set(start.0);
    }

    fn gap(&self, gap: &Gap) {
        self.gap_offsets.inc_by(gap.to - gap.from);
    }
}

/// Everything that an archiver writes, with a value each, for the documentation.
pub fn example_metrics() -> String {
    let shown = Shown::new(10);
    let mut stored = Stored::default();
    (stored.objects, stored.records, stored.bytes, stored.found) = (1, 2, 3, 4);
    shown.stored(stored);
    shown.progress("pin", Partition(0), Offset(5), Offset(7));
    shown.kafka_start("pin", Partition(0), Offset(1));
    shown.metrics.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_pinned() {
        let text = example_metrics();
        for line in [
            "pinflow_archive_objects_total 1",
            "pinflow_archive_objects_found_total 4",
            "pinflow_archive_records_total 2",
            "pinflow_archive_bytes_total 3",
            "pinflow_archive_gap_offsets 0",
            "pinflow_lake_unavailable_seconds 0.0",
            "pinflow_archive_offset{topic=\"pin\",partition=\"0\"} 5",
            "pinflow_archive_lag_records{topic=\"pin\",partition=\"0\"} 2",
            "pinflow_kafka_start_offset{topic=\"pin\",partition=\"0\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("hydration"), "{text}");
    }

    #[test]
    fn deletes_are_written_as_the_engine_reads_them() {
        let line = deletes(vec![Kind::Geo], 1 << 20);
        for key in [&b"7"[..], b"\"7\"", b"{\"ind\": 7}", b"{\"index\":\"7\"}"] {
            assert_eq!(line(0, key).unwrap(), r#"{"ind":7,"__deleted":true}"#);
        }
        assert_eq!(line(0, b"seven"), None);
    }
}
