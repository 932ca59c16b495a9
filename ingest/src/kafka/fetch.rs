//! A reader of ranges of partitions: the thread that polls librdkafka.
//!
//! Each partition has a queue of its own in librdkafka, because rust-rdkafka says neither the topic of a partition
//! that has come to its end nor the partition of an error; on a queue of its own both are known. The queue is split
//! off *before* the partition is assigned, so that nothing of it ever comes through the common queue.
//!
//! The thread parks when all queues are empty. librdkafka calls back when a queue ceases to be empty, the callback
//! unparks, and an unpark that comes before the park is kept: since every queue was polled until it was empty, none
//! can fill without a wake-up. (rust-rdkafka's `StreamConsumer` with split queues lost some, its issue 840.)
//! Parking ends after a tenth of a second all the same.

use super::client::{Context, end_offset, serve};
use super::output::Output;
use super::{Batch, KafkaError, Polled, Range};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest sleep.
const NAP: Duration = Duration::from_millis(100);
/// How long a partition must be unknown to be believed gone.
const GONE_AFTER: Duration = Duration::from_secs(10);
/// How often a partition that seems gone is asked for.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long a question to the broker may hold up all partitions.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an error that librdkafka retries is logged for a partition.
const WARN_EVERY: Duration = Duration::from_secs(10);

/// What the caller wants of the thread.
#[derive(Default)]
pub(super) struct Inbox {
    ranges: Mutex<Vec<Range>>,
    stop: AtomicBool,
}

