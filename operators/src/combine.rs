//! Adds up equal updates before they travel.
//!
//! Where groups repeat (a million posts in a few hundred countries), most of an exchange's work is saved by sending
//! sums. A batch that is small passes at once, because waiting for its epoch's close would cost a live update one
//! more round of progress messages; a large one is held back to be summed with what follows, until the epoch closes
//! or the sums themselves are many.
//!
//! The output accumulates to the same collection at each epoch; that is all it promises.

use crate::epochs::{CHUNK, Update};
use differential_dataflow::{AsCollection, ExchangeData, VecCollection};
use hashbrown::HashMap;
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
    sums: HashMap<D, isize>,
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
                let mut updates = updates.drain(..).peekable();
                while let Some(&(_, time, _)) = updates.peek() {
                    let held = epochs.entry(time).or_insert_with(|| Held {
                        capability: message.delayed(&time, 0),
                        sums: HashMap::new(),
                        arrived: 0,
                    });
                    while let Some((data, _, diff)) = updates.next_if(|update| update.1 == time) {
                        held.arrived += 1;
                        *held.sums.entry(data).or_default() += diff;
                    }
                }
            });
            epochs.retain(|&time, held| {
                let arrived = std::mem::take(&mut held.arrived);
                let closed = !frontier.less_equal(&time);
                if !closed && !(1..SMALL).contains(&arrived) && held.sums.len() < MOST {
                    return true;
                }
                let mut session = output.session(&held.capability);
                for (data, diff) in held.sums.drain() {
                    if diff != 0 {
                        out.push((data, time, diff));
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
