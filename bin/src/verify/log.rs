//! Reads the part of the log that the tables answer for: objects of the lake, and from Kafka what the lake lacks.

use super::failure::failed;
use super::recorded::{Partition, Recorded};
use super::records::{Origin, Reading, Replayed};
use crate::exit::Failure;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use dataflows::{Limits, Results, State};
use engine::{LogOptions, Topics};
use ingest::coverage::{Counted, Coverage, Gap, LegacyObject, RangeSet};
use ingest::kafka::{Cluster, KafkaConfig, Polled, Reader, ReaderOptions};
use ingest::lake::{Class, FetchOptions, Fetched, Fetcher, Lake, Object, Place};
use sinks::{Legacy, Reject};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Receives dead letters with their bytes.
type Rejects<'a> = &'a mut dyn FnMut(Vec<Reject>) -> Result<(), Failure>;

/// Lake and Kafka, as far as they are configured.
pub struct Log {
    lake: Option<Lake>,
    kafka: Option<KafkaConfig>,
    topics: Topics,
    fetch: FetchOptions,
    limits: Limits,
    results: Arc<Results>,
}

/// What was learnt from the lake, apart from its records.
#[derive(Default)]
struct Shown {
    counted: Vec<Counted>,
    legacy: Vec<(String, u64, u64)>,
    /// Objects that could not be read to their end.
    unreadable: Vec<String>,
}

impl Log {
    /// Opens the lake; Kafka is not contacted before the lake turns out to lack something.
    pub fn open(options: &LogOptions, results: &Arc<Results>, runtime: &Runtime) -> Result<Log, Failure> {
        let lake = match &options.lake {
            None => None,
            Some(lake) => Some(runtime.block_on(lake.open(None)).map_err(failed)?),
        };
        Ok(Log {
            lake,
            kafka: options.kafka.as_ref().map(|kafka| kafka.config.clone()),
            topics: options.topics.clone(),
            fetch: options.fetch(),
            limits: options.limits,
            results: Arc::clone(results),
        })
    }

    fn name(&self, topic: u8) -> String {
        self.topics.name(topic).to_owned()
    }

    /// Reads everything that the tables answer for, each record once or, where objects overlap, several times.
    pub fn replay(&self, recorded: &Recorded, runtime: &Runtime, rejects: Rejects<'_>) -> Result<Replayed, Failure> {
        // whole rows where they are compared, else what results are made of
        let state = if recorded.kept {
            State::new()
        } else {
            State::for_results(&self.results)
        };
        let mut replayed = Replayed::new(self.limits, self.topics.clone(), state);
        let shown = match &self.lake {
            Some(lake) => self.read_lake(lake, recorded, runtime, &mut replayed, rejects)?,
            None => Shown::default(),
        };
        self.check_legacy(recorded, &shown)?;
        let names: Vec<String> = (0..3).map(|topic| self.name(topic)).collect();
        let coverage = coverage(&shown.counted, &names);
        for (at, coverage) in &coverage {
            let objects = coverage.inexact.iter().chain(&coverage.unproved);
            let natural = recorded.natural.get(at);
            let last = natural.and_then(|natural| last_with_holes(&shown.counted, *at, coverage, natural));
            let mut inexact: Vec<Range<i64>> = objects.map(|object| object.from..object.to).chain(last).collect();
            inexact.sort_by_key(|object| (object.start, object.end));
            replayed.inexact.insert(*at, inexact);
        }
        let wanted = wanted(recorded, &coverage);
        if !wanted.is_empty() {
            self.read_kafka(wanted, recorded, &shown, &mut replayed, rejects)?;
        }
        Ok(replayed)
    }

    // ---- the lake -----------------------------------------------------------------------------------------------

