//! `numeric`: exact decimals, as in PostgreSQL's numeric.c.

use super::{Computed, Failure};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// `unscaled` / 10^`scale`. Equal and ordered by value: 1.0 is 1.00, and they are shown differently.
#[derive(Clone, Copy, Debug)]
pub struct Decimal {
    /// The digits.
    pub unscaled: i128,
    /// How many of them are decimals.
    pub scale: u16,
}

/// The least number of significant digits of a quotient (NUMERIC_MIN_SIG_DIGITS).
const SIGNIFICANT: i32 = 16;

/// The most decimals of a quotient (NUMERIC_MAX_DISPLAY_SCALE).
const MOST_DECIMALS: i32 = 1000;

/// Decimal digits of one digit in base 10,000.
const BASE_DIGITS: i32 = 4;

impl Decimal {
    /// An integer, of scale 0.
    pub fn integer(value: impl Into<i128>) -> Decimal {
        Decimal {
            unscaled: value.into(),
            scale: 0,
        }
    }

    /// `self + other`, with the greater scale.
    pub fn plus(self, other: Decimal) -> Computed<Decimal> {
        self.aligned(other, i128::checked_add)
    }

    /// `self - other`, with the greater scale.
    pub fn minus(self, other: Decimal) -> Computed<Decimal> {
        self.aligned(other, i128::checked_sub)
    }

    /// `self * other`, exact.
    pub fn times(self, other: Decimal) -> Computed<Decimal> {
        Ok(Decimal {
            unscaled: in_range(self.unscaled.checked_mul(other.unscaled))?,
            scale: self.scale + other.scale,
        })
    }

    /// `self / other`, rounded half away from zero to the scale that PostgreSQL selects.
    pub fn divide(self, other: Decimal) -> Computed<Decimal> {
        if other.unscaled == 0 {
            return Err(Failure::DivisionByZero);
        }
        let scale = self.quotient_scale(other);
        // scale >= self.scale, so the dividend gains decimals and loses none
        let gained = u32::from(scale) + u32::from(other.scale) - u32::from(self.scale);
        let (dividend, divisor) = (self.unscaled.unsigned_abs(), other.unscaled.unsigned_abs());
        let (mut quotient, mut rest) = (dividend / divisor, dividend % divisor);
        for _ in 0..gained {
            // one more digit: by hand, since the whole dividend may exceed 128 bits
            let ten_times = in_range(rest.checked_mul(10))?;
            quotient = in_range(quotient.checked_mul(10))? + ten_times / divisor;
            rest = ten_times % divisor;
        }
        if rest >= divisor - rest {
            quotient += 1;
        }
        let negative = (self.unscaled < 0) != (other.unscaled < 0);
        let unscaled = i128::try_from(quotient).map_err(|_| Failure::OutOfRange)?;
        Ok(Decimal {
            unscaled: if negative { -unscaled } else { unscaled },
            scale,
        })
    }

    /// The scale of `self / other`: PostgreSQL's select_div_scale.
    fn quotient_scale(self, other: Decimal) -> u16 {
        let ((weight, first), (other_weight, other_first)) = (self.leading(), other.leading());
        let quotient_weight = weight - other_weight - i32::from(first <= other_first);
        let least = i32::from(self.scale.max(other.scale));
        (SIGNIFICANT - quotient_weight * BASE_DIGITS)
            .max(least)
            .min(MOST_DECIMALS) as u16
    }

    /// The exponent and the value of the first digit that is not 0 in base 10,000, with the decimal point between two
    /// digits; 0 and 0 for the number 0.
    fn leading(self) -> (i32, u128) {
        let mut digits = self.unscaled.unsigned_abs();
        if digits == 0 {
            return (0, 0);
        }
        // decimals are filled up to whole digits
        let scale = i32::from(self.scale);
        let filling = (BASE_DIGITS - scale % BASE_DIGITS) % BASE_DIGITS;
        let mut weight = -(scale + filling) / BASE_DIGITS;
        // the lowest digit has only BASE_DIGITS - filling decimal digits of `digits`
        let mut lowest = 10u128.pow((BASE_DIGITS - filling) as u32);
        let mut times = 10u128.pow(filling as u32);
        loop {
            if digits < lowest {
                return (weight, digits * times);
            }
            digits /= lowest;
            weight += 1;
            (lowest, times) = (10_000, 1);
        }
    }

