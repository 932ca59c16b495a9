//! The engine of the model: the decisions under test, glued as the coordinator and the readers glue them, and the tables
//! as the sink keeps them.

use super::super::generations::{Generations, generation_at};
use super::super::growth::{Change, PartitionWatermarks, Seen};
use super::super::hand_over::{HandOver, Known, hand_over};
use super::super::holes::{self, Tail, Verdict};
use super::super::identity::{Place, TopicCheck, compare_last_record};
use super::super::persisted::Starts;
use super::super::sparse::{self, SparseObject, SparseObjects};
use super::world::{LakeObject, Record, World, at};
use crate::answer::{Answer, OffsetRange};
use crate::archived::ArchivedRange;
use crate::epoch::Epoch;
use crate::protocol::{Consume, Purpose};
use crate::reader::{Passed, ReadRange};
use crate::recorded::Recorded;
use crate::report::Totals;
use crate::target::{Seldom, State};
use crate::topics::Topics;
use ingest::coverage::{Counted, Coverage, RangeSet};
use ingest::kafka::{Sample, Sampled};
use ingest::{Offset, Partition, TopicPartition};
use operators::Position;
use sinks::Progress;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

const DEFINITIONS: u64 = 7;

fn topics() -> Topics {
    Topics::new([Some("pin".to_owned()), None, None])
}

/// Why the engine stopped by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Gap,
    Order,
    Remade,
    Shorter,
    Generations,
}

/// The tables: what a commit has left.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    progress: Progress,
    /// The newest record of each key.
    cleaned: BTreeMap<u32, (Position, u64)>,
    /// What results are made of.
    results: BTreeMap<u32, u64>,
    /// Rejected records by partition and offset.
    rejects: BTreeMap<(Partition, Offset), u64>,
}

impl Tables {
    /// Whether nothing has been committed.
    pub fn is_empty(&self) -> bool {
        self.progress.definitions.is_none()
    }

    /// The sum of the frontier's offsets.
    pub fn frontier_sum(&self) -> i64 {
        self.progress.partitions.values().map(|partition| partition.next).sum()
    }

