//! `median` against a sorted list.

use crate::harness::{Schedule, changes, compare, config, schedule, wishes};
use operators::{Median, Routing, median};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Percentiles as PostgreSQL's `orderedsetaggs.c` computes them.
fn naive<G: Ord + Clone>(input: &BTreeMap<(G, i64), isize>) -> Vec<(G, Median)> {
    let mut groups: BTreeMap<G, Vec<i64>> = BTreeMap::new();
    for ((group, value), count) in input {
        groups
            .entry(group.clone())
            .or_default()
            .extend(std::iter::repeat_n(*value, *count as usize));
    }
    let median = |values: &Vec<i64>| {
        let rows = values.len() as f64;
        let disc = (0.5 * rows).ceil() as usize;
        let (first, second) = ((0.5 * (rows - 1.0)).floor(), (0.5 * (rows - 1.0)).ceil());
        let (low, high) = (values[first as usize] as f64, values[second as usize] as f64);
        let mean = if first == second {
            low
        } else {
            low + (0.5 * (rows - 1.0) - first) * (high - low)
        };
        Median {
            lower: values[disc.max(1) - 1],
            mean,
            count: values.len() as i64,
        }
    };
    groups
        .into_iter()
        .map(|(group, values)| (group, median(&values)))
        .collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn equals_sorting(schedule in schedule(), wishes in wishes((0..2u8, prop_oneof![-3..3i64, 0..1000i64]))) {
        compare(schedule, &changes(&wishes, false), |input| median(input, "median", Routing::default()), naive);
    }

    #[test]
    fn of_everything(
        schedule in schedule(),
        wishes in wishes(prop_oneof![-3..3i64, Just(i64::MIN), Just(i64::MAX), Just(1 << 53), Just((1 << 53) + 1)]),
    ) {
        let wishes: Vec<_> = wishes.into_iter().map(|(wait, remove, value)| (wait, remove, ((), value))).collect();
        compare(schedule, &changes(&wishes, false), |input| median(input, "median", Routing::default()), naive);
    }
}

/// The cursor far away from where it has to be: one half leaves, then the other, then all comes back.
#[test]
fn long_walks() {
    for workers in [1, 2] {
        let all = |epoch: u64, diff: isize| (0..30_000i64).map(move |n| (((n % 3) as u8, n / 3 % 7000), epoch, diff));
        let upper = all(1, -1).filter(|((_, value), ..)| *value > 1000);
        let back = all(2, 1).filter(|((_, value), ..)| *value > 1000);
        let lower = all(3, -1).filter(|((_, value), ..)| *value < 6000);
        let changes: Vec<_> = all(0, 1).chain(upper).chain(back).chain(lower).collect();
        compare(
            Schedule { workers, seed: 11 },
            &changes,
            |input| median(input, "median", Routing::default()),
            naive,
        );
    }
}

/// A group with more changes than `combine` lets pass at once, and more than it holds back.
#[test]
fn many_groups() {
    for workers in [1, 2] {
        let changes: Vec<_> = (0..300_000i64).map(|n| ((n / 4, n % 4), 0, 1)).collect();
        compare(
            Schedule { workers, seed: 13 },
            &changes,
            |input| median(input, "median", Routing::default()),
            naive,
        );
    }
}
