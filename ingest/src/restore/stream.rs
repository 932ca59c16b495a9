//! The records of a partition in the order of their offsets, each once, from objects that are read some at a time.
//!
//! Objects come in the order of their starts. Of an offset that several objects hold the first copy counts (the audit has
//! found them to be the same). An offset without a record must be in a gap that was accepted or in a hole that the
//! object's writer vouches for; else the lake is not what it was when it was listed.
//!
//! Only small objects are read ahead of the one whose turn it is, so that what waits is bounded, and no object can use up
//! the buffers that the current one needs: what comes early is copied and its buffer given back.

use super::error::RestoreError;
use super::line::{LineFormat, Record, record};
use super::options::{Meaning, Observer};
use super::plan::PartitionPlan;
use crate::coverage::{Gap, RangeSet};
use crate::lake::{Encoding, FetchOptions, Fetched, Fetcher, Lake, Object, ObjectMetadata, count_lines};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use values::Offset;

/// Objects read ahead of the current one.
const AHEAD: usize = 64;
/// No larger object is read ahead.
const SMALL_BYTES: u64 = 64 << 10;
/// The same where gzip makes a thousand bytes of one.
const SMALL_GZIP_BYTES: u64 = 4 << 10;
/// A longer line is no record of any Kafka.
const RECORD_BYTES: usize = 64 << 20;
/// Buffers of a mebibyte.
const CHUNKS: usize = 16;

/// What a stream is made of.
pub(super) struct StreamSource<'a> {
    pub(super) lake: &'a Lake,
    pub(super) plan: &'a PartitionPlan,
    /// The topic's name in the lake.
    pub(super) topic: &'a str,
    pub(super) meaning: &'a dyn Meaning,
    pub(super) observer: &'a dyn Observer,
    /// Objects of an S3 lake read at the same time.
    pub(super) objects_in_flight: usize,
}

/// The records of a partition.
pub(super) struct Stream<'a> {
    source: &'a StreamSource<'a>,
    fetcher: Fetcher,
    arrived: Arc<Notify>,
    /// The objects up to this one have been given to the fetcher.
    pushed: usize,
    /// The object whose turn it is.
    head: usize,
    /// What has arrived of later ones.
    early: BTreeMap<u32, VecDeque<Fetched>>,
    opened: Opened,
    chunk: Chunk,
    /// Everything below has been handed out, is in `absent`, or is not wanted.
    next: Offset,
    /// Offsets that may have no record.
    absent: RangeSet,
    /// Records handed out of the current object.
    records: u64,
}

/// What is known of the object whose turn it is.
struct Opened {
    format: LineFormat,
    recorded: Option<u64>,
    /// Lines that have arrived.
    lines: u64,
}

/// Lines that have arrived, of which some have been handed out.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    /// Where the next line begins.
    at: usize,
    /// Its offset.
    offset: Offset,
}

