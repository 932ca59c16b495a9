//! A range of one partition that is being read, and what the events on its queue mean.
//!
//! **A topic that was created again** under its name is another log, and none of its records may be taken for one of
//! the old log. Two things are watched:
//!
//! - Whenever the partition is assigned, at first or again, reading begins at the last record before the position, if
//!   one is known. It must be the same record as before. Since it comes out of the queue before all others there is no
//!   moment between the comparison and the reading. A hole in its place, or retention beyond it, proves nothing.
//! - While it is assigned, librdkafka silently follows a name to a topic with another id. It says so in a debug line
//!   before it fetches from there (`Context::log`); the line is looked for after records were taken and before they
//!   are handed over.
//!
//! Brokers that know no topic ids, Kafka before 3.1 and those that only speak its protocol, are left with the first.

use super::client::{Context, end_offset, reason};
use super::error::Remade;
use super::message::normalize_message;
use super::{Batch, KafkaError, Polled, Range, RecordId, RecordRef};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use std::sync::Arc;
use std::time::{Duration, Instant};
use values::Offset;

/// How long a partition must be unknown to be believed gone, and its log too short to be believed another one: a
/// broker that starts, or that has just become the leader, may not know all at once.
const GONE_AFTER: Duration = Duration::from_secs(10);
/// How often a partition that seems gone is asked for.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How long a question to the broker may hold up all partitions.
const ASK_TIMEOUT: Duration = Duration::from_secs(2);
/// How often an error that librdkafka retries is logged for a partition.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// How often a position is tried again that the broker first says it does not hold and then says it holds.
const MOST_RETRIES: u32 = 3;

/// A range that is being read.
pub(super) struct AssignedPartition {
    pub(super) range: Range,
    /// Everything below has been handed over.
    next: Offset,
    /// The last record before `next`, if it is known.
    last: Option<RecordId>,
    state: State,
    /// How often the topic had become another one when the range began.
    changes: u64,
    /// Whether partitions of the topic may be read elsewhere.
    shared_topic: bool,
    /// Tries since the broker last held the position.
    retries: u32,
    warned: Option<Instant>,
    /// Bytes of the last batch: the next one is probably as large.
    size: usize,
}

/// Where the partition stands in librdkafka.
enum State {
    /// It is not assigned.
    Detached,
    /// It seems not to exist.
    Missing { since: Instant, asked: Instant },
    /// It is assigned, with a queue of its own.
    Attached {
        queue: PartitionQueue<Context>,
        check: Option<Check>,
    },
}

/// A comparison that has not been made yet: the queue stands at the last record.
struct Check {
    last: RecordId,
    /// Since when the log seems to end at or below that record, and when it was last asked for.
    short: Option<(Instant, Instant)>,
}

/// What was taken from a partition's queue.
pub(super) struct PollOutcome {
    batch: Batch,
    stopped: Stopped,
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
    /// The record that was read last is another one now.
    OtherRecord,
}

/// What becomes of a range.
pub(super) enum Progress {
    /// There is more to read.
    Continue,
    /// It is at its end.
    Done,
    /// It cannot be read any further.
    Failed(KafkaError),
}

impl PollOutcome {
    /// Whether there was nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.records.is_empty() && matches!(self.stopped, Stopped::Empty)
    }
}

impl AssignedPartition {
    pub(super) fn new(range: Range, shared_topic: bool, consumer: &BaseConsumer<Context>) -> AssignedPartition {
        let next = range.from.max(Offset::ZERO);
        let last = range.after.filter(|last| last.offset < next);
        debug_assert_eq!(last, range.after, "the record lies before the range");
        AssignedPartition {
            next,
            last,
            state: State::Detached,
            // what was read elsewhere was of the topic that this client knew first
            changes: if shared_topic {
                0
            } else {
                consumer.context().changes(&range.name)
            },
            shared_topic,
            retries: 0,
            warned: None,
            size: 0,
            range,
        }
    }

