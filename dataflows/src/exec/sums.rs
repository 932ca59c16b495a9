//! Aggregates that are sums and counts: the slots of a fold.

use super::groups::{Recipe, Slot};
use super::relations::all_of;
use super::vector::{Vector, Vectors};
use crate::sql::eval::Datum;
use crate::sql::plan::{AggKind, ExprId, Output, Plan, Scalar};
use crate::sql::types::Ty;
use operators::fold::split;

/// An aggregate that is used.
pub(super) struct Used {
    pub(super) kind: AggKind,
    /// Over the relation.
    pub(super) args: Vec<ExprId>,
    pub(super) filter: Option<ExprId>,
    pub(super) output: Output,
}

impl Used {
    /// Whether every row of the group counts.
    pub(super) fn counts_all(&self) -> bool {
        match self.kind {
            AggKind::CountRows => self.filter.is_none(),
            AggKind::Count => self.output.facts.nonzero,
            _ => false,
        }
    }
}

/// How many sums one fold has.
pub(super) const SUMS: usize = 8;

/// `e IS NOT NULL`.
pub(super) fn is_some(plan: &mut Plan, e: ExprId) -> ExprId {
    let null = plan.add(Scalar::IsNull(e), Ty::Bool);
    plan.add(Scalar::Not(null), Ty::Bool)
}

/// One sum of a fold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sum {
    /// The rows that are added.
    pub(super) when: Option<ExprId>,
    /// What is added; 1 where nothing is named.
    pub(super) of: Option<(ExprId, Of)>,
    at: Slot,
}

/// Which number of a value is added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Of {
    /// Itself, in so many digits.
    Value,
    /// The scale.
    Scale,
}

impl Sum {
    #[inline]
    /// Adds what a row adds.
    pub(super) fn add(&self, vectors: &Vectors, row: usize, sums: &mut [i64]) {
        let digits = &mut sums[self.at.first..self.at.first + self.at.digits];
        let value = match self.of {
            None => 1,
            Some((e, of)) => match (vectors.get(e), of) {
                (Vector::Ints { values, .. }, _) => i128::from(values[row]),
                (Vector::Data(data), of) => match (&data[row], of) {
                    (Datum::Numeric(value), Of::Value) => value.unscaled,
                    (Datum::Numeric(value), Of::Scale) => i128::from(value.scale),
                    _ => return,
                },
                _ => return,
            },
        };
        match digits {
            [digit] => *digit += value as i64,
            [_, _] => digits.copy_from_slice(&split::<2>(value)),
            _ => digits.copy_from_slice(&split::<3>(value)),
        }
    }
}

/// The sums of a fold, each once.
#[derive(Default)]
pub(super) struct Sums {
    all: Vec<Sum>,
    /// Slots in use of the last part.
    filled: usize,
    part: usize,
}

impl Sums {
    fn slot(&mut self, when: Option<ExprId>, of: Option<(ExprId, Of)>, digits: usize) -> Slot {
        if let Some(known) = self.all.iter().find(|sum| (sum.when, sum.of) == (when, of)) {
            return known.at;
        }
        if self.filled + digits > SUMS {
            self.part += 1;
            self.filled = 0;
        }
        let at = Slot {
            part: self.part,
            first: self.filled,
            digits,
        };
        self.filled += digits;
        self.all.push(Sum { when, of, at });
        at
    }

    /// The sums of each part: at least one part, perhaps without sums.
    pub(super) fn folds(&self) -> impl Iterator<Item = &[Sum]> {
        let parts = self.all.chunk_by(|a, b| a.at.part == b.at.part);
        let none = self.all.is_empty().then_some(&[][..]);
        parts.chain(none)
    }

    /// How an aggregate is made of sums, if it is.
    pub(super) fn recipe(&mut self, plan: &mut Plan, used: &Used) -> Option<Recipe> {
        let arg = used.args.first().copied();
        let both = |plan: &mut Plan, filter: Option<ExprId>, other: ExprId| {
            all_of(plan, filter.into_iter().chain([other]).collect())
        };
        Some(match (used.kind, arg) {
            (AggKind::CountRows, _) => Recipe::Count(self.slot(used.filter, None, 1)),
            (AggKind::Count, Some(arg)) => {
                let some = is_some(plan, arg);
                let when = both(plan, used.filter, some);
                Recipe::Count(self.slot(when, None, 1))
            }
            (AggKind::Sum | AggKind::Avg, Some(arg)) => {
                let ty = plan.ty(arg);
                let some = is_some(plan, arg);
                let when = both(plan, used.filter, some);
                let digits = match ty {
                    Ty::Int4 => 1,
                    Ty::Int8 => 2,
                    _ => 3,
                };
                let sum = self.slot(when, Some((arg, Of::Value)), digits);
                let count = self.slot(when, None, 1);
                match used.kind {
                    AggKind::Sum => Recipe::Sum {
                        sum,
                        count,
                        ty: used.output.ty,
                        scale: used.output.facts.scale.0,
                    },
                    _ => Recipe::Avg {
                        sum,
                        count,
                        scales: (ty == Ty::Numeric).then(|| self.slot(when, Some((arg, Of::Scale)), 1)),
                    },
                }
            }
            (AggKind::BoolAnd | AggKind::BoolOr, Some(arg)) => {
                let any = used.kind == AggKind::BoolOr;
                let counted = if any {
                    plan.add(Scalar::IsTrue(arg), Ty::Bool)
                } else {
                    plan.add(Scalar::IsFalse(arg), Ty::Bool)
                };
                let (some, counted) = (is_some(plan, arg), both(plan, used.filter, counted));
                let when = both(plan, used.filter, some);
                Recipe::Bool {
                    counted: self.slot(counted, None, 1),
                    count: self.slot(when, None, 1),
                    any,
                }
            }
            _ => return None,
        })
    }
}
