//! The readers: one operator on every worker that turns objects and partitions into decoded events.
//!
//! A reader reads only what the coordinator assigns to it. Bytes come from the fetcher and the Kafka consumer, each
//! with threads of its own behind a bounded queue; the operator decodes them, emits events into the open epoch, and
//! closes the epoch when its input's frontier has passed it. What cannot be decoded is a reject, and counted.
//!
//! While history is replayed, cleaned rows and rejects go to the staging tables of the sink, so that history
//! never piles up in memory; when staging is slow the reader stops reading. In later epochs they travel with the
//! epoch to the coordinator, at most [`LIVE_BYTES`] a worker and epoch: beyond that the reader waits for the close.

mod phase;
mod placing;
mod stretch;

pub use placing::{Placing, topic_name};
pub use stretch::{Passed, Stretch};

use super::decode::Decode;
use super::error::Trouble;
use super::log::generations::Generations;
use super::protocol::{Command, Consume, Note, ObjectRead, Pass, Purpose, TopicPartition};
use super::{ProcessState, Staging};
use dataflows::{Event, Kind};
use ingest::kafka::{KafkaConfig, Polled, Range, Reader as KafkaReader, ReaderOptions};
use ingest::lake::{Class, FetchOptions, Fetched, Fetcher, Lake};
use phase::Phase;
use placing::Reading;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
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
/// The same in a live epoch, where batches are small and one answer of Kafka should not be spread over two epochs.
const BATCHES_A_TURN: usize = 64;
/// Bytes of them, after which the others get their turn in any case.
const BYTES_A_TURN: usize = 1 << 20;

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
    /// What is kept of records.
    pub layout: Arc<dataflows::exec::Layout>,
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

struct Reader {
    context: ReaderContext,
    wake: Arc<dyn Fn() + Send + Sync>,
    again: Activator,
    first_of_process: bool,
    phase: Phase,
    pass: Pass,
    fetcher: Option<Fetcher>,
    kafka: Option<KafkaReader>,
    decode: Decode,
    reading: HashMap<u32, Reading>,
    stretches: BTreeMap<TopicPartition, Stretch>,
    generations: Generations,
    notes: Vec<Note>,
    /// Rows per cleaned table, and rejects, offered for staging in this pass.
    staged: [u64; 4],
    epoch: OpenEpoch,
    noted_stop: bool,
}

/// What the open epoch has taken in.
#[derive(Default)]
struct OpenEpoch {
    /// Bytes of its records, while it is a live one.
    bytes: usize,
    /// Whether its first record has been reported.
    noted_data: bool,
    /// The least timestamp of its records.
    oldest: Option<i64>,
}

impl Reader {
    fn new(context: ReaderContext, wake: Arc<dyn Fn() + Send + Sync>, again: Activator, first: bool) -> Reader {
        Reader {
            decode: Decode::new(context.limits, Arc::clone(&context.layout)),
            context,
            wake,
            again,
            first_of_process: first,
            phase: Phase::Idle,
            pass: Pass::default(),
            fetcher: None,
            kafka: None,
            reading: HashMap::new(),
            stretches: BTreeMap::new(),
            generations: Generations::default(),
            notes: Vec::new(),
            staged: [0; 4],
            epoch: OpenEpoch::default(),
            noted_stop: false,
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Begin(pass) => self.begin(*pass),
            Command::Read(objects) => {
                let fetcher = self.fetcher.as_ref().expect("objects are assigned where a lake is");
                for assigned in objects {
                    fetcher.push(assigned.id, assigned.object.clone());
                    self.reading.insert(assigned.id, Reading::new(assigned));
                }
            }
            Command::Consume(range) => self.consume(&range),
            Command::FlushStaging => self.begin_flush(),
            Command::Hold => self.hold(),
            Command::Resume(generations) => {
                self.generations = generations;
                if let Phase::Held = self.phase {
                    self.phase = Phase::Live;
                }
                self.again.activate();
            }
            Command::End(code, reason) => self.context.process.end(code, reason),
        }
    }

    fn begin(&mut self, pass: Pass) {
        // a repeated pass starts with nothing: what the last one had in flight is read again
        self.reading.clear();
        self.stretches.clear();
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
        self.decode.begin(pass.cleaned);
        self.staged = [0; 4];
        self.phase = Phase::Hydrating;
        if let (Some(staging), Some(fence)) = (&self.context.staging, pass.fence) {
            staging.begin(pass.number, fence);
        }
        self.pass = pass;
    }

