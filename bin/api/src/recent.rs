//! The most recent commits as net changes, bounded in number and bytes: what streams that lag or come back are sent.

use crate::order::compare_keys;
use crate::rows::Change;
use operators::Table;
use std::collections::VecDeque;
use std::sync::Arc;

/// What happened to a table from one commit to another.
#[derive(Clone, Debug, PartialEq)]
pub enum TableDelta {
    /// These rows changed, each once.
    Changes(Vec<Change>),
    /// It is not known what changed.
    Unknown,
}

/// The step from one commit to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    /// The commit before.
    pub from: i64,
    /// The commit after.
    pub to: i64,
    /// The tables that changed, by number.
    pub tables: Vec<(usize, TableDelta)>,
}

impl Delta {
    fn of(&self, table: usize) -> Option<&TableDelta> {
        let found = self.tables.iter().find(|(number, _)| *number == table);
        found.map(|(_, delta)| delta)
    }

    /// How many changes there are of these tables.
    pub fn changes_of(&self, tables: &[usize]) -> usize {
        let of = |(number, delta): &(usize, TableDelta)| match delta {
            TableDelta::Changes(changes) if tables.contains(number) => changes.len(),
            _ => 0,
        };
        self.tables.iter().map(of).sum()
    }

    fn bytes(&self) -> usize {
        let table = |(_, delta): &(usize, TableDelta)| match delta {
            TableDelta::Changes(changes) => changes.iter().map(Change::bytes).sum(),
            TableDelta::Unknown => 0,
        };
        size_of::<Delta>() + self.tables.iter().map(table).sum::<usize>()
    }
}

/// A chain of deltas: each begins where the one before it ends.
#[derive(Debug)]
pub struct Recent {
    deltas: VecDeque<(Arc<Delta>, usize)>,
    bytes: usize,
    most_bytes: usize,
    most: usize,
}

impl Recent {
    /// Keeps so many bytes and deltas at most.
    pub fn new(most_bytes: usize, most: usize) -> Recent {
        Recent {
            deltas: VecDeque::new(),
            bytes: 0,
            most_bytes,
            most,
        }
    }

    /// Adds the newest delta. One that does not begin where the last one ended begins a new chain.
    pub fn push(&mut self, delta: Delta) {
        if self.deltas.back().is_some_and(|(last, _)| last.to != delta.from) {
            self.deltas.clear();
            self.bytes = 0;
        }
        let bytes = delta.bytes();
        self.bytes += bytes;
        self.deltas.push_back((Arc::new(delta), bytes));
        while self.bytes > self.most_bytes || self.deltas.len() > self.most {
            let Some((_, bytes)) = self.deltas.pop_front() else {
                return;
            };
            self.bytes -= bytes;
        }
    }

    /// The deltas from one commit to another; `None` when the chain does not hold both.
    pub fn between(&self, from: i64, to: i64) -> Option<Vec<Arc<Delta>>> {
        if from == to {
            return Some(Vec::new());
        }
        let first = self.deltas.binary_search_by_key(&from, |(delta, _)| delta.from).ok()?;
        let last = self.deltas.binary_search_by_key(&to, |(delta, _)| delta.to).ok()?;
        let range = (first <= last).then(|| self.deltas.range(first..=last))?;
        Some(range.map(|(delta, _)| Arc::clone(delta)).collect())
    }
}

/// The net changes of a table over consecutive deltas, in the order of keys; `None` when they are not known.
pub fn net(table: &Table, number: usize, deltas: &[Arc<Delta>]) -> Option<Vec<Change>> {
    let mut all: Vec<&Change> = Vec::new();
    for delta in deltas {
        match delta.of(number) {
            Some(TableDelta::Changes(changes)) => all.extend(changes),
            Some(TableDelta::Unknown) => return None,
            None => {}
        }
    }
    // stable: changes of a row stay in the order of commits
    all.sort_by(|a, b| compare_keys(table, a.row(), b.row()));
    let of_one_row = |a: &&Change, b: &&Change| compare_keys(table, a.row(), b.row()).is_eq();
    let merged = all.chunk_by(of_one_row).filter_map(|changes| {
        let (first, last) = (changes.first()?, changes.last()?);
        let net = Change {
            old: first.old.clone(),
            new: last.new.clone(),
        };
        (net.old != net.new).then_some(net)
    });
    Some(merged.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::tests::{TABLE, change};

    fn delta(from: i64, to: i64, changes: Vec<Change>) -> Delta {
        Delta {
            from,
            to,
            tables: vec![(0, TableDelta::Changes(changes))],
        }
    }

    #[test]
    fn changes_of_a_row_become_one_or_none() {
        let mut recent = Recent::new(1 << 20, 100);
        recent.push(delta(1, 2, vec![change(1, None, Some(1)), change(2, Some(2), None)]));
        recent.push(delta(2, 3, vec![change(1, Some(1), Some(3)), change(2, None, Some(2))]));
        recent.push(delta(3, 5, vec![change(1, Some(3), None), change(3, None, Some(9))]));
        let net = |from, to| net(&TABLE, 0, &recent.between(from, to)?);
        assert_eq!(net(1, 3), Some(vec![change(1, None, Some(3))]));
        assert_eq!(
            net(2, 3),
            Some(vec![change(1, Some(1), Some(3)), change(2, None, Some(2))])
        );
        assert_eq!(net(1, 5), Some(vec![change(3, None, Some(9))]));
        assert_eq!(net(3, 3), Some(Vec::new()));
        for (from, to) in [(0, 5), (1, 4), (4, 5), (5, 1), (2, 1)] {
            assert_eq!(net(from, to), None, "{from} to {to}");
        }
    }

    #[test]
    fn the_oldest_are_forgotten_and_a_hole_begins_anew() {
        let mut recent = Recent::new(1 << 20, 3);
        for commit in 0..5 {
            recent.push(delta(commit, commit + 1, Vec::new()));
        }
        assert!(recent.between(2, 5).is_some() && recent.between(1, 5).is_none());
        recent.push(delta(9, 10, Vec::new()));
        assert!(recent.between(9, 10).is_some() && recent.between(4, 10).is_none() && recent.between(2, 5).is_none());
        let mut small = Recent::new(1, 3);
        small.push(delta(0, 1, vec![change(1, None, Some(1))]));
        assert!(small.between(0, 1).is_none());
        assert_eq!(small.bytes, 0);
    }

    #[test]
    fn what_is_not_known_gives_no_net_changes() {
        let unknown = Delta {
            from: 1,
            to: 2,
            tables: vec![(1, TableDelta::Unknown)],
        };
        let deltas = [Arc::new(unknown), Arc::new(delta(2, 3, vec![change(1, None, Some(1))]))];
        assert_eq!(net(&TABLE, 1, &deltas), None);
        assert_eq!(net(&TABLE, 0, &deltas), Some(vec![change(1, None, Some(1))]));
    }
}
