//! Values in PostgreSQL's order: texts by their bytes (collation "C"), doubles with NaN last and -0 equal to 0, numerics
//! by what they are worth, nulls last.
//!
//! The order of [`Value`] itself is another one: it is made for hash tables and tells apart what PostgreSQL does not.

use operators::{ColumnType, Table, Value};
use std::cmp::Ordering;

/// Compares two values of a column. Null is greater than everything, and equal to null.
pub fn compare(ty: ColumnType, a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => Ordering::Greater,
        (_, Value::Null) => Ordering::Less,
        (Value::Int(a), Value::Int(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => doubles(*a, *b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Floats(a), Value::Floats(b)) => arrays(a, b),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        _ => {
            let (a, b) = (a.as_str().unwrap_or_default(), b.as_str().unwrap_or_default());
            if ty == ColumnType::Numeric {
                numerics(a, b)
            } else {
                a.as_bytes().cmp(b.as_bytes())
            }
        }
    }
}

/// Compares two rows of a table by its primary key.
pub fn compare_keys(table: &Table, a: &[Value], b: &[Value]) -> Ordering {
    let columns = table.columns[..table.key].iter().zip(a.iter().zip(b));
    columns
        .map(|(column, (a, b))| compare(column.ty, a, b))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn doubles(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Element by element; null is greater than every number, and the shorter array is less.
fn arrays(a: &[Option<f64>], b: &[Option<f64>]) -> Ordering {
    let elements = a.iter().zip(b).map(|(a, b)| match (a, b) {
        (Some(a), Some(b)) => doubles(*a, *b),
        (a, b) => a.is_none().cmp(&b.is_none()),
    });
    elements
        .into_iter()
        .find(|order| order.is_ne())
        .unwrap_or(a.len().cmp(&b.len()))
}

/// Compares finite numerics as PostgreSQL prints them: `-12.50`.
fn numerics(a: &str, b: &str) -> Ordering {
    let (a, b) = (Digits::of(a), Digits::of(b));
    match (a.negative, b.negative) {
        (false, true) => Ordering::Greater,
        (true, false) => Ordering::Less,
        (false, false) => a.magnitude(&b),
        (true, true) => b.magnitude(&a),
    }
}

/// A numeric's digits, without zeros that say nothing.
struct Digits<'a> {
    negative: bool,
    whole: &'a str,
    decimals: &'a str,
}

impl<'a> Digits<'a> {
    fn of(text: &'a str) -> Digits<'a> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let (whole, decimals) = (whole.trim_start_matches('0'), decimals.trim_end_matches('0'));
        let is_zero = whole.is_empty() && decimals.is_empty();
        Digits {
            negative: unsigned.len() < text.len() && !is_zero,
            whole,
            decimals,
        }
    }

    fn magnitude(&self, other: &Digits<'_>) -> Ordering {
        let longer = self.whole.len().cmp(&other.whole.len());
        longer
            .then_with(|| self.whole.cmp(other.whole))
            .then_with(|| self.decimals.cmp(other.decimals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numerics_are_compared_by_what_they_are_worth() {
        let ascending = [
            "-100", "-12.51", "-12.5", "-0.001", "0", "0.0009", "0.01", "0.1", "9", "10", "10.5", "100",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(numerics(a, b), i.cmp(&j), "{a} {b}");
            }
        }
        for (a, b) in [("12.50", "12.5"), ("0.00", "0"), ("-0.0", "0"), ("007", "7")] {
            assert_eq!(numerics(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn doubles_are_ordered_as_postgres_orders_them() {
        let compare = |a: f64, b: f64| compare(ColumnType::Float8, &Value::Float(a), &Value::Float(b));
        assert_eq!(compare(-0.0, 0.0), Ordering::Equal);
        assert_eq!(compare(f64::NAN, -f64::NAN), Ordering::Equal);
        assert_eq!(compare(f64::INFINITY, f64::NAN), Ordering::Less);
        assert_eq!(compare(f64::NAN, -1.0), Ordering::Greater);
    }

    #[test]
    fn nulls_come_last_and_texts_go_by_bytes() {
        let text = |text: &str| Value::String(text.into());
        assert_eq!(compare(ColumnType::Text, &Value::Null, &text("z")), Ordering::Greater);
        assert_eq!(compare(ColumnType::Text, &text("Z"), &text("a")), Ordering::Less);
        assert_eq!(compare(ColumnType::Text, &text("é"), &text("z")), Ordering::Greater);
        let array = |values: &[Option<f64>]| Value::Floats(values.into());
        let less = [
            array(&[]),
            array(&[Some(1.0)]),
            array(&[Some(1.0), Some(0.0)]),
            array(&[None]),
        ];
        for pair in less.windows(2) {
            assert_eq!(compare(ColumnType::Float8Array, &pair[0], &pair[1]), Ordering::Less);
        }
    }
}
