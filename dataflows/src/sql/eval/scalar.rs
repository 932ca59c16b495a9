//! Expressions over one row.

use super::{Computed, Datum, Decimal, Failure, like, text, time};
use crate::sql::plan::{Arith, CompareOp, ExprId, Plan, Scalar};
use crate::sql::types::Ty;
use std::cmp::Ordering;

/// Where the values of a row come from.
pub trait Row {
    /// The value of [`Scalar::Field`], [`Scalar::Key`] or [`Scalar::Column`].
    fn leaf(&self, scalar: &Scalar) -> Computed<Datum>;
}

/// A row of a node with columns.
impl Row for Vec<Datum> {
    fn leaf(&self, scalar: &Scalar) -> Computed<Datum> {
        match scalar {
            Scalar::Column(column) => self.get(usize::from(*column)).cloned().ok_or(Failure::WrongType),
            _ => Err(Failure::WrongType),
        }
    }
}

/// Computes the expressions of a plan over one row after another, each at most once for a row.
pub struct Evaluator<'p> {
    plan: &'p Plan,
    /// The number of the current row; values of other rows are stale.
    row: u64,
    /// For each expression the row it was last computed for, and its value there.
    known: Vec<(u64, Datum)>,
    /// For each expression whether it was null in some row.
    nulls: Vec<bool>,
}

