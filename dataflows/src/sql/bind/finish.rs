//! A relation as a node, and the last one as a result.

use super::binder::{Binder, Bound, BoundColumn};
use super::relation::{Base, Relation, What};
use crate::sql::ast::{Item, Query};
use crate::sql::diagnostic::{Fault, Position};
use crate::sql::plan::{ExprId, Node, NodeId, Output, Scalar};
use crate::sql::types::{LONGEST_KEPT, Ty};

/// Where a column is that nothing says anything about.
const START: Position = Position { line: 1, column: 1 };

/// The most key columns of a table: of text, and of other types.
const MOST_KEY_TEXTS: usize = 4;
const MOST_KEY_WORDS: usize = 6;

/// The longest row of an index in PostgreSQL is 2,704 bytes, of which a row's head and padding take some.
const LONGEST_INDEX_ROW: u32 = 2_600;

impl<'a> Binder<'a> {
    /// A relation's rows as a node with the columns of its base.
    pub(super) fn node(&mut self, relation: &Relation) -> Option<NodeId> {
        let (node, filter) = self.base_node(relation)?;
        if filter.is_empty() {
            return Some(node);
        }
        let outputs = self.plan.outputs(node).iter().enumerate();
        let types: Vec<_> = outputs.map(|(place, output)| (place as u16, output.ty)).collect();
        let columns: Vec<_> = types
            .into_iter()
            .map(|(place, ty)| self.plan.add(Scalar::Column(place), ty))
            .collect();
        self.map(node, &filter, columns)
    }

    /// The node below the filter, and the filter.
    fn base_node(&mut self, relation: &Relation) -> Option<(NodeId, Vec<ExprId>)> {
        match &relation.base {
            Base::Node(node) => Some((*node, relation.filter.clone())),
            Base::Ranked(ranked) => self.rank_node(ranked, &relation.filter),
            Base::Posts(_) => unreachable!("rows of posts are folded, or refused before"),
        }
    }

    /// Expressions over `node` behind `filter`.
    fn map(&mut self, node: NodeId, filter: &[ExprId], columns: Vec<ExprId>) -> Option<NodeId> {
        let base = Base::Node(node);
        let faults = self.faults.len();
        let mut outputs = Vec::with_capacity(columns.len());
        for e in &columns {
            let at = self.origin.get(e).map_or(START, |expr| expr.position);
            let facts = self.proved(&base, filter, *e, at);
            let unfiltered = self.unfiltered(&base, *e, at);
            outputs.extend(facts.map(|facts| Output {
                ty: self.plan.ty(*e),
                facts,
                unfiltered,
            }));
        }
        if self.faults.len() > faults {
            return None;
        }
        let filter = self.all_of(filter);
        let node = Node::Map {
            input: node,
            filter,
            columns,
        };
        Some(self.plan.add_node(node, outputs))
    }

    /// The query of a file as a table.
    pub(super) fn result(&mut self, query: &'a Query) -> Option<Bound> {
        let relation = self.query(query)?;
        if relation.base.is_posts() {
            let fault = Fault::new(query.position, "a result without GROUP BY is one row a post");
            return self.refuse(fault.hint("CREATE VIEW … AS …, over the cleaned tables"));
        }
        let columns: Vec<_> = relation
            .columns
            .iter()
            .filter_map(|column| match column.what {
                What::Expr(e) => Some((column.name.clone(), e)),
                What::Array(..) => None,
            })
            .collect();
        let (node, filter) = self.base_node(&relation)?;
        let exprs: Vec<_> = columns.iter().map(|(_, e)| *e).collect();
        let identity = filter.is_empty()
            && exprs.len() == self.plan.outputs(node).len()
            && exprs
                .iter()
                .enumerate()
                .all(|(place, e)| *self.plan.scalar(*e) == Scalar::Column(place as u16));
        let comments = self.comments(query, columns.len());
        let node = if identity {
            node
        } else {
            self.map(node, &filter, exprs.clone())?
        };
        let columns: Vec<_> = columns
            .into_iter()
            .zip(self.plan.outputs(node))
            .zip(comments)
            .map(|(((name, _), output), comment)| BoundColumn {
                name,
                ty: output.ty,
                facts: output.facts,
                comment,
            })
            .collect();
        let faults = self.faults.len();
        let key = self.table_key(query, &relation.key, &exprs, &columns)?;
        self.check_columns(query, &columns, key);
        (self.faults.len() == faults).then_some(Bound { node, columns, key })
    }

