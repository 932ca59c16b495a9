//! What a column of a result is computed from, through the blocks between.

use super::ask::Decides;
use super::text::Text;
use super::walk::operands;
use crate::sql::ast::{Call, Expr, ExprKind};
use crate::sql::bind::is_aggregate;

/// What a column of a result is computed from.
pub(super) struct Origin<'a> {
    /// The aggregates of the outermost grouping.
    pub aggregates: Vec<&'a Call>,
    /// The window functions, each with its block.
    pub windows: Vec<(usize, &'a Expr)>,
}

impl<'a> Origin<'a> {
    /// The origin of a column of the result whose outermost grouping is `grouping`.
    pub fn of(text: &Text<'a>, grouping: usize, column: &str) -> Origin<'a> {
        let mut origin = Origin {
            aggregates: Vec::new(),
            windows: Vec::new(),
        };
        let mut names = vec![column.to_owned()];
        for (at, block) in text.chain[..=grouping].iter().enumerate() {
            let mut below = Vec::new();
            for (_, item) in block.items.iter().filter(|(name, _)| names.contains(name)) {
                let mut todo = vec![item];
                while let Some(expr) = todo.pop() {
                    match &expr.kind {
                        ExprKind::Call(call) if call.over.is_some() => origin.windows.push((at, expr)),
                        ExprKind::Call(call) if at == grouping && is_aggregate(&call.name) => {
                            origin.aggregates.push(call);
                        }
                        ExprKind::Column { name, .. } => below.push(name.text.clone()),
                        _ => todo.extend(operands(expr).into_iter().rev()),
                    }
                }
            }
            names = below;
        }
        origin
    }

    /// Which posts decide it.
    pub fn decides(&self) -> Decides {
        match self.aggregates.as_slice() {
            [] => Decides::Key,
            calls if calls.iter().any(|call| takes_every_row(call)) => Decides::EveryPost,
            _ => Decides::Some,
        }
    }
}

/// The name of a column of the result in the block `at`, through plain columns of the blocks between; `None` where it is
/// computed there.
pub(super) fn traced(text: &Text, column: &str, at: usize) -> Option<String> {
    let mut name = column.to_owned();
    for block in &text.chain[..at] {
        let (_, item) = block.items.iter().find(|(item, _)| *item == name)?;
        match &item.kind {
            ExprKind::Column { name: below, .. } => name = below.text.clone(),
            _ => return None,
        }
    }
    Some(name)
}

/// Whether a column of the result is plainly the number of rows that its row groups.
pub(super) fn is_count_of_rows(text: &Text, grouping: usize, column: &str) -> bool {
    let Some(name) = traced(text, column, grouping) else {
        return false;
    };
    let item = text.chain[grouping].items.iter().find(|(item, _)| *item == name);
    matches!(item, Some((_, Expr { kind: ExprKind::Call(call), .. })) if call.star && call.filter.is_none() && call.over.is_none())
}

/// Whether an aggregate takes every row, whatever is in it.
fn takes_every_row(call: &Call) -> bool {
    call.filter.is_none() && (call.star || is_row(call))
}

/// Whether this is `count(DISTINCT (a, b))`: it counts rows of nulls, too.
pub(super) fn is_row(call: &Call) -> bool {
    matches!(
        call.args.as_slice(),
        [Expr {
            kind: ExprKind::Row(_),
            ..
        }]
    )
}
