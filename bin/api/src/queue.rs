//! Commits on their way from the engine, bounded in number and bytes.
//!
//! The engine waits while it hands a commit over, so nothing is done here but to move it. When the reader falls behind
//! the bound, all that waits is dropped, and the reader is told to read the tables from PostgreSQL again.

use crate::frontier::{Frontier, Places};
use crate::rows::row_bytes;
use engine::Commit;
use operators::Row;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// A commit as it was handed over.
#[derive(Debug)]
pub struct Committed {
    /// Its number.
    pub number: i64,
    /// Whether `results` holds all rows instead of changes.
    pub full_snapshot: bool,
    /// Its frontier.
    pub frontier: Frontier,
    /// Per result the rows that went (-1) and came (+1).
    pub results: Vec<Vec<(Row, isize)>>,
}

/// What the reader of the queue gets.
#[derive(Debug)]
pub enum Next {
    /// The next commit.
    Commit(Committed),
    /// Commits were dropped: the tables have to be read again.
    Lost,
}

/// See the module's head.
#[derive(Debug)]
pub struct Queue {
    inner: Mutex<Inner>,
    ready: Notify,
    most_bytes: usize,
    most: usize,
}

#[derive(Debug)]
struct Inner {
    commits: VecDeque<(Committed, usize)>,
    bytes: usize,
    lost: bool,
    places: Places,
}

impl Queue {
    /// Holds so many bytes of changes and commits at most.
    pub fn new(most_bytes: usize, most: usize) -> Queue {
        Queue {
            inner: Mutex::new(Inner {
                commits: VecDeque::new(),
                bytes: 0,
                lost: false,
                places: Arc::new([]),
            }),
            ready: Notify::new(),
            most_bytes,
            most,
        }
    }

    /// Takes a commit of the engine.
    pub fn push(&self, commit: Commit<'_>) {
        let rows = commit.results.iter().flatten();
        // all rows replace what waits, and are there once: their size is not counted
        let bytes = if commit.full_snapshot {
            0
        } else {
            rows.map(|(row, _)| row_bytes(row)).sum()
        };
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = commit.frontier.iter();
        let entries: Vec<_> = entries
            .map(|(topic, partition, next)| (*topic, partition.0, next.0))
            .collect();
        let frontier = Frontier::of(&inner.places, &entries);
        inner.places = Arc::clone(frontier.places());
        if commit.full_snapshot {
            inner.clear();
            inner.lost = false;
        } else if inner.bytes + bytes > self.most_bytes || inner.commits.len() >= self.most {
            inner.clear();
            inner.lost = true;
        }
        if inner.lost {
            // who reads the tables from now on finds this commit in them
            drop(inner);
            self.ready.notify_one();
            return;
        }
        inner.bytes += bytes;
        let commit = Committed {
            number: commit.number,
            full_snapshot: commit.full_snapshot,
            frontier,
            results: commit.results,
        };
        inner.commits.push_back((commit, bytes));
        drop(inner);
        self.ready.notify_one();
    }

    /// Waits for the next commit. One reader at a time.
    pub async fn next(&self) -> Next {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.ready.notified().await;
        }
    }

    fn take(&self) -> Option<Next> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut inner.lost) {
            return Some(Next::Lost);
        }
        let (commit, bytes) = inner.commits.pop_front()?;
        inner.bytes -= bytes;
        Some(Next::Commit(commit))
    }
}

impl Inner {
    fn clear(&mut self) {
        self.commits.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::{Offset, Partition};
    use operators::Value;

    fn commit(number: i64, full_snapshot: bool, rows: usize) -> Commit<'static> {
        let rows = (0..rows).map(|key| (vec![Value::Int(key as i64)], 1));
        Commit {
            number,
            full_snapshot,
            frontier: &[("pin", Partition(0), Offset(7))],
            results: vec![rows.collect()],
        }
    }

    async fn taken(queue: &Queue) -> String {
        match queue.next().await {
            Next::Commit(commit) => commit.number.to_string(),
            Next::Lost => "lost".to_owned(),
        }
    }

    #[tokio::test]
    async fn commits_come_in_order_and_too_many_are_lost_together() {
        let queue = Queue::new(1 << 20, 3);
        for number in 1..=3 {
            queue.push(commit(number, false, 1));
        }
        assert_eq!(taken(&queue).await, "1");
        for number in 4..=6 {
            queue.push(commit(number, false, 1));
        }
        assert_eq!(taken(&queue).await, "lost");
        queue.push(commit(7, false, 1));
        assert_eq!(taken(&queue).await, "7");
        assert_eq!(queue.inner.lock().unwrap().bytes, 0);
        let small = Queue::new(1000, 100);
        small.push(commit(1, false, 5));
        small.push(commit(2, false, 50));
        assert_eq!(taken(&small).await, "lost");
    }

    #[tokio::test]
    async fn all_rows_replace_what_waits() {
        let queue = Queue::new(1000, 3);
        queue.push(commit(1, false, 50));
        queue.push(commit(2, false, 50));
        queue.push(commit(3, true, 500));
        assert_eq!(taken(&queue).await, "3");
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), queue.next()).await;
        assert!(waiting.is_err());
    }
}
