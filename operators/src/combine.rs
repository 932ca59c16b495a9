//! Adds up equal updates before they travel.
//!
//! Where groups repeat (a million posts in a few hundred countries), most of an exchange's work is saved by sending
//! sums. A batch that is small passes at once, because waiting for its epoch's close would cost a live update one
//! more round of progress messages; a large one is held back to be summed with what follows, until the epoch closes
//! or the sums themselves are many.
//!
//! The output accumulates to the same collection at each epoch; that is all it promises.

use crate::epochs::{CHUNK, Update};
use crate::keyed::{BLOCK, Keyed, Pair};
use differential_dataflow::{AsCollection, ExchangeData, VecCollection};
use std::collections::BTreeMap;
use std::hash::Hash;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

/// A batch of fewer updates than this is not held back.
const SMALL: usize = 1024;
/// No more sums than this are held back.
const MOST: usize = 256 << 10;

struct Held<D> {
    capability: Capability<u64>,
    sums: Keyed<Pair<D, isize>>,
    /// Updates of the latest activation.
    arrived: usize,
}

/// `input`, with this worker's equal updates of an epoch mostly added up.
pub(crate) fn combine<D: ExchangeData + Hash>(
    input: VecCollection<'_, u64, D, isize>,
) -> VecCollection<'_, u64, D, isize> {
    let operator = input.inner.unary_frontier(Pipeline, "Combine", |_, _| {
        let mut epochs: BTreeMap<u64, Held<D>> = BTreeMap::new();
        let mut out: Vec<Update<D>> = Vec::new();
        move |(input, frontier), output| {
            input.for_each(|message, updates| {
                for updates in updates.chunk_by(|a, b| a.1 == b.1) {
                    let time = updates[0].1;
                    let held = epochs.entry(time).or_insert_with(|| Held {
                        capability: message.delayed(&time, 0),
                        sums: Keyed::new(),
                        arrived: 0,
                    });
                    held.arrived += updates.len();
                    for block in updates.chunks(BLOCK) {
                        let ids = held
                            .sums
                            .find_or_insert_block(block.iter().map(|update| &update.0), |data| Pair {
                                key: data.clone(),
                                value: 0,
                            });
                        for ((_, _, diff), id) in block.iter().zip(ids) {
                            held.sums.get_mut(id).value += diff;
                        }
                    }
                }
                updates.clear();
            });
            epochs.retain(|&time, held| {
                let arrived = std::mem::take(&mut held.arrived);
                let closed = !frontier.less_equal(&time);
                if !closed && !(1..SMALL).contains(&arrived) && held.sums.len() < MOST {
                    return true;
                }
                let mut session = output.session(&held.capability);
                let sums = std::mem::replace(&mut held.sums, Keyed::new());
                for Pair { key, value: sum } in sums.into_entries() {
                    if sum != 0 {
                        out.push((key, time, sum));
                        if out.len() == CHUNK {
                            session.give_container(&mut out);
                            out.clear();
                            out.reserve(CHUNK);
                        }
                    }
                }
                session.give_container(&mut out);
                out.clear();
                false
            });
        }
    });
    operator.as_collection()
}
