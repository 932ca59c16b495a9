//! `count` and `distinct_count`.

use crate::harness::{Schedule, changes, compare, config, schedule, wishes};
use differential_dataflow::VecCollection;
use operators::{Key, Routing, Symbol, count, distinct_count};
use proptest::prelude::*;
use std::collections::BTreeMap;

type Named = (Option<i32>, Symbol);

fn name(n: u8) -> Symbol {
    Symbol::new(&format!("name {n}"))
}

fn keys() -> impl Strategy<Value = Named> {
    (prop::option::of(0..3i32), (0..4u8).prop_map(name))
}

fn naive_count<K: Ord + Clone>(input: &BTreeMap<K, isize>) -> Vec<(K, i64)> {
    input.iter().map(|(key, count)| (key.clone(), *count as i64)).collect()
}

fn naive_distinct<G: Ord + Clone, I>(input: &BTreeMap<(G, I), isize>) -> Vec<(G, i64)> {
    let mut groups: BTreeMap<G, i64> = BTreeMap::new();
    for (group, _) in input.keys() {
        *groups.entry(group.clone()).or_default() += 1;
    }
    groups.into_iter().collect()
}

fn distinct_of_pairs<'s, G: Key, I: Key>(
    input: VecCollection<'s, u64, (G, I), isize>,
) -> VecCollection<'s, u64, (G, i64), isize> {
    distinct_count(input, "distinct", Routing::default(), |(group, _)| group.clone())
}

fn totals<'s, K: Key>(input: VecCollection<'s, u64, K, isize>) -> VecCollection<'s, u64, (K, i64), isize> {
    count(input, "count", Routing::default())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn count_is_the_sum_of_differences(schedule in schedule(), wishes in wishes(keys())) {
        compare(schedule, &changes(&wishes, false), totals, naive_count);
    }

    /// `count` asks nothing of its input: totals below zero are totals too.
    #[test]
    fn count_may_be_negative(
        schedule in schedule(),
        changes in prop::collection::vec((0..4i64, 0..5u64, (-3..3isize).prop_filter("a change", |d| *d != 0)), 0..80),
    ) {
        compare(schedule, &changes, totals, naive_count);
    }

    #[test]
    fn distinct_count_is_the_number_of_items_present(
        schedule in schedule(),
        wishes in wishes((0..3u16, keys())),
    ) {
        compare(schedule, &changes(&wishes, false), distinct_of_pairs, naive_distinct);
    }
}

/// More groups than one activation emits, which then shrink to nothing.
#[test]
fn many_groups() {
    for workers in [1, 2] {
        let all = |epoch: u64, diff: isize| (0..100_000i64).map(move |n| ((n / 2, n % 2), epoch, diff));
        let changes: Vec<_> = all(0, 1).chain(all(1, 1)).chain(all(2, -2)).collect();
        compare(Schedule { workers, seed: 5 }, &changes, totals, naive_count);
        compare(
            Schedule { workers, seed: 6 },
            &changes,
            distinct_of_pairs,
            naive_distinct,
        );
    }
}