    fn read_lake(
        &self,
        lake: &Lake,
        recorded: &Recorded,
        runtime: &Runtime,
        replayed: &mut Replayed,
        rejects: Rejects<'_>,
    ) -> Result<Shown, Failure> {
        let names = self.topics.to_list();
        let listing = runtime.block_on(lake.list(&names)).map_err(failed)?;
        let (wake, woken) = wake_channel();
        let mut fetcher = Fetcher::start(lake.clone(), runtime.handle().clone(), self.fetch.clone(), wake);
        // older layouts stand first in a listing: their number is their rank, from 1
        let mut reading: HashMap<u32, Reading> = HashMap::new();
        for (object, number) in listing.objects.into_iter().zip(1u32..) {
            if is_wanted(&object, recorded) {
                fetcher.push(number, object.clone());
                reading.insert(number, Reading::of(object));
            }
        }
        tracing::info!(objects = reading.len(), lake = %lake.url(), "replaying the lake");
        let mut shown = Shown::default();
        while !reading.is_empty() {
            let Some(fetched) = fetcher.try_next() else {
                wait(&woken);
                continue;
            };
            match fetched {
                Fetched::Opened { id, metadata } => {
                    if let Some(reading) = reading.get_mut(&id) {
                        reading.metadata = metadata.map(|metadata| *metadata).unwrap_or_default();
                    }
                }
                Fetched::Lines { id, bytes } => {
                    if let Some(reading) = reading.get_mut(&id) {
                        reading.lines += replayed.lines(recorded, reading, &bytes);
                    }
                    fetcher.recycle(bytes);
                }
                Fetched::Whole { id, bytes } => {
                    if let Some(reading) = reading.get_mut(&id) {
                        reading.lines += replayed.legacy(&reading.object, id, &bytes);
                    }
                    fetcher.recycle(bytes);
                }
                Fetched::TooLarge { id, prefix, .. } => {
                    if let Some(reading) = reading.get_mut(&id) {
                        replayed.too_large(recorded, reading, &prefix);
                        reading.lines += 1;
                    }
                }
                Fetched::Done { id, digest, .. } => {
                    if let Some(reading) = reading.remove(&id) {
                        shown.count(id, reading, digest);
                    }
                }
                // an outage says nothing about the object
                Fetched::Failed { error, .. } if error.class() != Class::Damaged => return Err(failed(error)),
                Fetched::Failed { id, error } => {
                    if let Some(mut reading) = reading.remove(&id) {
                        // no error yet: Kafka may have its records, or the gap was accepted
                        tracing::warn!(object = reading.object.key, %error, "an object cannot be read");
                        shown.unreadable.push(reading.object.key.clone());
                        reading.metadata.covers = None;
                        shown.count(id, reading, None);
                    }
                }
            }
            forward_rejects(replayed, rejects)?;
        }
        Ok(shown)
    }

    /// History without offsets has no range that could be compared: it is the same, or it is not.
    fn check_legacy(&self, recorded: &Recorded, shown: &Shown) -> Result<(), Failure> {
        if recorded.legacy.count == 0 {
            return Ok(());
        }
        let digest = ingest::coverage::legacy_digest(shown.legacy.iter().map(|(key, records, digest)| LegacyObject {
            key,
            records: *records,
            digest: *digest,
        }));
        let found = Legacy {
            count: digest.records,
            hash: digest.hash,
        };
        if found == recorded.legacy {
            Ok(())
        } else {
            Err(failed(format!(
                "the history without offsets differs from the history that the tables were computed from: {} records \
             in {} objects now, {} records then{} (start the engine once to apply the change)",
                found.count,
                digest.objects,
                recorded.legacy.count,
                unreadable(shown),
            )))
        }
    }

    // ---- Kafka --------------------------------------------------------------------------------------------------