    /// `self % other`: what is left of the division towards zero, with the greater scale and the sign of `self`.
    pub fn remainder(self, other: Decimal) -> Computed<Decimal> {
        if other.unscaled == 0 {
            return Err(Failure::DivisionByZero);
        }
        let scale = self.scale.max(other.scale);
        let Some(divisor) = power_of_ten(scale - other.scale)
            .and_then(|power| other.unscaled.unsigned_abs().checked_mul(power.unsigned_abs()))
        else {
            // then |other| is greater than |self|, which has the greater scale
            return Ok(self);
        };
        let mut rest = self.unscaled.unsigned_abs() % divisor;
        for _ in self.scale..scale {
            rest = in_range(rest.checked_mul(10))? % divisor;
        }
        let unscaled = i128::try_from(rest).map_err(|_| Failure::OutOfRange)?;
        Ok(Decimal {
            unscaled: unscaled * self.unscaled.signum(),
            scale,
        })
    }

    /// `-self`.
    pub fn negate(self) -> Computed<Decimal> {
        Ok(Decimal {
            unscaled: in_range(self.unscaled.checked_neg())?,
            ..self
        })
    }

    /// `abs(self)`.
    pub fn abs(self) -> Computed<Decimal> {
        Ok(Decimal {
            unscaled: in_range(self.unscaled.checked_abs())?,
            ..self
        })
    }

    /// `sign(self)`.
    pub fn sign(self) -> Decimal {
        Decimal::integer(self.unscaled.signum())
    }

    /// `round(self, decimals)`: half away from zero, with exactly so many decimals.
    pub fn round(self, decimals: u16) -> Computed<Decimal> {
        if decimals >= self.scale {
            return self.with_scale(decimals);
        }
        let Some(power) = power_of_ten(self.scale - decimals) else {
            // more than 38 decimals are cut: nothing is left, and nothing to round up
            return Ok(Decimal {
                unscaled: 0,
                scale: decimals,
            });
        };
        let (quotient, rest) = (self.unscaled / power, self.unscaled % power);
        let up = rest.unsigned_abs() >= power.unsigned_abs() - rest.unsigned_abs();
        Ok(Decimal {
            unscaled: quotient + if up { self.unscaled.signum() } else { 0 },
            scale: decimals,
        })
    }

    /// The nearest integer, half away from zero: a cast to an integer type, whose range is the caller's.
    pub fn to_integer(self) -> Computed<i128> {
        Ok(self.round(0)?.unscaled)
    }

