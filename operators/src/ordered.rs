//! Percentiles of each group's values, when values also leave.
//!
//! # Contract
//! The input is a multiset of (group, value): at an epoch's close no pair's differences sum to less than zero (within
//! an epoch they may, as changes come in any order). The output then accumulates to one `(group, Picks)` for every
//! group that has any value: how many it has, and those at the places that each [`Percentile`] names. Places are
//! computed in double precision, as PostgreSQL does. Only net changes are emitted.
//!
//! # Cost
//! O(log different values of the group) a change for each percentile, amortised: a group keeps how often each value
//! occurs, and for each percentile a cursor with the number of values below it. A value that comes or goes moves a place
//! by at most one, so a cursor walks no further than the number of values that changed. Memory grows with different
//! values, not with values; equal changes are added up before the exchange. [`median`](crate::median()) is this for one
//! fraction and integers, in less memory.

use crate::combine::{added_up, combine};
use crate::epochs::{CHUNK, Epochwise, Update, by_epoch};
use crate::keyed::{Keyed, Pair};
use crate::route::{Key, Routing};
use crate::state_size::Entries;
use differential_dataflow::{ExchangeData, VecCollection};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::Hash;
use std::ops::Bound::{Excluded, Unbounded};
use timely::dataflow::channels::pact::Exchange;
use values::footprint::{Footprint, Per};

/// What to pick of a group's values. A fraction lies within 0 to 1; with `descending` the greatest value is the first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Percentile {
    /// SQL's `percentile_disc`: the first value with at least this fraction of all values up to it.
    Disc {
        /// The fraction.
        fraction: f64,
        /// The order.
        descending: bool,
    },
    /// SQL's `percentile_cont`: the values before and after the place at this fraction of the way from the first to the
    /// last.
    Cont {
        /// The fraction.
        fraction: f64,
        /// The order.
        descending: bool,
    },
}

impl Percentile {
    /// Where the fraction falls among so many values, from 0 for the first: what is interpolated lies between places.
    fn place(self, count: i64) -> f64 {
        match self {
            Percentile::Disc { fraction, .. } => (fraction * count as f64).ceil().max(1.0) - 1.0,
            Percentile::Cont { fraction, .. } => fraction * (count - 1) as f64,
        }
    }

    /// The indices of the values to pick, from 0 for the least.
    fn indices(self, count: i64) -> [i64; 2] {
        let place = self.place(count);
        let (Percentile::Disc { descending, .. } | Percentile::Cont { descending, .. }) = self;
        [place.floor(), place.ceil()].map(|place| {
            if descending {
                count - 1 - place as i64
            } else {
                place as i64
            }
        })
    }

    /// The percentile between the two values that were picked of `count`, in the arithmetic of PostgreSQL, but never −0.
    pub fn interpolate(self, count: i64, [first, second]: [f64; 2]) -> f64 {
        let place = self.place(count);
        if place.floor() == place.ceil() {
            first + 0.0
        } else {
            first + (place - place.floor()) * (second - first) + 0.0
        }
    }
}

/// What was picked of a group's values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Picks<V> {
    /// The number of values.
    pub count: i64,
    /// For each percentile the values at the whole places before and after the one it names, in the percentile's own
    /// order. They are one value twice where it names a whole place, as [`Percentile::Disc`] always does.
    pub values: Box<[[V; 2]]>,
}

/// The values that `percentiles` name of each group; see the [module](self) for the contract.
///
/// ```
/// use differential_dataflow::AsCollection;
/// use operators::Routing;
/// use operators::ordered::{Percentile, Picks, ordered};
/// use timely::dataflow::operators::{Capture, ToStream, capture::Extract};
///
/// let captured = timely::example(|scope| {
///     // the values 1 to 4 of the group 7; in epoch 1 the greatest leaves
///     let records = [((7i64, 1i64), 0u64, 1isize), ((7, 2), 0, 1), ((7, 3), 0, 1), ((7, 4), 0, 1), ((7, 4), 1, -1)];
///     let values = records.to_stream(scope).as_collection();
///     let percentiles = vec![Percentile::Cont { fraction: 0.5, descending: false }];
///     ordered(values, "median", Routing::OneProcess, percentiles).inner.capture()
/// });
/// let updates: Vec<_> = captured.extract().into_iter().flat_map(|(_, updates)| updates).collect();
/// let of = |count, between: [i64; 2]| (7, Picks { count, values: Box::from([between]) });
/// // the median of four values lies between two of them, that of three is one of them
/// let expected = [(of(4, [2, 3]), 0, 1), (of(3, [2, 2]), 1, 1), (of(4, [2, 3]), 1, -1)];
/// assert!(expected.iter().all(|update| updates.contains(update)) && updates.len() == 3);
/// ```
pub fn ordered<'s, G: Key, V: ExchangeData + Hash>(
    input: VecCollection<'s, u64, (G, V), isize>,
    name: &str,
    routing: Routing,
    percentiles: Vec<Percentile>,
) -> VecCollection<'s, u64, (G, Picks<V>), isize> {
    let pact = Exchange::new(move |((group, _), _, _): &Update<(G, V)>| group.route(routing));
    let logic = Ordered {
        percentiles,
        groups: Keyed::new(),
        touched: Vec::new(),
        values: 0,
    };
    by_epoch(combine(input, name).inner, pact, name, logic)
}

