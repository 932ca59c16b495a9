//! Kafka and the lake, as models in memory: one topic.

use super::super::generations::Generations;
use super::super::growth::PartitionWatermarks;
use super::engine::Tables;
use ingest::kafka::{RecordId, Watermarks};
use ingest::{Offset, Partition, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;

/// A generator of numbers: splitmix64.
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % limit
    }

    /// Whether something of this per cent happens.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A partition of the one topic.
pub fn at(partition: usize) -> TopicPartition {
    TopicPartition {
        topic: 0,
        partition: Partition(partition as i32),
    }
}

/// A record: its number in the order of production stands for its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: u32,
    /// The order of production.
    pub number: u64,
    /// Whether it cannot be decoded.
    pub bad: bool,
}

/// What stands at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Record(Record),
    /// Of a transaction that is still open.
    Pending(Record),
    /// A marker, an aborted record, or one that compaction has removed.
    Nothing,
    /// Compaction has removed it; it was there for whoever read before.
    Compacted(Record),
}

#[derive(Clone, Debug, Default)]
struct PartitionLog {
    slots: Vec<Slot>,
    low: usize,
}

impl PartitionLog {
    fn stable(&self) -> usize {
        let open = self.slots.iter().position(|slot| matches!(slot, Slot::Pending(_)));
        open.unwrap_or(self.slots.len()).max(self.low)
    }
}

/// Who writes the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// Another archiver: an object says where it starts, and may have holes inside.
    Connect,
    /// Ours: a new object at each hole, and what each covers.
    Ours,
}

/// An object of the lake.
#[derive(Clone, Debug)]
pub struct LakeObject {
    pub partition: usize,
    pub start: Offset,
    pub lines: Vec<Record>,
    pub covers: Option<Range<Offset>>,
    /// One past its last record's offset, which nothing in the lake shows.
    end: Offset,
}

/// See the module's head.
pub struct World {
    writer: Writer,
    partitions: Vec<PartitionLog>,
    /// Counts how often the topic was created: records of another life have other hashes.
    life: u64,
    produced: u64,
    archived: Vec<Offset>,
    /// The lake's objects.
    pub objects: Vec<LakeObject>,
    /// The lake's boundaries.
    pub boundaries: Generations,
    /// Per growth, the high watermarks at the moment of growth: no boundary may lie below them.
    pub grown: BTreeMap<Partition, BTreeMap<Partition, Offset>>,
    /// Whether the topic was deleted, and perhaps created again: the model keeps no truth of its earlier life.
    pub remade: bool,
    /// Whether the topic is one that Kafka compacts.
    pub compacted: bool,
    /// Whether retention has removed anything.
    pub retained: bool,
    /// Whether the archiver has begun earlier again: objects with holes inside may hold the same record twice, under
    /// two offsets, and nothing in the lake shows it.
    pub overlaps: bool,
}

impl World {
    /// A topic of one partition without records, and an empty lake.
    pub fn new(writer: Writer, compacted: bool) -> World {
        World {
            writer,
            partitions: vec![PartitionLog::default()],
            life: 0,
            produced: 0,
            archived: vec![Offset::ZERO],
            objects: Vec::new(),
            boundaries: Generations::default(),
            grown: BTreeMap::new(),
            remade: false,
            compacted,
            retained: false,
            overlaps: false,
        }
    }

    fn record(&mut self, key: u32, bad: bool) -> Record {
        self.produced += 1;
        let number = self.produced;
        Record { key, number, bad }
    }

    fn of_key(&mut self, key: u32) -> Option<&mut PartitionLog> {
        let count = self.partitions.len();
        (count > 0).then(|| &mut self.partitions[key as usize % count])
    }

    fn append(&mut self, key: u32, slots: &[Slot]) {
        if let Some(partition) = self.of_key(key) {
            partition.slots.extend_from_slice(slots);
        }
    }

