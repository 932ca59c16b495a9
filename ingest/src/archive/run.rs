//! The archiver's loop: records from Kafka, cut into pieces, stored by many tasks at a time.
//!
//! Records are read in order, pieces are stored in any order, and a partition counts as archived up to its first piece
//! that is not durable. Only that far are the group's offsets committed, and they are advice: a start asks the lake.
//! Whatever waits in memory is bounded: while it is full nothing is taken from Kafka.
//!
//! When it is told to stop it finishes the pieces that are cut and leaves open ones to be read again, as the sink does.

use super::cutter::{CutOptions, Cutter, Piece};
use super::error::ArchiveError;
use super::layout::{Folders, Layout};
use super::line;
use super::resume::{self, Checkpoint};
use super::survey::{Marks, Surveyor, survey};
use super::writer::{Stored, Writer};
use crate::coverage::Gap;
use crate::failpoint;
use crate::kafka::{Batch, Cluster, KafkaConfig, KafkaError, Polled, Range, Reader, ReaderOptions};
use crate::lake::{Lake, LakeLock};
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often the group's offsets are committed.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How often the next run is told how far everything is in place.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// How long that may take.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long pieces may take to become durable after a request to stop.
const GRACE: Duration = Duration::from_secs(20);
/// How often another archiver's lock is asked for.
const LOCK_EVERY: Duration = Duration::from_millis(250);
/// Pieces that wait for a task.
const READY: usize = 4096;

/// What becomes of null values.
#[derive(Clone)]
pub enum NullValues {
    /// A line that says what is deleted, made from the topic's number and the record's key; `None` where the key says
    /// nothing, and the key itself is archived.
    Write(Arc<dyn Fn(u8, &[u8]) -> Option<String> + Send + Sync>),
    /// They are passed over: a replay of the lake brings deleted rows back.
    Ignore,
}

/// What to archive, and how.
#[derive(Clone)]
pub struct ArchiveOptions {
    /// Kafka, with the group that the offsets are committed under.
    pub kafka: KafkaConfig,
    /// The topics' names.
    pub topics: Vec<String>,
    /// How keys are made.
    pub layout: Layout,
    /// Where pieces end.
    pub cut: CutOptions,
    /// Every open piece ends when the clock passes a multiple of this.
    pub rotate: Option<Duration>,
    /// `s3.part.size`
    pub part_bytes: usize,
    /// What becomes of null values.
    pub null_values: NullValues,
    /// Values that are no JSON, or longer than `record_bytes`, are kept beside the lake instead of in it.
    pub dead_letters: bool,
    /// A longer value is rejected by readers.
    pub record_bytes: usize,
    /// Objects written at the same time.
    pub objects_in_flight: usize,
    /// Bytes of records in memory.
    pub buffer_bytes: usize,
    /// Archive what Kafka holds now, then end.
    pub once: bool,
}

/// Who is told what happens. Calls are short and come from the loop.
pub trait Observer: Send + Sync {
    /// The lake is known, reading begins.
    fn ready(&self) {}
    /// Nothing can be done while another archiver has the lake.
    fn waiting_for(&self, _topic: &str) {}
    /// A piece is durable.
    fn stored(&self, _stored: Stored) {}
    /// Everything below `archived` is durable; Kafka ends at `end`.
    fn progress(&self, _topic: &str, _partition: i32, _archived: i64, _end: i64) {}
    /// Offsets that Kafka has dropped and the lake lacks.
    fn gap(&self, _gap: &Gap) {}
}

/// What a run has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ArchiveSummary {
    /// The sums of all pieces.
    pub stored: Stored,
    /// Offsets of the gaps that were met.
    pub gap_offsets: u64,
}

/// Archives until it is told to stop or, with `once`, until everything that Kafka held is in the lake.
pub async fn archive(
    lake: Lake,
    options: ArchiveOptions,
    observer: Arc<dyn Observer>,
    mut stop: watch::Receiver<bool>,
) -> Result<ArchiveSummary, ArchiveError> {
    let Some(_locks) = lock(&lake, &options.topics, &*observer, &mut stop).await? else {
        return Ok(ArchiveSummary::default());
    };
    let refuses = tokio::select! {
        refuses = lake.refuses_overwriting() => refuses?,
        _ = stop.wait_for(|stop| *stop) => return Ok(ArchiveSummary::default()),
    };
    if !refuses {
        tracing::warn!(
            "{}: the server ignores If-None-Match; run only one archiver",
            lake.url()
        );
    }
    let config = options.kafka.clone();
    let cluster = blocking(move || Cluster::connect(&config)).await??;
    let mut archiver = Archiver::new(lake, options, observer, Arc::new(cluster))?;
    let ran = archiver.run(&mut stop).await;
    let finished = archiver.finish().await;
    ran.and(finished)?;
    Ok(archiver.archived)
}

