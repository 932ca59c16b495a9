//! An event of a feed: net changes to a state, encoded once for all clients that are at the same commit.

use crate::events;
use crate::shared::Shared;
use crate::state::State;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Net changes for clients that are late or alone, where a snapshot would be larger.
pub(super) const LARGE: Bounds = Bounds {
    changes: 50_000,
    bytes: 4 << 20,
};
/// What all clients get that are in time: a snapshot for each of them would be more.
const ALL: Bounds = Bounds {
    changes: usize::MAX,
    bytes: usize::MAX,
};
/// Bytes that an event keeps for clients that missed the ones before it.
const LATE_BYTES: usize = 8 << 20;
/// An entry beside its bytes, about.
const ENTRY: usize = 64;

/// How large net changes may be; beyond, a snapshot is cheaper.
pub(super) struct Bounds {
    /// Changes that are merged.
    pub(super) changes: usize,
    /// Bytes that they are encoded to.
    pub(super) bytes: usize,
}

impl Bounds {
    /// The net changes of the tables from a commit to a state; `None` when they are not known or too large.
    pub(super) fn changes(&self, shared: &Shared, tables: &[usize], from: i64, to: &State) -> Option<Bytes> {
        let deltas = shared.between(from, to.commit)?;
        if deltas.iter().map(|delta| delta.changes_of(tables)).sum::<usize>() > self.changes {
            return None;
        }
        let event = events::commit(shared, from, to.commit, &to.frontier_json(), tables, &deltas)?;
        (event.len() <= self.bytes).then_some(event)
    }
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Event {
    /// What it leads to.
    pub(super) state: Arc<State>,
    changes: Mutex<Changes>,
}

#[derive(Debug, Default)]
struct Changes {
    /// By the commit that they begin at; `None` where a snapshot is needed.
    since: HashMap<i64, Option<Bytes>>,
    /// Bytes of those for clients that missed events.
    late: usize,
}

impl Event {
    /// It is not known what leads to this state.
    pub(super) fn first(state: Arc<State>) -> Event {
        Event {
            state,
            changes: Mutex::default(),
        }
    }

    /// What leads from a commit to this state.
    pub(super) fn next(shared: &Shared, tables: &[usize], from: i64, state: Arc<State>) -> Event {
        let since = HashMap::from([(from, ALL.changes(shared, tables, from, &state))]);
        Event {
            state,
            changes: Mutex::new(Changes { since, late: 0 }),
        }
    }

    /// The net changes since a commit, the same for all clients that are there; `Some(None)`: they need a snapshot.
    /// `None` when clients are at so many commits that this one has to be served alone.
    pub(super) fn since(&self, shared: &Shared, tables: &[usize], from: i64) -> Option<Option<Bytes>> {
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = changes.since.get(&from) {
            return Some(known.clone());
        }
        if changes.late > LATE_BYTES {
            return None;
        }
        let made = LARGE.changes(shared, tables, from, &self.state);
        changes.late += ENTRY + made.as_ref().map_or(0, Bytes::len);
        changes.since.insert(from, made.clone());
        Some(made)
    }
}
