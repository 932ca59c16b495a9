//! Aggregates: each is fed with the values of its argument in the rows of one group, in any order.

use super::{Computed, Datum, Decimal, Failure};
use crate::sql::plan::AggKind;
use crate::sql::types::Ty;
use hashbrown::HashSet;

/// What an aggregate has seen of a group.
#[derive(Debug)]
pub enum Accumulator {
    /// count(*), count(e).
    Count(i64),
    /// count(DISTINCT …): the rows of arguments.
    Distinct(HashSet<Vec<Datum>>),
    /// sum and avg: the sum and how many values.
    Sum(Option<(Decimal, i64)>),
    /// min, max, bool_and, bool_or: the one that is the result so far.
    One(Datum),
    /// percentiles and mode: all values.
    Values(Vec<Datum>),
}

impl Accumulator {
    /// Of no row.
    pub fn new(kind: AggKind) -> Accumulator {
        match kind {
            AggKind::CountRows | AggKind::Count => Accumulator::Count(0),
            AggKind::CountDistinct { .. } => Accumulator::Distinct(HashSet::new()),
            AggKind::Sum | AggKind::Avg => Accumulator::Sum(None),
            AggKind::Min | AggKind::Max | AggKind::BoolAnd | AggKind::BoolOr => Accumulator::One(Datum::Null),
            AggKind::PercentileCont { .. } | AggKind::PercentileDisc { .. } | AggKind::Mode => {
                Accumulator::Values(Vec::new())
            }
        }
    }

    /// Takes in the arguments of one more row for which the aggregate's filter holds.
    pub fn add(&mut self, kind: AggKind, mut arguments: Vec<Datum>) -> Computed<()> {
        // a row of values counts whatever is null in it, a row count has no argument at all
        let row = matches!(kind, AggKind::CountDistinct { row: true });
        if !row && arguments.iter().any(Datum::is_null) {
            return Ok(());
        }
        match self {
            Accumulator::Count(count) => *count += 1,
            Accumulator::Distinct(rows) => {
                rows.insert(arguments);
            }
            Accumulator::Sum(sum) => {
                let value = match only(&mut arguments)? {
                    Datum::Int(value) => Decimal::integer(value),
                    Datum::Numeric(value) => value,
                    _ => return Err(Failure::WrongType),
                };
                *sum = Some(match *sum {
                    Some((sum, count)) => (sum.plus(value)?, count + 1),
                    None => (value, 1),
                });
            }
            Accumulator::One(found) => {
                let value = only(&mut arguments)?;
                let replaces = match kind {
                    // false is below true: all are true when the least is
                    AggKind::Min | AggKind::BoolAnd => value < *found,
                    _ => value > *found,
                };
                if found.is_null() || replaces {
                    *found = value;
                }
            }
            Accumulator::Values(values) => values.push(only(&mut arguments)?),
        }
        Ok(())
    }

    /// The aggregate's value; `ty` is the type of its argument.
    pub fn finish(self, kind: AggKind, ty: Option<Ty>) -> Computed<Datum> {
        match self {
            Accumulator::Count(count) => Ok(Datum::Int(count)),
            Accumulator::Distinct(rows) => Ok(Datum::Int(rows.len() as i64)),
            Accumulator::Sum(None) => Ok(Datum::Null),
            Accumulator::Sum(Some((sum, count))) => match (kind, ty) {
                (AggKind::Avg, _) => Ok(Datum::Numeric(sum.divide(Decimal::integer(count))?)),
                (_, Some(Ty::Int4)) => {
                    let sum = i64::try_from(sum.unscaled).map_err(|_| Failure::OutOfRange)?;
                    Ok(Datum::Int(sum))
                }
                _ => Ok(Datum::Numeric(sum)),
            },
            Accumulator::One(found) => Ok(found),
            Accumulator::Values(values) => of_sorted(kind, values),
        }
    }
}

fn only(arguments: &mut Vec<Datum>) -> Computed<Datum> {
    arguments.pop().ok_or(Failure::WrongType)
}

/// PostgreSQL's orderedsetaggs.c.
fn of_sorted(kind: AggKind, mut values: Vec<Datum>) -> Computed<Datum> {
    values.sort_unstable();
    if values.is_empty() {
        return Ok(Datum::Null);
    }
    match kind {
        AggKind::PercentileDisc { fraction, descending } => {
            if descending {
                values.reverse();
            }
            let place = (fraction.get() * values.len() as f64).ceil().max(1.0) as usize;
            Ok(values.swap_remove(place - 1))
        }
        AggKind::PercentileCont { fraction, descending } => {
            if descending {
                values.reverse();
            }
            let place = fraction.get() * (values.len() - 1) as f64;
            let (Datum::Float(low), Datum::Float(high)) =
                (&values[place.floor() as usize], &values[place.ceil() as usize])
            else {
                return Err(Failure::WrongType);
            };
            Ok(Datum::Float(if place.floor() == place.ceil() {
                *low
            } else {
                low + (place - place.floor()) * (high - low)
            }))
        }
        _ => {
            let mut most: &[Datum] = &[];
            for equal in values.chunk_by(|a, b| a == b) {
                if equal.len() > most.len() {
                    most = equal;
                }
            }
            Ok(most[0].clone())
        }
    }
}
