//! The readers: one operator on every worker that turns objects and partitions into decoded events.
//!
//! A reader reads only what the coordinator assigns to it. Bytes come from the fetcher and the Kafka consumer, each
//! with threads of its own behind a bounded queue; the operator decodes them, emits events into the open epoch, and
//! closes the epoch when its input's frontier has passed it. What cannot be decoded is a reject, and counted.
//!
//! While history is replayed, cleaned rows and rejects go to the staging tables of the sink, so that history
//! never piles up in memory; when staging is slow the reader stops reading. In later epochs they travel with the
//! epoch to the coordinator, at most [`LIVE_BYTES`] a worker and epoch: beyond that the reader waits for the close.

use super::decode::Decode;
use super::protocol::{Command, Consume, Generations, Note, Pass, TopicPartition};
use super::{ProcessState, Staging};
use dataflows::{Event, Kind};
use ingest::coverage::RangeSet;
use ingest::kafka::{KafkaConfig, Polled, Range, Reader as KafkaReader, ReaderOptions};
use ingest::lake::{Class, FetchOptions, Fetched, Fetcher, Lake, Object, ObjectMetadata, Place};
use operators::Position;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};
use timely::scheduling::Activator;

/// Wide bytes a worker takes into one live epoch before it waits for the epoch's close.
const LIVE_BYTES: usize = 32 << 20;
/// Chunks or batches decoded before other operators get their turn.
const CHUNKS_A_TURN: usize = 4;
/// Rows gathered before they are offered for staging.
const STAGE_ROWS: usize = 2048;

/// What a reader needs to know of its process.
#[derive(Clone)]
pub struct ReaderContext {
    /// The lake, if there is one.
    pub lake: Option<Lake>,
    /// How objects are fetched.
    pub fetch: FetchOptions,
    /// Kafka, if there is one.
    pub kafka: Option<KafkaConfig>,
    /// The names of the topics.
    pub topics: [Option<String>; 3],
    /// Limits of a record.
    pub limits: dataflows::Limits,
    /// Where fetches run.
    pub runtime: tokio::runtime::Handle,
    /// The staging of this process, if the sink has one.
    pub staging: Option<Staging>,
    /// What is shared with the rest of the process.
    pub process: Arc<ProcessState>,
}

/// Reads what `commands` assign to this worker. Returns the decoded events, and notes to the coordinator.
pub fn read<'s>(
    scope: Scope<'s, u64>,
    commands: Stream<'s, u64, Vec<Command>>,
    context: ReaderContext,
) -> (Stream<'s, u64, Vec<Event>>, Stream<'s, u64, Vec<Note>>) {
    let mut builder = OperatorBuilder::new("Read".to_owned(), scope);
    let mut input = builder.new_input(commands, Pipeline);
    let (events, events_stream) = builder.new_output::<Vec<Event>>();
    let (notes, notes_stream) = builder.new_output::<Vec<Note>>();
    let mut events = OutputBuilder::<_, CapacityContainerBuilder<Vec<Event>>>::from(events);
    let mut notes = OutputBuilder::<_, CapacityContainerBuilder<Vec<Note>>>::from(notes);
    let info = builder.operator_info();
    let again = scope.activator_for(Rc::clone(&info.address));
    let activator = scope.worker().sync_activator_for(info.address.to_vec());
    context.process.on_stop(activator.clone());
    // a bounded number of wake-ups: the queue behind is bounded, and each item wakes once
    let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        // an error means that the worker is gone
        let _ = activator.activate();
    });
    let first_of_process = scope.index().is_multiple_of(context.process.threads);

    builder.build(move |mut capabilities| {
        let notes_capability = capabilities.pop().expect("an output for notes");
        let events_capability = capabilities.pop().expect("an output for events");
        let mut open = Some((events_capability, notes_capability));
        let mut reader = Reader::new(context, wake, again, first_of_process);
        move |frontiers| {
            let mut events = events.activate();
            let mut notes = notes.activate();
            input.for_each(|_, commands| {
                for command in commands.drain(..) {
                    reader.obey(command);
                }
            });
            let Some((events_at, notes_at)) = open.as_mut() else {
                return;
            };
            {
                let mut session = events.session(events_at);
                reader.turn(&mut |event| session.give(event));
            }
            let frontier = frontiers[0].frontier().first().copied();
            let closes = frontier.is_none_or(|frontier| frontier > *events_at.time());
            if closes {
                reader.close();
            }
            if !reader.notes.is_empty() {
                notes.session(notes_at).give_iterator(reader.notes.drain(..));
            }
            match frontier {
                None => {
                    reader.end();
                    open = None;
                }
                Some(frontier) if closes => advance(events_at, notes_at, frontier),
                Some(_) => {}
            }
        }
    });
    (events_stream, notes_stream)
}

