//! One value at run time.

use super::{Computed, Decimal, Failure, float, time};
use crate::sql::types::Ty;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A value of any [`Ty`], or null. `Eq`, `Ord` and `Hash` are those of grouping and sorting: null is equal to null and
/// stands before all values, numerics are compared by value whatever their scales, texts by bytes.
#[derive(Clone, Debug)]
pub enum Datum {
    /// Null of any type.
    Null,
    /// `boolean`.
    Bool(bool),
    /// `integer`, `bigint`.
    Int(i64),
    /// `numeric`.
    Numeric(Decimal),
    /// `text`.
    Text(Arc<str>),
    /// `date`: days since 1970-01-01.
    Date(i32),
    /// `timestamp`: microseconds since 1970-01-01 00:00:00.
    Timestamp(i64),
    /// `double precision`.
    Float(f64),
}

impl Datum {
    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// A text.
    pub fn text(text: impl AsRef<str>) -> Datum {
        Datum::Text(text.as_ref().into())
    }

    /// A condition's value: `None` is null.
    pub fn truth(&self) -> Computed<Option<bool>> {
        match self {
            Datum::Null => Ok(None),
            Datum::Bool(value) => Ok(Some(*value)),
            _ => Err(Failure::WrongType),
        }
    }

    /// Whether this can be a value of a type, null aside. Integer and bigint are told apart by their range alone.
    pub fn is_of(&self, ty: Ty) -> bool {
        match self {
            Datum::Null => true,
            Datum::Bool(_) => ty == Ty::Bool,
            Datum::Int(value) => ty == Ty::Int8 || ty == Ty::Int4 && i32::try_from(*value).is_ok(),
            Datum::Numeric(_) => ty == Ty::Numeric,
            Datum::Text(_) => ty == Ty::Text,
            Datum::Date(_) => ty == Ty::Date,
            Datum::Timestamp(_) => ty == Ty::Timestamp,
            Datum::Float(_) => ty == Ty::Float8,
        }
    }

    /// The text that PostgreSQL sends for the value, byte for byte; `None` for null.
    pub fn to_text(&self) -> Computed<Option<String>> {
        Ok(Some(match self {
            Datum::Null => return Ok(None),
            Datum::Bool(value) => if *value { "t" } else { "f" }.to_owned(),
            Datum::Int(value) => value.to_string(),
            Datum::Numeric(value) => value.to_string(),
            Datum::Text(value) => value.to_string(),
            Datum::Date(value) => time::date_text(*value)?,
            Datum::Timestamp(value) => time::timestamp_text(*value)?,
            Datum::Float(value) => float::text(*value),
        }))
    }

    fn variant(&self) -> u8 {
        match self {
            Datum::Null => 0,
            Datum::Bool(_) => 1,
            Datum::Int(_) => 2,
            Datum::Numeric(_) => 3,
            Datum::Text(_) => 4,
            Datum::Date(_) => 5,
            Datum::Timestamp(_) => 6,
            Datum::Float(_) => 7,
        }
    }
}

impl Ord for Datum {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
            (Datum::Int(a), Datum::Int(b)) => a.cmp(b),
            (Datum::Numeric(a), Datum::Numeric(b)) => a.cmp(b),
            (Datum::Text(a), Datum::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Datum::Date(a), Datum::Date(b)) => a.cmp(b),
            (Datum::Timestamp(a), Datum::Timestamp(b)) => a.cmp(b),
            (Datum::Float(a), Datum::Float(b)) => float::compare(*a, *b),
            _ => self.variant().cmp(&other.variant()),
        }
    }
}

impl PartialOrd for Datum {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Datum {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Datum {}

impl Hash for Datum {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.variant().hash(state);
        match self {
            Datum::Null => {}
            Datum::Bool(value) => value.hash(state),
            Datum::Int(value) => value.hash(state),
            Datum::Numeric(value) => value.hash(state),
            Datum::Text(value) => value.hash(state),
            Datum::Date(value) => value.hash(state),
            Datum::Timestamp(value) => value.hash(state),
            Datum::Float(value) => float::identity(*value).hash(state),
        }
    }
}
