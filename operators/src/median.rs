//! Exact medians of each group's values, when values also leave.
//!
//! # Contract
//! The input is a multiset of (group, value): at an epoch's close no pair's differences sum to less than zero (within
//! an epoch they may, as changes come in any order). The output then accumulates to one `(group, Median)` for every
//! group that has any value. Only net changes are emitted.
//!
//! # Cost
//! O(log different values of the group) a change, amortised: a group keeps how often each value occurs, and a cursor
//! at the lower median with the number of records below it. A record that comes or goes moves the median by at most
//! one place, so the cursor walks no further than the number of records that changed. Memory grows with different
//! values, not with records; equal changes are added up before the exchange.

use crate::combine::{added_up, combine};
use crate::epochs::{CHUNK, Epochwise, Update, by_epoch};
use crate::keyed::{Keyed, Pair};
use crate::route::{Key, Routing};
use crate::state_size::Entries;
use differential_dataflow::VecCollection;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use timely::dataflow::channels::pact::Exchange;
use values::footprint::{Footprint, Per};

/// The middle of a group's values.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Median {
    /// The lower of the two middle values: SQL's `percentile_disc(0.5)`.
    pub lower: i64,
    /// The mean of the two middle values: SQL's `percentile_cont(0.5)`, in the arithmetic of PostgreSQL.
    pub mean: f64,
    /// The number of values.
    pub count: i64,
}

impl Ord for Median {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.lower.cmp(&other.lower))
            .then_with(|| self.mean.total_cmp(&other.mean))
            .then_with(|| self.count.cmp(&other.count))
    }
}

impl PartialOrd for Median {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Median {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Median {}

/// The medians of each group; see the [module](self) for the contract.
///
/// ```
/// use differential_dataflow::AsCollection;
/// use operators::{Median, Routing, median};
/// use timely::dataflow::operators::{Capture, ToStream, capture::Extract};
///
/// let captured = timely::example(|scope| {
///     // the values 1, 2 and 10 of the group 7, of which the last leaves in epoch 1
///     let records = [((7i64, 1i64), 0u64, 1isize), ((7, 2), 0, 1), ((7, 10), 0, 1), ((7, 10), 1, -1)];
///     let values = records.to_stream(scope).as_collection();
///     median(values, "median", Routing::OneProcess).inner.capture()
/// });
/// let updates: Vec<_> = captured.extract().into_iter().flat_map(|(_, updates)| updates).collect();
/// let of = |lower, mean, count| (7, Median { lower, mean, count });
/// let expected = [(of(2, 2.0, 3), 0, 1), (of(1, 1.5, 2), 1, 1), (of(2, 2.0, 3), 1, -1)];
/// assert!(expected.iter().all(|update| updates.contains(update)) && updates.len() == 3);
/// ```
pub fn median<'s, G: Key>(
    input: VecCollection<'s, u64, (G, i64), isize>,
    name: &str,
    routing: Routing,
) -> VecCollection<'s, u64, (G, Median), isize> {
    let pact = Exchange::new(move |((group, _), _, _): &Update<(G, i64)>| group.route(routing));
    by_epoch(
        combine(input, name).inner,
        pact,
        name,
        Medians {
            groups: Keyed::new(),
            touched: Vec::new(),
            values: 0,
        },
    )
}

/// What is kept of each group, and of each different value of a group.
pub fn footprint<G>() -> [Footprint; 2] {
    let value = size_of::<(i64, i64)>();
    [
        Footprint::keyed(Per::Key, size_of::<Pair<G, Values>>()),
        Footprint::tree(Per::Value, value, align_of::<i64>()).staging(value),
    ]
}

struct Medians<G> {
    groups: Keyed<Pair<G, Values>>,
    /// Groups with staged changes.
    touched: Vec<u32>,
    /// How many different values all groups have.
    values: usize,
}

impl<G: Key> Epochwise for Medians<G> {
    type In = Update<(G, i64)>;
    type Out = (G, Median);

    fn apply(&mut self, updates: &mut Vec<Self::In>) {
        for ((group, value), _, diff) in updates.drain(..) {
            let id = self.groups.find_or_insert(&group, |group| Pair {
                key: group.clone(),
                value: Values::default(),
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
            let before = values.emitted;
            self.values -= values.counts.len();
            values.settle();
            self.values += values.counts.len();
            if before != values.emitted {
                out.extend(before.map(|median| ((group.clone(), median), time, -1)));
                out.extend(values.emitted.map(|median| ((group.clone(), median), time, 1)));
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

/// A group's values, and the changes that wait for its epoch's close.
#[derive(Default)]
struct Values {
    /// How often each value occurs; never zero.
    counts: BTreeMap<i64, i64>,
    total: i64,
    /// The cursor: a value, which need not occur ...
    at: i64,
    /// ... and how many values are less than it.
    below: i64,
    staged: Vec<(i64, i64)>,
    emitted: Option<Median>,
}

impl Values {
    /// Applies what was staged and brings `emitted` up to date.
    fn settle(&mut self) {
        let changes = added_up(std::mem::take(&mut self.staged));

        if self.counts.is_empty() {
            debug_assert!(
                changes.iter().all(|(_, diff)| *diff > 0),
                "a value was removed that was not there"
            );
            self.total = changes.iter().map(|(_, diff)| diff).sum();
            (self.at, self.below) = (0, 0);
            // the cursor is put near its place here, where that takes no searching
            for (value, diff) in &changes {
                self.at = *value;
                if self.below + diff > self.lower_index() {
                    break;
                }
                self.below += diff;
            }
            self.counts = changes.into_iter().collect();
        } else {
            for (value, diff) in changes {
                self.total += diff;
                if value < self.at {
                    self.below += diff;
                }
                let count = self.counts.entry(value).or_default();
                *count += diff;
                debug_assert!(*count >= 0, "{value} was removed more often than it was added");
                if *count == 0 {
                    self.counts.remove(&value);
                }
            }
        }
        self.emitted = self.find();
    }

    /// The index of the lower median among the sorted values, from 0.
    fn lower_index(&self) -> i64 {
        (self.total - 1) / 2
    }

    /// Moves the cursor to the lower median and reads off both medians.
    fn find(&mut self) -> Option<Median> {
        if self.total == 0 {
            return None;
        }
        let index = self.lower_index();
        while self.below > index {
            let (value, count) = self.counts.range(..self.at).next_back()?;
            (self.at, self.below) = (*value, self.below - count);
        }
        let mut count = self.counts.get(&self.at).copied().unwrap_or(0);
        while self.below + count <= index {
            self.below += count;
            (self.at, count) = self.next()?;
        }
        let lower = self.at;
        let upper = if self.below + count > self.total / 2 {
            lower
        } else {
            self.next()?.0
        };
        let (low, high) = (lower as f64, upper as f64);
        Some(Median {
            lower,
            mean: low + 0.5 * (high - low),
            count: self.total,
        })
    }

    /// The value after the cursor, with how often it occurs.
    fn next(&self) -> Option<(i64, i64)> {
        self.counts
            .range((Excluded(self.at), Unbounded))
            .next()
            .map(|(value, count)| (*value, *count))
    }
}
