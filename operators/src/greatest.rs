//! The greatest value of each key, when values also leave.
//!
//! # Contract
//! The input is a multiset of (key, value): at an epoch's close no pair's differences sum to less than zero (within
//! an epoch they may, as changes come in any order). The output then accumulates to one `(key, greatest value)` for
//! every key that has any value. Only net changes are emitted.
//!
//! The least value is the greatest one of [`Reverse`](std::cmp::Reverse)d values.
//!
//! # Cost
//! O(log values of the key) a change. Nearly all keys have one value, which is kept in the entry itself: 16 bytes (for
//! an `i64`) and the key, plus 5 to 11 bytes of index; a second value moves a key's values into a sorted list of their
//! own, and many into a tree. Nothing is added up before the exchange, since (key, value) pairs seldom repeat.

use crate::epochs::{CHUNK, Epochwise, Update, by_epoch};
use crate::keyed::{BLOCK, Changed, Keyed, Pair};
use crate::route::{Key, Routing};
use crate::state_size::Entries;
use differential_dataflow::{ExchangeData, VecCollection};
use std::collections::BTreeMap;
use timely::dataflow::channels::pact::Exchange;
use values::footprint::{Footprint, Per};

/// The longest sorted list: inserting moves half a kilobyte at most.
const FEW: usize = 32;

/// The greatest value of each key; see the [module](self) for the contract.
///
/// ```
/// use differential_dataflow::AsCollection;
/// use operators::{Routing, greatest};
/// use timely::dataflow::operators::{Capture, ToStream, capture::Extract};
///
/// let captured = timely::example(|scope| {
///     // in epoch 1 the greatest of two values leaves
///     let records = [((7i64, 100i64), 0u64, 1isize), ((7, 200), 0, 1), ((7, 200), 1, -1)];
///     let values = records.to_stream(scope).as_collection();
///     greatest(values, "greatest", Routing::OneProcess).inner.capture()
/// });
/// let updates: Vec<_> = captured.extract().into_iter().flat_map(|(_, updates)| updates).collect();
/// let expected = [((7, 200), 0, 1), ((7, 100), 1, 1), ((7, 200), 1, -1)];
/// assert!(expected.iter().all(|update| updates.contains(update)) && updates.len() == 3);
/// ```
pub fn greatest<'s, K: Key, V: ExchangeData>(
    input: VecCollection<'s, u64, (K, V), isize>,
    name: &str,
    routing: Routing,
) -> VecCollection<'s, u64, (K, V), isize> {
    let pact = Exchange::new(move |((key, _), _, _): &Update<(K, V)>| key.route(routing));
    by_epoch(
        input.inner,
        pact,
        name,
        Greatest {
            values: Keyed::new(),
            changed: Changed::new(),
            further: 0,
        },
    )
}

/// What is kept of each key with its first value, and of each further value of a key that has several; `heap` bytes are
/// what the key owns.
pub fn footprint<K, V>(heap: usize) -> [Footprint; 2] {
    let first = Footprint::keyed(Per::Key, size_of::<Pair<K, Values<V>>>() + heap);
    let further = Footprint::tree(Per::Further, size_of::<(V, i64)>(), align_of::<(V, i64)>());
    [first, further]
}

struct Greatest<K, V> {
    values: Keyed<Pair<K, Values<V>>>,
    /// The greatest value when the epoch began.
    changed: Changed<Option<V>>,
    /// How many values there are beyond the first of each key.
    further: usize,
}

impl<K: Key, V: ExchangeData> Epochwise for Greatest<K, V> {
    type In = Update<(K, V)>;
    type Out = (K, V);

    fn apply(&mut self, updates: &mut Vec<Self::In>) {
        for block in updates.chunks(BLOCK) {
            let ids = self
                .values
                .find_or_insert_block(block.iter().map(|update| &update.0.0), |key| Pair {
                    key: key.clone(),
                    value: Values::None,
                });
            for (((_, value), _, diff), id) in block.iter().zip(ids) {
                let values = &mut self.values.get_mut(id).value;
                self.changed.note(id, || values.greatest().cloned());
                let before = values.further();
                values.update(value, *diff as i64);
                self.further = self.further + values.further() - before;
            }
        }
        updates.clear();
    }

    fn close(&mut self) {
        self.changed.close(&self.values);
    }

    fn emit(&mut self, time: u64, out: &mut Vec<Update<Self::Out>>) -> bool {
        while out.len() < CHUNK - 1 {
            let Some((id, before)) = self.changed.pop() else {
                self.changed.finish(&self.values);
                return true;
            };
            let Pair { key, value: values } = self.values.get(id);
            debug_assert!(
                values.count() >= 0,
                "{key:?}: a value was removed more often than it was added"
            );
            let after = values.greatest();
            if before.as_ref() != after {
                out.extend(before.map(|value| ((key.clone(), value), time, -1)));
                out.extend(after.map(|value| ((key.clone(), value.clone()), time, 1)));
            }
            if after.is_none() {
                self.values.remove(id);
            }
        }
        false
    }

    fn entries(&self) -> Entries {
        [Some(self.values.len()), Some(self.further)]
    }
}

/// A multiset of values: 16 bytes for a single `i64`. A count may be below zero within an epoch.
enum Values<V> {
    None,
    /// One value, whose count is not zero.
    One {
        value: V,
        count: i32,
    },
    /// Two or more.
    More(Box<More<V>>),
}

enum More<V> {
    /// Sorted by value; no count is zero.
    Few(Vec<(V, i64)>),
    /// No count is zero.
    Many(BTreeMap<V, i64>),
}

