//! Whether Kafka's topics are those that the tables and the lake were made of.
//!
//! A topic that was deleted and created again under its old name has other records at the same offsets; history and live
//! log would be joined into an answer that no log has. So the last record of each frontier is looked up in Kafka, at a
//! start and whenever a topic appears or an end falls; and a start compares a few records that the lake and Kafka both
//! hold. What is compared with the lake is the JSON, never its bytes: archivers order keys and escape characters as they
//! like. Only first records of exact objects are looked at: their offsets are beyond doubt, and nothing else of the
//! object has to be read.
//!
//! A topic whose retention leaves no such record is not recognised this way.

use super::lake_read::{LakeRead, log_place};
use super::run::Run;
use crate::answer::{Answer, newer};
use crate::error::{EngineError, panicked};
use crate::log::growth::PartitionWatermarks;
use crate::log::identity::{Place, TopicCheck, compare_last_record};
use crate::recorded::Recorded;
use ingest::coverage::Coverage;
use ingest::kafka::{Sample, Sampled};
use ingest::lake::{Object, Original};
use ingest::{Offset, Partition, TopicPartition};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Records compared in one partition.
const OF_A_PARTITION: usize = 3;
/// Records compared in one topic: a topic is made again as a whole.
const OF_A_TOPIC: usize = 24;

impl Run {
    /// Stops where Kafka does not hold the last record of the recorded frontier at its offset, or ends below it.
    pub(super) async fn check_recorded(
        &self,
        recorded: &Recorded,
        watermarks: &PartitionWatermarks,
    ) -> Result<(), EngineError> {
        let of_topic = |at: &TopicPartition| watermarks.keys().any(|end| end.topic == at.topic);
        let known = recorded.partitions.iter().filter(|(at, _)| of_topic(at));
        let places = known.map(|(at, reach)| {
            let (next, last) = (reach.next, reach.last);
            (*at, Place { next, last })
        });
        self.check_places(watermarks, places.collect()).await
    }

    /// The same of what this run has committed.
    pub(super) async fn check_answer(
        &self,
        answer: &Answer,
        watermarks: &PartitionWatermarks,
        which: impl Fn(TopicPartition) -> bool,
    ) -> Result<(), EngineError> {
        let known = answer.frontier.iter().filter(|(at, _)| which(**at));
        let places = known.map(|(at, reach)| {
            let (next, last) = (reach.next, reach.last);
            (*at, Place { next, last })
        });
        self.check_places(watermarks, places.collect()).await
    }

    async fn check_places(
        &self,
        watermarks: &PartitionWatermarks,
        places: Vec<(TopicPartition, Place)>,
    ) -> Result<(), EngineError> {
        let lasts = places.iter().filter_map(|(at, place)| Some((*at, place.last?.offset)));
        let found: BTreeMap<TopicPartition, Sampled> = self.sample(lasts.collect()).await?;
        for (at, place) in places {
            let Some(marks) = watermarks.get(&at) else {
                if place.next == Offset::ZERO {
                    continue;
                }
                let why = "the partition does not exist any more".to_owned();
                return Err(self.remade(at, why));
            };
            match compare_last_record(place, *marks, found.get(&at)) {
                TopicCheck::Same | TopicCheck::Unproved => {}
                TopicCheck::Shorter { end } => {
                    let next = place.next;
                    return Err(self.remade(at, format!("it ends at {end}, and was read up to {next}")));
                }
                TopicCheck::OtherRecord { offset } => {
                    let why = format!("the record at {offset} is not the one that was read");
                    return Err(self.remade(at, why));
                }
            }
        }
        Ok(())
    }

    fn remade(&self, at: TopicPartition, why: String) -> EngineError {
        let place = self.place(at);
        EngineError::TopicRemade { place, why }
    }

    /// What Kafka holds at one offset of each partition.
    async fn sample(
        &self,
        wanted: Vec<(TopicPartition, Offset)>,
    ) -> Result<BTreeMap<TopicPartition, Sampled>, EngineError> {
        let (at, sampled) = (wanted.iter().map(|(at, _)| *at), self.samples(&wanted).await?);
        Ok(at.zip(sampled).collect())
    }

