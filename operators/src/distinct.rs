//! How many different items each group has.
//!
//! # Contract
//! The input is a multiset of items, each of which tells its group: at an epoch's close no item's differences sum to
//! less than zero. The output then accumulates to one `(group, number of different items)` for every group that has
//! any. An item's group must be the same every time it is asked.
//!
//! # Cost
//! O(1) a change. Each different item is kept with its count: the item, 4 bytes, and 5 to 11 bytes of index. Items
//! are spread over the workers by themselves, so a large group is no single worker's burden.

use crate::count::totals;
use crate::epochs::{CHUNK, Epochwise, Update, by_epoch};
use crate::keyed::{BLOCK, Changed, Keyed, Pair};
use crate::route::{Key, Routing};
use crate::state_size::Entries;
use differential_dataflow::VecCollection;
use hashbrown::HashMap;
use timely::dataflow::channels::pact::Exchange;
use values::footprint::{Footprint, Per};

/// The number of different items of each `group`; see the [module](self) for the contract.
///
/// ```
/// use differential_dataflow::AsCollection;
/// use operators::{Routing, distinct_count};
/// use timely::dataflow::operators::{Capture, ToStream, capture::Extract};
///
/// let captured = timely::example(|scope| {
///     // items are (year, user); a second copy of an item changes nothing, and an item that leaves does
///     let records = [((2017u16, 1u32), 0u64, 1isize), ((2017, 1), 0, 1), ((2017, 2), 0, 1), ((2017, 2), 1, -1)];
///     let users = records.to_stream(scope).as_collection();
///     distinct_count(users, "users", Routing::OneProcess, |(year, _)| *year).inner.capture()
/// });
/// let updates: Vec<_> = captured.extract().into_iter().flat_map(|(_, updates)| updates).collect();
/// let expected = [((2017, 2), 0, 1), ((2017, 1), 1, 1), ((2017, 2), 1, -1)];
/// assert!(expected.iter().all(|update| updates.contains(update)) && updates.len() == 3);
/// ```
///
/// # Panics
/// When one item occurs more than 2^31 times.
pub fn distinct_count<'s, G: Key, I: Key>(
    input: VecCollection<'s, u64, I, isize>,
    name: &str,
    routing: Routing,
    group: impl Fn(&I) -> G + 'static,
) -> VecCollection<'s, u64, (G, i64), isize> {
    let pact = Exchange::new(move |(item, _, _): &Update<I>| item.route(routing));
    let logic = Distinct {
        copies: Keyed::new(),
        changed: Changed::new(),
        group,
        steps: Vec::new(),
    };
    let steps = by_epoch(input.inner, pact, &format!("{name}, items"), logic);
    totals(steps, name, routing)
}

/// What is kept of each different item and of each group; `item` and `group` bytes are what they own.
pub fn footprint<G, I>(item: usize, group: usize) -> [Footprint; 2] {
    let items = Footprint::keyed(Per::Item, size_of::<Pair<I, i32>>() + item);
    [items, crate::count::footprint::<G>(group)]
}

struct Distinct<G, I, F> {
    copies: Keyed<Pair<I, i32>>,
    /// Whether an item was present when the epoch began.
    changed: Changed<bool>,
    group: F,
    /// By how much each group's number changes at the close in hand: what is still to be emitted.
    steps: Vec<(G, isize)>,
}

impl<G: Key, I: Key, F: Fn(&I) -> G + 'static> Epochwise for Distinct<G, I, F> {
    type In = Update<I>;
    type Out = G;

    fn apply(&mut self, updates: &mut Vec<Self::In>) {
        for block in updates.chunks(BLOCK) {
            let ids = self
                .copies
                .find_or_insert_block(block.iter().map(|update| &update.0), |item| Pair {
                    key: item.clone(),
                    value: 0,
                });
            for ((_, _, diff), id) in block.iter().zip(ids) {
                let copies = &mut self.copies.get_mut(id).value;
                self.changed.note(id, || *copies > 0);
                *copies = i32::try_from(*copies as isize + diff).expect("more than 2^31 copies of one item");
            }
        }
        updates.clear();
    }

    fn close(&mut self) {
        let mut steps: HashMap<G, isize> = HashMap::new();
        self.changed.close(&self.copies);
        while let Some((id, before)) = self.changed.pop() {
            let Pair {
                key: item,
                value: copies,
            } = self.copies.get(id);
            debug_assert!(*copies >= 0, "{item:?} was removed more often than it was added");
            let after = *copies > 0;
            if before != after {
                *steps.entry((self.group)(item)).or_default() += if after { 1 } else { -1 };
            }
            if *copies == 0 {
                self.copies.remove(id);
            }
        }
        self.changed.finish(&self.copies);
        self.steps.extend(steps.into_iter().filter(|(_, step)| *step != 0));
    }

    fn emit(&mut self, time: u64, out: &mut Vec<Update<G>>) -> bool {
        let rest = self.steps.len().saturating_sub(CHUNK);
        out.extend(self.steps.drain(rest..).map(|(group, step)| (group, time, step)));
        self.steps.shrink_to(CHUNK);
        self.steps.is_empty()
    }

    fn entries(&self) -> Entries {
        [Some(self.copies.len()), None]
    }
}
