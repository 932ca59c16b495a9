//! Open connections, at most so many.
//!
//! When all are taken, the one that has been without a request for the longest makes room: a client that opens
//! connections and sends nothing, or a request's head byte by byte, keeps nobody out. When every connection has a
//! request, the one whose client has left its body unfinished, or its answer unread, for the longest goes, so that
//! bodies sent byte by byte keep nobody out either. Connections that wait for us are never closed for this.
//!
//! Bytes of the budget are given back in the same way: when none are free, those go that hold some and whose clients
//! are waited for, the largest first.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A client that is waited for less long is at work.
const SLOW: Duration = Duration::from_millis(500);
/// Nothing is waited for.
const NEVER: u64 = u64::MAX;
/// The HTTP server, whose buffers are large, runs for so many slow clients at most: those with a long body, an open
/// stream, or an answer that they do not take.
const SERVED: usize = 768;
/// Where they are more, one that is waited for so long makes room: until then each takes the buffers.
const SERVED_SLOW: Duration = Duration::from_millis(200);
/// Holders of the budget are looked for at most this often, in milliseconds: it takes a look at every connection.
const SEARCH_PAUSE: u64 = 50;

/// The open connections of a server.
pub struct Connections {
    limit: usize,
    began: Instant,
    open: Mutex<(u64, HashMap<u64, Arc<Entry>>)>,
    closed: Notify,
    /// Connections for which the HTTP server runs.
    served: AtomicUsize,
    /// Milliseconds after `began` at which holders of the budget were looked for.
    searched: AtomicU64,
    /// The same for connections for which the HTTP server runs.
    searched_served: AtomicU64,
}

/// One of them.
pub(super) struct Entry {
    number: u64,
    began: Instant,
    busy: AtomicU32,
    /// Milliseconds after `began` since which no request is under way.
    idle_since: AtomicU64,
    /// Requests that ended, here or in the server.
    answers: AtomicU64,
    /// Bytes of the budget that go back when the connection is closed.
    held: AtomicUsize,
    body: Wait,
    reader: Wait,
    /// Whether the HTTP server runs for it.
    served: AtomicBool,
    /// Whether its last request was refused before it was read.
    refused: AtomicBool,
    /// Notified when the connection has to make room.
    pub(super) close: Notify,
}

/// Milliseconds after the server's beginning since which a client is waited for.
struct Wait(AtomicU64);

impl Default for Wait {
    fn default() -> Wait {
        Wait(AtomicU64::new(NEVER))
    }
}

/// A place among the open connections, given back when dropped.
pub struct Place {
    connections: Arc<Connections>,
    pub(super) entry: Arc<Entry>,
}

/// The HTTP server runs for a connection while this lives.
pub(super) struct Served<'p>(&'p Place);

/// A request is under way while this lives.
pub struct RequestGuard(Arc<Entry>);

