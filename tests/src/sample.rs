//! Invariant I1 in flight: the tables of sampled snapshots are the answer for exactly the offsets recorded in them.
//!
//! A [`Sample`] holds what one snapshot says it answers for (frontier, accepted gaps, generations) and, of every table,
//! the number of rows and a hash that does not depend on their order: a few hundred bytes, whatever the tables hold.
//! [`Samples`] keeps a bounded number of them, spread evenly over a run however long it takes (reservoir sampling).
//! [`Samples::demand`] recomputes each of them afterwards from the log by the plain evaluator, which shares nothing with
//! the engine but the decoder.

use crate::Database;
use crate::log_image::LogImage;
use crate::plain::{self, definitions};
use crate::workload::{Entry, Frontier, TOPICS, Workload};
use anyhow::{Context, Result, ensure};
use dataflows::{CLEANED, Decoder, Kind, Raw, State};
use operators::{Offset, Partition, Position, Row, Table};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Samples that are kept of a run.
const KEPT: usize = 40;

/// Where a log's records can be looked up.
pub trait Records {
    /// The record of a kind at an offset of a partition, if there is one.
    fn record(&self, kind: u8, partition: i32, offset: i64) -> Option<&Entry>;
}

impl Records for Workload {
    fn record(&self, kind: u8, partition: i32, offset: i64) -> Option<&Entry> {
        self.log.get(&(kind, partition))?.get(usize::try_from(offset).ok()?)
    }
}

impl Records for LogImage {
    fn record(&self, kind: u8, partition: i32, offset: i64) -> Option<&Entry> {
        self.0.get(&(kind, partition))?.get(&offset)
    }
}

/// A table's content: its rows, in no order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Digest {
    rows: u64,
    sum: u64,
}

impl Digest {
    fn add(&mut self, row: u64) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(row);
    }
}

fn hash_of(row: &[Option<String>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    row.hash(&mut hasher);
    hasher.finish()
}

fn texts(row: &Row, table: &Table) -> Vec<Option<String>> {
    let columns = row.iter().zip(table.columns);
    columns
        .map(|(value, column)| sinks::text::value(value, column.ty))
        .collect()
}

/// What decides which records are in the tables and in which order they count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Basis {
    /// Accepted gaps: topic, partition, from, to.
    gaps: Vec<(String, i32, i64, i64)>,
    /// Topic, partition, first offset, generation.
    generations: Vec<(String, i32, i64, u8)>,
}

impl Basis {
    fn misses(&self, topic: &str, partition: i32, offset: i64) -> bool {
        let covers = |(of, at, from, to): &(String, i32, i64, i64)| {
            of == topic && *at == partition && (*from..*to).contains(&offset)
        };
        self.gaps.iter().any(covers)
    }

    fn generation(&self, topic: &str, partition: i32, offset: i64) -> u8 {
        let begun = self
            .generations
            .iter()
            .filter(|(of, at, start, _)| of == topic && *at == partition && *start <= offset);
        begun.map(|(_, _, _, generation)| *generation).max().unwrap_or(1)
    }
}

/// One snapshot of the tables.
#[derive(Clone, Debug)]
pub struct Sample {
    frontier: Frontier,
    basis: Basis,
    /// Of every result, then of every cleaned table; of the latter nothing where they are not kept.
    digests: Vec<Option<Digest>>,
}

fn parse<T: std::str::FromStr>(value: Option<&str>) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let value = value.context("a null where there is none")?;
    value.parse().with_context(|| format!("reading {value}"))
}

