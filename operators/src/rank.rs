//! The first rows of each group, with SQL's `RANK()`.
//!
//! # Contract
//! The input is a set of (group, (name, value)) with at most one value for a (group, name): at an epoch's close each
//! such row's differences sum to one or to zero. Rows of a group are ordered by value descending, then by name
//! ascending (a [`Symbol`](crate::Symbol)'s order is by bytes); a row's rank is one more than the number of rows of
//! its group with a greater value. The output accumulates to `(group, name, value, rank)` of the rows to [`Keep`].
//! Only net changes are emitted.
//!
//! # Cost
//! A change costs O(log rows of the group) amortised, plus at most one look at the rows kept (not counting leaders
//! that stay leaders) for each epoch that touches any of them. With `Keep::Top(0)` a change may alter every rank
//! below it, and costs as much. A row takes 12 bytes (for a `Symbol`) in a B-tree that history fills node by node:
//! 13 bytes, up to 20 after long random change.
//!
//! With several workers each ranks a share of every group first and sends on those rows that it would keep: a row that
//! is not among the first of its share is not among the first of all. So a large group is no single worker's burden.
//! Shares are dealt by (group, name), so the rows of an operator that was keyed by both stay where they are.

use crate::epochs::{CHUNK, Epochwise, Update, by_epoch};
use crate::keyed::{Keyed, Pair};
use crate::ranked_group::{Name, RankedGroup};
use crate::route::{Key, Routing, join};
use crate::state_size::Entries;
use differential_dataflow::VecCollection;
use timely::dataflow::channels::pact::Exchange;
use values::footprint::{Footprint, Per};

/// Which of a group's rows to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The first so many rows, and all of rank 1; 0 keeps all rows.
    Top(usize),
    /// The rows of rank 1.
    Leaders,
}

impl Keep {
    /// The first rows to keep, besides those of rank 1.
    fn top(self) -> usize {
        match self {
            Keep::Top(0) => usize::MAX,
            Keep::Top(top) => top,
            // the first row has rank 1
            Keep::Leaders => 1,
        }
    }
}

/// The rows to keep of each group, with their ranks; see the [module](self) for the contract.
///
/// ```
/// use differential_dataflow::AsCollection;
/// use operators::{Keep, Routing, rank};
/// use timely::dataflow::operators::{Capture, ToStream, capture::Extract};
///
/// let captured = timely::example(|scope| {
///     // three names of the group 0 with their values; in epoch 1 the greatest leaves
///     let row = |name: i64, value: i64| (0u8, (name, value));
///     let records = [(row(71, 5), 0, 1), (row(72, 9), 0, 1), (row(73, 5), 0, 1), (row(72, 9), 1, -1)];
///     let rows = records.to_stream(scope).as_collection();
///     rank(rows, "places", Routing::OneProcess, Keep::Top(2)).inner.capture()
/// });
/// let updates: Vec<_> = captured.extract().into_iter().flat_map(|(_, updates)| updates).collect();
/// // group, name, value, rank: equal values have equal ranks, and are in the order of their names
/// let expected = [
///     ((0, 72, 9, 1), 0, 1), ((0, 71, 5, 2), 0, 1),
///     ((0, 72, 9, 1), 1, -1), ((0, 71, 5, 2), 1, -1), ((0, 71, 5, 1), 1, 1), ((0, 73, 5, 1), 1, 1),
/// ];
/// assert!(expected.iter().all(|update| updates.contains(update)) && updates.len() == 6);
/// ```
pub fn rank<'s, G: Key, N: Name + Key>(
    input: VecCollection<'s, u64, (G, (N, i64)), isize>,
    name: &str,
    routing: Routing,
    keep: Keep,
) -> VecCollection<'s, u64, (G, N, i64, i64), isize> {
    let logic = || Rank {
        top: keep.top(),
        groups: Keyed::new(),
        touched: Vec::new(),
        rows: 0,
    };
    let input = if input.inner.scope().peers() > 1 && keep != Keep::Top(0) {
        let pact = Exchange::new(move |((group, (name, _)), _, _): &Update<(G, (N, i64))>| {
            join(group.route(routing), name.route(routing))
        });
        let shares = by_epoch(input.inner, pact, &format!("{name}, share"), logic());
        shares.map(|(group, name, value, _)| (group, (name, value)))
    } else {
        input
    };
    let pact = Exchange::new(move |((group, _), _, _): &Update<(G, (N, i64))>| group.route(routing));
    by_epoch(input.inner, pact, name, logic())
}

/// What is kept of each group, and of each row of a group.
pub fn footprint<G, N: Name>(keep: Keep) -> [Footprint; 2] {
    [
        Footprint::keyed(Per::Key, size_of::<Pair<G, RankedGroup<N>>>()),
        crate::ranked_group::footprint::<N>(keep == Keep::Top(0)),
    ]
}

struct Rank<G, N> {
    top: usize,
    groups: Keyed<Pair<G, RankedGroup<N>>>,
    /// Groups with staged changes.
    touched: Vec<u32>,
    /// How many rows all groups have.
    rows: usize,
}

impl<G: Key, N: Name + Key> Epochwise for Rank<G, N> {
    type In = Update<(G, (N, i64))>;
    type Out = (G, N, i64, i64);

    fn apply(&mut self, updates: &mut Vec<Self::In>) {
        for ((group, (name, value)), _, diff) in updates.drain(..) {
            let id = self.groups.find_or_insert(&group, |group| Pair {
                key: group.clone(),
                value: RankedGroup::new(),
            });
            if self.groups.get_mut(id).value.stage(name, value, diff) {
                self.touched.push(id);
            }
        }
    }

    fn emit(&mut self, time: u64, out: &mut Vec<Update<Self::Out>>) -> bool {
        while out.len() < CHUNK {
            let Some(id) = self.touched.pop() else {
                self.touched.shrink_to(CHUNK);
                return true;
            };
            let Pair {
                key: group,
                value: ranked,
            } = self.groups.get_mut(id);
            self.rows -= ranked.len();
            ranked.settle(self.top, |(name, value, rank), diff| {
                out.push(((group.clone(), name, value, rank), time, diff));
            });
            self.rows += ranked.len();
            if ranked.is_empty() {
                self.groups.remove(id);
            }
        }
        false
    }

    fn entries(&self) -> Entries {
        [Some(self.groups.len()), Some(self.rows)]
    }
}
