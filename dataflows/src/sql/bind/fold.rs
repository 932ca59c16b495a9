//! Groups: GROUP BY, DISTINCT and aggregates.

use super::binder::Binder;
use super::calls::{AGGREGATE, WINDOW};
use super::relation::{Base, Relation, RelationColumn, What};
use super::select::BoundItem;
use super::value::AggregateCall;
use crate::sql::diagnostic::{Fault, Position};
use crate::sql::plan::{Agg, AggKind, ExprId, Node, NodeId, Output, Scalar};
use crate::sql::prove::{quotient, total_of};
use crate::sql::types::{Facts, LONGEST_KEPT, MOST_ROWS, Ty};
use hashbrown::HashSet;

/// A fold that was made.
pub(super) struct Fold {
    /// Its rows; no columns are named yet.
    pub relation: Relation,
    /// The keys over what was grouped, and the columns that they became.
    keys: Vec<(ExprId, ExprId)>,
    /// The columns of the aggregates.
    aggregates: Vec<ExprId>,
}

impl Binder<'_> {
    pub(super) fn fold(
        &mut self,
        relation: &Relation,
        keys: &[(ExprId, Position)],
        aggregates: &[AggregateCall],
    ) -> Option<Fold> {
        let faults = self.faults.len();
        // what is known is a function of the node that is read, whatever subquery or result it was written in
        let relation = &match relation.base {
            Base::Posts(_) => relation.clone(),
            _ => Relation {
                base: Base::Node(self.node(relation)?),
                filter: Vec::new(),
                ..relation.clone()
            },
        };
        let mut outputs = Vec::with_capacity(keys.len() + aggregates.len());
        for (e, at) in keys {
            let Some(facts) = self.proved(&relation.base, &relation.filter, *e, *at) else {
                continue;
            };
            let ty = self.plan.ty(*e);
            self.kept(*e, ty, &facts, *at, "a group");
            if ty == Ty::Float8 {
                let fault = Fault::new(
                    *at,
                    format!("{} is double precision, by which rows are not grouped", self.shown(*e)),
                );
                self.faults.push(fault.hint("a CASE over it"));
            }
            let unfiltered = self.unfiltered(&relation.base, *e, *at);
            outputs.push(Output { ty, facts, unfiltered });
        }
        let mut bound = Vec::with_capacity(aggregates.len());
        for call in aggregates {
            if let Some((agg, facts)) = self.aggregate_facts(relation, call) {
                bound.push(agg);
                outputs.push(Output {
                    ty: call.ty,
                    facts,
                    // no filter is moved below the aggregate that it reads
                    unfiltered: Some(facts),
                });
            }
        }
        if self.faults.len() > faults {
            return None;
        }
        let node = Node::Fold {
            input: self.input(relation)?,
            key: keys.iter().map(|(e, _)| *e).collect(),
            aggregates: bound,
        };
        let columns: Vec<_> = outputs
            .iter()
            .enumerate()
            .map(|(place, output)| self.plan.add(Scalar::Column(place as u16), output.ty))
            .collect();
        let node = self.plan.add_node(node, outputs);
        let (key, rest) = columns.split_at(keys.len());
        for ((e, _), column) in keys.iter().zip(key) {
            if let Some(expr) = self.origin.get(e) {
                self.origin.insert(*column, expr);
            }
        }
        Some(Fold {
            relation: Relation {
                base: Base::Node(node),
                filter: Vec::new(),
                columns: Vec::new(),
                key: key.to_vec(),
            },
            keys: keys.iter().map(|(e, _)| *e).zip(key.iter().copied()).collect(),
            aggregates: rest.to_vec(),
        })
    }

    /// SELECT DISTINCT: each row once.
    pub(super) fn distinct(&mut self, relation: &Relation, items: &[BoundItem]) -> Option<Relation> {
        let mut keys: Vec<(ExprId, Position)> = Vec::new();
        for item in items {
            if keys.iter().all(|(known, _)| *known != item.e) {
                keys.push((item.e, item.position));
            }
        }
        let fold = self.fold(relation, &keys, &[])?;
        let mut columns = Vec::with_capacity(items.len());
        for item in items {
            columns.push(RelationColumn {
                name: item.name.clone(),
                what: What::Expr(self.over_fold(&fold, item.e, item.position)?),
            });
        }
        Some(Relation {
            columns,
            ..fold.relation
        })
    }

    /// Refuses columns that are neither keys nor within an aggregate.
    pub(super) fn grouped(&mut self, keys: &[ExprId], e: ExprId, at: Position) -> Option<()> {
        let mut seen = HashSet::new();
        let mut todo = vec![e];
        while let Some(part) = todo.pop() {
            if keys.contains(&part) || !seen.insert(part) {
                continue;
            }
            match self.plan.scalar(part) {
                Scalar::Column(column) if *column >= AGGREGATE => {}
                Scalar::Column(_) | Scalar::Field { .. } | Scalar::Key => {
                    let at = self.origin.get(&part).map_or(at, |expr| expr.position);
                    let shown = self.shown(part);
                    let fault = Fault::new(at, format!("{shown} is neither in GROUP BY nor in an aggregate"));
                    return self.refuse(fault.hint(format!("GROUP BY {shown}, or max({shown})")));
                }
                scalar => todo.extend(scalar.arguments()),
            }
        }
        Some(())
    }

    /// An expression over what was grouped as one over the groups.
    pub(super) fn over_fold(&mut self, fold: &Fold, e: ExprId, at: Position) -> Option<ExprId> {
        let keys: Vec<_> = fold.keys.iter().map(|(key, _)| *key).collect();
        self.grouped(&keys, e, at)?;
        let (new, parts) = self.plan.rewrite(e, &mut |part, scalar| {
            // a constant inside of an expression stays one: a column would say less
            if (part == e || !scalar.is_literal())
                && let Some((_, column)) = fold.keys.iter().find(|(key, _)| *key == part)
            {
                return Some(*column);
            }
            match scalar {
                Scalar::Column(column) if *column >= WINDOW => Some(part),
                Scalar::Column(column) if *column >= AGGREGATE => {
                    Some(fold.aggregates[usize::from(*column - AGGREGATE)])
                }
                _ => None,
            }
        });
        for (old, new) in parts {
            if let Some(expr) = self.origin.get(&old) {
                self.origin.insert(new, expr);
            }
        }
        Some(new)
    }

    /// What a fold reads.
    fn input(&mut self, relation: &Relation) -> Option<NodeId> {
        match &relation.base {
            Base::Posts(join) => {
                let filter = self.all_of(&relation.filter);
                let join = join.clone();
                Some(self.plan.add_node(Node::Posts { join, filter }, Vec::new()))
            }
            _ => self.node(relation),
        }
    }

    /// A condition that holds where all do.
    pub(super) fn all_of(&mut self, terms: &[ExprId]) -> Option<ExprId> {
        match terms {
            [] => None,
            [one] => Some(*one),
            several => Some(self.plan.add(Scalar::And(several.to_vec()), Ty::Bool)),
        }
    }

    /// Refuses values that are not kept: wide text, long text, numerics whose equal values differ in their scale.
    fn kept(&mut self, e: ExprId, ty: Ty, facts: &Facts, at: Position, what: &str) {
        let fault = match (ty, facts.bytes) {
            (Ty::Text, None) => self.wide(e, at),
            (Ty::Text, Some(bytes)) if bytes > LONGEST_KEPT => {
                let shown = self.shown(e);
                let message = format!("{shown} can have {bytes} bytes, and {what} keeps at most {LONGEST_KEPT}");
                Fault::new(at, message).hint(format!("left({shown}, 128)"))
            }
            (Ty::Numeric, _) if facts.scale.0 != facts.scale.1 => {
                let shown = self.shown(e);
                let message =
                    format!("{shown} has no fixed number of decimals, and equal numbers would be shown differently");
                Fault::new(at, message).hint(format!("round({shown}, 2)"))
            }
            _ => return,
        };
        self.faults.push(fault);
    }

    /// The aggregate as it is computed, and what is known of its value.
    fn aggregate_facts(&mut self, relation: &Relation, call: &AggregateCall) -> Option<(Agg, Facts)> {
        let faults = self.faults.len();
        let mut agg = call.agg.clone();
        if let Some(filter) = agg.filter {
            self.proved(&relation.base, &relation.filter, filter, call.position);
        }
        let mut args = Vec::with_capacity(agg.args.len());
        for e in &agg.args {
            args.push(self.proved(&relation.base, &relation.filter, *e, call.position)?);
        }
        let some_left = agg.filter.is_none();
        let counted = |least: bool| Facts {
            total: MOST_ROWS,
            nonzero: least,
            ..Facts::range(i128::from(least), MOST_ROWS as i128)
        };
        let facts = match (agg.kind, args.as_slice()) {
            (AggKind::CountRows, _) => counted(some_left),
            (AggKind::Count, [arg]) => {
                if self.plan.ty(agg.args[0]) == Ty::Text && arg.bytes.is_none() {
                    // of wide text it is kept whether it is null
                    let null = self.plan.add(Scalar::IsNull(agg.args[0]), Ty::Bool);
                    let some = self.plan.add(Scalar::Not(null), Ty::Bool);
                    let terms: Vec<_> = agg.filter.into_iter().chain([some]).collect();
                    agg = Agg {
                        kind: AggKind::CountRows,
                        args: Vec::new(),
                        filter: self.all_of(&terms),
                    };
                }
                counted(some_left && !arg.nullable)
            }
            (AggKind::CountDistinct { row }, args) => {
                for (e, facts) in agg.args.clone().into_iter().zip(args) {
                    let ty = self.plan.ty(e);
                    if ty == Ty::Float8 {
                        let shown = self.shown(e);
                        let message = format!("{shown} is double precision, of which values are not counted");
                        self.faults
                            .push(Fault::new(call.position, message).hint("a CASE over it"));
                    }
                    // long text is kept once, and in no index; numerics count once, however they are shown
                    if ty == Ty::Text && facts.bytes.is_none() {
                        let fault = self.wide(e, call.position);
                        self.faults.push(fault);
                    }
                }
                counted(some_left && (row || !args[0].nullable))
            }
            (AggKind::BoolAnd | AggKind::BoolOr, [arg]) => Facts::range(0, 1).nullable(arg.nullable || !some_left),
            (AggKind::PercentileCont { .. }, [arg]) => Facts::of(Ty::Float8).nullable(arg.nullable || !some_left),
            (kind, [arg]) => {
                let e = agg.args[0];
                let ty = self.plan.ty(e);
                self.kept(e, ty, arg, call.position, &call.written);
                if ty == Ty::Text && !arg.ordered {
                    let message = format!("{} depends on the database's collation", call.written);
                    self.faults
                        .push(Fault::new(call.position, message).hint(format!("{} COLLATE \"C\"", self.operand(e))));
                }
                let facts = match kind {
                    AggKind::Sum => Some(total_of(arg, ty)),
                    AggKind::Avg => quotient(&total_of(arg, ty), &counted(true)).map(|avg| Facts {
                        low: arg.low,
                        high: arg.high,
                        total: arg.total.saturating_add(MOST_ROWS),
                        ..avg
                    }),
                    _ => Some(*arg),
                };
                let exact = facts.filter(|facts| call.ty != Ty::Numeric || facts.unscaled <= 10u128.pow(36));
                let Some(facts) = exact else {
                    let fault = Fault::new(call.position, format!("{} can have more than 36 digits", call.written));
                    return self.refuse(fault.hint("round(e, 2) inside, or WHERE … BETWEEN … AND …"));
                };
                facts.nullable(arg.nullable || !some_left)
            }
            (kind, args) => unreachable!("{kind:?} of {} arguments", args.len()),
        };
        (self.faults.len() == faults).then_some((agg, facts))
    }
}
