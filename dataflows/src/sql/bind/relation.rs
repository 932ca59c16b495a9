//! The relation that a SELECT reads: what its rows are made of, and the names of its columns.

use crate::sql::diagnostic::Position;
use crate::sql::plan::{ExprId, Join, NodeId, Order, Place};

/// What the rows of a relation are made of, before its filter.
#[derive(Clone, Debug)]
pub(super) enum Base {
    /// Kinds joined by their key.
    Posts(Join),
    /// A node.
    Node(NodeId),
    /// A rank, whose bound only the filter above tells.
    Ranked(Box<Ranked>),
}

/// A rank to be made.
#[derive(Clone, Debug)]
pub(super) struct Ranked {
    pub input: NodeId,
    pub partition: Vec<ExprId>,
    pub order: Vec<Order>,
    pub places: Vec<Place>,
    /// Where it was written.
    pub position: Position,
    /// How it was written.
    pub written: String,
}

/// A relation: a base, a filter, and columns over the base.
#[derive(Clone, Debug)]
pub(super) struct Relation {
    pub base: Base,
    /// All hold.
    pub filter: Vec<ExprId>,
    pub columns: Vec<RelationColumn>,
    /// Expressions over the base that no two rows have equal.
    pub key: Vec<ExprId>,
}

/// A column of a relation.
#[derive(Clone, Debug)]
pub(super) struct RelationColumn {
    pub name: String,
    pub what: What,
}

/// What a column is.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// An expression over the relation's base.
    Expr(ExprId),
    /// An array of a kind: (kind, column).
    Array(usize, usize),
}

/// The names that a SELECT can use.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub relation: Relation,
    /// The relations of FROM: name, and their columns by place in `relation.columns`.
    pub parts: Vec<(String, Vec<usize>)>,
    /// The key of a join, which has one name in all parts.
    pub merged: Option<(String, ExprId)>,
    /// Whether `*` has a meaning that lasts: of a kind it does not.
    pub starred: bool,
}