/// The lock of each topic, as soon as no other archiver of this machine has it; `None` when told to stop first.
async fn lock(
    lake: &Lake,
    topics: &[String],
    observer: &dyn Observer,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<Vec<LakeLock>>, ArchiveError> {
    let mut locks = Vec::new();
    let mut names: Vec<&String> = topics.iter().collect();
    // all archivers lock in the same order, so that no two wait for each other
    names.sort();
    for topic in names {
        let mut told = false;
        loop {
            if let Some(lock) = lake.lock(&format!("archive-{topic}"))? {
                locks.push(lock);
                break;
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!(topic, "{} is locked by another archiver, waiting", lake.url());
                observer.waiting_for(topic);
            }
            tokio::select! {
                () = tokio::time::sleep(LOCK_EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(None),
            }
        }
    }
    Ok(Some(locks))
}

async fn blocking<O: Send + 'static>(work: impl FnOnce() -> O + Send + 'static) -> Result<O, ArchiveError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ArchiveError::Panicked)
}

/// A piece on its way.
struct InFlightUpload {
    number: u64,
    /// The partition is archived up to here once this and everything before it is.
    end: i64,
    done: bool,
    /// The sum of its keys' hashes.
    keys: u64,
}

/// One partition.
struct PartitionArchiver {
    topic: u8,
    partition: i32,
    cutter: Cutter,
    folders: Folders,
    /// Holes that are being read, the current one first.
    holes: VecDeque<std::ops::Range<i64>>,
    /// Where live reading starts.
    next: i64,
    /// Where it ends, with `once`.
    until: Option<i64>,
    finished: bool,
    in_flight_uploads: VecDeque<InFlightUpload>,
    numbers: u64,
    archived: i64,
    /// The first offset of the whole stretch that ends at `archived`, once no hole is open.
    contiguous_from: i64,
    /// The sum of the hashes of the keys of its objects below `archived`.
    keys: u64,
    committed: i64,
    checkpointed: i64,
    end: i64,
}

/// A piece that waits for a task, with the place of its partition and its number there.
struct Ready {
    part: usize,
    number: u64,
    piece: Piece,
}

struct Ended {
    part: usize,
    number: u64,
    bytes: usize,
    stored: Result<Stored, ArchiveError>,
}

struct Archiver {
    options: ArchiveOptions,
    writer: Arc<Writer>,
    observer: Arc<dyn Observer>,
    cluster: Arc<Cluster>,
    reader: Reader,
    arrived: Arc<Notify>,
    partitions: Vec<PartitionArchiver>,
    index: BTreeMap<(u8, i32), usize>,
    ready: VecDeque<Ready>,
    tasks: JoinSet<Ended>,
    /// Bytes of pieces that wait or are on their way.
    in_flight: usize,
    archived: ArchiveSummary,
    rotation: u128,
    last_commit: Instant,
    last_checkpoint: Instant,
}

impl Archiver {
    fn new(
        lake: Lake,
        options: ArchiveOptions,
        observer: Arc<dyn Observer>,
        cluster: Arc<Cluster>,
    ) -> Result<Archiver, ArchiveError> {
        let arrived = Arc::new(Notify::new());
        let wake_channel = Arc::clone(&arrived);
        let reading = ReaderOptions {
            queue_bytes: (options.buffer_bytes / 8).max(1 << 20),
            ..ReaderOptions::default()
        };
        let reader = Reader::start(&options.kafka, reading, Arc::new(move || wake_channel.notify_one()))?;
        let writer = Writer {
            lake,
            layout: options.layout.clone(),
            part_bytes: options.part_bytes,
        };
        Ok(Archiver {
            rotation: rotation(options.rotate),
            options,
            writer: Arc::new(writer),
            observer,
            cluster,
            reader,
            arrived,
            partitions: Vec::new(),
            index: BTreeMap::new(),
            ready: VecDeque::new(),
            tasks: JoinSet::new(),
            in_flight: 0,
            archived: ArchiveSummary::default(),
            last_commit: Instant::now(),
            last_checkpoint: Instant::now(),
        })
    }

