//! A log with a memory: what a scenario has produced stands here too, so that any prefix of it can be archived as a
//! lake, and the answer for any frontier computed by the plain evaluator.

use crate::plain::{self, definitions};
use crate::{Database, LakeFolder, Message, Producer};
use anyhow::{Context, Result, ensure};
use dataflows::{Decoder, Kind, Raw, State};
use operators::{Position, Row};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use workload::generate::{Generator, partition_of};

/// The default topics, by the kinds' numbers.
pub const TOPICS: [&str; 3] = ["pin", "geo", "user"];

/// A record of the log: its key and its value; no value is a tombstone.
pub type Entry = (i64, Option<Vec<u8>>);

/// The frontier of a whole log: (topic, partition) → the first offset that is not in it.
pub type Frontier = BTreeMap<(String, i32), i64>;

/// A log that is being produced.
pub struct Feed {
    records: Box<dyn Iterator<Item = workload::generate::Record> + Send>,
    partitions: i32,
    /// Per (kind, partition), the records in the order of their offsets, from 0.
    pub log: BTreeMap<(u8, i32), Vec<Entry>>,
}

impl Feed {
    /// A feed of synthetic records with re-sends, corrections, dirty records and deletes, into topics of this many
    /// partitions.
    pub fn new(seed: u64, partitions: i32) -> Feed {
        let records = Generator::new(seed)
            .duplicates(0.06)
            .dirty(0.02)
            .deletes(0.02)
            .records();
        let log = (0..3)
            .flat_map(|kind| (0..partitions).map(move |p| ((kind, p), Vec::new())))
            .collect();
        Feed {
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
        for (kind, partition, (key, value)) in self.take(count) {
            let key = key.to_string();
            let message = Message {
                partition: Some(partition),
                key: Some(key.as_bytes()),
                value: value.as_deref(),
            };
            producer.send(TOPICS[kind as usize], message)?;
        }
        producer.flush()
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
        let mut state = State::for_results(&plain::RESULTS);
        let mut decoder = Decoder::default();
        for ((kind, partition), entries) in &self.log {
            let next = frontier
                .get(&(TOPICS[*kind as usize].to_owned(), *partition))
                .copied()
                .unwrap_or(0);
            for (offset, (key, value)) in entries.iter().enumerate().take(next as usize) {
                let key = key.to_string();
                let raw = Raw {
                    kind: Kind::from(*kind),
                    position: Position::new(1, offset as i64, *partition)?,
                    key: Some(key.as_bytes()),
                    value: value.as_deref(),
                };
                if let Ok(decoded) = decoder.decode_with_row(raw) {
                    state.apply(decoded);
                }
            }
        }
        Ok(plain::results(&state, top))
    }
}

/// The recorded frontier, and every result table as its sorted rows of texts, in one snapshot.
pub fn tables(database: &Database, schema: &str) -> Result<(Frontier, Vec<Vec<String>>)> {
    database.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
    let mut frontier = Frontier::new();
    for row in database.rows(&format!("SELECT topic, partition, next_offset FROM {schema}.frontier"))? {
        let [Some(topic), Some(partition), Some(next)] = row.as_slice() else {
            anyhow::bail!("a null in the frontier")
        };
        frontier.insert((topic.clone(), partition.parse()?), next.parse()?);
    }
    let mut tables = Vec::new();
    for result in definitions() {
        let columns: Vec<&str> = result.table.columns.iter().map(|column| column.name).collect();
        let sql = format!("SELECT {} FROM {schema}.{}", columns.join(", "), result.table.name);
        let text = |value: Option<String>| value.unwrap_or_default();
        let row = |row: Vec<Option<String>>| row.into_iter().map(text).collect::<Vec<_>>().join("|");
        let mut rows: Vec<String> = database.rows(&sql)?.into_iter().map(row).collect();
        rows.sort();
        tables.push(rows);
    }
    database.run("ROLLBACK")?;
    Ok((frontier, tables))
}

/// Rows as [`tables`] reads them.
pub fn texts(answer: &[Vec<Row>]) -> Vec<Vec<String>> {
    let table = |(rows, result): (&Vec<Row>, &dataflows::Definition)| {
        let value = |(value, column): (&operators::Value, &operators::Column)| {
            sinks::text::value(value, column.ty).unwrap_or_default()
        };
        let row = |row: &Row| {
            row.iter()
                .zip(result.table.columns)
                .map(value)
                .collect::<Vec<_>>()
                .join("|")
        };
        let mut rows: Vec<String> = rows.iter().map(row).collect();
        rows.sort();
        rows
    };
    answer.iter().zip(definitions()).map(table).collect()
}

/// Waits until the recorded frontier has reached `wanted`; returns the snapshot that shows it.
pub fn wait_for_frontier(
    url: &str,
    schema: &str,
    wanted: &Frontier,
    limit: Duration,
) -> Result<(Frontier, Vec<Vec<String>>)> {
    let deadline = Instant::now() + limit;
    loop {
        let reached = (|| {
            let database = Database::connect(url)?;
            let exists = database
                .value(&format!("SELECT to_regclass('{schema}.frontier')"))?
                .is_some();
            if !exists {
                return Ok(None);
            }
            let (frontier, tables) = tables(&database, schema)?;
            let at = |place: &(String, i32)| frontier.get(place).copied().unwrap_or(0);
            anyhow::Ok(
                wanted
                    .iter()
                    .all(|(place, next)| at(place) >= *next)
                    .then_some((frontier, tables)),
            )
        })();
        match reached {
            Ok(Some(reached)) => return Ok(reached),
            other => ensure!(
                Instant::now() < deadline,
                "the frontier {wanted:?} was not reached within {limit:?} ({:?})",
                other.context("reading the frontier")
            ),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Demands that the tables are the answer for the feed's whole log, by the plain evaluator, cell for cell.
pub fn demand_answer(feed: &Feed, url: &str, schema: &str, top: usize, limit: Duration) -> Result<()> {
    let wanted = feed.frontier();
    let (frontier, tables) = wait_for_frontier(url, schema, &wanted, limit)?;
    ensure!(
        frontier == wanted,
        "the frontier is {frontier:?}, the log ends at {wanted:?}"
    );
    let expected = texts(&feed.answer(&frontier, top)?);
    for ((result, actual), expected) in definitions().iter().zip(&tables).zip(&expected) {
        let differing = actual
            .iter()
            .filter(|row| !expected.contains(row))
            .chain(expected.iter().filter(|row| !actual.contains(row)));
        let differing: Vec<&String> = differing.take(10).collect();
        ensure!(
            actual == expected,
            "{} differs, for example in {differing:?}",
            result.table.name
        );
    }
    Ok(())
}
