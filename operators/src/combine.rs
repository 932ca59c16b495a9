//! Adds up updates of equal keys before they travel.
//!
//! Where groups repeat (a million posts in a few hundred countries), most of an exchange's work is saved by sending
//! sums. A batch that is small passes at once, because waiting for its epoch's close would cost a live update one
//! more round of progress messages; a large one is held back to be summed with what follows, until the epoch closes
//! or the sums themselves are many.
//!
//! The output accumulates to the same sums at each epoch; that is all it promises.

use crate::epochs::{CHUNK, Update};
use crate::keyed::{BLOCK, Keyed, Pair};
use differential_dataflow::{AsCollection, Data, ExchangeData, VecCollection};
use std::collections::BTreeMap;
use std::hash::Hash;
use std::marker::PhantomData;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

/// A batch of fewer updates than this is not held back.
const SMALL: usize = 1024;
/// No more sums than this are held back.
const MOST: usize = 256 << 10;

/// What is added up, and by what key.
pub(crate) trait Addition: 'static {
    /// An update's data.
    type In: Data;
    /// What the data of one sum have in common.
    type Key: Clone + Hash + Eq + 'static;
    /// The sum of a key's updates.
    type Sum: 'static;
    /// What stands for a sum in the output.
    type Out: Data;
    /// The sum of nothing.
    const ZERO: Self::Sum;

    fn key(data: &Self::In) -> &Self::Key;
    fn add(sum: &mut Self::Sum, data: &Self::In, diff: isize);
    /// `None` if the sum is that of nothing.
    fn finish(key: Self::Key, sum: Self::Sum) -> Option<(Self::Out, isize)>;
}

/// Differences of equal data.
struct Differences<D>(PhantomData<D>);

impl<D: ExchangeData + Hash> Addition for Differences<D> {
    type In = D;
    type Key = D;
    type Sum = isize;
    type Out = D;
    const ZERO: isize = 0;

    #[inline]
    fn key(data: &D) -> &D {
        data
    }

    #[inline]
    fn add(sum: &mut isize, _data: &D, diff: isize) {
        *sum += diff;
    }

    #[inline]
    fn finish(key: D, sum: isize) -> Option<(D, isize)> {
        (sum != 0).then_some((key, sum))
    }
}

struct Buffered<A: Addition> {
    capability: Capability<u64>,
    sums: Keyed<Pair<A::Key, A::Sum>>,
    /// Updates of the latest activation.
    arrived: usize,
}

/// `input`, with this worker's equal updates of an epoch mostly added up, for the operator `name`.
pub(crate) fn combine<'s, D: ExchangeData + Hash>(
    input: VecCollection<'s, u64, D, isize>,
    name: &str,
) -> VecCollection<'s, u64, D, isize> {
    sums::<Differences<D>>(input, name)
}

/// The sums of `input`'s updates, most of this worker's in one for each key and epoch.
pub(crate) fn sums<'s, A: Addition>(
    input: VecCollection<'s, u64, A::In, isize>,
    name: &str,
) -> VecCollection<'s, u64, A::Out, isize> {
    let operator = input
        .inner
        .unary_frontier(Pipeline, &format!("{name}, sums before the exchange"), |_, _| {
            let mut epochs: BTreeMap<u64, Buffered<A>> = BTreeMap::new();
            let mut out: Vec<Update<A::Out>> = Vec::new();
            move |(input, frontier), output| {
                input.for_each(|message, updates| {
                    for updates in updates.chunk_by(|a, b| a.1 == b.1) {
                        let time = updates[0].1;
                        let buffered = epochs.entry(time).or_insert_with(|| Buffered {
                            capability: message.delayed(&time, 0),
                            sums: Keyed::new(),
                            arrived: 0,
                        });
                        buffered.arrived += updates.len();
                        for block in updates.chunks(BLOCK) {
                            let ids = buffered.sums.find_or_insert_block(
                                block.iter().map(|update| A::key(&update.0)),
                                |key| Pair {
                                    key: key.clone(),
                                    value: A::ZERO,
                                },
                            );
                            for ((data, _, diff), id) in block.iter().zip(ids) {
                                A::add(&mut buffered.sums.get_mut(id).value, data, *diff);
                            }
                        }
                    }
                    updates.clear();
                });
                epochs.retain(|&time, buffered| {
                    let arrived = std::mem::take(&mut buffered.arrived);
                    let closed = !frontier.less_equal(&time);
                    if !closed && !(1..SMALL).contains(&arrived) && buffered.sums.len() < MOST {
                        return true;
                    }
                    let mut session = output.session(&buffered.capability);
                    let sums = std::mem::replace(&mut buffered.sums, Keyed::new());
                    for Pair { key, value: sum } in sums.into_entries() {
                        if let Some((data, diff)) = A::finish(key, sum) {
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

/// Changes of a group in the order of their values, each value once and none whose changes add up to nothing.
pub(crate) fn added_up<V: Ord>(mut changes: Vec<(V, i64)>) -> Vec<(V, i64)> {
    changes.sort_unstable();
    changes.dedup_by(|later, sum| {
        let same = later.0 == sum.0;
        if same {
            sum.1 += later.1;
        }
        same
    });
    changes.retain(|(_, diff)| *diff != 0);
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;
    use timely::dataflow::operators::{Input, Inspect};

    /// How many updates of each container have left the operator after each batch of so many of these keys, all of one
    /// epoch, and after its close.
    fn containers(batches: &'static [usize], keys: usize) -> Vec<Vec<usize>> {
        timely::execute_directly(move |worker| {
            let sizes = Rc::new(RefCell::new(Vec::new()));
            let to = Rc::clone(&sizes);
            let mut input = worker.dataflow::<u64, _, _>(|scope| {
                let (input, updates) = scope.new_input::<Vec<Update<usize>>>();
                let sums = combine(updates.as_collection(), "test").inner;
                sums.inspect_batch(move |_, sums| to.borrow_mut().push(sums.len()));
                input
            });
            let mut after = Vec::new();
            for size in batches {
                let mut batch: Vec<Update<usize>> = (0..*size).map(|n| (n % keys, 0, 1)).collect();
                input.send_batch(&mut batch);
                input.flush();
                (0..5).for_each(|_| _ = worker.step());
                after.push(sizes.borrow().clone());
            }
            input.close();
            while worker.step() {}
            after.push(sizes.borrow().clone());
            after
        })
    }

    /// How many updates of seven keys have left it.
    fn sent(batches: &'static [usize]) -> Vec<usize> {
        let after = containers(batches, 7);
        after.iter().map(|sizes| sizes.iter().sum()).collect()
    }

    #[test]
    fn sums_beyond_a_bound_leave_before_the_close_in_full_containers() {
        let sizes = containers(&[MOST - 1, MOST], MOST);
        assert!(sizes[0].is_empty());
        assert_eq!((sizes[1].len(), sizes[1].iter().sum()), (MOST / CHUNK, MOST));
        assert!(sizes[1].iter().all(|size| *size == CHUNK));
        assert_eq!(sizes[2], sizes[1]);
    }

    #[test]
    fn a_small_batch_passes_and_a_large_one_waits_for_the_close() {
        assert_eq!(sent(&[1, 5, SMALL - 1]), [1, 6, 13, 13]);
        assert_eq!(sent(&[SMALL, 5 * SMALL, SMALL]), [0, 0, 0, 7]);
        // what is small takes along what has waited
        assert_eq!(sent(&[SMALL, 2]), [0, 7, 7]);
    }
}
