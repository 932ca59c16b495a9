//! What the lake lacks, read from Kafka.

use super::error::VerifyError;
use super::recorded::Recorded;
use super::records::{Origin, Replayed, TakeRejects};
use super::wake::{wait, waker};
use engine::Topics;
use ingest::coverage::RangeSet;
use ingest::kafka::{Cluster, KafkaConfig, KafkaError, Polled, Reader, ReaderOptions};
use ingest::{Offset, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;

/// The offsets that Kafka holds of some partitions; those that it does not know are absent.
pub type Spans = BTreeMap<TopicPartition, Range<Offset>>;

/// What Kafka holds of the partitions that are `wanted`. Others are not asked for: they may have no leader.
pub fn spans(
    config: &KafkaConfig,
    topics: &Topics,
    wanted: impl Iterator<Item = TopicPartition>,
) -> Result<Spans, KafkaError> {
    let cluster = Cluster::connect(config)?;
    let mut spans = Spans::new();
    for at in wanted {
        let name = topics.name(at.topic);
        let partitions = cluster.partitions(name)?.unwrap_or_default();
        if partitions.contains(&at.partition) {
            let marks = cluster.watermarks(name, at.partition)?;
            spans.insert(at, marks.low..marks.stable);
        }
    }
    Ok(spans)
}

/// Reads `wanted`, and notes in which of these offsets there is no record.
pub fn read(
    config: &KafkaConfig,
    topics: &Topics,
    wanted: BTreeMap<TopicPartition, RangeSet>,
    recorded: &Recorded,
    replayed: &mut Replayed,
    rejects: TakeRejects<'_>,
) -> Result<(), VerifyError> {
    let reader = Reader::start(config, ReaderOptions::default(), waker())?;
    let mut waiting = 0;
    let mut arrived: BTreeMap<TopicPartition, RangeSet> = BTreeMap::new();
    for (at, ranges) in &wanted {
        for range in ranges.iter() {
            let (topic, name, partition) = (at.topic, topics.name(at.topic).to_owned(), at.partition);
            let (from, until) = (range.start, range.end);
            tracing::info!(
                topic = name,
                partition = partition.0,
                from = from.0,
                to = until.0,
                "replaying Kafka"
            );
            reader.assign(ingest::kafka::Range {
                topic,
                name,
                partition,
                from,
                until: Some(until),
                after: None,
            });
            waiting += 1;
        }
    }
    while waiting > 0 {
        match reader.try_next() {
            None => wait(),
            Some(Polled::Reached { .. }) => waiting -= 1,
            Some(Polled::Failed(error)) => return Err(error.into()),
            Some(Polled::Batch(batch)) => {
                let at = batch.at();
                let arrived = arrived.entry(at).or_default();
                for (offset, key, value) in batch.iter() {
                    arrived.insert(offset..offset.next());
                    if recorded.holds(at, offset) {
                        let object = None;
                        replayed.record(recorded, Origin::Log { at, offset, object }, key, value);
                    }
                }
                replayed.forward_rejects(rejects)?;
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
