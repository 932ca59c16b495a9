//! What to say of an expression that may fail.

use super::binder::Binder;
use super::relation::Base;
use crate::sql::ast::{Call, Expr, ExprKind};
use crate::sql::diagnostic::{Fault, Position};
use crate::sql::plan::{Arith, ExprId, Scalar};
use crate::sql::print::{Form, Printer};
use crate::sql::prove::{Doubt, Over, Prover, Reason, Truth};
use crate::sql::types::{Facts, Ty};
use std::collections::BTreeMap;

/// The longest piece of a file that a message repeats, in characters.
const LONGEST_SHOWN: usize = 80;

impl<'a> Binder<'a> {
    /// What is known over a relation's base, with a filter or, for `unfiltered`, without any filter's help.
    pub(super) fn prover<'b>(&'b self, base: &'b Base, filter: &[ExprId], unfiltered: bool) -> Prover<'b> {
        let over = match base {
            Base::Posts(join) => Over::Posts(join),
            Base::Node(node) => Over::Node(*node),
            Base::Ranked(ranked) => Over::Ranked(ranked.input),
        };
        let mut prover = Prover::new(self.plan, self.schema, over, unfiltered);
        if !unfiltered {
            let below = match over {
                Over::Posts(_) => Vec::new(),
                Over::Node(node) | Over::Ranked(node) => self.plan.filters(node),
            };
            below
                .iter()
                .chain(filter)
                .for_each(|condition| prover.assume(*condition, Truth::True));
        }
        prover
    }

    /// What is known of `e`, or a fault if it may fail.
    pub(super) fn proved(&mut self, base: &Base, filter: &[ExprId], e: ExprId, at: Position) -> Option<Facts> {
        let proved = self.prover(base, filter, false).prove(e);
        proved.map_err(|doubt| self.doubt(doubt, at)).ok()
    }

    /// What is known of `e` without any filter's help; `None` where it may fail. Beyond the limit of steps that is not
    /// known, which is a fault.
    pub(super) fn unfiltered(&mut self, base: &Base, e: ExprId, at: Position) -> Option<Facts> {
        match self.prover(base, &[], true).prove(e) {
            Err(doubt) if doubt.reason == Reason::Large => {
                self.doubt(doubt, at);
                None
            }
            proved => proved.ok(),
        }
    }

    /// What is known of a term of a filter, or a fault if it may fail.
    pub(super) fn proved_unfiltered(&mut self, base: &Base, e: ExprId, at: Position) -> Option<Facts> {
        let proved = self.prover(base, &[], true).prove(e);
        proved.map_err(|doubt| self.doubt(doubt, at)).ok()
    }

