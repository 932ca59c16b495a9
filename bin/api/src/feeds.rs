//! Streams of changes: one task for each set of tables and pace, and any number of clients.
//!
//! A feed merges all commits since its last event into the next one, encodes it once, and puts it where its clients
//! look. A new client begins with all rows where the last event ended. Nothing queues: a client takes the newest event
//! when its connection has room again. If that does not begin where the client is, because the client was slow, the
//! client gets the net changes from there out of the recent commits, or a snapshot where they do not reach back so far.

mod client;
mod event;
mod stored;

use crate::error::ApiError;
use crate::shared::{Shared, Standing};
use bytes::Bytes;
use client::Client;
use event::Event;
use futures_util::Stream;
use http_server::CutOff;
use sinks::PostgresConfig;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use stored::Stores;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Feeds at most.
const MOST_FEEDS: usize = 256;

/// A new client of a faster feed begins where the last event ended, so that the next one is its own, too; of a slower one
/// at the newest state.
const ALIGNED: Duration = Duration::from_secs(1);

/// What a feed is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The tables, by number, in order.
    pub tables: Vec<usize>,
    /// The least time between two events; zero: an event for each state.
    pub pace: Duration,
}

type Feed = watch::Sender<Arc<Event>>;

/// All feeds.
#[derive(Debug)]
pub struct Feeds {
    shared: Arc<Shared>,
    stores: Arc<Stores>,
    runtime: Handle,
    feeds: Mutex<HashMap<Subject, Arc<Feed>>>,
}

impl Feeds {
    /// Tasks run on `runtime`; `config` says where tables are that are not held in memory.
    pub fn new(shared: Arc<Shared>, config: PostgresConfig, runtime: Handle) -> Arc<Feeds> {
        Arc::new(Feeds {
            shared,
            stores: Arc::new(Stores::new(config)),
            runtime,
            feeds: Mutex::default(),
        })
    }

    /// Events for a client that has seen the commit `seen`, if any: net changes from there where they are known, else a
    /// snapshot.
    ///
    /// # Errors
    /// 503: there is no state, there are too many feeds or clients with large tables, or PostgreSQL cannot be read.
    pub async fn subscribe(
        self: &Arc<Self>,
        subject: &Subject,
        seen: Option<i64>,
    ) -> Result<impl Stream<Item = Result<Bytes, CutOff>> + Send + use<>, ApiError> {
        let state = match self.shared.standing() {
            Standing::At(state) => state,
            Standing::Nothing(why) => return Err(crate::wait::nothing(&why)),
        };
        let mut newest = self.newest(subject, Event::first(state))?;
        let last = Arc::clone(&newest.borrow_and_update());
        // after the subscription: no event between the state and the next event is missed
        let begin = match self.shared.state() {
            Some(state) if subject.pace > ALIGNED || seen > Some(last.state.commit) => Arc::new(Event::first(state)),
            _ => last,
        };
        let (shared, stores) = (Arc::clone(&self.shared), Arc::clone(&self.stores));
        let client = Client::begin(shared, stores, subject.tables.clone(), newest, &begin, seen).await?;
        Ok(futures_util::stream::unfold(client, Client::next))
    }

    /// Where the events of a feed appear; `first` is the last one of a feed that is new.
    fn newest(self: &Arc<Self>, subject: &Subject, first: Event) -> Result<watch::Receiver<Arc<Event>>, ApiError> {
        let mut feeds = self.lock();
        if let Some(newest) = feeds.get(subject) {
            return Ok(newest.subscribe());
        }
        if feeds.len() >= MOST_FEEDS {
            let hint = "use a set of tables and a pace that other clients use, or try again";
            return Err(ApiError::unavailable("too many different streams", hint));
        }
        let newest = Arc::new(watch::Sender::new(Arc::new(first)));
        let receiver = newest.subscribe();
        feeds.insert(subject.clone(), Arc::clone(&newest));
        drop(feeds);
        let mut standing = self.shared.watch();
        // a commit that came after the first event is in the next one
        standing.mark_changed();
        self.runtime
            .spawn(Arc::clone(self).run(subject.clone(), newest, standing));
        Ok(receiver)
    }

    /// Makes the events of a feed until its last client is gone.
    async fn run(self: Arc<Self>, subject: Subject, newest: Arc<Feed>, mut standing: watch::Receiver<Standing>) {
        loop {
            let wait = async {
                let _ = standing.changed().await;
                let last = Arc::clone(&newest.borrow());
                if let Some(next) = self.next(&subject, &last) {
                    newest.send_replace(Arc::new(next));
                    tokio::time::sleep(subject.pace).await;
                }
            };
            tokio::select! {
                () = wait => {}
                () = newest.closed() => if self.end(&subject, &newest) {
                    return;
                },
            }
        }
    }

    /// The event that leads from the last one to the present state, if there is something to say.
    fn next(&self, subject: &Subject, last: &Event) -> Option<Event> {
        let (from, state) = (&last.state, self.shared.state()?);
        let is_other = |number: &usize| match (from.tables.get(*number), state.tables.get(*number)) {
            (Some(before), Some(after)) => before.changed != after.changed,
            _ => true,
        };
        let says_something = from.frontier != state.frontier || subject.tables.iter().any(is_other);
        if from.commit == state.commit || !says_something {
            return None;
        }
        Some(Event::next(&self.shared, &subject.tables, from.commit, state))
    }

    /// Removes a feed without clients; returns whether it was removed.
    fn end(&self, subject: &Subject, newest: &Feed) -> bool {
        let mut feeds = self.lock();
        let unused = newest.receiver_count() == 0;
        if unused {
            feeds.remove(subject);
        }
        unused
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Arc<Feed>>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
