//! Sums over each key's rows: what count, sum, avg and the like of SQL are made of.
//!
//! # Contract
//! The input is a multiset of (key, numbers): at an epoch's close no pair's differences sum to less than zero (within
//! an epoch they may, as changes come in any order). The output then accumulates to one `(key, sums, rows)` for every
//! key that has any row, where a row's numbers count as often as the row does. Sums wrap around beyond 64 bits, so
//! what passes those in between does no harm; see [`split`] for sums that are longer themselves. Only net changes are
//! emitted.
//!
//! # Cost
//! O(1) a change for each number. A key is kept with 8 bytes for its rows and 8 for each sum, plus 5 to 11 bytes of
//! index. With several workers each adds up its own changes first, so that a key with many rows costs the worker that
//! owns it as much as any other.

use crate::combine::{Addition, sums};
use crate::epochs::{CHUNK, Epochwise, Update, by_epoch};
use crate::keyed::{BLOCK, Changed, Keyed, Pair};
use crate::route::{Key, Routing};
use crate::state_size::Entries;
use differential_dataflow::{Data, VecCollection};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::marker::PhantomData;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use values::footprint::{Footprint, Per};

/// The sums and the number of each key's rows; see the [module](self) for the contract.
///
/// ```
/// use differential_dataflow::AsCollection;
/// use operators::{Routing, fold};
/// use timely::dataflow::operators::{Capture, ToStream, capture::Extract};
///
/// let captured = timely::example(|scope| {
///     // rows of a key and two numbers: in epoch 1 one of them leaves
///     let records = [((7i64, [3i64, 30i64]), 0u64, 1isize), ((7, [4, 40]), 0, 1), ((7, [3, 30]), 1, -1)];
///     let rows = records.to_stream(scope).as_collection();
///     fold(rows, "sums", Routing::OneProcess).inner.capture()
/// });
/// let updates: Vec<_> = captured.extract().into_iter().flat_map(|(_, updates)| updates).collect();
/// let expected = [((7, [7, 70], 2), 0, 1), ((7, [4, 40], 1), 1, 1), ((7, [7, 70], 2), 1, -1)];
/// assert!(expected.iter().all(|update| updates.contains(update)) && updates.len() == 3);
/// ```
pub fn fold<'s, K: Key, const A: usize>(
    input: VecCollection<'s, u64, (K, [i64; A]), isize>,
    name: &str,
    routing: Routing,
) -> VecCollection<'s, u64, (K, [i64; A], i64), isize> {
    if input.inner.scope().peers() == 1 {
        by_epoch(input.inner, Pipeline, name, Fold::new())
    } else {
        let pact = Exchange::new(move |((key, _), _, _): &Update<(K, Totals<A>)>| key.route(routing));
        by_epoch(
            sums::<Rows<K, A>>(input, name).inner,
            pact,
            name,
            Fold::<K, Totals<A>, A>::new(),
        )
    }
}

/// What is kept of each key; `heap` bytes are what the key owns.
pub fn footprint<K, const A: usize>(heap: usize) -> Footprint {
    Footprint::keyed(Per::Key, size_of::<Pair<K, Totals<A>>>() + heap)
}

/// Bits of all digits of a long number but the highest.
const DIGIT: u32 = 32;

/// A number as `D` numbers whose sums are the digits of its sum: [`join`] gives that from them.
///
/// The digits are 32 bits each, from the lowest, the last one what is left. The sum over up to 2^31 rows is exact
/// with two digits if the rows' absolute values sum to less than 2^94, which those of 64 bits do; with three it
/// always is, modulo 2^128.
pub fn split<const D: usize>(value: i128) -> [i64; D] {
    std::array::from_fn(|digit| {
        let rest = value >> (digit as u32 * DIGIT);
        if digit + 1 == D {
            rest as i64
        } else {
            i64::from(rest as u32)
        }
    })
}

/// The number that [`split`] made digits of, or the sum of such, modulo 2^128.
pub fn join<const D: usize>(digits: [i64; D]) -> i128 {
    let value = |sum: i128, digit: &i64| (sum << DIGIT).wrapping_add(i128::from(*digit));
    digits.iter().rev().fold(0, value)
}

/// What is known of a key. As part of a sum it may also be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Totals<const A: usize> {
    rows: i64,
    sums: [i64; A],
}

impl<const A: usize> Totals<A> {
    const ZERO: Self = Totals { rows: 0, sums: [0; A] };

    fn add(&mut self, sums: &[i64; A], rows: i64, diff: i64) {
        self.rows += rows * diff;
        for (sum, number) in self.sums.iter_mut().zip(sums) {
            *sum = sum.wrapping_add(number.wrapping_mul(diff));
        }
    }
}

impl<const A: usize> Default for Totals<A> {
    fn default() -> Self {
        Totals::ZERO
    }
}

impl<const A: usize> Serialize for Totals<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.rows, self.sums.as_slice()).serialize(serializer)
    }
}

impl<'de, const A: usize> Deserialize<'de> for Totals<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (rows, sums) = <(i64, Vec<i64>)>::deserialize(deserializer)?;
        let sums = (sums.try_into()).map_err(|sums: Vec<i64>| D::Error::invalid_length(sums.len(), &"another"))?;
        Ok(Totals { rows, sums })
    }
}

/// What is added to a key's totals: a row's numbers, or the totals of several rows.
trait Part<const A: usize>: Data {
    fn add_to(&self, totals: &mut Totals<A>, diff: i64);
}

