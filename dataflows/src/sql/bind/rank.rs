//! Places: window functions, LIMIT, and which of the places a filter bounds.

use super::binder::Binder;
use super::calls::WINDOW;
use super::relation::{Base, Ranked, Relation};
use super::select::BoundItem;
use super::value::{Context, WindowCall};
use crate::sql::ast::{ExprKind, Limit, Query};
use crate::sql::diagnostic::{Fault, Position};
use crate::sql::plan::{CompareOp, ExprId, Keep, Node, NodeId, Order, Output, Place, PlaceKind, Scalar};
use crate::sql::types::{Facts, MOST_ROWS, Ty};
use hashbrown::HashMap;

impl<'a> Binder<'a> {
    /// The relation with the places of its window functions behind its columns; `items` are told where they stand.
    pub(super) fn ranked(
        &mut self,
        relation: Relation,
        windows: &[WindowCall],
        items: &mut [BoundItem],
    ) -> Option<Relation> {
        let first = &windows[0];
        let (relation, node) = self.settled(relation, first)?;
        let mut order: &[Order] = &[];
        for window in windows {
            if window.partition != first.partition {
                let fault = Fault::new(
                    window.position,
                    "window functions of one SELECT share their PARTITION BY",
                );
                return self.refuse(fault.hint("the other one in a query around"));
            }
            let (short, long) = if window.order.len() > order.len() {
                (order, window.order.as_slice())
            } else {
                (window.order.as_slice(), order)
            };
            if !long.starts_with(short) {
                let message = "window functions of one SELECT share their ORDER BY, or the first terms of it";
                return self.refuse(Fault::new(window.position, message).hint("the other one in a query around"));
            }
            order = long;
        }
        let mut places = Vec::new();
        let mut columns = Vec::with_capacity(windows.len());
        let base_columns = self.plan.outputs(node).len();
        for window in windows {
            let place = Place {
                kind: window.kind,
                terms: window.order.len(),
            };
            if window.kind == PlaceKind::RowNumber && window.order.len() < order.len() {
                let message = "row_number() has fewer ORDER BY terms than another window function beside it";
                return self.refuse(Fault::new(window.position, message).hint("the same terms, or a query around"));
            }
            let at = places.iter().position(|known| *known == place).unwrap_or_else(|| {
                places.push(place);
                places.len() - 1
            });
            columns.push(self.plan.add(Scalar::Column((base_columns + at) as u16), Ty::Int8));
        }
        let ranked = self.make_ranked(relation, node, first, order.to_vec(), places)?;
        for item in items {
            let (new, parts) = self.plan.rewrite(item.e, &mut |_, scalar| match scalar {
                Scalar::Column(column) if *column >= WINDOW => Some(columns[usize::from(*column - WINDOW)]),
                _ => None,
            });
            item.e = new;
            for (old, new) in parts {
                if let Some(expr) = self.origin.get(&old) {
                    self.origin.insert(new, expr);
                }
            }
        }
        Some(ranked)
    }

    /// The relation as a node, so that places stand behind its columns.
    fn settled(&mut self, relation: Relation, window: &WindowCall) -> Option<(Relation, NodeId)> {
        if relation.base.is_posts() {
            let message = format!("{} over rows that are not grouped is not accepted", window.written);
            return self.refuse(Fault::new(window.position, message).hint("GROUP BY what is ranked, in a subquery"));
        }
        let node = self.node(&relation)?;
        let settled = Relation {
            base: Base::Node(node),
            filter: Vec::new(),
            ..relation
        };
        Some((settled, node))
    }

    fn make_ranked(
        &mut self,
        relation: Relation,
        input: NodeId,
        window: &WindowCall,
        order: Vec<Order>,
        places: Vec<Place>,
    ) -> Option<Relation> {
        for e in window.partition.iter().copied().chain(order.iter().map(|term| term.by)) {
            let facts = self.proved(&relation.base, &relation.filter, e, window.position)?;
            let ordered = order.iter().any(|term| term.by == e);
            if ordered && self.plan.ty(e) == Ty::Text && !facts.ordered {
                let at = self.origin.get(&e).map_or(window.position, |expr| expr.position);
                let shown = self.shown(e);
                let message = format!("the order of {shown} depends on the database's collation");
                return self
                    .refuse(Fault::new(at, message).hint(format!("ORDER BY {} COLLATE \"C\"", self.operand(e))));
            }
        }
        let numbered = places.iter().any(|place| place.kind == PlaceKind::RowNumber);
        let plain = |e: ExprId| match self.plan.scalar(e) {
            Scalar::CollateC(inner) => *inner,
            _ => e,
        };
        let mut told = window
            .partition
            .iter()
            .copied()
            .chain(order.iter().map(|term| plain(term.by)));
        let told: Vec<_> = told.by_ref().collect();
        let missing: Vec<_> = relation.key.iter().filter(|e| !told.contains(e)).copied().collect();
        if numbered && !missing.is_empty() {
            let by: Vec<_> = order
                .iter()
                .map(|term| format!("{}{}", self.shown(term.by), if term.descending { " DESC" } else { "" }))
                .chain(missing.iter().map(|e| match self.plan.ty(*e) {
                    Ty::Text => format!("{} COLLATE \"C\"", self.operand(*e)),
                    _ => self.shown(*e),
                }))
                .collect();
            let message = format!("{} leaves ties in no order", window.written);
            let position = window.position;
            return self.refuse(Fault::new(position, message).hint(format!("ORDER BY {}", by.join(", "))));
        }
        Some(Relation {
            base: Base::Ranked(Box::new(Ranked {
                input,
                partition: window.partition.clone(),
                order,
                places,
                position: window.position,
                written: window.written.clone(),
            })),
            filter: Vec::new(),
            ..relation
        })
    }

