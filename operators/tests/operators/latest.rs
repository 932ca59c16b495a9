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
