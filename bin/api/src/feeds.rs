//! Streams of changes: one task for each set of tables and pace, and any number of clients.
//!
//! A crowd with the same tables and pace is spread over several feeds, whose events come at different times: a thousand
//! writes at once would keep the processors from the commits that they are about.
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
/// Beyond so many feeds no crowd is spread over another one.
const MOST_SPREAD: usize = MOST_FEEDS / 2;
/// Clients of a feed before others with the same subject get one of their own.
const CROWD: usize = 64;
/// Feeds with the same subject at most; further clients share them evenly.
const PARTS: usize = 16;

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

/// A subject, and the number of its feed.
type Name = (Subject, usize);

/// All feeds.
#[derive(Debug)]
pub struct Feeds {
    shared: Arc<Shared>,
    stores: Arc<Stores>,
    runtime: Handle,
    feeds: Mutex<HashMap<Name, Arc<Feed>>>,
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
        // without a pace all events come with their commits
        let parts = if subject.pace.is_zero() { 1 } else { PARTS };
        let names = (0..parts).map(|part| (subject.clone(), part));
        let (known, free): (Vec<Name>, Vec<Name>) = names.partition(|name| feeds.contains_key(name));
        let counted = known.iter().map(|name| (feeds[name].receiver_count(), &feeds[name]));
        let counted: Vec<(usize, &Arc<Feed>)> = counted.collect();
        // the first ones are filled, so that those that a crowd has left end
        if let Some((_, newest)) = counted.iter().find(|(clients, _)| *clients < CROWD) {
            return Ok(newest.subscribe());
        }
        let most = if known.is_empty() { MOST_FEEDS } else { MOST_SPREAD };
        let name = match free.into_iter().next() {
            Some(name) if feeds.len() < most => name,
            _ => {
                let fewest = counted.into_iter().min_by_key(|(clients, _)| *clients);
                let (_, newest) = fewest.ok_or_else(|| {
                    let hint = "use a set of tables and a pace that other clients use, or try again";
                    ApiError::unavailable("too many different streams", hint)
                })?;
                return Ok(newest.subscribe());
            }
        };
        let newest = Arc::new(watch::Sender::new(Arc::new(first)));
        let receiver = newest.subscribe();
        feeds.insert(name.clone(), Arc::clone(&newest));
        drop(feeds);
        let mut standing = self.shared.watch();
        // a commit that came after the first event is in the next one
        standing.mark_changed();
        self.runtime.spawn(Arc::clone(self).run(name, newest, standing));
        Ok(receiver)
    }

    /// Makes the events of a feed until its last client is gone.
    async fn run(self: Arc<Self>, name: Name, newest: Arc<Feed>, mut standing: watch::Receiver<Standing>) {
        let (subject, part) = &name;
        // feeds of a crowd that came at once begin at different times
        let mut pause = subject.pace * *part as u32 / PARTS as u32;
        loop {
            let wait = async {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
                let _ = standing.changed().await;
                let last = Arc::clone(&newest.borrow());
                let next = self.next(subject, &last);
                let said = next.is_some();
                if let Some(next) = next {
                    newest.send_replace(Arc::new(next));
                }
                said
            };
            tokio::select! {
                said = wait => pause = if said { subject.pace } else { Duration::ZERO },
                () = newest.closed() => if self.end(&name, &newest) {
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
    fn end(&self, name: &Name, newest: &Feed) -> bool {
        let mut feeds = self.lock();
        let unused = newest.receiver_count() == 0;
        if unused {
            feeds.remove(name);
        }
        unused
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Arc<Feed>>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