impl<'a> Stream<'a> {
    /// The records at and above `from`; `None`: all. With `prove` nothing of an object is handed out that is found
    /// damaged at its end, for the price of reading large objects twice. [`Stream::close`] it.
    pub(super) fn open(source: &'a StreamSource<'a>, from: Option<Offset>, prove: bool) -> Stream<'a> {
        let plan = source.plan;
        let arrived = Arc::new(Notify::new());
        let wake_channel = Arc::clone(&arrived);
        let options = FetchOptions {
            objects_in_flight: source.objects_in_flight,
            chunks: CHUNKS,
            max_record_bytes: RECORD_BYTES,
            prove_first: prove,
            ..FetchOptions::default()
        };
        let wake = Arc::new(move || wake_channel.notify_one());
        let next = from.or(plan.span().map(|(first, _)| first)).unwrap_or_default();
        // an object that shares no offset ends where the next one starts, at the latest
        let first = match from {
            Some(from) if !plan.overlaps => plan.objects.partition_point(|object| start(object) <= from).max(1) - 1,
            _ => 0,
        };
        Stream {
            source,
            fetcher: Fetcher::start(source.lake.clone(), Handle::current(), options, wake),
            arrived,
            pushed: first,
            head: first,
            early: BTreeMap::new(),
            opened: Opened::new(plan.objects.get(first), None),
            chunk: Chunk::default(),
            next,
            absent: plan.gaps.iter().map(|gap| gap.from..gap.to).collect(),
            records: 0,
        }
    }

    /// Ends the reading. Must be called from outside of the runtime's own threads, or where one of them may wait.
    pub(super) async fn close(self) -> Result<(), RestoreError> {
        // its threads wait for the runtime when they are told to stop
        let fetcher = self.fetcher;
        let closed = tokio::task::spawn_blocking(move || drop(fetcher)).await;
        closed.map_err(|_| RestoreError::Panicked)
    }

    /// Whether [`Stream::take`] has a record without waiting.
    pub(super) fn is_ready(&self) -> bool {
        self.chunk.at < self.chunk.bytes.len()
    }

    /// Waits until there is a record; `false` at the end. May be dropped and called again.
    pub(super) async fn fill(&mut self) -> Result<bool, RestoreError> {
        while !self.is_ready() {
            if self.head == self.source.plan.objects.len() {
                self.check_end()?;
                return Ok(false);
            }
            self.push();
            let head = self.head as u32;
            let early = self.early.get_mut(&head).and_then(VecDeque::pop_front);
            let fetched = match early {
                Some(fetched) => fetched,
                None => match self.fetcher.try_next() {
                    None => {
                        self.arrived.notified().await;
                        continue;
                    }
                    Some(fetched) => self.copied(fetched),
                },
            };
            match id(&fetched) {
                of if of == head => self.arrive(fetched)?,
                of => self.early.entry(of).or_default().push_back(fetched),
            }
        }
        Ok(true)
    }

    /// [`Stream::fill`], unless a stop is asked for before.
    pub(super) async fn fill_unless(&mut self, stop: &mut watch::Receiver<bool>) -> Result<bool, RestoreError> {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Err(RestoreError::Stopped),
            filled = self.fill() => filled,
        }
    }

    /// The next record; there is one after [`Stream::fill`] has said so.
    pub(super) fn take(&mut self) -> Record<'_> {
        let chunk = &mut self.chunk;
        let rest = &chunk.bytes[chunk.at..];
        let end = memchr::memchr(b'\n', rest);
        let line = &rest[..end.unwrap_or(rest.len())];
        let offset = chunk.offset;
        chunk.at += line.len() + usize::from(end.is_some());
        chunk.offset = offset.next();
        self.next = chunk.offset;
        self.records += 1;
        let StreamSource { meaning, plan, .. } = self.source;
        record(*meaning, plan.at.topic, self.opened.format, line, offset)
    }

    /// Gives the fetcher the object whose turn it is, and small ones after it.
    fn push(&mut self) {
        let objects = &self.source.plan.objects;
        let is_small = |object: &Object| match object.encoding {
            Encoding::Plain => object.size <= SMALL_BYTES,
            Encoding::Gzip => object.size <= SMALL_GZIP_BYTES,
        };
        while let Some(object) = objects.get(self.pushed)
            && (self.pushed <= self.head || (self.pushed - self.head < AHEAD && is_small(object)))
        {
            self.fetcher.push(self.pushed as u32, object.clone());
            self.pushed += 1;
        }
    }

    /// The same in memory of its own: the buffer goes back to the fetcher.
    fn copied(&mut self, fetched: Fetched) -> Fetched {
        let (id, bytes) = match fetched {
            Fetched::Lines { id, bytes } | Fetched::Whole { id, bytes } => (id, bytes),
            other => return other,
        };
        let copy = bytes.as_slice().to_vec();
        self.fetcher.recycle(bytes);
        Fetched::Lines { id, bytes: copy }
    }

    /// Takes what has arrived of the object whose turn it is.
    fn arrive(&mut self, fetched: Fetched) -> Result<(), RestoreError> {
        match fetched {
            Fetched::Opened { metadata, .. } => {
                let object = self.source.plan.objects.get(self.head);
                self.opened = Opened::new(object, metadata.as_deref());
                if let Some(covers) = metadata.and_then(|metadata| metadata.covers) {
                    self.absent.insert(covers);
                }
                Ok(())
            }
            Fetched::Lines { bytes, .. } | Fetched::Whole { bytes, .. } => self.arrive_lines(bytes),
            Fetched::TooLarge { bytes, .. } => Err(RestoreError::LineTooLarge {
                object: self.key(),
                offset: self.start().plus(self.opened.lines),
                bytes,
            }),
            Fetched::Done { .. } => self.arrive_end(),
            Fetched::Failed { error, .. } => Err(error.into()),
        }
    }

    fn arrive_lines(&mut self, bytes: Vec<u8>) -> Result<(), RestoreError> {
        let first = self.start().plus(self.opened.lines);
        let lines = count_lines(&bytes);
        self.opened.lines += lines;
        self.check_room()?;
        self.skip_to(first)?;
        let mut chunk = Chunk {
            bytes,
            at: 0,
            offset: first,
        };
        // what an earlier object held, or nobody wants
        let known = u64::try_from(self.next - first).unwrap_or(0).min(lines);
        if known > 0 {
            chunk.skip(known);
        }
        self.chunk = chunk;
        Ok(())
    }

    /// Where no objects share offsets, what an object holds ends where the next one begins. The audit takes small objects
    /// at their name; one that holds more must not pass for the records of the next ones.
    fn check_room(&self) -> Result<(), RestoreError> {
        let PartitionPlan { overlaps, objects, .. } = self.source.plan;
        if *overlaps {
            return Ok(());
        }
        let mut later = objects[self.head + 1..].iter();
        let next = later.find(|object| object.size > 0 && start(object) > self.start());
        match next.map(start) {
            Some(next) if self.start().plus(self.opened.lines) > next => Err(RestoreError::MoreThanNamed {
                object: self.key(),
                lines: self.opened.lines,
                next,
            }),
            _ => Ok(()),
        }
    }

    fn arrive_end(&mut self) -> Result<(), RestoreError> {
        let lines = self.opened.lines;
        if let Some(recorded) = self.opened.recorded.filter(|recorded| *recorded != lines) {
            return Err(RestoreError::Lines {
                object: self.key(),
                lines,
                recorded,
            });
        }
        let size = self.source.plan.objects[self.head].size;
        self.source.observer.object(self.records, size);
        self.records = 0;
        self.early.remove(&(self.head as u32));
        self.head += 1;
        self.opened = Opened::new(self.source.plan.objects.get(self.head), None);
        Ok(())
    }

    /// Passes offsets that have no record.
    fn skip_to(&mut self, offset: Offset) -> Result<(), RestoreError> {
        if offset > self.next {
            if let Some(missing) = self.absent.missing(self.next..offset).into_iter().next() {
                return Err(RestoreError::Vanished {
                    gap: Gap::new(self.source.topic, self.source.plan.at.partition, missing),
                });
            }
            self.next = offset;
        }
        Ok(())
    }

    /// Whether everything was there that was covered when the lake was listed.
    fn check_end(&mut self) -> Result<(), RestoreError> {
        match self.source.plan.span() {
            Some((_, end)) => self.skip_to(end),
            None => Ok(()),
        }
    }

    fn key(&self) -> String {
        self.source.plan.objects[self.head].key.clone()
    }

    fn start(&self) -> Offset {
        start(&self.source.plan.objects[self.head])
    }
}

