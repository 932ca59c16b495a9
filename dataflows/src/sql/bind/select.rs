//! One SELECT: its clauses in the order in which they are computed.

use super::binder::Binder;
use super::expr::MOST_PARTS;
use super::relation::{Base, Relation, RelationColumn, Scope, What};
use super::value::{Clause, Context};
use crate::sql::ast::{Expr, ExprKind, Item, Name, Query};
use crate::sql::diagnostic::{Fault, Position};
use crate::sql::plan::{ExprId, Scalar};
use hashbrown::HashMap;

/// The most columns of a relation.
const MOST_COLUMNS: usize = 200;

/// A select item, bound.
#[derive(Clone, Debug)]
pub(super) struct BoundItem {
    pub name: String,
    pub e: ExprId,
    pub position: Position,
}

impl<'a> Binder<'a> {
    pub(super) fn select(&mut self, query: &'a Query) -> Option<Relation> {
        let faults = self.faults.len();
        let mut scope = self.from(query)?;
        // those of the queries below are bound
        self.written_keys.clear();
        if let Some(filter) = &query.filter {
            let condition = self.condition(&mut Context::new(&scope, Clause::Where), filter);
            if let Some(condition) = condition {
                self.restrict(&mut scope.relation, condition, filter.position);
            }
        }
        let keys = self.keys(&scope, query);
        let mut cx = Context::new(&scope, Clause::Item);
        let items = self.items(&mut cx, query);
        cx.clause = Clause::Having;
        let having = query
            .having
            .as_ref()
            .map(|having| self.condition(&mut cx, having).map(|e| (e, having.position)));
        cx.clause = Clause::Order;
        let order = match (&query.limit, &items) {
            (_, None) => None,
            (Some(_), Some(items)) => self.limit_order(&mut cx, query, items),
            (None, Some(items)) => {
                self.ignored_order(&cx, query, items, keys.as_deref().unwrap_or_default());
                Some(Vec::new())
            }
        };
        let (aggregates, windows) = (cx.aggregates, cx.windows);
        // what follows stands on all of the clauses
        if self.faults.len() > faults {
            return None;
        }
        let (keys, mut items, mut order) = (keys?, items?, order?);
        let mut relation = scope.relation;
        let mut windows = windows;
        let placed = windows
            .iter()
            .flat_map(|window| window.partition.iter().chain(window.order.iter().map(|term| &term.by)));
        let parts = keys
            .iter()
            .map(|(e, _)| e)
            .chain(items.iter().map(|item| &item.e))
            .chain(order.iter().map(|term| &term.by))
            .chain(having.iter().flatten().map(|(e, _)| e))
            .chain(
                aggregates
                    .iter()
                    .flat_map(|call| call.agg.args.iter().chain(&call.agg.filter)),
            )
            .chain(placed);
        if self.parts(&relation, parts) > MOST_PARTS {
            return self.too_large(query.position);
        }
        if !keys.is_empty() || !aggregates.is_empty() || having.is_some() {
            if keys.is_empty() {
                let fault = Fault::new(query.position, "a table without GROUP BY columns has no primary key");
                return self.refuse(fault.hint("SELECT 'all' AS scope, count(*) … GROUP BY 1"));
            }
            let fold = self.fold(&relation, &keys, &aggregates)?;
            for item in &mut items {
                item.e = self.over_fold(&fold, item.e, item.position)?;
            }
            for window in &mut windows {
                for e in &mut window.partition {
                    *e = self.over_fold(&fold, *e, window.position)?;
                }
                for term in &mut window.order {
                    term.by = self.over_fold(&fold, term.by, window.position)?;
                }
            }
            for term in &mut order {
                term.by = self.over_fold(&fold, term.by, query.position)?;
            }
            relation = fold.relation.clone();
            if let Some(Some((condition, at))) = having {
                let condition = self.over_fold(&fold, condition, at)?;
                self.restrict(&mut relation, condition, at);
            }
        }
        if !windows.is_empty() {
            if query.distinct {
                let fault = Fault::new(query.position, "DISTINCT over window functions is not accepted");
                return self.refuse(fault.hint("a subquery for one of them"));
            }
            relation = self.ranked(relation, &windows, &mut items)?;
        }
        for item in &items {
            self.proved(&relation.base, &relation.filter, item.e, item.position);
        }
        let columns = items.iter().map(|item| RelationColumn {
            name: item.name.clone(),
            what: What::Expr(item.e),
        });
        relation.columns = columns.collect();
        if self.faults.len() > faults {
            return None;
        }
        if query.distinct {
            if query.limit.is_some() {
                let fault = Fault::new(query.position, "DISTINCT with LIMIT is not accepted");
                return self.refuse(fault.hint("a subquery for one of them"));
            }
            relation = self.distinct(&relation, &items)?;
        }
        if let Some(limit) = &query.limit {
            relation = self.limited(relation, order, limit, query.position)?;
        }
        (self.faults.len() == faults).then_some(relation)
    }