impl<V: Ord + Clone> Values<V> {
    /// The greatest value, provided that no count is below zero.
    fn greatest(&self) -> Option<&V> {
        match self {
            Values::None => None,
            Values::One { value, .. } => Some(value),
            Values::More(more) => match more.as_ref() {
                More::Few(few) => few.last().map(|(value, _)| value),
                More::Many(many) => many.last_key_value().map(|(value, _)| value),
            },
        }
    }

    /// How many values there are beyond the first.
    fn further(&self) -> usize {
        match self {
            Values::None | Values::One { .. } => 0,
            Values::More(more) => match more.as_ref() {
                More::Few(few) => few.len() - 1,
                More::Many(many) => many.len() - 1,
            },
        }
    }

    /// How often the greatest value occurs.
    fn count(&self) -> i64 {
        match self {
            Values::None => 0,
            Values::One { count, .. } => i64::from(*count),
            Values::More(more) => match more.as_ref() {
                More::Few(few) => few.last().map_or(0, |(_, count)| *count),
                More::Many(many) => many.last_key_value().map_or(0, |(_, count)| *count),
            },
        }
    }

    fn update(&mut self, value: &V, diff: i64) {
        if diff == 0 {
            return;
        }
        match self {
            Values::None => match i32::try_from(diff) {
                Ok(count) => {
                    *self = Values::One {
                        value: value.clone(),
                        count,
                    }
                }
                Err(_) => *self = Values::More(Box::new(More::Few(vec![(value.clone(), diff)]))),
            },
            Values::One { value: one, count } => {
                let sum = (one == value).then(|| i64::from(*count) + diff);
                match sum.map(i32::try_from) {
                    Some(Ok(0)) => *self = Values::None,
                    Some(Ok(sum)) => *count = sum,
                    _ => {
                        let mut few = Vec::new();
                        update_few(&mut few, one, *count as i64);
                        update_few(&mut few, value, diff);
                        *self = Values::More(Box::new(More::Few(few)));
                    }
                }
            }
            Values::More(more) => match more.as_mut() {
                More::Few(few) => {
                    update_few(few, value, diff);
                    match &few[..] {
                        [] => *self = Values::None,
                        [(value, count)] => {
                            if let Ok(count) = i32::try_from(*count) {
                                *self = Values::One {
                                    value: value.clone(),
                                    count,
                                };
                            }
                        }
                        _ if few.len() > FEW => **more = More::Many(few.drain(..).collect()),
                        _ => {}
                    }
                }
                More::Many(many) => {
                    let count = many.entry(value.clone()).or_default();
                    *count += diff;
                    if *count == 0 {
                        many.remove(value);
                        // half of the bound, so that a key at the bound does not go back and forth
                        if many.len() <= FEW / 2 {
                            **more = More::Few(std::mem::take(many).into_iter().collect());
                        }
                    }
                }
            },
        }
    }
}

fn update_few<V: Ord + Clone>(few: &mut Vec<(V, i64)>, value: &V, diff: i64) {
    match few.binary_search_by(|(other, _)| other.cmp(value)) {
        Ok(found) => {
            few[found].1 += diff;
            if few[found].1 == 0 {
                few.remove(found);
            }
        }
        Err(place) => {
            if few.len() == few.capacity() {
                few.reserve_exact(if few.len() < 4 { 1 } else { 4 });
            }
            few.insert(place, (value.clone(), diff));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_value_takes_sixteen_bytes() {
        assert_eq!(size_of::<Values<i64>>(), 16);
        assert_eq!(size_of::<Pair<(u32, u32), Values<i64>>>(), 24);
    }

    #[test]
    fn agrees_with_a_map_through_all_shapes() {
        let mut random = 7u64;
        for distinct in [1, 2, 3, 20, 100] {
            let mut values = Values::None;
            let mut model: BTreeMap<i64, i64> = BTreeMap::new();
            let mut many = false;
            for step in 0..20_000 {
                random = random
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                let value = (random >> 33) as i64 % distinct;
                // counts beyond 32 bits, and below zero, too
                let diff = match random >> 60 {
                    0 => 1 << 33,
                    1 => -(1 << 33),
                    2 => 0,
                    _ if step % 2 == 0 => 1,
                    _ => -1,
                };
                values.update(&value, diff);
                *model.entry(value).or_default() += diff;
                model.retain(|_, count| *count != 0);
                assert_eq!(values.greatest(), model.keys().next_back());
                assert_eq!(values.count(), model.values().next_back().copied().unwrap_or(0));
                assert_eq!(values.further(), model.len().saturating_sub(1));
                many = if many { model.len() > FEW / 2 } else { model.len() > FEW };
                let counts_are_small = model.values().all(|count| i32::try_from(*count).is_ok());
                match &values {
                    Values::None => assert!(model.is_empty()),
                    Values::One { .. } => assert!(model.len() == 1 && counts_are_small),
                    Values::More(more) => match more.as_ref() {
                        More::Few(few) => assert!(!many && (few.len() > 1 || !counts_are_small)),
                        More::Many(_) => assert!(many),
                    },
                }
            }
            for (value, count) in model {
                values.update(&value, -count);
            }
            assert!(matches!(values, Values::None));
        }
    }

    #[test]
    fn room_for_few_values_grows_by_one_and_then_by_four() {
        let mut few = Vec::new();
        let room = |value: i64| {
            update_few(&mut few, &value, 1);
            few.capacity()
        };
        let rooms: Vec<usize> = (0..9).map(room).collect();
        assert_eq!(rooms, [1, 2, 3, 4, 8, 8, 8, 8, 12]);
    }
}
