//! The order in which shards are read: one whose parents are all at their end, and no other.
//!
//! A parent that the stream does not list any more has no records left, and holds nothing back. One that was not read to
//! its end before it vanished has lost records: that is said, and not hidden. So has one whose children have vanished
//! before any of them was seen, which is why the position of an ended one is kept until they have positions.

use super::positions::Position;
use super::shard::{Shard, ShardId};
use std::collections::BTreeMap;

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
    /// Read to their end, and their children have positions: theirs are of no further use.
    pub(crate) ended: Vec<ShardId>,
    /// Not read to their end, or nothing is known of their children.
    pub(crate) unread: Vec<ShardId>,
}

impl Plan {
    /// Takes a complete list of the stream's shards.
    pub(crate) fn list(&mut self, listed: Vec<Shard>, positions: &BTreeMap<ShardId, Position>) -> Gone {
        let listed = listed.into_iter().map(|shard| (shard.id, shard.parents));
        let listed: BTreeMap<ShardId, Vec<ShardId>> = listed.collect();
        self.shards.retain(|id, _| listed.contains_key(id));
        for (id, parents) in listed {
            let ended = positions.get(&id).is_some_and(|position| position.ended);
            let state = if ended { State::Ended } else { State::Waiting };
            self.shards.entry(id).or_insert(Known { parents, state });
        }
        let mut gone = Gone::default();
        for (id, position) in positions.iter().filter(|(id, _)| !self.shards.contains_key(*id)) {
            match () {
                () if !position.ended => gone.unread.push(id.clone()),
                () if position.followed || self.is_followed(id, positions) => gone.ended.push(id.clone()),
                () if self.children(id).next().is_none() => gone.unread.push(id.clone()),
                // a child waits, for another parent perhaps
                () => {}
            }
        }
        gone
    }

    /// The ended shards whose children have positions now, which their own do not say yet.
    pub(crate) fn followed(&self, positions: &BTreeMap<ShardId, Position>) -> Vec<ShardId> {
        let ended = positions.iter().filter(|(_, position)| position.ended);
        let new = ended.filter(|(id, position)| !position.followed && self.is_followed(id, positions));
        new.map(|(id, _)| id.clone()).collect()
    }

    fn is_followed(&self, id: &ShardId, positions: &BTreeMap<ShardId, Position>) -> bool {
        let mut children = self.children(id).peekable();
        children.peek().is_some() && children.all(|child| positions.contains_key(child))
    }

    /// The listed shards that continue one.
    fn children<'s>(&'s self, id: &'s ShardId) -> impl Iterator<Item = &'s ShardId> {
        let children = self.shards.iter().filter(move |(_, known)| known.parents.contains(id));
        children.map(|(child, _)| child)
    }

    /// The shards that a listed one continues.
    pub(crate) fn parents(&self, id: &ShardId) -> &[ShardId] {
        self.shards.get(id).map_or(&[], |known| &known.parents)
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
            followed: false,
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

    #[test]
    fn an_ended_shard_is_kept_until_its_children_have_positions() {
        let mut plan = Plan::default();
        // 0 and 1 were merged, and 1 is not read to its end yet
        let mut positions = BTreeMap::from([(id(0), position(true)), (id(1), position(false))]);
        let listed = || vec![shard(1, &[]), shard(2, &[0, 1])];
        assert_eq!(plan.list(listed(), &positions), Gone::default());
        assert_eq!(plan.begin(), [id(1)]);
        assert_eq!(plan.followed(&positions), []);
        plan.end(&id(1));
        positions.insert(id(1), position(true));
        assert_eq!(plan.list(listed(), &positions), Gone::default());
        assert_eq!(plan.begin(), [id(2)]);
        assert_eq!(plan.parents(&id(2)), [id(0), id(1)]);
        positions.insert(id(2), position(false));
        assert_eq!(plan.followed(&positions), [id(0), id(1)]);
        for parent in [0, 1] {
            positions.get_mut(&id(parent)).unwrap().followed = true;
        }
        assert_eq!(plan.followed(&positions), []);
        let ended = vec![id(0)];
        let unread = Vec::new();
        assert_eq!(plan.list(listed(), &positions), Gone { ended, unread });
    }

    #[test]
    fn children_that_vanish_before_they_are_seen_are_told() {
        // 1, the only child of 0, was split into 2 and 3, and has expired as 0 has
        let listed = || vec![shard(2, &[1]), shard(3, &[1])];
        let mut positions = BTreeMap::from([(id(0), position(true))]);
        let (ended, unread) = (Vec::new(), vec![id(0)]);
        assert_eq!(Plan::default().list(listed(), &positions), Gone { ended, unread });
        // the same when it was seen, and not read
        positions.get_mut(&id(0)).unwrap().followed = true;
        positions.insert(id(1), position(false));
        let (ended, unread) = (vec![id(0)], vec![id(1)]);
        assert_eq!(Plan::default().list(listed(), &positions), Gone { ended, unread });
        // and when it was read
        let mut read = position(true);
        read.followed = true;
        positions.insert(id(1), read);
        let (ended, unread) = (vec![id(0), id(1)], Vec::new());
        assert_eq!(Plan::default().list(listed(), &positions), Gone { ended, unread });
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
