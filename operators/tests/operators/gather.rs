//! `gather` against a map of maps.

use crate::harness::{Schedule, Update, compare, config, schedule};
use operators::{Routing, gather};
use proptest::prelude::*;
use std::collections::BTreeMap;

const PARTS: usize = 3;

type Part = (u16, (u8, i64));

fn naive(input: &BTreeMap<Part, isize>) -> Vec<(u16, Box<[Option<i64>]>)> {
    let mut keys: BTreeMap<u16, Vec<Option<i64>>> = BTreeMap::new();
    for ((key, (number, part)), copies) in input {
        assert_eq!(*copies, 1);
        keys.entry(*key).or_insert_with(|| vec![None; PARTS])[usize::from(*number)] = Some(*part);
    }
    keys.into_iter().map(|(key, parts)| (key, parts.into())).collect()
}

/// Parts set and removed one after the other, several times in an epoch too; a key has part 0 while it has any.
fn changes(steps: Vec<(u8, u16, u8, Option<i64>)>) -> Vec<Update<Part>> {
    let mut parts: BTreeMap<(u16, u8), i64> = BTreeMap::new();
    let (mut epoch, mut changes) = (0, Vec::new());
    for (wait, key, number, part) in steps {
        epoch += u64::from(wait.saturating_sub(6));
        let mut set = |number: u8, part: Option<i64>| {
            let old = match part {
                Some(part) => parts.insert((key, number), part),
                None => parts.remove(&(key, number)),
            };
            changes.extend(old.map(|old| ((key, (number, old)), epoch, -1)));
            changes.extend(part.map(|part| ((key, (number, part)), epoch, 1)));
        };
        match (number, part) {
            (0, None) => (0..PARTS as u8).for_each(|number| set(number, None)),
            (0, part) => set(0, part),
            (number, part) => {
                set(0, Some(part.unwrap_or(9)));
                set(number, part);
            }
        }
    }
    changes
}

fn steps(keys: u16) -> impl Strategy<Value = Vec<(u8, u16, u8, Option<i64>)>> {
    let part = prop::option::weighted(0.7, 0..3i64);
    prop::collection::vec((0..9u8, 0..keys, 0..PARTS as u8, part), 0..120)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn equals_a_map(schedule in schedule(), steps in steps(4)) {
        compare(schedule, &changes(steps), |parts| gather(parts, "gather", Routing::default(), PARTS), naive);
    }

    /// The same few parts over and over within few epochs.
    #[test]
    fn of_one_key(schedule in schedule(), steps in steps(1)) {
        compare(schedule, &changes(steps), |parts| gather(parts, "gather", Routing::default(), PARTS), naive);
    }
}

/// More keys than one activation emits, which change in part and then leave.
#[test]
fn many_keys() {
    for workers in [1, 2] {
        let all = |epoch: u64, part: i64, diff: isize| {
            (0..60_000u16).map(move |n| ((n / 3, ((n % 3) as u8, part)), epoch, diff))
        };
        let thirds = |change: &Update<Part>| change.0.1.0 == 1;
        let changed = all(1, 0, -1).filter(thirds).chain(all(1, 1, 1).filter(thirds));
        let others = all(2, 0, -1).filter(|change| !thirds(change));
        let left = others.chain(all(2, 1, -1).filter(thirds));
        let changes: Vec<_> = all(0, 0, 1).chain(changed).chain(left).collect();
        compare(
            Schedule { workers, seed: 19 },
            &changes,
            |parts| gather(parts, "gather", Routing::default(), PARTS),
            naive,
        );
    }
}