    pub(super) fn doubt(&mut self, doubt: Doubt, near: Position) {
        let at = self.origin.get(&doubt.expr).map_or(near, |expr| expr.position);
        let whole = self.shown(doubt.expr);
        let fault = match doubt.reason {
            Reason::Range(ty) => {
                let message = format!("{whole} can exceed {ty}, and one such record would stop every commit");
                let wider = if ty == Ty::Int4 { "bigint" } else { "numeric" };
                let hint = match self.plan.scalar(doubt.expr).clone() {
                    Scalar::Arith(op, left, right) => {
                        format!("{}::{wider} {} {}", self.operand(left), op.sign(), self.operand(right))
                    }
                    Scalar::Abs(e) => format!("abs({}::{wider})", self.operand(e)),
                    Scalar::Negate(e) => format!("-({}::{wider})", self.operand(e)),
                    Scalar::Cast(e) => format!("without the cast, or a filter that bounds {}", self.shown(e)),
                    _ => "a wider type".to_owned(),
                };
                Fault::new(at, message).hint(hint)
            }
            Reason::Zero(divisor) => {
                if matches!(
                    self.plan.scalar(divisor),
                    Scalar::Int(0) | Scalar::Numeric { unscaled: 0, .. }
                ) {
                    self.faults.push(Fault::new(at, "division by 0"));
                    return;
                }
                let message = format!("division by {}, which can be 0", self.shown(divisor));
                let hint = match self.plan.scalar(doubt.expr).clone() {
                    Scalar::Arith(op, left, _) => {
                        let sign = if op == Arith::Divide { "/" } else { "%" };
                        format!("{} {sign} nullif({}, 0)", self.operand(left), self.shown(divisor))
                    }
                    _ => format!("nullif({}, 0)", self.shown(divisor)),
                };
                Fault::new(at, message).hint(hint)
            }
            Reason::Digits => Fault::new(at, format!("{whole} can have more than 36 digits"))
                .hint("round(e, 2) of its parts, or WHERE … BETWEEN … AND …"),
            Reason::Collation(e) => {
                let shown = self.operand(e);
                let hint = match self.plan.scalar(doubt.expr) {
                    Scalar::Lower(_) => format!("lower({shown} COLLATE \"C\")"),
                    Scalar::Upper(_) => format!("upper({shown} COLLATE \"C\")"),
                    _ => format!("{shown} COLLATE \"C\""),
                };
                Fault::new(at, format!("{whole} depends on the database's collation")).hint(hint)
            }
            Reason::Wide(e) => {
                let at = self.origin.get(&e).map_or(at, |expr| expr.position);
                self.wide(e, at)
            }
            Reason::Kinds => {
                let message = format!("{whole} needs wide text, which is not kept, together with another kind");
                Fault::new(at, message).hint("left(e, 40) of the wide text")
            }
            Reason::Long => Fault::new(at, format!("{whole} can be longer than any text in PostgreSQL"))
                .hint("left(e, 40) of its parts"),
            Reason::Filter => {
                let message =
                    "this column cannot fail only behind its own WHERE, and PostgreSQL may compute this filter first";
                Fault::new(near, message).hint("nullif(…, 0), or a CASE, inside the column")
            }
            Reason::Large => {
                Fault::new(at, format!("{whole} takes too many steps to check")).hint("fewer CASE within CASE")
            }
        };
        self.faults.push(fault);
    }

    pub(super) fn wide(&self, e: ExprId, at: Position) -> Fault {
        let shown = self.shown(e);
        Fault::new(at, format!("{shown} is wide text, which is not kept")).hint(format!("left({shown}, 40)"))
    }

    /// How an expression was written.
    pub(super) fn shown(&self, e: ExprId) -> String {
        match (self.origin.get(&e), self.plan.scalar(e)) {
            (Some(expr), _) => self.show(expr),
            (None, Scalar::Cast(inner) | Scalar::CollateC(inner)) => self.shown(*inner),
            (None, Scalar::Int(value)) => value.to_string(),
            _ => "this".to_owned(),
        }
    }

    /// The same as an operand of any operator.
    pub(super) fn operand(&self, e: ExprId) -> String {
        match self.origin.get(&e) {
            Some(expr) => self.show_operand(expr),
            None => self.shown(e),
        }
    }

    pub(super) fn show_operand(&self, expr: &Expr) -> String {
        let shown = self.show(expr);
        let simple = matches!(
            expr.kind,
            ExprKind::Column { .. }
                | ExprKind::Element(..)
                | ExprKind::Call(_)
                | ExprKind::Cast(..)
                | ExprKind::Extract(..)
                | ExprKind::Text(_)
                | ExprKind::Typed(..)
                | ExprKind::Top
                | ExprKind::Number { negative: false, .. }
        );
        if simple { shown } else { format!("({shown})") }
    }

    /// The text of an expression to be compared with that of another.
    pub(super) fn compared(&self, expr: &Expr) -> String {
        let printer = Printer {
            form: Form::Compared,
            results: &BTreeMap::new(),
        };
        printer.expression(expr)
    }

    pub(super) fn show(&self, expr: &Expr) -> String {
        let printer = Printer {
            form: Form::Message,
            results: &BTreeMap::new(),
        };
        let text = printer.expression(expr);
        let text = match &expr.kind {
            // the outermost parentheses are the printer's own
            ExprKind::Call(_) | ExprKind::Cast(..) | ExprKind::Element(..) => text,
            _ => match text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
                Some(inner) => inner.to_owned(),
                None => text,
            },
        };
        match text.char_indices().nth(LONGEST_SHOWN) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }

    pub(super) fn show_call(&self, call: &Call) -> String {
        self.show(&Expr {
            position: Position::default(),
            kind: ExprKind::Call(Box::new(call.clone())),
        })
    }
}