impl Opened {
    fn new(object: Option<&Object>, metadata: Option<&ObjectMetadata>) -> Opened {
        let format = match (object, metadata) {
            (Some(object), _) if object.deletes => LineFormat::DeletedKeys,
            (_, Some(metadata)) if metadata.is_ours() => LineFormat::Pinflow,
            _ => LineFormat::Values,
        };
        Opened {
            format,
            recorded: metadata.and_then(|metadata| metadata.count),
            lines: 0,
        }
    }
}

impl Chunk {
    /// Passes over so many lines.
    fn skip(&mut self, lines: u64) {
        let ends = memchr::memchr_iter(b'\n', &self.bytes);
        let end = ends.map(|end| end + 1).nth(lines as usize - 1);
        self.at = end.unwrap_or(self.bytes.len());
        self.offset = self.offset.plus(lines);
    }
}

/// The first offset of an object of the log.
fn start(object: &Object) -> Offset {
    object.log_place().map_or(Offset::ZERO, |(_, _, start)| start)
}

/// The object that something fetched is of.
fn id(fetched: &Fetched) -> u32 {
    match fetched {
        Fetched::Opened { id, .. }
        | Fetched::Lines { id, .. }
        | Fetched::Whole { id, .. }
        | Fetched::TooLarge { id, .. }
        | Fetched::Done { id, .. }
        | Fetched::Failed { id, .. } => *id,
    }
}
