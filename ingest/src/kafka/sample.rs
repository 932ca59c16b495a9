//! Single records, looked up by their offsets: many at once, each from the partition's queue of its own as the reader
//! does it.
//!
//! What is fetched and not wanted is bounded by the number of partitions that are assigned at a time, since each holds
//! one fetch of 64 KiB, or of one batch where that is larger.

use super::KafkaError;
use super::ask::{PAUSE, TRY, is_unknown};
use super::client::Context;
use super::cluster::Cluster;
use super::record::{RecordId, RecordRef};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use values::{Offset, Partition};

/// Partitions that are assigned at a time.
const GROUP: usize = 250;
/// The longest sleep while records are waited for.
const IDLE_WAIT: Duration = Duration::from_millis(100);

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value; `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Its timestamp in milliseconds since 1970; -1 when it has none.
    pub timestamp: i64,
    /// Its headers, in their order; a null is no empty value.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What stands at an offset that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sampled {
    /// The record at exactly this offset.
    Record(Sample),
    /// No record: retention has passed the offset, or it is a hole that compaction, an aborted transaction or a
    /// transaction's marker left.
    Absent,
    /// The offset lies beyond the log as a reader of committed records sees it.
    Beyond {
        /// The last stable offset.
        end: Offset,
    },
    /// There is no such partition.
    NoPartition,
}

impl Sample {
    fn of(message: &BorrowedMessage<'_>) -> Sample {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let record = RecordRef::of(message);
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        Sample {
            key: owned(record.key),
            value: owned(record.value),
            timestamp: record.timestamp,
            headers: headers
                .map(|header| (header.key.to_owned(), owned(header.value)))
                .collect(),
        }
    }

    /// The record's identity at this offset.
    pub fn id(&self, offset: Offset) -> RecordId {
        let record = RecordRef {
            offset,
            timestamp: self.timestamp,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
        };
        record.id()
    }
}

/// A topic, a partition and an offset.
type Wanted = (String, Partition, Offset);

/// What a queue says of the offset that is wanted of it.
enum Said {
    Is(Sampled),
    /// The partition has changed since its watermarks were asked for, so they have to be asked for again; at the end of
    /// the partition there is no record, if that end still lies above the offset.
    Changed {
        at_end: bool,
    },
}

impl Cluster {
    /// The record at exactly this offset; `None` when there is none (any more, yet, or because it is a hole).
    pub fn sample(&self, topic: &str, partition: Partition, offset: Offset) -> Result<Option<Sample>, KafkaError> {
        let sampled = self.samples(&[(topic.to_owned(), partition, offset)])?;
        Ok(sampled.into_iter().next().and_then(|sampled| match sampled {
            Sampled::Record(sample) => Some(sample),
            Sampled::Absent | Sampled::Beyond { .. } | Sampled::NoPartition => None,
        }))
    }

    /// What stands at each of these offsets (topic, partition, offset), in the order asked. All partitions are read at
    /// once, and a partition may be named more than once.
    pub fn samples(&self, wanted: &[(String, Partition, Offset)]) -> Result<Vec<Sampled>, KafkaError> {
        let mut found: Vec<Option<Sampled>> = vec![None; wanted.len()];
        let mut open: Vec<usize> = (0..wanted.len()).collect();
        // those whose queue has come to its end before the record
        let mut at_end = BTreeSet::new();
        let _one = self.sampling.lock().unwrap_or_else(PoisonError::into_inner);
        let (start, mut again) = (Instant::now(), false);
        loop {
            self.rule_out(wanted, &mut found, &open, &at_end)?;
            open.retain(|&index| found[index].is_none());
            if open.is_empty() {
                return Ok(found.into_iter().flatten().collect());
            }
            if again && start.elapsed() > self.asker.retry_timeout {
                return Err(self.asker.unreachable(&self.asker.committed, &question(wanted)));
            }
            again = true;
            let mut left = open.clone();
            while !left.is_empty() {
                let mut partitions = BTreeSet::new();
                let mut group = Vec::new();
                left.retain(|&index| {
                    let (topic, partition, _) = &wanted[index];
                    let takes = group.len() < GROUP && partitions.insert((topic, *partition));
                    if takes {
                        group.push(index);
                    }
                    !takes
                });
                for (index, said) in self.read(wanted, &group)? {
                    match said {
                        Said::Is(sampled) => found[index] = Some(sampled),
                        Said::Changed { at_end: true } => _ = at_end.insert(index),
                        Said::Changed { at_end: false } => _ = at_end.remove(&index),
                    }
                }
            }
            open.retain(|&index| found[index].is_none());
            if !open.is_empty() {
                std::thread::sleep(PAUSE);
            }
        }
    }

    /// Settles what the watermarks alone settle.
    fn rule_out(
        &self,
        wanted: &[Wanted],
        found: &mut [Option<Sampled>],
        open: &[usize],
        at_end: &BTreeSet<usize>,
    ) -> Result<(), KafkaError> {
        let of: BTreeSet<(&str, Partition)> = open.iter().map(|&at| (wanted[at].0.as_str(), wanted[at].1)).collect();
        let of: Vec<(&str, Partition)> = of.into_iter().collect();
        let held: BTreeMap<(&str, Partition), Option<(Offset, Offset)>> =
            of.iter().copied().zip(self.held(&of)?).collect();
        for &index in open {
            let (topic, partition, offset) = &wanted[index];
            found[index] = match held[&(topic.as_str(), *partition)] {
                None => Some(Sampled::NoPartition),
                Some((_, end)) if *offset >= end => Some(Sampled::Beyond { end }),
                Some((low, _)) if *offset < low => Some(Sampled::Absent),
                Some(_) if at_end.contains(&index) => Some(Sampled::Absent),
                Some(_) => None,
            };
        }
        Ok(())
    }

    /// Reads at these offsets, at most one in each partition.
    fn read(&self, wanted: &[Wanted], group: &[usize]) -> Result<Vec<(usize, Said)>, KafkaError> {
        let client = &self.asker.committed;
        let failed = |action| move |error| KafkaError::client(action, error);
        let mut list = TopicPartitionList::with_capacity(group.len());
        let mut queues = Vec::with_capacity(group.len());
        let waiting = std::thread::current();
        for &index in group {
            let (topic, partition, offset) = &wanted[index];
            list.add_partition_offset(topic, partition.0, rdkafka::Offset::Offset(offset.0))
                .map_err(failed("name a partition"))?;
            // before the assignment, so that nothing comes on the common queue
            let queue = client.split_partition_queue(topic, partition.0);
            let mut queue = queue.ok_or_else(|| failed("split off a partition's queue")(Native::Canceled))?;
            let waiting = waiting.clone();
            queue.set_nonempty_callback(move || waiting.unpark());
            queues.push((index, queue));
        }
        client.incremental_assign(&list).map_err(failed("assign partitions"))?;
        let said = self.listen(wanted, queues);
        client
            .incremental_unassign(&list)
            .map_err(failed("give back partitions"))?;
        said
    }

    /// Waits until each queue has said what stands at the offset.
    fn listen(
        &self,
        wanted: &[Wanted],
        mut queues: Vec<(usize, PartitionQueue<Context>)>,
    ) -> Result<Vec<(usize, Said)>, KafkaError> {
        let mut said = Vec::with_capacity(queues.len());
        let (mut last, mut warned) = (Instant::now(), None);
        while !queues.is_empty() {
            let before = queues.len();
            queues.retain(|(index, queue)| match first(queue, wanted[*index].2) {
                Ok(Some(of_queue)) => {
                    said.push((*index, of_queue));
                    false
                }
                Ok(None) => true,
                Err(error) => {
                    let (topic, partition, offset) = &wanted[*index];
                    if warned.is_none_or(|at: Instant| at.elapsed() >= TRY) {
                        warned = Some(Instant::now());
                        tracing::warn!("asking for the record {topic}/{partition} {offset} again: {error}");
                    }
                    true
                }
            });
            if queues.len() < before {
                last = Instant::now();
                continue;
            }
            self.asker.check()?;
            if last.elapsed() >= self.asker.retry_timeout {
                return Err(self.asker.unreachable(&self.asker.committed, &question(wanted)));
            }
            std::thread::park_timeout(IDLE_WAIT);
        }
        Ok(said)
    }
}

fn question(wanted: &[Wanted]) -> String {
    match wanted {
        [(topic, partition, offset)] => format!("the record {topic}/{partition} {offset}"),
        _ => format!("{} records", wanted.len()),
    }
}

/// The first thing on a queue that says whether there is a record at `offset`, if it is there yet.
fn first(queue: &PartitionQueue<Context>, offset: Offset) -> Result<Option<Said>, Native> {
    loop {
        return match queue.poll(Duration::ZERO) {
            Some(Ok(message)) if Offset(message.offset()) < offset => continue,
            Some(Ok(message)) if Offset(message.offset()) > offset => Ok(Some(Said::Is(Sampled::Absent))),
            Some(Ok(message)) => Ok(Some(Said::Is(Sampled::Record(Sample::of(&message))))),
            Some(Err(Native::PartitionEOF(_))) => Ok(Some(Said::Changed { at_end: true })),
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => Ok(Some(Said::Changed { at_end: false })),
                _ if is_unknown(&error) => Ok(Some(Said::Changed { at_end: false })),
                _ => Err(error),
            },
            None => Ok(None),
        };
    }
}
