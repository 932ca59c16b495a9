//! Open connections, at most so many.
//!
//! When all are taken, the one that has been without a request for the longest makes room: a client that opens
//! connections and sends nothing, or a request's head byte by byte, keeps nobody out. Connections with a request
//! under way are never closed for this.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// The open connections.
pub(super) struct Connections {
    limit: usize,
    began: Instant,
    open: Mutex<(u64, HashMap<u64, Arc<Entry>>)>,
    closed: Notify,
}

/// One of them.
pub(super) struct Entry {
    number: u64,
    began: Instant,
    busy: AtomicU32,
    /// Milliseconds after `began` since which no request is under way.
    idle_since: AtomicU64,
    /// Told when the connection has to make room.
    pub(super) close: Notify,
}

/// A place among the open connections, given back when dropped.
pub(super) struct Place {
    connections: Arc<Connections>,
    pub(super) entry: Arc<Entry>,
}

/// A request is under way while this lives.
pub(super) struct Busy(Arc<Entry>);

impl Connections {
    pub(super) fn new(limit: usize) -> Arc<Connections> {
        Arc::new(Connections {
            limit: limit.max(1),
            began: Instant::now(),
            open: Mutex::default(),
            closed: Notify::new(),
        })
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).1.len()
    }

    /// A place, as soon as there is one.
    pub(super) async fn place(self: &Arc<Self>) -> Place {
        loop {
            if let Some(place) = self.try_place() {
                return place;
            }
            if let Some(entry) = self.idlest() {
                entry.close.notify_one();
            }
            // somebody may have left in between
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
            close: Notify::new(),
        });
        open.1.insert(number, Arc::clone(&entry));
        Some(Place {
            connections: Arc::clone(self),
            entry,
        })
    }

    fn idlest(&self) -> Option<Arc<Entry>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = open.1.values().filter(|entry| entry.busy.load(Ordering::Relaxed) == 0);
        idle.min_by_key(|entry| (entry.idle_since.load(Ordering::Relaxed), entry.number))
            .cloned()
    }
}

impl Entry {
    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
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
}
