//! Open connections, bounded in number.
//!
//! When all are taken, the one that has been without a request for the longest makes room: a client that opens
//! connections and sends nothing, or a request's head byte by byte, keeps no other client out. When every connection has a
//! request, the one whose client has left its body unfinished, or its answer unread, for the longest goes, so that
//! bodies sent byte by byte keep no other client out either. Connections that wait for us are never closed for this,
//! and neither are those whose answer is a stream.
//!
//! Bytes of the budget are given back in the same way: when none are free, those go that hold some and whose clients
//! are waited for, the largest first. Where most of the budget is held by requests that themselves wait for more of it,
//! none of them could proceed: the largest are refused.

use super::entry::{Entry, Signal, elapsed};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// A client that is waited for less long is at work.
pub const SLOW: Duration = Duration::from_millis(500);
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

/// A place among the open connections, given back when dropped.
pub struct Place {
    connections: Arc<Connections>,
    entry: Arc<Entry>,
}

/// The HTTP server runs for a connection while this lives.
pub struct Served<'p>(&'p Place);

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
    pub fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).1.len()
    }

    /// Asks all for something.
    pub fn signal(&self, signal: Signal) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.1.values().for_each(|entry| entry.signal(signal));
    }

    /// A place, as soon as there is one; when all are taken, one is asked for.
    pub async fn place(self: &Arc<Self>) -> Place {
        loop {
            if let Some(place) = self.try_place() {
                return place;
            }
            if let Some(entry) = self.eviction_candidate() {
                entry.signal(Signal::MakeRoom);
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
        let entry = Arc::new(Entry::new(number, self.began));
        open.1.insert(number, Arc::clone(&entry));
        Some(Place {
            connections: Arc::clone(self),
            entry,
        })
    }

    /// The connection that can best be closed.
    fn eviction_candidate(&self) -> Option<Arc<Entry>> {
        let late = self.before(SLOW);
        let rank = |entry: &Entry| {
            if entry.is_busy() {
                let since = entry.waited_for_since();
                late.is_some_and(|late| since <= late)
                    .then_some((true, since, entry.number))
            } else {
                Some((false, entry.idle_since(), entry.number))
            }
        };
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let ranked = open.1.values().filter_map(|entry| Some((rank(entry)?, entry)));
        ranked.min_by_key(|(rank, _)| *rank).map(|(_, entry)| Arc::clone(entry))
    }

    /// Makes so many bytes of the budget free, as far as slow clients hold some: their connections are closed, the
    /// largest first. Where most of the budget is held by requests that wait for more of it, which none of them
    /// ends, the largest of these are refused instead.
    pub fn evict_slow_clients(&self, bytes: usize, total: usize) {
        let Some(late) = self.search(&self.searched, SLOW) else {
            return;
        };
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let entries: Vec<_> = open.1.values().map(Arc::clone).collect();
        drop(open);
        let slow = |entry: &&Arc<Entry>| entry.waited_for_since() <= late;
        let slow = entries.iter().filter(slow).map(|entry| (entry.held(), entry));
        let freed = largest_first(slow.collect(), bytes, |entry| entry.signal(Signal::MakeRoom));
        if freed > 0 {
            return;
        }
        // heads have half of the budget alone
        for (is_busy, most) in [(true, total / 2), (false, total / 4)] {
            let stuck = entries.iter().filter(|entry| entry.is_busy() == is_busy);
            // the bytes that they hold, not those that they want
            let stuck: Vec<_> = stuck.filter_map(|entry| Some((entry.stuck()?, entry))).collect();
            if stuck.iter().map(|((held, _), _)| held).sum::<usize>() > most {
                let late = |((held, since), entry)| (since <= late).then_some((held, entry));
                largest_first(stuck.into_iter().filter_map(late).collect(), bytes, Entry::give_up);
            }
        }
    }

    /// Closes connections of slow clients for which the HTTP server runs, where these are more than 768: those that have
    /// been waited for the longest.
    pub fn close_slow_served(&self) {
        if self.served.load(Ordering::Relaxed) <= SERVED {
            return;
        }
        let Some(late) = self.search(&self.searched_served, SERVED_SLOW) else {
            return;
        };
        let slow = |entry: &Arc<Entry>| {
            let since = entry.waited_for_since();
            // one without a request gives the buffers back by itself
            let is_slow = entry.is_served() && entry.is_busy() && since <= late;
            // a client without a valid token keeps out none that has one
            let admitted = !entry.was_refused();
            is_slow.then(|| (admitted, since, Arc::clone(entry)))
        };
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found: Vec<_> = open.1.values().filter_map(slow).collect();
        drop(open);
        found.sort_unstable_by_key(|(admitted, since, entry)| (*admitted, *since, entry.number));
        let excess = found.len().saturating_sub(SERVED);
        for (.., entry) in found.into_iter().take(excess) {
            entry.signal(Signal::MakeRoom);
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
    /// The connection that has it.
    pub fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// The HTTP server begins to run for this connection.
    pub fn serve(&self) -> Served<'_> {
        self.entry.set_served(true);
        self.connections.served.fetch_add(1, Ordering::Relaxed);
        self.connections.close_slow_served();
        Served(self)
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        self.0.entry.set_served(false);
        self.0.connections.served.fetch_sub(1, Ordering::Relaxed);
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

/// Applies `free` to holders of bytes, the largest first, until so many are freed; returns how many.
fn largest_first(mut holders: Vec<(usize, &Arc<Entry>)>, bytes: usize, free: impl Fn(&Entry)) -> usize {
    holders.retain(|(held, _)| *held > 0);
    holders.sort_unstable_by_key(|(held, entry)| (std::cmp::Reverse(*held), entry.number));
    let mut freed = 0;
    for (held, entry) in holders {
        if freed >= bytes {
            break;
        }
        freed += held;
        free(entry);
    }
    freed
}

#[cfg(test)]
mod tests {
    use super::super::entry::RequestGuard;
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
        assert_eq!(second.entry.signalled().await, Signal::MakeRoom);
        drop(second);
        let third = third.await.unwrap();
        assert_eq!(connections.count(), 2);
        drop(busy);
        let _again = third.entry.begin();
        let fourth = {
            let asking = Arc::clone(&connections);
            tokio::spawn(async move { asking.place().await })
        };
        assert_eq!(first.entry.signalled().await, Signal::MakeRoom);
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
        places[1].entry.waits_for_body(0);
        tokio::time::sleep(SLOW + Duration::from_millis(50)).await;
        assert_eq!(candidate(), Some(places[2].entry.number));
        let _third = places[2].entry.begin();
        places[2].entry.waits_for_reader();
        // a later byte does not make it younger, the end of the body does
        places[1].entry.waits_for_body(0);
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
            place.entry.waits_for_body(0);
        }
        let closed = |place: &Place| {
            let notified = std::pin::pin!(place.entry.signalled());
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            notified.poll(&mut context).is_ready()
        };
        connections.evict_slow_clients(60, 1000);
        assert!(!places.iter().any(closed), "no client is slow yet");
        tokio::time::sleep(SLOW + Duration::from_millis(50)).await;
        connections.evict_slow_clients(60, 1000);
        let found: Vec<bool> = places.iter().map(closed).collect();
        assert_eq!(
            found,
            [false, true, true, false, false],
            "70 bytes wait for us, 10 are not needed"
        );
        connections.evict_slow_clients(60, 1000);
        assert!(!places.iter().any(closed), "it was just done");
        drop(guards);
    }

    /// Whoever looks for connections that give up, while it waits itself, may be the largest of them.
    #[tokio::test]
    async fn a_search_reaches_the_one_that_makes_it() {
        let connections = Connections::new(2);
        let place = connections.place().await;
        let entry = place.entry();
        let _request = entry.begin();
        let _room = entry.waits_for_room(600);
        tokio::time::sleep(SLOW + Duration::from_millis(50)).await;
        let given_up = entry.given_up();
        connections.evict_slow_clients(100, 1000);
        let told = tokio::time::timeout(Duration::from_secs(5), given_up).await;
        assert!(told.is_ok(), "it holds most of the budget and waits for more");
    }
}