/// What is kept of each group, of which so many values are asked, and of each different value of a group; `heap` bytes
/// are what the group owns.
pub fn footprint<G, V>(percentiles: usize, heap: usize) -> [Footprint; 2] {
    let picked = percentiles * (size_of::<Cursor<V>>() + size_of::<[V; 2]>());
    [
        Footprint::keyed(Per::Key, size_of::<Pair<G, Values<V>>>() + picked + heap),
        Footprint::tree(Per::Value, size_of::<V>() + size_of::<i64>(), align_of::<(V, i64)>())
            .staging(size_of::<(V, i64)>()),
    ]
}

struct Ordered<G, V> {
    percentiles: Vec<Percentile>,
    groups: Keyed<Pair<G, Values<V>>>,
    /// Groups with staged changes.
    touched: Vec<u32>,
    /// How many different values all groups have.
    values: usize,
}

impl<G: Key, V: ExchangeData + Hash> Epochwise for Ordered<G, V> {
    type In = Update<(G, V)>;
    type Out = (G, Picks<V>);

    fn apply(&mut self, updates: &mut Vec<Self::In>) {
        for ((group, value), _, diff) in updates.drain(..) {
            let id = self.groups.find_or_insert(&group, |group| Pair {
                key: group.clone(),
                value: Values::new(),
            });
            let values = &mut self.groups.get_mut(id).value;
            if values.staged.is_empty() {
                self.touched.push(id);
            }
            values.staged.push((value, diff as i64));
        }
    }

    fn emit(&mut self, time: u64, out: &mut Vec<Update<Self::Out>>) -> bool {
        while out.len() < CHUNK - 1 {
            let Some(id) = self.touched.pop() else {
                self.touched.shrink_to(CHUNK);
                return true;
            };
            let Pair {
                key: group,
                value: values,
            } = self.groups.get_mut(id);
            let before = values.emitted.take();
            self.values -= values.counts.len();
            values.settle(&self.percentiles);
            self.values += values.counts.len();
            values.emitted = values.pick(&self.percentiles);
            if before != values.emitted {
                out.extend(before.map(|picks| ((group.clone(), picks), time, -1)));
                out.extend(values.emitted.clone().map(|picks| ((group.clone(), picks), time, 1)));
            }
            if values.total == 0 {
                self.groups.remove(id);
            }
        }
        false
    }

    fn entries(&self) -> Entries {
        [Some(self.groups.len()), Some(self.values)]
    }
}

/// A place among a group's values.
struct Cursor<V> {
    /// A value, which need not occur ...
    at: V,
    /// ... and how many values are less than it.
    below: i64,
}

/// A group's values, and the changes that wait for its epoch's close.
struct Values<V> {
    /// How often each value occurs; never zero.
    counts: BTreeMap<V, i64>,
    total: i64,
    /// One for each percentile, or none while there are no values.
    cursors: Box<[Cursor<V>]>,
    staged: Vec<(V, i64)>,
    emitted: Option<Picks<V>>,
}

impl<V: Ord + Clone> Values<V> {
    fn new() -> Self {
        Values {
            counts: BTreeMap::new(),
            total: 0,
            cursors: Box::default(),
            staged: Vec::new(),
            emitted: None,
        }
    }

