//! A real Kafka log as a reader of committed records sees it: with holes where markers, aborted records and compaction
//! have used up offsets.

use crate::answer::{texts, wait_for_frontier};
use crate::plain::{self, definitions};
use crate::workload::{Entry, Frontier, TOPICS};
use crate::{Kafka, LakeFolder};
use anyhow::{Context, Result, ensure};
use dataflows::{Decoder, Kind, Raw, State};
use operators::{Offset, Partition, Position};
use std::collections::BTreeMap;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// Records by their true offsets, as a reader of committed records sees them.
#[derive(Default)]
pub struct LogImage(pub BTreeMap<(u8, i32), BTreeMap<i64, Entry>>);

impl LogImage {
    /// Everything that Kafka holds now.
    pub fn of(kafka: &Kafka, partitions: i32) -> Result<LogImage> {
        let mut log = LogImage::default();
        for (kind, topic) in (0u8..).zip(TOPICS) {
            for partition in 0..partitions {
                let records = kafka.records(topic, partition, "read_committed")?;
                let entry = |(offset, key, value): (i64, Option<Vec<u8>>, Option<Vec<u8>>)| -> Result<_> {
                    let key = String::from_utf8(key.context("a record without a key")?)?;
                    Ok((offset, (key.parse()?, value)))
                };
                log.0.insert(
                    (kind, partition),
                    records.into_iter().map(entry).collect::<Result<_>>()?,
                );
            }
        }
        Ok(log)
    }

    /// Archives what lies below `upto`, so many records an object, as Connect does: it does not see holes.
    pub fn archive(&self, lake: &LakeFolder, upto: &Frontier, per_object: usize) -> Result<()> {
        for ((kind, partition), records) in &self.0 {
            let topic = TOPICS[*kind as usize];
            let end = upto.get(&(topic.to_owned(), *partition)).copied().unwrap_or(0);
            let below: Vec<(&i64, &Entry)> = records.range(..end).collect();
            for chunk in below.chunks(per_object) {
                let mut bytes = Vec::new();
                for (_, (ind, value)) in chunk {
                    match value {
                        Some(value) => bytes.extend_from_slice(value),
                        None => bytes.extend_from_slice(format!(r#"{{"ind":{ind},"__deleted":true}}"#).as_bytes()),
                    }
                    bytes.push(b'\n');
                }
                lake.put(&lake.key(topic, *partition, *chunk[0].0, None), &bytes)?;
            }
        }
        Ok(())
    }

    /// The answer for all of it; `generation` says which generation a record is of.
    pub fn answer(&self, generation: impl Fn(u8, i32, i64) -> u8) -> Result<Vec<Vec<String>>> {
        let (mut state, mut decoder) = (State::for_results(&plain::RESULTS), Decoder::default());
        for ((kind, partition), records) in &self.0 {
            for (offset, (key, value)) in records {
                let key = key.to_string();
                let raw = Raw {
                    kind: Kind::from(*kind),
                    position: Position::new(
                        generation(*kind, *partition, *offset),
                        Offset(*offset),
                        Partition(*partition),
                    )?,
                    key: Some(key.as_bytes()),
                    value: value.as_deref(),
                };
                if let Ok(decoded) = decoder.decode_with_row(raw) {
                    state.apply(decoded);
                }
            }
        }
        Ok(texts(&plain::results(&state, 10)))
    }
}

/// The ends of all partitions, behind the last marker.
pub fn ends(kafka: &Kafka, partitions: i32) -> Result<Frontier> {
    let mut ends = Frontier::new();
    for topic in TOPICS {
        for partition in 0..partitions {
            let (_, high) = kafka.watermarks(topic, partition)?;
            if high > 0 {
                ends.insert((topic.to_owned(), partition), high);
            }
        }
    }
    Ok(ends)
}

/// Demands that the tables are this answer, at exactly this frontier.
pub fn demand(url: &str, wanted: &Frontier, answer: &[Vec<String>]) -> Result<()> {
    let (frontier, tables) = wait_for_frontier(url, "pinflow", wanted, SOON)?;
    for (place, next) in wanted {
        ensure!(
            frontier.get(place) == Some(next),
            "the frontier of {place:?} is {:?}, not {next}",
            frontier.get(place)
        );
    }
    for ((result, actual), expected) in definitions().iter().zip(&tables).zip(answer) {
        ensure!(
            actual == expected,
            "{} is {actual:?} instead of {expected:?}",
            result.table.name
        );
    }
    Ok(())
}
