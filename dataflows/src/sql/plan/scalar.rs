//! Expressions: a value for each row.
//!
//! Every expression has one type, and its arguments have exactly the types that stand here: what PostgreSQL converts
//! by itself is a [`Scalar::Cast`]. *Strict* means: null when an argument is null.

use super::super::types::Ty;
use std::sync::Arc;

/// The number of an expression in its [`super::Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExprId(pub(crate) u32);

impl ExprId {
    /// The expression at a place.
    pub(crate) fn at(place: usize) -> ExprId {
        ExprId(place as u32)
    }

    /// Its place among [`super::Plan::exprs`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An expression and its type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expr {
    /// What it is.
    pub scalar: Scalar,
    /// Its type.
    pub ty: Ty,
}

/// What an expression is. Where `T` stands, all arguments and the result are of one type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scalar {
    // ---- what a row holds
    /// Over [`super::Node::Posts`]: a field of a kind; null where the kind is not seen in the row.
    Field {
        /// The kind, by its number in the schema.
        kind: u8,
        /// The column, by its number in the kind.
        column: u16,
        /// Of an array the element, from 1; null where the array is null. 0 for a column that is no array.
        element: u8,
    },
    /// Over [`super::Node::Posts`]: the key of the row, a bigint, never null.
    Key,
    /// Over any other node: a column by its number.
    Column(u16),

    // ---- constants
    /// Null of the expression's type.
    Null,
    /// true or false.
    Bool(bool),
    /// An integer or bigint.
    Int(i64),
    /// `unscaled` / 10^`scale`.
    Numeric {
        /// The digits.
        unscaled: i128,
        /// How many of them are decimals.
        scale: u16,
    },
    /// A text.
    Text(Arc<str>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01 00:00:00.
    Timestamp(i64),

    // ---- conditions: boolean
    /// Strict.
    Not(ExprId),
    /// Of conditions: false when any is false, else null when any is null, else true.
    And(Vec<ExprId>),
    /// Of conditions: true when any is true, else null when any is null, else false.
    Or(Vec<ExprId>),
    /// `e IS NULL` of any type; never null.
    IsNull(ExprId),
    /// `e IS TRUE` of a boolean; never null.
    IsTrue(ExprId),
    /// `e IS FALSE` of a boolean; never null.
    IsFalse(ExprId),
    /// Strict comparison of two values of one type. Numerics by value, whatever their scales; text by bytes (the binder
    /// lets only = and <> pass for texts of unknown collation); false before true.
    Compare(CompareOp, ExprId, ExprId),
    /// `a IS DISTINCT FROM b`: whether they differ, nulls being equal; never null.
    IsDistinct(ExprId, ExprId),
    /// `e IN (…)`: the items are constants of e's type, none null. Strict in e.
    In(ExprId, Vec<ExprId>),
    /// `e LIKE 'pattern'`, strict: the whole text matches. `%` is any text, `_` one character, and a backslash makes
    /// the next character, whatever it is, stand for itself; there is always a next one.
    Like(ExprId, Arc<str>),
    /// `starts_with(text, prefix)`. Strict.
    StartsWith(ExprId, ExprId),

    // ---- numbers
    /// `T op T`, integer, bigint or numeric. Strict.
    Arith(Arith, ExprId, ExprId),
    /// −e, integer, bigint or numeric (scale kept). Strict.
    Negate(ExprId),
    /// |e|, integer, bigint or numeric (scale kept). Strict.
    Abs(ExprId),
    /// −1, 0 or 1, numeric to numeric, of scale 0. Strict.
    Sign(ExprId),
    /// `round(e, decimals)`, numeric to numeric: half away from zero, with exactly so many decimals, also when there
    /// were fewer. Strict.
    Round(ExprId, u16),

    // ---- casts. Strict
    /// A conversion to the expression's type, of the argument's type:
    /// integer → bigint, and back (proved to fit); integer, bigint → numeric of scale 0; numeric → integer, bigint,
    /// rounded half away from zero (proved to fit); integer, bigint, numeric → double precision, the nearest, ties to
    /// even; integer, bigint → text, decimal digits with a minus sign; timestamp → date, cut towards the past;
    /// date → timestamp, its midnight; boolean → integer, 0 or 1.
    Cast(ExprId),

    // ---- time
    /// `extract(unit FROM e)::integer` of a date or timestamp. Strict.
    Extract(TimeUnit, ExprId),
    /// `date_trunc(unit, e)`, timestamp to timestamp: the first moment of its year, quarter, month, week (Monday), day,
    /// hour or minute. Strict.
    Truncate(TimeUnit, ExprId),

    // ---- choice
    /// CASE: the value of the first branch (condition, value) whose condition holds, else the last expression.
    Case(Vec<(ExprId, ExprId)>, ExprId),
    /// The first argument that is not null, else null.
    Coalesce(Vec<ExprId>),
    /// `nullif(value, other)`: null when `left = right` is true, else `value`. `left` and `right` are both arguments,
    /// cast to one type; `value` is the first with or without that cast.
    NullIf {
        /// The result.
        value: ExprId,
        /// The first argument, cast.
        left: ExprId,
        /// What it must not be, cast.
        right: ExprId,
    },
    /// The greatest argument, nulls left aside; null when all are. Of equal ones (numerics of other scales) the first.
    Greatest(Vec<ExprId>),
    /// The least argument, as `Greatest`.
    Least(Vec<ExprId>),

    // ---- text. Strict; a character is a code point
    /// The number of characters: integer.
    Length(ExprId),
    /// The first n characters.
    Left(ExprId, u32),
    /// The last n characters.
    Right(ExprId, u32),
    /// From the character `from` ≥ 1 on, at most `count` if there is one.
    Substr {
        /// The text.
        text: ExprId,
        /// The first character, from 1.
        from: u32,
        /// How many.
        count: Option<u32>,
    },
    /// `replace(text, from, to)`: every occurrence, left to right, none overlapping; an empty `from` replaces nothing.
    Replace(ExprId, ExprId, ExprId),
    /// `split_part(text, delimiter, n)`, n ≥ 1: the nth part, empty when there are fewer. An empty delimiter does not
    /// split.
    SplitPart(ExprId, ExprId, u32),
    /// `strpos(text, part)`: the place of the first occurrence in characters from 1, or 0; of an empty part 1. Integer.
    StrPos(ExprId, ExprId),
    /// `btrim`, `ltrim`, `rtrim`: without the characters of the second text at the ends.
    Trim(Side, ExprId, ExprId),
    /// `a || b`.
    Concat(ExprId, ExprId),
    /// `lower(e COLLATE "C")`: A to Z alone.
    Lower(ExprId),
    /// `upper(e COLLATE "C")`: a to z alone.
    Upper(ExprId),
    /// `e COLLATE "C"`: the same text.
    CollateC(ExprId),
}

/// Comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl CompareOp {
    /// As SQL writes it.
    pub fn sign(self) -> &'static str {
        match self {
            CompareOp::Equal => "=",
            CompareOp::NotEqual => "<>",
            CompareOp::Less => "<",
            CompareOp::LessOrEqual => "<=",
            CompareOp::Greater => ">",
            CompareOp::GreaterOrEqual => ">=",
        }
    }

    /// The operator that holds for (b, a) where this one holds for (a, b).
    pub fn swapped(self) -> CompareOp {
        match self {
            CompareOp::Equal | CompareOp::NotEqual => self,
            CompareOp::Less => CompareOp::Greater,
            CompareOp::LessOrEqual => CompareOp::GreaterOrEqual,
            CompareOp::Greater => CompareOp::Less,
            CompareOp::GreaterOrEqual => CompareOp::LessOrEqual,
        }
    }

    /// The operator that holds where this one does not, nulls aside.
    pub fn negated(self) -> CompareOp {
        match self {
            CompareOp::Equal => CompareOp::NotEqual,
            CompareOp::NotEqual => CompareOp::Equal,
            CompareOp::Less => CompareOp::GreaterOrEqual,
            CompareOp::LessOrEqual => CompareOp::Greater,
            CompareOp::Greater => CompareOp::LessOrEqual,
            CompareOp::GreaterOrEqual => CompareOp::Less,
        }
    }
}

/// Arithmetic. The result of integers is exact and within the type.
///
/// Numerics: sums and differences have the greater scale; products the sum of both scales, exact; remainders the
/// greater scale. Quotients have the scale that PostgreSQL's `select_div_scale` chooses: write either number in base
/// 10,000 with the decimal point between two digits; `w` is the exponent of its first digit that is not 0 and `f` that
/// digit (both 0 for the number 0). With `q = w1 - w2 - (f1 <= f2 ? 1 : 0)` the scale is
/// `max(16 - 4 * q, scale1, scale2, 0)`, at most 1000, and the quotient is rounded to it half away from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arith {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`: integers towards zero.
    Divide,
    /// `%`: the remainder of the division towards zero; it has the sign of the dividend.
    Remainder,
}

