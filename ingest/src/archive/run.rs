//! The archiver's loop: records from Kafka, cut into pieces, stored by many tasks at a time.
//!
//! Records are read in order, pieces are stored in any order, and a partition counts as archived up to its first piece
//! that is not durable. Only that far are the group's offsets committed, and they are advice: a start asks the lake.
//! Whatever waits in memory is bounded: while it is full nothing is taken from Kafka.
//!
//! When it is told to stop it finishes the pieces that are cut and leaves open ones to be read again, as the sink does.

use super::cutter::Piece;
use super::error::ArchiveError;
use super::lock::lock;
use super::options::{ArchiveOptions, ArchiveSummary, Observer};
use super::partition::PartitionArchiver;
use super::resume;
use super::survey::{Marks, Surveyor, survey};
use super::uploads::{Finished, Upload, Uploads};
use super::writer::Writer;
use crate::coverage::Gap;
use crate::failpoint;
use crate::kafka::{Cluster, KafkaError, Polled, Reader, ReaderOptions};
use crate::lake::Lake;
use crate::topic_partition::TopicPartition;
use futures_util::StreamExt;
use futures_util::stream;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, watch};
use values::{Offset, Partition};

/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(100);
/// How often the group's offsets are committed.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How often the next run is told how far everything is in place.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// How long that may take.
const CHECKPOINT_TIMEOUT: Duration = Duration::from_secs(5);
/// For so many partitions at the same time.
const CHECKPOINTS_AT_ONCE: usize = 64;
/// How long pieces may take to become durable after a request to stop.
const GRACE: Duration = Duration::from_secs(20);

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
    Ok(archiver.summary)
}

async fn blocking<O: Send + 'static>(work: impl FnOnce() -> O + Send + 'static) -> Result<O, ArchiveError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| ArchiveError::Panicked)
}

