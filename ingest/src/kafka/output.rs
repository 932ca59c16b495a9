//! The queue between a reader's thread and its caller, bounded by bytes.
//!
//! The thread may push whenever the queue is below its limit, so it overshoots by one batch at most. When it is not,
//! the thread parks, and the pop that brings the queue below the limit unparks it. A pop cannot slip in between the
//! check and the parking, because an unpark that comes first makes the next park return at once.

use super::Polled;
use crossbeam_channel::{Receiver, Sender, unbounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread::Thread;

/// The thread's end.
pub(super) struct Output {
    sender: Sender<Polled>,
    bytes: Arc<AtomicUsize>,
    limit: usize,
    wake: Arc<dyn Fn() + Send + Sync>,
}

/// The caller's end.
pub(super) struct Input {
    receiver: Receiver<Polled>,
    bytes: Arc<AtomicUsize>,
    limit: usize,
}

/// A queue of at most `limit` bytes, and one batch more; `wake` is called after each push.
pub(super) fn queue(limit: usize, wake: Arc<dyn Fn() + Send + Sync>) -> (Output, Input) {
    let (sender, receiver) = unbounded();
    let bytes = Arc::new(AtomicUsize::new(0));
    (Output { sender, bytes: bytes.clone(), limit, wake }, Input { receiver, bytes, limit })
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
        self.bytes.load(SeqCst) >= self.limit
    }

    /// Hands over; a caller that is gone wants nothing any more.
    pub(super) fn push(&self, polled: Polled) {
        self.bytes.fetch_add(cost(&polled), SeqCst);
        if self.sender.send(polled).is_ok() {
            (self.wake)();
        }
    }
}

impl Input {
    /// The next thing, and `thread` is unparked if it waits for room.
    pub(super) fn pop(&self, thread: &Thread) -> Option<Polled> {
        let polled = self.receiver.try_recv().ok()?;
        let cost = cost(&polled);
        let before = self.bytes.fetch_sub(cost, SeqCst);
        if before >= self.limit && before - cost < self.limit {
            thread.unpark();
        }
        Some(polled)
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Batch;
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::time::{Duration, Instant};

    /// A producer that only ever parks without a time-out, against a consumer that pops at random moments: a lost
    /// wake-up would stop it for good.
    #[test]
    fn bounded_and_never_stuck() {
        const BATCHES: i64 = 20_000;
        let limit = 4096;
        let woken = Arc::new(AtomicU64::new(0));
        let counter = woken.clone();
        let (output, input) = queue(limit, Arc::new(move || drop(counter.fetch_add(1, SeqCst))));
        let producer = std::thread::spawn(move || {
            for offset in 0..BATCHES {
                while output.is_full() {
                    std::thread::park();
                }
                let mut batch = Batch::new(0, 0, offset);
                batch.push(offset, None, Some(&[7; 100]));
                output.push(Polled::Batch(batch));
            }
        });
        let (mut next, mut most) = (0, 0);
        let deadline = Instant::now() + Duration::from_secs(30);
        while next < BATCHES {
            assert!(Instant::now() < deadline, "stuck at {next}");
            most = most.max(input.bytes());
            match input.pop(producer.thread()) {
                Some(Polled::Batch(batch)) => {
                    assert_eq!(batch.records[0].offset, next);
                    next = batch.next;
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
