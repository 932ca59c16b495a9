//! How many entries operators say that they keep, against what is there.

use crate::harness::{Update, changes, config, wishes};
use differential_dataflow::input::Input;
use differential_dataflow::{Data, VecCollection};
use operators::ordered::{Percentile, ordered};
use operators::state_size::{self, Entries, StateSize, StateSizeBuilder};
use operators::top::{Keep, Order, Place, PlaceKind, top};
use operators::{
    Event, Offset, Partition, Position, Routing, Slots, count, distinct_count, fold, gather, greatest, latest, median,
    rank,
};
use proptest::prelude::*;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::vec::Map;

type Pair = (u8, i64);
type Present = BTreeMap<Pair, isize>;

/// Runs an operator, and compares the entries that its parts report after each epoch with `expected` of the accumulated
/// input. A report repeats none before it.
fn check<O: Data>(
    changes: &[Update<Pair>],
    operator: impl for<'s> Fn(VecCollection<'s, u64, Pair, isize>) -> VecCollection<'s, u64, O, isize>
    + Send
    + Sync
    + 'static,
    expected: impl Fn(&Present) -> Vec<Entries>,
) {
    let epochs = 1 + changes.iter().map(|change| change.1).max().unwrap_or(0);
    let mine = changes.to_vec();
    let run = timely::execute(timely::Config::thread(), move |worker| {
        // by the operator's number
        let sizes = Arc::<Mutex<BTreeMap<usize, Entries>>>::default();
        let reported = Arc::clone(&sizes);
        let mut logs = worker.log_register().expect("logs");
        logs.insert::<StateSizeBuilder, _>(state_size::LOG, move |_, events| {
            let mut sizes = reported.lock().unwrap();
            for (_, StateSize { operator, entries }) in events.iter().flatten() {
                assert_ne!(sizes.insert(*operator, *entries), Some(*entries), "reported again");
            }
        });
        drop(logs);
        let (mut input, probe) = worker.dataflow(|scope| {
            let (input, collection) = scope.new_collection();
            (input, operator(collection).inner.probe().0)
        });
        let mut after = vec![sizes.lock().unwrap().clone()];
        for epoch in 0..epochs {
            for (data, _, diff) in mine.iter().filter(|change| change.1 == epoch) {
                input.update(*data, *diff);
            }
            input.advance_to(epoch + 1);
            input.flush();
            worker.step_while(|| probe.less_than(input.time()));
            worker.log_register().expect("logs").flush();
            after.push(sizes.lock().unwrap().clone());
        }
        after
            .into_iter()
            .map(|sizes| sizes.into_values().collect::<Vec<_>>())
            .collect::<Vec<_>>()
    });
    let guards = run.expect("a worker");
    let sizes = guards.join().pop().expect("a worker").expect("its result");
    let mut present = Present::new();
    for epoch in 0..epochs {
        for (data, _, diff) in changes.iter().filter(|change| change.1 == epoch) {
            *present.entry(*data).or_default() += diff;
        }
        present.retain(|_, copies| *copies != 0);
        assert_eq!(
            sizes[epoch as usize + 1],
            expected(&present),
            "after epoch {epoch} of {changes:?}"
        );
    }
}

fn groups(present: &Present) -> usize {
    present.keys().map(|(group, _)| group).collect::<BTreeSet<_>>().len()
}

fn of_one(entries: usize) -> Vec<Entries> {
    vec![[Some(entries), None]]
}

fn of_two(groups: usize, entries: usize) -> Vec<Entries> {
    vec![[Some(groups), Some(entries)]]
}

/// By value, the least first.
struct Ascending;

impl Order<i64> for Ascending {
    fn terms(&self) -> usize {
        1
    }

    fn compare(&self, a: &i64, b: &i64, terms: usize) -> Ordering {
        if terms > 0 { a.cmp(b) } else { Ordering::Equal }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct One(Option<i64>);

impl Slots for One {
    const SLOTS: usize = 1;
    type Payload = i64;
    type Shape = ();

    fn set(&mut self, _: &(), _: u8, payload: Option<&i64>) {
        self.0 = payload.copied();
    }

    fn is_empty(&self, _: &()) -> bool {
        self.0.is_none()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn are_those_of_what_is_there(wishes in wishes((0..3u8, 0..5i64))) {
        let changes = changes(&wishes, false);
        check(&changes, |pairs| count(pairs, "count", Routing::default()), |present| of_one(present.len()));
        check(
            &changes,
            |pairs| distinct_count(pairs, "distinct", Routing::default(), |(group, _)| *group),
            |present| [of_one(present.len()), of_one(groups(present))].concat(),
        );
        check(
            &changes,
            |pairs| fold(pairs.map(|(key, value)| (key, [value])), "fold", Routing::default()),
            |present| of_one(groups(present)),
        );
        check(
            &changes,
            |pairs| greatest(pairs, "greatest", Routing::default()),
            |present| of_two(groups(present), present.len() - groups(present)),
        );
        check(
            &changes,
            |pairs| median(pairs, "median", Routing::default()),
            |present| of_two(groups(present), present.len()),
        );
        check(
            &changes,
            |pairs| ordered(pairs, "ordered", Routing::default(), vec![Percentile::Disc { fraction: 0.3, descending: false }]),
            |present| of_two(groups(present), present.len()),
        );
        let number = Place { kind: PlaceKind::RowNumber, terms: 1 };
        check(
            &changes,
            move |pairs| {
                let keep = Keep::Within(vec![(number, 2)]);
                top(pairs, "top", Routing::default(), Ascending, keep, &[], |group: &u8, row: &i64, _| (*group, *row))
            },
            |present| of_two(groups(present), present.len()),
        );
    }

    #[test]
    fn are_those_of_what_is_there_once(wishes in wishes((0..3u8, 0..5i64))) {
        let changes = changes(&wishes, true);
        check(
            &changes,
            |pairs| rank(pairs.map(|(group, n)| (group, (n, n % 2))), "rank", Routing::default(), operators::Keep::Top(2)),
            |present| of_two(groups(present), present.len()),
        );
        check(
            &changes,
            |pairs| gather(pairs.map(|pair| (pair, (0, pair.1))), "gather", Routing::default(), 2),
            |present| of_one(present.len()),
        );
    }
}

/// A key that was deleted is kept.
#[test]
fn keys_of_latest_are_never_forgotten() {
    let changes = [((1, 10), 0, 1), ((2, 10), 0, 1), ((2, 0), 1, 1), ((3, 10), 2, 1)];
    check(
        &changes,
        |pairs| {
            let events = pairs.inner.map(|((key, value), time, _)| Event {
                key: key.into(),
                position: Position::new(1, Offset(time as i64), Partition(0)).expect("an offset"),
                slot: 0,
                payload: (value > 0).then_some(value),
            });
            latest::<One>(events, "latest", ())
        },
        |present| of_one(groups(present)),
    );
}
