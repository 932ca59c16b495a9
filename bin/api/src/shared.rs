//! What the task that follows commits writes, and all requests read: the present state and the recent changes.

use crate::cell::Shape;
use crate::recent::{Delta, Recent};
use crate::state::{Bounds, State};
use operators::Table;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Bytes of recent changes that are kept at most.
const RECENT_BYTES: usize = 32 << 20;
/// Recent commits that are kept at most.
const RECENT: usize = 20_000;

/// Where the tables stand.
#[derive(Clone, Debug)]
pub enum Standing {
    /// There is nothing to show; why.
    Nothing(Arc<str>),
    /// At this state.
    At(Arc<State>),
}

/// See the module's head.
#[derive(Debug)]
pub struct Shared {
    /// The result tables, by number.
    pub shapes: Vec<Shape>,
    /// Names of the topics that are read.
    pub topics: Vec<String>,
    /// What is held in memory.
    pub bounds: Bounds,
    standing: watch::Sender<Standing>,
    recent: Mutex<Recent>,
}

impl Shared {
    /// Nothing is known yet.
    pub fn new(tables: &[Table], topics: Vec<String>, bounds: Bounds) -> Shared {
        let shapes = tables.iter().copied().map(Shape::new).collect();
        Shared::of(shapes, topics, bounds, Recent::new(RECENT_BYTES, RECENT))
    }

    /// The same of any tables.
    pub fn of(shapes: Vec<Shape>, topics: Vec<String>, bounds: Bounds, recent: Recent) -> Shared {
        Shared {
            shapes,
            topics,
            bounds,
            standing: watch::Sender::new(Standing::Nothing("the tables have not been read yet".into())),
            recent: Mutex::new(recent),
        }
    }

    /// Where the tables stand.
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// The present state, if there is one.
    pub fn state(&self) -> Option<Arc<State>> {
        match &*self.standing.borrow() {
            Standing::At(state) => Some(Arc::clone(state)),
            Standing::Nothing(_) => None,
        }
    }

    /// Follows where the tables stand.
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Makes a state the present one; `delta` leads to it from the one before.
    pub fn publish(&self, state: State, delta: Option<Delta>) {
        // before the state: whoever sees the state finds what leads to it
        if let Some(delta) = delta {
            self.recent().push(delta);
        }
        self.standing.send_replace(Standing::At(Arc::new(state)));
    }

    /// Says why there is nothing to show, unless there is something.
    pub fn explain(&self, why: &str) {
        self.standing.send_if_modified(|standing| match standing {
            Standing::Nothing(known) if **known != *why => {
                *standing = Standing::Nothing(why.into());
                true
            }
            _ => false,
        });
    }

    /// The deltas from one commit to another; `None` when they are not kept any more.
    pub fn between(&self, from: i64, to: i64) -> Option<Vec<Arc<Delta>>> {
        self.recent().between(from, to)
    }

    /// The number of a table.
    pub fn number(&self, table: &str) -> Option<usize> {
        self.shapes.iter().position(|shape| shape.table.name == table)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