impl Inbox {
    pub(super) fn push(&self, range: Range) {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner).push(range);
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, SeqCst);
    }

    fn take(&self) -> Vec<Range> {
        std::mem::take(&mut self.ranges.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The thread's state.
pub(super) struct Fetch {
    output: Output,
    inbox: Arc<Inbox>,
    bootstrap: String,
    batch_bytes: usize,
    parts: Vec<Part>,
    /// Ranges of partitions that are being read already.
    waiting: VecDeque<Range>,
    /// Whether a range has ended, so that one that waits may begin.
    freed: bool,
}

/// A range that is being read.
struct Part {
    range: Range,
    /// Everything below has been handed over.
    next: i64,
    /// The partition's queue in librdkafka, while it is assigned there.
    queue: Option<PartitionQueue<Context>>,
    /// Since when the partition seems not to exist, and when it was last asked for.
    missing: Option<(Instant, Instant)>,
    warned: Option<Instant>,
    /// Bytes of the last batch: the next one is probably as large.
    last: usize,
}

/// Why polling a partition stopped.
enum Stopped {
    /// Its queue is empty.
    Empty,
    /// The batch is large enough, or the caller too slow.
    More,
    /// All records of the range have been seen.
    Reached,
    /// librdkafka has something to say.
    Event(Native),
}

/// What becomes of a range after an event.
enum Fate {
    /// It goes on; the flag says whether there may be more on the queue.
    Goes,
    /// It is at its end.
    Ends,
    /// It cannot be read any further.
    Fails(KafkaError),
}

impl Fetch {
    pub(super) fn new(output: Output, inbox: Arc<Inbox>, bootstrap: String, batch_bytes: usize) -> Fetch {
        Fetch {
            output,
            inbox,
            bootstrap,
            batch_bytes,
            parts: Vec::new(),
            waiting: VecDeque::new(),
            freed: false,
        }
    }

    /// Reads until it is stopped or cannot go on.
    pub(super) fn run(mut self, mut consumer: BaseConsumer<Context>) {
        let thread = std::thread::current();
        consumer.set_nonempty_callback(move || thread.unpark());
        let consumer = Arc::new(consumer);
        while !self.inbox.stop.load(SeqCst) {
            self.begin_ranges(&consumer);
            self.serve_client(&consumer);
            if let Some(detail) = consumer.context().authentication_failure() {
                self.output.push(Polled::Failed(KafkaError::Authentication {
                    bootstrap: self.bootstrap,
                    detail,
                }));
                break;
            }
            if let Some((code, detail)) = consumer.client().fatal_error() {
                tracing::error!("librdkafka cannot go on: {detail}");
                let source = Native::MessageConsumptionFatal(code);
                self.output.push(Polled::Failed(KafkaError::Client {
                    action: "go on",
                    source,
                }));
                break;
            }
            self.ask_for_missing(&consumer);
            if !self.drain_all(&consumer) {
                std::thread::park_timeout(NAP);
            }
        }
        // the queues before their consumer
        self.parts.clear();
    }

    fn begin_ranges(&mut self, consumer: &Arc<BaseConsumer<Context>>) {
        let new = self.inbox.take();
        if new.is_empty() && !self.freed {
            return;
        }
        self.freed = false;
        self.waiting.extend(new);
        let mut later = VecDeque::new();
        while let Some(range) = self.waiting.pop_front() {
            let busy = self
                .parts
                .iter()
                .map(|part| &part.range)
                .chain(&later)
                .any(|other| range.same_partition(other));
            if busy {
                later.push_back(range);
                continue;
            }
            let mut part = Part {
                next: range.from.max(0),
                range,
                queue: None,
                missing: None,
                warned: None,
                last: 0,
            };
            if part.range.until.is_some_and(|until| part.next >= until) {
                self.output.push(part.reached());
                // the next range of this partition may begin at once, too
                continue;
            }
            match part.attach(consumer) {
                Ok(()) => self.parts.push(part),
                Err(error) => self.output.push(Polled::Failed(error)),
            }
        }
        self.waiting = later;
    }

    /// Log lines and errors of connections. A record here would mean that a queue was split off too late: then the
    /// partition starts again where it was.
    fn serve_client(&mut self, consumer: &Arc<BaseConsumer<Context>>) {
        while let Some(stray) = serve(consumer) {
            let (topic, partition) = (stray.topic(), stray.partition());
            tracing::warn!("a record of {topic}/{partition} came on the common queue, reading it again");
            let of = |part: &Part| part.range.name == topic && part.range.partition == partition;
            let Some(at) = self.parts.iter().position(of) else {
                continue;
            };
            self.parts[at].detach(consumer);
            if let Err(error) = self.parts[at].attach(consumer) {
                self.fail(at, consumer, error);
            }
        }
    }

    /// Polls every partition once, as far as the caller keeps up. Says whether there was anything.
    fn drain_all(&mut self, consumer: &Arc<BaseConsumer<Context>>) -> bool {
        let mut worked = false;
        let mut at = 0;
        while at < self.parts.len() && !self.output.is_full() {
            let (did, fate) = self.parts[at].drain(consumer, &self.output, self.batch_bytes);
            worked |= did;
            match fate {
                Fate::Goes => {
                    at += 1;
                    continue;
                }
                Fate::Ends => {
                    let mut part = self.parts.swap_remove(at);
                    part.detach(consumer);
                    self.output.push(part.reached());
                    self.freed = true;
                }
                Fate::Fails(error) => self.fail(at, consumer, error),
            }
        }
        // those that were not served come first when there is room again
        let served = at % self.parts.len().max(1);
        self.parts.rotate_left(served);
        if worked {
            consumer.context().authenticated();
        }
        worked
    }

    /// A partition that librdkafka calls unknown may only be unknown to a broker that is starting.
    fn ask_for_missing(&mut self, consumer: &Arc<BaseConsumer<Context>>) {
        let mut at = 0;
        while at < self.parts.len() {
            let part = &mut self.parts[at];
            let answer = match part.missing {
                Some((since, asked)) if asked.elapsed() >= ASK_EVERY => {
                    part.missing = Some((since, Instant::now()));
                    part.exists(consumer).map(|exists| (exists, since))
                }
                _ => None,
            };
            let error = match answer {
                Some((true, _)) => part.attach(consumer).err(),
                Some((false, since)) if since.elapsed() >= GONE_AFTER => Some(KafkaError::TopicGone {
                    topic: part.range.name.clone(),
                    partition: part.range.partition,
                }),
                _ => None,
            };
            match error {
                None => at += 1,
                Some(error) => self.fail(at, consumer, error),
            }
        }
    }

    /// Gives a partition up, together with the ranges of it that were to come.
    fn fail(&mut self, at: usize, consumer: &BaseConsumer<Context>, error: KafkaError) {
        let mut part = self.parts.swap_remove(at);
        part.detach(consumer);
        self.waiting.retain(|range| !part.range.same_partition(range));
        self.freed = true;
        self.output.push(Polled::Failed(error));
    }
}

impl Part {
    /// Hands the partition to librdkafka, from where this range is.
    fn attach(&mut self, consumer: &Arc<BaseConsumer<Context>>) -> Result<(), KafkaError> {
        let Range { name, partition, .. } = &self.range;
        debug_assert!(self.queue.is_none(), "{name}/{partition} is attached twice");
        let failed = |action| move |source| KafkaError::Client { action, source };
        let mut queue = consumer.split_partition_queue(name, *partition).ok_or_else(|| {
            failed("split off a partition's queue")(Native::Subscription(format!("{name}/{partition}")))
        })?;
        let thread = std::thread::current();
        queue.set_nonempty_callback(move || thread.unpark());
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(name, *partition, Offset::Offset(self.next))
            .map_err(failed("name a partition"))?;
        consumer
            .incremental_assign(&list)
            .map_err(failed("assign a partition"))?;
        self.queue = Some(queue);
        self.missing = None;
        Ok(())
    }

    /// Takes the partition back. What librdkafka had fetched of it is dropped, and never comes again.
    fn detach(&mut self, consumer: &BaseConsumer<Context>) {
        // the old queue first: a later one is the same object in librdkafka, with its own callback
        if self.queue.take().is_none() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.range.name, self.range.partition);
        if let Err(error) = consumer.incremental_unassign(&list) {
            tracing::warn!(
                "{}/{} could not be given back: {error}",
                self.range.name,
                self.range.partition
            );
        }
    }

    fn reached(&self) -> Polled {
        let next = self.range.until.unwrap_or(self.next);
        Polled::Reached {
            topic: self.range.topic,
            partition: self.range.partition,
            next,
        }
    }

    /// Hands over what is there, at most one batch. Says whether there was anything, and what comes next.
    fn drain(&mut self, consumer: &BaseConsumer<Context>, output: &Output, batch_bytes: usize) -> (bool, Fate) {
        let Some(queue) = &self.queue else {
            return (false, Fate::Goes);
        };
        let mut batch = Batch::new(self.range.topic, self.range.partition, self.next);
        let until = self.range.until.unwrap_or(i64::MAX);
        let stopped = loop {
            let message = match queue.poll(Duration::ZERO) {
                None => break Stopped::Empty,
                Some(Err(event)) => break Stopped::Event(event),
                Some(Ok(message)) => message,
            };
            let offset = message.offset();
            if offset < batch.next {
                continue;
            }
            if offset >= until {
                break Stopped::Reached;
            }
            if batch.records.is_empty() {
                batch.bytes.reserve(self.last.min(batch_bytes));
            }
            let timestamp = message.timestamp().to_millis().unwrap_or(-1);
            batch.push_at(offset, timestamp, message.key(), message.payload());
            if batch.next >= until {
                break Stopped::Reached;
            }
            if batch.bytes.len() >= batch_bytes || batch.records.len() * size_of::<super::Span>() >= batch_bytes {
                break Stopped::More;
            }
        };
        self.next = batch.next;
        let delivered = !batch.records.is_empty();
        if delivered {
            self.last = batch.bytes.len() + batch.bytes.len() / 8;
            output.push(Polled::Batch(batch));
        }
        match stopped {
            Stopped::Empty => (delivered, Fate::Goes),
            Stopped::More => (true, Fate::Goes),
            Stopped::Reached => (true, Fate::Ends),
            Stopped::Event(event) => (true, self.judge(consumer, output, event)),
        }
    }

    /// What an event on the partition's queue means for the range.
    fn judge(&mut self, consumer: &BaseConsumer<Context>, output: &Output, event: Native) -> Fate {
        let detail = consumer.context().reason();
        let (topic, partition, offset) = (self.range.name.clone(), self.range.partition, self.next);
        let code = match event {
            Native::PartitionEOF(_) => return self.end_of_partition(output, &detail),
            ref other => other.rdkafka_error_code(),
        };
        match code {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
                let held = consumer.fetch_watermarks(&topic, partition, ASK_TIMEOUT).ok();
                Fate::Fails(KafkaError::OffsetOutOfRange {
                    topic,
                    partition,
                    offset,
                    held,
                    detail,
                })
            }
            Some(Code::TopicAuthorizationFailed) => Fate::Fails(KafkaError::NotAuthorized { topic }),
            Some(
                Code::BadMessage
                | Code::BadCompression
                | Code::NotImplemented
                | Code::InvalidMessage
                | Code::MessageSizeTooLarge
                | Code::UnsupportedCompressionType,
            ) => Fate::Fails(KafkaError::Unreadable {
                topic,
                partition,
                offset,
                detail,
            }),
            Some(
                Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition | Code::UnknownTopicId,
            ) => {
                tracing::warn!("{topic}/{partition} is unknown to Kafka, asking again: {detail}");
                self.detach(consumer);
                let now = Instant::now();
                self.missing = Some((now, now));
                Fate::Goes
            }
            _ => {
                if self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                    self.warned = Some(Instant::now());
                    tracing::warn!("{topic}/{partition} cannot be read at offset {offset}, trying again: {detail}");
                }
                Fate::Goes
            }
        }
    }

    /// The broker has no record at `next` or above, up to the offset that it names.
    fn end_of_partition(&mut self, output: &Output, detail: &str) -> Fate {
        let end = end_offset(detail);
        debug_assert!(
            end.is_some(),
            "librdkafka words the end of a partition differently: {detail}"
        );
        let end = end.unwrap_or(self.next);
        let advanced = end > self.next;
        self.next = self.next.max(end);
        match self.range.until {
            Some(until) if self.next >= until => return Fate::Ends,
            None if advanced => output.push(self.reached()),
            _ => {}
        }
        Fate::Goes
    }

    /// Whether Kafka knows the partition; `None` when it could not be asked.
    fn exists(&self, consumer: &BaseConsumer<Context>) -> Option<bool> {
        let metadata = consumer.fetch_metadata(Some(&self.range.name), ASK_TIMEOUT).ok()?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.range.name)?;
        Some(
            topic
                .partitions()
                .iter()
                .any(|partition| partition.id() == self.range.partition),
        )
    }
}
