//! What a table is, apart from where it is kept: names, types, primary key, and rows of values.
//!
//! Results and cleaned records are described here once; the sinks create, compare and write tables from this
//! description and know nothing else about them.

use crate::Symbol;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::cmp::Ordering;

/// The type of a column, with its PostgreSQL name beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// `text`
    Text,
    /// `integer`; held as [`Value::Int`] within i32
    Int4,
    /// `bigint`
    Int8,
    /// `double precision`
    Float8,
    /// `timestamp without time zone`; held as [`Value::Int`]: microseconds since 1970-01-01 00:00:00
    Timestamp,
    /// `double precision[]`
    Float8Array,
    /// `bytea`
    Bytes,
    /// `boolean`; held as [`Value::Int`], 0 or 1
    Bool,
    /// `date`; held as [`Value::Int`]: days since 1970-01-01
    Date,
    /// `numeric`; held as a text of digits, as PostgreSQL writes it: as many decimals as the value's scale
    Numeric,
}

impl ColumnType {
    /// PostgreSQL's name, as `format_type` prints it.
    pub fn name(self) -> &'static str {
        match self {
            ColumnType::Text => "text",
            ColumnType::Int4 => "integer",
            ColumnType::Int8 => "bigint",
            ColumnType::Float8 => "double precision",
            ColumnType::Timestamp => "timestamp without time zone",
            ColumnType::Float8Array => "double precision[]",
            ColumnType::Bytes => "bytea",
            ColumnType::Bool => "boolean",
            ColumnType::Date => "date",
            ColumnType::Numeric => "numeric",
        }
    }
}

/// One column of a [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Column {
    /// The column's name, lower case, unquoted.
    pub name: &'static str,
    /// The column's type.
    pub ty: ColumnType,
    /// What the column holds, with its unit: becomes the column's comment.
    pub comment: &'static str,
}

/// A table: the first `key` columns are its primary key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    /// The table's name, unqualified.
    pub name: &'static str,
    /// What a row means: becomes the table's comment.
    pub comment: &'static str,
    /// How many of the first columns make the primary key.
    pub key: usize,
    /// All columns, in order.
    pub columns: &'static [Column],
}

/// One value of a row. `Text` and `String` are the same SQL value: the first is for names that repeat,
/// the second for wide text that passes through once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Value {
    /// SQL null.
    Null,
    /// An integer, or a timestamp in microseconds.
    Int(i64),
    /// A double.
    Float(f64),
    /// An interned name.
    Text(Symbol),
    /// A text.
    String(Box<str>),
    /// An array of doubles, any of them null.
    Floats(Box<[Option<f64>]>),
    /// Bytes.
    Bytes(Box<[u8]>),
}

/// A row in its table's column order.
pub type Row = Vec<Value>;

impl Value {
    /// The text of a `Text` or `String`.
    #[inline]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(symbol) => Some(symbol.text()),
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Whether this is SQL null.
    #[inline]
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// An owned text, or null.
    pub fn string(text: Option<Cow<'_, str>>) -> Value {
        text.map_or(Value::Null, |text| Value::String(text.into_owned().into_boxed_str()))
    }

