//! What several operators find out about a group, and how its aggregates are made of that.

use super::layout::{datum, to_double};
use crate::sql::eval::{Datum, Decimal};
use crate::sql::types::Ty;
use operators::Symbol;
use operators::fold::join;
use operators::ordered::Percentile;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

/// A value that is ranked among others, which are all of one kind. One type for all kinds, since each would be compiled
/// with every operator anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) enum Ranked {
    /// As [`super::layout::code`] numbers it, or unscaled.
    Int(i128),
    /// A text.
    Name(Symbol),
    /// A text, the least of which is the greatest.
    Reverse(Reverse<Symbol>),
    /// How often a value occurs; its bits inverted.
    Often(i64, i128),
    /// How often a text occurs.
    OftenName(i64, Reverse<Symbol>),
}

/// What one operator says of a group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Part {
    /// Sums and counts.
    Ints(Box<[i64]>),
    /// Values.
    Values(Box<[Ranked]>),
}

impl Part {
    /// Of values.
    pub(crate) fn of(values: impl Iterator<Item = Ranked>) -> Part {
        Part::Values(values.collect())
    }
}

/// A group: its key, and what is known of it. The first part is always there.
pub(crate) type Group<K> = (K, Box<[Option<Part>]>);

/// Where a sum is among the slots of a fold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slot {
    /// The part.
    pub(crate) part: usize,
    /// The first number.
    pub(crate) first: usize,
    /// How many numbers are its digits.
    pub(crate) digits: usize,
}

/// How an aggregate is made of a group's parts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Recipe {
    /// A count.
    Count(Slot),
    /// A sum; null where none of the values is there.
    Sum {
        /// The sum.
        sum: Slot,
        /// How many values.
        count: Slot,
        /// The sum's type.
        ty: Ty,
        /// A numeric's scale.
        scale: u16,
    },
    /// Sum by count.
    Avg {
        /// The sum, of unscaled values.
        sum: Slot,
        /// How many values.
        count: Slot,
        /// The sum of the values' scales, which are all the same.
        scales: Option<Slot>,
    },
    /// Whether any of the values is (or is not) the one that is counted.
    Bool {
        /// How many are.
        counted: Slot,
        /// How many values.
        count: Slot,
        /// What it is where any is counted.
        any: bool,
    },
    /// The number of different values: the number of a part, 0 where it is missing.
    Distinct(usize),
    /// A value of a part.
    Value {
        /// The part.
        part: usize,
        /// The number of the value in it.
        at: usize,
        /// Its type.
        ty: Ty,
        /// A numeric's scale.
        scale: u16,
        /// Whether its bits are inverted.
        inverted: bool,
    },
    /// What lies between two values of a part, whose last number is the number of values.
    Between {
        /// The part.
        part: usize,
        /// The number of the first value.
        at: usize,
        /// How.
        percentile: Percentile,
    },
}

fn ints(parts: &[Option<Part>], part: usize) -> Option<&[i64]> {
    match parts.get(part)? {
        Some(Part::Ints(ints)) => Some(ints),
        _ => None,
    }
}

fn values(parts: &[Option<Part>], part: usize) -> Option<&[Ranked]> {
    match parts.get(part)? {
        Some(Part::Values(values)) => Some(values),
        _ => None,
    }
}

impl Slot {
    fn get(self, parts: &[Option<Part>]) -> i128 {
        let ints = ints(parts, self.part).unwrap_or_default();
        match ints.get(self.first..self.first + self.digits) {
            Some([a]) => i128::from(*a),
            Some([a, b]) => join([*a, *b]),
            Some([a, b, c]) => join([*a, *b, *c]),
            _ => 0,
        }
    }
}

impl Recipe {
    /// The aggregate.
    pub(crate) fn datum(&self, parts: &[Option<Part>]) -> Datum {
        match self {
            Recipe::Count(count) => Datum::Int(count.get(parts) as i64),
            Recipe::Sum { count, .. } | Recipe::Avg { count, .. } | Recipe::Bool { count, .. }
                if count.get(parts) == 0 =>
            {
                Datum::Null
            }
            Recipe::Sum { sum, ty, scale, .. } => match ty {
                Ty::Numeric => Datum::Numeric(Decimal {
                    unscaled: sum.get(parts),
                    scale: *scale,
                }),
                _ => Datum::Int(sum.get(parts) as i64),
            },
            Recipe::Avg { sum, count, scales } => {
                let count = count.get(parts);
                let sum = Decimal {
                    unscaled: sum.get(parts),
                    scale: scales.map_or(0, |scales| (scales.get(parts) / count) as u16),
                };
                // proved to have at most 36 digits
                sum.divide(Decimal::integer(count)).map_or(Datum::Null, Datum::Numeric)
            }
            Recipe::Bool { counted, any, .. } => Datum::Bool((counted.get(parts) != 0) == *any),
            Recipe::Distinct(part) => Datum::Int(ints(parts, *part).map_or(0, |ints| ints[0])),
            Recipe::Value {
                part,
                at,
                ty,
                scale,
                inverted,
            } => match values(parts, *part).map(|values| values[*at]) {
                None => Datum::Null,
                Some(Ranked::Int(value) | Ranked::Often(_, value)) => {
                    let value = if *inverted { !value } else { value };
                    match ty {
                        Ty::Numeric => Datum::Numeric(Decimal {
                            unscaled: value,
                            scale: *scale,
                        }),
                        _ => datum(*ty, value as i64),
                    }
                }
                Some(Ranked::Name(name) | Ranked::Reverse(Reverse(name)) | Ranked::OftenName(_, Reverse(name))) => {
                    Datum::text(name.text())
                }
            },
            Recipe::Between { part, at, percentile } => {
                let int = |value: &Ranked| match value {
                    Ranked::Int(value) => *value as i64,
                    other => unreachable!("{other:?} is no double"),
                };
                match values(parts, *part) {
                    Some(values @ [.., count]) => {
                        let ends = [values[*at], values[*at + 1]].map(|end| to_double(int(&end)));
                        Datum::Float(percentile.interpolate(int(count), ends))
                    }
                    _ => Datum::Null,
                }
            }
        }
    }
}