impl Arith {
    /// As SQL writes it.
    pub fn sign(self) -> &'static str {
        match self {
            Arith::Add => "+",
            Arith::Subtract => "-",
            Arith::Multiply => "*",
            Arith::Divide => "/",
            Arith::Remainder => "%",
        }
    }
}

/// Parts of a time in the proleptic Gregorian calendar. All but the last two are of a date as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeUnit {
    /// 1 to 9999.
    Year,
    /// 1 to 4.
    Quarter,
    /// 1 to 12.
    Month,
    /// The week of ISO 8601, 1 to 53.
    Week,
    /// The day of the month, 1 to 31. `Truncate`: midnight.
    Day,
    /// The day of the week, Sunday 0 to Saturday 6. Extract only.
    Dow,
    /// The day of the week, Monday 1 to Sunday 7. Extract only.
    IsoDow,
    /// The day of the year, 1 to 366. Extract only.
    Doy,
    /// The year that the week of ISO 8601 belongs to. Extract only.
    IsoYear,
    /// 0 to 23.
    Hour,
    /// 0 to 59.
    Minute,
}

impl TimeUnit {
    /// As SQL writes it.
    pub fn name(self) -> &'static str {
        match self {
            TimeUnit::Year => "year",
            TimeUnit::Quarter => "quarter",
            TimeUnit::Month => "month",
            TimeUnit::Week => "week",
            TimeUnit::Day => "day",
            TimeUnit::Dow => "dow",
            TimeUnit::IsoDow => "isodow",
            TimeUnit::Doy => "doy",
            TimeUnit::IsoYear => "isoyear",
            TimeUnit::Hour => "hour",
            TimeUnit::Minute => "minute",
        }
    }

    /// The least and greatest value of an extract.
    pub fn range(self) -> (i128, i128) {
        match self {
            TimeUnit::Year | TimeUnit::IsoYear => (1, 9999),
            TimeUnit::Quarter => (1, 4),
            TimeUnit::Month => (1, 12),
            TimeUnit::Week => (1, 53),
            TimeUnit::Day => (1, 31),
            TimeUnit::Dow => (0, 6),
            TimeUnit::IsoDow => (1, 7),
            TimeUnit::Doy => (1, 366),
            TimeUnit::Hour => (0, 23),
            TimeUnit::Minute => (0, 59),
        }
    }
}

/// Where a text is trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// `btrim`
    Both,
    /// `ltrim`
    Left,
    /// `rtrim`
    Right,
}

impl Scalar {
    /// The arguments, in order.
    pub fn arguments(&self) -> Vec<ExprId> {
        use Scalar::*;
        match self {
            Field { .. }
            | Key
            | Column(_)
            | Null
            | Bool(_)
            | Int(_)
            | Numeric { .. }
            | Text(_)
            | Date(_)
            | Timestamp(_) => Vec::new(),
            Not(a)
            | IsNull(a)
            | IsTrue(a)
            | IsFalse(a)
            | Like(a, _)
            | Negate(a)
            | Abs(a)
            | Sign(a)
            | Round(a, _)
            | Cast(a)
            | Extract(_, a)
            | Truncate(_, a)
            | Length(a)
            | Left(a, _)
            | Right(a, _)
            | Lower(a)
            | Upper(a)
            | CollateC(a) => vec![*a],
            Substr { text, .. } => vec![*text],
            Compare(_, a, b)
            | IsDistinct(a, b)
            | StartsWith(a, b)
            | Arith(_, a, b)
            | SplitPart(a, b, _)
            | StrPos(a, b)
            | Trim(_, a, b)
            | Concat(a, b) => vec![*a, *b],
            Replace(a, b, c) => vec![*a, *b, *c],
            NullIf { value, left, right } => vec![*value, *left, *right],
            And(all) | Or(all) | Coalesce(all) | Greatest(all) | Least(all) => all.clone(),
            In(value, items) => std::iter::once(value).chain(items).copied().collect(),
            Case(branches, otherwise) => {
                let branches = branches.iter().flat_map(|(when, then)| [*when, *then]);
                branches.chain([*otherwise]).collect()
            }
        }
    }

