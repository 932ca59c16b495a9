//! One open connection: whether a request is under way, what of the budget it holds, and who waits for whom.
//!
//! A client is waited for only while we wait for its bytes, or for it to take ours: not while it waits for
//! what the answer needs, or for room in the budget: the bytes that all requests of a server may hold together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Nothing is waited for.
const NEVER: u64 = u64::MAX;

/// What a connection is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// To make room for others, if its client is waited for.
    MakeRoom = 1,
    /// To take no further request: the server ends.
    End = 2,
    /// To close as it is.
    CutOff = 4,
}

/// An open connection.
pub struct Entry {
    pub(crate) number: u64,
    began: Instant,
    busy: AtomicU32,
    /// Milliseconds after `began` since which no request is under way.
    idle_since: AtomicU64,
    /// Requests that ended, here or in the server.
    answers: AtomicU64,
    /// Bytes of the budget that go back when the connection is closed.
    held: AtomicUsize,
    /// The client has to send more of a body.
    body: Wait,
    /// The client has to read more of its answer.
    reader: Wait,
    /// The client has to wait for room in the budget.
    room: Wait,
    /// Bytes of the budget that what waits for room holds.
    stuck: AtomicUsize,
    /// Answers that last until client or server ends them.
    streams: AtomicU32,
    /// Whether the HTTP server runs for it.
    served: AtomicBool,
    /// Whether its last request was refused before it was read.
    refused: AtomicBool,
    /// What the connection was asked for and has not seen yet: bits of [`Signal`].
    signals: AtomicU8,
    /// Notified when it is asked for something.
    signalled: Notify,
    /// Notified when what waits for room in the budget is not to wait any longer.
    give_up: Notify,
}

/// Milliseconds after the server's beginning since which something is waited for.
struct Wait(AtomicU64);

impl Default for Wait {
    fn default() -> Wait {
        Wait(AtomicU64::new(NEVER))
    }
}