    fn consume(&mut self, range: &Consume) {
        let at = range.at;
        let Some(name) = self.context.topics[usize::from(at.topic)].clone() else {
            return;
        };
        let config = self.context.kafka.as_ref().expect("ranges are assigned where Kafka is");
        let kafka = match &mut self.kafka {
            Some(kafka) => kafka,
            kafka @ None => match KafkaReader::start(config, ReaderOptions::default(), Arc::clone(&self.wake)) {
                Ok(started) => kafka.insert(started),
                Err(error) => return self.break_off(Trouble::Kafka(error.to_string())),
            },
        };
        kafka.assign(Range {
            topic: at.topic,
            name,
            partition: at.partition,
            from: range.from,
            until: range.until,
            after: range.after,
        });
        self.stretches.insert(at, Stretch::new(range));
        self.report_passed(at);
    }

    /// Reads no further until the coordinator has settled a boundary. A replay goes on to its end.
    fn hold(&mut self) {
        if let Phase::Staged | Phase::Live = self.phase {
            self.phase = Phase::Held;
        }
        let endless = self.stretches.iter().filter(|(_, stretch)| stretch.is_endless());
        let places = endless.map(|(at, stretch)| (*at, stretch.next())).collect();
        self.notes.push(Note::Held { places });
    }

    fn break_off(&mut self, trouble: Trouble) {
        self.notes.push(Note::Broken(trouble));
        self.phase = Phase::Broken;
    }

    /// One turn of reading; `emit` takes the events of the open epoch.
    fn turn(&mut self, emit: &mut dyn FnMut(Event)) {
        if self.first_of_process && !self.noted_stop && self.context.process.stop.load(Ordering::Relaxed) {
            self.noted_stop = true;
            self.notes.push(Note::Stop);
        }
        let (most, bytes) = match self.phase {
            Phase::Live => (BATCHES_A_TURN, self.epoch.bytes),
            _ => (CHUNKS_A_TURN, 0),
        };
        for _ in 0..most {
            let goes_on = match self.phase {
                Phase::Idle | Phase::Staged | Phase::Held | Phase::Broken => false,
                Phase::Flushing(_) => return self.flush(),
                // while staging is behind nothing is read
                Phase::Hydrating => self.stage(),
                Phase::Live if self.epoch.bytes - bytes > BYTES_A_TURN => break,
                Phase::Live => self.epoch.bytes <= LIVE_BYTES,
            };
            if !goes_on {
                return;
            }
            if !self.read_chunk(emit) && !self.read_batch(emit) {
                return;
            }
        }
        self.again.activate();
    }

