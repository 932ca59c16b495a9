//! The readers: one operator on every worker that turns objects and partitions into decoded events.
//!
//! A reader reads only what the coordinator assigns to it. Bytes come from the fetcher and the Kafka consumer, each
//! with threads of its own behind a bounded queue; the operator decodes them, emits events into the open epoch, and
//! closes the epoch when its input's frontier has passed it. What cannot be decoded is a reject, and counted.
//!
//! While history is replayed, cleaned rows and rejects go to the staging tables of the sink, so that history
//! never piles up in memory; when staging is slow the reader stops reading. In later epochs they travel with the
//! epoch to the coordinator, at most [`LIVE_BYTES`] a worker and epoch: beyond that the reader waits for the close.

mod placing;
mod read_range;
mod staging;
mod state;

pub use placing::Placing;
pub use read_range::{Passed, ReadRange};
pub use state::ReaderContext;

use super::error::ReaderError;
use super::handle::StopListener;
use super::process::{Source, Wait};
use super::protocol::{Command, Consume, EpochReport, ObjectRead, Pass, Purpose, ReaderReport};
use dataflows::{Event, Kind};
use ingest::kafka::{Polled, Range, Reader as KafkaReader, ReaderOptions};
use ingest::lake::{Class, Fetched, Fetcher};
use ingest::{Offset, TopicPartition};
use placing::Reading;
use state::{Phase, Reader};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::{Scope, Stream};

/// Wide bytes a worker takes into one live epoch before it waits for the epoch's close.
const LIVE_BYTES: usize = 32 << 20;
/// Chunks or batches decoded before other operators get their turn.
const CHUNKS_A_STEP: usize = 4;
/// The same in a live epoch, where batches are small and one answer of Kafka should not be spread over two epochs.
const BATCHES_A_STEP: usize = 64;
/// Bytes of them, after which the others get their turn in any case.
const BYTES_A_STEP: usize = 1 << 20;

/// Reads what `commands` assign to this worker. Returns the decoded events, and reports to the coordinator.
pub fn read<'s>(
    scope: Scope<'s, u64>,
    commands: Stream<'s, u64, Vec<Command>>,
    context: ReaderContext,
) -> (Stream<'s, u64, Vec<Event>>, Stream<'s, u64, Vec<ReaderReport>>) {
    let mut builder = OperatorBuilder::new("Read".to_owned(), scope);
    let mut input = builder.new_input(commands, Pipeline);
    let (events, events_stream) = builder.new_output::<Vec<Event>>();
    let (reports, reports_stream) = builder.new_output::<Vec<ReaderReport>>();
    let mut events = OutputBuilder::<_, CapacityContainerBuilder<Vec<Event>>>::from(events);
    let mut reports = OutputBuilder::<_, CapacityContainerBuilder<Vec<ReaderReport>>>::from(reports);
    let info = builder.operator_info();
    let again = scope.activator_for(Rc::clone(&info.address));
    let activator = scope.worker().sync_activator_for(info.address.to_vec());
    context.process.register_reader(activator.clone());
    // a bounded number of wake-ups: the queue behind is bounded, and each item wakes once
    let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || {
        // an error means that the worker is gone
        let _ = activator.activate();
    });
    let (worker, workers) = (scope.index(), scope.peers());
    let first_of_process = worker.is_multiple_of(context.process.threads);

    builder.build(move |mut capabilities| {
        let reports_capability = capabilities.pop().expect("an output for reports");
        let events_capability = capabilities.pop().expect("an output for events");
        let mut open = Some((events_capability, reports_capability));
        let mut reader = Reader::new(context, wake, again, (worker, workers), first_of_process);
        move |frontiers| {
            let mut events = events.activate();
            let mut reports = reports.activate();
            input.for_each(|_, commands| {
                for command in commands.drain(..) {
                    reader.handle(command);
                }
            });
            let Some((events_at, reports_at)) = open.as_mut() else {
                return;
            };
            {
                let mut session = events.session(events_at);
                reader.step(&mut |event| session.give(event));
            }
            let frontier = frontiers[0].frontier().first().copied();
            let closes = frontier.is_none_or(|frontier| frontier > *events_at.time());
            if closes {
                reader.close();
            }
            if !reader.reports.is_empty() {
                reports.session(reports_at).give_iterator(reader.reports.drain(..));
            }
            match frontier {
                None => {
                    reader.end();
                    open = None;
                }
                Some(frontier) if closes => advance(events_at, reports_at, frontier),
                Some(_) => {}
            }
        }
    });
    (events_stream, reports_stream)
}

fn advance(events: &mut Capability<u64>, reports: &mut Capability<u64>, epoch: u64) {
    events.downgrade(&epoch);
    reports.downgrade(&epoch);
}

