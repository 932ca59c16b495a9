//! Tables at the commits that cursors name, kept for a while: the pages of one answer belong to one commit.

use crate::rows::Rows;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Tables that are kept at most.
const MOST: usize = 16;
/// How long one is kept after its last page was asked for.
const KEPT: Duration = Duration::from_secs(60);

/// A table at a commit.
#[derive(Clone, Debug)]
pub struct Pinned {
    /// The commit.
    pub commit: i64,
    /// Its frontier as JSON.
    pub frontier: Bytes,
    /// The table, by number.
    pub table: usize,
    /// The commit that changed it last.
    pub changed: i64,
    /// Its rows.
    pub rows: Rows,
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct Pins(Mutex<VecDeque<(Instant, Pinned)>>);

impl Pins {
    /// Keeps a table.
    pub fn keep(&self, pinned: Pinned) {
        let mut pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pins.retain(|(_, pin)| (pin.commit, pin.table) != (pinned.commit, pinned.table));
        pins.push_back((Instant::now(), pinned));
        if pins.len() > MOST {
            pins.pop_front();
        }
    }

    /// A table at a commit, if it is kept.
    pub fn get(&self, commit: i64, table: usize) -> Option<Pinned> {
        self.expire();
        let pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = pins.iter().find(|(_, pin)| (pin.commit, pin.table) == (commit, table));
        found.map(|(_, pin)| pin.clone())
    }

    /// Drops tables that were not requested for a while.
    pub fn expire(&self) {
        let mut pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pins.retain(|(since, _)| since.elapsed() < KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let pins = Pins::default();
        for commit in 0..=MOST as i64 {
            pins.keep(Pinned {
                commit,
                frontier: Bytes::new(),
                table: 0,
                changed: 0,
                rows: Rows::default(),
            });
        }
        assert!(pins.get(0, 0).is_none() && pins.get(1, 1).is_none());
        assert!((1..=MOST as i64).all(|commit| pins.get(commit, 0).is_some()));
    }
}