impl Connections {
    /// At most so many, and one at least.
    pub fn new(limit: usize) -> Arc<Connections> {
        Arc::new(Connections {
            limit: limit.max(1),
            began: Instant::now(),
            open: Mutex::default(),
            closed: Notify::new(),
            served: AtomicUsize::new(0),
            searched: AtomicU64::new(0),
            searched_served: AtomicU64::new(0),
        })
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).1.len()
    }

    /// A place, as soon as there is one; when all are taken, one is asked for.
    pub async fn place(self: &Arc<Self>) -> Place {
        loop {
            if let Some(place) = self.try_place() {
                return place;
            }
            if let Some(entry) = self.eviction_candidate() {
                entry.close.notify_one();
            }
            // one may have been closed in between
            let _ = tokio::time::timeout(Duration::from_millis(20), self.closed.notified()).await;
        }
    }

    fn try_place(self: &Arc<Self>) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.1.len() >= self.limit {
            return None;
        }
        open.0 += 1;
        let number = open.0;
        let entry = Arc::new(Entry {
            number,
            began: self.began,
            busy: AtomicU32::new(0),
            idle_since: AtomicU64::new(elapsed(self.began)),
            answers: AtomicU64::new(0),
            held: AtomicUsize::new(0),
            body: Wait::default(),
            reader: Wait::default(),
            served: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            close: Notify::new(),
        });
        open.1.insert(number, Arc::clone(&entry));
        Some(Place {
            connections: Arc::clone(self),
            entry,
        })
    }

    /// The connection that can best be closed.
    fn eviction_candidate(&self) -> Option<Arc<Entry>> {
        let late = self.before(SLOW);
        let rank = |entry: &Entry| match entry.is_busy() {
            false => Some((false, entry.idle_since.load(Ordering::Relaxed), entry.number)),
            true => {
                let since = entry.waited_for_since();
                late.is_some_and(|late| since <= late)
                    .then_some((true, since, entry.number))
            }
        };
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let ranked = open.1.values().filter_map(|entry| Some((rank(entry)?, entry)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, entry)| Arc::clone(entry))
    }

    /// Closes connections of slow clients that hold bytes of the budget, the largest first, until so many come back.
    pub(super) fn close_slow_holders(&self, bytes: usize) {
        let Some(late) = self.search(&self.searched, SLOW) else {
            return;
        };
        let held = |entry: &Arc<Entry>| {
            let held = entry.held.load(Ordering::Relaxed);
            (held > 0 && entry.waited_for_since() <= late).then(|| (held, Arc::clone(entry)))
        };
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut holders: Vec<_> = open.1.values().filter_map(held).collect();
        drop(open);
        holders.sort_unstable_by_key(|(held, entry)| (std::cmp::Reverse(*held), entry.number));
        let mut freed = 0;
        for (held, entry) in holders {
            if freed >= bytes {
                return;
            }
            freed += held;
            entry.close.notify_one();
        }
    }

    /// Closes connections of slow clients for which the HTTP server runs, where these are more than [`SERVED`]: those
    /// that have been waited for the longest.
    pub(super) fn close_slow_served(&self) {
        if self.served.load(Ordering::Relaxed) <= SERVED {
            return;
        }
        let Some(late) = self.search(&self.searched_served, SERVED_SLOW) else {
            return;
        };
        let slow = |entry: &Arc<Entry>| {
            let since = entry.waited_for_since();
            // one without a request gives the buffers back by itself
            let is_slow = entry.served.load(Ordering::Relaxed) && entry.is_busy() && since <= late;
            // who may not come in keeps nobody out who may
            let admitted = !entry.refused.load(Ordering::Relaxed);
            is_slow.then(|| (admitted, since, Arc::clone(entry)))
        };
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = open.1.values().filter_map(slow).collect();
        drop(open);
        found.sort_unstable_by_key(|(admitted, since, entry)| (*admitted, *since, entry.number));
        let excess = found.len().saturating_sub(SERVED);
        for (.., entry) in found.into_iter().take(excess) {
            entry.close.notify_one();
        }
    }

    /// The moment before which a client that is waited for is slow; `None` where there is none, or where it was just
    /// searched for slow ones.
    fn search(&self, searched: &AtomicU64, slow: Duration) -> Option<u64> {
        let (now, last) = (elapsed(self.began), searched.load(Ordering::Relaxed));
        let late = self.before(slow).filter(|_| now >= last.saturating_add(SEARCH_PAUSE))?;
        let mine = searched.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed);
        mine.ok().map(|_| late)
    }

    /// The moment that is so long ago, if there was one.
    fn before(&self, slow: Duration) -> Option<u64> {
        elapsed(self.began).checked_sub(slow.as_millis() as u64)
    }
}

impl Place {
    /// A request begins on this connection.
    pub fn request(&self) -> RequestGuard {
        self.entry.begin()
    }

    /// Resolves when the connection has to make room, and is to be closed.
    pub async fn reclaimed(&self) {
        self.entry.close.notified().await;
    }

