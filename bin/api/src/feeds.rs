//! Streams of changes: one task for each set of tables and pace, and any number of clients.
//!
//! A feed merges all commits since its last event into the next one, encodes it once, and puts it where its clients
//! look. Nothing queues: a client takes the newest event when its connection has room again. If that does not begin where
//! the client is, because the client was slow or is new, the client gets the net changes from where it is out of the
//! recent commits, or a snapshot where they do not reach back so far.

use crate::error::ApiError;
use crate::events;
use crate::shared::{Shared, Standing};
use crate::state::State;
use bytes::Bytes;
use futures_util::Stream;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Feeds at most.
const MOST_FEEDS: usize = 256;
/// A client that was quiet for so long gets a heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Net changes for one client alone may take so many bytes; beyond, it gets a snapshot, whose pieces are shared.
const OWN_BYTES: usize = 48 << 10;
/// So many changes are merged for one client alone.
const OWN_CHANGES: usize = 5000;

/// What a feed is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The tables, by number, in order.
    pub tables: Vec<usize>,
    /// The least time between two events; zero: an event for each state.
    pub pace: Duration,
}

/// An event of a feed.
#[derive(Debug)]
struct Event {
    from: i64,
    commit: i64,
    frontier: Bytes,
    /// `None` when it is not known what changed: clients need a snapshot.
    bytes: Option<Bytes>,
}

type Newest = watch::Sender<Option<Arc<Event>>>;

/// All feeds.
#[derive(Debug)]
pub struct Feeds {
    shared: Arc<Shared>,
    runtime: Handle,
    feeds: Mutex<HashMap<Subject, Arc<Newest>>>,
}

impl Feeds {
    /// Tasks run on `runtime`.
    pub fn new(shared: Arc<Shared>, runtime: Handle) -> Arc<Feeds> {
        Arc::new(Feeds {
            shared,
            runtime,
            feeds: Mutex::default(),
        })
    }

    /// Events for a client that has seen the commit `seen`, if any: net changes from there where they are known, else a
    /// snapshot.
    ///
    /// # Errors
    /// There is no state (503), a table is not held in memory (409), or there are too many feeds (503).
    pub fn subscribe(
        self: &Arc<Self>,
        subject: &Subject,
        seen: Option<i64>,
    ) -> Result<impl Stream<Item = Bytes> + Send + use<>, ApiError> {
        let newest = self.newest(subject)?;
        // after the subscription: no event between the state and the first event is missed
        let state = match self.shared.standing() {
            Standing::At(state) => state,
            Standing::Nothing(why) => return Err(crate::wait::nothing(&why)),
        };
        let mut client = Client {
            shared: Arc::clone(&self.shared),
            tables: subject.tables.clone(),
            newest,
            at: state.commit,
            ready: VecDeque::new(),
        };
        let resumed = seen.is_some_and(|seen| {
            client.at = seen;
            client.catch_up(state.commit, &state.frontier_json())
        });
        if !resumed && !client.snapshot(&state) {
            return Err(too_large(&self.shared, &state, &subject.tables));
        }
        Ok(futures_util::stream::unfold(client, Client::next))
    }

    fn newest(self: &Arc<Self>, subject: &Subject) -> Result<watch::Receiver<Option<Arc<Event>>>, ApiError> {
        let mut feeds = self.lock();
        if let Some(newest) = feeds.get(subject) {
            return Ok(newest.subscribe());
        }
        if feeds.len() >= MOST_FEEDS {
            let hint = "use a set of tables and a pace that other clients use, or try again";
            return Err(ApiError::unavailable("too many different streams", hint));
        }
        let newest = Arc::new(watch::Sender::new(None));
        let receiver = newest.subscribe();
        feeds.insert(subject.clone(), Arc::clone(&newest));
        drop(feeds);
        // from what its first client is about to see: a commit that comes before the task runs is in its first event
        let (standing, last) = (self.shared.watch(), self.shared.state());
        self.runtime
            .spawn(Arc::clone(self).run(subject.clone(), newest, standing, last));
        Ok(receiver)
    }

