//! The types of values, and what is known of a value before it is computed.

use std::fmt;

/// A type of values, by its PostgreSQL name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ty {
    /// `boolean`.
    Bool,
    /// `integer`: 32 bits. `integer op integer` is `integer`, and its range is that of 32 bits.
    Int4,
    /// `bigint`: 64 bits.
    Int8,
    /// `numeric` without a precision: an unscaled i128 and a scale, the number of decimals shown. The scale belongs to
    /// the value (`1.0` and `1.00` are equal and are shown differently). There is no NaN and no infinity.
    Numeric,
    /// `text`, UTF-8 without U+0000.
    Text,
    /// `date`: days since 1970-01-01, years 1 to 9999.
    Date,
    /// `timestamp without time zone`: microseconds since 1970-01-01 00:00:00, years 1 to 9999.
    Timestamp,
    /// `double precision`, always finite, never −0.
    Float8,
}

impl Ty {
    /// PostgreSQL's name.
    pub fn name(self) -> &'static str {
        match self {
            Ty::Bool => "boolean",
            Ty::Int4 => "integer",
            Ty::Int8 => "bigint",
            Ty::Numeric => "numeric",
            Ty::Text => "text",
            Ty::Date => "date",
            Ty::Timestamp => "timestamp without time zone",
            Ty::Float8 => "double precision",
        }
    }

    /// PostgreSQL's identifier of the type, as `PREPARE` reports it.
    pub fn oid(self) -> u32 {
        match self {
            Ty::Bool => 16,
            Ty::Int8 => 20,
            Ty::Int4 => 23,
            Ty::Text => 25,
            Ty::Float8 => 701,
            Ty::Date => 1082,
            Ty::Timestamp => 1114,
            Ty::Numeric => 1700,
        }
    }

    /// Whether this is a number, exact or not.
    pub fn is_number(self) -> bool {
        matches!(self, Ty::Int4 | Ty::Int8 | Ty::Numeric | Ty::Float8)
    }

    /// Whether this is `integer` or `bigint`.
    pub fn is_integer(self) -> bool {
        matches!(self, Ty::Int4 | Ty::Int8)
    }

    /// The least and greatest values, in the units of [`Facts::low`].
    pub fn range(self) -> (i128, i128) {
        match self {
            Ty::Bool => (0, 1),
            Ty::Int4 => (i32::MIN.into(), i32::MAX.into()),
            Ty::Int8 => (i64::MIN.into(), i64::MAX.into()),
            Ty::Numeric => (-MOST_DIGITS, MOST_DIGITS),
            Ty::Date => DAYS,
            Ty::Timestamp => MICROS,
            Ty::Text | Ty::Float8 => (0, 0),
        }
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No accepted numeric has an unscaled value beyond ± this (10^36), so that i128 holds it with room for one more
/// addition or one more digit.
pub const MOST_DIGITS: i128 = 10i128.pow(36);

/// The most rows that any relation can have: one for each key of the schema's kinds, and there are at most 2^31.
pub const MOST_ROWS: u128 = 1 << 31;

/// 0001-01-01 and 9999-12-31 in days since 1970-01-01.
const DAYS: (i128, i128) = (-719_162, 2_932_896);

/// 0001-01-01 00:00:00 and 9999-12-31 23:59:59.999999 in microseconds since 1970-01-01.
const MICROS: (i128, i128) = (DAYS.0 * 86_400_000_000, (DAYS.1 + 1) * 86_400_000_000 - 1);

/// The longest text that PostgreSQL can hold, in bytes.
pub const LONGEST_TEXT: u32 = (1 << 30) - 1;

/// The longest text that is kept as part of a row or key, in bytes.
pub const LONGEST_KEPT: u32 = 512;

/// What is known of every value that an expression can have: the proof that it cannot fail stands on this. Facts are
/// always sound, never exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether it can be null.
    pub nullable: bool,
    /// No value is below: false and true are 0 and 1; integers as they are; a numeric's value rounded down; days of a
    /// date, microseconds of a timestamp. 0 for text and double precision, of which no range is known.
    pub low: i128,
    /// No value is above, in the same units; a numeric's value rounded up.
    pub high: i128,
    /// No value is 0, even where `low..=high` holds 0.
    pub nonzero: bool,
    /// The sum of |value| over all rows of the relation is at most this, a numeric's rounded up.
    pub total: u128,
    /// Numeric: the least and the greatest scale. Equal means that the scale is the same for all values.
    pub scale: (u16, u16),
    /// Numeric: |unscaled value| is at most this.
    pub unscaled: u128,
    /// Text: no value is longer, in bytes. `None`: wide text, of which nothing is known and which is not kept.
    pub bytes: Option<u32>,
    /// Text: its collation is known to be "C", so it has an order here. Without, only equality is known.
    pub ordered: bool,
}

impl Facts {
    /// All that a type says, for a value that may be null.
    pub fn of(ty: Ty) -> Facts {
        let (low, high) = ty.range();
        Facts {
            nullable: true,
            low,
            high,
            nonzero: false,
            total: widest(low, high).saturating_mul(MOST_ROWS),
            scale: (0, 0),
            unscaled: 0,
            bytes: None,
            ordered: false,
        }
    }

    /// Facts of a value of a type other than text and numeric, from `low` to `high`, that may not be null.
    pub fn range(low: i128, high: i128) -> Facts {
        Facts {
            nullable: false,
            low,
            high,
            total: widest(low, high).saturating_mul(MOST_ROWS),
            ..Facts::of(Ty::Bool)
        }
    }

    /// Facts of a text of at most `bytes` bytes that may not be null.
    pub fn text(bytes: Option<u32>) -> Facts {
        Facts {
            nullable: false,
            bytes,
            ..Facts::of(Ty::Text)
        }
    }

    /// The same, nullable or not.
    pub fn nullable(self, nullable: bool) -> Facts {
        Facts { nullable, ..self }
    }

    /// The greatest |value|.
    pub fn magnitude(&self) -> u128 {
        widest(self.low, self.high)
    }

    /// Whether a value can be 0.
    pub fn can_be_zero(&self) -> bool {
        !self.nonzero && self.low <= 0 && self.high >= 0
    }
}

/// The greater of |low| and |high|.
pub(crate) fn widest(low: i128, high: i128) -> u128 {
    low.unsigned_abs().max(high.unsigned_abs())
}