impl<'p> Evaluator<'p> {
    /// Over no row yet.
    pub fn new(plan: &'p Plan) -> Evaluator<'p> {
        Evaluator {
            plan,
            row: 1,
            known: vec![(0, Datum::Null); plan.exprs().len()],
            nulls: vec![false; plan.exprs().len()],
        }
    }

    /// Goes on to another row: what is asked from now on is asked of it.
    pub fn next_row(&mut self) {
        self.row += 1;
    }

    /// Whether an expression was null in some row that it was computed for.
    pub fn was_null(&self, e: ExprId) -> bool {
        self.nulls[e.index()]
    }

    /// Whether a condition holds; none does.
    pub fn holds(&mut self, condition: Option<ExprId>, row: &impl Row) -> Computed<bool> {
        match condition {
            None => Ok(true),
            Some(condition) => Ok(self.value(condition, row)?.truth()? == Some(true)),
        }
    }

    /// The values of several expressions.
    pub fn values(&mut self, exprs: &[ExprId], row: &impl Row) -> Computed<Vec<Datum>> {
        exprs.iter().map(|expr| self.value(*expr, row)).collect()
    }

    /// The value of an expression. `row` is the current row.
    pub fn value(&mut self, id: ExprId, row: &impl Row) -> Computed<Datum> {
        let (computed_for, value) = &self.known[id.index()];
        if *computed_for == self.row {
            return Ok(value.clone());
        }
        let plan = self.plan;
        let value = self.compute(plan.scalar(id), plan.ty(id), row)?;
        if !value.is_of(plan.ty(id)) {
            return Err(match value {
                Datum::Int(_) => Failure::OutOfRange,
                _ => Failure::WrongType,
            });
        }
        self.nulls[id.index()] |= value.is_null();
        self.known[id.index()] = (self.row, value.clone());
        Ok(value)
    }

    fn compute(&mut self, scalar: &Scalar, ty: Ty, row: &impl Row) -> Computed<Datum> {
        match scalar {
            Scalar::Field { .. } | Scalar::Key | Scalar::Column(_) => row.leaf(scalar),
            Scalar::Null => Ok(Datum::Null),
            Scalar::Bool(value) => Ok(Datum::Bool(*value)),
            Scalar::Int(value) => Ok(Datum::Int(*value)),
            Scalar::Numeric { unscaled, scale } => Ok(Datum::Numeric(Decimal {
                unscaled: *unscaled,
                scale: *scale,
            })),
            Scalar::Text(value) => Ok(Datum::Text(value.clone())),
            Scalar::Date(value) => Ok(Datum::Date(*value)),
            Scalar::Timestamp(value) => Ok(Datum::Timestamp(*value)),

            Scalar::And(terms) => self.first_or_null(terms, false, row),
            Scalar::Or(terms) => self.first_or_null(terms, true, row),
            Scalar::IsNull(e) => Ok(Datum::Bool(self.value(*e, row)?.is_null())),
            Scalar::IsTrue(e) => Ok(Datum::Bool(self.value(*e, row)?.truth()? == Some(true))),
            Scalar::IsFalse(e) => Ok(Datum::Bool(self.value(*e, row)?.truth()? == Some(false))),
            Scalar::IsDistinct(a, b) => Ok(Datum::Bool(self.value(*a, row)? != self.value(*b, row)?)),
            Scalar::Case(branches, otherwise) => {
                for (condition, value) in branches {
                    if self.holds(Some(*condition), row)? {
                        return self.value(*value, row);
                    }
                }
                self.value(*otherwise, row)
            }
            Scalar::Coalesce(list) => {
                for e in list {
                    let value = self.value(*e, row)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                Ok(Datum::Null)
            }
            Scalar::NullIf { value, left, right } => {
                let (left, right) = (self.value(*left, row)?, self.value(*right, row)?);
                if !left.is_null() && left == right {
                    Ok(Datum::Null)
                } else {
                    self.value(*value, row)
                }
            }
            Scalar::Greatest(list) => self.extreme(list, Ordering::Greater, row),
            Scalar::Least(list) => self.extreme(list, Ordering::Less, row),
            strict => {
                debug_assert!(strict.is_strict());
                let arguments = self.values(&strict.arguments(), row)?;
                if arguments.iter().any(Datum::is_null) {
                    Ok(Datum::Null)
                } else {
                    apply(strict, ty, &arguments)
                }
            }
        }
    }

    /// AND and OR: `decisive` when any term is, else null when any is null, else the other one.
    fn first_or_null(&mut self, terms: &[ExprId], decisive: bool, row: &impl Row) -> Computed<Datum> {
        let mut null = false;
        for term in terms {
            match self.value(*term, row)?.truth()? {
                None => null = true,
                Some(truth) if truth == decisive => return Ok(Datum::Bool(decisive)),
                Some(_) => {}
            }
        }
        Ok(if null { Datum::Null } else { Datum::Bool(!decisive) })
    }

    /// GREATEST and LEAST: nulls left aside, the first of equal ones.
    fn extreme(&mut self, list: &[ExprId], wanted: Ordering, row: &impl Row) -> Computed<Datum> {
        let mut found = Datum::Null;
        for value in self.values(list, row)? {
            if !value.is_null() && (found.is_null() || value.cmp(&found) == wanted) {
                found = value;
            }
        }
        Ok(found)
    }
}

/// A strict function of arguments that are not null, with a result of type `ty`.
fn apply(scalar: &Scalar, ty: Ty, arguments: &[Datum]) -> Computed<Datum> {
    use Datum::{Bool, Date, Int, Numeric, Text, Timestamp};
    Ok(match (scalar, arguments) {
        (Scalar::Not(_), [Bool(value)]) => Bool(!value),
        (Scalar::Compare(op, ..), [a, b]) => Bool(compare(*op, a.cmp(b))),
        (Scalar::In(..), [value, items @ ..]) => Bool(items.contains(value)),
        (Scalar::Like(_, pattern), [Text(text)]) => Bool(like::matches(text, pattern)),
        (Scalar::StartsWith(..), [Text(text), Text(prefix)]) => Bool(text.starts_with(&**prefix)),

        (Scalar::Arith(op, ..), [Int(a), Int(b)]) => Int(integer(*op, *a, *b)?),
        (Scalar::Arith(op, ..), [Numeric(a), Numeric(b)]) => Numeric(match op {
            Arith::Add => a.plus(*b)?,
            Arith::Subtract => a.minus(*b)?,
            Arith::Multiply => a.times(*b)?,
            Arith::Divide => a.divide(*b)?,
            Arith::Remainder => a.remainder(*b)?,
        }),
        (Scalar::Negate(_), [Int(value)]) => Int(value.checked_neg().ok_or(Failure::OutOfRange)?),
        (Scalar::Negate(_), [Numeric(value)]) => Numeric(value.negate()?),
        (Scalar::Abs(_), [Int(value)]) => Int(value.checked_abs().ok_or(Failure::OutOfRange)?),
        (Scalar::Abs(_), [Numeric(value)]) => Numeric(value.abs()?),
        (Scalar::Sign(_), [Numeric(value)]) => Numeric(value.sign()),
        (Scalar::Round(_, decimals), [Numeric(value)]) => Numeric(value.round(*decimals)?),
        (Scalar::Cast(_), [value]) => cast(value, ty)?,

        (Scalar::Extract(unit, _), [Timestamp(micros)]) => Int(time::extract(*unit, *micros)?),
        (Scalar::Extract(unit, _), [Date(days)]) => Int(time::extract(*unit, time::midnight(*days))?),
        (Scalar::Truncate(unit, _), [Timestamp(micros)]) => Timestamp(time::truncate(*unit, *micros)?),

        (Scalar::Length(_), [Text(text)]) => Int(text::length(text) as i64),
        (Scalar::Left(_, count), [Text(text)]) => Datum::text(text::left(text, *count as usize)),
        (Scalar::Right(_, count), [Text(text)]) => Datum::text(text::right(text, *count as usize)),
        (Scalar::Substr { from, count, .. }, [Text(text)]) => {
            let count = count.map(|count| count as usize);
            Datum::text(text::substr(text, *from as usize, count))
        }
        (Scalar::Replace(..), [Text(text), Text(from), Text(to)]) => Datum::text(text::replace(text, from, to)),
        (Scalar::SplitPart(_, _, n), [Text(text), Text(delimiter)]) => {
            Datum::text(text::split_part(text, delimiter, *n as usize))
        }
        (Scalar::StrPos(..), [Text(text), Text(part)]) => Int(text::strpos(text, part) as i64),
        (Scalar::Trim(side, ..), [Text(text), Text(characters)]) => Datum::text(text::trim(*side, text, characters)),
        (Scalar::Concat(..), [Text(a), Text(b)]) => Datum::text(format!("{a}{b}")),
        (Scalar::Lower(_), [Text(text)]) => Datum::text(text.to_ascii_lowercase()),
        (Scalar::Upper(_), [Text(text)]) => Datum::text(text.to_ascii_uppercase()),
        (Scalar::CollateC(_), [Text(text)]) => Text(text.clone()),
        _ => return Err(Failure::WrongType),
    })
}

fn compare(op: CompareOp, ordering: Ordering) -> bool {
    match op {
        CompareOp::Equal => ordering.is_eq(),
        CompareOp::NotEqual => ordering.is_ne(),
        CompareOp::Less => ordering.is_lt(),
        CompareOp::LessOrEqual => ordering.is_le(),
        CompareOp::Greater => ordering.is_gt(),
        CompareOp::GreaterOrEqual => ordering.is_ge(),
    }
}

/// Within bigint; the range of integer is checked where the type is known.
fn integer(op: Arith, a: i64, b: i64) -> Computed<i64> {
    if b == 0 && matches!(op, Arith::Divide | Arith::Remainder) {
        return Err(Failure::DivisionByZero);
    }
    let result = match op {
        Arith::Add => a.checked_add(b),
        Arith::Subtract => a.checked_sub(b),
        Arith::Multiply => a.checked_mul(b),
        Arith::Divide => a.checked_div(b),
        // of the least number by −1 it is 0, though the quotient does not exist
        Arith::Remainder => Some(a.wrapping_rem(b)),
    };
    result.ok_or(Failure::OutOfRange)
}

fn cast(value: &Datum, ty: Ty) -> Computed<Datum> {
    Ok(match (value, ty) {
        (Datum::Bool(value), Ty::Int4) => Datum::Int((*value).into()),
        (Datum::Int(value), Ty::Int4 | Ty::Int8) => Datum::Int(*value),
        (Datum::Int(value), Ty::Numeric) => Datum::Numeric(Decimal::integer(*value)),
        (Datum::Int(value), Ty::Float8) => Datum::Float(*value as f64),
        (Datum::Int(value), Ty::Text) => Datum::text(value.to_string()),
        (Datum::Numeric(value), Ty::Int4 | Ty::Int8) => {
            let value = i64::try_from(value.to_integer()?).map_err(|_| Failure::OutOfRange)?;
            Datum::Int(value)
        }
        (Datum::Numeric(value), Ty::Float8) => Datum::Float(value.to_double()),
        (Datum::Timestamp(value), Ty::Date) => Datum::Date(time::day(*value)?),
        (Datum::Date(value), Ty::Timestamp) => Datum::Timestamp(time::midnight(*value)),
        _ => return Err(Failure::WrongType),
    })
}