    pub fn produce(&mut self, key: u32, bad: bool) {
        let record = self.record(key, bad);
        self.append(key, &[Slot::Record(record)]);
    }

    pub fn transaction(&mut self, key: u32, commit: bool) {
        let record = self.record(key, false);
        let slot = if commit { Slot::Record(record) } else { Slot::Nothing };
        self.append(key, &[slot, Slot::Nothing]);
    }

    pub fn open(&mut self, key: u32) {
        let record = self.record(key, false);
        self.append(key, &[Slot::Pending(record)]);
    }

    pub fn end(&mut self, commit: bool) {
        for partition in &mut self.partitions {
            let mut ended = false;
            for slot in &mut partition.slots {
                if let Slot::Pending(record) = *slot {
                    *slot = if commit { Slot::Record(record) } else { Slot::Nothing };
                    ended = true;
                }
            }
            if ended {
                partition.slots.push(Slot::Nothing);
            }
        }
    }

    pub fn grow(&mut self, partitions: usize) {
        if self.partitions.is_empty() || self.partitions.len() + partitions > 6 {
            return;
        }
        for _ in 0..partitions {
            let highs = self
                .partitions
                .iter()
                .map(|partition| Offset(partition.slots.len() as i64));
            let highs = (0..).map(Partition).zip(highs).collect();
            self.grown.insert(Partition(self.partitions.len() as i32), highs);
            self.partitions.push(PartitionLog::default());
            self.archived.push(Offset::ZERO);
        }
    }

    pub fn delete(&mut self) {
        self.remade = true;
        self.partitions.clear();
    }

    pub fn create(&mut self, partitions: usize, records: usize) {
        if !self.partitions.is_empty() {
            return;
        }
        self.life += 1;
        self.partitions = vec![PartitionLog::default(); partitions];
        self.archived.resize(self.archived.len().max(partitions), Offset::ZERO);
        for key in 0..(partitions * records) as u32 {
            self.produce(key, false);
        }
    }

    pub fn compact(&mut self) {
        for partition in &mut self.partitions {
            let (low, stable) = (partition.low, partition.stable());
            let mut newer = std::collections::BTreeSet::new();
            for slot in partition.slots[low..stable].iter_mut().rev() {
                if let Slot::Record(record) = *slot
                    && !newer.insert(record.key)
                    && !record.bad
                {
                    *slot = Slot::Compacted(record);
                }
            }
        }
    }

    /// Removes all but the last records; whether one went that is in no object and that the tables have not read.
    pub fn retain(&mut self, records: usize, tables: &Tables) -> bool {
        let mut lost = false;
        for (number, partition) in self.partitions.iter_mut().enumerate() {
            let low = partition.stable().saturating_sub(records).max(partition.low);
            for offset in partition.low..low {
                self.retained = true;
                let archived = Offset(offset as i64) < self.archived.get(number).copied().unwrap_or(Offset::ZERO);
                lost |= !archived && matches!(partition.slots[offset], Slot::Record(_));
            }
            partition.low = low;
        }
        lost || tables.is_empty() && self.retained
    }

    /// Records of a partition between two offsets, as a reader of committed records gets them, and how far it gets.
    pub fn read(&self, partition: usize, from: Offset, until: Offset, most: usize) -> (Vec<(Offset, Record)>, Offset) {
        let Some(of) = self.partitions.get(partition) else {
            return (Vec::new(), from);
        };
        let mut records = Vec::new();
        let mut next = from.max(Offset(of.low as i64));
        let end = until.min(Offset(of.stable() as i64));
        while next < end && records.len() < most {
            if let Slot::Record(record) = of.slots[next.0 as usize] {
                records.push((next, record));
            }
            next = next.next();
        }
        (records, next)
    }

