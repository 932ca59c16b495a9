//! Joins what several operators compute for one key: an outer join on the key, by the number of the part.
//!
//! # Contract
//! The input is a set of (key, (number of a part, part)) with at most one part of a number for a key at an epoch's
//! close, numbers being less than `parts`; within an epoch changes come in any order, so there may be several. The
//! output accumulates to one `(key, parts)` for every key that has part 0, with `None` where a key has no part of
//! that number. A key without part 0 has no other either. Only net changes are emitted.
//!
//! # Cost
//! O(`parts`) a key that an epoch touches. Each key is kept with all its parts: the key, 16 bytes and `parts` times an
//! optional part, plus 5 to 11 bytes of index.

use crate::epochs::{CHUNK, Epochwise, Update, by_epoch};
use crate::keyed::{BLOCK, Changed, Keyed, Pair};
use crate::route::{Key, Routing};
use crate::state_size::Entries;
use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::channels::pact::Exchange;
use values::footprint::{Footprint, Per};

/// The parts of each key, by number; see the [module](self) for the contract.
///
/// ```
/// use differential_dataflow::AsCollection;
/// use operators::{Routing, gather};
/// use timely::dataflow::operators::{Capture, ToStream, capture::Extract};
///
/// let captured = timely::example(|scope| {
///     // the key 7 has part 0 from epoch 0 on, and part 1 in epoch 1
///     let records = [((7i64, (0u8, 'a')), 0u64, 1isize), ((7, (1, 'b')), 1, 1)];
///     let parts = records.to_stream(scope).as_collection();
///     gather(parts, "all parts", Routing::OneProcess, 2).inner.capture()
/// });
/// let updates: Vec<_> = captured.extract().into_iter().flat_map(|(_, updates)| updates).collect();
/// let row = |parts: [Option<char>; 2]| (7i64, Box::from(parts));
/// let (first, both) = (row([Some('a'), None]), row([Some('a'), Some('b')]));
/// let expected = [(first.clone(), 0, 1), (first, 1, -1), (both, 1, 1)];
/// assert!(expected.iter().all(|update| updates.contains(update)) && updates.len() == 3);
/// ```
///
/// # Panics
/// When a part's number is not less than `parts`.
pub fn gather<'s, K: Key, P: ExchangeData>(
    input: VecCollection<'s, u64, (K, (u8, P)), isize>,
    name: &str,
    routing: Routing,
    parts: usize,
) -> VecCollection<'s, u64, (K, Box<[Option<P>]>), isize> {
    let pact = Exchange::new(move |((key, _), _, _): &Update<(K, (u8, P))>| key.route(routing));
    let logic = Gather {
        none: vec![None; parts].into(),
        keys: Keyed::new(),
        changed: Changed::new(),
        conflicts: Vec::new(),
    };
    by_epoch(input.inner, pact, name, logic)
}

/// What is kept of each key; `key` bytes are what it owns, `heap` bytes what all its parts own.
pub fn footprint<K, P>(parts: usize, key: usize, heap: usize) -> Footprint {
    let entry = size_of::<Pair<K, Parts<P>>>() + parts * size_of::<Option<P>>();
    Footprint::keyed(Per::Key, entry + key + heap)
}

/// A key's parts, by number.
type Parts<P> = Box<[Option<P>]>;

/// A change of one part: entry, number, part, difference.
type Change<P> = (u32, u8, P, isize);

struct Gather<K, P> {
    /// What a new key has.
    none: Parts<P>,
    keys: Keyed<Pair<K, Parts<P>>>,
    /// The parts when the epoch began; none of a new key.
    changed: Changed<Option<Parts<P>>>,
    /// The epoch's changes that do not fit what is there: a part has come before another has left its place, or has left
    /// before it has come.
    conflicts: Vec<Change<P>>,
}

impl<K: Key, P: ExchangeData> Epochwise for Gather<K, P> {
    type In = Update<(K, (u8, P))>;
    type Out = (K, Parts<P>);

    fn apply(&mut self, updates: &mut Vec<Self::In>) {
        for block in updates.chunks(BLOCK) {
            let ids = self
                .keys
                .find_or_insert_block(block.iter().map(|update| &update.0.0), |key| Pair {
                    key: key.clone(),
                    value: self.none.clone(),
                });
            for (((_, (number, part)), _, diff), id) in block.iter().zip(ids) {
                let parts = &mut self.keys.get_mut(id).value;
                self.changed.note(id, || Some(parts.clone()));
                match (&mut parts[usize::from(*number)], diff) {
                    (place @ None, 1) => *place = Some(part.clone()),
                    (place, -1) if place.as_ref() == Some(part) => *place = None,
                    _ => self.conflicts.push((id, *number, part.clone(), *diff)),
                }
            }
        }
        updates.clear();
    }

    fn close(&mut self) {
        // what is in a place counts as a change that brought it: all changes of the place then add up to what is left
        let mut there = Vec::new();
        for (id, number, ..) in &self.conflicts {
            let place = &mut self.keys.get_mut(*id).value[usize::from(*number)];
            there.extend(place.take().map(|part| (*id, *number, part, 1)));
        }
        self.conflicts.append(&mut there);
        self.conflicts.sort_unstable();
        let same = |a: &Change<P>, b: &Change<P>| (a.0, a.1, &a.2) == (b.0, b.1, &b.2);
        for changes in self.conflicts.chunk_by(same) {
            let (id, number, part, _) = &changes[0];
            let copies: isize = changes.iter().map(|change| change.3).sum();
            if copies != 0 {
                let Pair { key, value: parts } = self.keys.get_mut(*id);
                let place = &mut parts[usize::from(*number)];
                debug_assert!(
                    copies == 1 && place.is_none(),
                    "{key:?} has part {number} more than once"
                );
                *place = Some(part.clone());
            }
        }
        self.conflicts.clear();
        self.conflicts.shrink_to(CHUNK);
        self.changed.close(&self.keys);
    }

    fn emit(&mut self, time: u64, out: &mut Vec<Update<Self::Out>>) -> bool {
        while out.len() < CHUNK - 1 {
            let Some((id, before)) = self.changed.pop() else {
                self.changed.finish(&self.keys);
                return true;
            };
            let Pair { key, value: after } = self.keys.get(id);
            // a key without its part 0 is not there
            let row = |parts: &Parts<P>| parts[0].is_some().then(|| (key.clone(), parts.clone()));
            if before.as_ref() != Some(after) {
                out.extend(before.as_ref().and_then(row).map(|row| (row, time, -1)));
                out.extend(row(after).map(|row| (row, time, 1)));
            }
            if after.iter().all(Option::is_none) {
                self.keys.remove(id);
            } else {
                debug_assert!(after[0].is_some(), "{key:?} has parts, but not part 0");
            }
        }
        false
    }

    fn entries(&self) -> Entries {
        [Some(self.keys.len()), None]
    }
}