impl Wait {
    fn since(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Begins at this moment, unless it has begun.
    fn begin(&self, at: u64) {
        let _ = self.0.compare_exchange(NEVER, at, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Ends; how many milliseconds it was, where `now` is this moment. Mostly it has not begun, and the clock is not read.
    fn end(&self, now: impl FnOnce() -> u64) -> u64 {
        if self.since() == NEVER {
            return 0;
        }
        match self.0.swap(NEVER, Ordering::Relaxed) {
            NEVER => 0,
            since => now().saturating_sub(since),
        }
    }
}

/// A request is under way while this lives.
pub struct RequestGuard(Arc<Entry>);

/// The client waits for room in the budget while this lives.
pub struct RoomGuard(Arc<Entry>);

impl Entry {
    /// A connection of a server that began at this moment.
    pub(crate) fn new(number: u64, began: Instant) -> Entry {
        Entry {
            number,
            began,
            busy: AtomicU32::new(0),
            idle_since: AtomicU64::new(elapsed(began)),
            answers: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            body: Wait::default(),
            reader: Wait::default(),
            room: Wait::default(),
            stuck: AtomicUsize::new(0),
            streams: AtomicU32::new(0),
            served: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            signals: AtomicU8::new(0),
            signalled: Notify::new(),
            give_up: Notify::new(),
        }
    }

    /// Asks the connection for something.
    pub fn signal(&self, signal: Signal) {
        self.signals.fetch_or(signal as u8, Ordering::AcqRel);
        self.signalled.notify_one();
    }

    /// Resolves when the connection was asked for something: with the most urgent of what it has not seen yet. One
    /// task of a connection waits for it at a time.
    pub async fn signalled(&self) -> Signal {
        loop {
            self.signalled.notified().await;
            for signal in [Signal::CutOff, Signal::End, Signal::MakeRoom] {
                let signals = self.signals.fetch_and(!(signal as u8), Ordering::AcqRel);
                if signals & signal as u8 == 0 {
                    continue;
                }
                if signals != signal as u8 {
                    // the others are seen next
                    self.signalled.notify_one();
                }
                return signal;
            }
        }
    }

    /// Asks what waits for room in the budget to wait no longer.
    pub(crate) fn give_up(&self) {
        // what does not wait any more has what it wanted
        self.give_up.notify_waiters();
    }

    /// Resolves when room in the budget is not to be waited for any longer: asked for since this call, even if nothing
    /// has polled it yet. Who waits for room may be the one who finds out that it has to go.
    pub fn given_up(&self) -> Notified<'_> {
        self.give_up.notified()
    }

    /// Whether the HTTP server runs for it.
    pub(crate) fn is_served(&self) -> bool {
        self.served.load(Ordering::Relaxed)
    }

    pub(crate) fn set_served(&self, served: bool) {
        self.served.store(served, Ordering::Relaxed);
    }

    /// Whether its answer is a stream. Such a connection makes room for no other: who opens streams bounds their number,
    /// and a client that does not read meets the timeout for writing.
    pub fn is_streaming(&self) -> bool {
        self.streams.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn begin_stream(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end_stream(&self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }

    /// The request that is under way is refused, and its rest is read for good manners alone.
    pub fn is_refused(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Whether the request that is under way was refused before it was read.
    pub(crate) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether a client is waited for, and not we.
    pub fn is_waited_for(&self) -> bool {
        !self.is_busy() || self.waited_for_since() != NEVER
    }

    /// A request begins.
    pub fn begin(self: &Arc<Self>) -> RequestGuard {
        self.refused.store(false, Ordering::Relaxed);
        self.busy.fetch_add(1, Ordering::Relaxed);
        RequestGuard(Arc::clone(self))
    }

    /// Whether a request is under way.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Requests that were answered; the answers may not be written yet.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Milliseconds after the server's beginning since which there is no request.
    pub(crate) fn idle_since(&self) -> u64 {
        self.idle_since.load(Ordering::Relaxed)
    }

    /// How long there has been no request; nothing while one is under way, or its answer not written.
    pub fn idle_for(&self) -> Duration {
        if self.is_busy() || self.reader.since() != NEVER {
            return Duration::ZERO;
        }
        Duration::from_millis(elapsed(self.began).saturating_sub(self.idle_since()))
    }

    /// Milliseconds after the server's beginning since which the client is waited for, the largest number when it is
    /// not.
    pub(crate) fn waited_for_since(&self) -> u64 {
        if self.room.since() != NEVER || self.is_streaming() {
            NEVER
        } else if self.is_busy() {
            self.body.since().min(self.reader.since())
        } else {
            self.idle_since()
        }
    }

    /// So many bytes more of the budget go back when the connection is closed.
    pub fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes less.
    pub fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of the budget that go back when the connection is closed.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// What holds so many bytes of the budget waits for more.
    pub fn waits_for_room(self: &Arc<Self>, held: usize) -> RoomGuard {
        self.stuck.store(held, Ordering::Relaxed);
        self.room.begin(elapsed(self.began));
        RoomGuard(Arc::clone(self))
    }

    /// How many bytes of the budget are held by what waits for more, and since when.
    pub(crate) fn stuck(&self) -> Option<(usize, u64)> {
        let since = self.room.since();
        (since != NEVER).then(|| (self.stuck.load(Ordering::Relaxed), since))
    }

    /// The rest of a body, or of a stream's next record, is waited for, and so many milliseconds were waited before;
    /// counts from the first call on.
    pub fn waits_for_body(&self, before: u64) {
        self.body.begin(elapsed(self.began).saturating_sub(before));
    }

    /// Nothing is waited for now; for how many milliseconds it was.
    pub fn has_body(&self) -> u64 {
        self.body.end(|| elapsed(self.began))
    }

    /// The client does not take its answer; counts from the first call on.
    pub fn waits_for_reader(&self) {
        self.reader.begin(elapsed(self.began));
    }

    /// The client has taken something of its answer.
    pub fn is_read(&self) {
        self.reader.end(|| 0);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.answers.fetch_add(1, Ordering::Relaxed);
        self.0.idle_since.store(elapsed(self.0.began), Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for RoomGuard {
    fn drop(&mut self) {
        let waited = self.0.room.end(|| elapsed(self.0.began));
        // a client whose head had to wait was not idle meanwhile
        self.0.idle_since.fetch_add(waited, Ordering::Relaxed);
    }
}

/// Milliseconds since a moment.
pub(crate) fn elapsed(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
