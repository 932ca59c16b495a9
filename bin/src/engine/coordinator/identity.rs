//! Whether Kafka's topics are those that the lake was archived from.
//!
//! A topic that was deleted and made again under its old name has other records at the same offsets; history and live
//! log would be joined into an answer that no log has. So a start compares a few records that both hold. What is compared
//! is the JSON, never its bytes: archivers order keys and escape characters as they like. Only first records of exact
//! objects are looked at: their offsets are beyond doubt, and nothing else of the object has to be read.
//!
//! A topic whose retention leaves no such record is not recognised this way.

use super::Coordinator;
use crate::engine::EngineError;
use crate::engine::protocol::TopicPartition;
use ingest::coverage::Coverage;
use ingest::kafka::Sample;
use ingest::lake::{Object, Place};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Records compared in one partition.
const OF_A_PARTITION: usize = 3;
/// Records compared in one topic: a topic is made again as a whole.
const OF_A_TOPIC: usize = 24;

impl Coordinator {
    /// Stops at a record of the lake that Kafka has otherwise. Done once a run.
    pub(super) async fn check_identity(
        &mut self,
        coverage: &BTreeMap<(u8, i32), Coverage>,
        ends: &BTreeMap<TopicPartition, Range<i64>>,
    ) -> Result<(), EngineError> {
        let (Some(lake), Some(cluster)) = (self.lake.clone(), self.cluster.clone()) else {
            return Ok(());
        };
        if std::mem::replace(&mut self.identified, true) {
            return Ok(());
        }
        let began = Instant::now();
        let mut compared = 0;
        for (at, offset, object) in self.samples(coverage, ends) {
            let line = match lake.first_line(&object, self.settings.limits.record_bytes).await {
                Ok(Some((line, _))) => line,
                Ok(None) => continue,
                Err(error) => return Err(EngineError::failed(error)),
            };
            let (cluster, name) = (Arc::clone(&cluster), self.topic_name(at.topic).to_owned());
            let asked = tokio::task::spawn_blocking(move || cluster.sample(&name, at.partition, offset));
            let sample = asked.await.map_err(EngineError::failed)?.map_err(EngineError::failed)?;
            let same = sample.and_then(|sample| same_record(&line, &sample));
            compared += u32::from(same.is_some());
            if same == Some(false) {
                return Err(EngineError::failed(format!(
                    "the record {} {offset} in Kafka is not the one in the lake (object {}): the topic was deleted and \
                     made again under its old name (go on under a new name, with --topics)",
                    self.place(at),
                    object.key,
                )));
            }
        }
        if compared > 0 {
            tracing::info!(compared, took = ?began.elapsed(), "the lake and Kafka hold the same records");
        }
        Ok(())
    }

    /// The objects whose first records are compared, with their places.
    fn samples(
        &self,
        coverage: &BTreeMap<(u8, i32), Coverage>,
        ends: &BTreeMap<TopicPartition, Range<i64>>,
    ) -> Vec<(TopicPartition, i64, Object)> {
        let inexact: BTreeSet<u32> = coverage
            .values()
            .flat_map(|coverage| coverage.inexact.iter().map(|object| object.object))
            .collect();
        let mut candidates: BTreeMap<TopicPartition, BTreeMap<i64, u32>> = BTreeMap::new();
        for (id, (lines, _)) in &self.counted {
            let object = &self.objects[*id as usize - 1];
            let (Some(topic), Place::Log { partition, start }) = (object.topic, object.place) else {
                continue;
            };
            let at = TopicPartition { topic, partition };
            let held = ends.get(&at).is_some_and(|span| span.contains(&start));
            let sound = *lines > 0 && !object.deletes && !inexact.contains(id) && !self.unreadable.contains_key(id);
            if held && sound {
                candidates.entry(at).or_default().insert(start, *id);
            }
        }
        let mut samples = Vec::new();
        for topic in 0..3 {
            let of_topic = candidates.iter().filter(|(at, _)| at.topic == topic);
            let chosen: Vec<(TopicPartition, i64, u32)> = of_topic
                .flat_map(|(at, objects)| {
                    let objects: Vec<(TopicPartition, i64, u32)> =
                        objects.iter().map(|(start, id)| (*at, *start, *id)).collect();
                    spread(&objects, OF_A_PARTITION)
                })
                .collect();
            samples.extend(spread(&chosen, OF_A_TOPIC));
        }
        let with_object =
            |(at, start, id): (TopicPartition, i64, u32)| (at, start, self.objects[id as usize - 1].clone());
        samples.into_iter().map(with_object).collect()
    }
}

/// At most `count` of the items, from the first to the last, evenly.
fn spread<T: Copy>(items: &[T], count: usize) -> Vec<T> {
    if items.len() <= count {
        return items.to_vec();
    }
    (0..count).map(|n| items[n * (items.len() - 1) / (count - 1)]).collect()
}

/// Whether a line of the lake and a record of Kafka are the same; `None` when that cannot be told.
fn same_record(line: &[u8], sample: &Sample) -> Option<bool> {
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
        let value = value.map(|value| value.as_bytes().to_vec());
        same_record(line.as_bytes(), &Sample { key: None, value })
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
