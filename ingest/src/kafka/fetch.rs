//! A reader of ranges of partitions: the thread that polls librdkafka.
//!
//! Each partition has a queue of its own in librdkafka, because rust-rdkafka says neither the topic of a partition
//! that has come to its end nor the partition of an error; on a queue of its own both are known. The queue is split
//! off *before* the partition is assigned, so that nothing of it ever comes through the common queue.
//!
//! The thread parks when all queues are empty. librdkafka calls back when a queue ceases to be empty, the callback
//! unparks, and an unpark that comes before the park is kept: since every queue was polled until it was empty, none
//! can fill without a wake-up. (rust-rdkafka's `StreamConsumer` with split queues lost some, its issue 840.)
//! Parking ends after a tenth of a second all the same. Woken, the thread lets the rest of a broker's answer arrive
//! before it polls, so that it and its caller are woken once an answer and not once a partition.

use super::client::{Context, serve};
use super::output::Output;
use super::part::{Fate, Part};
use super::{KafkaError, Polled, Range};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as Native;
use rdkafka::message::Message;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The longest sleep.
const NAP: Duration = Duration::from_millis(100);

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
    /// Partitions of which a record came on the common queue.
    strays: Vec<(String, i32)>,
    /// How often topics had become others when the ranges were last looked at.
    changes: u64,
    /// How long the rest of an answer takes to arrive.
    gather: Duration,
}

impl Fetch {
    pub(super) fn new(
        output: Output,
        inbox: Arc<Inbox>,
        bootstrap: String,
        batch_bytes: usize,
        gather: Duration,
    ) -> Fetch {
        Fetch {
            output,
            inbox,
            bootstrap,
            batch_bytes,
            parts: Vec::new(),
            waiting: VecDeque::new(),
            freed: false,
            strays: Vec::new(),
            changes: 0,
            gather,
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
                let cause = Native::MessageConsumptionFatal(code);
                self.output
                    .push(Polled::Failed(KafkaError::Client { action: "go on", cause }));
                break;
            }
            self.look_after_all(&consumer);
            let worked = self.drain_all(&consumer);
            self.output.announce();
            if !worked {
                self.sleep();
            }
        }
        self.output.announce();
        // the queues before their consumer
        self.parts.clear();
    }

    /// Sleeps until there is something to do.
    fn sleep(&self) {
        let asleep = Instant::now();
        std::thread::park_timeout(NAP);
        let slept = asleep.elapsed();
        // a wake-up that came while the queues were polled is no sign of a new answer
        if self.gather < slept && slept < NAP {
            std::thread::sleep(self.gather);
        }
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
            let mut part = Part::new(range, consumer);
            if part.is_at_end() {
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

    /// Log lines and errors of connections, and what follows from them for the ranges.
    fn serve_client(&mut self, consumer: &Arc<BaseConsumer<Context>>) {
        self.serve_queue(consumer);
        for (topic, partition) in std::mem::take(&mut self.strays) {
            let of = |part: &Part| part.range.name == topic && part.range.partition == partition;
            if let Some(at) = self.parts.iter().position(of) {
                let fate = self.parts[at].restart(consumer);
                self.follow(at, consumer, fate);
            }
        }
        let changes = consumer.context().changes_of_all();
        if changes != self.changes {
            self.changes = changes;
            self.each(consumer, |part| part.check_topic(consumer));
        }
    }

    /// A record here would mean that a queue was split off too late: then the partition starts again where it was.
    fn serve_queue(&mut self, consumer: &BaseConsumer<Context>) {
        while let Some(stray) = serve(consumer) {
            let (topic, partition) = (stray.topic(), stray.partition());
            tracing::warn!("a record of {topic}/{partition} came on the common queue, reading it again");
            self.strays.push((topic.to_owned(), partition));
        }
    }

    /// Polls every partition once, as far as the caller keeps up. Says whether there was anything.
    fn drain_all(&mut self, consumer: &Arc<BaseConsumer<Context>>) -> bool {
        let mut worked = false;
        let mut at = 0;
        while at < self.parts.len() && !self.output.is_full() {
            let turn = self.parts[at].poll(self.batch_bytes);
            if turn.is_empty() {
                at += 1;
                continue;
            }
            worked = true;
            // what librdkafka said before it fetched these records
            self.serve_queue(consumer);
            let part = &mut self.parts[at];
            let stray =
                |(topic, partition): &(String, i32)| part.range.name == *topic && part.range.partition == *partition;
            let fate = match self.strays.iter().position(stray) {
                Some(stray) => {
                    self.strays.swap_remove(stray);
                    part.restart(consumer)
                }
                None => part.settle(turn, consumer, &mut |polled| self.output.push(polled)),
            };
            at += usize::from(self.follow(at, consumer, fate));
        }
        // those that were not served come first when there is room again
        let served = at % self.parts.len().max(1);
        self.parts.rotate_left(served);
        if worked {
            consumer.context().authenticated();
        }
        worked
    }

    fn look_after_all(&mut self, consumer: &Arc<BaseConsumer<Context>>) {
        self.each(consumer, |part| part.look_after(consumer));
    }

    /// Does something with each range, and what follows from it.
    fn each(&mut self, consumer: &BaseConsumer<Context>, act: impl Fn(&mut Part) -> Fate) {
        let mut at = 0;
        while at < self.parts.len() {
            let fate = act(&mut self.parts[at]);
            at += usize::from(self.follow(at, consumer, fate));
        }
    }

    /// Says whether the range is still there. One that fails is given up together with the ranges of its partition that
    /// were to come.
    fn follow(&mut self, at: usize, consumer: &BaseConsumer<Context>, fate: Fate) -> bool {
        if let Fate::Goes = fate {
            return true;
        }
        let mut part = self.parts.swap_remove(at);
        part.detach(consumer);
        self.freed = true;
        self.output.push(match fate {
            Fate::Fails(error) => {
                self.waiting.retain(|range| !part.range.same_partition(range));
                Polled::Failed(error)
            }
            Fate::Ends | Fate::Goes => part.reached(),
        });
        false
    }
}