impl Reader {
    fn handle(&mut self, command: Command) {
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
            Command::End(ending) => self.context.process.handle.end(ending),
        }
    }

    fn begin(&mut self, pass: Pass) {
        // a repeated pass starts with nothing: what the last one had in flight is read again
        self.reading.clear();
        self.read_ranges.clear();
        self.fetcher =
            self.context.lake.clone().map(|(lake, runtime)| {
                Fetcher::start(lake, runtime, self.context.fetch.clone(), Arc::clone(&self.wake))
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
        let Some(name) = self.context.topics.get(at.topic).map(str::to_owned) else {
            return;
        };
        let config = self.context.kafka.as_ref().expect("ranges are assigned where Kafka is");
        let defaults = ReaderOptions::default();
        let options = ReaderOptions {
            queue_bytes: self.context.kafka_queue_bytes.max(defaults.batch_bytes),
            shared_topics: self.workers > 1,
            ..defaults
        };
        let kafka = match &mut self.kafka {
            Some(kafka) => kafka,
            kafka @ None => match KafkaReader::start(config, options, Arc::clone(&self.wake)) {
                Ok(started) => kafka.insert(started),
                Err(error) => return self.break_off(ReaderError::Kafka(causes::with_causes(&error))),
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
        self.read_ranges.insert(at, ReadRange::new(range));
        self.report_passed(at);
    }

    /// Reads no further until the coordinator has persisted a boundary. A replay goes on to its end.
    fn hold(&mut self) {
        if let Phase::Staged | Phase::Live = self.phase {
            self.phase = Phase::Held;
        }
        let endless = self
            .read_ranges
            .iter()
            .filter(|(_, read_range)| read_range.is_endless());
        let places = endless.map(|(at, read_range)| (*at, read_range.next())).collect();
        self.reports.push(ReaderReport::Held { places });
    }

    fn break_off(&mut self, error: ReaderError) {
        self.reports.push(ReaderReport::Broken(error));
        self.phase = Phase::Broken;
    }

    /// One turn of reading; `emit` takes the events of the open epoch.
    fn step(&mut self, emit: &mut dyn FnMut(Event)) {
        if self.stop.as_mut().is_some_and(StopListener::is_asked) {
            self.stop = None;
            self.reports.push(ReaderReport::Stop);
        }
        let (most, bytes) = match self.phase {
            Phase::Live => (BATCHES_A_STEP, self.epoch.bytes),
            _ => (CHUNKS_A_STEP, 0),
        };
        for _ in 0..most {
            let proceeds = match self.phase {
                Phase::Idle | Phase::Staged | Phase::Held | Phase::Broken => false,
                Phase::Flushing(_) => {
                    self.flush();
                    let waits = matches!(self.phase, Phase::Flushing(_));
                    return self.wait(waits.then_some(Wait::Staging));
                }
                // while staging is behind nothing is read
                Phase::Hydrating => {
                    let room = self.stage();
                    if !room {
                        self.wait(Some(Wait::Staging));
                    }
                    room
                }
                Phase::Live if self.epoch.bytes - bytes > BYTES_A_STEP => break,
                Phase::Live => self.epoch.bytes <= LIVE_BYTES,
            };
            if !proceeds {
                return;
            }
            if !self.read_chunk(emit) && !self.read_batch(emit) {
                let assigned = self.fetcher.as_ref().is_some_and(|fetcher| fetcher.open() > 0);
                return self.wait(assigned.then_some(Wait::Lake));
            }
        }
        self.again.activate();
    }

    /// Shows what is waited for, when that is something else than before.
    fn wait(&mut self, on: Option<Wait>) {
        if self.waits != on {
            self.waits = on;
            self.context.process.observer.waits(self.worker, on);
        }
    }

    /// Decodes one chunk of an object; false when none is waiting.
    fn read_chunk(&mut self, emit: &mut dyn FnMut(Event)) -> bool {
        let Some(fetched) = self.fetcher.as_mut().and_then(Fetcher::try_next) else {
            return false;
        };
        self.wait(None);
        let Some(fetcher) = &mut self.fetcher else { return false };
        let observer = &self.context.process.observer;
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
                    let began = Instant::now();
                    let lines = self.decode.lines(&place, reading.lines, &bytes, emit);
                    observer.decoded(Source::Lake, began.elapsed());
                    observer.read(place.name, Source::Lake, lines);
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
                    let began = Instant::now();
                    let records = self.decode.whole(&place, &bytes, emit);
                    observer.decoded(Source::Lake, began.elapsed());
                    observer.read(place.name, Source::Lake, records);
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
            Fetched::Done {
                id,
                bytes,
                digest,
                took,
                ..
            } => {
                observer.fetched(Source::Lake, took);
                if let Some(reading) = self.reading.remove(&id) {
                    let read = ObjectRead {
                        lines: reading.lines,
                        bytes,
                        rejected: reading.rejected,
                        covers: reading.covers(),
                        digest,
                        lines_hash: reading.lines_hash,
                    };
                    self.reports.push(ReaderReport::Object {
                        pass: pass.number,
                        id,
                        read,
                    });
                }
            }
            Fetched::Failed { id, error } => {
                if let Some(reading) = self.reading.remove(&id) {
                    if error.class() != Class::Damaged {
                        self.break_off(ReaderError::Lake(causes::with_causes(&error)));
                        return true;
                    }
                    self.reports.push(ReaderReport::Damaged {
                        pass: pass.number,
                        id,
                        lines: reading.lines,
                        end: reading.covers().map(|(_, end)| end),
                        error: causes::with_causes(&error),
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
        self.wait(None);
        match polled {
            Polled::Batch(batch) => {
                self.context.process.observer.fetched(Source::Kafka, batch.took);
                let at = TopicPartition {
                    topic: batch.topic,
                    partition: batch.partition,
                };
                if let Some(read_range) = self.read_ranges.get_mut(&at) {
                    let purpose = read_range.purpose();
                    let offsets = batch.records.iter().map(|record| record.offset);
                    read_range.arrived(offsets, batch.last_id());
                    if purpose != Purpose::Probe {
                        self.take_batch(at, purpose, &batch, emit);
                    }
                    self.report_passed(at);
                }
            }
            Polled::Reached { topic, partition, next } => {
                let at = TopicPartition { topic, partition };
                if let Some(read_range) = self.read_ranges.get_mut(&at) {
                    read_range.pass(next);
                    self.report_passed(at);
                }
            }
            Polled::Failed(error) => self.break_off(ReaderError::Kafka(causes::with_causes(&error))),
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
        let persisted = match purpose {
            // in a live epoch every record is new to the sink
            Purpose::Take if !live => self.pass.persisted.get(&at).copied().unwrap_or(Offset::ZERO),
            _ => Offset::ZERO,
        };
        let place = Placing {
            kind: Kind::from_number(at.topic),
            name: self.context.topics.name(at.topic),
            log: true,
            at,
            start: Offset::ZERO,
            holes: None,
            starts: self.generations.of(at),
            persisted,
            upto: Offset::MAX,
            hashed: None,
            deletes: false,
            ours: false,
            object: None,
        };
        let began = Instant::now();
        self.decode.batch(&place, batch, emit);
        let observer = &self.context.process.observer;
        observer.decoded(Source::Kafka, began.elapsed());
        observer.read(place.name, Source::Kafka, batch.records.len() as u64);
        if live {
            if !self.epoch.reported_data {
                self.epoch.reported_data = true;
                self.reports.push(ReaderReport::Data);
            }
            if let Some((oldest, _)) = batch.stamps {
                self.epoch.oldest = Some(self.epoch.oldest.map_or(oldest, |known| known.min(oldest)));
            }
            self.epoch.bytes += batch.bytes.len();
            self.decode.take_rows().into_reports(&mut self.reports);
        }
    }

    /// Reports a range whose bound has been passed.
    fn report_passed(&mut self, at: TopicPartition) {
        let Some(read_range) = self.read_ranges.get_mut(&at) else {
            return;
        };
        let Some(passed) = read_range.passed() else { return };
        if !read_range.is_endless() {
            self.read_ranges.remove(&at);
        }
        let pass = self.pass.number;
        self.reports.push(match passed {
            Passed::Reached(mark) => ReaderReport::Reached { pass, at, mark },
            Passed::Probed(records) => ReaderReport::Probed { pass, at, records },
        });
    }

    /// Closes the open epoch: says how far every partition has come, and what was counted.
    fn close(&mut self) {
        for (at, read_range) in &mut self.read_ranges {
            let mark = read_range.mark().map(|mark| EpochReport::Mark { at: *at, mark });
            self.reports.extend(mark.map(ReaderReport::Epoch));
        }
        self.reports.extend(self.decode.take_counts());
        let epoch = std::mem::take(&mut self.epoch);
        let stamp = epoch.oldest.map(|oldest| EpochReport::Stamped { oldest });
        self.reports.extend(stamp.map(ReaderReport::Epoch));
        if let Phase::Staged = self.phase {
            self.phase = Phase::Live;
        }
        self.again.activate();
    }

    fn end(&mut self) {
        (self.fetcher, self.kafka, self.phase) = (None, None, Phase::Idle);
    }
}