struct Archiver {
    options: ArchiveOptions,
    lake: Lake,
    observer: Arc<dyn Observer>,
    cluster: Arc<Cluster>,
    reader: Reader,
    arrived: Arc<Notify>,
    partitions: Vec<PartitionArchiver>,
    /// The place of each (topic's number, partition) in `partitions`.
    index: BTreeMap<TopicPartition, usize>,
    /// Topics that Kafka did not have at the last survey.
    absent: Vec<String>,
    ready: bool,
    uploads: Uploads,
    summary: ArchiveSummary,
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
        let writer = Arc::new(Writer {
            lake: lake.clone(),
            layout: options.layout.clone(),
            part_bytes: options.part_bytes,
        });
        Ok(Archiver {
            rotation: rotation(options.rotate),
            uploads: Uploads::new(writer, options.objects_in_flight, options.buffer_bytes / 2),
            options,
            lake,
            observer,
            cluster,
            reader,
            arrived,
            partitions: Vec::new(),
            index: BTreeMap::new(),
            absent: Vec::new(),
            ready: false,
            summary: ArchiveSummary::default(),
            last_commit: Instant::now(),
            last_checkpoint: Instant::now(),
        })
    }

    async fn run(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), ArchiveError> {
        let mut marks = self.survey().await?;
        if self.options.once {
            marks = tokio::select! {
                marks = self.confirmed(marks) => marks?,
                _ = stop.wait_for(|stop| *stop) => return Ok(()),
            };
        }
        self.begin_unless_stopped(marks, stop).await?;
        let (_surveyor, mut surveys) = Surveyor::start(Arc::clone(&self.cluster), self.options.topics.clone());
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            self.drain()?;
            self.uploads.launch();
            if self.is_done() || *stop.borrow() {
                return Ok(());
            }
            let room = self.uploads.has_room();
            tokio::select! {
                () = self.arrived.notified(), if room => {}
                Some(finished) = self.uploads.next() => self.take(finished?)?,
                _ = tick.tick() => self.look_at_clock().await,
                Some(marks) = surveys.recv() => self.begin_unless_stopped(marks, stop).await?,
                _ = stop.changed() => {}
            }
            while let Some(finished) = self.uploads.try_next() {
                self.take(finished?)?;
            }
        }
    }

    async fn survey(&self) -> Result<Marks, ArchiveError> {
        let (cluster, topics) = (Arc::clone(&self.cluster), self.options.topics.clone());
        Ok(blocking(move || survey(&cluster, &topics)).await??)
    }

    /// What Kafka holds, in which no topic is absent because a broker that has just started did not know it.
    async fn confirmed(&self, marks: Marks) -> Result<Marks, ArchiveError> {
        let absent = |topic: &String| {
            let (cluster, topic) = (Arc::clone(&self.cluster), topic.clone());
            blocking(move || cluster.confirmed_absent(&topic))
        };
        let asked: Vec<_> = self.not_in_kafka(&marks).iter().map(absent).collect();
        for is_absent in futures_util::future::join_all(asked).await {
            if !is_absent?? {
                return self.survey().await;
            }
        }
        Ok(marks)
    }

    /// The topics that Kafka has not shown, neither now nor earlier.
    fn not_in_kafka(&self, marks: &Marks) -> Vec<String> {
        let exists = |topic: usize| {
            let mut known = marks.keys().chain(self.index.keys());
            known.any(|at| usize::from(at.topic) == topic)
        };
        let topics = self.options.topics.iter().enumerate();
        let absent = topics.filter(|(number, _)| !exists(*number));
        absent.map(|(_, topic)| topic.clone()).collect()
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
        self.look_for_topics(&marks)?;
        self.begin_new(marks).await?;
        // without any topic there is nothing that it could be ready for
        if !self.ready && !self.partitions.is_empty() {
            self.ready = true;
            self.observer.ready();
        }
        Ok(())
    }

    /// Says which topics do not exist, whenever these are others than before. To archive none of them once is a failure.
    fn look_for_topics(&mut self, marks: &Marks) -> Result<(), ArchiveError> {
        let absent = self.not_in_kafka(marks);
        if self.options.once && absent.len() == self.options.topics.len() {
            let topics = absent.join(", ");
            return Err(ArchiveError::NoTopics { topics });
        }
        if !absent.is_empty() && absent != self.absent {
            let topics = absent.join(", ");
            tracing::warn!(
                topics,
                "not in Kafka: nothing is archived of these topics until they exist"
            );
        }
        self.absent = absent;
        Ok(())
    }

    async fn begin_new(&mut self, marks: Marks) -> Result<(), ArchiveError> {
        let mut new = Marks::new();
        for (at, marks) in marks {
            let topic = &self.options.topics[usize::from(at.topic)];
            self.observer.kafka_start(topic, at.partition, marks.low);
            match self.index.get(&at) {
                Some(index) => self.partitions[*index].set_end(marks.stable),
                None => drop(new.insert(at, marks)),
            }
        }
        if new.is_empty() || (self.options.once && !self.partitions.is_empty()) {
            return Ok(());
        }
        let topics = &self.options.topics;
        for (at, resume) in resume::resume(&self.lake, &self.cluster, topics, &new).await? {
            for gap in &resume.gaps {
                self.report(gap.clone());
            }
            let TopicPartition {
                topic,
                partition: number,
            } = at;
            let holes = resume.holes.len();
            let partition = PartitionArchiver::new(&self.options, topic, number, resume, new[&at].stable);
            tracing::info!(
                topic = &**partition.name(),
                partition = number.0,
                from = partition.seen().0,
                holes,
                end = partition.end().0,
                "archiving"
            );
            for range in partition.ranges() {
                self.reader.assign(range);
            }
            self.index.insert(at, self.partitions.len());
            self.partitions.push(partition);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let read = self.options.once && self.partitions.iter().all(PartitionArchiver::is_read);
        read && self.uploads.is_idle()
    }

    /// Takes what Kafka has, as long as there is room.
    fn drain(&mut self) -> Result<(), ArchiveError> {
        // tasks that have ended are looked at between batches
        for _ in 0..64 {
            if !self.uploads.has_room() {
                return Ok(());
            }
            match self.reader.try_next() {
                None => return Ok(()),
                Some(Polled::Batch(batch)) => {
                    if let Some(&index) = self.index.get(&batch.at()) {
                        let pieces = self.partitions[index].cut(&batch, &self.options);
                        self.upload(index, pieces);
                    }
                }
                Some(Polled::Reached { topic, partition, next }) => {
                    self.reached(TopicPartition { topic, partition }, next)
                }
                Some(Polled::Failed(error)) => self.failed(error)?,
            }
            self.uploads.launch();
            self.flush_largest();
        }
        self.arrived.notify_one();
        Ok(())
    }

    /// A stretch has been read to its end, or nothing is there below `next` that was not handed over.
    fn reached(&mut self, at: TopicPartition, next: Offset) {
        let Some(&index) = self.index.get(&at) else { return };
        if self.partitions[index].reached(next) {
            self.flush(index);
            self.partitions[index].advance(&self.options);
        }
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
        let at = TopicPartition {
            topic: number as u8,
            partition: *partition,
        };
        let index = self.index.get(&at).copied();
        let Some(index) = index.filter(|_| *low > *offset) else {
            if offset > high {
                return Err(ArchiveError::Ahead {
                    topic: topic.clone(),
                    partition: *partition,
                    lake: *offset,
                    kafka: *high,
                });
            }
            return Err(error.into());
        };
        // retention was faster than the archiver
        self.report(Gap {
            topic: topic.clone(),
            partition: *partition,
            from: self.partitions[index].seen(),
            to: *low,
        });
        self.flush(index);
        let partition = &mut self.partitions[index];
        partition.skip_below(*low, &self.options);
        for range in partition.ranges() {
            self.reader.assign(range);
        }
        Ok(())
    }

    fn report(&mut self, gap: Gap) {
        eprintln!("{gap}");
        tracing::error!("{gap}: Kafka has dropped these offsets and the lake lacks them");
        self.summary.gap_offsets += gap.to.abs_diff(gap.from);
        self.observer.gap(&gap);
    }

    /// Lines pieces up for storing.
    fn upload(&mut self, index: usize, pieces: Vec<Piece>) {
        let partition = &mut self.partitions[index];
        for piece in pieces {
            self.uploads.push(Upload {
                index,
                number: partition.upload_begun(&piece),
                topic: Arc::clone(partition.name()),
                partition: partition.partition(),
                piece,
            });
        }
    }

    /// Ends the largest open piece while all of them together are too large.
    fn flush_largest(&mut self) {
        let mut open: usize = self.partitions.iter().map(PartitionArchiver::open_bytes).sum();
        while open > self.options.buffer_bytes / 2 {
            let sizes = self.partitions.iter().map(PartitionArchiver::open_bytes).enumerate();
            let Some((index, bytes)) = sizes.max_by_key(|(_, bytes)| *bytes) else {
                return;
            };
            open -= bytes;
            self.flush(index);
        }
    }

    fn flush(&mut self, index: usize) {
        let pieces = self.partitions[index].flush();
        self.upload(index, pieces);
    }

    /// A piece is durable, or could not be stored.
    fn take(&mut self, finished: Finished) -> Result<(), ArchiveError> {
        let stored = finished.stored?;
        let sum = &mut self.summary.stored;
        sum.objects += stored.objects;
        sum.records += stored.records;
        sum.bytes += stored.bytes;
        sum.found += stored.found;
        self.observer.stored(stored);
        self.partitions[finished.index].upload_done(finished.number, stored.keys);
        Ok(())
    }

    async fn look_at_clock(&mut self) {
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
                    .map(|(topic, partition, next)| (&**topic, *partition, *next)),
            );
        }
        for partition in &self.partitions {
            let (archived, end) = (partition.archived(), partition.end());
            self.observer
                .progress(partition.name(), partition.partition(), archived, end);
        }
        if self.last_checkpoint.elapsed() >= CHECKPOINT_EVERY {
            self.last_checkpoint = Instant::now();
            self.write_checkpoints().await;
        }
    }

    /// What has become durable since the last commit.
    fn take_commits(&mut self) -> Vec<(Arc<str>, Partition, Offset)> {
        let take = |partition: &mut PartitionArchiver| {
            let archived = partition.take_commit()?;
            Some((Arc::clone(partition.name()), partition.partition(), archived))
        };
        let next: Vec<_> = self.partitions.iter_mut().filter_map(take).collect();
        if !next.is_empty() {
            failpoint::reach(failpoint::ARCHIVE_BEFORE_COMMIT);
        }
        next
    }

    /// Tells the next run how far everything is in place. A lake that is away takes the time of one partition.
    async fn write_checkpoints(&mut self) {
        let due = self.partitions.iter_mut().filter_map(|archiver| {
            let checkpoint = archiver.take_checkpoint()?;
            Some((Arc::clone(archiver.name()), archiver.partition(), checkpoint))
        });
        let due: Vec<_> = due.collect();
        let lake = &self.lake;
        let write = |(topic, partition, checkpoint): (Arc<str>, Partition, resume::Checkpoint)| async move {
            let write = resume::write_checkpoint(lake, &topic, partition, &checkpoint);
            // the next start only takes longer without it
            let written = tokio::time::timeout(CHECKPOINT_TIMEOUT, write).await;
            let failed = written.map_or_else(
                |_| Some("the lake did not answer in time".to_owned()),
                |written| written.err().map(|error| causes::with_causes(&error)),
            );
            if let Some(error) = failed {
                tracing::warn!(
                    topic = &*topic,
                    partition = partition.0,
                    "the progress of the archive was not recorded: {error}"
                );
            }
        };
        stream::iter(due).for_each_concurrent(CHECKPOINTS_AT_ONCE, write).await;
    }

    /// Waits for the pieces that are cut, and commits what has become durable.
    async fn finish(&mut self) -> Result<(), ArchiveError> {
        let mut failed = Ok(());
        let deadline = tokio::time::Instant::now() + GRACE;
        self.uploads.launch();
        loop {
            match tokio::time::timeout_at(deadline, self.uploads.next()).await {
                Ok(Some(finished)) => {
                    let taken = finished.and_then(|finished| self.take(finished));
                    failed = failed.and(taken);
                    if failed.is_ok() {
                        self.uploads.launch();
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(
                        "{} objects were not written in time and will be read again",
                        self.uploads.running()
                    );
                    self.uploads.abort();
                    break;
                }
            }
        }
        let next = self.take_commits();
        let cluster = Arc::clone(&self.cluster);
        let commit = move || {
            let next = next
                .iter()
                .map(|(topic, partition, next)| (&**topic, *partition, *next));
            cluster.commit_last_offsets(next);
        };
        // advice alone: not worth a long wait for a broker that is away
        let _ = tokio::time::timeout(Duration::from_secs(5), blocking(commit)).await;
        self.write_checkpoints().await;
        failed
    }
}

/// Which stretch of the wall clock it is.
fn rotation(every: Option<Duration>) -> u128 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    every.map_or(0, |every| now.as_millis() / every.as_millis().max(1))
}
