//! Processes that compute different results would write tables that hold no answer: before anything is read, each tells
//! all others what it computes.

use super::error::EngineError;
use dataflows::{Limits, Results};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Input, Inspect, Probe};
use timely::worker::Worker;
use xxhash_rust::xxh3::xxh3_64;

/// What one process computes: see [`Results::terms`].
pub type Terms = BTreeMap<String, u64>;

/// The terms of this process.
pub fn terms(results: &Results, limits: &Limits) -> Terms {
    let version = (
        "the version of the program".to_owned(),
        xxh3_64(env!("CARGO_PKG_VERSION").as_bytes()),
    );
    results.terms(limits).into_iter().chain([version]).collect()
}

/// Waits until every process has told its terms: the error names what is not the same in all. `tells` is true of one
/// worker of each process.
pub fn agree(worker: &mut Worker, terms: &Terms, tells: bool) -> Result<(), EngineError> {
    let heard: Rc<RefCell<Vec<Terms>>> = Rc::default();
    let mut input = InputHandle::new();
    let probe = worker.dataflow::<u64, _, _>(|scope| {
        let heard = Rc::clone(&heard);
        let told = scope.input_from(&mut input).broadcast();
        let told = told.inspect(move |terms: &Vec<(String, u64)>| {
            heard.borrow_mut().push(terms.iter().cloned().collect());
        });
        told.probe().0
    });
    if tells {
        input.send(
            terms
                .iter()
                .map(|(name, hash)| (name.clone(), *hash))
                .collect::<Vec<_>>(),
        );
    }
    input.close();
    while !probe.done() {
        worker.step_or_park(None);
    }
    let names = differing(&heard.borrow());
    if names.is_empty() {
        Ok(())
    } else {
        Err(EngineError::OtherResults { names })
    }
}

/// What is not the same in all.
fn differing(heard: &[Terms]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for terms in heard {
        let other = |name: &&String| heard.iter().any(|others| others.get(*name) != terms.get(*name));
        names.extend(terms.keys().filter(other).cloned());
    }
    names.sort_unstable();
    names.dedup();
    if names.len() > 1 {
        // it follows from the others
        names.retain(|name| name != Results::THE_PLAN);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataflows::Options;

    #[test]
    fn what_differs_is_named_whoever_lacks_it() {
        let limits = Limits::default();
        let ours = terms(&Results::built_in(&Options { top: 10 }), &limits);
        assert_eq!(differing(&[ours.clone(), ours.clone(), ours.clone()]), [""; 0]);
        let mut fewer = ours.clone();
        fewer.remove("users_joined_by_year");
        for heard in [[&ours, &fewer, &ours], [&fewer, &ours, &ours], [&ours, &ours, &fewer]] {
            let heard = heard.map(Clone::clone);
            assert_eq!(differing(&heard), ["users_joined_by_year"]);
        }
        let shorter = Limits { depth: 9, ..limits };
        let others = terms(&Results::built_in(&Options { top: 9 }), &shorter);
        let names = differing(&[ours, others]);
        let has = |name: &str| names.iter().any(|other| other == name);
        assert!(has("limits.depth") && has("top_poster_by_country"), "{names:?}");
        assert!(!has("limits.record_bytes") && !has("users_joined_by_year"), "{names:?}");
    }
}