    /// The key of the rows has to be the first columns of the table, none null.
    fn table_key(
        &mut self,
        query: &'a Query,
        key: &[ExprId],
        exprs: &[ExprId],
        columns: &[BoundColumn],
    ) -> Option<usize> {
        let missing: Vec<_> = key.iter().filter(|e| !exprs.contains(e)).copied().collect();
        if !missing.is_empty() {
            let names: Vec<_> = missing.iter().map(|e| self.shown(*e)).collect();
            let message = format!("the key of the rows is not selected: {}", names.join(", "));
            let fault = Fault::new(query.position, message);
            return self.refuse(fault.hint("all GROUP BY columns come first: they are the primary key"));
        }
        let first = &exprs[..key.len().min(exprs.len())];
        if let Some(place) = first.iter().position(|e| !key.contains(e)) {
            let position = self.item_position(query, place);
            let message = format!("{} stands before a key column", columns[place].name);
            return self.refuse(Fault::new(position, message).hint("GROUP BY columns first, each once"));
        }
        for (place, column) in columns[..key.len()].iter().enumerate() {
            if column.facts.nullable {
                let position = self.item_position(query, place);
                let shown = match query.items.get(place) {
                    Some(Item::Expr { expr, .. }) => self.show(expr),
                    _ => column.name.clone(),
                };
                let other = match column.ty {
                    Ty::Text => format!(", or coalesce({shown}, 'unknown')"),
                    Ty::Int4 | Ty::Int8 => format!(", or coalesce({shown}, 0)"),
                    _ => String::new(),
                };
                let message = format!("{shown} can be null, and a key column cannot");
                let operand = match query.items.get(place) {
                    Some(Item::Expr { expr, .. }) => self.show_operand(expr),
                    _ => shown,
                };
                let hint = format!("add WHERE {operand} IS NOT NULL{other}");
                self.faults.push(Fault::new(position, message).hint(hint));
            }
        }
        Some(key.len())
    }

    fn item_position(&self, query: &Query, place: usize) -> Position {
        match query.items.get(place) {
            Some(Item::Expr { expr, .. }) => expr.position,
            Some(Item::All { position, .. }) => *position,
            None => query.position,
        }
    }

    /// What no table or index can hold.
    fn check_columns(&mut self, query: &Query, columns: &[BoundColumn], key: usize) {
        for (place, column) in columns.iter().enumerate() {
            let position = self.item_position(query, place);
            let long = column.ty == Ty::Text && column.facts.bytes.is_none_or(|bytes| bytes > LONGEST_KEPT);
            if long {
                let message = format!("the column {} can be longer than {LONGEST_KEPT} bytes", column.name);
                self.faults
                    .push(Fault::new(position, message).hint("left(e, 128) of it"));
            }
        }
        let (texts, words): (Vec<_>, Vec<_>) = columns[..key].iter().partition(|column| column.ty == Ty::Text);
        let text: u32 = texts.iter().map(|column| column.facts.bytes.unwrap_or(0) + 4).sum();
        let bytes = text + 40 * words.len() as u32;
        if texts.len() > MOST_KEY_TEXTS || words.len() > MOST_KEY_WORDS || bytes > LONGEST_INDEX_ROW {
            let message = format!(
                "a key of {} texts and {} other columns is too long for an index: at most {MOST_KEY_TEXTS} and \
                 {MOST_KEY_WORDS}, together {LONGEST_INDEX_ROW} bytes",
                texts.len(),
                words.len()
            );
            self.faults
                .push(Fault::new(query.position, message).hint("left(e, 40) of texts"));
        }
    }

    /// The comments of the table's columns; what stands in `*` takes those of the result that is read.
    fn comments(&self, query: &Query, count: usize) -> Vec<Option<String>> {
        let read = match &query.from.what {
            crate::sql::ast::RelationKind::Named(name) => self.results.get(&name.text),
            crate::sql::ast::RelationKind::Query(_) => None,
        };
        let mut comments = Vec::with_capacity(count);
        for item in &query.items {
            match item {
                Item::Expr { comment, .. } => comments.push(comment.clone()),
                Item::All { .. } => {
                    let of = read.iter().flat_map(|read| &read.columns);
                    comments.extend(of.map(|column| column.comment.clone()));
                }
            }
        }
        comments.resize(count, None);
        comments
    }
}
