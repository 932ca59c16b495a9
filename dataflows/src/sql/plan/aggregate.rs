//! Aggregates of a group.

use super::ExprId;

/// One aggregate of a [`super::Node::Fold`]: a function of the multiset of the values that its argument has in the
/// group's rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Agg {
    /// Which.
    pub kind: AggKind,
    /// Over the fold's input. None for [`AggKind::CountRows`], one or more for [`AggKind::CountDistinct`], one else.
    pub args: Vec<ExprId>,
    /// A condition over the fold's input: rows where it does not hold take no part. They still make a group.
    pub filter: Option<ExprId>,
}

/// Which aggregate. All but the first and `CountDistinct` of several ignore nulls, and all but the counts are null when
/// no value is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AggKind {
    /// `count(*)`: bigint.
    CountRows,
    /// `count(e)`: bigint.
    Count,
    /// `count(DISTINCT e)`, bigint; of one argument nulls are ignored, of several (`count(DISTINCT (a, b))`) a row of
    /// values counts whatever is null in it, nulls being equal.
    CountDistinct {
        /// Whether the argument was a row of values in parentheses, be it of one.
        row: bool,
    },
    /// `sum`: integer gives bigint; bigint gives numeric of scale 0; numeric, whose scale is fixed, numeric of that scale.
    Sum,
    /// `avg` of integer, bigint or numeric of a fixed scale: numeric, the sum [divided](super::Arith::Divide) by the
    /// count, both as numeric.
    Avg,
    /// `min`: of any type but boolean; text by bytes. A numeric's scale is fixed.
    Min,
    /// `max`, as `min`.
    Max,
    /// `bool_and`, `every`.
    BoolAnd,
    /// `bool_or`.
    BoolOr,
    /// `percentile_cont(p)` of n double precision values, sorted: with `x = p * (n - 1)`, the value at `floor(x)`, from
    /// 0, when `floor(x) = ceil(x)`; else `lo + (x - floor(x)) * (hi - lo)` of the values at floor and ceil. All in
    /// double precision, in this order; a result −0 is 0.
    PercentileCont {
        /// p.
        fraction: Fraction,
        /// The greatest value first.
        descending: bool,
    },
    /// `percentile_disc(p)` of n values, sorted: the value at `max(1, ceil(p * n))`, from 1, computed in double
    /// precision. Of any type that has an order, text by bytes; a numeric's scale is fixed.
    PercentileDisc {
        /// p.
        fraction: Fraction,
        /// The greatest value first.
        descending: bool,
    },
    /// `mode`: the least of the most frequent values. Types as of `min`, and boolean.
    Mode,
}

/// A number from 0 to 1, as a double.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fraction(u64);

impl Fraction {
    /// `None` unless `value` lies within 0 to 1.
    pub fn new(value: f64) -> Option<Fraction> {
        // adding 0 makes −0 into 0, so that equal numbers have equal bits
        (0.0..=1.0).contains(&value).then(|| Fraction((value + 0.0).to_bits()))
    }

    /// The number.
    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}
