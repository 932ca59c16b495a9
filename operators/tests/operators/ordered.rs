//! `ordered` against a sorted list.

use crate::harness::{Schedule, Update, changes, compare, config, schedule, wishes};
use differential_dataflow::ExchangeData;
use operators::ordered::{Percentile, Picks, ordered};
use operators::{Key, Routing, Symbol};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::hash::Hash;

/// Percentiles as PostgreSQL's `orderedsetaggs.c` computes them.
fn naive<G: Ord + Clone, V: Ord + Clone>(
    input: &BTreeMap<(G, V), isize>,
    percentiles: &[Percentile],
) -> Vec<(G, Picks<V>)> {
    let mut groups: BTreeMap<G, Vec<V>> = BTreeMap::new();
    for ((group, value), count) in input {
        let copies = std::iter::repeat_n(value.clone(), *count as usize);
        groups.entry(group.clone()).or_default().extend(copies);
    }
    let pick = |values: &[V], percentile: &Percentile| {
        let rows = values.len() as f64;
        let (first, second, descending) = match *percentile {
            Percentile::Disc { fraction, descending } => {
                let row = ((fraction * rows).ceil() as usize).max(1) - 1;
                (row, row, descending)
            }
            Percentile::Cont { fraction, descending } => {
                let row = fraction * (rows - 1.0);
                (row.floor() as usize, row.ceil() as usize, descending)
            }
        };
        let mut values = values.to_vec();
        if descending {
            values.reverse();
        }
        [values[first].clone(), values[second].clone()]
    };
    let picks = |values: Vec<V>| Picks {
        count: values.len() as i64,
        values: percentiles.iter().map(|percentile| pick(&values, percentile)).collect(),
    };
    (groups.into_iter())
        .map(|(group, values)| (group, picks(values)))
        .collect()
}

fn check<G, V>(schedule: Schedule, changes: &[Update<(G, V)>], percentiles: Vec<Percentile>)
where
    G: Key,
    V: ExchangeData + Hash,
{
    let asked = percentiles.clone();
    compare(
        schedule,
        changes,
        move |values| ordered(values, "ordered", Routing::default(), asked.clone()),
        |input| naive(input, &percentiles),
    );
}

fn percentiles() -> impl Strategy<Value = Vec<Percentile>> {
    let fraction = prop_oneof![Just(0.0), Just(0.5), Just(0.9), Just(1.0), 0.0..=1.0f64];
    let percentile = (any::<bool>(), fraction, any::<bool>()).prop_map(|(disc, fraction, descending)| {
        if disc {
            Percentile::Disc { fraction, descending }
        } else {
            Percentile::Cont { fraction, descending }
        }
    });
    prop::collection::vec(percentile, 0..4)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn equals_sorting(
        schedule in schedule(),
        percentiles in percentiles(),
        wishes in wishes((0..2u8, prop_oneof![-3..3i64, 0..1000i64, Just(i64::MIN), Just(i64::MAX)])),
    ) {
        check(schedule, &changes(&wishes, false), percentiles);
    }

    /// Names, in one group: their order is not the one in which they were first seen.
    #[test]
    fn of_everything(
        schedule in schedule(),
        percentiles in percentiles(),
        wishes in wishes((0..40u8).prop_map(|n| Symbol::new(&format!("picked {}", n.wrapping_mul(89))))),
    ) {
        let wishes: Vec<_> = wishes.into_iter().map(|(wait, remove, name)| (wait, remove, ((), name))).collect();
        check(schedule, &changes(&wishes, false), percentiles);
    }
}

/// Cursors far away from where they have to be: one half leaves, then the other, then all comes back.
#[test]
fn long_walks() {
    let cont = |fraction| Percentile::Cont {
        fraction,
        descending: false,
    };
    let percentiles = vec![
        cont(0.05),
        cont(0.999),
        Percentile::Disc {
            fraction: 0.3,
            descending: true,
        },
    ];
    for workers in [1, 2] {
        let all = |epoch: u64, diff: isize| (0..30_000i64).map(move |n| (((n % 3) as u8, n / 3 % 7000), epoch, diff));
        let upper = all(1, -1).filter(|((_, value), ..)| *value > 1000);
        let back = all(2, 1).filter(|((_, value), ..)| *value > 1000);
        let lower = all(3, -1).filter(|((_, value), ..)| *value < 6000);
        let changes: Vec<_> = all(0, 1).chain(upper).chain(back).chain(lower).collect();
        check(Schedule { workers, seed: 23 }, &changes, percentiles.clone());
    }
}

/// More groups than one activation emits, which then shrink to nothing.
#[test]
fn many_groups() {
    let percentile = Percentile::Cont {
        fraction: 0.75,
        descending: false,
    };
    for workers in [1, 2] {
        let all = |epoch: u64, diff: isize| (0..100_000i64).map(move |n| ((n / 4, n % 4), epoch, diff));
        let changes: Vec<_> = all(0, 1).chain(all(1, -1)).collect();
        check(Schedule { workers, seed: 29 }, &changes, vec![percentile]);
    }
}
