//! How many records each key has.
//!
//! # Contract
//! At each epoch's close the output accumulates to one `(key, total)` for every key whose differences sum to a total
//! other than zero. Only net changes are emitted.
//!
//! # Cost
//! O(1) a change. With several workers each adds up its own changes first, so that a key with many records costs the
//! worker that owns it as much as any other.

use crate::combine::combine;
use crate::epochs::{CHUNK, Epochwise, Update, by_epoch};
use crate::keyed::{BLOCK, Changed, Keyed, Pair};
use crate::route::{Key, Routing};
use crate::state_size::Entries;
use differential_dataflow::VecCollection;
use timely::dataflow::channels::pact::Exchange;
use values::footprint::{Footprint, Per};

/// The total of each key's differences; see the [module](self) for the contract.
///
/// ```
/// use differential_dataflow::AsCollection;
/// use operators::{Routing, count};
/// use timely::dataflow::operators::{Capture, ToStream, capture::Extract};
///
/// let captured = timely::example(|scope| {
///     // two records of the key 7 in epoch 0, of which one leaves in epoch 1
///     let records = [(7i64, 0, 1), (7, 0, 1), (7, 1, -1)];
///     let keys = records.to_stream(scope).as_collection();
///     count(keys, "records", Routing::OneProcess).inner.capture()
/// });
/// let updates: Vec<_> = captured.extract().into_iter().flat_map(|(_, updates)| updates).collect();
/// let expected = [((7, 2), 0, 1), ((7, 1), 1, 1), ((7, 2), 1, -1)];
/// assert!(expected.iter().all(|update| updates.contains(update)) && updates.len() == 3);
/// ```
pub fn count<'s, K: Key>(
    input: VecCollection<'s, u64, K, isize>,
    name: &str,
    routing: Routing,
) -> VecCollection<'s, u64, (K, i64), isize> {
    if input.inner.scope().peers() == 1 {
        totals(input, name, routing)
    } else {
        totals(combine(input, name), name, routing)
    }
}

/// [`count`] for input that is already added up.
pub(crate) fn totals<'s, K: Key>(
    input: VecCollection<'s, u64, K, isize>,
    name: &str,
    routing: Routing,
) -> VecCollection<'s, u64, (K, i64), isize> {
    let pact = Exchange::new(move |(key, _, _): &Update<K>| key.route(routing));
    by_epoch(
        input.inner,
        pact,
        name,
        Count {
            totals: Keyed::new(),
            changed: Changed::new(),
        },
    )
}

/// What is kept of each key; `heap` bytes are what the key owns.
pub fn footprint<K>(heap: usize) -> Footprint {
    Footprint::keyed(Per::Key, size_of::<Pair<K, i64>>() + heap)
}

struct Count<K> {
    totals: Keyed<Pair<K, i64>>,
    changed: Changed<i64>,
}

impl<K: Key> Epochwise for Count<K> {
    type In = Update<K>;
    type Out = (K, i64);

    fn apply(&mut self, updates: &mut Vec<Update<K>>) {
        for block in updates.chunks(BLOCK) {
            let ids = self
                .totals
                .find_or_insert_block(block.iter().map(|update| &update.0), |key| Pair {
                    key: key.clone(),
                    value: 0,
                });
            for ((_, _, diff), id) in block.iter().zip(ids) {
                let total = &mut self.totals.get_mut(id).value;
                self.changed.note(id, || *total);
                *total += *diff as i64;
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
            if before != after {
                if before != 0 {
                    out.push(((key.clone(), before), time, -1));
                }
                if after != 0 {
                    out.push(((key.clone(), after), time, 1));
                }
            }
            if after == 0 {
                self.totals.remove(id);
            }
        }
        false
    }

    fn entries(&self) -> Entries {
        [Some(self.totals.len()), None]
    }
}