fn advance(events: &mut Capability<u64>, notes: &mut Capability<u64>, epoch: u64) {
    events.downgrade(&epoch);
    notes.downgrade(&epoch);
}

/// An object that is being read.
struct Reading {
    id: u32,
    object: Object,
    metadata: Option<Box<ObjectMetadata>>,
    lines: u64,
    rejected: u64,
}

/// A Kafka partition that is being read.
struct Live {
    from: i64,
    next: i64,
    bound: Option<i64>,
    /// What the last mark said.
    marked: i64,
    /// Marks are written for stretches without an end alone: those up to a hole's end are history.
    marks: bool,
    /// Where records are, when only that is wanted.
    probe: Option<RangeSet>,
}

struct Reader {
    context: ReaderContext,
    wake: Arc<dyn Fn() + Send + Sync>,
    again: Activator,
    first_of_process: bool,
    pass: Option<Pass>,
    fetcher: Option<Fetcher>,
    kafka: Option<KafkaReader>,
    decode: Decode,
    reading: HashMap<u32, Reading>,
    live: BTreeMap<TopicPartition, Live>,
    generations: Generations,
    topic_generation: [u8; 3],
    notes: Vec<Note>,
    live_bytes: usize,
    noted_data: bool,
    /// The least timestamp of the open epoch's records.
    oldest: Option<i64>,
    noted_stop: bool,
    /// Whether rows go to staging: from a pass's beginning to the close of the epoch after its flush.
    hydrating: bool,
    flushing: bool,
    /// Everything has been staged: nothing more is read before the epoch has closed.
    paused: bool,
    broken: bool,
    staged: [u64; 4],
    flushed: Option<std::sync::mpsc::Receiver<Result<(), String>>>,
}

impl Reader {
    fn new(context: ReaderContext, wake: Arc<dyn Fn() + Send + Sync>, again: Activator, first: bool) -> Reader {
        Reader {
            decode: Decode::new(context.limits),
            context,
            wake,
            again,
            first_of_process: first,
            pass: None,
            fetcher: None,
            kafka: None,
            reading: HashMap::new(),
            live: BTreeMap::new(),
            generations: Generations::new(),
            topic_generation: [1; 3],
            notes: Vec::new(),
            live_bytes: 0,
            noted_data: false,
            oldest: None,
            noted_stop: false,
            hydrating: false,
            flushing: false,
            paused: false,
            broken: false,
            staged: [0; 4],
            flushed: None,
        }
    }

