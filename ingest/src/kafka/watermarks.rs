//! Watermarks: from where to where Kafka holds partitions.
//!
//! All partitions are asked for at once: a request a broker and kind of offset, whatever the number of partitions. The
//! kinds are asked for in the order low, stable, high, each of which only grows and lies below the next, so that an
//! answer never has them the wrong way round unless a topic was created again in between; then all are asked for again.

use super::KafkaError;
use super::ask::{PAUSE, is_unknown};
use super::client::Context;
use super::cluster::{Cluster, name_topic};
use crate::topic_partition::TopicPartition;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::{Duration, Instant};
use values::{Offset, Partition};

/// From where to where Kafka holds records of a partition; `low <= stable <= high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// The first offset that is held.
    pub low: Offset,
    /// The last stable offset: the offset after the last one that a reader of committed records can get. An open
    /// transaction holds it back.
    pub stable: Offset,
    /// The high watermark: the offset after the last one that is replicated, as a reader of uncommitted records sees it.
    pub high: Offset,
}

/// Offsets of one kind, `None` for each partition that does not exist.
type Offsets = Vec<Option<Offset>>;

impl Cluster {
    /// From where to where Kafka holds a partition now.
    ///
    /// # Errors
    /// [`KafkaError::TopicGone`] when there is no such partition.
    pub fn watermarks(&self, topic: &str, partition: Partition) -> Result<Watermarks, KafkaError> {
        let marks = self
            .marks(&[(topic, partition)])
            .map_err(|error| name_topic(error, topic))?;
        marks.into_iter().flatten().next().ok_or_else(|| KafkaError::TopicGone {
            topic: topic.to_owned(),
            partition,
        })
    }

    /// From where to where Kafka holds each partition of some topics, by the topics' numbers; a topic that does not exist
    /// (yet) has none.
    pub fn spans<'a>(
        &self,
        topics: impl IntoIterator<Item = (u8, &'a str)>,
    ) -> Result<BTreeMap<TopicPartition, Watermarks>, KafkaError> {
        let (mut numbers, mut partitions) = (Vec::new(), Vec::new());
        for (topic, name) in topics {
            for partition in self.partitions(name)?.unwrap_or_default() {
                numbers.push(TopicPartition { topic, partition });
                partitions.push((name, partition));
            }
        }
        let marks = self.marks(&partitions)?;
        let spans = numbers.into_iter().zip(marks);
        Ok(spans.filter_map(|(at, marks)| Some((at, marks?))).collect())
    }