impl<const A: usize> Part<A> for [i64; A] {
    fn add_to(&self, totals: &mut Totals<A>, diff: i64) {
        totals.add(self, 1, diff);
    }
}

impl<const A: usize> Part<A> for Totals<A> {
    fn add_to(&self, totals: &mut Totals<A>, diff: i64) {
        totals.add(&self.sums, self.rows, diff);
    }
}

/// Rows added up before the exchange.
struct Rows<K, const A: usize>(PhantomData<K>);

impl<K: Key, const A: usize> Addition for Rows<K, A> {
    type In = (K, [i64; A]);
    type Key = K;
    type Sum = Totals<A>;
    type Out = (K, Totals<A>);
    const ZERO: Totals<A> = Totals::ZERO;

    fn key(data: &Self::In) -> &K {
        &data.0
    }

    fn add(sum: &mut Totals<A>, (_, numbers): &Self::In, diff: isize) {
        numbers.add_to(sum, diff as i64);
    }

    fn finish(key: K, sum: Totals<A>) -> Option<(Self::Out, isize)> {
        (sum != Totals::ZERO).then_some(((key, sum), 1))
    }
}

struct Fold<K, P, const A: usize> {
    totals: Keyed<Pair<K, Totals<A>>>,
    changed: Changed<Totals<A>>,
    parts: PhantomData<P>,
}

impl<K: Key, P: Part<A>, const A: usize> Fold<K, P, A> {
    fn new() -> Self {
        Fold {
            totals: Keyed::new(),
            changed: Changed::new(),
            parts: PhantomData,
        }
    }
}

impl<K: Key, P: Part<A>, const A: usize> Epochwise for Fold<K, P, A> {
    type In = Update<(K, P)>;
    type Out = (K, [i64; A], i64);

    fn apply(&mut self, updates: &mut Vec<Self::In>) {
        for block in updates.chunks(BLOCK) {
            let ids = self
                .totals
                .find_or_insert_block(block.iter().map(|update| &update.0.0), |key| Pair {
                    key: key.clone(),
                    value: Totals::ZERO,
                });
            for (((_, part), _, diff), id) in block.iter().zip(ids) {
                let totals = &mut self.totals.get_mut(id).value;
                self.changed.note(id, || *totals);
                part.add_to(totals, *diff as i64);
            }
        }
        updates.clear();
    }

    fn close(&mut self) {
        self.changed.close(&self.totals);
    }

    fn emit(&mut self, time: u64, out: &mut Vec<Update<Self::Out>>) -> bool {
        while out.len() < CHUNK - 1 {
            let Some((id, before)) = self.changed.pop() else {
                self.changed.finish(&self.totals);
                return true;
            };
            let Pair { key, value: after } = self.totals.get(id);
            let after = *after;
            debug_assert!(
                after.rows > 0 || after == Totals::ZERO,
                "{key:?}: a row was removed more often than it was added"
            );
            if before != after {
                let row = |totals: Totals<A>| (key.clone(), totals.sums, totals.rows);
                if before.rows != 0 {
                    out.push((row(before), time, -1));
                }
                if after.rows != 0 {
                    out.push((row(after), time, 1));
                }
            }
            if after.rows == 0 {
                self.totals.remove(id);
            }
        }
        false
    }

    fn entries(&self) -> Entries {
        [Some(self.totals.len()), None]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sums_of_digits_are_the_digits_of_the_sum(values in prop::collection::vec(any::<i128>(), 1..50)) {
            let sum = |values: &[i128]| values.iter().fold(0i128, |sum, value| sum.wrapping_add(*value));
            prop_assert_eq!(join(added_up::<3>(&values)), sum(&values));
            // two digits: of 64 bits each, however many
            let short: Vec<i128> = values.iter().map(|value| *value as i64 as i128).collect();
            prop_assert_eq!(join(added_up::<2>(&short)), sum(&short));
            let tiny: Vec<i128> = values.iter().map(|value| *value as i32 as i128).collect();
            prop_assert_eq!(join(added_up::<1>(&tiny)), sum(&tiny));
        }
    }

    fn added_up<const D: usize>(values: &[i128]) -> [i64; D] {
        let mut totals = Totals::ZERO;
        values
            .iter()
            .for_each(|value| split::<D>(*value).add_to(&mut totals, 1));
        assert_eq!(totals.rows, values.len() as i64);
        totals.sums
    }

    /// The most rows that a schema may hold, each with the numbers that fill the digits most.
    #[test]
    fn two_digits_hold_the_sum_of_two_to_the_31_bigints() {
        for value in [i64::MAX, i64::MIN, -1, u32::MAX as i64] {
            let mut totals = Totals::ZERO;
            split::<2>(value.into()).add_to(&mut totals, 1 << 31);
            assert_eq!(join(totals.sums), i128::from(value) << 31);
        }
    }

    #[test]
    fn totals_travel() {
        let totals = Totals {
            rows: 3,
            sums: [i64::MIN, 7],
        };
        let wire = serde_json::to_string(&totals).unwrap();
        assert_eq!(serde_json::from_str::<Totals<2>>(&wire).unwrap(), totals);
        assert!(serde_json::from_str::<Totals<1>>(&wire).is_err());
        assert_eq!(size_of::<Pair<(u32, u32), Totals<2>>>(), 32);
    }
}
