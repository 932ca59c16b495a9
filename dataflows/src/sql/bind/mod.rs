//! A syntax tree as a plan: what names mean, which types expressions have, and the proof that none can fail.

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
mod scope;
mod select;

use super::ast::{Expr, Query};
use super::diagnostic::{Checked, Fault};
use super::plan::{ExprId, NodeId, Plan};
use super::schema::Schema;
use super::types::{Facts, Ty};
use calls::{AggregateCall, WindowCall};
use expr::Value;
use hashbrown::HashMap;
use scope::Relation;
use std::collections::BTreeMap;

/// A column of a bound result.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct BoundColumn {
    pub name: String,
    pub ty: Ty,
    pub facts: Facts,
    /// The comment behind it, or of the column that it repeats.
    pub comment: Option<String>,
}

/// A bound result: its rows are those of `node`, its first `key` columns identify a row.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub node: NodeId,
    pub columns: Vec<BoundColumn>,
    pub key: usize,
}

/// Where an expression stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clause {
    /// WHERE.
    Where,
    /// GROUP BY.
    Key,
    /// Inside an aggregate.
    Argument,
    /// The select list.
    Item,
    /// HAVING.
    Having,
    /// Inside OVER, or ORDER BY.
    Order,
}

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

struct Binder<'a> {
    schema: &'a Schema,
    plan: &'a mut Plan,
    results: &'a BTreeMap<String, Bound>,
    top: u64,
    /// Whether `{top}` occurs: where it is 0 a rank may go without a bound.
    uses_top: bool,
    /// The queries of WITH that can be named here; `None` where one was refused.
    with: Vec<(String, Option<Relation>)>,
    /// Where expressions were written, the latest of equal ones.
    origin: HashMap<ExprId, &'a Expr>,
    /// The keys of the GROUP BY that is bound, as they were written.
    written_keys: Vec<(ExprId, String)>,
    faults: Vec<Fault>,
    notes: Vec<Fault>,
}

impl Binder<'_> {
    /// Notes a fault; `None` is what the refused part becomes.
    fn refuse<T>(&mut self, fault: Fault) -> Option<T> {
        self.faults.push(fault);
        None
    }

    fn checked<T>(&mut self, value: Checked<T>) -> Option<T> {
        value.map_err(|fault| self.faults.push(fault)).ok()
    }
}