    /// What Kafka holds at some offsets, in their order.
    async fn samples(&self, wanted: &[(TopicPartition, Offset)]) -> Result<Vec<Sampled>, EngineError> {
        let Some(cluster) = self.sources.cluster.clone().filter(|_| !wanted.is_empty()) else {
            return Ok(Vec::new());
        };
        let name =
            |(at, offset): &(TopicPartition, Offset)| (self.topic_name(at.topic).to_owned(), at.partition, *offset);
        let named: Vec<(String, Partition, Offset)> = wanted.iter().map(name).collect();
        let asked = tokio::task::spawn_blocking(move || cluster.samples(&named));
        let asked = async { Ok(asked.await.map_err(panicked("asking Kafka for records"))??) };
        self.process.unless_stopped(asked).await
    }

    /// Remembers the last record of each partition of which Kafka gave none: the one just below the frontier, where Kafka
    /// holds it.
    pub(super) async fn note_last_records(
        &self,
        answer: &mut Answer,
        watermarks: &PartitionWatermarks,
    ) -> Result<(), EngineError> {
        let lacking = answer.frontier.iter().filter(|(at, reach)| {
            let before = reach.next.previous();
            let known = reach.last.is_some_and(|last| last.offset == before);
            !known
                && watermarks
                    .get(at)
                    .is_some_and(|marks| marks.low <= before && before < marks.stable)
        });
        let lacking: Vec<(TopicPartition, Offset)> = lacking.map(|(at, reach)| (*at, reach.next.previous())).collect();
        for (at, sampled) in self.sample(lacking).await? {
            if let (Sampled::Record(sample), Some(reach)) = (sampled, answer.frontier.get_mut(&at)) {
                reach.last = newer(reach.last, Some(sample.id(reach.next.previous())));
            }
        }
        Ok(())
    }

    /// Stops at a record of the lake that Kafka has otherwise.
    pub(super) async fn check_lake(
        &self,
        read: &LakeRead,
        coverage: &BTreeMap<TopicPartition, Coverage>,
        watermarks: &PartitionWatermarks,
    ) -> Result<(), EngineError> {
        let (Some(lake), Some(_)) = (&self.sources.lake, &self.sources.cluster) else {
            return Ok(());
        };
        let began = Instant::now();
        let chosen = choose(read, coverage, watermarks);
        let wanted: Vec<(TopicPartition, Offset)> = chosen.iter().map(|(at, offset, _)| (*at, *offset)).collect();
        let mut compared = 0;
        for ((at, offset, object), sampled) in chosen.into_iter().zip(self.samples(&wanted).await?) {
            let Sampled::Record(sample) = sampled else { continue };
            let limit = ingest::lake::longest_line(self.options.log.limits.record_bytes);
            let Some((line, metadata)) = lake.first_line(&object, limit).await? else {
                continue;
            };
            let same = same_record(&line, metadata.is_ours(), &sample);
            compared += u32::from(same.is_some());
            if same == Some(false) {
                let key = &object.key;
                let why = format!("the record at {offset} in Kafka is not the one in the lake (object {key})");
                return Err(self.remade(at, why));
            }
        }
        if compared > 0 {
            tracing::info!(compared, took = ?began.elapsed(), "the lake and Kafka hold the same records");
        }
        Ok(())
    }
}

/// The objects whose first records are compared, with their places.
fn choose(
    read: &LakeRead,
    coverage: &BTreeMap<TopicPartition, Coverage>,
    watermarks: &PartitionWatermarks,
) -> Vec<(TopicPartition, Offset, Object)> {
    let inexact: BTreeSet<u32> = coverage
        .values()
        .flat_map(|coverage| coverage.inexact.iter().map(|object| object.object))
        .collect();
    let mut candidates: BTreeMap<TopicPartition, BTreeMap<Offset, u32>> = BTreeMap::new();
    for (id, object, shown) in read.counted() {
        let Some((at, start)) = log_place(object) else { continue };
        let held = watermarks
            .get(&at)
            .is_some_and(|marks| (marks.low..marks.stable).contains(&start));
        let sound = shown.lines > 0 && !object.deletes && !inexact.contains(&id) && !read.is_damaged(id);
        if held && sound {
            candidates.entry(at).or_default().insert(start, id);
        }
    }
    let mut samples = Vec::new();
    for topic in 0..3 {
        let of_topic = candidates.iter().filter(|(at, _)| at.topic == topic);
        let chosen: Vec<(TopicPartition, Offset, u32)> = of_topic
            .flat_map(|(at, objects)| {
                let objects: Vec<(TopicPartition, Offset, u32)> =
                    objects.iter().map(|(start, id)| (*at, *start, *id)).collect();
                spread(&objects, OF_A_PARTITION)
            })
            .collect();
        samples.extend(spread(&chosen, OF_A_TOPIC));
    }
    let with_object = |(at, start, id): (TopicPartition, Offset, u32)| (at, start, read.object(id).clone());
    samples.into_iter().map(with_object).collect()
}

