//! Values as Postgres prints them, for the files.
//!
//! Doubles follow `float8out` (`float_text.rs`), timestamps `DateStyle = ISO`.

pub use crate::float_text::float8;

use crate::float_text::floats_as_text;
use values::{ColumnType, Value};

/// A value's text, or nothing for null.
pub fn value(value: &Value, ty: ColumnType) -> Option<String> {
    Some(match (value, ty) {
        (Value::Null, _) => return None,
        (Value::Int(micros), ColumnType::Timestamp) => timestamp(*micros),
        (Value::Int(days), ColumnType::Date) => {
            let (date, era) = date(*days);
            date + era
        }
        (Value::Int(v), ColumnType::Bool) => if *v == 0 { "f" } else { "t" }.to_owned(),
        (Value::Int(v), _) => v.to_string(),
        (Value::Float(v), _) => float8(*v),
        (Value::Text(_) | Value::String(_), _) => value.as_str().unwrap_or_default().to_string(),
        (Value::Floats(values), _) => floats_as_text(values),
        (Value::Bytes(bytes), _) => {
            let mut text = String::from("\\x");
            bytes.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
            text
        }
    })
}

/// Microseconds since 1970 as `2020-08-28 03:52:47.25`.
pub fn timestamp(micros: i64) -> String {
    let (days, micros) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    let (date, era) = date(days);
    let seconds = micros / 1_000_000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{date} {hour:02}:{minute:02}:{second:02}");
    let fraction = micros % 1_000_000;
    if fraction != 0 {
        let digits = format!("{fraction:06}");
        text.push('.');
        text.push_str(digits.trim_end_matches('0'));
    }
    text + era
}

/// The date of a day since 1970-01-01, and what stands behind it.
fn date(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil(days);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

/// The proleptic Gregorian date of a day since 1970-01-01 (Howard Hinnant, "chrono-compatible low-level date
/// algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_as_postgres_prints_them() {
        for (micros, text) in [
            (0, "1970-01-01 00:00:00"),
            (1_598_586_767_000_000, "2020-08-28 03:52:47"),
            (1_598_586_767_250_000, "2020-08-28 03:52:47.25"),
            (-1, "1969-12-31 23:59:59.999999"),
            (951_782_400_000_000, "2000-02-29 00:00:00"),
            (-62_135_596_800_000_000, "0001-01-01 00:00:00"),
            (253_402_300_799_999_999, "9999-12-31 23:59:59.999999"),
        ] {
            assert_eq!(timestamp(micros), text);
        }
    }
}