    fn read_kafka(
        &self,
        mut wanted: BTreeMap<Partition, RangeSet>,
        recorded: &Recorded,
        shown: &Shown,
        replayed: &mut Replayed,
        rejects: Rejects<'_>,
    ) -> Result<(), Failure> {
        let spans = self.spans(wanted.keys().copied())?;
        let mut lost = Vec::new();
        for (at, ranges) in &wanted {
            for range in ranges.iter().flat_map(|range| outside(range, spans.get(at))) {
                let (topic, partition) = (self.name(at.0), at.1);
                lost.push(Gap {
                    topic,
                    partition,
                    from: range.start,
                    to: range.end,
                });
            }
        }
        if let Some(first) = lost.first() {
            lost.iter().for_each(|gap| eprintln!("{gap}"));
            let missing_from = match (&self.lake, &self.kafka) {
                (Some(_), Some(_)) => "neither the lake nor Kafka has it",
                (Some(_), None) => "the lake does not have it, and no --kafka is given",
                _ => "Kafka does not have it, and no --lake is given",
            };
            return Err(failed(format!(
                "the log no longer contains all records that the tables were computed from, first {first}: {missing_from}{}; a \
                 replay would report false differences",
                unreadable(shown),
            )));
        }
        let Some(config) = &self.kafka else { return Ok(()) };
        for (at, ranges) in &mut wanted {
            if let (Some(objects), Some(span)) = (replayed.inexact.get(at), spans.get(at)) {
                with_their_objects(ranges, objects, span);
            }
        }
        let (wake, woken) = wake_channel();
        let reader = Reader::start(config, ReaderOptions::default(), wake).map_err(of_kafka)?;
        let mut waiting = 0;
        let mut arrived: BTreeMap<Partition, RangeSet> = BTreeMap::new();
        for (at, ranges) in &wanted {
            for range in ranges.iter() {
                let (topic, name, partition) = (at.0, self.name(at.0), at.1);
                tracing::info!(
                    topic = name,
                    partition,
                    from = range.start,
                    to = range.end,
                    "replaying Kafka"
                );
                let (from, until) = (range.start, Some(range.end));
                reader.assign(ingest::kafka::Range {
                    topic,
                    name,
                    partition,
                    from,
                    until,
                    after: None,
                });
                waiting += 1;
            }
        }
        while waiting > 0 {
            match reader.try_next() {
                None => wait(&woken),
                Some(Polled::Reached { .. }) => waiting -= 1,
                Some(Polled::Failed(error)) => return Err(of_kafka(error)),
                Some(Polled::Batch(batch)) => {
                    let at = (batch.topic, batch.partition);
                    let arrived = arrived.entry(at).or_default();
                    for (offset, key, value) in batch.iter() {
                        arrived.insert(offset..offset + 1);
                        if recorded.holds(at, offset) {
                            replayed.record(
                                recorded,
                                Origin::Log {
                                    at,
                                    offset,
                                    object: None,
                                },
                                key,
                                value,
                            );
                        }
                    }
                    forward_rejects(replayed, rejects)?;
                }
            }
        }
        for (at, ranges) in wanted {
            let arrived = arrived.remove(&at).unwrap_or_default();
            let vanished = ranges.iter().flat_map(|range| arrived.missing(range)).collect();
            replayed.vanished.insert(at, vanished);
        }
        Ok(())
    }

    /// What Kafka holds of some partitions; those that it does not know are absent.
    fn spans(&self, of: impl Iterator<Item = Partition>) -> Result<BTreeMap<Partition, Range<i64>>, Failure> {
        let mut spans = BTreeMap::new();
        let Some(config) = &self.kafka else { return Ok(spans) };
        let cluster = Cluster::connect(config).map_err(of_kafka)?;
        for at in of {
            let name = self.name(at.0);
            if cluster
                .partitions(&name)
                .map_err(of_kafka)?
                .is_some_and(|partitions| partitions.contains(&at.1))
            {
                let marks = cluster.watermarks(&name, at.1).map_err(of_kafka)?;
                spans.insert(at, marks.low..marks.stable);
            }
        }
        Ok(spans)
    }
}

impl Shown {
    fn count(&mut self, number: u32, reading: Reading, digest: Option<u64>) {
        let Reading {
            object,
            metadata,
            lines,
        } = reading;
        match (object.topic, object.place) {
            (Some(topic), Place::Log { partition, start }) => {
                self.counted.push(Counted {
                    topic,
                    partition,
                    start,
                    lines,
                    covers: metadata.covers,
                    object: number,
                });
            }
            // one that was skipped is no part of the digest, here and in the engine
            _ => self.legacy.extend(digest.map(|digest| (object.key, lines, digest))),
        }
    }
}

/// Whether an object may hold something that the tables answer for.
fn is_wanted(object: &Object, recorded: &Recorded) -> bool {
    match (object.topic, object.place) {
        (Some(topic), Place::Log { partition, start }) => recorded
            .partitions
            .get(&(topic, partition))
            .is_some_and(|span| start < span.end),
        // those that came after the last commit are in no table
        _ => recorded.legacy.count > 0,
    }
}

/// What the objects cover, per partition.
fn coverage(objects: &[Counted], topics: &[impl AsRef<str>]) -> BTreeMap<Partition, Coverage> {
    let coverage = ingest::coverage::coverage(objects, topics).into_iter();
    coverage
        .map(|(at, coverage)| ((at.topic, at.partition), coverage))
        .collect()
}

