//! How many changes leave an operator at once.

use crate::harness::Update;
use differential_dataflow::{AsCollection, ExchangeData, VecCollection};
use operators::ordered::{Percentile, ordered};
use operators::{Routing, count, distinct_count, fold, gather, greatest, median};
use timely::dataflow::operators::capture::Event;
use timely::dataflow::operators::{Capture, ToStream};

/// The most changes that the operator sends in one container.
fn largest<D: ExchangeData + Sync, O: ExchangeData>(
    changes: &[Update<D>],
    operator: impl for<'s> Fn(VecCollection<'s, u64, D, isize>) -> VecCollection<'s, u64, O, isize> + Send + Sync + 'static,
) -> usize {
    let changes = changes.to_vec();
    let captured = timely::example(move |scope| operator(changes.to_stream(scope).as_collection()).inner.capture());
    let sizes = captured.into_iter().filter_map(|event| match event {
        Event::Messages(_, updates) => Some(updates.len()),
        Event::Progress(_) => None,
    });
    sizes.max().unwrap_or(0)
}

/// As many as stay in the cache until they are read, for the next operator runs then: 1024. A key whose row changes sends
/// two, a new one sends one, so containers are filled with odd numbers too.
#[test]
fn hold_no_more_than_a_chunk() {
    const CHUNK: usize = 1024;
    let keys = || 0..5_000i64;
    let pairs: Vec<Update<(i64, i64)>> = (keys().map(|key| ((key, 1), 0, 1)))
        .chain(keys().map(|key| ((key, 2), 1, 1)))
        .chain([((-1, 1), 1, 1)])
        .collect();
    let first: Vec<Update<i64>> = pairs
        .iter()
        .map(|((key, _), time, diff)| (*key, *time, *diff))
        .collect();
    let routing = Routing::OneProcess;
    assert_eq!(largest(&first, move |keys| count(keys, "count", routing)), CHUNK);
    let distinct = largest(&pairs, move |pairs| {
        distinct_count(pairs, "distinct", routing, |(key, _)| *key)
    });
    assert_eq!(distinct, CHUNK);
    let sums = largest(&pairs, move |pairs| {
        fold(pairs.map(|(key, value)| (key, [value])), "fold", routing)
    });
    assert_eq!(sums, CHUNK);
    assert_eq!(
        largest(&pairs, move |pairs| greatest(pairs, "greatest", routing)),
        CHUNK
    );
    assert_eq!(largest(&pairs, move |pairs| median(pairs, "median", routing)), CHUNK);
    let middle = Percentile::Disc {
        fraction: 0.5,
        descending: false,
    };
    let percentiles = largest(&pairs, move |pairs| ordered(pairs, "ordered", routing, vec![middle]));
    assert_eq!(percentiles, CHUNK);
    // part 0 in epoch 0, part 1 in epoch 1; the new key has part 0
    let parts = largest(&pairs, move |pairs| {
        let part = |(key, value)| (key, (u8::from(value == 2), value));
        gather(pairs.map(part), "gather", routing, 2)
    });
    assert_eq!(parts, CHUNK);
}