    async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), ArchiveError> {
        let (cluster, topics) = (Arc::clone(&self.cluster), self.options.topics.clone());
        let marks = blocking(move || survey(&cluster, &topics)).await??;
        self.begin_unless_stopped(marks, stop).await?;
        self.observer.ready();
        let (_surveyor, mut surveys) = Surveyor::start(Arc::clone(&self.cluster), self.options.topics.clone());
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            self.drain()?;
            self.launch();
            if self.is_done() || *stop.borrow() {
                return Ok(());
            }
            let room = self.has_room();
            tokio::select! {
                () = self.arrived.notified(), if room => {}
                Some(ended) = self.tasks.join_next(), if !self.tasks.is_empty() => self.take(ended)?,
                _ = tick.tick() => self.look_at_clock().await?,
                Some(marks) = surveys.recv() => self.begin_unless_stopped(marks, stop).await?,
                _ = stop.changed() => {}
            }
            while let Some(ended) = self.tasks.try_join_next() {
                self.take(ended)?;
            }
        }
    }

    /// Begins with the partitions that are not known yet. A lake that is away is waited for, a request to stop is not
    /// kept waiting.
    async fn begin_unless_stopped(
        &mut self,
        marks: Marks,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), ArchiveError> {
        tokio::select! {
            begun = self.begin(marks) => begun,
            _ = stop.wait_for(|stop| *stop) => Ok(()),
        }
    }

    /// Begins with the partitions that are not known yet.
    async fn begin(&mut self, marks: Marks) -> Result<(), ArchiveError> {
        let mut new = Marks::new();
        for (at, marks) in marks {
            match self.index.get(&at) {
                Some(part) => self.partitions[*part].end = marks.stable,
                None => drop(new.insert(at, marks)),
            }
        }
        if new.is_empty() || (self.options.once && !self.partitions.is_empty()) {
            return Ok(());
        }
        let topics = &self.options.topics;
        for (at, resume) in resume::resume(&self.writer.lake, &self.cluster, topics, &new).await? {
            for gap in &resume.gaps {
                self.report(gap.clone());
            }
            let (topic, partition) = at;
            let holes: VecDeque<_> = resume.holes.into();
            let first = holes.front().map_or(resume.next, |hole| hole.start);
            let mut folders = Folders::new(&self.options.layout.partitioner, partition);
            let end = new[&at].stable;
            let part = PartitionArchiver {
                topic,
                partition,
                cutter: Cutter::new(self.options.cut, first, folders.of(now_millis())),
                folders,
                next: resume.next,
                until: self.options.once.then_some(end.max(resume.next)),
                finished: false,
                in_flight_uploads: VecDeque::new(),
                numbers: 0,
                archived: first,
                contiguous_from: if holes.is_empty() {
                    resume.contiguous_from
                } else {
                    holes[0].start
                },
                holes,
                keys: resume.keys,
                committed: -1,
                checkpointed: -1,
                end,
            };
            let name = &self.options.topics[usize::from(topic)];
            tracing::info!(
                topic = name,
                partition,
                from = first,
                holes = part.holes.len(),
                end,
                "archiving"
            );
            for range in part.ranges(name) {
                self.reader.assign(range);
            }
            self.index.insert(at, self.partitions.len());
            self.partitions.push(part);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let read = self.options.once && self.partitions.iter().all(|part| part.finished);
        read && self.ready.is_empty() && self.tasks.is_empty()
    }

    fn has_room(&self) -> bool {
        self.ready.len() < READY && self.in_flight < self.options.buffer_bytes / 2
    }

    /// Takes what Kafka has, as long as there is room.
    fn drain(&mut self) -> Result<(), ArchiveError> {
        // tasks that have ended are looked at between batches
        for _ in 0..64 {
            if !self.has_room() {
                return Ok(());
            }
            match self.reader.try_next() {
                None => return Ok(()),
                Some(Polled::Batch(batch)) => self.cut(&batch),
                Some(Polled::Reached { topic, partition, next }) => self.reached((topic, partition), next),
                Some(Polled::Failed(error)) => self.failed(error)?,
            }
            self.launch();
            self.flush_largest();
        }
        self.arrived.notify_one();
        Ok(())
    }

    fn cut(&mut self, batch: &Batch) {
        let Some(&index) = self.index.get(&(batch.topic, batch.partition)) else {
            return;
        };
        let part = &mut self.partitions[index];
        let options = &self.options;
        let name = &options.topics[usize::from(batch.topic)];
        let mut pieces = Vec::new();
        let mut out = |piece| pieces.push(piece);
        for record in &batch.records {
            let (offset, key, value) = (record.offset, batch.key(record), batch.value(record));
            match (value, &options.null_values) {
                (None, NullValues::Ignore) => part.cutter.skip(offset, None, &mut out),
                (Some(value), _)
                    if options.dead_letters && (value.len() > options.record_bytes || !line::is_json(value)) =>
                {
                    let letter = dead_letter(name, batch.partition, record.offset, record.timestamp, key, value);
                    part.cutter.skip(offset, Some(letter), &mut out);
                }
                (value, null_values) => {
                    let folder = part.folders.of(record.timestamp);
                    let append = |line: &mut Vec<u8>| match (value, null_values) {
                        (Some(value), _) => line::append_value(value, options.record_bytes, line),
                        (None, NullValues::Write(delete)) => match key.and_then(|key| delete(batch.topic, key)) {
                            Some(delete) => {
                                line.extend_from_slice(delete.as_bytes());
                                line.push(b'\n');
                            }
                            None => line::append_tombstone(key, line),
                        },
                        (None, NullValues::Ignore) => {}
                    };
                    part.cutter.push(offset, &folder, append, &mut out);
                }
            }
        }
        part.cutter.reached(batch.next);
        self.send(index, pieces);
    }

    /// A stretch has been read to its end, or nothing is there below `next` that was not handed over.
    fn reached(&mut self, at: (u8, i32), next: i64) {
        let Some(&index) = self.index.get(&at) else { return };
        let part = &mut self.partitions[index];
        part.cutter.reached(next);
        let ended = match part.holes.front() {
            Some(hole) => next >= hole.end,
            None => part.until.is_some_and(|until| next >= until),
        };
        if !ended {
            return;
        }
        self.flush(index);
        let part = &mut self.partitions[index];
        if part.holes.pop_front().is_none() {
            part.finished = true;
            return;
        }
        // what lies between two stretches is in the lake already
        part.go_on(self.options.cut);
    }

    /// A partition cannot be read on.
    fn failed(&mut self, error: KafkaError) -> Result<(), ArchiveError> {
        let KafkaError::OffsetOutOfRange {
            topic,
            partition,
            offset,
            held: Some((low, high)),
            ..
        } = &error
        else {
            return Err(error.into());
        };
        let number = self.options.topics.iter().position(|name| name == topic).unwrap_or(0);
        let index = self.index.get(&(number as u8, *partition)).copied();
        let Some(index) = index.filter(|_| *low > *offset) else {
            let (topic, partition) = (topic.clone(), *partition);
            return Err(if offset > high {
                ArchiveError::Ahead {
                    topic,
                    partition,
                    lake: *offset,
                    kafka: *high,
                }
            } else {
                error.into()
            });
        };
        // retention was faster than we
        let seen = self.partitions[index].cutter.seen();
        self.report(Gap {
            topic: topic.clone(),
            partition: *partition,
            from: seen,
            to: *low,
        });
        self.flush(index);
        let part = &mut self.partitions[index];
        while part.holes.front().is_some_and(|hole| hole.end <= *low) {
            part.holes.pop_front();
        }
        if let Some(hole) = part.holes.front_mut() {
            hole.start = hole.start.max(*low);
        } else {
            part.next = part.next.max(*low);
        }
        part.contiguous_from = part.go_on(self.options.cut);
        for range in part.ranges(topic) {
            self.reader.assign(range);
        }
        Ok(())
    }

    fn report(&mut self, gap: Gap) {
        eprintln!("{gap}");
        tracing::error!("{gap}: Kafka has dropped these offsets and the lake lacks them");
        self.archived.gap_offsets += gap.to.abs_diff(gap.from);
        self.observer.gap(&gap);
    }

    /// Lines pieces up for storing.
    fn send(&mut self, index: usize, pieces: Vec<Piece>) {
        for piece in pieces {
            let part = &mut self.partitions[index];
            let number = part.number();
            part.in_flight_uploads.push_back(InFlightUpload {
                number,
                end: piece.covers.end,
                done: false,
                keys: 0,
            });
            self.in_flight += cost(&piece);
            self.ready.push_back(Ready {
                part: index,
                number,
                piece,
            });
        }
    }

    fn launch(&mut self) {
        while self.tasks.len() < self.options.objects_in_flight
            && let Some(Ready { part, number, piece }) = self.ready.pop_front()
        {
            let writer = Arc::clone(&self.writer);
            let (topic, partition) = (&self.partitions[part], self.partitions[part].partition);
            let topic = self.options.topics[usize::from(topic.topic)].clone();
            let bytes = cost(&piece);
            self.tasks.spawn(async move {
                let stored = writer.store(&topic, partition, piece).await;
                Ended {
                    part,
                    number,
                    bytes,
                    stored,
                }
            });
        }
    }

    /// Ends the largest open piece while all of them together are too large.
    fn flush_largest(&mut self) {
        let mut open: usize = self.partitions.iter().map(|part| part.cutter.open_bytes()).sum();
        while open > self.options.buffer_bytes / 2 {
            let parts = self.partitions.iter().enumerate();
            let Some((index, bytes)) = parts
                .map(|(index, part)| (index, part.cutter.open_bytes()))
                .max_by_key(|(_, bytes)| *bytes)
            else {
                return;
            };
            open -= bytes;
            self.flush(index);
        }
    }

    fn flush(&mut self, index: usize) {
        let mut pieces = Vec::new();
        self.partitions[index].cutter.flush(&mut |piece| pieces.push(piece));
        self.send(index, pieces);
    }

    fn take(&mut self, ended: Result<Ended, tokio::task::JoinError>) -> Result<(), ArchiveError> {
        let ended = ended.map_err(|_| ArchiveError::Panicked)?;
        self.in_flight -= ended.bytes;
        let stored = ended.stored?;
        let sum = &mut self.archived.stored;
        sum.objects += stored.objects;
        sum.records += stored.records;
        sum.bytes += stored.bytes;
        sum.found += stored.found;
        self.observer.stored(stored);
        let part = &mut self.partitions[ended.part];
        // numbers are consecutive, so a upload's place is known
        if let Some(first) = part.in_flight_uploads.front().map(|upload| upload.number)
            && let Some(upload) = part.in_flight_uploads.get_mut((ended.number - first) as usize)
        {
            upload.done = true;
            upload.keys = stored.keys;
        }
        part.settle();
        Ok(())
    }

    async fn look_at_clock(&mut self) -> Result<(), ArchiveError> {
        let rotation = rotation(self.options.rotate);
        if rotation != self.rotation {
            self.rotation = rotation;
            (0..self.partitions.len()).for_each(|index| self.flush(index));
        }
        if self.last_commit.elapsed() >= COMMIT_EVERY {
            self.last_commit = Instant::now();
            let next = self.take_commits();
            self.cluster.commit_offsets(
                next.iter()
                    .map(|(topic, partition, next)| (topic.as_str(), *partition, *next)),
            );
        }
        for part in &self.partitions {
            let name = &self.options.topics[usize::from(part.topic)];
            self.observer.progress(name, part.partition, part.archived, part.end);
        }
        if self.last_checkpoint.elapsed() >= CHECKPOINT_EVERY {
            self.last_checkpoint = Instant::now();
            self.write_checkpoints().await?;
        }
        Ok(())
    }

    /// What has become durable since the last commit.
    fn take_commits(&mut self) -> Vec<(String, i32, i64)> {
        let topics = &self.options.topics;
        let moved = self
            .partitions
            .iter_mut()
            .filter(|part| part.archived != part.committed);
        let next: Vec<_> = moved
            .map(|part| {
                part.committed = part.archived;
                (topics[usize::from(part.topic)].clone(), part.partition, part.archived)
            })
            .collect();
        if !next.is_empty() {
            failpoint::reach(failpoint::ARCHIVE_BEFORE_COMMIT);
        }
        next
    }

    /// Tells the next run how far everything is in place.
    async fn write_checkpoints(&mut self) -> Result<(), ArchiveError> {
        for part in &mut self.partitions {
            if !part.holes.is_empty() || part.checkpointed == part.archived || part.contiguous_from >= part.archived {
                continue;
            }
            part.checkpointed = part.archived;
            let checkpoint = Checkpoint {
                from: part.contiguous_from,
                to: part.archived,
                keys: part.keys,
            };
            let topic = &self.options.topics[usize::from(part.topic)];
            let write = resume::write_checkpoint(&self.writer.lake, topic, part.partition, &checkpoint);
            // the next start only takes longer without it
            let written = tokio::time::timeout(CHECKPOINT_TIMEOUT, write).await;
            let failed = written.map_or_else(
                |_| Some("the lake did not answer in time".to_owned()),
                |written| written.err().map(|error| error.to_string()),
            );
            if let Some(error) = failed {
                let partition = part.partition;
                tracing::warn!(
                    topic,
                    partition,
                    "the progress of the archive was not recorded: {error}"
                );
            }
        }
        Ok(())
    }

    /// Waits for the pieces that are cut, and commits what has become durable.
    async fn finish(&mut self) -> Result<(), ArchiveError> {
        let mut failed = Ok(());
        let deadline = tokio::time::Instant::now() + GRACE;
        self.launch();
        while !self.tasks.is_empty() {
            match tokio::time::timeout_at(deadline, self.tasks.join_next()).await {
                Ok(Some(ended)) => {
                    let taken = self.take(ended);
                    failed = failed.and(taken);
                    if failed.is_ok() {
                        self.launch();
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(
                        "{} objects were not written in time and will be read again",
                        self.tasks.len()
                    );
                    self.tasks.abort_all();
                    break;
                }
            }
        }
        let next = self.take_commits();
        let cluster = Arc::clone(&self.cluster);
        let commit = move || {
            let next = next
                .iter()
                .map(|(topic, partition, next)| (topic.as_str(), *partition, *next));
            cluster.commit_last_offsets(next);
        };
        // advice alone: not worth a long wait for a broker that is away
        let _ = tokio::time::timeout(Duration::from_secs(5), blocking(commit)).await;
        self.write_checkpoints().await?;
        failed
    }
}

impl PartitionArchiver {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Begins the next stretch, the first hole or what is live, and counts what lies before it as archived once all
    /// pieces before it are. Returns where it begins.
    fn go_on(&mut self, cut: CutOptions) -> i64 {
        let from = self.holes.front().map_or(self.next, |hole| hole.start);
        self.cutter = Cutter::new(cut, from, self.folders.of(now_millis()));
        let number = self.number();
        self.in_flight_uploads.push_back(InFlightUpload {
            number,
            end: from,
            done: true,
            keys: 0,
        });
        self.settle();
        from
    }

    /// What is to be read, in order.
    fn ranges(&self, name: &str) -> Vec<Range> {
        let range = |from, until| Range {
            topic: self.topic,
            name: name.to_owned(),
            partition: self.partition,
            from,
            until,
            after: None,
        };
        let holes = self.holes.iter().map(|hole| range(hole.start, Some(hole.end)));
        holes.chain([range(self.next, self.until)]).collect()
    }

    /// Moves on to the first piece that is not durable.
    fn settle(&mut self) {
        while self.in_flight_uploads.front().is_some_and(|upload| upload.done) {
            if let Some(upload) = self.in_flight_uploads.pop_front() {
                self.archived = self.archived.max(upload.end);
                self.keys = self.keys.wrapping_add(upload.keys);
            }
        }
    }
}

/// What a piece takes of memory.
fn cost(piece: &Piece) -> usize {
    piece.content.capacity() + size_of::<Piece>() + 512
}

fn now_millis() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(0)
}

/// Which stretch of the wall clock it is.
fn rotation(every: Option<Duration>) -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    every.map_or(0, |every| now.as_millis() / every.as_millis().max(1))
}

/// A record with everything that is known of it, for people.
fn dead_letter(topic: &str, partition: i32, offset: i64, timestamp: i64, key: Option<&[u8]>, value: &[u8]) -> Vec<u8> {
    use base64::Engine;
    let text = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let letter = json!({
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp,
        "key_base64": key.map(text),
        "value_base64": text(value),
    });
    format!("{letter}\n").into_bytes()
}
