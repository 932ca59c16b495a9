//! The queue between a reader's thread and its caller, bounded by bytes.
//!
//! The thread may push whenever the queue is below its limit, so it overshoots by one batch at most. When it is not,
//! the thread parks, and the pop that brings the queue below the limit unparks it. A pop cannot slip in between the
//! check and the parking, because an unpark that comes first makes the next park return at once. The caller is woken
//! once for what was pushed since it was woken last.

use super::Polled;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

/// What both ends share.
struct Queue {
    items: Mutex<VecDeque<Polled>>,
    bytes: AtomicUsize,
    limit: usize,
}

impl Queue {
    fn items(&self) -> MutexGuard<'_, VecDeque<Polled>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's end.
#[derive(Clone)]
pub(super) struct Output {
    queue: Arc<Queue>,
    wake: Arc<dyn Fn() + Send + Sync>,
    /// Whether something was pushed of which the caller does not know.
    unannounced: Arc<AtomicBool>,
}

/// The caller's end.
pub(super) struct Input {
    queue: Arc<Queue>,
}

/// A queue of at most `limit` bytes, and one batch more; `wake` is called by [`Output::announce`].
pub(super) fn queue(limit: usize, wake: Arc<dyn Fn() + Send + Sync>) -> (Output, Input) {
    let queue = Arc::new(Queue {
        items: Mutex::default(),
        bytes: AtomicUsize::new(0),
        limit,
    });
    (
        Output {
            queue: queue.clone(),
            wake,
            unannounced: Arc::default(),
        },
        Input { queue },
    )
}

fn cost(polled: &Polled) -> usize {
    match polled {
        Polled::Batch(batch) => batch.cost(),
        Polled::Reached { .. } | Polled::Failed(_) => size_of::<Polled>(),
    }
}

impl Output {
    /// Whether to wait before the next push.
    pub(super) fn is_full(&self) -> bool {
        self.queue.bytes.load(SeqCst) >= self.queue.limit
    }

    /// Hands over.
    pub(super) fn push(&self, polled: Polled) {
        // counted first, so that the count never falls below zero
        self.queue.bytes.fetch_add(cost(&polled), SeqCst);
        self.queue.items().push_back(polled);
        self.unannounced.store(true, SeqCst);
    }

    /// Wakes the caller when something was handed over since the last call.
    pub(super) fn announce(&self) {
        if self.unannounced.swap(false, SeqCst) {
            (self.wake)();
        }
    }
}

impl Input {
    /// The next thing, and `thread` is unparked if it waits for room.
    pub(super) fn pop(&self, thread: &Thread) -> Option<Polled> {
        let polled = self.queue.items().pop_front()?;
        let cost = cost(&polled);
        let before = self.queue.bytes.fetch_sub(cost, SeqCst);
        if before >= self.queue.limit && before - cost < self.queue.limit {
            thread.unpark();
        }
        Some(polled)
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.queue.bytes.load(SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Batch, RecordRef};
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::time::{Duration, Instant};
    use values::{Offset, Partition};

    /// A producer that only ever parks without a time-out, against a consumer that pops at random moments: a lost
    /// wake-up would stop it for good.
    #[test]
    fn bounded_and_never_stuck() {
        const BATCHES: i64 = 20_000;
        let limit = 4096;
        let woken = Arc::new(AtomicU64::new(0));
        let counter = woken.clone();
        let (output, input) = queue(limit, Arc::new(move || _ = counter.fetch_add(1, SeqCst)));
        let producer = std::thread::spawn(move || {
            for offset in 0..BATCHES {
                while output.is_full() {
                    std::thread::park();
                }
                let mut batch = Batch::new(0, Partition(0), Offset(offset));
                batch.push(RecordRef {
                    offset: Offset(offset),
                    timestamp: -1,
                    key: None,
                    value: Some(&[7; 100]),
                });
                output.push(Polled::Batch(batch));
                output.announce();
            }
        });
        let (mut next, mut most) = (0, 0);
        let deadline = Instant::now() + Duration::from_secs(30);
        while next < BATCHES {
            assert!(Instant::now() < deadline, "stuck at {next}");
            most = most.max(input.bytes());
            match input.pop(producer.thread()) {
                Some(Polled::Batch(batch)) => {
                    assert_eq!(batch.records[0].offset, Offset(next));
                    next = batch.next.0;
                }
                Some(other) => panic!("{other:?}"),
                None => std::thread::yield_now(),
            }
        }
        producer.join().unwrap();
        let one = 1024;
        assert!(most <= limit + one, "{most} bytes in a queue of {limit}");
        assert_eq!(input.bytes(), 0);
        assert_eq!(woken.load(SeqCst), BATCHES as u64);
    }
}