    /// The ORDER BY of a LIMIT: names of items, their numbers, or expressions.
    pub(super) fn limit_order(
        &mut self,
        cx: &mut Context,
        query: &'a Query,
        items: &[BoundItem],
    ) -> Option<Vec<Order>> {
        let mut order = Some(Vec::new());
        for term in &query.order {
            let written = &term.expr;
            let by = match &written.kind {
                ExprKind::Number { negative, digits } => {
                    let place = digits.parse::<usize>().ok().and_then(|place| place.checked_sub(1));
                    match place.and_then(|place| items.get(place)).filter(|_| !negative) {
                        Some(item) => Some(item.e),
                        None => {
                            let message = format!("ORDER BY position {} is not in the select list", self.show(written));
                            self.refuse(Fault::new(written.position, message))
                        }
                    }
                }
                // an item's name goes before a column
                ExprKind::Column { relation: None, name } => match items.iter().find(|item| item.name == name.text) {
                    Some(item) => Some(item.e),
                    None => self.typed(cx, written),
                },
                ExprKind::Column { .. } => self.typed(cx, written),
                _ => self.typed(cx, written).and_then(|e| {
                    if self.is_constant(e) {
                        let fault = Fault::new(written.position, "ORDER BY a constant is not accepted");
                        self.refuse(fault.hint("the name or the number of an item of the select list"))
                    } else {
                        Some(e)
                    }
                }),
            };
            order = order.zip(by).map(|(mut order, by)| {
                order.push(Order {
                    by,
                    descending: term.descending,
                    nulls_first: term.nulls_first.unwrap_or(term.descending),
                });
                order
            });
        }
        order
    }

    fn is_constant(&self, e: ExprId) -> bool {
        self.plan.written(None, e, &mut HashMap::new()).constant
    }

    /// LIMIT n is `row_number() <= n`, WITH TIES `rank() <= n`.
    pub(super) fn limited(
        &mut self,
        relation: Relation,
        order: Vec<Order>,
        limit: &'a Limit,
        at: Position,
    ) -> Option<Relation> {
        let rows = match &limit.rows.kind {
            ExprKind::Number {
                negative: false,
                digits,
            } => digits.parse::<i64>().ok().filter(|rows| *rows > 0),
            ExprKind::Top => {
                let message = "LIMIT {top} keeps nothing where {top} is 0, which stands for all rows";
                let hint = "row_number() OVER (ORDER BY …) AS place, and WHERE {top} = 0 OR place <= {top} around it";
                return self.refuse(Fault::new(limit.rows.position, message).hint(hint));
            }
            _ => None,
        };
        let Some(rows) = rows else {
            return self.refuse(Fault::new(
                limit.rows.position,
                "LIMIT takes a number of rows from 1 on",
            ));
        };
        if order.is_empty() {
            let fault = Fault::new(limit.rows.position, "LIMIT without ORDER BY keeps any rows");
            return self.refuse(fault.hint("ORDER BY … before it"));
        }
        let place = Place {
            kind: if limit.with_ties {
                PlaceKind::Rank
            } else {
                PlaceKind::RowNumber
            },
            terms: order.len(),
        };
        let window = WindowCall {
            kind: place.kind,
            partition: Vec::new(),
            order: Vec::new(),
            position: at,
            written: "LIMIT".to_owned(),
        };
        let (relation, node) = self.settled(relation, &window)?;
        let column = self.plan.outputs(node).len();
        let mut relation = self.make_ranked(relation, node, &window, order, vec![place])?;
        let place = self.plan.add(Scalar::Column(column as u16), Ty::Int8);
        let rows = self.plan.add(Scalar::Int(rows), Ty::Int8);
        let bound = self
            .plan
            .add(Scalar::Compare(CompareOp::LessOrEqual, place, rows), Ty::Bool);
        relation.filter.push(bound);
        Some(relation)
    }

    /// The node of a rank, and what is left of the filter above it.
    pub(super) fn rank_node(&mut self, ranked: &Ranked, filter: &[ExprId]) -> Option<(NodeId, Vec<ExprId>)> {
        let columns = self.plan.outputs(ranked.input).len();
        let mut keep = None;
        let mut rest = Vec::with_capacity(filter.len());
        for term in filter {
            self.bounded_with_top(*term, columns)?;
            match self.bound_of(*term, columns) {
                Some(bound) if keep.is_none() => {
                    keep = Some(bound.keep);
                    if !bound.exact {
                        rest.push(*term);
                    }
                }
                _ => rest.push(*term),
            }
        }
        let Some(keep) = keep else {
            let message = format!(
                "{} without a bound: one record may change every row below it",
                ranked.written
            );
            let name = ranked.written.trim_end_matches("()");
            return self.refuse(Fault::new(ranked.position, message).hint(format!("WHERE {name} <= 10 around it")));
        };
        let mut outputs = self.plan.outputs(ranked.input).to_vec();
        for place in 0..ranked.places.len() {
            let most = match &keep {
                Keep::Within(bounds) => match bounds.as_slice() {
                    [(bounded, most)] if *bounded == place => i128::from(*most),
                    _ => MOST_ROWS as i128,
                },
                Keep::All => MOST_ROWS as i128,
            };
            // the rank itself gives no other places, whatever filters come above
            let facts = Facts::range(1, most.min(MOST_ROWS as i128));
            outputs.push(Output {
                ty: Ty::Int8,
                facts,
                unfiltered: Some(Facts::range(1, MOST_ROWS as i128)),
            });
        }
        let node = Node::Rank {
            input: ranked.input,
            partition: ranked.partition.clone(),
            order: ranked.order.clone(),
            places: ranked.places.clone(),
            keep,
        };
        Some((self.plan.add_node(node, outputs), rest))
    }
}
