//! A model of Kafka in memory: what a log may look like to a reader of committed records, for property tests that run
//! thousands of schedules a second.
//!
//! It depends on nothing but `std`, so that any crate's tests may include it by its path. The same seed gives the same
//! schedule on every machine. `tests/kafka/modelled.rs` plays such schedules on Apache Kafka and compares.
//!
//! Modelled: records and tombstones, transactions that commit, abort or stay open (the last stable offset stays below
//! the high watermark), markers, compaction (random holes, markers among them), retention up to the end, partitions that
//! are added (keys move), topics that are deleted and created again with another id. Not modelled: leaders, replicas and
//! time; an operation is done when it returns.

#![allow(dead_code, reason = "each test uses what it needs")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// SplitMix64: small, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// What a producer wrote. Timestamps are unique in a cluster, so that they tell records of two topics apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub key: u64,
    /// `None` is a tombstone.
    pub value: Option<u64>,
    pub timestamp: i64,
}

/// What stands at an offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    Record(Record),
    /// Of a transaction that is not ended.
    Open(u8, Record),
    Aborted(Record),
    Marker,
    /// Compaction has removed what stood here.
    Hole,
}

/// A partition; the place of a slot is its offset, retention only moves `low`.
#[derive(Debug, Clone, Default)]
pub struct Partition {
    pub low: i64,
    pub slots: Vec<Slot>,
}

/// A topic.
#[derive(Debug, Clone)]
pub struct Topic {
    /// No two topics have the same, of whatever name.
    pub id: u64,
    pub partitions: Vec<Partition>,
}

/// A cluster.
#[derive(Debug, Clone, Default)]
pub struct Kafka {
    pub topics: BTreeMap<String, Topic>,
    /// Partitions that open transactions have written to.
    pub transactions: BTreeMap<u8, BTreeSet<(String, usize)>>,
    clock: i64,
    ids: u64,
}

/// A position that a partition does not hold: below `low`, or above the high watermark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutOfRange(pub Range<i64>);

impl Partition {
    pub fn high(&self) -> i64 {
        self.slots.len() as i64
    }

    /// The last stable offset: where the first open transaction begins.
    pub fn stable(&self) -> i64 {
        let open = self.slots.iter().position(|slot| matches!(slot, Slot::Open(..)));
        open.map_or(self.high(), |at| (at as i64).max(self.low))
    }

    /// What a reader of committed records gets from here on, up to the last stable offset.
    pub fn read(&self, from: i64) -> Result<Vec<(i64, Record)>, OutOfRange> {
        if from < self.low || from > self.high() {
            return Err(OutOfRange(self.low..self.high()));
        }
        let offsets = from..self.stable();
        Ok(offsets.filter_map(|at| Some((at, self.record(at)?))).collect())
    }

    /// The committed record at exactly this offset.
    pub fn record(&self, at: i64) -> Option<Record> {
        match self.slots.get(usize::try_from(at).ok()?) {
            Some(Slot::Record(record)) if at >= self.low && at < self.stable() => Some(*record),
            _ => None,
        }
    }

    /// Offsets that compaction may remove: records with a later one of their key, and markers, both below the last
    /// stable offset; never what is last, which stands in the active segment.
    pub fn compactable(&self) -> Vec<i64> {
        let mut later = BTreeSet::new();
        let last = self.high() - 1;
        let mut found = Vec::new();
        for at in (self.low..self.stable()).rev() {
            match self.slots[at as usize] {
                Slot::Record(record) if !later.insert(record.key) && at < last => found.push(at),
                Slot::Marker | Slot::Aborted(_) if at < last => found.push(at),
                _ => {}
            }
        }
        found
    }
}

impl Kafka {
    /// Creates a topic; one of this name that exists is deleted first.
    pub fn create(&mut self, name: &str, partitions: usize) {
        self.delete(name);
        self.ids += 1;
        let topic = Topic {
            id: self.ids,
            partitions: vec![Partition::default(); partitions],
        };
        self.topics.insert(name.to_owned(), topic);
    }

    pub fn delete(&mut self, name: &str) {
        self.topics.remove(name);
        for written in self.transactions.values_mut() {
            written.retain(|(topic, _)| topic != name);
        }
    }

    /// Adds partitions up to this number.
    pub fn grow(&mut self, name: &str, partitions: usize) {
        if let Some(topic) = self.topics.get_mut(name) {
            let grown = partitions.max(topic.partitions.len());
            topic.partitions.resize_with(grown, Partition::default);
        }
    }

    pub fn partition(&self, name: &str, partition: usize) -> Option<&Partition> {
        self.topics.get(name)?.partitions.get(partition)
    }

    /// Low watermark, last stable offset, high watermark.
    pub fn watermarks(&self, name: &str, partition: usize) -> Option<(i64, i64, i64)> {
        let partition = self.partition(name, partition)?;
        Some((partition.low, partition.stable(), partition.high()))
    }

