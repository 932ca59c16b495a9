//! A syntax tree as a plan: what names mean, which types expressions have, and the proof that none can fail.

mod binder;
mod bound;
mod calls;
mod doubts;
mod expr;
mod finish;
mod fold;
mod from;
mod functions;
mod literal;
mod rank;
mod relation;
mod scope;
mod select;
mod value;

use super::ast::Query;
use super::diagnostic::Fault;
use super::plan::Plan;
use super::schema::Schema;
use binder::Binder;
pub(super) use binder::Bound;
pub(super) use functions::is_aggregate;
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// Binds the query of the result `name` to `plan`. `results` are those bound before; `top` is what `{top}` is.
pub(super) fn bind(
    query: &Query,
    schema: &Schema,
    results: &BTreeMap<String, Bound>,
    top: u64,
    plan: &mut Plan,
) -> Result<(Bound, Vec<Fault>), Vec<Fault>> {
    let mut binder = Binder {
        schema,
        plan,
        results,
        top,
        uses_top: false,
        with: Vec::new(),
        origin: HashMap::new(),
        written_keys: Vec::new(),
        faults: Vec::new(),
        notes: Vec::new(),
    };
    let bound = binder.result(query);
    match bound {
        Some(bound) if binder.faults.is_empty() => Ok((bound, binder.notes)),
        _ => {
            let mut faults = binder.faults;
            debug_assert!(!faults.is_empty(), "a refused query has a fault");
            faults.sort();
            faults.dedup();
            Err(faults)
        }
    }
}