    /// The watermarks of partitions in the order asked; `None` where there is no such partition.
    fn marks(&self, of: &[(&str, Partition)]) -> Result<Vec<Option<Watermarks>>, KafkaError> {
        let question = question(of);
        let start = Instant::now();
        loop {
            let held = self.held(of)?;
            let ends = self.offsets(&*self.asker.uncommitted()?, of, rdkafka::Offset::End, &question)?;
            let marks: Vec<Option<Watermarks>> = held
                .into_iter()
                .zip(ends)
                .map(|(held, high)| {
                    let ((low, stable), high) = (held?, high?);
                    Some(Watermarks { low, stable, high })
                })
                .collect();
            let in_order = |marks: &Watermarks| marks.low <= marks.stable && marks.stable <= marks.high;
            if marks.iter().flatten().all(in_order) {
                return Ok(marks);
            }
            if start.elapsed() >= self.asker.retry_timeout {
                return Err(self.asker.unreachable(&self.asker.committed, &question));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The low watermark and the last stable offset of partitions; `None` where there is no such partition.
    pub(super) fn held(&self, of: &[(&str, Partition)]) -> Result<Vec<Option<(Offset, Offset)>>, KafkaError> {
        let question = question(of);
        let low = self.offsets(&self.asker.committed, of, rdkafka::Offset::Beginning, &question)?;
        let stable = self.offsets(&self.asker.committed, of, rdkafka::Offset::End, &question)?;
        Ok(low
            .into_iter()
            .zip(stable)
            .map(|(low, stable)| low.zip(stable))
            .collect())
    }

    fn offsets(
        &self,
        client: &BaseConsumer<Context>,
        of: &[(&str, Partition)],
        which: rdkafka::Offset,
        question: &str,
    ) -> Result<Offsets, KafkaError> {
        let list_offsets = |absent: &BTreeSet<_>, timeout| {
            let asked = Instant::now();
            let answer = list_offsets(client, of, absent, which, timeout)?;
            // of partitions that do not exist nothing is asked
            if answer.iter().any(Option::is_some) {
                *self.round_trip.lock().unwrap_or_else(PoisonError::into_inner) = Some(asked.elapsed());
            }
            Ok(answer)
        };
        let ask = |timeout| match list_offsets(&BTreeSet::new(), timeout) {
            // librdkafka judges by what it heard of the topic minutes ago, so it is made to look
            Err(error) if is_unknown(&error) => {
                let absent = absent(client, of, timeout)?;
                let later = |error| {
                    if is_unknown(&error) {
                        Native::MetadataFetch(Code::LeaderNotAvailable)
                    } else {
                        error
                    }
                };
                list_offsets(&absent, timeout).map_err(later)
            }
            answer => answer,
        };
        self.asker.ask(client, question, ask)
    }
}

fn question(of: &[(&str, Partition)]) -> String {
    match of {
        [(topic, partition)] => format!("the offsets of {topic}/{partition}"),
        _ => format!("the offsets of {} partitions", of.len()),
    }
}

/// Asks each broker once for the offsets of its partitions, those left out that are known not to exist.
fn list_offsets(
    client: &BaseConsumer<Context>,
    of: &[(&str, Partition)],
    absent: &BTreeSet<(&str, Partition)>,
    which: rdkafka::Offset,
    timeout: Duration,
) -> Result<Offsets, Native> {
    let mut list = TopicPartitionList::with_capacity(of.len());
    for (topic, partition) in of.iter().filter(|at| !absent.contains(*at)) {
        // the question for offsets by timestamp has numbers for both ends
        list.add_partition_offset(topic, partition.0, which)?;
    }
    if list.count() == 0 {
        return Ok(vec![None; of.len()]);
    }
    let list = client.offsets_for_times(list, timeout)?;
    let answers = list.elements();
    let mut offsets = BTreeMap::new();
    for answer in &answers {
        answer.error()?;
        let rdkafka::Offset::Offset(offset) = answer.offset() else {
            return Err(Native::MetadataFetch(Code::OffsetNotAvailable));
        };
        offsets.insert((answer.topic(), Partition(answer.partition())), Offset(offset));
    }
    Ok(of.iter().map(|at| offsets.get(at).copied()).collect())
}

/// Those of some partitions that Kafka does not know.
fn absent<'a>(
    client: &BaseConsumer<Context>,
    of: &[(&'a str, Partition)],
    timeout: Duration,
) -> Result<BTreeSet<(&'a str, Partition)>, Native> {
    let topics: BTreeSet<&str> = of.iter().map(|(topic, _)| *topic).collect();
    let mut existing = BTreeSet::new();
    for topic in topics {
        let metadata = client.fetch_metadata(Some(topic), timeout)?;
        for found in metadata.topics().iter().filter(|found| found.name() == topic) {
            match found.error().map(Code::from) {
                Some(code) if found.partitions().is_empty() && !is_unknown(&Native::MetadataFetch(code)) => {
                    return Err(Native::MetadataFetch(code));
                }
                _ => existing.extend(
                    found
                        .partitions()
                        .iter()
                        .map(|partition| (topic, Partition(partition.id()))),
                ),
            }
        }
    }
    Ok(of.iter().filter(|at| !existing.contains(*at)).copied().collect())
}