    /// Whether there is nothing (more) to read.
    pub(super) fn is_at_end(&self) -> bool {
        self.range.until.is_some_and(|until| self.next >= until)
    }

    /// Hands the partition to librdkafka, from the last record on, which is compared, or from where this range is.
    pub(super) fn attach(&mut self, consumer: &Arc<BaseConsumer<Context>>) -> Result<(), KafkaError> {
        let Range { name, partition, .. } = &self.range;
        debug_assert!(
            !matches!(self.state, State::Attached { .. }),
            "{name}/{partition} is attached twice"
        );
        let failed = |action| move |error| KafkaError::client(action, error);
        let mut queue = consumer.split_partition_queue(name, partition.0).ok_or_else(|| {
            failed("split off a partition's queue")(Native::Subscription(format!("{name}/{partition}")))
        })?;
        let thread = std::thread::current();
        queue.set_nonempty_callback(move || thread.unpark());
        let from = self.last.map_or(self.next, |last| last.offset);
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(name, partition.0, rdkafka::Offset::Offset(from.0))
            .map_err(failed("name a partition"))?;
        consumer
            .incremental_assign(&list)
            .map_err(failed("assign a partition"))?;
        let check = self.last.map(|last| Check { last, short: None });
        self.state = State::Attached { queue, check };
        Ok(())
    }

    /// Takes the partition back. What librdkafka had fetched of it is dropped, and never comes again.
    pub(super) fn detach(&mut self, consumer: &BaseConsumer<Context>) {
        // the old queue first: a later one is the same object in librdkafka, with its own callback
        if !matches!(
            std::mem::replace(&mut self.state, State::Detached),
            State::Attached { .. }
        ) {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&self.range.name, self.range.partition.0);
        if let Err(error) = consumer.incremental_unassign(&list) {
            tracing::warn!(
                "{}/{} could not be given back: {error}",
                self.range.name,
                self.range.partition
            );
        }
    }

    pub(super) fn restart(&mut self, consumer: &Arc<BaseConsumer<Context>>) -> Progress {
        self.detach(consumer);
        self.attach(consumer)
            .map_or_else(Progress::Failed, |()| Progress::Continue)
    }

    pub(super) fn reached(&self) -> Polled {
        let next = self.range.until.unwrap_or(self.next);
        Polled::Reached {
            topic: self.range.topic,
            partition: self.range.partition,
            next,
        }
    }

    /// Takes what is there, at most one batch. None of it is handed over yet.
    pub(super) fn poll(&mut self, batch_bytes: usize) -> PollOutcome {
        let mut batch = Batch::new(self.range.topic, self.range.partition, self.next);
        let until = self.range.until.unwrap_or(Offset::MAX);
        let State::Attached { queue, check } = &mut self.state else {
            let stopped = Stopped::Empty;
            return PollOutcome { batch, stopped };
        };
        let began = Instant::now();
        let stopped = loop {
            let message = match queue.poll(Duration::ZERO) {
                None => break Stopped::Empty,
                Some(Err(event)) => break Stopped::Event(event),
                Some(Ok(message)) => message,
            };
            let record = RecordRef::of(&message);
            let offset = record.offset;
            if let Some(Check { last, .. }) = check.take_if(|check| check.last.offset <= offset)
                && last.offset == offset
                && last != record.id()
            {
                break Stopped::OtherRecord;
            }
            if offset < batch.next {
                continue;
            }
            if offset >= until {
                break Stopped::Reached;
            }
            if batch.records.is_empty() {
                batch.bytes.reserve(self.size.min(batch_bytes));
            }
            batch.push(record);
            if batch.next >= until {
                break Stopped::Reached;
            }
            if batch.bytes.len() >= batch_bytes || batch.records.len() * size_of::<super::Span>() >= batch_bytes {
                break Stopped::More;
            }
        };
        batch.took = began.elapsed();
        PollOutcome { batch, stopped }
    }

