//! Numerics: bounds on the value, on the scale, and on the unscaled digits.
//!
//! `low` and `high` bound the value, rounded outwards to integers. `None` means that a bound exceeds what can be said.

use crate::sql::plan::Arith;
use crate::sql::types::{Facts, MOST_DIGITS, MOST_ROWS, Ty};

/// The greatest scale that an expression may have.
const MOST_SCALE: u16 = 60;

/// Whether the digits can be held.
pub(super) fn fits(facts: &Facts) -> bool {
    facts.scale.1 <= MOST_SCALE && facts.unscaled <= MOST_DIGITS as u128 && facts.magnitude() <= MOST_DIGITS as u128
}

pub(super) fn literal(unscaled: i128, scale: u16) -> Facts {
    let one = power(scale).unwrap_or(u128::MAX) as i128;
    let low = unscaled.div_euclid(one);
    Facts {
        nonzero: unscaled != 0,
        scale: (scale, scale),
        unscaled: unscaled.unsigned_abs(),
        ..Facts::range(low, low + i128::from(unscaled.rem_euclid(one) != 0))
    }
}

/// 10^scale.
fn power(scale: u16) -> Option<u128> {
    10u128.checked_pow(scale.into())
}

/// |value| in digits of `scale`, when it has either that scale or a smaller one of its own.
fn digits(facts: &Facts, scale: u16) -> Option<u128> {
    Some(facts.unscaled.max(facts.magnitude().checked_mul(power(scale)?)?))
}

fn of_range(low: i128, high: i128, total: u128, scale: (u16, u16), unscaled: u128) -> Facts {
    let facts = Facts::range(low, high);
    Facts {
        total: total.min(facts.total),
        scale,
        unscaled,
        ..facts
    }
}

pub(super) fn arith(op: Arith, a: &Facts, b: &Facts) -> Option<Facts> {
    let scale = (a.scale.0.max(b.scale.0), a.scale.1.max(b.scale.1));
    match op {
        Arith::Add | Arith::Subtract => {
            let (low, high) = match op {
                Arith::Add => (a.low.checked_add(b.low)?, a.high.checked_add(b.high)?),
                _ => (a.low.checked_sub(b.high)?, a.high.checked_sub(b.low)?),
            };
            let unscaled = digits(a, b.scale.1)?.checked_add(digits(b, a.scale.1)?)?;
            Some(of_range(low, high, a.total.saturating_add(b.total), scale, unscaled))
        }
        Arith::Multiply => {
            let mut ends = Vec::with_capacity(4);
            for x in [a.low, a.high] {
                for y in [b.low, b.high] {
                    ends.push(x.checked_mul(y)?);
                }
            }
            let one = |x: &Facts, y: &Facts| x.total.saturating_mul(y.magnitude());
            let total = one(a, b).min(one(b, a));
            let scale = (a.scale.0 + b.scale.0, a.scale.1 + b.scale.1);
            let unscaled = a.unscaled.checked_mul(b.unscaled)?;
            Some(of_range(
                *ends.iter().min()?,
                *ends.iter().max()?,
                total,
                scale,
                unscaled,
            ))
        }
        Arith::Divide => quotient(a, b),
        Arith::Remainder => {
            let unscaled = digits(a, b.scale.1)?.min(digits(b, a.scale.1)?);
            // both are brought to one scale before the division
            (digits(a, b.scale.1)?.max(digits(b, a.scale.1)?) <= MOST_DIGITS as u128).then_some(())?;
            let most = b.magnitude().min(a.magnitude()) as i128;
            let low = if a.low < 0 { -most } else { 0 };
            let high = if a.high > 0 { most } else { 0 };
            Some(of_range(low, high, a.total, scale, unscaled))
        }
    }
}

/// The exponent of the first digit of `value` > 0, times 10^-scale, in base 10,000.
fn weight(value: u128, scale: u16) -> i32 {
    let decimal = value.checked_ilog10().map_or(0, |log| log as i32) - i32::from(scale);
    decimal.div_euclid(4)
}

/// The least |value| other than 0: (digits, scale).
fn least(facts: &Facts) -> (u128, u16) {
    if facts.low > 0 || facts.high < 0 {
        (facts.low.unsigned_abs().min(facts.high.unsigned_abs()).max(1), 0)
    } else {
        (1, facts.scale.1)
    }
}

/// a / b as numerics, b never 0. The scale is that of `select_div_scale`: see [`Arith`].
pub(crate) fn quotient(a: &Facts, b: &Facts) -> Option<Facts> {
    let (least_a, scale_a) = least(a);
    let (least_b, scale_b) = least(b);
    let (most_a, most_b) = (a.magnitude().max(1), b.magnitude().max(1));
    let lowest = match weight(least_a, scale_a) {
        // 0 has the exponent 0
        exponent if a.can_be_zero() => exponent.min(0),
        exponent => exponent,
    } - weight(most_b, 0)
        - 1;
    let highest = weight(most_a, 0).max(0) - weight(least_b, scale_b);
    let significant = |exponent: i32| (16 - 4 * exponent).max(0) as u16;
    let scale = (
        significant(highest).max(a.scale.0).max(b.scale.0),
        significant(lowest).max(a.scale.1).max(b.scale.1),
    );
    // |a| / |b|, rounded up, and once more for the rounding of the quotient
    let most = most_a.checked_mul(power(scale_b)?)?.div_ceil(least_b).checked_add(1)?;
    // either the scale leaves 16 significant digits, then the quotient is below 2 * 10^(4 * exponent + 4)
    // and its digits below 2 * 10^20; or it is the scale of an argument
    let unscaled = most
        .checked_mul(power(a.scale.1.max(b.scale.1))?)?
        .max(2 * 10u128.pow(20));
    let most = i128::try_from(most).ok()?;
    let (negative, positive) = (
        (a.low < 0 && b.high > 0) || (a.high > 0 && b.low < 0),
        (a.low < 0 && b.low < 0) || (a.high > 0 && b.high > 0),
    );
    let low = if negative { -most } else { 0 };
    let high = if positive { most } else { 0 };
    Some(of_range(low, high, u128::MAX, scale, unscaled))
}

/// Half away from zero, to `decimals`.
pub(super) fn round(value: Facts, decimals: u16) -> Option<Facts> {
    let unscaled = value.magnitude().checked_mul(power(decimals)?)?;
    // bounds are integers, and so stay bounds
    Some(Facts {
        nonzero: false,
        total: value.total.saturating_add(MOST_ROWS),
        scale: (decimals, decimals),
        unscaled,
        ..value
    })
}

pub(super) fn sign(value: Facts) -> Facts {
    Facts {
        nonzero: value.nonzero,
        scale: (0, 0),
        unscaled: 1,
        ..Facts::range(i128::from(value.low >= 0) - 1, 1 - i128::from(value.high <= 0))
    }
}

/// What holds of the sum of one or more values, none null: as bigint of integers, else as numeric.
pub(crate) fn total_of(value: &Facts, ty: Ty) -> Facts {
    let most = i128::try_from(value.total).unwrap_or(i128::MAX);
    let scale = if ty == Ty::Numeric { value.scale } else { (0, 0) };
    Facts {
        low: if value.low < 0 { -most } else { value.low },
        high: if value.high > 0 { most } else { value.high },
        nonzero: value.low > 0 || value.high < 0,
        scale,
        unscaled: power(scale.1).unwrap_or(u128::MAX).saturating_mul(value.total),
        ..*value
    }
}
