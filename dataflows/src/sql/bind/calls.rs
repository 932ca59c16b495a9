//! Aggregates and window functions: what they are given.

use super::binder::Binder;
use super::functions::is_aggregate;
use super::value::{AggregateCall, Clause, Context, Value, WindowCall};
use crate::sql::ast::{Call, Expr, ExprKind, OrderTerm};
use crate::sql::diagnostic::{Fault, Position};
use crate::sql::plan::{Agg, AggKind, ExprId, Fraction, Order, PlaceKind, Scalar};
use crate::sql::types::Ty;

/// Columns from here on stand for aggregates, until the fold that computes them is made.
pub(super) const AGGREGATE: u16 = 1 << 14;
/// Columns from here on stand for window functions, until the rank that computes them is made.
pub(super) const WINDOW: u16 = 1 << 15;
/// How many of either a SELECT can have.
const MOST: usize = 32;

impl<'a> Binder<'a> {
    /// `None`: this is no aggregate.
    pub(super) fn aggregate(&mut self, cx: &mut Context, call: &'a Call, at: Position) -> Option<Option<Value<'a>>> {
        let name = call.name.as_str();
        if !is_aggregate(name) {
            return None;
        }
        Some(self.aggregate_inside(cx, call, at))
    }

    fn aggregate_inside(&mut self, cx: &mut Context, call: &'a Call, at: Position) -> Option<Value<'a>> {
        let name = call.name.as_str();
        if call.over.is_some() {
            let message = format!("{name}(…) OVER (…) changes every row of its partition with every record");
            return self.refuse(
                Fault::new(at, message).hint("keep the aggregate as a column here, and divide where you read"),
            );
        }
        let clause = match cx.clause {
            Clause::Item | Clause::Having | Clause::Order => None,
            Clause::Where => Some(("WHERE is computed before groups are made", "HAVING")),
            Clause::Key => Some(("GROUP BY makes the groups", "a subquery")),
            Clause::Argument => Some((
                "an aggregate of an aggregate has no groups",
                "a subquery with the inner one",
            )),
        };
        if let Some((why, hint)) = clause {
            return self.refuse(Fault::new(at, format!("{name} is an aggregate, and {why}")).hint(hint));
        }
        let mut inner = Context::new(cx.scope, Clause::Argument);
        let filter = match &call.filter {
            None => Some(None),
            Some(filter) => self.condition(&mut inner, filter).map(Some),
        };
        let made = self.kind_of(&mut inner, call, at);
        let (kind, args, ty) = made?;
        let agg = Agg {
            kind,
            args,
            filter: filter?,
        };
        let place = match cx.aggregates.iter().position(|known| known.agg == agg) {
            Some(place) => place,
            None => {
                if cx.aggregates.len() == MOST {
                    return self.refuse(Fault::new(at, format!("more than {MOST} aggregates in one SELECT")));
                }
                cx.aggregates.push(AggregateCall {
                    agg,
                    ty,
                    position: at,
                    written: self.show_call(call),
                });
                cx.aggregates.len() - 1
            }
        };
        Some(Value::Expr(self.plan.add(Scalar::Column(AGGREGATE + place as u16), ty)))
    }

    fn kind_of(&mut self, cx: &mut Context, call: &'a Call, at: Position) -> Option<(AggKind, Vec<ExprId>, Ty)> {
        let name = call.name.as_str();
        let ordered = matches!(name, "percentile_cont" | "percentile_disc" | "mode");
        if call.within.is_some() != ordered {
            let fault = Fault::new(at, format!("{name} is not written like this"));
            return self.refuse(match name {
                "mode" => fault.hint("mode() WITHIN GROUP (ORDER BY e)"),
                _ if ordered => fault.hint(format!("{name}(0.5) WITHIN GROUP (ORDER BY e)")),
                _ => fault.hint(format!("{name}(e)")),
            });
        }
        if call.distinct && name != "count" {
            let fault = Fault::new(at, format!("{name}(DISTINCT …) is not accepted"));
            return self.refuse(match name {
                "min" | "max" => fault.hint(format!("{name}(e), which is the same")),
                _ => fault.hint("a subquery with SELECT DISTINCT"),
            });
        }
        match (name, call.args.as_slice()) {
            ("count", []) if call.star && !call.distinct => Some((AggKind::CountRows, Vec::new(), Ty::Int8)),
            (_, _) if call.star => self.refuse(Fault::new(at, format!("{name}(*) is not accepted"))),
            ("count", [arg]) if call.distinct => {
                let (args, row) = match &arg.kind {
                    ExprKind::Row(parts) => (parts.as_slice(), true),
                    _ => (std::slice::from_ref(arg), false),
                };
                let mut bound = Some(Vec::with_capacity(args.len()));
                for arg in args {
                    let e = match self.value(cx, arg) {
                        // in a row PostgreSQL gives it no type, and fails on the second row that it compares
                        Some(_) if row && is_untyped(arg) => {
                            let fault = Fault::new(arg.position, "a literal has no type in a row of values");
                            self.refuse(fault.hint("without it: it is the same in every row"))
                        }
                        Some(Value::Literal(text)) => Some(self.text(text)),
                        Some(Value::Null) => Some(self.plan.add(Scalar::Null, Ty::Text)),
                        Some(Value::Expr(e)) => Some(e),
                        None => None,
                    };
                    bound = bound.zip(e).map(|(mut bound, e)| {
                        bound.push(e);
                        bound
                    });
                }
                Some((AggKind::CountDistinct { row }, bound?, Ty::Int8))
            }
            ("count", [arg]) => {
                let e = self.typed(cx, arg)?;
                Some((AggKind::Count, vec![e], Ty::Int8))
            }
            ("sum" | "avg", [arg]) => {
                let e = self.typed(cx, arg)?;
                let ty = match (name, self.plan.ty(e)) {
                    ("sum", Ty::Int4) => Ty::Int8,
                    (_, Ty::Int4 | Ty::Int8 | Ty::Numeric) => Ty::Numeric,
                    (_, Ty::Float8) => {
                        let message = format!(
                            "{name} of double precision depends on the order of the rows: PostgreSQL itself gives no \
                             exact answer"
                        );
                        return self.refuse(Fault::new(at, message).hint("percentile_cont(0.5), or a numeric column"));
                    }
                    (_, ty) => return self.wrong(call, arg, ty, "numbers"),
                };
                let kind = if name == "sum" { AggKind::Sum } else { AggKind::Avg };
                Some((kind, vec![e], ty))
            }
            ("min" | "max", [arg]) => {
                let e = self.typed(cx, arg)?;
                let ty = self.plan.ty(e);
                if ty == Ty::Bool {
                    let fault = Fault::new(at, format!("PostgreSQL has no {name} of boolean"));
                    return self.refuse(fault.hint(if name == "min" { "bool_and" } else { "bool_or" }));
                }
                let kind = if name == "min" { AggKind::Min } else { AggKind::Max };
                Some((kind, vec![e], ty))
            }
            ("bool_and" | "every" | "bool_or", [arg]) => {
                let e = self.condition(cx, arg)?;
                let kind = match name {
                    "bool_or" => AggKind::BoolOr,
                    _ => AggKind::BoolAnd,
                };
                Some((kind, vec![e], Ty::Bool))
            }
            ("mode", []) => {
                let term = call.within.as_ref()?;
                if term.descending || term.nulls_first.is_some() {
                    let fault = Fault::new(at, "mode takes the least of the most frequent values");
                    return self.refuse(fault.hint("ORDER BY e"));
                }
                let e = self.typed(cx, &term.expr)?;
                Some((AggKind::Mode, vec![e], self.plan.ty(e)))
            }
            ("percentile_cont" | "percentile_disc", [fraction]) => {
                let term = call.within.as_ref()?;
                let p = self.fraction(fraction);
                self.percentile(cx, name, p, term)
            }
            _ => {
                let count = call.args.len();
                self.refuse(Fault::new(at, format!("{name} does not take {count} arguments")))
            }
        }
    }

    fn percentile(
        &mut self,
        cx: &mut Context,
        name: &str,
        fraction: Option<Fraction>,
        term: &'a OrderTerm,
    ) -> Option<(AggKind, Vec<ExprId>, Ty)> {
        let e = self.typed(cx, &term.expr);
        let (fraction, e) = (fraction?, e?);
        let (descending, ty) = (term.descending, self.plan.ty(e));
        if name == "percentile_disc" {
            return Some((AggKind::PercentileDisc { fraction, descending }, vec![e], ty));
        }
        if !ty.is_number() {
            let fault = Fault::new(term.expr.position, format!("percentile_cont takes numbers, not {ty}"));
            return self.refuse(fault.hint("percentile_disc"));
        }
        let e = self.cast(e, Ty::Float8);
        Some((AggKind::PercentileCont { fraction, descending }, vec![e], Ty::Float8))
    }

    fn fraction(&mut self, expr: &'a Expr) -> Option<Fraction> {
        let fraction = match &expr.kind {
            ExprKind::Number {
                negative: false,
                digits,
            } => digits.parse().ok().and_then(Fraction::new),
            _ => None,
        };
        match fraction {
            Some(fraction) => Some(fraction),
            None => self.refuse(Fault::new(
                expr.position,
                "the fraction of a percentile must be a number literal from 0 to 1",
            )),
        }
    }

    fn wrong<T>(&mut self, call: &'a Call, arg: &'a Expr, ty: Ty, what: &str) -> Option<T> {
        let message = format!("{} takes {what}, and {} is {ty}", call.name, self.show(arg));
        self.refuse(Fault::new(arg.position, message))
    }

    /// `None`: this is no window function.
    pub(super) fn window_function(
        &mut self,
        cx: &mut Context,
        call: &'a Call,
        at: Position,
    ) -> Option<Option<Value<'a>>> {
        let kind = match call.name.as_str() {
            "rank" => PlaceKind::Rank,
            "dense_rank" => PlaceKind::DenseRank,
            "row_number" => PlaceKind::RowNumber,
            name => {
                let aggregate = is_aggregate(name);
                if call.over.is_none() || aggregate {
                    return None;
                }
                let fault = Fault::new(at, format!("{name}() OVER (…) is not accepted"));
                return Some(self.refuse(fault.hint("rank, dense_rank or row_number")));
            }
        };
        Some(self.window_inside(cx, call, kind, at))
    }

    fn window_inside(&mut self, cx: &mut Context, call: &'a Call, kind: PlaceKind, at: Position) -> Option<Value<'a>> {
        let name = call.name.as_str();
        let Some(over) = &call.over else {
            let fault = Fault::new(at, format!("{name}() has no window"));
            return self.refuse(fault.hint(format!("{name}() OVER (PARTITION BY … ORDER BY …)")));
        };
        let plain =
            call.args.is_empty() && !call.star && !call.distinct && call.within.is_none() && call.filter.is_none();
        if !plain {
            return self.refuse(Fault::new(at, format!("{name}() takes no arguments")));
        }
        if cx.clause != Clause::Item {
            let fault = Fault::new(at, format!("{name}() is computed for the select list alone"));
            return self.refuse(fault.hint("a query around it, with the place as a column"));
        }
        if over.order.is_empty() {
            let fault = Fault::new(at, format!("{name}() without ORDER BY leaves the rows in no order"));
            return self.refuse(fault.hint("OVER (PARTITION BY … ORDER BY …)"));
        }
        // aggregates in it are those of the SELECT
        let mut inner = Context {
            aggregates: std::mem::take(&mut cx.aggregates),
            ..Context::new(cx.scope, Clause::Order)
        };
        let partition: Vec<_> = over.partition.iter().map(|e| self.typed(&mut inner, e)).collect();
        let order: Vec<_> = over
            .order
            .iter()
            .map(|term| self.order_term(&mut inner, term))
            .collect();
        cx.aggregates = inner.aggregates;
        let window = WindowCall {
            kind,
            partition: partition.into_iter().collect::<Option<_>>()?,
            order: order.into_iter().collect::<Option<_>>()?,
            position: at,
            written: format!("{name}()"),
        };
        if cx.windows.len() == MOST {
            return self.refuse(Fault::new(
                at,
                format!("more than {MOST} window functions in one SELECT"),
            ));
        }
        cx.windows.push(window);
        let place = WINDOW + (cx.windows.len() - 1) as u16;
        Some(Value::Expr(self.plan.add(Scalar::Column(place), Ty::Int8)))
    }

    fn order_term(&mut self, cx: &mut Context, term: &'a OrderTerm) -> Option<Order> {
        let by = self.typed(cx, &term.expr)?;
        Some(Order {
            by,
            descending: term.descending,
            nulls_first: term.nulls_first.unwrap_or(term.descending),
        })
    }
}

/// Whether PostgreSQL has no type for it: COLLATE gives a literal none.
fn is_untyped(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Text(_) | ExprKind::Null => true,
        ExprKind::Collate(inner) => is_untyped(inner),
        _ => false,
    }
}