    /// Hands over what was taken, and says what comes next. The consumer has been served in between.
    pub(super) fn settle(
        &mut self,
        outcome: PollOutcome,
        consumer: &Arc<BaseConsumer<Context>>,
        hand_over: &mut dyn FnMut(Polled),
    ) -> Progress {
        let PollOutcome { batch, stopped } = outcome;
        let changes = consumer.context().changes(&self.range.name);
        if changes != self.changes {
            return self.changed(changes, consumer);
        }
        self.next = batch.next;
        if let Some(last) = batch.last_id() {
            self.last = Some(last);
            self.retries = 0;
            self.size = batch.bytes.len() + batch.bytes.len() / 8;
            hand_over(Polled::Batch(batch));
        }
        match stopped {
            Stopped::Empty | Stopped::More => Progress::Continue,
            Stopped::Reached => Progress::Done,
            Stopped::Event(event) => self.handle_event(consumer, hand_over, event),
            Stopped::OtherRecord => self.remade(Remade::OtherRecord),
        }
    }

    /// What becomes of the range when its topic has become another one, whatever else there is.
    pub(super) fn check_topic(&mut self, consumer: &Arc<BaseConsumer<Context>>) -> Progress {
        let changes = consumer.context().changes(&self.range.name);
        if changes == self.changes {
            Progress::Continue
        } else {
            self.changed(changes, consumer)
        }
    }

    fn changed(&mut self, changes: u64, consumer: &Arc<BaseConsumer<Context>>) -> Progress {
        if self.next > Offset::ZERO {
            return self.remade(Remade::OtherId);
        }
        if self.shared_topic {
            return Progress::Failed(KafkaError::EmptyTopicRemade {
                topic: self.range.name.clone(),
                partition: self.range.partition,
            });
        }
        // nothing of the old topic has been handed over
        self.changes = changes;
        match self.state {
            State::Attached { .. } => self.restart(consumer),
            State::Detached | State::Missing { .. } => Progress::Continue,
        }
    }

    fn remade(&self, found: Remade) -> Progress {
        Progress::Failed(KafkaError::TopicRemade {
            topic: self.range.name.clone(),
            partition: self.range.partition,
            offset: self.last.map_or(self.next.previous(), |last| last.offset),
            found,
        })
    }

    /// What an event on the partition's queue means for the range.
    fn handle_event(
        &mut self,
        consumer: &Arc<BaseConsumer<Context>>,
        hand_over: &mut dyn FnMut(Polled),
        event: Native,
    ) -> Progress {
        let reason = reason();
        let code = match event {
            Native::PartitionEOF(_) => return self.end_of_partition(hand_over, &reason),
            ref other => other.rdkafka_error_code(),
        };
        let detail = normalize_message(&reason);
        let (topic, partition, offset) = (self.range.name.clone(), self.range.partition, self.next);
        match code {
            Some(Code::AutoOffsetReset | Code::OffsetOutOfRange) => self.out_of_range(consumer, detail),
            Some(Code::TopicAuthorizationFailed) => Progress::Failed(KafkaError::NotAuthorized { topic }),
            Some(
                Code::BadMessage
                | Code::BadCompression
                | Code::NotImplemented
                | Code::InvalidMessage
                | Code::MessageSizeTooLarge
                | Code::UnsupportedCompressionType,
            ) => Progress::Failed(KafkaError::Unreadable {
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
                self.state = State::Missing { since: now, asked: now };
                Progress::Continue
            }
            _ => {
                if self.warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
                    self.warned = Some(Instant::now());
                    tracing::warn!("{topic}/{partition} cannot be read at offset {offset}, trying again: {detail}");
                }
                Progress::Continue
            }
        }
    }