    /// Whether this is a value that is written out.
    pub fn is_literal(&self) -> bool {
        use Scalar::*;
        matches!(
            self,
            Null | Bool(_) | Int(_) | Numeric { .. } | Text(_) | Date(_) | Timestamp(_)
        )
    }

    /// The same over other arguments.
    pub fn map(&self, mut f: impl FnMut(ExprId) -> ExprId) -> Scalar {
        use Scalar::*;
        let mut all = |list: &[ExprId]| list.iter().map(|e| f(*e)).collect::<Vec<_>>();
        match self {
            Field { .. }
            | Key
            | Column(_)
            | Null
            | Bool(_)
            | Int(_)
            | Numeric { .. }
            | Text(_)
            | Date(_)
            | Timestamp(_) => self.clone(),
            Not(a) => Not(f(*a)),
            IsNull(a) => IsNull(f(*a)),
            IsTrue(a) => IsTrue(f(*a)),
            IsFalse(a) => IsFalse(f(*a)),
            Like(a, pattern) => Like(f(*a), pattern.clone()),
            Negate(a) => Negate(f(*a)),
            Abs(a) => Abs(f(*a)),
            Sign(a) => Sign(f(*a)),
            Round(a, decimals) => Round(f(*a), *decimals),
            Cast(a) => Cast(f(*a)),
            Extract(unit, a) => Extract(*unit, f(*a)),
            Truncate(unit, a) => Truncate(*unit, f(*a)),
            Length(a) => Length(f(*a)),
            Left(a, count) => Left(f(*a), *count),
            Right(a, count) => Right(f(*a), *count),
            Lower(a) => Lower(f(*a)),
            Upper(a) => Upper(f(*a)),
            CollateC(a) => CollateC(f(*a)),
            Substr { text, from, count } => Substr {
                text: f(*text),
                from: *from,
                count: *count,
            },
            Compare(op, a, b) => Compare(*op, f(*a), f(*b)),
            IsDistinct(a, b) => IsDistinct(f(*a), f(*b)),
            StartsWith(a, b) => StartsWith(f(*a), f(*b)),
            Arith(op, a, b) => Arith(*op, f(*a), f(*b)),
            SplitPart(a, b, n) => SplitPart(f(*a), f(*b), *n),
            StrPos(a, b) => StrPos(f(*a), f(*b)),
            Trim(side, a, b) => Trim(*side, f(*a), f(*b)),
            Concat(a, b) => Concat(f(*a), f(*b)),
            Replace(a, b, c) => Replace(f(*a), f(*b), f(*c)),
            NullIf { value, left, right } => NullIf {
                value: f(*value),
                left: f(*left),
                right: f(*right),
            },
            And(list) => And(all(list)),
            Or(list) => Or(all(list)),
            Coalesce(list) => Coalesce(all(list)),
            Greatest(list) => Greatest(all(list)),
            Least(list) => Least(all(list)),
            In(value, items) => In(f(*value), items.iter().map(|item| f(*item)).collect()),
            Case(branches, otherwise) => {
                let branches = branches.iter().map(|(when, then)| (f(*when), f(*then))).collect();
                Case(branches, f(*otherwise))
            }
        }
    }

    /// Whether this is null whenever one of its arguments is.
    pub fn is_strict(&self) -> bool {
        use Scalar::*;
        match self {
            Field { .. }
            | Key
            | Column(_)
            | Null
            | Bool(_)
            | Int(_)
            | Numeric { .. }
            | Text(_)
            | Date(_)
            | Timestamp(_)
            | And(_)
            | Or(_)
            | IsNull(_)
            | IsTrue(_)
            | IsFalse(_)
            | IsDistinct(..)
            | Case(..)
            | Coalesce(_)
            | NullIf { .. }
            | Greatest(_)
            | Least(_) => false,
            Not(_)
            | Compare(..)
            | In(..)
            | Like(..)
            | StartsWith(..)
            | Arith(..)
            | Negate(_)
            | Abs(_)
            | Sign(_)
            | Round(..)
            | Cast(_)
            | Extract(..)
            | Truncate(..)
            | Length(_)
            | Left(..)
            | Right(..)
            | Substr { .. }
            | Replace(..)
            | SplitPart(..)
            | StrPos(..)
            | Trim(..)
            | Concat(..)
            | Lower(_)
            | Upper(_)
            | CollateC(_) => true,
        }
    }
}
