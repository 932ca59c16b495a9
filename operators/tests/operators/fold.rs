//! `fold` against adding up everything.

use crate::harness::{Schedule, changes, compare, config, schedule, wishes};
use operators::{Routing, Tuple, fold};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Input<K, const A: usize> = BTreeMap<(K, [i64; A]), isize>;

fn naive<K: Ord + Clone, const A: usize>(input: &Input<K, A>) -> Vec<(K, [i64; A], i64)> {
    let mut totals: BTreeMap<K, ([i128; A], i64)> = BTreeMap::new();
    for ((key, numbers), count) in input {
        let (sums, rows) = totals.entry(key.clone()).or_insert(([0; A], 0));
        *rows += *count as i64;
        for (sum, number) in sums.iter_mut().zip(numbers) {
            *sum += i128::from(*number) * *count as i128;
        }
    }
    totals
        .into_iter()
        .map(|(key, (sums, rows))| (key, sums.map(|sum| sum as i64), rows))
        .collect()
}

fn numbers() -> impl Strategy<Value = i64> {
    prop_oneof![-2..3i64, Just(i64::MAX), Just(i64::MIN)]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn equals_adding_up(
        schedule in schedule(),
        wishes in wishes((0..4u32, [numbers(), numbers()])),
    ) {
        let of_tuples = wishes.iter().map(|(wait, remove, (key, numbers))| {
            (*wait, *remove, (Tuple { names: [], plain: [*key] }, *numbers))
        });
        let of_tuples: Vec<_> = of_tuples.collect();
        compare(schedule, &changes(&of_tuples, false), |input| fold(input, "fold", Routing::default()), naive);
    }

    #[test]
    fn of_everything(schedule in schedule(), wishes in wishes(numbers())) {
        let wishes: Vec<_> = wishes.into_iter().map(|(wait, remove, number)| (wait, remove, ((), [number]))).collect();
        compare(schedule, &changes(&wishes, false), |input| fold(input, "fold", Routing::default()), naive);
    }

    /// Without numbers: DISTINCT, and how often.
    #[test]
    fn of_keys_alone(schedule in schedule(), wishes in wishes(0..5u8)) {
        let wishes: Vec<_> = wishes.into_iter().map(|(wait, remove, key)| (wait, remove, (key, []))).collect();
        compare(schedule, &changes(&wishes, false), |input| fold::<u8, 0>(input, "fold", Routing::default()), naive);
    }
}

/// More keys than one activation emits, and more changes than pass uncombined, which then shrink to nothing.
#[test]
fn many_keys() {
    for (workers, keys) in [(1, 50_000), (2, 50_000), (3, 7)] {
        let all = |epoch: u64, diff: isize| (0..100_000i64).map(move |n| ((n % keys, [n % 5, -n]), epoch, diff));
        let some = all(1, -1).step_by(3);
        let rest = all(3, -1)
            .enumerate()
            .filter(|(n, _)| n % 3 != 0)
            .map(|(_, change)| change);
        let changes: Vec<_> = all(0, 1).chain(some).chain(rest).collect();
        compare(
            Schedule { workers, seed: 17 },
            &changes,
            |input| fold(input, "fold", Routing::default()),
            naive,
        );
    }
}