    /// Makes the events of a feed until its last client is gone.
    async fn run(
        self: Arc<Self>,
        subject: Subject,
        newest: Arc<Newest>,
        mut standing: watch::Receiver<Standing>,
        mut last: Option<Arc<State>>,
    ) {
        loop {
            let wait = async {
                let _ = standing.changed().await;
                if let Some(next) = self.next(&subject, &mut last) {
                    newest.send_replace(Some(Arc::new(next)));
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
    fn next(&self, subject: &Subject, last: &mut Option<Arc<State>>) -> Option<Event> {
        let state = self.shared.state()?;
        let from = last.get_or_insert_with(|| Arc::clone(&state));
        let is_other = |number: &usize| match (from.tables.get(*number), state.tables.get(*number)) {
            (Some(before), Some(after)) => before.changed != after.changed,
            _ => true,
        };
        let says_something = from.frontier != state.frontier || subject.tables.iter().any(is_other);
        if from.commit == state.commit || !says_something {
            return None;
        }
        let deltas = self.shared.between(from.commit, state.commit);
        let frontier = state.frontier_json();
        let encode = |deltas: Vec<_>| {
            let (from, to) = (from.commit, state.commit);
            events::commit(&self.shared, from, to, &frontier, &subject.tables, &deltas)
        };
        let event = Event {
            from: from.commit,
            commit: state.commit,
            bytes: deltas.and_then(encode),
            frontier,
        };
        *last = Some(state);
        Some(event)
    }

    /// Removes a feed without clients; returns whether it was removed.
    fn end(&self, subject: &Subject, newest: &Newest) -> bool {
        let mut feeds = self.lock();
        let unused = newest.receiver_count() == 0;
        if unused {
            feeds.remove(subject);
        }
        unused
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Arc<Newest>>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_large(shared: &Shared, state: &State, tables: &[usize]) -> ApiError {
    let held = |number: &&usize| matches!(state.tables[**number].content, crate::state::Content::Held(_));
    let first = tables.iter().find(|number| !held(number)).copied().unwrap_or_default();
    let name = shared.shapes[first].table.name;
    let error = format!("{name} is not held in memory, and streams are made from there");
    let hint = format!("read /api/results/{name}, and again when its ETag changes");
    ApiError::new(hyper::StatusCode::CONFLICT, error, hint).with("table", name)
}

/// One client of a feed.
struct Client {
    shared: Arc<Shared>,
    tables: Vec<usize>,
    newest: watch::Receiver<Option<Arc<Event>>>,
    /// The commit that its events have led to.
    at: i64,
    /// What it has not been sent of its present event.
    ready: VecDeque<Bytes>,
}

impl Client {
    async fn next(mut self) -> Option<(Bytes, Client)> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                return Some((piece, self));
            }
            match tokio::time::timeout(HEARTBEAT, self.newest.changed()).await {
                Err(_) => return Some((Bytes::from_static(events::HEARTBEAT), self)),
                // the program ends
                Ok(Err(_)) => return None,
                Ok(Ok(())) => {
                    let event = self.newest.borrow_and_update().clone()?;
                    if !self.take(&event) {
                        return None;
                    }
                }
            }
        }
    }

    /// Makes an event ready; false when that is not possible and the stream ends.
    fn take(&mut self, event: &Event) -> bool {
        if event.commit <= self.at {
            return true;
        }
        match &event.bytes {
            Some(bytes) if event.from == self.at => {
                self.ready.push_back(bytes.clone());
                self.at = event.commit;
                true
            }
            _ => {
                self.catch_up(event.commit, &event.frontier)
                    || self.shared.state().is_some_and(|state| self.snapshot(&state))
            }
        }
    }

    /// Net changes from where the client is; false when they are not known or too large.
    fn catch_up(&mut self, commit: i64, frontier: &Bytes) -> bool {
        let Some(deltas) = self.shared.between(self.at, commit) else {
            return false;
        };
        if deltas.is_empty() {
            return true;
        }
        let changes = deltas.iter().map(|delta| delta.changes_of(&self.tables));
        if changes.sum::<usize>() > OWN_CHANGES {
            return false;
        }
        let event = events::commit(&self.shared, self.at, commit, frontier, &self.tables, &deltas);
        let Some(event) = event.filter(|event| event.len() <= OWN_BYTES) else {
            return false;
        };
        self.ready.push_back(event);
        self.at = commit;
        true
    }

    fn snapshot(&mut self, state: &State) -> bool {
        let Some(pieces) = events::snapshot(&self.shared, state, &self.tables) else {
            return false;
        };
        self.ready.extend(pieces);
        self.at = state.commit;
        true
    }
}

#[cfg(test)]
mod tests;
