//! Which places a filter bounds.

use super::binder::Binder;
use crate::sql::ast::{Expr, ExprKind};
use crate::sql::diagnostic::Fault;
use crate::sql::plan::{CompareOp, ExprId, Keep, Scalar};

/// What a term of a filter says of places.
pub(super) struct Bound {
    pub keep: Keep,
    /// Whether the term holds for all rows that are kept.
    pub exact: bool,
}

impl Binder<'_> {
    /// Refuses `place <= {top}` without an alternative for a `{top}` of 0, which stands for all rows: whether a file is
    /// accepted does not depend on the number.
    pub(super) fn bounded_with_top(&mut self, term: ExprId, columns: usize) -> Option<()> {
        let is_top = |e: &Expr| matches!(e.kind, ExprKind::Top);
        let mut todo = vec![term];
        let mut bound = None;
        while let Some(part) = todo.pop() {
            match self.plan.scalar(part) {
                Scalar::Or(parts) | Scalar::And(parts) => todo.extend(parts),
                Scalar::Compare(op, left, right) => {
                    let Some(written) = self.origin.get(&part) else {
                        continue;
                    };
                    let top = match &written.kind {
                        ExprKind::Compare(_, left, right) => is_top(left) || is_top(right),
                        ExprKind::Between { high, .. } => is_top(high),
                        _ => false,
                    };
                    let place = |e: ExprId| matches!(self.plan.scalar(e), Scalar::Column(column) if usize::from(*column) >= columns);
                    let op = match (place(*left), place(*right)) {
                        (true, false) => *op,
                        (false, true) => op.swapped(),
                        // {top} = 0
                        (false, false) if top && self.constant(part).is_some() => return Some(()),
                        _ => continue,
                    };
                    let upper = matches!(op, CompareOp::Less | CompareOp::LessOrEqual | CompareOp::Equal);
                    if top && upper {
                        bound = Some(*written);
                    }
                }
                _ => {}
            }
        }
        let Some(written) = bound else { return Some(()) };
        let fault = Fault::new(
            written.position,
            "a place bounded by {top} alone keeps nothing where {top} is 0, which stands for all rows",
        );
        let hint = format!("{{top}} = 0 OR {}", self.show(written));
        self.refuse(fault.hint(hint))
    }

    /// What a term says of places, if it bounds them: one of them in each of its alternatives.
    pub(super) fn bound_of(&self, term: ExprId, columns: usize) -> Option<Bound> {
        let mut bounds: Vec<(usize, u64)> = Vec::new();
        let mut exact = true;
        let mut alternatives = Vec::new();
        let mut todo = vec![term];
        while let Some(part) = todo.pop() {
            match self.plan.scalar(part) {
                Scalar::Or(parts) => todo.extend(parts),
                _ => alternatives.push(part),
            }
        }
        if alternatives.iter().any(|e| self.constant(*e) == Some(true)) {
            let all = Bound {
                keep: Keep::All,
                exact: true,
            };
            return (self.uses_top && self.top == 0).then_some(all);
        }
        for alternative in alternatives {
            if self.constant(alternative) == Some(false) {
                continue;
            }
            let (place, most, all) = self.place_bound(alternative, columns)?;
            exact &= all;
            match bounds.iter_mut().find(|(known, _)| *known == place) {
                Some((_, bound)) => *bound = most.max(*bound),
                None => bounds.push((place, most)),
            }
        }
        bounds.sort_unstable();
        let keep = Keep::Within(bounds);
        (keep != Keep::Within(Vec::new())).then_some(Bound { keep, exact })
    }

    /// `place <= n`, `place < n`, `place = n`, either way round: which place, the greatest kept, and whether all below
    /// it are.
    fn place_bound(&self, e: ExprId, columns: usize) -> Option<(usize, u64, bool)> {
        let Scalar::Compare(op, left, right) = self.plan.scalar(e) else {
            return None;
        };
        let place = |e: ExprId| match self.plan.scalar(e) {
            Scalar::Column(column) => usize::from(*column).checked_sub(columns),
            _ => None,
        };
        let number = |e: ExprId| match self.plan.scalar(e) {
            Scalar::Int(number) => Some(*number),
            _ => None,
        };
        let (op, place, number) = match (place(*left), number(*right), place(*right), number(*left)) {
            (Some(place), Some(number), ..) => (*op, place, number),
            (_, _, Some(place), Some(number)) => (op.swapped(), place, number),
            _ => return None,
        };
        let most = match op {
            CompareOp::LessOrEqual | CompareOp::Equal => number,
            CompareOp::Less => number.checked_sub(1)?,
            _ => return None,
        };
        let most = u64::try_from(most).ok().filter(|most| *most > 0)?;
        Some((place, most, op != CompareOp::Equal || most == 1))
    }

    /// The value of a comparison of two numbers that are written out.
    fn constant(&self, e: ExprId) -> Option<bool> {
        let number = |e: &ExprId| match self.plan.scalar(*e) {
            Scalar::Int(number) => Some(*number),
            _ => None,
        };
        match self.plan.scalar(e) {
            Scalar::Bool(value) => Some(*value),
            Scalar::Compare(op, left, right) => {
                let (left, right) = (number(left)?, number(right)?);
                Some(match op {
                    CompareOp::Equal => left == right,
                    CompareOp::NotEqual => left != right,
                    CompareOp::Less => left < right,
                    CompareOp::LessOrEqual => left <= right,
                    CompareOp::Greater => left > right,
                    CompareOp::GreaterOrEqual => left >= right,
                })
            }
            _ => None,
        }
    }
}