    /// Writes a record to the partition of its key, in a transaction or by itself. Returns partition and offset, `None`
    /// when there is no such topic.
    pub fn send(&mut self, name: &str, key: u64, value: Option<u64>, transaction: Option<u8>) -> Option<(usize, i64)> {
        let topic = self.topics.get_mut(name)?;
        let number = (key % topic.partitions.len() as u64) as usize;
        let partition = &mut topic.partitions[number];
        self.clock += 1;
        let timestamp = self.clock;
        let record = Record { key, value, timestamp };
        partition.slots.push(match transaction {
            Some(transaction) => {
                let written = self.transactions.entry(transaction).or_default();
                written.insert((name.to_owned(), number));
                Slot::Open(transaction, record)
            }
            None => Slot::Record(record),
        });
        Some((number, partition.high() - 1))
    }

    /// Ends a transaction: a marker is written to each partition that it wrote to.
    pub fn end(&mut self, transaction: u8, commit: bool) {
        for (name, number) in self.transactions.remove(&transaction).unwrap_or_default() {
            let topic = self.topics.get_mut(&name).expect("deleted topics are forgotten");
            let partition = &mut topic.partitions[number];
            for slot in &mut partition.slots {
                match *slot {
                    Slot::Open(of, record) if of == transaction => {
                        *slot = if commit {
                            Slot::Record(record)
                        } else {
                            Slot::Aborted(record)
                        };
                    }
                    _ => {}
                }
            }
            partition.slots.push(Slot::Marker);
        }
    }

    /// Removes some of what compaction may remove.
    pub fn compact(&mut self, name: &str, partition: usize, random: &mut Random) {
        if let Some(partition) = self.partition_mut(name, partition) {
            for at in partition.compactable() {
                if random.once_in(2) {
                    partition.slots[at as usize] = Slot::Hole;
                }
            }
        }
    }

    /// Moves the low watermark up to `low`, at most to the last stable offset.
    pub fn retain(&mut self, name: &str, partition: usize, low: i64) {
        if let Some(partition) = self.partition_mut(name, partition) {
            partition.low = low.clamp(partition.low, partition.stable());
        }
    }

    fn partition_mut(&mut self, name: &str, partition: usize) -> Option<&mut Partition> {
        self.topics.get_mut(name)?.partitions.get_mut(partition)
    }
}

/// One thing that happens to a cluster, so that a schedule can be printed, and played elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Topic, key, value, transaction.
    Send(String, u64, Option<u64>, Option<u8>),
    /// Transaction, whether it commits.
    End(u8, bool),
    /// Topic, partition, seed.
    Compact(String, usize, u64),
    /// Topic, partition, low watermark.
    Retain(String, usize, i64),
    /// Topic, number of partitions.
    Grow(String, usize),
    /// Topic, number of partitions; it may exist.
    Create(String, usize),
    Delete(String),
}

/// Which steps a schedule takes beside sending, each once in so many; 0 is never.
#[derive(Debug, Clone)]
pub struct Rates {
    pub transactions: u64,
    pub compact: u64,
    pub retain: u64,
    pub grow: u64,
    pub create: u64,
    pub delete: u64,
}

impl Step {
    /// A step that makes sense now, on one of these topics.
    pub fn choose(kafka: &Kafka, names: &[&str], rates: &Rates, random: &mut Random) -> Step {
        let name = names[random.below(names.len() as u64) as usize].to_owned();
        let Some(topic) = kafka.topics.get(&name) else {
            return Step::Create(name, 1 + random.below(3) as usize);
        };
        let mut due = |rate: u64| rate > 0 && random.once_in(rate);
        let (create, delete, grow) = (due(rates.create), due(rates.delete), due(rates.grow));
        let (retain, compact, transactional) = (due(rates.retain), due(rates.compact), due(rates.transactions));
        let count = topic.partitions.len();
        let partition = random.below(count as u64) as usize;
        if create {
            return Step::Create(name, 1 + random.below(3) as usize);
        } else if delete {
            return Step::Delete(name);
        } else if grow {
            return Step::Grow(name, count + 1 + random.below(2) as usize);
        } else if retain {
            let high = topic.partitions[partition].high();
            return Step::Retain(name, partition, random.below(high as u64 + 1) as i64);
        } else if compact {
            return Step::Compact(name, partition, random.number());
        }
        let transaction = transactional.then(|| random.below(3) as u8);
        match transaction {
            Some(open) if kafka.transactions.contains_key(&open) && random.once_in(2) => {
                Step::End(open, random.once_in(2))
            }
            _ => {
                let value = (!random.once_in(8)).then(|| random.number());
                Step::Send(name, random.below(12), value, transaction)
            }
        }
    }

    /// Does it.
    pub fn apply(&self, kafka: &mut Kafka) {
        match self {
            Step::Send(name, key, value, transaction) => _ = kafka.send(name, *key, *value, *transaction),
            Step::End(transaction, commit) => kafka.end(*transaction, *commit),
            Step::Compact(name, partition, seed) => kafka.compact(name, *partition, &mut Random(*seed)),
            Step::Retain(name, partition, low) => kafka.retain(name, *partition, *low),
            Step::Grow(name, partitions) => kafka.grow(name, *partitions),
            Step::Create(name, partitions) => kafka.create(name, *partitions),
            Step::Delete(name) => kafka.delete(name),
        }
    }
}
