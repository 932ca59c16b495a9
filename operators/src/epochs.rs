//! The life of an epoch inside an operator: take in, close in order, emit in slices.
//!
//! What an operator computes from an epoch is a function of all of that epoch's records and of the state after the
//! epoch before it. Records may arrive long before their epoch's turn, since workers run ahead of each other. The
//! driver here keeps those back, so that an operator only ever sees one epoch at a time, in order, and never has to
//! think of time. It also slows emission down: an operator that has a million rows to emit does so in slices, and
//! lets the rest of the dataflow run in between, so that no queue ever holds them all.
//!
//! Time is `u64`, a total order, because epochs are numbered by one coordinator and close one after the other: then what
//! an operator keeps after the epoch before is all that there is to know of the past, a plain value a key instead of
//! the times at which it changed, and "the epoch in hand" is one epoch. In a partial order (iteration, several clocks)
//! neither holds; differential's own arrangements are for that.

use crate::state_size::{Entries, StateReporter};
use differential_dataflow::{AsCollection, Data, VecCollection};
use std::collections::BTreeMap;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

/// Records in an outgoing container: a few tens of kilobytes, which stay in the cache until they are read.
pub(crate) const CHUNK: usize = 1024;

/// Records emitted in one activation, about: what a queue may hold of an epoch. Small enough that the next operators
/// find them in a cache, large enough that scheduling those does not matter.
const SLICE: usize = 8 << 10;

/// A change of a differential collection.
pub(crate) type Update<D> = (D, u64, isize);

/// A record that may carry its own epoch.
pub(crate) trait Timed {
    /// The record's epoch, when its message's is `message`: never an earlier one.
    fn time(&self, message: u64) -> u64;
}

impl<D> Timed for Update<D> {
    fn time(&self, _message: u64) -> u64 {
        self.1
    }
}

/// An operator's logic, an epoch at a time.
///
/// The driver calls `apply` any number of times with records of one epoch, then `close` once no further record of
/// that epoch (or an earlier one) can come, then `emit` until it returns `true`, and only then `apply` for a later
/// epoch. An epoch without records is not seen at all.
pub(crate) trait Epochwise: 'static {
    /// What comes in.
    type In: Timed + 'static;
    /// What goes out.
    type Out: Data;

    /// Takes in records of the epoch in hand, in any order, and leaves the vector empty.
    fn apply(&mut self, records: &mut Vec<Self::In>);

    /// The epoch in hand is complete.
    fn close(&mut self) {}

    /// Appends some of the closed epoch's changes, about [`CHUNK`]; `true` when none are left.
    fn emit(&mut self, time: u64, out: &mut Vec<Update<Self::Out>>) -> bool;

    /// How many entries of each of the operator's footprints are kept, in their order: asked between epochs.
    fn entries(&self) -> Entries;
}

/// An epoch of which something has arrived and that is not yet emitted in full.
struct Pending<R> {
    capability: Capability<u64>,
    early: Vec<Vec<R>>,
}

/// Appends a record to chunks of [`CHUNK`] records, of which the last one may hold fewer.
fn append<R>(chunks: &mut Vec<Vec<R>>, record: R) {
    match chunks.last_mut() {
        Some(last) if last.len() < CHUNK => last.push(record),
        _ => chunks.push(vec![record]),
    }
}

/// Runs `logic` over the epochs of `stream`.
pub(crate) fn by_epoch<'s, L, P>(
    stream: Stream<'s, u64, Vec<L::In>>,
    pact: P,
    name: &str,
    mut logic: L,
) -> VecCollection<'s, u64, L::Out, isize>
where
    L: Epochwise,
    P: ParallelizationContract<u64, Vec<L::In>>,
{
    let scope = stream.scope();
    let operator = stream.unary_frontier(pact, name, move |_, info| {
        let mut reporter = StateReporter::new(scope.worker(), info.global_id, logic.entries());
        let again = scope.activator_for(info.address);
        let mut pending: BTreeMap<u64, Pending<L::In>> = BTreeMap::new();
        let mut emitting = false;
        let mut out = Vec::new();

        move |(input, frontier), output| {
            let open = frontier.frontier().first().copied();

            input.for_each(|message, records| {
                let time = *message.time();
                let now = open == Some(time)
                    && pending
                        .first_key_value()
                        .is_none_or(|(lowest, p)| *lowest == time && p.early.is_empty());
                if records.iter().all(|record| record.time(time) == time) {
                    let epoch = pending.entry(time).or_insert_with(|| Pending {
                        capability: message.retain(0),
                        early: Vec::new(),
                    });
                    if now {
                        logic.apply(records);
                        debug_assert!(records.is_empty());
                    } else {
                        epoch.early.push(std::mem::take(records));
                    }
                } else {
                    for record in records.drain(..) {
                        let later = record.time(time);
                        debug_assert!(later >= time, "a record's time is behind its message's");
                        let epoch = pending.entry(later).or_insert_with(|| Pending {
                            capability: message.delayed(&later, 0),
                            early: Vec::new(),
                        });
                        append(&mut epoch.early, record);
                    }
                }
            });

            let mut room = SLICE;
            while let Some(mut epoch) = pending.first_entry() {
                let time = *epoch.key();
                if open.is_some_and(|open| open < time) {
                    break;
                }
                for mut records in epoch.get_mut().early.drain(..) {
                    debug_assert!(!emitting, "records of an epoch that is already closed");
                    logic.apply(&mut records);
                    debug_assert!(records.is_empty());
                }
                if open == Some(time) {
                    break;
                }
                if !emitting {
                    logic.close();
                    emitting = true;
                }
                let mut session = output.session(&epoch.get().capability);
                loop {
                    out.reserve(CHUNK);
                    let done = logic.emit(time, &mut out);
                    debug_assert!(out.iter().all(|(_, at, diff)| *at == time && *diff != 0));
                    room = room.saturating_sub(out.len());
                    session.give_container(&mut out);
                    out.clear();
                    if done {
                        emitting = false;
                        break;
                    }
                    if room == 0 {
                        again.activate();
                        return;
                    }
                }
                drop(session);
                epoch.remove();
                reporter.report(|| logic.entries());
            }
        }
    });
    operator.as_collection()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_filled_one_after_the_other() {
        let mut chunks = Vec::new();
        (0..2 * CHUNK + 1).for_each(|record| append(&mut chunks, record));
        let lengths: Vec<usize> = chunks.iter().map(Vec::len).collect();
        assert_eq!(lengths, [CHUNK, CHUNK, 1]);
        assert!(chunks.concat().is_sorted());
    }
}