/// What the lake lacks of the tables' answer, and what only Kafka knows the order of.
fn wanted(recorded: &Recorded, coverage: &BTreeMap<Partition, Coverage>) -> BTreeMap<Partition, RangeSet> {
    let nothing = (Coverage::default(), RangeSet::default());
    let mut wanted = BTreeMap::new();
    for (at, span) in &recorded.partitions {
        let coverage = coverage.get(at).unwrap_or(&nothing.0);
        let gaps = recorded.gaps.get(at).unwrap_or(&nothing.1);
        let natural = recorded.natural.get(at).unwrap_or(&nothing.1);
        let lacking = coverage.ranges.missing(span.clone()).into_iter();
        let lacking = lacking.flat_map(|range| gaps.missing(range));
        let mut ranges: RangeSet = lacking.flat_map(|range| natural.missing(range)).collect();
        for conflict in &coverage.conflicts {
            ranges.insert(conflict.from.max(span.start)..conflict.to.min(span.end));
        }
        if !ranges.is_empty() {
            wanted.insert(*at, ranges);
        }
    }
    wanted
}

/// Where the records of a partition's last object stand, when holes that Kafka has proved lie inside it: nothing in the
/// lake shows that its lines have other offsets.
fn last_with_holes(counted: &[Counted], at: Partition, coverage: &Coverage, natural: &RangeSet) -> Option<Range<i64>> {
    let of_partition = counted.iter().filter(|object| (object.topic, object.partition) == at);
    let last = of_partition.max_by_key(|object| object.start)?;
    let lines = i64::try_from(last.lines).ok()?;
    let assigned = last.start..last.start.checked_add(lines)?;
    if last.covers.is_some() || coverage.end() != Some(assigned.end) {
        return None;
    }
    let mut left = lines;
    let furthest = assigned.end.saturating_add_unsigned(natural.count());
    for range in natural.missing(assigned.start..furthest) {
        let end = range.end.min(range.start + left);
        left -= end - range.start;
        if left == 0 {
            return (end > assigned.end).then_some(assigned.start..end);
        }
    }
    None
}

/// Adds the objects before the holes in `ranges`, where Kafka holds all of them: what an object with a loss lacks may be
/// missing anywhere in it.
fn with_their_objects(ranges: &mut RangeSet, objects: &[Range<i64>], span: &Range<i64>) {
    let lossy = |object: &&Range<i64>| {
        let held = span.start <= object.start && object.end <= span.end;
        held && !ranges.within((*object).clone()).is_empty()
    };
    let lossy: Vec<Range<i64>> = objects.iter().filter(lossy).cloned().collect();
    lossy.into_iter().for_each(|object| ranges.insert(object));
}

/// The parts of `range` that lie outside of what Kafka holds.
fn outside(range: Range<i64>, held: Option<&Range<i64>>) -> Vec<Range<i64>> {
    held.cloned().into_iter().collect::<RangeSet>().missing(range)
}

fn forward_rejects(replayed: &mut Replayed, rejects: Rejects<'_>) -> Result<(), Failure> {
    if replayed.fresh.is_empty() {
        Ok(())
    } else {
        rejects(std::mem::take(&mut replayed.fresh))
    }
}

fn of_kafka(error: ingest::kafka::KafkaError) -> Failure {
    Failure::Failed(anyhow::Error::new(error))
}

fn unreadable(shown: &Shown) -> String {
    match shown.unreadable.as_slice() {
        [] => String::new(),
        [first, rest @ ..] => format!("; {} unreadable, first {first}", objects(1 + rest.len())),
    }
}

fn objects(count: usize) -> String {
    format!(
        "{count} object{} of the lake {}",
        if count == 1 { "" } else { "s" },
        if count == 1 { "is" } else { "are" }
    )
}

/// A callback that signals new input, and the receiver to wait on.
pub fn wake_channel() -> (Arc<dyn Fn() + Send + Sync>, Receiver<()>) {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    // a full channel has signalled already; without a receiver no thread waits
    let wake = move || {
        let _ = sender.try_send(());
    };
    (Arc::new(wake), receiver)
}

