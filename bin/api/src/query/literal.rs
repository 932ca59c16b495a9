//! Texts of filters as values of a column's type, as PostgreSQL reads them.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use operators::{ColumnType, Value};

/// The value that `text` is in a column of type `ty`; `None` when it is none.
pub fn parse(ty: ColumnType, text: &str) -> Option<Value> {
    match ty {
        ColumnType::Text => Some(Value::String(text.into())),
        ColumnType::Int4 | ColumnType::Int8 => text.trim().parse().ok().map(Value::Int),
        ColumnType::Float8 => double(text.trim()).map(Value::Float),
        ColumnType::Numeric => {
            is_decimal(text.trim()).then(|| Value::String(text.trim().trim_start_matches('+').into()))
        }
        ColumnType::Bool => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "t" | "yes" | "on" | "1" => Some(Value::Int(1)),
            "false" | "f" | "no" | "off" | "0" => Some(Value::Int(0)),
            _ => None,
        },
        ColumnType::Timestamp => {
            let at: DateTime = text.trim().parse().ok()?;
            let at = at.to_zoned(TimeZone::UTC).ok()?.timestamp();
            Some(Value::Int(at.as_microsecond()))
        }
        ColumnType::Date => {
            let date: Date = text.trim().parse().ok()?;
            let epoch = Date::constant(1970, 1, 1);
            Some(Value::Int(i64::from(date.since(epoch).ok()?.get_days())))
        }
        ColumnType::Float8Array | ColumnType::Bytes => None,
    }
}

/// What a value of the type looks like.
pub fn expected(ty: ColumnType) -> &'static str {
    match ty {
        ColumnType::Text => "a text",
        ColumnType::Int4 | ColumnType::Int8 => "a whole number of 64 bits",
        ColumnType::Float8 => "a number",
        ColumnType::Numeric => "a number such as 12.50",
        ColumnType::Bool => "true or false",
        ColumnType::Timestamp => "a time such as 2020-08-28T03:52:47, without a zone",
        ColumnType::Date => "a date such as 2020-08-28",
        ColumnType::Float8Array | ColumnType::Bytes => "is.null or not.is.null, since such columns are not compared",
    }
}

fn double(text: &str) -> Option<f64> {
    match text.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str() {
        "nan" | "inf" | "infinity" => text.parse().ok(),
        _ => text.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

/// Digits with at most one point among them, and a sign before them; as many as PostgreSQL takes in any case.
fn is_decimal(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.len() <= 1000 && part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(decimals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_type() {
        for (ty, text, expected) in [
            (ColumnType::Int4, "9000000000", Some(Value::Int(9_000_000_000))),
            (ColumnType::Int8, " -7", Some(Value::Int(-7))),
            (ColumnType::Int8, "1.5", None),
            (ColumnType::Int8, "9223372036854775808", None),
            (ColumnType::Float8, "1e3", Some(Value::Float(1000.0))),
            (ColumnType::Float8, "-Infinity", Some(Value::Float(f64::NEG_INFINITY))),
            (ColumnType::Float8, "1e999", None),
            (ColumnType::Numeric, "+12.50", Some(Value::from("12.50"))),
            (ColumnType::Numeric, "1e3", None),
            (ColumnType::Numeric, "1.2.3", None),
            (ColumnType::Bool, "TRUE", Some(Value::Int(1))),
            (ColumnType::Bool, "maybe", None),
            (
                ColumnType::Timestamp,
                "1970-01-01 00:00:01.5",
                Some(Value::Int(1_500_000)),
            ),
            (ColumnType::Timestamp, "1970-01-02", Some(Value::Int(86_400_000_000))),
            (ColumnType::Timestamp, "1970-01-02T00:00:00Z", None),
            (ColumnType::Date, "1969-12-31", Some(Value::Int(-1))),
            (ColumnType::Date, "2000-01-01", Some(Value::Int(10_957))),
            (ColumnType::Date, "1969-13-31", None),
            (ColumnType::Float8Array, "{}", None),
        ] {
            assert_eq!(parse(ty, text), expected, "{ty:?} {text}");
        }
    }
}
