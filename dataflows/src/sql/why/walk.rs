//! The direct operands of an expression.

use crate::sql::ast::{Expr, ExprKind};

/// The operands of `expr`, in the order in which they are written.
pub(super) fn operands(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::Top
        | ExprKind::Null
        | ExprKind::Bool(_)
        | ExprKind::Number { .. }
        | ExprKind::Text(_)
        | ExprKind::Typed(..)
        | ExprKind::Column { .. } => Vec::new(),
        ExprKind::Element(e, _)
        | ExprKind::Not(e)
        | ExprKind::Negate(e)
        | ExprKind::Cast(e, _)
        | ExprKind::Extract(_, e)
        | ExprKind::Collate(e)
        | ExprKind::Is { expr: e, .. }
        | ExprKind::Like { expr: e, .. } => vec![e],
        ExprKind::And(parts) | ExprKind::Or(parts) | ExprKind::Row(parts) => parts.iter().collect(),
        ExprKind::Compare(_, a, b) | ExprKind::Arith(_, a, b) | ExprKind::Concat(a, b) => vec![a, b],
        ExprKind::Distinct { left, right, .. } => vec![left, right],
        ExprKind::In { expr, list, .. } => std::iter::once(&**expr).chain(list).collect(),
        ExprKind::Between { expr, low, high, .. } => vec![expr, low, high],
        ExprKind::Case {
            operand,
            branches,
            otherwise,
        } => {
            let branches = branches.iter().flat_map(|(when, then)| [when, then]);
            let ends = (operand.as_deref(), otherwise.as_deref());
            ends.0.into_iter().chain(branches).chain(ends.1).collect()
        }
        ExprKind::Call(call) => {
            let within = call.within.iter().map(|term| &term.expr);
            let over = call.over.iter().flat_map(|over| {
                let order = over.order.iter().map(|term| &term.expr);
                over.partition.iter().chain(order)
            });
            call.args.iter().chain(within).chain(&call.filter).chain(over).collect()
        }
    }
}
