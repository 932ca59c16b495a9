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

use super::assigned_partition::{AssignedPartition, Progress};
use super::client::{Context, serve};
use super::output::Output;
use super::reader_options::ReaderOptions;
use super::{KafkaError, Polled, Range};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError as Native;
use rdkafka::message::Message;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use values::Partition;

/// The longest sleep.
const IDLE_WAIT: Duration = Duration::from_millis(100);

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
    options: ReaderOptions,
    assigned: Vec<AssignedPartition>,
    /// Ranges of partitions that are being read already.
    waiting: VecDeque<Range>,
    /// Whether a range has ended, so that one that waits may begin.
    freed: bool,
    /// Partitions of which a record came on the common queue.
    misrouted_partitions: Vec<(String, Partition)>,
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
        options: ReaderOptions,
        gather: Duration,
    ) -> Fetch {
        Fetch {
            output,
            inbox,
            bootstrap,
            options,
            assigned: Vec::new(),
            waiting: VecDeque::new(),
            freed: false,
            misrouted_partitions: Vec::new(),
            changes: 0,
            gather,
        }
    }

    /// Reads until it is stopped or cannot continue.
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
                tracing::error!("librdkafka cannot continue: {detail}");
                let fatal = Native::MessageConsumptionFatal(code);
                self.output.push(Polled::Failed(KafkaError::client("continue", fatal)));
                break;
            }
            self.check_availability_of_all(&consumer);
            let worked = self.drain_all(&consumer);
            self.output.announce();
            if !worked {
                self.sleep();
            }
        }
        self.output.announce();
        // the queues before their consumer
        self.assigned.clear();
    }

    /// Sleeps until there is something to do.
    fn sleep(&self) {
        let asleep = Instant::now();
        std::thread::park_timeout(IDLE_WAIT);
        let slept = asleep.elapsed();
        // a wake-up that came while the queues were polled is no sign of a new answer
        if self.gather < slept && slept < IDLE_WAIT {
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
                .assigned
                .iter()
                .map(|assigned| &assigned.range)
                .chain(&later)
                .any(|other| range.same_partition(other));
            if busy {
                later.push_back(range);
                continue;
            }
            let mut assigned = AssignedPartition::new(range, self.options.shared_topics, consumer);
            if assigned.is_at_end() {
                self.output.push(assigned.reached());
                // the next range of this partition may begin at once, too
                continue;
            }
            match assigned.attach(consumer) {
                Ok(()) => self.assigned.push(assigned),
                Err(error) => self.output.push(Polled::Failed(error)),
            }
        }
        self.waiting = later;
    }

    /// Log lines and errors of connections, and what follows from them for the ranges.
    fn serve_client(&mut self, consumer: &Arc<BaseConsumer<Context>>) {
        self.serve_queue(consumer);
        for (topic, partition) in std::mem::take(&mut self.misrouted_partitions) {
            let of =
                |assigned: &AssignedPartition| assigned.range.name == topic && assigned.range.partition == partition;
            if let Some(at) = self.assigned.iter().position(of) {
                let progress = self.assigned[at].restart(consumer);
                self.follow(at, consumer, progress);
            }
        }
        let changes = consumer.context().changes_of_all();
        if changes != self.changes {
            self.changes = changes;
            self.each(consumer, |assigned| assigned.check_topic(consumer));
        }
    }

    /// A record here would mean that a queue was split off too late: then the partition starts again where it was.
    fn serve_queue(&mut self, consumer: &BaseConsumer<Context>) {
        while let Some(misrouted) = serve(consumer) {
            let (topic, partition) = (misrouted.topic(), misrouted.partition());
            tracing::warn!("a record of {topic}/{partition} came on the common queue, reading it again");
            self.misrouted_partitions.push((topic.to_owned(), Partition(partition)));
        }
    }

    /// Polls every partition once, as far as the caller keeps up. Says whether there was anything.
    fn drain_all(&mut self, consumer: &Arc<BaseConsumer<Context>>) -> bool {
        let mut worked = false;
        let mut at = 0;
        while at < self.assigned.len() && !self.output.is_full() {
            let outcome = self.assigned[at].poll(self.options.batch_bytes);
            if outcome.is_empty() {
                at += 1;
                continue;
            }
            worked = true;
            // what librdkafka said before it fetched these records
            self.serve_queue(consumer);
            let assigned = &mut self.assigned[at];
            let misrouted = |(topic, partition): &(String, Partition)| {
                assigned.range.name == *topic && assigned.range.partition == *partition
            };
            let progress = match self.misrouted_partitions.iter().position(misrouted) {
                Some(misrouted) => {
                    self.misrouted_partitions.swap_remove(misrouted);
                    assigned.restart(consumer)
                }
                None => assigned.settle(outcome, consumer, &mut |polled| self.output.push(polled)),
            };
            at += usize::from(self.follow(at, consumer, progress));
        }
        // those that were not served come first when there is room again
        let served = at % self.assigned.len().max(1);
        self.assigned.rotate_left(served);
        if worked {
            consumer.context().authenticated();
        }
        worked
    }

    fn check_availability_of_all(&mut self, consumer: &Arc<BaseConsumer<Context>>) {
        self.each(consumer, |assigned| assigned.check_availability(consumer));
    }

    /// Does something with each range, and what follows from it.
    fn each(&mut self, consumer: &BaseConsumer<Context>, act: impl Fn(&mut AssignedPartition) -> Progress) {
        let mut at = 0;
        while at < self.assigned.len() {
            let progress = act(&mut self.assigned[at]);
            at += usize::from(self.follow(at, consumer, progress));
        }
    }

    /// Says whether the range is still there. One that fails is given up together with the ranges of its partition that
    /// were to come.
    fn follow(&mut self, at: usize, consumer: &BaseConsumer<Context>, progress: Progress) -> bool {
        if let Progress::Continue = progress {
            return true;
        }
        let mut assigned = self.assigned.swap_remove(at);
        assigned.detach(consumer);
        self.freed = true;
        self.output.push(match progress {
            Progress::Failed(error) => {
                self.waiting.retain(|range| !assigned.range.same_partition(range));
                Polled::Failed(error)
            }
            Progress::Done | Progress::Continue => assigned.reached(),
        });
        false
    }
}