    /// What Kafka holds of each partition.
    pub fn watermarks(&self) -> PartitionWatermarks {
        let marks = |partition: &PartitionLog| Watermarks {
            low: Offset(partition.low as i64),
            stable: Offset(partition.stable() as i64),
            high: Offset(partition.slots.len() as i64),
        };
        (0..).map(at).zip(self.partitions.iter().map(marks)).collect()
    }

    /// What identifies a record.
    pub fn id(&self, offset: Offset, record: &Record) -> RecordId {
        RecordId {
            offset,
            timestamp: record.number as i64,
            hash: self.life << 32 | record.number,
        }
    }

    /// The record at exactly this offset.
    pub fn at_offset(&self, partition: usize, offset: Offset) -> Option<RecordId> {
        let (records, _) = self.read(partition, offset, offset.next(), 1);
        let (found, record) = records.first()?;
        (*found == offset).then(|| self.id(offset, record))
    }

    /// Every record that was ever there for a reader below an offset, whatever has removed it since, and whether that was
    /// compaction.
    pub fn truth(&self, partition: usize, below: Offset) -> Vec<(Offset, Record, bool)> {
        let Some(of) = self.partitions.get(partition) else {
            return Vec::new();
        };
        let record = |(offset, slot): (Offset, &Slot)| match slot {
            Slot::Record(record) if offset < below => Some((offset, *record, false)),
            Slot::Compacted(record) if offset < below => Some((offset, *record, true)),
            _ => None,
        };
        (0..).map(Offset).zip(&of.slots).filter_map(record).collect()
    }

    /// Writes up to so many records of each partition to the lake.
    pub fn archive(&mut self, most: usize) {
        for partition in 0..self.partitions.len() {
            let from = self.archived.get(partition).copied().unwrap_or(Offset::ZERO);
            let low = Offset(self.partitions[partition].low as i64);
            if from < low {
                // its offset is gone, and it begins where Kafka does
                self.archived[partition] = low;
                continue;
            }
            let (records, next) = self.read(partition, from, Offset::MAX, most);
            if records.is_empty() {
                continue;
            }
            match self.writer {
                Writer::Connect => self.objects.push(LakeObject {
                    partition,
                    start: records[0].0,
                    lines: records.iter().map(|(_, record)| *record).collect(),
                    covers: None,
                    end: records[records.len() - 1].0.next(),
                }),
                Writer::Ours => self.archive_runs(partition, from, next, &records),
            }
            self.archived[partition] = next;
        }
    }

    /// One object for each run of offsets; each covers what lies before the next one's start.
    fn archive_runs(&mut self, partition: usize, from: Offset, next: Offset, records: &[(Offset, Record)]) {
        let runs: Vec<&[(Offset, Record)]> = records.chunk_by(|one, other| one.0.next() == other.0).collect();
        for (number, run) in runs.iter().enumerate() {
            let begin = if number == 0 { from } else { run[0].0 };
            let end = runs.get(number + 1).map_or(next, |run| run[0].0);
            self.objects.push(LakeObject {
                partition,
                start: run[0].0,
                lines: run.iter().map(|(_, record)| *record).collect(),
                covers: Some(begin..end),
                end: run[run.len() - 1].0.next(),
            });
        }
    }

    /// Whether records of a partition lie behind the end that its objects' lines show: without Kafka nothing shows theirs,
    /// which is a limit of a lake that other archivers have written.
    pub fn has_open_end(&self) -> bool {
        let mut ends: BTreeMap<usize, (Offset, Offset)> = BTreeMap::new();
        for object in &self.objects {
            let (shown, end) = ends.entry(object.partition).or_default();
            *shown = object.start.plus(object.lines.len() as u64).max(*shown);
            *end = object.end.max(*end);
        }
        ends.values().any(|(shown, end)| shown < end)
    }

    pub fn rewind(&mut self, records: usize) {
        self.overlaps |= self.writer == Writer::Connect;
        for next in &mut self.archived {
            *next = Offset((next.0 - records as i64).max(0));
        }
    }
}