    /// Applies what was staged.
    fn settle(&mut self, percentiles: &[Percentile]) {
        let changes = added_up(std::mem::take(&mut self.staged));

        if self.counts.is_empty() {
            debug_assert!(
                changes.iter().all(|(_, diff)| *diff > 0),
                "a value was removed that was not there"
            );
            self.total = changes.iter().map(|(_, diff)| diff).sum();
            // cursors are put in their places here, where that takes no searching
            let cursor = |percentile: &Percentile| {
                let (mut below, [index, _]) = (0, percentile.indices(self.total));
                let found = changes.iter().find(|(_, count)| {
                    below += count;
                    below > index
                });
                found.map(|(value, count)| Cursor {
                    at: value.clone(),
                    below: below - count,
                })
            };
            self.cursors = percentiles.iter().filter_map(cursor).collect();
            self.counts = changes.into_iter().collect();
        } else {
            for (value, diff) in changes {
                self.total += diff;
                for cursor in self.cursors.iter_mut().filter(|cursor| value < cursor.at) {
                    cursor.below += diff;
                }
                let count = self.counts.entry(value.clone()).or_default();
                *count += diff;
                debug_assert!(*count >= 0, "a value was removed more often than it was added");
                if *count == 0 {
                    self.counts.remove(&value);
                }
            }
        }
    }

    /// Moves the cursors to their places and reads off what is there: `None` if there are no values.
    fn pick(&mut self, percentiles: &[Percentile]) -> Option<Picks<V>> {
        if self.total == 0 {
            return None;
        }
        let cursors = self.cursors.iter_mut().zip(percentiles);
        let pairs = cursors.map(|(cursor, percentile)| cursor.pick(&self.counts, percentile.indices(self.total)));
        Some(Picks {
            count: self.total,
            values: pairs.collect::<Option<_>>()?,
        })
    }
}

impl<V: Ord + Clone> Cursor<V> {
    /// Moves to the first index, and returns the values at both, which are equal or next to each other.
    fn pick(&mut self, counts: &BTreeMap<V, i64>, [index, other]: [i64; 2]) -> Option<[V; 2]> {
        if self.below > index {
            let mut lower = counts.range((Unbounded, Excluded(&self.at)));
            let (mut at, mut below) = (None, self.below);
            while below > index {
                let (value, count) = lower.next_back()?;
                (at, below) = (Some(value), below - count);
            }
            *self = Cursor { at: at?.clone(), below };
        }
        let mut count = counts.get(&self.at).copied().unwrap_or(0);
        if self.below + count <= index {
            let mut upper = counts.range((Excluded(&self.at), Unbounded));
            let (mut at, mut below) = (None, self.below);
            while below + count <= index {
                below += count;
                let (value, next) = upper.next()?;
                (at, count) = (Some(value), *next);
            }
            *self = Cursor { at: at?.clone(), below };
        }
        let second = if other < self.below {
            counts.range((Unbounded, Excluded(&self.at))).next_back()?.0
        } else if other >= self.below + count {
            counts.range((Excluded(&self.at), Unbounded)).next()?.0
        } else {
            &self.at
        };
        Some([self.at.clone(), second.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of PostgreSQL over `generate_series(1, 4)`, and over 1, 2, 10.
    #[test]
    fn interpolates_as_postgres_does() {
        let answer = |fraction: f64, descending: bool, values: &[f64]| {
            let percentile = Percentile::Cont { fraction, descending };
            let count = values.len() as i64;
            percentile.interpolate(count, percentile.indices(count).map(|index| values[index as usize]))
        };
        let four = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(answer(0.25, false, &four), 1.75);
        assert_eq!(answer(0.25, true, &four), 3.25);
        assert_eq!(answer(0.9, false, &four), 3.7);
        assert_eq!(answer(1.0, false, &four), 4.0);
        assert_eq!(answer(0.0, true, &four), 4.0);
        assert_eq!(answer(0.5, false, &[1.0, 2.0, 10.0]), 2.0);
        assert_eq!(answer(0.75, false, &[1.0, 2.0, 10.0]), 6.0);
        assert_eq!(answer(0.25, true, &[-5e-324, -0.0]).to_bits(), 0);
        assert_eq!(answer(0.5, false, &[-0.0]).to_bits(), 0);
    }

    #[test]
    fn names_whole_places_as_postgres_does() {
        let place = |fraction: f64, descending: bool, count: i64| {
            let [first, second] = Percentile::Disc { fraction, descending }.indices(count);
            assert_eq!(first, second);
            first
        };
        assert_eq!([0.0, 0.25, 0.26, 0.5, 1.0].map(|p| place(p, false, 4)), [0, 0, 1, 1, 3]);
        assert_eq!([0.0, 0.25, 0.26, 0.5, 1.0].map(|p| place(p, true, 4)), [3, 3, 2, 2, 0]);
        // 0.07 * 100 is above 7 in double precision
        assert_eq!((place(0.07, false, 100), place(0.29, false, 100)), (7, 28));
    }
}