/// Waits for the signal, at most 100 ms: polling once more costs nothing.
pub fn wait(woken: &Receiver<()>) {
    match woken.recv_timeout(Duration::from_millis(100)) {
        Ok(()) | Err(RecvTimeoutError::Timeout) => {}
        Err(RecvTimeoutError::Disconnected) => std::thread::sleep(Duration::from_millis(10)),
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // a list of one range is meant
mod tests {
    use super::*;
    use sinks::{AcceptedGap, PartitionProgress, Progress};

    fn recorded(first: i64, next: i64, gaps: &[Range<i64>]) -> Recorded {
        let gap = |gap: &Range<i64>| AcceptedGap {
            topic: "pin".into(),
            partition: 0,
            from: gap.start,
            to: gap.end,
            reason: "accepted".into(),
            object: None,
        };
        let partition = PartitionProgress {
            first,
            next,
            ..PartitionProgress::default()
        };
        let progress = Progress {
            partitions: [(("pin".to_owned(), 0), partition)].into(),
            gaps: gaps.iter().map(gap).collect(),
            ..Progress::default()
        };
        Recorded::of(&progress, &Topics::new([Some("pin".to_owned()), None, None]))
    }

    fn object(start: i64, lines: u64, number: u32) -> Counted {
        Counted {
            topic: 0,
            partition: 0,
            start,
            lines,
            covers: None,
            object: number,
        }
    }

    fn ranges(recorded: &Recorded, objects: &[Counted]) -> Vec<Range<i64>> {
        let wanted = wanted(recorded, &coverage(objects, &["pin"]));
        wanted
            .get(&(0, 0))
            .map(|ranges| ranges.iter().collect())
            .unwrap_or_default()
    }

    #[test]
    fn kafka_is_read_for_what_the_lake_lacks_below_the_frontier() {
        let objects = [object(5, 5, 1), object(20, 10, 2), object(30, 70, 3)];
        assert_eq!(ranges(&recorded(0, 40, &[]), &objects), [0..5, 10..20]);
        assert_eq!(ranges(&recorded(5, 120, &[]), &objects), [10..20, 100..120]);
        assert_eq!(ranges(&recorded(3, 7, &[]), &[]), [3..7]);
    }

    #[test]
    fn accepted_gaps_are_not_asked_for() {
        let objects = [object(0, 10, 1), object(20, 10, 2)];
        assert_eq!(ranges(&recorded(0, 30, &[12..15, 18..20]), &objects), [10..12, 15..18]);
        assert!(ranges(&recorded(0, 30, &[0..30]), &objects).is_empty());
    }

    #[test]
    fn an_object_with_a_loss_is_read_again_as_a_whole() {
        let objects = [0..10, 30..40];
        let read = |hole: Range<i64>, span: Range<i64>| {
            let mut ranges: RangeSet = [hole].into_iter().collect();
            with_their_objects(&mut ranges, &objects, &span);
            ranges.iter().collect::<Vec<_>>()
        };
        assert_eq!(read(8..10, 0..100), [0..10]);
        assert_eq!(read(8..10, 5..100), [8..10]);
        assert_eq!(read(15..20, 0..100), [15..20]);
    }

    #[test]
    fn interleaving_objects_are_read_from_kafka_too() {
        let objects = [object(0, 4, 1), object(2, 4, 2), object(9, 1, 3)];
        assert_eq!(ranges(&recorded(0, 10, &[]), &objects), [0..9]);
    }

    #[test]
    fn what_kafka_has_lost_or_never_had_is_outside() {
        assert_eq!(outside(10..20, Some(&(12..15))), [10..12, 15..20]);
        assert_eq!(outside(10..20, Some(&(0..20))), Vec::<Range<i64>>::new());
        assert_eq!(outside(10..20, None), vec![10..20]);
    }

    #[test]
    fn objects_past_the_frontier_are_left_alone() {
        let recorded = recorded(0, 40, &[]);
        let object = |topic, place| Object {
            key: "o".into(),
            size: 1,
            etag: None,
            topic,
            place,
            encoding: ingest::lake::Encoding::Plain,
            deletes: false,
            sidecar: false,
        };
        let at = |partition, start| object(Some(0), Place::Log { partition, start });
        assert!(is_wanted(&at(0, 39), &recorded));
        assert!(!is_wanted(&at(0, 40), &recorded));
        assert!(!is_wanted(&at(1, 0), &recorded), "a partition that is in no table yet");
        assert!(
            !is_wanted(&object(None, Place::Legacy), &recorded),
            "history that came later"
        );
    }
}
