//! The order in which shards are read: one whose parents are all at their end, and no other.
//!
//! A parent that the stream does not list any more has no records left, and holds nothing back. One that was not read to
//! its end before it vanished has lost records: that is said, and not hidden.

use super::positions::Position;
use super::shard::{Shard, ShardId};
use std::collections::{BTreeMap, BTreeSet};

/// What is being done with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Its parents come first.
    Waiting,
    /// It is being read; whether its tip has been reached once.
    Reading { tip: bool },
    /// It was read to its end.
    Ended,
}

#[derive(Debug)]
struct Known {
    parents: Vec<ShardId>,
    state: State,
}

/// The shards of a stream as far as they are known.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    shards: BTreeMap<ShardId, Known>,
}

/// Positions of shards that are not listed any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Gone {
    /// Read to their end: their positions are of no further use.
    pub(crate) ended: Vec<ShardId>,
    /// Not read to their end.
    pub(crate) unread: Vec<ShardId>,
}

impl Plan {
    /// Takes a complete list of the stream's shards.
    pub(crate) fn list(&mut self, listed: Vec<Shard>, positions: &BTreeMap<ShardId, Position>) -> Gone {
        let present: BTreeSet<&ShardId> = listed.iter().map(|shard| &shard.id).collect();
        let mut gone = Gone::default();
        for (id, position) in positions.iter().filter(|(id, _)| !present.contains(id)) {
            if position.ended {
                gone.ended.push(id.clone());
            } else {
                gone.unread.push(id.clone());
            }
        }
        self.shards.retain(|id, _| present.contains(id));
        drop(present);
        for shard in listed {
            let ended = positions.get(&shard.id).is_some_and(|position| position.ended);
            let state = if ended { State::Ended } else { State::Waiting };
            let parents = shard.parents;
            self.shards.entry(shard.id).or_insert(Known { parents, state });
        }
        gone
    }

    /// The shards that may be read from now on.
    pub(crate) fn begin(&mut self) -> Vec<ShardId> {
        let open = |parent: &ShardId| self.shards.get(parent).is_some_and(|known| known.state != State::Ended);
        let may_begin = |known: &Known| known.state == State::Waiting && !known.parents.iter().any(open);
        let begin = self.shards.iter().filter(|(_, known)| may_begin(known));
        let begin: Vec<ShardId> = begin.map(|(id, _)| id.clone()).collect();
        for id in &begin {
            self.set(id, State::Reading { tip: false });
        }
        begin
    }

    /// A shard is at its tip.
    pub(crate) fn tip(&mut self, id: &ShardId) {
        self.set(id, State::Reading { tip: true });
    }

    /// A shard is at its end.
    pub(crate) fn end(&mut self, id: &ShardId) {
        self.set(id, State::Ended);
    }

    /// How many shards are being read.
    pub(crate) fn reading(&self) -> usize {
        let reading = |known: &&Known| matches!(known.state, State::Reading { .. });
        self.shards.values().filter(reading).count()
    }

    /// Whether every shard is at its tip or at its end.
    pub(crate) fn is_at_tip(&self) -> bool {
        let at_tip = |known: &Known| matches!(known.state, State::Reading { tip: true } | State::Ended);
        self.shards.values().all(at_tip)
    }

    fn set(&mut self, id: &ShardId, state: State) {
        if let Some(known) = self.shards.get_mut(id) {
            known.state = state;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(number: usize) -> ShardId {
        ShardId::new(&format!("shardId-{number:012}"))
    }

    fn shard(number: usize, parents: &[usize]) -> Shard {
        Shard {
            id: id(number),
            parents: parents.iter().copied().map(id).collect(),
        }
    }

    fn position(ended: bool) -> Position {
        Position {
            sequence: Some("1".to_owned()),
            read_until_ms: 0,
            ended,
        }
    }

    #[test]
    fn a_merged_shard_waits_for_both_parents() {
        let mut plan = Plan::default();
        let none = BTreeMap::new();
        let listed = vec![shard(0, &[]), shard(1, &[]), shard(2, &[0, 1]), shard(3, &[2])];
        assert_eq!(plan.list(listed, &none), Gone::default());
        assert_eq!(plan.begin(), [id(0), id(1)]);
        plan.end(&id(0));
        assert_eq!(plan.begin(), []);
        assert!(!plan.is_at_tip());
        plan.end(&id(1));
        assert_eq!(plan.begin(), [id(2)]);
        plan.end(&id(2));
        assert_eq!(plan.begin(), [id(3)]);
        plan.tip(&id(3));
        assert!(plan.is_at_tip() && plan.reading() == 1);
    }

    #[test]
    fn parents_that_are_not_listed_hold_nothing_back_and_are_told() {
        let mut plan = Plan::default();
        let positions = BTreeMap::from([
            (id(0), position(true)),
            (id(1), position(false)),
            (id(2), position(true)),
        ]);
        let gone = plan.list(vec![shard(2, &[0]), shard(3, &[1, 2])], &positions);
        assert_eq!((gone.ended, gone.unread), (vec![id(0)], vec![id(1)]));
        assert_eq!(plan.begin(), [id(3)]);
    }

    proptest! {
        /// Any history of splits and merges, listed piece by piece and interrupted anywhere: no shard begins before its
        /// parents have ended, and all begin.
        #[test]
        fn no_shard_begins_before_its_parents_end(
            history in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..12),
            turns in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..64),
        ) {
            let mut all = vec![shard(0, &[]), shard(1, &[])];
            let mut open = vec![0, 1];
            for (split, first, second) in history {
                let parent = open.swap_remove(first.index(open.len()));
                if split || open.is_empty() {
                    for _ in 0..2 {
                        open.push(all.len());
                        all.push(shard(all.len(), &[parent]));
                    }
                } else {
                    let other = open.swap_remove(second.index(open.len()));
                    open.push(all.len());
                    all.push(shard(all.len(), &[parent, other]));
                }
            }
            let mut positions: BTreeMap<ShardId, Position> = BTreeMap::new();
            let (mut plan, mut reading) = (Plan::default(), Vec::new());
            let mut turns = turns.into_iter();
            loop {
                prop_assert_eq!(plan.list(all.clone(), &positions), Gone::default());
                for begun in plan.begin() {
                    let parents = &all.iter().find(|shard| shard.id == begun).unwrap().parents;
                    let ended = |id: &ShardId| positions.get(id).is_some_and(|position| position.ended);
                    prop_assert!(parents.iter().all(ended), "{begun} before {parents:?}");
                    reading.push(begun);
                }
                if reading.is_empty() {
                    break;
                }
                let turn = turns.next();
                let restart = turn.is_some_and(|(_, restart)| restart);
                if restart {
                    (plan, reading) = (Plan::default(), Vec::new());
                    continue;
                }
                let which = turn.map_or(0, |(which, _)| which.index(reading.len()));
                let ended = reading.swap_remove(which);
                plan.end(&ended);
                positions.insert(ended, position(true));
            }
            prop_assert_eq!(positions.len(), all.len());
            prop_assert!(plan.is_at_tip() && plan.reading() == 0);
        }
    }
}