    fn pass_number(&self) -> u32 {
        self.pass.as_ref().map_or(0, |pass| pass.number)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Begin(pass) => self.begin(*pass),
            Command::Read(objects) => {
                let fetcher = self.fetcher.as_ref().expect("objects are assigned where a lake is");
                for (id, object) in objects {
                    fetcher.push(id, object.clone());
                    self.reading.insert(
                        id,
                        Reading {
                            id,
                            object,
                            metadata: None,
                            lines: 0,
                            rejected: 0,
                        },
                    );
                }
            }
            Command::Consume(ranges) => ranges.into_iter().for_each(|range| self.consume(range)),
            Command::FlushStaging => self.flushing = true,
            Command::Generation(topic, generation) => self.start_generation(topic, generation),
            Command::End(code, reason) => self.context.process.end(code, reason),
        }
    }

    fn begin(&mut self, pass: Pass) {
        // a repeated pass starts with empty hands: what the last one had in flight is read again
        self.reading.clear();
        self.live.clear();
        self.fetcher = self.context.lake.clone().map(|lake| {
            Fetcher::start(
                lake,
                self.context.runtime.clone(),
                self.context.fetch.clone(),
                Arc::clone(&self.wake),
            )
        });
        self.kafka = None;
        self.generations = pass.generations.clone();
        self.topic_generation = [1; 3];
        for (at, starts) in &self.generations {
            let newest = starts.iter().map(|(_, generation)| *generation).max().unwrap_or(1);
            let known = &mut self.topic_generation[at.topic as usize];
            *known = newest.max(*known);
        }
        self.decode.begin(pass.cleaned);
        self.staged = [0; 4];
        (self.hydrating, self.flushing, self.paused, self.broken) = (true, false, false, false);
        self.flushed = None;
        if let (Some(staging), Some(fence)) = (&self.context.staging, pass.fence) {
            staging.begin(pass.number, fence);
        }
        self.pass = Some(pass);
    }

    fn consume(&mut self, range: Consume) {
        let newest = self.topic_generation[range.at.topic as usize];
        if newest > 1 && !self.generations.contains_key(&range.at) {
            // a partition that was added while we run belongs to the generation that it began
            self.generations.insert(range.at, vec![(0, newest)]);
            self.notes.push(Note::Boundary {
                at: range.at,
                generation: newest,
                start: 0,
            });
        }
        let Some(name) = self.context.topics[range.at.topic as usize].clone() else {
            return;
        };
        let config = self.context.kafka.as_ref().expect("ranges are assigned where Kafka is");
        let kafka = match &mut self.kafka {
            Some(kafka) => kafka,
            kafka @ None => match KafkaReader::start(config, ReaderOptions::default(), Arc::clone(&self.wake)) {
                Ok(started) => kafka.insert(started),
                Err(error) => {
                    self.notes.push(Note::Broken(error.to_string()));
                    return;
                }
            },
        };
        let Consume {
            at,
            from,
            until,
            bound,
            probe,
        } = range;
        kafka.assign(Range {
            topic: at.topic,
            name,
            partition: at.partition,
            from,
            until,
        });
        let live = Live {
            from,
            next: from,
            bound: Some(bound),
            marked: -1,
            marks: until.is_none(),
            probe: probe.then(RangeSet::default),
        };
        self.live.insert(at, live);
        self.reached(at, from);
    }

    /// One turn of reading; `emit` takes the events of the open epoch.
    fn turn(&mut self, emit: &mut dyn FnMut(Event)) {
        if self.first_of_process && !self.noted_stop && self.context.process.stop.load(Ordering::Relaxed) {
            self.noted_stop = true;
            self.notes.push(Note::Stop);
        }
        if self.broken || self.paused || self.pass.is_none() {
            return;
        }
        if self.flushed.is_some() {
            // what were read now would be offered behind the flush, and counted as if it lay before it
            self.flush();
            return;
        }
        for _ in 0..CHUNKS_A_TURN {
            if !self.stage() {
                // staging is behind: nothing is read until it has taken what is waiting
                self.again.activate_after(Duration::from_millis(2));
                return;
            }
            if !self.hydrating && self.live_bytes > LIVE_BYTES {
                return;
            }
            if !self.read_chunk(emit) && !self.read_batch(emit) {
                self.flush();
                return;
            }
        }
        self.again.activate();
    }

    /// Offers the rows that are waiting; false while staging cannot take them.
    fn stage(&mut self) -> bool {
        if !self.hydrating || self.decode.waiting() < STAGE_ROWS {
            return true;
        }
        self.offer()
    }

    fn offer(&mut self) -> bool {
        let Some(pass) = &self.pass else { return true };
        let Some(staging) = self.context.staging.as_ref().filter(|_| pass.fence.is_some()) else {
            self.decode.forget_rows();
            return true;
        };
        let rows = self.decode.take_rows();
        if rows.is_empty() {
            return true;
        }
        let counted = rows.counted();
        match staging.offer(pass.number, rows) {
            Ok(()) => {
                self.staged
                    .iter_mut()
                    .zip(counted)
                    .for_each(|(staged, rows)| *staged += rows);
                true
            }
            Err(super::Offer::Full(rows)) => {
                self.decode.put_back(rows);
                false
            }
            Err(super::Offer::Lost(error)) => {
                self.notes.push(Note::StagingLost {
                    pass: pass.number,
                    error,
                });
                self.broken = true;
                false
            }
        }
    }

    /// When a flush is asked for: hands over the last rows, then reports when they have arrived.
    fn flush(&mut self) {
        if !self.flushing {
            return;
        }
        if self.flushed.is_none() && self.decode.waiting() > 0 && !self.offer() {
            self.again.activate_after(Duration::from_millis(2));
            return;
        }
        let pass = self.pass_number();
        let wanted = self.pass.as_ref().is_some_and(|pass| pass.fence.is_some());
        let Some(staging) = self.context.staging.as_ref().filter(|_| wanted) else {
            (self.flushing, self.paused) = (false, true);
            self.notes.push(Note::Staged { pass, rows: [0; 4] });
            return;
        };
        let flushed = self
            .flushed
            .get_or_insert_with(|| staging.flush(pass, Arc::clone(&self.wake)));
        match flushed.try_recv() {
            Ok(Ok(())) => {
                (self.flushing, self.flushed, self.paused) = (false, None, true);
                self.notes.push(Note::Staged {
                    pass,
                    rows: self.staged,
                });
            }
            Ok(Err(error)) => {
                (self.flushing, self.flushed, self.broken) = (false, None, true);
                self.notes.push(Note::StagingLost { pass, error });
            }
            Err(std::sync::mpsc::TryRecvError::Empty) => {}
            Err(std::sync::mpsc::TryRecvError::Disconnected) => {
                (self.flushing, self.flushed, self.broken) = (false, None, true);
                self.notes.push(Note::StagingLost {
                    pass,
                    error: "the staging task is gone".to_owned(),
                });
            }
        }
    }

    /// Decodes one chunk of an object; false when none is waiting.
    fn read_chunk(&mut self, emit: &mut dyn FnMut(Event)) -> bool {
        let Some(fetched) = self.fetcher.as_mut().and_then(|fetcher| fetcher.try_next()) else {
            return false;
        };
        let pass = self.pass.as_ref().expect("a pass has begun");
        match fetched {
            Fetched::Opened { id, metadata } => {
                if let Some(reading) = self.reading.get_mut(&id) {
                    reading.metadata = metadata;
                }
            }
            Fetched::Lines { id, bytes } => {
                if let Some(reading) = self.reading.get_mut(&id) {
                    let place = Placing::of(reading, pass, &self.generations, &self.context.topics);
                    let before = self.decode.rejected();
                    reading.lines += self.decode.lines(&place, reading.lines, &bytes, emit);
                    reading.rejected += self.decode.rejected() - before;
                }
                self.fetcher
                    .as_mut()
                    .expect("chunks come from a fetcher")
                    .recycle(bytes);
            }
            Fetched::Whole { id, bytes } => {
                if let Some(reading) = self.reading.get_mut(&id) {
                    let place = Placing::of(reading, pass, &self.generations, &self.context.topics);
                    let before = self.decode.rejected();
                    reading.lines += self.decode.whole(&place, &bytes, emit);
                    reading.rejected += self.decode.rejected() - before;
                }
                self.fetcher
                    .as_mut()
                    .expect("chunks come from a fetcher")
                    .recycle(bytes);
            }
            Fetched::TooLarge { id, prefix, .. } => {
                if let Some(reading) = self.reading.get_mut(&id) {
                    let ours = reading.metadata.as_ref().is_some_and(|metadata| metadata.is_ours());
                    let prefix = ingest::archive::kept_of_line(&prefix, ours);
                    let place = Placing::of(reading, pass, &self.generations, &self.context.topics);
                    self.decode.too_large(&place, reading.lines, prefix);
                    reading.lines += 1;
                    reading.rejected += 1;
                }
            }
            Fetched::Done { id, bytes, digest, .. } => {
                if let Some(reading) = self.reading.remove(&id) {
                    let Reading { lines, rejected, .. } = reading;
                    let covers = reading
                        .metadata
                        .and_then(|metadata| metadata.covers)
                        .map(|covers| (covers.start, covers.end));
                    self.notes.push(Note::Object {
                        pass: pass.number,
                        id,
                        lines,
                        bytes,
                        rejected,
                        covers,
                        digest,
                    });
                }
            }
            // an outage says nothing about the object: it must not be skipped
            Fetched::Failed { error, .. } if error.class() != Class::Damaged => {
                self.notes.push(Note::Broken(error.to_string()));
            }
            Fetched::Failed { id, error } => {
                if let Some(Reading { lines, .. }) = self.reading.remove(&id) {
                    let error = error.to_string();
                    self.notes.push(Note::Unreadable {
                        pass: pass.number,
                        id,
                        lines,
                        error,
                    });
                }
            }
        }
        true
    }

    /// Decodes one batch of Kafka; false when none is waiting.
    fn read_batch(&mut self, emit: &mut dyn FnMut(Event)) -> bool {
        let Some(polled) = self.kafka.as_mut().and_then(|kafka| kafka.try_next()) else {
            return false;
        };
        match polled {
            Polled::Batch(batch) => {
                let at = TopicPartition {
                    topic: batch.topic,
                    partition: batch.partition,
                };
                if let Some(probe) = self.live.get_mut(&at).and_then(|live| live.probe.as_mut()) {
                    let records = batch.records.iter().map(|record| record.offset);
                    records.for_each(|offset| probe.insert(offset..offset + 1));
                    self.reached(at, batch.next);
                    return true;
                }
                if !self.hydrating && !self.noted_data && !batch.records.is_empty() {
                    self.noted_data = true;
                    self.notes.push(Note::Data);
                }
                if let Some((oldest, _)) = batch.stamps.filter(|_| !self.hydrating) {
                    self.oldest = Some(self.oldest.map_or(oldest, |known| known.min(oldest)));
                }
                let pass = self.pass.as_ref().expect("a pass has begun");
                // in a live epoch every record is new to the sink
                let settled = if self.hydrating {
                    pass.settled.get(&at).copied().unwrap_or(0)
                } else {
                    0
                };
                let place = Placing {
                    kind: Kind::from_number(at.topic),
                    name: topic_name(&self.context.topics, at.topic),
                    at,
                    start: 0,
                    starts: self.generations.get(&at).map_or(&[], |starts| starts.as_slice()),
                    settled,
                    upto: i64::MAX,
                    deletes: false,
                    object: None,
                };
                self.decode.batch(&place, &batch, emit);
                if !self.hydrating {
                    self.live_bytes += batch.bytes.len();
                    self.decode.take_rows().into_notes(&mut self.notes);
                }
                self.reached(at, batch.next);
            }
            Polled::Reached { topic, partition, next } => self.reached(TopicPartition { topic, partition }, next),
            Polled::Failed(error) => {
                self.notes.push(Note::Broken(error.to_string()));
            }
        }
        true
    }

    /// Everything of the partition below `next` has been read.
    fn reached(&mut self, at: TopicPartition, next: i64) {
        let pass = self.pass_number();
        let Some(live) = self.live.get_mut(&at) else { return };
        live.next = live.next.max(next);
        if live.bound.is_some_and(|bound| live.next >= bound) {
            live.bound = None;
            self.notes.push(match live.probe.take() {
                Some(probe) => Note::Probed {
                    pass,
                    at,
                    records: probe.into(),
                },
                None => Note::Reached {
                    pass,
                    at,
                    from: live.from,
                    next: live.next,
                },
            });
            if !live.marks {
                self.live.remove(&at);
            }
        }
    }

    fn start_generation(&mut self, topic: u8, generation: u8) {
        self.topic_generation[topic as usize] = generation;
        for (at, live) in self.live.iter().filter(|(at, _)| at.topic == topic) {
            // the boundary is exactly what this reader has already placed in the older generation
            let starts = self.generations.entry(*at).or_insert_with(|| vec![(0, 1)]);
            starts.push((live.next, generation));
            self.notes.push(Note::Boundary {
                at: *at,
                generation,
                start: live.next,
            });
        }
    }

    /// Closes the open epoch: says how far every partition has come, and what was counted.
    fn close(&mut self) {
        for (at, live) in self
            .live
            .iter_mut()
            .filter(|(_, live)| live.marks && live.marked != live.next)
        {
            live.marked = live.next;
            self.notes.push(Note::Mark {
                at: *at,
                next: live.next,
            });
        }
        self.notes.extend(self.decode.take_counts());
        self.notes
            .extend(self.oldest.take().map(|oldest| Note::Stamped { oldest }));
        (self.live_bytes, self.noted_data) = (0, false);
        if std::mem::take(&mut self.paused) {
            self.hydrating = false;
        }
        self.again.activate();
    }

    fn end(&mut self) {
        (self.fetcher, self.kafka, self.pass) = (None, None, None);
    }
}