    #[inline]
    fn variant(&self) -> u8 {
        match self {
            Value::Null => 0,
            Value::Int(_) => 1,
            Value::Float(_) => 2,
            Value::Text(_) | Value::String(_) => 3,
            Value::Floats(_) => 4,
            Value::Bytes(_) => 5,
        }
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Value::Null, Value::Int)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<Symbol> for Value {
    fn from(value: Symbol) -> Self {
        Value::Text(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Value::String(value.into())
    }
}

/// Total order: by variant, then by value; texts by bytes, doubles by `total_cmp`.
impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Value::Int(a), Value::Int(b)) => a.cmp(b),
            (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
            (Value::Text(a), Value::Text(b)) => a.cmp(b),
            (Value::Floats(a), Value::Floats(b)) => {
                let bits = |v: &[Option<f64>]| v.iter().map(|x| x.map(f64::to_bits)).collect::<Vec<_>>();
                bits(a).cmp(&bits(b))
            }
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            _ => self
                .variant()
                .cmp(&other.variant())
                .then_with(|| self.as_str().cmp(&other.as_str())),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

impl std::hash::Hash for Value {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.variant().hash(state);
        match self {
            Value::Null => {}
            Value::Int(v) => v.hash(state),
            Value::Float(v) => v.to_bits().hash(state),
            Value::Text(_) | Value::String(_) => self.as_str().hash(state),
            Value::Floats(v) => v.iter().for_each(|x| x.map(f64::to_bits).hash(state)),
            Value::Bytes(v) => v.hash(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    #[test]
    fn types_have_the_names_that_postgres_prints() {
        use ColumnType::*;
        let names = [
            (Text, "text"),
            (Int4, "integer"),
            (Int8, "bigint"),
            (Float8, "double precision"),
            (Timestamp, "timestamp without time zone"),
            (Float8Array, "double precision[]"),
            (Bytes, "bytea"),
            (Bool, "boolean"),
            (Date, "date"),
            (Numeric, "numeric"),
        ];
        for (ty, name) in names {
            assert_eq!(ty.name(), name);
        }
    }

    #[test]
    fn values_are_made_of_what_they_hold() {
        let text = Value::string(Some(Cow::Borrowed("a")));
        assert!(matches!(&text, Value::String(text) if &**text == "a"));
        assert!(Value::string(None).is_null() && !text.is_null());
        assert_eq!((text.as_str(), Value::from("b").as_str()), (Some("a"), Some("b")));
        assert_eq!(Value::from(Symbol::new("c")).as_str(), Some("c"));
        assert_eq!((Value::Null.as_str(), Value::from(7).as_str()), (None, None));
        assert!(matches!(Value::from(7), Value::Int(7)));
        assert!(matches!(Value::from(Some(7)), Value::Int(7)) && Value::from(None).is_null());
        assert!(matches!(Value::from(1.5), Value::Float(1.5)));
    }

    /// Each is less than those after it; those of one line are equal.
    #[test]
    fn order_is_total_and_equality_and_hash_agree_with_it() {
        let floats = |values: &[Option<f64>]| Value::Floats(values.into());
        let bytes = |bytes: &[u8]| Value::Bytes(bytes.into());
        let ascending = [
            vec![Value::Null, Value::Null],
            vec![Value::Int(-1)],
            vec![Value::Int(2), Value::Int(2)],
            vec![Value::Float(-0.0)],
            vec![Value::Float(0.0), Value::Float(0.0)],
            vec![Value::Float(f64::NAN), Value::Float(f64::NAN)],
            vec![Value::Text(Symbol::new("Z")), Value::from("Z")],
            // an interned name and a text are one value, in either order
            vec![Value::from("a"), Value::Text(Symbol::new("a"))],
            vec![Value::Text(Symbol::new("b")), Value::Text(Symbol::new("b"))],
            vec![floats(&[])],
            vec![floats(&[None]), floats(&[None])],
            vec![floats(&[Some(1.0)]), floats(&[Some(1.0)])],
            vec![floats(&[Some(1.0), None])],
            vec![bytes(b"a"), bytes(b"a")],
            vec![bytes(b"ab")],
        ];
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let all: Vec<(usize, &Value)> = (0..)
            .zip(&ascending)
            .flat_map(|(n, equal)| equal.iter().map(move |v| (n, v)))
            .collect();
        for (n, a) in &all {
            for (m, b) in &all {
                assert_eq!(
                    (a.cmp(b), *a == *b, a.partial_cmp(b)),
                    (n.cmp(m), n == m, Some(n.cmp(m))),
                    "{a:?} {b:?}"
                );
                // by chance two hashes are equal once in 2^64
                assert_eq!(hasher.hash_one(a) == hasher.hash_one(b), n == m, "{a:?} {b:?}");
            }
        }
    }
}
