//! The first rows of each group in any order, with their places: SQL's `rank()`, `dense_rank()` and `row_number()`.
//!
//! # Contract
//! The input is a multiset of (group, row): at an epoch's close no pair's differences sum to less than zero (within an
//! epoch they may, as changes come in any order). Rows are ordered by an [`Order`]'s terms, and rows that are equal in
//! all of them by their own `Ord`. The output accumulates to one row for each copy of each row that [`Keep`] keeps,
//! with the places it has among *all* rows of its group. Only net changes are emitted, of rows and places: two of them
//! may become one output row.
//!
//! # Cost
//! A change costs O(log rows of the group) comparisons amortised, and most rows are compared by the order's quick terms
//! alone. An epoch that touches any of a group's rows that are kept, or are kept then, costs one look at all of those;
//! with [`Keep::All`], at the whole group. A row takes its own size and 4 bytes, up to twice that after long random
//! change. [`rank`](crate::rank()) is this for names by an integer, and for leaders however many.
//!
//! With several workers each keeps the first rows of a share of every group and sends on those alone: a row's places in
//! its share are not greater than those among all. So a large group is no single worker's burden, unless all rows are
//! kept. Shares are dealt by group and row.

use crate::epochs::{CHUNK, Epochwise, Update, by_epoch};
use crate::keyed::{Keyed, Pair};
use crate::order::Rules;
use crate::ordered_group::OrderedGroup;
use crate::route::{Key, Routing, join};
use crate::state_size::Entries;
use differential_dataflow::{Data, VecCollection};
use std::rc::Rc;
use timely::dataflow::channels::pact::Exchange;
use values::footprint::{Footprint, Per};

pub use crate::order::{Keep, Order, Place, PlaceKind};

/// The rows to keep of each group, in the order given: `output` makes a row of a group, a row and its `places`. See the
/// [module](self) for the contract.
///
/// ```
/// use differential_dataflow::AsCollection;
/// use operators::Routing;
/// use operators::top::{Keep, Order, Place, PlaceKind, top};
/// use std::cmp::Ordering;
/// use timely::dataflow::operators::{Capture, ToStream, capture::Extract};
///
/// /// By themselves, the least first.
/// struct Ascending;
///
/// impl Order<i64> for Ascending {
///     fn terms(&self) -> usize {
///         1
///     }
///
///     fn compare(&self, a: &i64, b: &i64, terms: usize) -> Ordering {
///         if terms > 0 { a.cmp(b) } else { Ordering::Equal }
///     }
/// }
///
/// let captured = timely::example(|scope| {
///     let records = [((0u8, 30i64), 0u64, 1isize), ((0, 10), 0, 1), ((0, 20), 0, 1), ((0, 10), 1, -1)];
///     let rows = records.to_stream(scope).as_collection();
///     let number = Place { kind: PlaceKind::RowNumber, terms: 1 };
///     let keep = Keep::Within(vec![(number, 2)]);
///     let output = |_: &u8, row: &i64, places: &[i64]| (*row, places[0]);
///     top(rows, "places", Routing::OneProcess, Ascending, keep, &[number], output).inner.capture()
/// });
/// let updates: Vec<_> = captured.extract().into_iter().flat_map(|(_, updates)| updates).collect();
/// // rows and their numbers: the first two at the close of each epoch
/// let expected = [
///     ((10, 1), 0, 1), ((20, 2), 0, 1),
///     ((10, 1), 1, -1), ((20, 2), 1, -1), ((20, 1), 1, 1), ((30, 2), 1, 1),
/// ];
/// assert!(expected.iter().all(|update| updates.contains(update)) && updates.len() == 6);
/// ```
///
/// # Panics
/// When one row occurs more than 2^31 times.
pub fn top<'s, G: Key, R: Key, T: Data>(
    input: VecCollection<'s, u64, (G, R), isize>,
    name: &str,
    routing: Routing,
    order: impl Order<R>,
    keep: Keep,
    places: &[Place],
    output: impl Fn(&G, &R, &[i64]) -> T + 'static,
) -> VecCollection<'s, u64, T, isize> {
    let order = Rc::new(order);
    let input = if input.inner.scope().peers() > 1 && keep != Keep::All {
        let pact =
            Exchange::new(move |((group, row), _, _): &Update<(G, R)>| join(group.route(routing), row.route(routing)));
        let share = Top::new(Rules::new(Rc::clone(&order), &keep, &[]), |group: &G, row: &R, _| {
            (group.clone(), row.clone())
        });
        by_epoch(input.inner, pact, &format!("{name}, share"), share)
    } else {
        input
    };
    let pact = Exchange::new(move |((group, _), _, _): &Update<(G, R)>| group.route(routing));
    by_epoch(
        input.inner,
        pact,
        name,
        Top::new(Rules::new(order, &keep, places), output),
    )
}

/// What is kept of each group, and of each different row of a group; `group` and `row` bytes are what they own.
pub fn footprint<G, R>(group: usize, row: usize) -> [Footprint; 2] {
    [
        Footprint::keyed(Per::Key, size_of::<Pair<G, OrderedGroup<R>>>() + group),
        crate::ordered_group::footprint::<R>(row),
    ]
}

struct Top<G, R, O, F> {
    rules: Rules<O>,
    output: F,
    groups: Keyed<Pair<G, OrderedGroup<R>>>,
    /// Groups with staged changes.
    touched: Vec<u32>,
    /// How many different rows all groups have.
    rows: usize,
}

impl<G: Key, R: Key, O: Order<R>, F> Top<G, R, O, F> {
    fn new<T>(rules: Rules<O>, output: F) -> Self
    where
        F: Fn(&G, &R, &[i64]) -> T,
    {
        Top {
            rules,
            output,
            groups: Keyed::new(),
            touched: Vec::new(),
            rows: 0,
        }
    }
}

impl<G: Key, R: Key, O: Order<R>, T: Data, F: Fn(&G, &R, &[i64]) -> T + 'static> Epochwise for Top<G, R, O, F> {
    type In = Update<(G, R)>;
    type Out = T;

    fn apply(&mut self, updates: &mut Vec<Self::In>) {
        for ((group, row), _, diff) in updates.drain(..) {
            let id = self.groups.find_or_insert(&group, |group| Pair {
                key: group.clone(),
                value: OrderedGroup::new(),
            });
            if self.groups.get_mut(id).value.stage(row, diff) {
                self.touched.push(id);
            }
        }
    }

    fn emit(&mut self, time: u64, out: &mut Vec<Update<T>>) -> bool {
        while out.len() < CHUNK {
            let Some(id) = self.touched.pop() else {
                self.touched.shrink_to(CHUNK);
                return true;
            };
            let Pair {
                key: group,
                value: ordered,
            } = self.groups.get_mut(id);
            self.rows -= ordered.len();
            ordered.settle(&self.rules, |row, places, diff| {
                out.push(((self.output)(group, row, places), time, diff));
            });
            self.rows += ordered.len();
            if ordered.is_empty() {
                self.groups.remove(id);
            }
        }
        false
    }

    fn entries(&self) -> Entries {
        [Some(self.groups.len()), Some(self.rows)]
    }
}