    /// How many operands and operators a query over `relation` has in PostgreSQL, with what stands below it.
    fn parts<'e>(&self, relation: &'e Relation, exprs: impl Iterator<Item = &'e ExprId>) -> u64 {
        let node = match &relation.base {
            Base::Posts(_) => None,
            Base::Node(node) => Some(*node),
            Base::Ranked(ranked) => Some(ranked.input),
        };
        let mut known = HashMap::new();
        let below = node.map_or(0, |node| self.plan.written_size(node));
        relation.filter.iter().chain(exprs).fold(below, |size, e| {
            size.saturating_add(self.plan.written(node, *e, &mut known).size)
        })
    }

    /// The ORDER BY of a query without LIMIT has no effect, but it has to be one.
    fn ignored_order(&mut self, cx: &Context, query: &'a Query, items: &[BoundItem], keys: &[(ExprId, Position)]) {
        let Some(first) = query.order.first() else { return };
        let mut own = Context::new(cx.scope, Clause::Order);
        let Some(order) = self.limit_order(&mut own, query, items) else {
            return;
        };
        let keys: Vec<_> = keys.iter().map(|(e, _)| *e).collect();
        let grouped = !keys.is_empty() || !cx.aggregates.is_empty() || query.having.is_some();
        for (term, written) in order.iter().zip(&query.order) {
            let at = written.expr.position;
            if query.distinct && items.iter().all(|item| item.e != term.by) {
                let fault = Fault::new(at, "ORDER BY of SELECT DISTINCT takes what is selected");
                self.faults.push(fault.hint("the name of an item of the select list"));
            } else if grouped || !own.aggregates.is_empty() {
                self.grouped(&keys, term.by, at);
            }
        }
        if !grouped && !own.aggregates.is_empty() {
            let fault = Fault::new(
                first.expr.position,
                "ORDER BY has an aggregate, and the rows are not grouped",
            );
            self.faults.push(fault.hint("GROUP BY"));
        }
        let note = Fault::new(first.expr.position, "a table has no order: ORDER BY is ignored");
        self.notes.push(note.hint("ORDER BY where you read"));
    }

    /// Adds the terms of a condition to a relation's filter, each proved without the others.
    pub(super) fn restrict(&mut self, relation: &mut Relation, condition: ExprId, at: Position) {
        let mut todo = vec![condition];
        while let Some(term) = todo.pop() {
            if let Scalar::And(terms) = self.plan.scalar(term) {
                todo.extend(terms.iter().rev());
                continue;
            }
            self.proved_unfiltered(&relation.base, term, at);
            if !relation.filter.contains(&term) {
                relation.filter.push(term);
            }
        }
    }

    /// GROUP BY: numbers of items, columns, names of items, expressions.
    fn keys(&mut self, scope: &Scope, query: &'a Query) -> Option<Vec<(ExprId, Position)>> {
        let mut keys = Some(Vec::new());
        for written in &query.group {
            let expr = self.key(scope, query, written);
            let key = expr.and_then(|expr| {
                let e = self.typed(&mut Context::new(scope, Clause::Key), expr)?;
                self.written_keys.push((e, self.compared(expr)));
                Some((e, expr.position))
            });
            keys = keys.zip(key).map(|(mut keys, (e, at))| {
                if keys.iter().all(|(known, _)| *known != e) {
                    keys.push((e, at));
                }
                keys
            });
        }
        keys
    }

    fn key(&mut self, scope: &Scope, query: &'a Query, written: &'a Expr) -> Option<&'a Expr> {
        let at = written.position;
        match &written.kind {
            ExprKind::Number { negative, digits } => {
                let place = digits.parse::<usize>().ok().filter(|place| !negative && *place > 0);
                match place.and_then(|place| query.items.get(place - 1)) {
                    Some(Item::Expr { expr, .. }) => Some(expr),
                    _ => self.refuse(Fault::new(
                        at,
                        format!("GROUP BY position {digits} is not in the select list"),
                    )),
                }
            }
            ExprKind::Text(_) | ExprKind::Bool(_) | ExprKind::Null | ExprKind::Top => {
                let fault = Fault::new(at, "GROUP BY a constant is not accepted");
                self.refuse(fault.hint("the number of an item of the select list"))
            }
            // a column goes before an item of the same name
            ExprKind::Column { relation: None, name } if self.resolve(scope, None, name).is_err() => {
                match named(query, name) {
                    Some(expr) => Some(expr),
                    None => Some(written),
                }
            }
            _ => Some(written),
        }
    }

    fn items(&mut self, cx: &mut Context, query: &'a Query) -> Option<Vec<BoundItem>> {
        let mut items: Option<Vec<BoundItem>> = Some(Vec::new());
        for item in &query.items {
            let more = match item {
                Item::All { position, of } => self.all(cx.scope, *position, of.as_ref()),
                Item::Expr { expr, alias, .. } => {
                    let e = self.typed(cx, expr);
                    let name = self.item_name(expr, alias.as_ref());
                    e.zip(name).map(|(e, name)| {
                        vec![BoundItem {
                            name,
                            e,
                            position: expr.position,
                        }]
                    })
                }
            };
            items = items.zip(more).map(|(mut items, more)| {
                items.extend(more);
                items
            });
        }
        let items = items?;
        if items.len() > MOST_COLUMNS {
            return self.refuse(Fault::new(query.position, format!("more than {MOST_COLUMNS} columns")));
        }
        for (place, item) in items.iter().enumerate() {
            if items[..place].iter().any(|before| before.name == item.name) {
                let message = format!("two columns are named {}", item.name);
                return self.refuse(Fault::new(item.position, message).hint("AS another name"));
            }
        }
        Some(items)
    }

    fn all(&mut self, scope: &Scope, position: Position, of: Option<&Name>) -> Option<Vec<BoundItem>> {
        if !scope.starred {
            let fault = Fault::new(position, "* of a kind is not accepted: it may gain columns");
            return self.refuse(fault.hint("the names of the columns"));
        }
        if let Some(of) = of.filter(|of| scope.parts.iter().all(|(part, _)| *part != of.text)) {
            return self.refuse(Fault::new(
                of.position,
                format!("table {} is not in this FROM", of.text),
            ));
        }
        let columns = scope.relation.columns.iter().filter_map(|column| match column.what {
            What::Expr(e) => Some(BoundItem {
                name: column.name.clone(),
                e,
                position,
            }),
            What::Array(..) => None,
        });
        Some(columns.collect())
    }

    /// A column keeps its name; whatever else is selected is given one.
    fn item_name(&mut self, expr: &Expr, alias: Option<&Name>) -> Option<String> {
        let name = match (&expr.kind, alias) {
            (_, Some(alias)) => alias,
            (ExprKind::Column { name, .. }, None) => name,
            _ => {
                let fault = Fault::new(expr.position, format!("{} has no name", self.show(expr)));
                return self.refuse(fault.hint("… AS name"));
            }
        };
        let plain =
            |at: usize, byte: u8| byte == b'_' || byte.is_ascii_lowercase() || (at > 0 && byte.is_ascii_digit());
        if !name.text.bytes().enumerate().all(|(at, byte)| plain(at, byte)) {
            let message = format!(
                "the column name {} has other characters than a to z, 0 to 9 and _",
                name.text
            );
            return self.refuse(Fault::new(name.position, message));
        }
        if SYSTEM.contains(&name.text.as_str()) {
            return self.refuse(Fault::new(
                name.position,
                format!("{} is a column of every table", name.text),
            ));
        }
        Some(name.text.clone())
    }
}

/// Columns that PostgreSQL gives to every table.
const SYSTEM: [&str; 7] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid", "oid"];

/// The item that has this name by AS.
fn named<'a>(query: &'a Query, name: &Name) -> Option<&'a Expr> {
    query.items.iter().find_map(|item| match item {
        Item::Expr {
            expr,
            alias: Some(alias),
            ..
        } if alias.text == name.text => Some(expr),
        _ => None,
    })
}

impl Base {
    /// Whether rows are those of posts.
    pub(super) fn is_posts(&self) -> bool {
        matches!(self, Base::Posts(_))
    }
}