    /// Compares what is committed with the truth; what does not hold.
    pub fn check(&self, world: &World) -> Result<(), String> {
        if world.remade {
            // of the topic's earlier life the model keeps no truth
            return Ok(());
        }
        let mut truth: BTreeMap<u32, Vec<(Position, Record, bool)>> = BTreeMap::new();
        let mut bad = BTreeSet::new();
        let recorded = Recorded::of(&self.progress, &topics());
        for ((_, partition), reach) in &self.progress.partitions {
            let starts = recorded.generations.of(at(*partition as usize));
            // what lies before the first offset was gone before anything looked
            let truth_of = world.truth(*partition as usize, Offset(reach.next)).into_iter();
            for (offset, record, compacted) in truth_of.filter(|(offset, ..)| *offset >= Offset(reach.first)) {
                if record.bad {
                    bad.insert(record.number);
                    continue;
                }
                let position =
                    Position::new(generation_at(starts, offset), offset, Partition(*partition)).expect("it is small");
                truth.entry(record.key).or_default().push((position, record, compacted));
            }
        }
        for (key, mut records) in truth {
            records.sort_by_key(|(position, ..)| *position);
            let (_, newest, compacted) = *records.last().expect("it has one");
            let newest = newest.number;
            let in_order = records.iter().map(|(_, record, _)| record.number).max() == Some(newest);
            // where a key moved between two looks at Kafka its order is not known, and what compaction has removed may
            // never have been read: then only the tables have to agree
            let found = self.results.get(&key).copied();
            if in_order && !compacted && found != Some(newest) {
                return Err(format!("key {key} says {found:?}, and its newest record is {newest}"));
            }
        }
        let cleaned: BTreeMap<u32, u64> = self.cleaned.iter().map(|(key, (_, number))| (*key, *number)).collect();
        if !self.is_empty() && cleaned != self.results {
            return Err(format!(
                "cleaned rows {cleaned:?} and results {:?} differ",
                self.results
            ));
        }
        let rejected: Vec<u64> = self.rejects.values().copied().collect();
        let once: BTreeSet<u64> = rejected.iter().copied().collect();
        // of an object with holes inside that retention has reached nothing shows which records Kafka still has
        if !world.retained && !world.overlaps && once.len() != rejected.len() {
            return Err(format!("a record is rejected under two offsets: {:?}", self.rejects));
        }
        if !self.is_empty() && !world.retained && once != bad {
            return Err(format!("rejected are {once:?}, bad are {bad:?}"));
        }
        for (added, highs) in &world.grown {
            for (partition, high) in highs {
                let starts = recorded.generations.of(at(partition.0 as usize));
                let own = recorded.generations.of(at(added.0 as usize)).first();
                let Some(own) = own else { continue };
                let boundary = starts.iter().find(|start| start.generation == own.generation);
                if boundary.is_some_and(|start| start.offset < *high) {
                    return Err(format!(
                        "generation {} begins at {boundary:?} in partition {partition}, which ended at {high}",
                        own.generation
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Rows on their way to the tables.
#[derive(Default)]
struct Rows {
    cleaned: Vec<(u32, Position, u64)>,
    /// Rejects: partition, offset, record, whether from the lake.
    rejects: Vec<(Partition, Offset, u64, bool)>,
}

/// A running engine.
pub struct Engine {
    recorded: Recorded,
    answer: Answer,
    /// What the operators hold: the newest record of each key.
    latest: BTreeMap<u32, (Position, u64)>,
    read_ranges: BTreeMap<TopicPartition, ReadRange>,
    seen: Seen,
    rows: Rows,
    /// How often history was replayed until it could be committed.
    pub passes: u32,
    /// Objects with holes inside of which it is known where their lines stand, by number.
    sparse: BTreeMap<usize, SparseObject>,
    /// Those of them that were placed otherwise when the tables were written last.
    placed_anew: BTreeSet<usize>,
    /// Those that have turned out to be such in this pass.
    found: BTreeMap<usize, SparseObject>,
}

/// What a pass has read of the lake.
struct LakeRead {
    counted: Vec<Counted>,
    coverage: Coverage,
}

impl Engine {
    /// A start up to the commit of epoch 0; none when it is a backfill, or crashes before it commits.
    pub fn start(world: &mut World, tables: &mut Tables, kafka: bool, crash: bool) -> Result<Option<Engine>, Stop> {
        let recorded = Recorded::of(&tables.progress, &topics());
        let mut seen = Seen::recorded(recorded.counts.clone());
        let mut grown = recorded.generations.clone();
        let watermarks = if kafka {
            world.watermarks()
        } else {
            PartitionWatermarks::new()
        };
        if kafka {
            for change in seen.look(watermarks.clone()) {
                match change {
                    Change::Grown { added, mut boundaries } => {
                        for (partition, boundary) in &mut boundaries {
                            let reach = recorded.partitions.get(&at(partition.0 as usize));
                            *boundary = reach.map_or(*boundary, |reach| reach.next.max(*boundary));
                        }
                        begin(&mut grown, added, &boundaries)?;
                    }
                    Change::Fewer { .. } => return Err(Stop::Remade),
                    _ => {}
                }
            }
        }
        let (generations, lacking) = world.boundaries.merged(&grown).map_err(|_| Stop::Generations)?;
        if lacking {
            world.boundaries = generations.clone();
            if crash {
                return Ok(None);
            }
        }
        let mut engine = Engine {
            answer: Answer {
                natural: recorded
                    .partitions
                    .keys()
                    .map(|at| (*at, recorded.empty(*at)))
                    .collect(),
                counts: seen.counts().clone(),
                generations,
                ..Answer::default()
            },
            recorded,
            latest: BTreeMap::new(),
            read_ranges: BTreeMap::new(),
            seen,
            rows: Rows::default(),
            passes: 0,
            sparse: BTreeMap::new(),
            placed_anew: BTreeSet::new(),
            found: BTreeMap::new(),
        };
        engine.find_sparse(world, kafka && !world.compacted);
        let known = engine.recorded.partitions.clone();
        identify(world, &watermarks, known.iter())?;
        let mut full = engine.recorded.full_reconcile(DEFINITIONS, &engine.answer.generations);
        loop {
            engine.passes += 1;
            assert!(engine.passes <= 3, "history is replayed without end");
            let (plans, replaced) = engine.replay(world, &watermarks, kafka, full)?;
            if !full
                && engine
                    .recorded
                    .coverage_differs(&engine.answer, &archived(world, &engine.sparse))
            {
                full = true;
                continue;
            }
            if !kafka {
                let back = |(at, reach): (&TopicPartition, &OffsetRange)| {
                    engine.answer.frontier.get(at).map_or(Offset::ZERO, |now| now.next) < reach.next
                };
                if engine.recorded.partitions.iter().any(back) {
                    return Ok(None);
                }
            }
            engine.settle(tables, full, &plans, &replaced);
            break;
        }
        Ok(kafka.then_some(engine))
    }

    /// Where the lines of objects stand, by what the tables have recorded. An object's number is its version.
    fn find_sparse(&mut self, world: &World, provable: bool) {
        let starts = starts(world);
        for (number, object) in world.objects.iter().enumerate() {
            let (at, version) = (at(object.partition), Some(number as u64));
            let known = self.recorded.sparse_object(at, object.start);
            let next = self
                .recorded
                .partitions
                .get(&at)
                .map_or(Offset::ZERO, |reach| reach.next);
            let reach = sparse::reach(object.start, starts.follower(at, object.start), next);
            let found = match (known, reach) {
                (Some(known), _) if known.version == version => Some(known.clone()),
                (_, Some(reach)) if provable => {
                    let empty = self.recorded.empty(at);
                    SparseObject::prove(reach, object.lines.len() as u64, version, &empty)
                }
                _ => None,
            };
            let is_known = known.is_some();
            if let Some(found) = found.filter(|_| object.covers.is_none()) {
                self.sparse.insert(number, found);
                if !is_known {
                    self.placed_anew.insert(number);
                }
            }
        }
    }

    /// One pass over history and Kafka up to its ends.
    #[allow(clippy::type_complexity)]
    fn replay(
        &mut self,
        world: &World,
        watermarks: &PartitionWatermarks,
        kafka: bool,
        full: bool,
    ) -> Result<(BTreeMap<TopicPartition, HandOver>, Vec<(TopicPartition, Range<Offset>)>), Stop> {
        self.rows = Rows::default();
        self.placed_anew.extend(self.found.keys());
        self.sparse.append(&mut self.found);
        self.latest.clear();
        self.answer.frontier.clear();
        self.answer.empty.clear();
        let persisted = if full {
            BTreeMap::new()
        } else {
            self.recorded.persisted()
        };
        let starts = starts(world);
        let mut replaced = Vec::new();
        let mut counted: BTreeMap<usize, Vec<Counted>> = BTreeMap::new();
        for (number, object) in world.objects.iter().enumerate() {
            let at = at(object.partition);
            let below = persisted.get(&at).copied().unwrap_or(Offset::ZERO);
            let all = starts.is_persisted(at, object.start, below) && !self.placed_anew.contains(&number);
            let read = Counted {
                topic: 0,
                partition: at.partition,
                start: object.start,
                lines: object.lines.len() as u64,
                covers: object.covers.clone(),
                object: number as u32,
            };
            let misclassified = all && starts.was_misclassified(&read, below);
            let persisted = match (&object.covers, all && !misclassified) {
                (Some(_), _) => below,
                (None, true) => Offset::MAX,
                (None, false) => Offset::ZERO,
            };
            if object.covers.is_none() && object.start < below && persisted == Offset::ZERO {
                replaced.push((at, starts.reach(&read)));
            }
            let holes = self.sparse.get(&number).map(|object| object.holes.clone());
            self.take_object(object, &holes.unwrap_or_default(), persisted);
            counted.entry(object.partition).or_default().push(read);
        }
        let mut plans = BTreeMap::new();
        let partitions: BTreeSet<TopicPartition> = counted
            .keys()
            .map(|partition| at(*partition))
            .chain(watermarks.keys().copied())
            .chain(self.recorded.partitions.keys().copied())
            .collect();
        for at in partitions {
            let counted = counted.remove(&(at.partition.0 as usize)).unwrap_or_default();
            let coverage = ingest::coverage::coverage(&counted, &["pin"]);
            let mut coverage = coverage.into_values().next().unwrap_or_default();
            for object in &counted {
                if let Some(sparse) = self.sparse.get(&(object.object as usize)) {
                    coverage.ranges.insert(object.start..sparse.end);
                }
            }
            self.answer.lake.insert(at, coverage.ranges.clone());
            let read = LakeRead { counted, coverage };
            let (short, tail) = self.prove(world, watermarks, at, &read);
            let added = self
                .recorded
                .counts
                .get(&0)
                .is_some_and(|count| at.partition.0 >= *count);
            let recorded = self.recorded.partitions.get(&at).map(|reach| reach.first..reach.next);
            let natural = self.answer.natural.get(&at).into_iter().flat_map(RangeSet::iter);
            let covered: RangeSet = read.coverage.ranges.iter().chain(natural).chain(tail.clone()).collect();
            let conflicts = read
                .coverage
                .conflicts
                .iter()
                .map(|conflict| conflict.from..conflict.to);
            let plan = hand_over(&Known {
                covered: covered.iter().collect(),
                unreadable: None,
                conflicts: conflicts.chain(short).chain(tail).collect(),
                kafka: watermarks.get(&at).map(|marks| marks.low..marks.stable.max(marks.low)),
                recorded: recorded.or_else(|| added.then_some(Offset::ZERO..Offset::ZERO)),
                live: kafka,
                upto: None,
            });
            plans.insert(at, plan.map_err(|_| Stop::Shorter)?);
        }
        if plans.values().any(|plan| !plan.conflicts.is_empty()) {
            return Err(Stop::Order);
        }
        if plans.values().any(|plan| !plan.gaps.is_empty()) {
            return Err(Stop::Gap);
        }
        for (at, plan) in &plans {
            for read_range in &plan.read_ranges {
                let purpose = if read_range.again {
                    Purpose::TakeAgain
                } else {
                    Purpose::Take
                };
                let consume = Consume {
                    at: *at,
                    from: read_range.from,
                    until: read_range.until,
                    bound: read_range.bound,
                    purpose,
                    after: None,
                };
                let below = match purpose {
                    Purpose::Take => persisted.get(at).copied().unwrap_or(Offset::ZERO),
                    _ => Offset::ZERO,
                };
                let mut reading = ReadRange::new(&consume);
                self.take_kafka(world, *at, &mut reading, read_range.bound, usize::MAX, below);
                if let Some(Passed::Reached(mark)) = reading.passed() {
                    self.answer.advance(*at, &mark);
                    self.answer.found_empty(*at, &mark);
                }
                if reading.is_endless() {
                    self.read_ranges.insert(*at, reading);
                }
            }
            let reach = self.answer.frontier.entry(*at).or_default();
            reach.first = plan.first;
            reach.next = reach.next.max(plan.next);
            let before = reach.next.previous();
            if let Some(id) = world.at_offset(at.partition.0 as usize, before).filter(|_| kafka) {
                reach.last = Some(id);
            }
        }
        self.answer.write_holes();
        Ok((plans, replaced))
    }

    /// Proves holes; what has to be read from Kafka again: objects that lack records, and the last one with holes inside.
    fn prove(
        &mut self,
        world: &World,
        watermarks: &PartitionWatermarks,
        at: TopicPartition,
        read: &LakeRead,
    ) -> (Vec<Range<Offset>>, Option<Range<Offset>>) {
        let natural = self.answer.natural.entry(at).or_default();
        let open = read.coverage.inexact.iter().chain(&read.coverage.unproved);
        let open = open.filter(|object| !self.sparse.contains_key(&(object.object as usize)));
        let open: RangeSet = open.map(|object| object.from..object.to).collect();
        *natural = natural.without(&read.coverage.ranges.without(&open));
        let Some(marks) = watermarks.get(&at) else {
            return (Vec::new(), None);
        };
        let span = marks.low..marks.stable;
        let probe = |read_range: Range<Offset>, arrived: &mut RangeSet| {
            let (records, _) = world.read(at.partition.0 as usize, read_range.start, read_range.end, usize::MAX);
            records
                .iter()
                .for_each(|(offset, _)| arrived.insert(*offset..offset.next()));
        };
        let lines = |id: u32| {
            let object = read.counted.iter().find(|object| object.object == id);
            object.map_or(0, |object| object.lines)
        };
        let suspects = holes::suspects(&read.coverage, natural, &span, Offset::MAX, lines);
        let mut arrived = RangeSet::default();
        for read_range in holes::read_ranges(&suspects) {
            probe(read_range, &mut arrived);
        }
        let mut short: Vec<Range<Offset>> = Vec::new();
        for suspect in suspects {
            match suspect.judge(&arrived, world.compacted) {
                Verdict::Natural => holes::keep(natural, suspect.hole),
                Verdict::Sparse(before, mut object) => {
                    short.push(suspect.read_range());
                    object.version = Some(u64::from(before.object));
                    self.found.insert(before.object as usize, object);
                }
                Verdict::Doubtful => short.push(suspect.read_range()),
                Verdict::Lacking => {}
            }
        }
        let mut objects = SparseObjects::default();
        for (number, object) in self.sparse.iter().chain(&self.found) {
            if world.objects[*number].partition == at.partition.0 as usize {
                objects.insert(world.objects[*number].start, object.clone());
            }
        }
        self.answer.sparse.insert(at, objects);
        let last = Tail::last(&read.counted);
        let tail = last.and_then(|last| Tail::of(last, &read.coverage));
        let tail = tail.filter(|tail| span.contains(&tail.start)).and_then(|tail| {
            let (mut arrived, mut seen) = (RangeSet::default(), tail.start);
            while let Some(read_range) = tail.next_stretch(&arrived, seen, span.end) {
                seen = read_range.end;
                probe(read_range, &mut arrived);
            }
            tail.reach(&arrived, seen)
        });
        (short, tail)
    }

    fn take_object(&mut self, object: &LakeObject, holes: &RangeSet, persisted: Offset) {
        for (line, record) in (0..).zip(&object.lines) {
            let offset = holes.nth_missing(object.start, line);
            self.take(
                Partition(object.partition as i32),
                offset,
                record,
                offset >= persisted,
                true,
            );
        }
    }

    fn take_kafka(
        &mut self,
        world: &World,
        at: TopicPartition,
        read_range: &mut ReadRange,
        until: Offset,
        most: usize,
        persisted: Offset,
    ) {
        let partition = at.partition.0 as usize;
        let (records, next) = world.read(partition, read_range.next(), until, most);
        let last = records.last().map(|(offset, record)| world.id(*offset, record));
        read_range.arrived(records.iter().map(|(offset, _)| *offset), last);
        read_range.pass(next);
        for (offset, record) in &records {
            self.take(at.partition, *offset, record, *offset >= persisted, false);
        }
    }

    fn take(&mut self, partition: Partition, offset: Offset, record: &Record, wanted: bool, lake: bool) {
        if record.bad {
            if wanted {
                self.rows.rejects.push((partition, offset, record.number, lake));
            }
            return;
        }
        let starts = self.answer.generations.of(at(partition.0 as usize));
        let position = Position::new(generation_at(starts, offset), offset, partition).expect("it is small");
        let newest = self.latest.entry(record.key).or_insert((position, record.number));
        if *newest < (position, record.number) {
            *newest = (position, record.number);
        }
        if wanted {
            self.rows.cleaned.push((record.key, position, record.number));
        }
    }

    /// The commit that ends a replay, as the sink does it.
    fn settle(
        &mut self,
        tables: &mut Tables,
        full: bool,
        plans: &BTreeMap<TopicPartition, HandOver>,
        replaced: &[(TopicPartition, Range<Offset>)],
    ) {
        let of = |ranges: &[(TopicPartition, Range<Offset>)], partition: Partition, offset: Offset| {
            let holds =
                |(at, range): &(TopicPartition, Range<Offset>)| at.partition == partition && range.contains(&offset);
            ranges.iter().any(holds)
        };
        let again: Vec<(TopicPartition, Range<Offset>)> = plans
            .iter()
            .flat_map(|(at, plan)| plan.read_ranges.iter().map(|read_range| (*at, read_range)))
            .filter(|(_, read_range)| read_range.again)
            .map(|(at, read_range)| (at, read_range.from..read_range.bound))
            .collect();
        self.rows
            .rejects
            .retain(|(partition, offset, _, lake)| !(*lake && of(&again, *partition, *offset)));
        let staged: BTreeSet<(Partition, Offset)> =
            self.rows.rejects.iter().map(|reject| (reject.0, reject.1)).collect();
        if full {
            tables.cleaned.clear();
            tables.rejects.clear();
        } else {
            tables.rejects.retain(|(partition, offset), _| {
                staged.contains(&(*partition, *offset)) || !of(replaced, *partition, *offset)
            })
        }
        self.write(tables);
    }

    /// Commits what was read since the last commit.
    pub fn commit(&mut self, tables: &mut Tables) {
        for (at, read_range) in &mut self.read_ranges {
            if let Some(mark) = read_range.mark() {
                self.answer.advance(*at, &mark);
            }
        }
        self.answer.write_holes();
        self.write(tables);
    }

    fn write(&mut self, tables: &mut Tables) {
        let rows = std::mem::take(&mut self.rows);
        for (key, position, number) in rows.cleaned {
            let row = tables.cleaned.entry(key).or_insert((position, number));
            if row.0 <= position {
                *row = (position, number);
            }
        }
        for (partition, offset, number, _) in rows.rejects {
            tables.rejects.entry((partition, offset)).or_insert(number);
        }
        tables.results = self.latest.iter().map(|(key, (_, number))| (*key, *number)).collect();
        let state = State {
            topics: &topics(),
            answer: &self.answer,
            totals: &Totals::default(),
        };
        let before = std::mem::take(&mut tables.progress);
        let seldom = &mut Seldom::default();
        let mut progress = state.progress(Epoch::default(), true, &serde_json::Value::Null, "model", seldom);
        progress.definitions = Some(DEFINITIONS);
        for (key, earlier) in before.partitions {
            let now = progress.partitions.entry(key).or_insert(earlier.clone());
            assert!(now.next >= earlier.next, "a frontier moved back");
        }
        tables.progress = progress;
    }

    /// Reads up to so many records of each partition.
    pub fn read(&mut self, world: &World, most: usize) -> Result<(), Stop> {
        let watermarks = world.watermarks();
        let passed = |(at, read_range): (&TopicPartition, &ReadRange)| {
            watermarks.get(at).is_some_and(|marks| read_range.next() < marks.low)
        };
        // the broker does not hold the offset any more
        if self.read_ranges.iter().any(passed) {
            return Err(Stop::Gap);
        }
        let mut read_ranges = std::mem::take(&mut self.read_ranges);
        for (at, read_range) in &mut read_ranges {
            self.take_kafka(world, *at, read_range, Offset::MAX, most, Offset::ZERO);
        }
        self.read_ranges = read_ranges;
        Ok(())
    }

    /// Looks at Kafka, and deals with what has changed.
    pub fn look(&mut self, world: &mut World) -> Result<(), Stop> {
        let watermarks = world.watermarks();
        for change in self.seen.look(watermarks.clone()) {
            match change {
                Change::Grown { added, mut boundaries } => {
                    for (partition, boundary) in &mut boundaries {
                        let read_range = self.read_ranges.get(&at(partition.0 as usize));
                        *boundary = read_range.map_or(*boundary, |read_range| read_range.next().max(*boundary));
                    }
                    let mut grown = self.answer.generations.clone();
                    begin(&mut grown, added, &boundaries)?;
                    let (persisted, lacking) = world.boundaries.merged(&grown).map_err(|_| Stop::Generations)?;
                    if lacking {
                        world.boundaries = persisted.clone();
                    }
                    self.answer.generations = persisted;
                    let count = self.answer.counts.entry(0).or_default();
                    *count = (added.partition.0 + 1).max(*count);
                    self.answer.frontier.entry(added).or_default();
                }
                Change::Appeared { .. } | Change::Shorter { .. } => {
                    let known = self.answer.frontier.clone();
                    identify(world, &watermarks, known.iter())?;
                }
                Change::Fewer { .. } => return Err(Stop::Remade),
                Change::Vanished { .. } => {}
            }
        }
        for (at, marks) in &watermarks {
            if self.read_ranges.contains_key(at) {
                continue;
            }
            let from = self.answer.frontier.get(at).map_or(marks.low, |reach| reach.next);
            if from < marks.low {
                return Err(Stop::Gap);
            }
            let consume = Consume {
                at: *at,
                from,
                until: None,
                bound: from,
                purpose: Purpose::Take,
                after: None,
            };
            self.read_ranges.insert(*at, ReadRange::new(&consume));
        }
        Ok(())
    }
}

fn starts(world: &World) -> Starts {
    let objects = world.objects.iter();
    objects.map(|object| (at(object.partition), object.start)).collect()
}

fn archived(world: &World, sparse: &BTreeMap<usize, SparseObject>) -> Vec<ArchivedRange> {
    let starts = starts(world);
    let archived = |(number, object): (usize, &LakeObject)| {
        let counted = Counted {
            topic: 0,
            partition: Partition(object.partition as i32),
            start: object.start,
            lines: object.lines.len() as u64,
            covers: object.covers.clone(),
            object: number as u32,
        };
        ArchivedRange::of(&counted, &starts, sparse.get(&number))
    };
    world.objects.iter().enumerate().map(archived).collect()
}

fn begin(
    generations: &mut Generations,
    added: TopicPartition,
    boundaries: &BTreeMap<Partition, Offset>,
) -> Result<(), Stop> {
    if !generations.knows(added) {
        generations.begin(added, boundaries).map_err(|_| Stop::Generations)?;
    }
    Ok(())
}

/// Compares what was read with what Kafka holds.
fn identify<'a>(
    world: &World,
    watermarks: &PartitionWatermarks,
    known: impl Iterator<Item = (&'a TopicPartition, &'a OffsetRange)>,
) -> Result<(), Stop> {
    if watermarks.is_empty() {
        return Ok(());
    }
    for (at, reach) in known {
        let Some(marks) = watermarks.get(at) else {
            match reach.next {
                Offset::ZERO => continue,
                _ => return Err(Stop::Remade),
            }
        };
        let place = Place {
            next: reach.next,
            last: reach.last,
        };
        let found = reach
            .last
            .and_then(|last| world.at_offset(at.partition.0 as usize, last.offset));
        // a record is compared by its identity, which the model gives without its bytes
        let verdict = match (found, place.last) {
            (Some(found), Some(last)) if found == last => compare_last_record(place, *marks, None),
            (Some(found), Some(last)) if marks.high >= place.next => {
                debug_assert_ne!(found, last);
                let other = Sample {
                    key: None,
                    value: None,
                    timestamp: -1,
                    headers: Vec::new(),
                };
                compare_last_record(place, *marks, Some(&Sampled::Record(other)))
            }
            _ => compare_last_record(place, *marks, None),
        };
        match verdict {
            TopicCheck::Same | TopicCheck::Unproved => {}
            TopicCheck::Shorter { .. } => return Err(Stop::Shorter),
            TopicCheck::OtherRecord { .. } => return Err(Stop::Remade),
        }
    }
    Ok(())
}
