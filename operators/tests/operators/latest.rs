//! `latest` against a map of the greatest position of each slot.

use crate::harness::{Schedule, compare_stream, config, schedule};
use operators::{Event, Offset, Partition, Position, Slots, latest};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A row that says all its records, so that nothing can go unnoticed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
struct Parts([Option<(i64, u8)>; 3]);

impl Slots for Parts {
    const SLOTS: usize = 3;
    type Payload = (i64, u8);
    type Shape = ();

    fn set(&mut self, _: &(), slot: u8, payload: Option<&(i64, u8)>) {
        self.0[slot as usize] = payload.copied();
    }

    fn is_empty(&self, _: &()) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

fn naive(events: &[Event<(i64, u8)>]) -> Vec<Parts> {
    let mut greatest: BTreeMap<(i64, u8), &Event<(i64, u8)>> = BTreeMap::new();
    for event in events {
        let kept = greatest.entry((event.key, event.slot)).or_insert(event);
        if event.position > kept.position {
            *kept = event;
        }
    }
    let mut rows: BTreeMap<i64, Parts> = BTreeMap::new();
    for ((key, slot), event) in greatest {
        rows.entry(key).or_default().0[slot as usize] = event.payload;
    }
    rows.into_values().filter(|row| row.0 != [None; 3]).collect()
}

/// A record of the log. What it says depends on where it stands, so that a replay says the same.
fn record(key: i64, slot: u8, offset: i64) -> Event<(i64, u8)> {
    let hash = (key * 31 + slot as i64) * 17 + offset;
    Event {
        key,
        position: Position::new(1, Offset(offset), Partition(0)).unwrap(),
        slot,
        payload: (hash % 3 != 0).then_some((key, (hash % 5) as u8)),
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn equals_the_greatest_position_of_each_slot(
        schedule in schedule(),
        records in prop::collection::vec((0..6u64, 0..8i64, 0..3u8, 0..6i64), 0..150),
    ) {
        let records: Vec<_> = records.into_iter().map(|(epoch, key, slot, at)| (epoch, record(key, slot, at))).collect();
        compare_stream(schedule, &records, |events| latest::<Parts>(events, "latest", ()), naive);
    }
}

/// A record at a position that is in force already changes nothing, whatever it says, at once or later.
#[test]
fn the_first_record_at_a_position_stays() {
    let other = |payload| Event {
        payload,
        ..record(1, 0, 4)
    };
    let records = [
        (0, other(Some((1, 1)))),
        (0, other(Some((1, 2)))),
        (1, other(None)),
        (2, other(Some((1, 3)))),
    ];
    let schedule = Schedule { workers: 1, seed: 3 };
    compare_stream(
        schedule,
        &records,
        |events| latest::<Parts>(events, "latest", ()),
        |_| vec![Parts([Some((1, 1)), None, None])],
    );
}

/// Of 5,000 rows each is a change when it appears and two when it changes; a new one comes first, so that containers are
/// filled with an odd number.
#[test]
fn containers_hold_no_more_than_a_chunk() {
    use timely::dataflow::operators::{Input, Inspect};
    let largest = timely::execute_directly(|worker| {
        let largest = std::rc::Rc::new(std::cell::Cell::new(0));
        let found = largest.clone();
        let mut input = worker.dataflow::<u64, _, _>(|scope| {
            let (input, events) = scope.new_input::<Vec<Event<(i64, u8)>>>();
            let rows = latest::<Parts>(events, "latest", ()).inner;
            rows.inspect_batch(move |_, rows| found.set(found.get().max(rows.len())));
            input
        });
        for epoch in 0..2u64 {
            let keys = (epoch == 1).then_some(-1).into_iter().chain(0..5_000);
            keys.for_each(|key| {
                let payload = Some((key, epoch as u8));
                input.send(Event {
                    payload,
                    ..record(key, 0, epoch as i64)
                });
            });
            input.advance_to(epoch + 1);
            (0..20).for_each(|_| _ = worker.step());
        }
        drop(input);
        while worker.step() {}
        largest.get()
    });
    assert_eq!(largest, 1024);
}

/// More rows than one activation emits, at the first epoch and at a later one.
#[test]
fn many_rows_are_emitted_in_slices() {
    for workers in [1, 2] {
        let keys = |epoch: u64| {
            (0..150_000i64)
                .flat_map(move |key| (0..2u8).map(move |slot| (epoch, record(key - 70_000, slot, epoch as i64))))
        };
        let records: Vec<_> = keys(0).chain(keys(2)).chain(keys(1).take(1000)).collect();
        compare_stream(
            Schedule { workers, seed: 3 },
            &records,
            |events| latest::<Parts>(events, "latest", ()),
            naive,
        );
    }
}
