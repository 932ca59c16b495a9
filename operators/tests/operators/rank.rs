//! `rank` against a sort of every group.

use crate::harness::{Schedule, changes, compare, config, schedule, wishes};
use operators::{Keep, Routing, Symbol, rank};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Debug;

type Rows<G> = BTreeMap<(G, (Symbol, i64)), isize>;

/// SQL: the rows with `row_number <= top or rank = 1`, where `top` 0 means all.
fn naive<G: Ord + Clone + Debug>(input: &Rows<G>, keep: Keep) -> Vec<(G, Symbol, i64, i64)> {
    let mut groups: BTreeMap<G, Vec<(i64, &str)>> = BTreeMap::new();
    for (group, (name, value)) in input.keys() {
        groups.entry(group.clone()).or_default().push((*value, name.text()));
    }
    let mut kept = Vec::new();
    for (group, mut rows) in groups {
        rows.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        for (place, (value, name)) in rows.iter().enumerate() {
            let rank = 1 + rows.iter().filter(|row| row.0 > *value).count() as i64;
            let shown = match keep {
                Keep::Top(0) => true,
                Keep::Top(top) => place < top || rank == 1,
                Keep::Leaders => rank == 1,
            };
            if shown {
                kept.push((group.clone(), Symbol::new(name), *value, rank));
            }
        }
    }
    kept
}

/// Names whose order by bytes is not the order they were first seen in.
fn name(n: u16) -> Symbol {
    const SPREAD: u16 = 7919;
    Symbol::new(&format!("{:04x} {n}", n.wrapping_mul(SPREAD)))
}

/// One value for each name: a name's change of value is a removal and an addition.
fn one_value_each(wishes: Vec<(u8, bool, (u8, u16, i64))>) -> Vec<((u8, (Symbol, i64)), u64, isize)> {
    let mut values: BTreeMap<(u8, u16), i64> = BTreeMap::new();
    let mut wanted = Vec::new();
    for (wait, remove, (group, n, value)) in wishes {
        let old = if remove {
            values.remove(&(group, n))
        } else {
            values.insert((group, n), value)
        };
        if let Some(old) = old {
            wanted.push((wait, true, (group, (name(n), old))));
        }
        if !remove {
            wanted.push((if old.is_some() { 0 } else { wait }, false, (group, (name(n), value))));
        }
    }
    // an item is there exactly when it is to be removed
    changes(&wanted, true)
}

fn keeps() -> impl Strategy<Value = Keep> {
    prop_oneof![(0..5usize).prop_map(Keep::Top), Just(Keep::Leaders)]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn equals_sorting(
        schedule in schedule(),
        keep in keeps(),
        wishes in wishes((0..3u8, 0..12u16, -2..3i64)),
    ) {
        compare(schedule, &one_value_each(wishes), move |rows| rank(rows, "rank", Routing::default(), keep), |input| naive(input, keep));
    }

    /// One board for all, of rows enough that they move between its head and its tail.
    #[test]
    fn a_long_board(
        schedule in schedule(),
        top in 1..4usize,
        values in prop_oneof![Just(1i64), Just(8), Just(400)],
        sequence in prop::collection::vec((0..600u16, any::<u16>(), any::<bool>()), 0..900),
    ) {
        let mut present: BTreeMap<u16, i64> = BTreeMap::new();
        let mut changes = Vec::new();
        for (at, (n, value, greatest)) in sequence.into_iter().enumerate() {
            // a third of all rows come in epoch 0; then waves in which the greatest rows leave
            let epoch = (at as u64).saturating_sub(300).div_ceil(20);
            let leaving = (epoch / 10) % 2 == 1;
            let value = i64::from(value) % values - values / 2;
            let n = match present.iter().max_by_key(|(_, value)| **value) {
                Some((n, _)) if leaving && greatest => *n,
                _ => n,
            };
            if let Some(old) = present.remove(&n) {
                changes.push((((), (name(n), old)), epoch, -1));
            }
            if !leaving {
                present.insert(n, value);
                changes.push((((), (name(n), value)), epoch, 1));
            }
        }
        compare(schedule, &changes, move |rows| rank(rows, "rank", Routing::default(), Keep::Top(top)), |input| naive(input, Keep::Top(top)));
    }
}

#[test]
fn many_groups() {
    for workers in [1, 2] {
        let all = |epoch: u64, diff: isize| {
            (0..90_000i64).map(move |n| ((n / 3, (name((n % 3) as u16), n % 2)), epoch, diff))
        };
        let changes: Vec<_> = all(0, 1).chain(all(1, -1).step_by(2)).collect();
        for keep in [Keep::Top(2), Keep::Leaders] {
            compare(
                Schedule { workers, seed: 9 },
                &changes,
                move |rows| rank(rows, "rank", Routing::default(), keep),
                |input| naive(input, keep),
            );
        }
    }
}

/// The example of SQL's manual: 1, 2, 2, 4.
#[test]
fn ties_share_a_rank_and_leave_a_gap() {
    let rows = [("a", 5), ("d", 7), ("c", 7), ("b", 9)];
    let changes: Vec<_> = rows
        .iter()
        .map(|(name, value)| (((), (Symbol::new(name), *value)), 0, 1))
        .collect();
    let expected = [("b", 9, 1), ("c", 7, 2), ("d", 7, 2), ("a", 5, 4)];
    for (top, shown) in [(0, 4), (1, 1), (2, 2), (3, 3), (9, 4)] {
        let expected: Vec<_> = expected[..shown]
            .iter()
            .map(|&(n, v, r)| ((), Symbol::new(n), v, r))
            .collect();
        let one = Schedule { workers: 1, seed: 0 };
        compare(
            one,
            &changes,
            move |rows| rank(rows, "rank", Routing::default(), Keep::Top(top)),
            |input| match input.len() {
                4 => expected.clone(),
                _ => Vec::new(),
            },
        );
    }
}