/// At most `count` of the items, from the first to the last, evenly.
fn spread<T: Copy>(items: &[T], count: usize) -> Vec<T> {
    if items.len() <= count {
        return items.to_vec();
    }
    (0..count).map(|n| items[n * (items.len() - 1) / (count - 1)]).collect()
}

/// Whether a line of the lake and a record of Kafka are the same; `None` when that cannot be told. In an object of `ours`
/// a line may be wrapped, and then stands for exactly what was wrapped.
fn same_record(line: &[u8], ours: bool, sample: &Sample) -> Option<bool> {
    if let Some(original) = ours.then(|| ingest::lake::original(line)).flatten() {
        return Some(match (original, &sample.value) {
            (Original::Value(of_lake), Some(value)) => of_lake == *value,
            (Original::Tombstone(key), None) => key == sample.key,
            _ => false,
        });
    }
    let of_lake: Value = serde_json::from_slice(line).ok()?;
    match &sample.value {
        // a tombstone has no value that a lake could keep: archivers write a delete in its place
        None => match of_lake {
            Value::Object(fields) => Some(fields.contains_key("__deleted")),
            _ => None,
        },
        Some(value) => Some(alike(&of_lake, &serde_json::from_slice(value).ok()?)),
    }
}

/// Equality of JSON, in which 1 and 1.0 are the same number: converters write numbers anew.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            let same = |(name, value): (&String, &Value)| b.get(name).is_some_and(|other| alike(value, other));
            a.len() == b.len() && a.iter().all(same)
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(line: &str, value: Option<&str>) -> Option<bool> {
        same_record(line.as_bytes(), false, &sample(None, value))
    }

    fn sample(key: Option<&str>, value: Option<&str>) -> Sample {
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        Sample {
            key: bytes(key),
            value: bytes(value),
            timestamp: 0,
            headers: Vec::new(),
        }
    }

    #[test]
    fn a_wrapped_line_of_ours_is_compared_as_what_it_stands_for() {
        let ours = |line: &str, sample: &Sample| same_record(line.as_bytes(), true, sample);
        let tombstone = r#"{"__pinflow_tombstone":"abc"}"#;
        assert_eq!(ours(tombstone, &sample(Some("abc"), None)), Some(true));
        assert_eq!(ours(tombstone, &sample(Some("abd"), None)), Some(false));
        assert_eq!(ours(tombstone, &sample(Some("abc"), Some("1"))), Some(false));
        let raw = r#"{"__pinflow_raw":"no JSON"}"#;
        assert_eq!(ours(raw, &sample(None, Some("no JSON"))), Some(true));
        // in an object of another writer it is the value itself
        assert_eq!(same(raw, Some(raw)), Some(true));
    }

    #[test]
    fn records_are_compared_as_json() {
        let lake = r#"{"ind":1,"title":"\ud83c\udf88","latitude":1.0,"tags":[1,null]}"#;
        let kafka = "{ \"tags\": [1.0, null], \"title\": \"🎈\", \"latitude\": 1, \"ind\": 1 }";
        assert_eq!(same(lake, Some(kafka)), Some(true));
        assert_eq!(same(lake, Some(&kafka.replace("null", "2"))), Some(false));
        assert_eq!(
            same(lake, Some(&kafka.replace("\"ind\": 1", "\"ind\": 2"))),
            Some(false)
        );
        assert_eq!(same(r#"{"ind":1}"#, Some(r#"{"ind":1,"age":2}"#)), Some(false));
    }

    #[test]
    fn a_tombstone_is_a_delete_and_what_is_no_json_says_nothing() {
        assert_eq!(same(r#"{"ind":1,"__deleted":true}"#, None), Some(true));
        assert_eq!(same(r#"{"ind":1}"#, None), Some(false));
        assert_eq!(same("null", None), None);
        assert_eq!(same("no json", Some(r#"{"ind":1}"#)), None);
        assert_eq!(same(r#"{"ind":1}"#, Some("no json")), None);
    }

    #[test]
    fn samples_are_spread_from_the_first_to_the_last() {
        let items: Vec<u32> = (0..100).collect();
        assert_eq!(spread(&items, 3), [0, 49, 99]);
        assert_eq!(spread(&items[..2], 3), [0, 1]);
    }
}
