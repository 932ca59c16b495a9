//! Integers, dates and times; numerics are handed on.

use super::numeric;
use super::{Proved, Prover, Reason};
use crate::sql::plan::{Arith as Op, ExprId, Scalar};
use crate::sql::types::{Facts, MOST_ROWS, Ty};

const DAY: i128 = 86_400_000_000;

impl Prover<'_> {
    pub(super) fn number(&self, e: ExprId, scalar: &Scalar, args: &[Facts]) -> Proved {
        use Scalar::*;
        let ty = self.plan.ty(e);
        let nullable = args.iter().any(|facts| facts.nullable);
        let value = args[0];
        let facts = match scalar {
            Arith(op, _, divisor) => {
                if matches!(op, Op::Divide | Op::Remainder) && args[1].can_be_zero() {
                    return self.doubt(e, Reason::Zero(*divisor));
                }
                match ty {
                    Ty::Numeric => numeric::arith(*op, &args[0], &args[1]),
                    _ => Some(integer(*op, &args[0], &args[1])),
                }
            }
            Negate(_) => Some(Facts {
                low: -value.high,
                high: -value.low,
                ..value
            }),
            Abs(_) => Some(absolute(value, ty)),
            Sign(_) => Some(numeric::sign(value)),
            Round(_, decimals) => numeric::round(value, *decimals),
            Extract(unit, _) => {
                let (low, high) = unit.range();
                Some(Facts::range(low, high))
            }
            // a time is not before the first moment of its unit, but that moment is in the same year
            Truncate(..) => Some(Facts::of(Ty::Timestamp)),
            Cast(argument) => return self.cast(e, *argument, value),
            _ => unreachable!("{scalar:?} is no operation on numbers"),
        };
        let Some(facts) = facts else {
            return self.doubt(e, Reason::Digits);
        };
        self.in_range(e, facts.nullable(nullable))
    }

    fn cast(&self, e: ExprId, argument: ExprId, value: Facts) -> Proved {
        let facts = match (self.plan.ty(argument), self.plan.ty(e)) {
            (_, Ty::Float8) => Facts::of(Ty::Float8),
            (Ty::Int4 | Ty::Int8, Ty::Numeric) => Facts {
                scale: (0, 0),
                unscaled: value.magnitude(),
                ..value
            },
            // bounds are rounded outwards already; a value above 0 may become 0
            (Ty::Numeric, _) => Facts {
                nonzero: false,
                total: value.total.saturating_add(MOST_ROWS),
                ..Facts::range(value.low, value.high)
            },
            (Ty::Timestamp, Ty::Date) => Facts::range(value.low.div_euclid(DAY), value.high.div_euclid(DAY)),
            (Ty::Date, Ty::Timestamp) => Facts::range(value.low * DAY, value.high * DAY),
            _ => value,
        };
        self.in_range(e, facts.nullable(value.nullable))
    }

    /// Facts whose range is within the type's, or a doubt.
    fn in_range(&self, e: ExprId, facts: Facts) -> Proved {
        let ty = self.plan.ty(e);
        if ty == Ty::Numeric {
            return if numeric::fits(&facts) {
                Ok(facts)
            } else {
                self.doubt(e, Reason::Digits)
            };
        }
        let (low, high) = ty.range();
        if ty != Ty::Float8 && (facts.low < low || facts.high > high) {
            return self.doubt(e, Reason::Range(ty));
        }
        Ok(facts)
    }
}

fn absolute(value: Facts, ty: Ty) -> Facts {
    let low = if value.low <= 0 && value.high >= 0 {
        // a numeric other than 0 may be closer to it than 1
        i128::from(value.nonzero && ty != Ty::Numeric)
    } else {
        value.low.abs().min(value.high.abs())
    };
    Facts {
        low: low.min(value.magnitude() as i128),
        high: value.magnitude() as i128,
        ..value
    }
}

/// Arguments are at most bigint, so that nothing here exceeds i128.
fn integer(op: Op, a: &Facts, b: &Facts) -> Facts {
    let corners = |f: fn(i128, i128) -> i128, b: &[i128]| {
        let all = [a.low, a.high]
            .into_iter()
            .flat_map(|a| b.iter().map(move |b| f(a, *b)));
        all.fold((i128::MAX, i128::MIN), |(low, high), value| {
            (low.min(value), high.max(value))
        })
    };
    let (low, high, total) = match op {
        Op::Add => (a.low + b.low, a.high + b.high, a.total.saturating_add(b.total)),
        Op::Subtract => (a.low - b.high, a.high - b.low, a.total.saturating_add(b.total)),
        Op::Multiply => {
            let (low, high) = corners(|a, b| a * b, &[b.low, b.high]);
            let one = |x: &Facts, y: &Facts| x.total.saturating_mul(y.magnitude());
            (low, high, one(a, b).min(one(b, a)))
        }
        Op::Divide => {
            // the quotient is monotone between the divisors next to 0 and the ends
            let near = [b.low, b.high, -1, 1];
            let divisors: Vec<_> = near
                .into_iter()
                .filter(|divisor| *divisor != 0 && (b.low..=b.high).contains(divisor))
                .collect();
            let (low, high) = if divisors.is_empty() {
                (0, 0)
            } else {
                corners(|a, b| a / b, &divisors)
            };
            (low, high, a.total)
        }
        Op::Remainder => {
            let most = (b.magnitude() as i128 - 1).max(0);
            let low = if a.low < 0 { -most.min(-a.low) } else { 0 };
            let high = if a.high > 0 { most.min(a.high) } else { 0 };
            (low, high, a.total)
        }
    };
    let facts = Facts::range(low, high);
    Facts {
        total: total.min(facts.total),
        ..facts
    }
}