impl Sample {
    /// Reads the tables of the session's search path in its open snapshot.
    pub fn read(database: &Database, frontier: &Frontier) -> Result<Sample> {
        ensure!(
            database.number("SELECT coalesce(max(legacy_count), 0) FROM progress")? == 0,
            "records without offsets cannot be audited by offsets"
        );
        let kept = "SELECT count(*) FILTER (WHERE cleaned_next_offset IS NOT NULL), \
                    count(*) FILTER (WHERE cleaned_next_offset <> next_offset) FROM frontier";
        let kept = database.rows(kept)?;
        let [kept, behind]: [i64; 2] = [parse(kept[0][0].as_deref())?, parse(kept[0][1].as_deref())?];
        ensure!(behind == 0, "the cleaned tables are behind the results");
        let mut basis = Basis::default();
        let gaps = "SELECT topic, partition, from_offset, to_offset FROM gaps ORDER BY 1, 2, 3";
        for row in database.rows(gaps)? {
            let [topic, partition, from, to] = [0, 1, 2, 3].map(|column: usize| row[column].as_deref());
            basis
                .gaps
                .push((parse(topic)?, parse(partition)?, parse(from)?, parse(to)?));
        }
        let generations = "SELECT topic, partition, start_offset, generation FROM generations ORDER BY 1, 2, 3, 4";
        for row in database.rows(generations)? {
            let [topic, partition, start, generation] = [0, 1, 2, 3].map(|column: usize| row[column].as_deref());
            basis
                .generations
                .push((parse(topic)?, parse(partition)?, parse(start)?, parse(generation)?));
        }
        let read = |table: &Table, more: &str| -> Result<Option<Digest>> {
            let columns: Vec<&str> = table.columns.iter().map(|column| column.name).collect();
            let mut digest = Digest::default();
            for row in database.rows(&format!("SELECT {}{more} FROM {}", columns.join(", "), table.name))? {
                digest.add(hash_of(&row));
            }
            Ok(Some(digest))
        };
        let mut digests = Vec::new();
        for result in definitions() {
            digests.push(read(&result.table, "")?);
        }
        for table in &CLEANED {
            digests.push(if kept > 0 || frontier.is_empty() {
                read(table, ", log_generation, log_partition, log_offset")?
            } else {
                None
            });
        }
        Ok(Sample {
            frontier: frontier.clone(),
            basis,
            digests,
        })
    }
}

/// A bounded number of samples, each snapshot of a run as likely to be among them as any other.
#[derive(Debug)]
pub struct Samples {
    kept: Vec<Sample>,
    seen: u64,
    chance: u64,
}

impl Default for Samples {
    fn default() -> Samples {
        Samples {
            kept: Vec::new(),
            seen: 0,
            chance: 0x2545_f491_4f6c_dd1d,
        }
    }
}

impl Samples {
    /// Takes the snapshot or leaves it; only one that is taken is read.
    pub fn offer(&mut self, read: impl FnOnce() -> Result<Sample>) -> Result<()> {
        self.seen += 1;
        // xorshift64: any spread will do, and the same one each time is easier to follow
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        let place = usize::try_from(self.chance % self.seen)?;
        if self.kept.len() < KEPT {
            self.kept.push(read()?);
        } else if place < KEPT {
            self.kept[place] = read()?;
        }
        Ok(())
    }

    /// Demands of each sample that its tables are the answer of the plain evaluator for exactly its offsets; returns how
    /// many there were.
    pub fn demand(mut self, records: &impl Records, top: usize) -> Result<usize> {
        // frontiers never move back, so that one state can be carried from sample to sample
        self.kept.sort_by_key(|sample| sample.frontier.values().sum::<i64>());
        let mut oracle = Oracle::default();
        for sample in &self.kept {
            oracle.advance(sample, records)?;
            let expected = oracle.digests(top);
            let names = definitions().iter().map(|result| result.table.name);
            let names = names.chain(CLEANED.iter().map(|table| table.name));
            for ((name, actual), expected) in names.zip(&sample.digests).zip(expected) {
                ensure!(
                    actual.is_none_or(|actual| actual == expected),
                    "I1: {name} held {} rows that are not the {} rows of the answer for the frontier recorded in the same \
                     snapshot, {:?} with {:?}",
                    actual.map_or(0, |actual| actual.rows),
                    expected.rows,
                    sample.frontier,
                    sample.basis,
                );
            }
        }
        Ok(self.kept.len())
    }
}

/// The plain evaluator, as far as the last sample.
#[derive(Default)]
struct Oracle {
    state: Option<State>,
    decoder: Decoder,
    basis: Basis,
    applied: BTreeMap<(u8, i32), i64>,
    /// Hashes of cleaned rows by kind and key, with the position that they are of: most rows stay from sample to sample.
    hashes: HashMap<(u8, i64), (Position, u64)>,
}

impl Oracle {
    fn advance(&mut self, sample: &Sample, records: &impl Records) -> Result<()> {
        if self.basis != sample.basis {
            *self = Oracle {
                basis: sample.basis.clone(),
                ..Oracle::default()
            };
        }
        let state = self.state.get_or_insert_default();
        for ((topic, partition), next) in &sample.frontier {
            let partition = *partition;
            let kind = TOPICS.iter().zip(0u8..).find(|(name, _)| *name == topic);
            let (_, kind) = kind.with_context(|| format!("{topic} is none of the topics"))?;
            let applied = self.applied.entry((kind, partition)).or_insert(0);
            ensure!(
                *applied <= *next,
                "the frontier of {topic}/{partition} was {next} and {applied} in one run"
            );
            for offset in *applied..*next {
                let Some((key, value)) = records.record(kind, partition, offset) else {
                    continue;
                };
                if self.basis.misses(topic, partition, offset) {
                    continue;
                }
                let generation = self.basis.generation(topic, partition, offset);
                let key = key.to_string();
                let raw = Raw {
                    kind: Kind::from(kind),
                    position: Position::new(generation, Offset(offset), Partition(partition))?,
                    key: Some(key.as_bytes()),
                    value: value.as_deref(),
                };
                if let Ok(decoded) = self.decoder.decode_with_row(raw) {
                    state.apply(decoded);
                }
            }
            *applied = *next;
        }
        Ok(())
    }

