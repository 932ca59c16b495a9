//! The state of binding one query, and what a bound query is.

use super::relation::Relation;
use crate::sql::ast::Expr;
use crate::sql::diagnostic::{Checked, Fault};
use crate::sql::plan::{ExprId, NodeId, Plan};
use crate::sql::schema::Schema;
use crate::sql::types::{Facts, Ty};
use hashbrown::HashMap;
use std::collections::BTreeMap;

/// A column of a bound result.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::sql) struct BoundColumn {
    pub name: String,
    pub ty: Ty,
    pub facts: Facts,
    /// The comment behind it, or of the column that it repeats.
    pub comment: Option<String>,
}

/// A bound result: its rows are those of `node`, its first `key` columns identify a row.
#[derive(Clone, Debug)]
pub(in crate::sql) struct Bound {
    pub node: NodeId,
    pub columns: Vec<BoundColumn>,
    pub key: usize,
}

/// The state of binding one query.
pub(super) struct Binder<'a> {
    pub schema: &'a Schema,
    pub plan: &'a mut Plan,
    pub results: &'a BTreeMap<String, Bound>,
    pub top: u64,
    /// Whether `{top}` occurs: where it is 0 a rank may go without a bound.
    pub uses_top: bool,
    /// The queries of WITH that can be named here; `None` where one was refused.
    pub with: Vec<(String, Option<Relation>)>,
    /// Where expressions were written, the latest of equal ones.
    pub origin: HashMap<ExprId, &'a Expr>,
    /// The keys of the GROUP BY that is bound, as they were written.
    pub written_keys: Vec<(ExprId, String)>,
    pub faults: Vec<Fault>,
    pub notes: Vec<Fault>,
}

impl Binder<'_> {
    /// Notes a fault; `None` is what the refused part becomes.
    pub(super) fn refuse<T>(&mut self, fault: Fault) -> Option<T> {
        self.faults.push(fault);
        None
    }

    /// Notes the fault of what is refused.
    pub(super) fn checked<T>(&mut self, value: Checked<T>) -> Option<T> {
        value.map_err(|fault| self.faults.push(fault)).ok()
    }
}
