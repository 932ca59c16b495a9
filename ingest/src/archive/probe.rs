//! Whether Kafka holds any record in stretches of its log, and from when the first one is.

use super::error::ArchiveError;
use crate::kafka::{KafkaConfig, Polled, Range, Reader, ReaderOptions};
use crate::topic_partition::TopicPartition;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;
use values::{Offset, Partition};

/// A stretch of a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stretch {
    /// The number of the topic.
    pub topic: u8,
    /// The Kafka partition.
    pub partition: Partition,
    /// The first offset.
    pub from: Offset,
    /// The offset after the last one; at most the end of the partition.
    pub to: Offset,
}

/// Reads the first record of each stretch: its timestamp (-1: it has none). Stretches without a record are absent.
/// Those of one partition are given in order.
pub async fn first_records(
    kafka: &KafkaConfig,
    topics: &[String],
    stretches: &[Stretch],
) -> Result<BTreeMap<Stretch, i64>, ArchiveError> {
    let mut found = BTreeMap::new();
    if stretches.is_empty() {
        return Ok(found);
    }
    let arrived = Arc::new(Notify::new());
    let wake_channel = Arc::clone(&arrived);
    let options = ReaderOptions {
        queue_bytes: 4 << 20,
        ..ReaderOptions::default()
    };
    let reader = Reader::start(kafka, options, Arc::new(move || wake_channel.notify_one()))?;
    let mut open: BTreeMap<TopicPartition, VecDeque<&Stretch>> = BTreeMap::new();
    for stretch in stretches {
        let (topic, partition) = (stretch.topic, stretch.partition);
        let queue = open.entry(TopicPartition { topic, partition }).or_default();
        queue.push_back(stretch);
        reader.assign(Range {
            topic: stretch.topic,
            name: topics[usize::from(stretch.topic)].clone(),
            partition: stretch.partition,
            from: stretch.from,
            until: Some(stretch.to),
            after: None,
        });
    }
    loop {
        // of the last stretch of a partition the first record is enough, however long it is
        let is_open = |queue: &VecDeque<&Stretch>| match queue.front() {
            Some(last) if queue.len() == 1 => !found.contains_key(*last),
            first => first.is_some(),
        };
        if !open.values().any(is_open) {
            break;
        }
        match reader.try_next() {
            None => arrived.notified().await,
            Some(Polled::Batch(batch)) => {
                let current = open.get(&batch.at()).and_then(|queue| queue.front());
                if let (Some(stretch), Some(record)) = (current, batch.records.first()) {
                    found.entry((*stretch).clone()).or_insert(record.timestamp);
                }
            }
            Some(Polled::Reached { topic, partition, .. }) => {
                if let Some(queue) = open.get_mut(&TopicPartition { topic, partition }) {
                    queue.pop_front();
                }
            }
            Some(Polled::Failed(error)) => return Err(error.into()),
        }
    }
    // its thread is waited for
    tokio::task::spawn_blocking(move || drop(reader))
        .await
        .map_err(|_| ArchiveError::Panicked)?;
    Ok(found)
}