    fn digests(&mut self, top: usize) -> Vec<Digest> {
        let state = self.state.get_or_insert_default();
        let mut digests = Vec::new();
        for (rows, result) in plain::results(state, top).iter().zip(definitions()) {
            let mut digest = Digest::default();
            rows.iter()
                .for_each(|row| digest.add(hash_of(&texts(row, &result.table))));
            digests.push(digest);
        }
        for (number, table) in (0u8..).zip(&CLEANED) {
            let mut digest = Digest::default();
            for (ind, position, row) in state.cleaned(Kind::from(number)) {
                let known = self.hashes.entry((number, ind.0)).or_insert((Position::NONE, 0));
                if known.0 != position {
                    let mut row = texts(row, table);
                    let provenance = [
                        position.generation().to_string(),
                        position.partition().to_string(),
                        position.offset().to_string(),
                    ];
                    row.extend(provenance.map(Some));
                    *known = (position, hash_of(&row));
                }
                digest.add(known.1);
            }
            digests.push(digest);
        }
        digests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(workload: &Workload, next: i64) -> Sample {
        let mut frontier = workload.frontier();
        frontier.insert(("pin".into(), 0), next);
        let mut sample = Sample {
            frontier,
            basis: Basis::default(),
            digests: Vec::new(),
        };
        let mut oracle = Oracle::default();
        oracle.advance(&sample, workload).unwrap();
        sample.digests = oracle.digests(10).into_iter().map(Some).collect();
        sample
    }

    fn samples(of: impl IntoIterator<Item = Sample>) -> Samples {
        let mut samples = Samples::default();
        of.into_iter().for_each(|sample| samples.offer(|| Ok(sample)).unwrap());
        samples
    }

    #[test]
    fn tables_of_one_record_more_or_less_are_found() {
        let mut workload = Workload::new(5, 1);
        workload.take(600);
        let whole = [sample(&workload, 150), sample(&workload, 30), sample(&workload, 149)];
        assert_eq!(samples(whole).demand(&workload, 10).unwrap(), 3);
        for false_by in [-1, 1] {
            // tables that answer for another frontier than the recorded one
            let mut off = sample(&workload, 100);
            *off.frontier.get_mut(&("pin".to_owned(), 0)).unwrap() += false_by;
            let error = samples([sample(&workload, 50), off]).demand(&workload, 10).unwrap_err();
            assert!(error.to_string().starts_with("I1: "), "{error}");
        }
    }

    #[test]
    fn a_gap_is_left_out_and_nothing_else() {
        let mut workload = Workload::new(6, 1);
        workload.take(600);
        let basis = Basis {
            gaps: vec![("pin".into(), 0, 20, 25)],
            generations: Vec::new(),
        };
        let mut holed = sample(&workload, 100);
        holed.basis = basis;
        samples([holed.clone()]).demand(&workload, 10).unwrap_err();
        for offset in 20..25 {
            workload.log.get_mut(&(0, 0)).unwrap()[offset].1 = Some(b"rejected".to_vec());
        }
        holed.digests = sample(&workload, 100).digests;
        samples([holed, sample(&workload, 130)]).demand(&workload, 10).unwrap();
    }

    #[test]
    fn a_run_of_any_length_is_sampled_evenly_in_bounded_memory() {
        let workload = Workload::new(7, 1);
        let mut samples = Samples::default();
        let mut read = 0;
        for next in 0..10_000 {
            let taken = || {
                read += 1;
                Ok(sample(&workload, next))
            };
            samples.offer(taken).unwrap();
        }
        assert_eq!(samples.kept.len(), KEPT);
        assert!(read < 10 * KEPT, "{read} snapshots were read");
        let early = samples
            .kept
            .iter()
            .filter(|sample| sample.frontier[&("pin".into(), 0)] < 5_000);
        let early = early.count();
        assert!((KEPT / 4..=KEPT * 3 / 4).contains(&early), "{early} of the first half");
    }
}