/// The name of a topic by its number.
pub fn topic_name(topics: &[Option<String>; 3], topic: u8) -> &str {
    topics
        .get(topic as usize)
        .and_then(|name| name.as_deref())
        .unwrap_or("unknown")
}

/// Where the records of one object or batch belong.
pub struct Placing<'a> {
    /// The kind, if the topic tells it.
    pub kind: Option<Kind>,
    /// The topic's name, or `unknown`.
    pub name: &'a str,
    /// Topic and partition; meaningless for a legacy object.
    pub at: TopicPartition,
    /// The first record's offset, or the object's number for a legacy object.
    pub start: i64,
    /// `(first offset, generation)` of the partition; empty: all are of generation 1.
    pub starts: &'a [(i64, u8)],
    /// Records below this offset are settled in the sink.
    pub settled: i64,
    /// Records at or past this offset are not wanted.
    pub upto: i64,
    /// Whether each line is a key to delete.
    pub deletes: bool,
    /// The object the records come from.
    pub object: Option<&'a str>,
}

impl<'a> Placing<'a> {
    fn of(
        reading: &'a Reading,
        pass: &'a Pass,
        generations: &'a Generations,
        topics: &'a [Option<String>; 3],
    ) -> Placing<'a> {
        let object = &reading.object;
        let topic = object.topic.unwrap_or(u8::MAX);
        let (log, partition, start) = match object.place {
            Place::Log { partition, start } => (true, partition, start),
            Place::Legacy => (false, 0, i64::from(reading.id)),
        };
        let at = TopicPartition { topic, partition };
        let legacy_settled = if pass.legacy_settled { i64::MAX } else { 0 };
        Placing {
            kind: object.topic.and_then(Kind::from_number),
            name: topic_name(topics, topic),
            at,
            start,
            starts: generations.get(&at).map_or(&[], |starts| starts.as_slice()),
            settled: if log {
                pass.settled.get(&at).copied().unwrap_or(0)
            } else {
                legacy_settled
            },
            upto: match &pass.upto {
                Some(bounds) if log => bounds.get(&at).copied().unwrap_or(0),
                _ => i64::MAX,
            },
            deletes: object.deletes,
            object: Some(&object.key),
        }
    }

    /// The generation of a record at `offset`.
    pub fn generation(&self, offset: i64) -> u8 {
        self.starts
            .iter()
            .rev()
            .find(|(start, _)| *start <= offset)
            .map_or(1, |(_, generation)| *generation)
    }

    /// The position of the record at `offset`.
    pub fn position(&self, offset: i64) -> Result<Position, operators::PositionError> {
        Position::new(self.generation(offset), offset, self.at.partition)
    }
}