    /// The broker has no record at the queue's position or above, up to the offset that it names.
    fn end_of_partition(&mut self, hand_over: &mut dyn FnMut(Polled), reason: &str) -> Progress {
        let end = end_offset(reason);
        debug_assert!(
            end.is_some(),
            "librdkafka words the end of a partition differently: {reason}"
        );
        let end = end.unwrap_or(self.next);
        if let State::Attached { check, .. } = &mut self.state
            && let Some(Check { last, short }) = check
        {
            if end <= last.offset {
                // not believed at once, see `check_end`
                let now = Instant::now();
                short.get_or_insert((now, now));
                return Progress::Continue;
            }
            *check = None;
        }
        self.retries = 0;
        let advanced = end > self.next;
        self.next = self.next.max(end);
        if self.is_at_end() {
            return Progress::Done;
        }
        if self.range.until.is_none() && advanced {
            hand_over(self.reached());
        }
        Progress::Continue
    }

    /// The broker does not hold the position of the queue.
    fn out_of_range(&mut self, consumer: &Arc<BaseConsumer<Context>>, detail: String) -> Progress {
        let (topic, partition) = (self.range.name.clone(), self.range.partition);
        let held = self.held(consumer);
        if let (Some((_, end)), Some(last)) = (held, self.last)
            && end <= last.offset
        {
            return self.remade(Remade::Ends(end));
        }
        let holds = |offset| held.is_none_or(|(low, end)| (low..=end).contains(&offset));
        if !holds(self.next) || self.retries >= MOST_RETRIES {
            return Progress::Failed(KafkaError::OffsetOutOfRange {
                topic,
                partition,
                offset: self.next,
                held,
                detail,
            });
        }
        // retention has passed the last record and nothing else, or the answer is out of date already
        self.last = self.last.filter(|last| holds(last.offset));
        self.retries += 1;
        self.restart(consumer)
    }

    /// Looks after a partition that seems not to exist, or whose log seems too short.
    pub(super) fn check_availability(&mut self, consumer: &Arc<BaseConsumer<Context>>) -> Progress {
        match &mut self.state {
            State::Missing { since, asked } if asked.elapsed() >= ASK_EVERY => {
                let since = *since;
                *asked = Instant::now();
                match self.exists(consumer) {
                    Some(true) => self
                        .attach(consumer)
                        .map_or_else(Progress::Failed, |()| Progress::Continue),
                    Some(false) if since.elapsed() >= GONE_AFTER => Progress::Failed(KafkaError::TopicGone {
                        topic: self.range.name.clone(),
                        partition: self.range.partition,
                    }),
                    _ => Progress::Continue,
                }
            }
            State::Attached {
                check:
                    Some(Check {
                        last,
                        short: Some((since, asked)),
                    }),
                ..
            } if since.elapsed() >= GONE_AFTER && asked.elapsed() >= ASK_EVERY => {
                let last = last.offset;
                *asked = Instant::now();
                match self.held(consumer) {
                    Some((_, end)) if end <= last => self.remade(Remade::Ends(end)),
                    _ => Progress::Continue,
                }
            }
            _ => Progress::Continue,
        }
    }

    /// The low and the high watermark, if the broker could be asked.
    fn held(&self, consumer: &BaseConsumer<Context>) -> Option<(Offset, Offset)> {
        let Range { name, partition, .. } = &self.range;
        let (low, high) = consumer.fetch_watermarks(name, partition.0, ASK_TIMEOUT).ok()?;
        Some((Offset(low), Offset(high)))
    }

    /// Whether Kafka knows the partition; `None` when it could not be asked.
    fn exists(&self, consumer: &BaseConsumer<Context>) -> Option<bool> {
        let metadata = consumer.fetch_metadata(Some(&self.range.name), ASK_TIMEOUT).ok()?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.range.name)?;
        Some(
            topic
                .partitions()
                .iter()
                .any(|partition| partition.id() == self.range.partition.0),
        )
    }
}
