//! The records that a scenario produces. They are remembered, so that any prefix of the log can be archived as a lake,
//! and the result rows for any frontier computed by the plain evaluator.

use crate::plain;
use crate::{LakeFolder, Message, Producer};
use anyhow::Result;
use dataflows::{Decoder, Kind, Raw, State};
use operators::{Offset, Partition, Position, Row};
use std::collections::BTreeMap;
use workload::generate::{Generator, partition_of};

/// The default topics, by the kinds' numbers.
pub const TOPICS: [&str; 3] = ["pin", "geo", "user"];

/// A record of the log: its key and its value; no value is a tombstone.
pub type Entry = (i64, Option<Vec<u8>>);

/// The frontier of a whole log: (topic, partition) → the first offset that is not in it.
pub type Frontier = BTreeMap<(String, i32), i64>;

/// A record that is a dead letter, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Why.
    pub reason: String,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// A log that is being produced.
pub struct Workload {
    records: Box<dyn Iterator<Item = workload::generate::Record> + Send>,
    partitions: i32,
    /// Per (kind, partition), the records in the order of their offsets, from 0.
    pub log: BTreeMap<(u8, i32), Vec<Entry>>,
}

impl Workload {
    /// A workload of synthetic records with re-sends, corrections, dirty records and deletes, into topics of this many
    /// partitions.
    pub fn new(seed: u64, partitions: i32) -> Workload {
        let records = Generator::new(seed)
            .duplicates(0.06)
            .dirty(0.02)
            .deletes(0.02)
            .records();
        let log = (0..3)
            .flat_map(|kind| (0..partitions).map(move |p| ((kind, p), Vec::new())))
            .collect();
        Workload {
            records: Box::new(records),
            partitions,
            log,
        }
    }

    /// The next records; each is remembered at the end of its partition.
    pub fn take(&mut self, count: usize) -> Vec<(u8, i32, Entry)> {
        let mut taken = Vec::with_capacity(count);
        for record in self.records.by_ref().take(count) {
            let partition = partition_of(record.ind, self.partitions);
            let entry = (record.ind as i64, Some(record.json));
            self.log
                .entry((record.kind, partition))
                .or_default()
                .push(entry.clone());
            taken.push((record.kind, partition, entry));
        }
        taken
    }

    /// Produces the next records and waits until the broker has them.
    pub fn produce(&mut self, producer: &Producer, count: usize) -> Result<()> {
        self.send(producer, count)?;
        producer.flush()
    }

    /// Sends the next records, and does not wait for them.
    pub fn send(&mut self, producer: &Producer, count: usize) -> Result<()> {
        for (kind, partition, (key, value)) in self.take(count) {
            let key = key.to_string();
            let message = Message {
                partition: Some(partition),
                key: Some(key.as_bytes()),
                value: value.as_deref(),
            };
            producer.send(TOPICS[kind as usize], message)?;
        }
        Ok(())
    }

    /// Produces a tombstone.
    pub fn delete(&mut self, producer: &Producer, kind: u8, ind: i64) -> Result<()> {
        let partition = partition_of(ind as u64, self.partitions);
        self.log.entry((kind, partition)).or_default().push((ind, None));
        let key = ind.to_string();
        let message = Message {
            partition: Some(partition),
            key: Some(key.as_bytes()),
            value: None,
        };
        producer.send(TOPICS[kind as usize], message)?;
        producer.flush()
    }

    /// Archives the first `share` of every partition, `per_object` records an object.
    pub fn archive(&self, lake: &LakeFolder, share: f64, per_object: usize) -> Result<()> {
        for ((kind, partition), entries) in &self.log {
            let count = (entries.len() as f64 * share) as usize;
            let mut start = 0;
            for chunk in entries[..count].chunks(per_object) {
                let key = lake.key(TOPICS[*kind as usize], *partition, start, None);
                let mut bytes = Vec::new();
                for (ind, value) in chunk {
                    match value {
                        Some(value) => bytes.extend_from_slice(value),
                        None => bytes.extend_from_slice(format!(r#"{{"ind":{ind},"__deleted":true}}"#).as_bytes()),
                    }
                    bytes.push(b'\n');
                }
                lake.put(&key, &bytes)?;
                start += chunk.len() as i64;
            }
        }
        Ok(())
    }

    /// The frontier after everything produced so far; partitions without a record are left out.
    pub fn frontier(&self) -> Frontier {
        let filled = self.log.iter().filter(|(_, entries)| !entries.is_empty());
        filled
            .map(|((kind, p), entries)| ((TOPICS[*kind as usize].to_owned(), *p), entries.len() as i64))
            .collect()
    }

    /// The result rows for a frontier, by the plain evaluator.
    pub fn answer(&self, frontier: &Frontier, top: usize) -> Result<Vec<Vec<Row>>> {
        Ok(self.evaluate(frontier, top)?.0)
    }

    /// The same, with the records below the frontier that are dead letters. All others are accepted.
    pub fn evaluate(&self, frontier: &Frontier, top: usize) -> Result<(Vec<Vec<Row>>, Vec<Rejected>)> {
        let mut state = State::for_results(&plain::RESULTS);
        let mut decoder = Decoder::default();
        let mut rejected = Vec::new();
        for ((kind, partition), entries) in &self.log {
            let next = frontier
                .get(&(TOPICS[*kind as usize].to_owned(), *partition))
                .copied()
                .unwrap_or(0);
            for (offset, (key, value)) in entries.iter().enumerate().take(next as usize) {
                let key = key.to_string();
                let raw = Raw {
                    kind: Kind::from(*kind),
                    position: Position::new(1, Offset(offset as i64), Partition(*partition))?,
                    key: Some(key.as_bytes()),
                    value: value.as_deref(),
                };
                match decoder.decode_with_row(raw) {
                    Ok(decoded) => state.apply(decoded),
                    Err(reason) => rejected.push(Rejected {
                        topic: TOPICS[*kind as usize].to_owned(),
                        partition: *partition,
                        offset: offset as i64,
                        reason: reason.as_str().to_owned(),
                        key: key.into_bytes(),
                        value: value.clone(),
                    }),
                }
            }
        }
        Ok((plain::results(&state, top), rejected))
    }
}