    /// The nearest double, ties to even.
    pub fn to_double(self) -> f64 {
        // as PostgreSQL does: by way of text, which is rounded once
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    fn aligned(self, other: Decimal, f: fn(i128, i128) -> Option<i128>) -> Computed<Decimal> {
        let scale = self.scale.max(other.scale);
        let (a, b) = (self.with_scale(scale)?, other.with_scale(scale)?);
        Ok(Decimal {
            unscaled: in_range(f(a.unscaled, b.unscaled))?,
            scale,
        })
    }

    /// The same with a scale that is not less.
    fn with_scale(self, scale: u16) -> Computed<Decimal> {
        let unscaled = match power_of_ten(scale - self.scale) {
            Some(power) => self.unscaled.checked_mul(power),
            None => (self.unscaled == 0).then_some(0),
        };
        Ok(Decimal {
            unscaled: in_range(unscaled)?,
            scale,
        })
    }

    /// The digits and the scale without the zeros that end them: equal for equal values.
    pub(crate) fn stripped(self) -> (i128, u16) {
        let (mut unscaled, mut scale) = (self.unscaled, self.scale);
        while scale > 0 && unscaled % 10 == 0 {
            (unscaled, scale) = (unscaled / 10, scale - 1);
        }
        (unscaled, scale)
    }
}

fn in_range<T>(value: Option<T>) -> Computed<T> {
    value.ok_or(Failure::OutOfRange)
}

fn power_of_ten(exponent: u16) -> Option<i128> {
    10i128.checked_pow(exponent.into())
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (self.with_scale(scale), other.with_scale(scale)) {
            (Ok(a), Ok(b)) => a.unscaled.cmp(&b.unscaled),
            // one of them has the greater scale already: the one that does not fit is farther from 0
            (Err(_), _) => self.unscaled.cmp(&0),
            (_, Err(_)) => 0.cmp(&other.unscaled),
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl Hash for Decimal {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.stripped().hash(state);
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = usize::from(self.scale);
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", self.unscaled.unsigned_abs(), width = scale + 1);
        let (whole, decimals) = digits.split_at(digits.len() - scale);
        match scale {
            0 => write!(f, "{sign}{whole}"),
            _ => write!(f, "{sign}{whole}.{decimals}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        let scale = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
        Decimal {
            unscaled: text.replace('.', "").parse().unwrap(),
            scale: scale as u16,
        }
    }

    /// As PostgreSQL 17 answers; 100,000 random pairs are compared with a server in tests/tests/sql_values.rs.
    #[test]
    fn quotients_have_the_scale_of_postgresql() {
        for (a, b, quotient) in [
            ("1", "3", "0.33333333333333333333"),
            ("2", "3", "0.66666666666666666667"),
            ("-2", "3", "-0.66666666666666666667"),
            ("10", "4", "2.5000000000000000"),
            ("10000", "3", "3333.3333333333333333"),
            ("100.0", "8", "12.5000000000000000"),
            ("0", "7", "0.00000000000000000000"),
            ("0.0001", "3", "0.000033333333333333333333"),
            ("1", "0.0001", "10000.0000000000000000"),
        ] {
            let found = decimal(a).divide(decimal(b)).map(|found| found.to_string());
            assert_eq!(found.as_deref(), Ok(quotient), "{a} / {b}");
        }
        assert_eq!(decimal("1").divide(decimal("0.00")), Err(Failure::DivisionByZero));
    }

    #[test]
    fn rounding_is_half_away_from_zero() {
        for (value, decimals, rounded) in [
            ("2.5", 0, "3"),
            ("-2.5", 0, "-3"),
            ("2.4999", 0, "2"),
            ("0.05", 1, "0.1"),
            ("-0.049", 1, "0.0"),
            ("1.5", 3, "1.500"),
            ("7", 2, "7.00"),
        ] {
            let found = decimal(value).round(decimals).map(|found| found.to_string());
            assert_eq!(found.as_deref(), Ok(rounded), "round({value}, {decimals})");
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_still_has_an_order() {
        let most = Decimal::integer(i128::MAX);
        assert_eq!(most.plus(Decimal::integer(1)), Err(Failure::OutOfRange));
        assert_eq!(most.times(decimal("2.0")), Err(Failure::OutOfRange));
        assert_eq!(most.plus(decimal("0.1")), Err(Failure::OutOfRange));
        assert!(most > decimal("0.1") && decimal("0.1") < most);
        assert!(most.negate().unwrap() < decimal("-0.1"));
        assert_eq!(decimal("0.1").remainder(most).unwrap().to_string(), "0.1");
        let small = Decimal { unscaled: 1, scale: 60 };
        assert!(small < Decimal::integer(1) && small > Decimal::integer(0));
        assert_eq!(small.round(2).unwrap().to_string(), "0.00");
    }

    #[test]
    fn equal_values_hash_alike() {
        let set: std::collections::HashSet<_> = ["1.0", "1.00", "1", "10", "-0.0", "0"].map(decimal).into();
        assert_eq!(set.len(), 3);
    }
}
