//! `greatest` against a maximum over everything.

use crate::harness::{Schedule, changes, compare, config, schedule, wishes};
use operators::{Routing, Symbol, greatest};
use proptest::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;

fn naive<K: Ord + Clone, V: Clone>(input: &BTreeMap<(K, V), isize>) -> Vec<(K, V)> {
    // later pairs of a key have greater values
    let greatest: BTreeMap<K, V> = input.keys().cloned().collect();
    greatest.into_iter().collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn equals_the_maximum(
        schedule in schedule(),
        wishes in wishes((0..5u8, prop_oneof![0..4i64, Just(i64::MIN), Just(i64::MAX)])),
    ) {
        compare(schedule, &changes(&wishes, false), |input| greatest(input, "greatest", Routing::default()), naive);
    }

    /// The least name, whose order is not the one in which names were first seen.
    #[test]
    fn equals_the_minimum(
        schedule in schedule(),
        wishes in wishes((0..3u8, (0..40u8).prop_map(|n| Symbol::new(&format!("least {}", n.wrapping_mul(89)))))),
    ) {
        let least: Vec<_> = (wishes.into_iter())
            .map(|(wait, remove, (key, name))| (wait, remove, (key, (Reverse(name), 1i128 << 100))))
            .collect();
        compare(schedule, &changes(&least, false), |input| greatest(input, "greatest", Routing::default()), naive);
    }
}

/// Few keys with many values, and many keys with few, which lose their greatest and then all.
#[test]
fn many_values() {
    for (workers, keys) in [(1, 5), (2, 5), (1, 80_000), (2, 80_000)] {
        let all = |epoch: u64, diff: isize| (0..100_000i64).map(move |n| ((n % keys, n / keys), epoch, diff));
        let greatest_half = all(1, -1).filter(|((_, value), ..)| *value >= 50_000 / keys);
        let rest = all(3, -1).filter(|((_, value), ..)| *value < 50_000 / keys);
        let changes: Vec<_> = all(0, 1).chain(greatest_half).chain(rest).collect();
        compare(
            Schedule { workers, seed: 7 },
            &changes,
            |input| greatest(input, "greatest", Routing::default()),
            naive,
        );
    }
}
