//! Expressions of a catalogue as expressions over the rows that flow: each relation with its columns.
//!
//! Rows flow only behind the latest records, behind groups and behind places. A [`Node::Map`] and the filter of a
//! [`Node::Posts`] are no operators: an operator that reads such a node computes its columns and its condition itself,
//! together with its own.

use super::kept::Layout;
use super::layout::Cell;
use super::program::translate;
use super::project::{Projector, Take};
use crate::sql::plan::{ExprId, Join, Node, NodeId, Plan, Scalar};
use crate::sql::types::Ty;
use hashbrown::{HashMap, HashSet};

/// A relation that flows: the latest records (`None`), or the rows of a node.
pub(crate) type Base = Option<NodeId>;

/// A relation and what was asked of it.
pub(crate) struct Relation<'s> {
    pub(crate) projector: Projector<'s>,
    /// The columns of the node, as far as they are used.
    columns: Vec<Option<ExprId>>,
    /// Expressions of the catalogue, over the node that they were asked of, as expressions over the relation.
    known: HashMap<(NodeId, ExprId), ExprId>,
}

impl<'s> Relation<'s> {
    /// Of the latest records.
    pub(crate) fn of_posts(projector: Projector<'s>) -> Relation<'s> {
        Relation {
            projector,
            columns: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// Of a node, whose used columns come from these places.
    pub(crate) fn of_node(mut projector: Projector<'s>, columns: &[Option<(Take, Ty)>]) -> Relation<'s> {
        let column = |column: &Option<(Take, Ty)>| column.as_ref().map(|(take, ty)| projector.column(take, *ty));
        Relation {
            columns: columns.iter().map(column).collect(),
            projector,
            known: HashMap::new(),
        }
    }

    /// All columns of the node, which are all used.
    pub(crate) fn columns(&self) -> Vec<ExprId> {
        self.columns.iter().flatten().copied().collect()
    }
}

/// What expressions are translated with.
#[derive(Clone, Copy)]
pub(crate) struct Catalogue<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) layout: &'a Layout,
}

impl Catalogue<'_> {
    /// The relation that the rows of a node come from.
    pub(crate) fn base(self, mut node: NodeId) -> Base {
        loop {
            match self.plan.node(node) {
                Node::Map { input, .. } => node = *input,
                Node::Posts { .. } => return None,
                Node::Fold { .. } | Node::Rank { .. } => return Some(node),
            }
        }
    }

    /// An expression over `node` as one over its relation.
    pub(crate) fn resolve(self, relation: &mut Relation, node: NodeId, e: ExprId) -> ExprId {
        if let Some(known) = relation.known.get(&(node, e)) {
            return *known;
        }
        let mut done = HashMap::new();
        match self.plan.node(node) {
            Node::Posts { join, .. } => {
                self.kept_parts(relation, join, e, &mut done);
            }
            Node::Map { input, columns, .. } => {
                for (part, column) in self.columns_of(e) {
                    let resolved = self.resolve(relation, *input, columns[column]);
                    done.insert(part, resolved);
                }
            }
            Node::Fold { .. } | Node::Rank { .. } => {
                for (part, column) in self.columns_of(e) {
                    let column = relation.columns[column].expect("columns that are named are used");
                    done.insert(part, column);
                }
            }
        }
        let to = &mut relation.projector.plan;
        let new = translate(self.plan, e, to, &mut done, &mut |_, _, _, _| None);
        relation.known.insert((node, e), new);
        new
    }

    /// A column of a node as an expression over its relation.
    pub(crate) fn column(self, relation: &mut Relation, node: NodeId, column: usize) -> ExprId {
        match self.plan.node(node) {
            Node::Map { input, columns, .. } => self.resolve(relation, *input, columns[column]),
            _ => relation.columns[column].expect("columns that are named are used"),
        }
    }

    /// The condition on rows of the relation to be rows of `node`; `None` where all are.
    pub(crate) fn filter(self, relation: &mut Relation, node: NodeId) -> Option<ExprId> {
        let mut terms = Vec::new();
        let mut next = node;
        loop {
            match self.plan.node(next) {
                Node::Posts { join, filter } => {
                    let bits = self.layout.shape.present.clone();
                    let present = Take::Present(join.rows, bits);
                    terms.push(relation.projector.column(&present, Ty::Bool));
                    terms.extend(filter.map(|filter| self.resolve(relation, next, filter)));
                    break;
                }
                Node::Map { input, filter, .. } => {
                    terms.extend(filter.map(|filter| self.resolve(relation, *input, filter)));
                    next = *input;
                }
                Node::Fold { .. } | Node::Rank { .. } => break,
            }
        }
        all_of(&mut relation.projector.plan, terms)
    }

    /// The columns that an expression over a node with columns names.
    fn columns_of(self, e: ExprId) -> Vec<(ExprId, usize)> {
        let mut columns = Vec::new();
        let mut seen = HashSet::new();
        let mut parts = vec![e];
        while let Some(part) = parts.pop() {
            if seen.insert(part) {
                match self.plan.scalar(part) {
                    Scalar::Column(column) => columns.push((part, usize::from(*column))),
                    scalar => parts.extend(scalar.arguments()),
                }
            }
        }
        columns
    }

    /// Puts what is kept of records in the place of the parts of an expression over fields.
    fn kept_parts(self, relation: &mut Relation, join: &Join, e: ExprId, done: &mut HashMap<ExprId, ExprId>) {
        let mut seen = HashSet::new();
        let mut parts = vec![e];
        while let Some(part) = parts.pop() {
            if !seen.insert(part) {
                continue;
            }
            let scalar = self.plan.scalar(part);
            if self.layout.place(part).is_some() {
                let kept = self.kept(relation, join, part);
                done.insert(part, kept);
            } else if *scalar == Scalar::Key {
                let key = self.key(relation, join);
                done.insert(part, key);
            } else if let Scalar::IsNull(field) = scalar
                && let Some(same) = self.layout.null_of(self.plan.scalar(*field))
            {
                let same = self.kept(relation, join, same);
                let is_null = relation.projector.plan.add(Scalar::IsNull(same), Ty::Bool);
                done.insert(part, is_null);
            } else {
                parts.extend(scalar.arguments());
            }
        }
    }

    /// What is kept of a kind's records, in a row of a join.
    fn kept(self, relation: &mut Relation, join: &Join, e: ExprId) -> ExprId {
        let (kind, kept) = self.layout.place(e).expect("it is kept");
        let projector = &mut relation.projector;
        let column = projector.column(&Take::Cell(0, kept.cell), kept.ty);
        let null_where_absent = kept.nullable && self.layout.unseen(kind, e).is_null();
        if join.always_seen(kind) || null_where_absent && self.layout.seen_as_present(join, kind) {
            return column;
        }
        let bits = self.layout.shape.present.clone();
        let seen = projector.column(&Take::Present(join.seen[kind], bits), Ty::Bool);
        // the same of nulls
        let mut null = |plan: &mut Plan, _, scalar: &Scalar, ty| {
            matches!(scalar, Scalar::Field { .. }).then(|| plan.add(Scalar::Null, ty))
        };
        let unseen = translate(
            &self.layout.plan,
            e,
            &mut projector.plan,
            &mut HashMap::new(),
            &mut null,
        );
        let e = projector.plan.add(Scalar::Case(vec![(seen, column)], unseen), kept.ty);
        if matches!(kept.cell, Cell::Halves(_)) {
            projector.mark_halves(e);
        }
        e
    }

    /// The key of a row: that of any kind's record.
    fn key(self, relation: &mut Relation, join: &Join) -> ExprId {
        let kinds = (0..join.seen.len()).filter_map(|kind| Some((kind, self.layout.key(kind)?)));
        let kinds: Vec<(usize, ExprId)> = kinds.filter(|(_, e)| self.layout.place(*e).is_some()).collect();
        match kinds.iter().find(|(kind, _)| join.always_seen(*kind)) {
            Some((_, e)) => self.kept(relation, join, *e),
            None => {
                let keys = kinds.iter().map(|(_, e)| self.kept(relation, join, *e)).collect();
                relation.projector.plan.add(Scalar::Coalesce(keys), Ty::Int8)
            }
        }
    }
}

/// A condition that holds where all do.
pub(crate) fn all_of(plan: &mut Plan, terms: Vec<ExprId>) -> Option<ExprId> {
    match terms[..] {
        [] => None,
        [one] => Some(one),
        _ => Some(plan.add(Scalar::And(terms), Ty::Bool)),
    }
}