    /// Decodes one chunk of an object; false when none is waiting.
    fn read_chunk(&mut self, emit: &mut dyn FnMut(Event)) -> bool {
        let Some(fetcher) = &mut self.fetcher else { return false };
        let Some(fetched) = fetcher.try_next() else {
            return false;
        };
        let (pass, topics) = (&self.pass, &self.context.topics);
        match fetched {
            Fetched::Opened { id, metadata } => {
                if let Some(reading) = self.reading.get_mut(&id) {
                    reading.opened(metadata.as_deref(), pass);
                }
            }
            Fetched::Lines { id, bytes } => {
                if let Some(reading) = self.reading.get_mut(&id) {
                    let before = self.decode.rejected();
                    let place = reading.placing(pass, &self.generations, topics);
                    let lines = self.decode.lines(&place, reading.lines, &bytes, emit);
                    reading.lines += lines;
                    reading.lines_hash += self.decode.take_hash();
                    reading.rejected += self.decode.rejected() - before;
                }
                fetcher.recycle(bytes);
            }
            Fetched::Whole { id, bytes } => {
                if let Some(reading) = self.reading.get_mut(&id) {
                    let before = self.decode.rejected();
                    let place = reading.placing(pass, &self.generations, topics);
                    let records = self.decode.whole(&place, &bytes, emit);
                    reading.lines += records;
                    reading.rejected += self.decode.rejected() - before;
                }
                fetcher.recycle(bytes);
            }
            Fetched::TooLarge { id, prefix, .. } => {
                if let Some(reading) = self.reading.get_mut(&id) {
                    let place = reading.placing(pass, &self.generations, topics);
                    let prefix = ingest::lake::kept_of_line(&prefix, place.ours);
                    self.decode.too_large(&place, reading.lines, prefix);
                    reading.lines += 1;
                    reading.lines_hash += self.decode.take_hash();
                    reading.rejected += 1;
                }
            }
            Fetched::Done { id, bytes, digest, .. } => {
                if let Some(reading) = self.reading.remove(&id) {
                    let read = ObjectRead {
                        lines: reading.lines,
                        bytes,
                        rejected: reading.rejected,
                        covers: reading.covers(),
                        digest,
                        lines_hash: reading.lines_hash,
                    };
                    self.notes.push(Note::Object {
                        pass: pass.number,
                        id,
                        read,
                    });
                }
            }
            Fetched::Failed { id, error } => {
                if let Some(reading) = self.reading.remove(&id) {
                    if error.class() != Class::Damaged {
                        self.break_off(Trouble::Lake(error.to_string()));
                        return true;
                    }
                    self.notes.push(Note::Damaged {
                        pass: pass.number,
                        id,
                        lines: reading.lines,
                        error: error.to_string(),
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
                if let Some(stretch) = self.stretches.get_mut(&at) {
                    let purpose = stretch.purpose();
                    let offsets = batch.records.iter().map(|record| record.offset);
                    stretch.arrived(offsets, batch.last_id());
                    if purpose != Purpose::Probe {
                        self.take_batch(at, purpose, &batch, emit);
                    }
                    self.report_passed(at);
                }
            }
            Polled::Reached { topic, partition, next } => {
                let at = TopicPartition { topic, partition };
                if let Some(stretch) = self.stretches.get_mut(&at) {
                    stretch.pass(next);
                    self.report_passed(at);
                }
            }
            Polled::Failed(error) => self.break_off(Trouble::Kafka(error.to_string())),
        }
        true
    }

    fn take_batch(
        &mut self,
        at: TopicPartition,
        purpose: Purpose,
        batch: &ingest::kafka::Batch,
        emit: &mut dyn FnMut(Event),
    ) {
        let live = matches!(self.phase, Phase::Live);
        let settled = match purpose {
            // in a live epoch every record is new to the sink
            Purpose::Take if !live => self.pass.settled.get(&at).copied().unwrap_or(0),
            _ => 0,
        };
        let place = Placing {
            kind: Kind::from_number(at.topic),
            name: topic_name(&self.context.topics, at.topic),
            log: true,
            at,
            start: 0,
            starts: self.generations.of(at),
            settled,
            upto: i64::MAX,
            hashed: 0,
            deletes: false,
            ours: false,
            object: None,
        };
        self.decode.batch(&place, batch, emit);
        if live {
            if !self.epoch.noted_data {
                self.epoch.noted_data = true;
                self.notes.push(Note::Data);
            }
            if let Some((oldest, _)) = batch.stamps {
                self.epoch.oldest = Some(self.epoch.oldest.map_or(oldest, |known| known.min(oldest)));
            }
            self.epoch.bytes += batch.bytes.len();
            self.decode.take_rows().into_notes(&mut self.notes);
        }
    }

    /// Reports a stretch whose bound has been passed.
    fn report_passed(&mut self, at: TopicPartition) {
        let Some(stretch) = self.stretches.get_mut(&at) else {
            return;
        };
        let Some(passed) = stretch.passed() else { return };
        if !stretch.is_endless() {
            self.stretches.remove(&at);
        }
        let pass = self.pass.number;
        self.notes.push(match passed {
            Passed::Reached(mark) => Note::Reached { pass, at, mark },
            Passed::Probed(records) => Note::Probed { pass, at, records },
        });
    }

    /// Closes the open epoch: says how far every partition has come, and what was counted.
    fn close(&mut self) {
        for (at, stretch) in &mut self.stretches {
            self.notes
                .extend(stretch.mark().map(|mark| Note::Mark { at: *at, mark }));
        }
        self.notes.extend(self.decode.take_counts());
        let epoch = std::mem::take(&mut self.epoch);
        self.notes.extend(epoch.oldest.map(|oldest| Note::Stamped { oldest }));
        if let Phase::Staged = self.phase {
            self.phase = Phase::Live;
        }
        self.again.activate();
    }

    fn end(&mut self) {
        (self.fetcher, self.kafka, self.phase) = (None, None, Phase::Idle);
    }
}