    /// The HTTP server begins to run for this connection.
    pub(super) fn serve(&self) -> Served<'_> {
        self.entry.served.store(true, Ordering::Relaxed);
        self.connections.served.fetch_add(1, Ordering::Relaxed);
        self.connections.close_slow_served();
        Served(self)
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.0.entry.served.store(false, Ordering::Relaxed);
        self.0.connections.served.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Entry {
    /// The request that is under way is refused, and its rest is read for good manners alone.
    pub(super) fn is_refused(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Whether a client is waited for, and not we.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.is_busy() || self.waited_for_since() != NEVER
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>) -> RequestGuard {
        self.refused.store(false, Ordering::Relaxed);
        self.busy.fetch_add(1, Ordering::Relaxed);
        RequestGuard(Arc::clone(self))
    }

    /// Whether a request is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Requests that were answered; the answers may not be written yet.
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// How long there has been no request; nothing while one is under way, or its answer not written.
    pub(super) fn idle_for(&self) -> Duration {
        if self.is_busy() || self.reader.0.load(Ordering::Relaxed) != NEVER {
            return Duration::ZERO;
        }
        let since = self.idle_since.load(Ordering::Relaxed);
        Duration::from_millis(elapsed(self.began).saturating_sub(since))
    }

    /// Milliseconds since which the client is waited for, [`NEVER`] when it is not.
    fn waited_for_since(&self) -> u64 {
        match self.is_busy() {
            false => self.idle_since.load(Ordering::Relaxed),
            true => {
                let [body, reader] = [&self.body, &self.reader].map(|wait| wait.0.load(Ordering::Relaxed));
                body.min(reader)
            }
        }
    }

    /// How long its body has been waited for.
    pub(super) fn body_waited(&self) -> Duration {
        match self.body.0.load(Ordering::Relaxed) {
            NEVER => Duration::ZERO,
            since => Duration::from_millis(elapsed(self.began).saturating_sub(since)),
        }
    }

    /// So many bytes more of the budget go back when the connection is closed.
    pub(super) fn hold(&self, bytes: usize) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many bytes less.
    pub(super) fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The rest of a body, or of a stream's next record, is waited for; counts from the first call on.
    pub(super) fn waits_for_body(&self) {
        self.waits(&self.body);
    }

    /// What was waited for is there.
    pub(super) fn has_body(&self) {
        self.body.0.store(NEVER, Ordering::Relaxed);
    }

    /// The client does not take its answer; counts from the first call on.
    pub(super) fn waits_for_reader(&self) {
        self.waits(&self.reader);
    }

    /// The client has taken something of its answer.
    pub(super) fn is_read(&self) {
        self.reader.0.store(NEVER, Ordering::Relaxed);
    }

    fn waits(&self, wait: &Wait) {
        let now = elapsed(self.began);
        let _ = wait
            .0
            .compare_exchange(NEVER, now, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        self.0.answers.fetch_add(1, Ordering::Relaxed);
        self.0.idle_since.store(elapsed(self.0.began), Ordering::Relaxed);
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.1.remove(&self.entry.number);
        drop(open);
        self.connections.closed.notify_one();
    }
}

fn elapsed(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_idlest_makes_room_and_a_busy_one_never_does() {
        let connections = Connections::new(2);
        let first = connections.place().await;
        let second = connections.place().await;
        let busy = first.entry.begin();
        let third = {
            let asking = Arc::clone(&connections);
            tokio::spawn(async move { asking.place().await })
        };
        second.entry.close.notified().await;
        drop(second);
        let third = third.await.unwrap();
        assert_eq!(connections.count(), 2);
        drop(busy);
        let _again = third.entry.begin();
        let fourth = {
            let asking = Arc::clone(&connections);
            tokio::spawn(async move { asking.place().await })
        };
        first.entry.close.notified().await;
        assert!(!fourth.is_finished());
        drop(first);
        fourth.await.unwrap();
    }

    #[tokio::test]
    async fn a_slow_client_makes_room_after_every_idle_one() {
        let connections = Connections::new(3);
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(connections.place().await);
        }
        let candidate = || connections.eviction_candidate().map(|entry| entry.number);
        let _first = places[0].entry.begin();
        let _second = places[1].entry.begin();
        places[1].entry.waits_for_body();
        tokio::time::sleep(SLOW + Duration::from_millis(50)).await;
        assert_eq!(candidate(), Some(places[2].entry.number));
        let _third = places[2].entry.begin();
        places[2].entry.waits_for_reader();
        // a later byte does not make it younger, the end of the body does
        places[1].entry.waits_for_body();
        assert_eq!(candidate(), Some(places[1].entry.number));
        places[1].entry.has_body();
        assert_eq!(candidate(), None);
        tokio::time::sleep(SLOW + Duration::from_millis(50)).await;
        assert_eq!(candidate(), Some(places[2].entry.number));
        places[2].entry.is_read();
        assert_eq!(candidate(), None);
    }

    #[tokio::test]
    async fn bytes_are_taken_back_from_slow_clients_alone_the_largest_first() {
        let connections = Connections::new(10);
        let mut places = Vec::new();
        for held in [10, 50, 30, 70, 0] {
            let place = connections.place().await;
            place.entry.hold(held);
            places.push(place);
        }
        let guards: Vec<RequestGuard> = places[..4].iter().map(|place| place.entry.begin()).collect();
        for place in &places[..3] {
            place.entry.waits_for_body();
        }
        let closed = |place: &Place| {
            let notified = std::pin::pin!(place.entry.close.notified());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            notified.poll(&mut context).is_ready()
        };
        connections.close_slow_holders(60);
        assert!(!places.iter().any(closed), "nobody is slow yet");
        tokio::time::sleep(SLOW + Duration::from_millis(50)).await;
        connections.close_slow_holders(60);
        let found: Vec<bool> = places.iter().map(closed).collect();
        assert_eq!(
            found,
            [false, true, true, false, false],
            "70 bytes wait for us, 10 are not needed"
        );
        connections.close_slow_holders(60);
        assert!(!places.iter().any(closed), "it was just done");
        drop(guards);
    }
}
