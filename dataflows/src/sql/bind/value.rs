//! What binding an expression gives: a value whose type its context may still choose, and the aggregates and window
//! functions found in it.

use super::relation::Scope;
use crate::sql::diagnostic::Position;
use crate::sql::plan::{Agg, ExprId, Order, PlaceKind};
use crate::sql::types::Ty;

/// What an expression is before its context gives it a type.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// An expression of a type.
    Expr(ExprId),
    /// A text literal, which may become another type.
    Literal(&'a str),
    /// NULL, of any type.
    Null,
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

/// An aggregate found in an expression, which names it by [`AGGREGATE`](super::calls::AGGREGATE) and its place in the
/// list.
#[derive(Clone, Debug)]
pub(super) struct AggregateCall {
    pub agg: Agg,
    pub ty: Ty,
    pub position: Position,
    pub written: String,
}

/// A window function found in an expression, which names it by [`WINDOW`](super::calls::WINDOW) and its place in the
/// list.
#[derive(Clone, Debug)]
pub(super) struct WindowCall {
    pub kind: PlaceKind,
    pub partition: Vec<ExprId>,
    pub order: Vec<Order>,
    pub position: Position,
    pub written: String,
}

/// Where an expression stands, and the aggregates and window functions found in it.
pub(super) struct Context<'c> {
    pub scope: &'c Scope,
    pub clause: Clause,
    pub aggregates: Vec<AggregateCall>,
    pub windows: Vec<WindowCall>,
}

impl<'c> Context<'c> {
    pub fn new(scope: &'c Scope, clause: Clause) -> Context<'c> {
        Context {
            scope,
            clause,
            aggregates: Vec::new(),
            windows: Vec::new(),
        }
    }
}
