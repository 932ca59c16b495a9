//! Values as Postgres prints them, for the files.
//!
//! Doubles follow `float8out` with its default `extra_float_digits`: the shortest decimal that lies strictly inside
//! the double's rounding interval, in fixed notation for exponents -4 to 14, else as `1e+20`. Timestamps follow
//! `DateStyle = ISO`.

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
        (Value::Floats(values), _) => crate::encode::floats_as_text(values),
        (Value::Bytes(bytes), _) => {
            let mut text = String::from("\\x");
            bytes.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
            text
        }
    })
}

/// A double as `float8out` prints it.
pub fn float8(v: f64) -> String {
    if v.is_nan() {
        return "NaN".into();
    }
    if v.is_infinite() {
        return if v > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let sign = if v.is_sign_negative() { "-" } else { "" };
    if v == 0.0 {
        return format!("{sign}0");
    }
    let (digits, exponent) = shortest(v.abs());
    let body = if !(-4..15).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{first}{point}{rest}e{sign}{:02}", exponent.abs())
    } else if exponent < 0 {
        format!("0.{}{digits}", "0".repeat((-exponent - 1) as usize))
    } else {
        let whole = exponent as usize + 1;
        match digits.split_at_checked(whole) {
            Some((whole, "")) => whole.to_string(),
            Some((whole, fraction)) => format!("{whole}.{fraction}"),
            None => format!("{digits}{}", "0".repeat(whole - digits.len())),
        }
    };
    format!("{sign}{body}")
}

/// Digits without trailing zeros and the exponent of the first one.
///
/// Rust and Postgres agree but for two kinds of ties. A decimal exactly half-way to a neighbour is taken by Rust when
/// rounding to even would read it back, never by Postgres. And where two decimals are equally short and equally near,
/// Rust takes the greater one, Postgres the even one.
fn shortest(v: f64) -> (String, i32) {
    let parts = |text: String| -> (String, i32) {
        let (mantissa, exponent) = text.split_once('e').expect("`{:e}` prints an exponent");
        let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        let trimmed = digits.trim_end_matches('0');
        let digits = if trimmed.is_empty() {
            "0".into()
        } else {
            trimmed.to_string()
        };
        (digits, exponent.parse().expect("an exponent"))
    };
    let (digits, exponent) = parts(format!("{v:e}"));
    if !half_way(v, &digits, exponent) {
        return (even_of_two(v, &digits, exponent).unwrap_or(digits), exponent);
    }
    for precision in digits.len()..17 {
        let text = format!("{v:.precision$e}");
        let (digits, exponent) = (parts(text.clone()), text.parse::<f64>());
        if exponent == Ok(v) && !half_way(v, &digits.0, digits.1) {
            return digits;
        }
    }
    parts(format!("{v:.16e}"))
}

/// The decimal one below, when it is even, as near to `v` and as good. Only decimals of 15 digits and more are that
/// close to each other.
fn even_of_two(v: f64, digits: &str, exponent: i32) -> Option<String> {
    if digits.len() < 15 {
        return None;
    }
    let even: u64 = digits.parse::<u64>().ok().filter(|digits| digits % 2 == 1)? - 1;
    let even = even.to_string();
    // all digits of v: those of the even decimal, then a 5, then nothing
    let exact = format!("{v:.60e}").replace('.', "");
    let tie = exact
        .split('e')
        .next()?
        .strip_prefix(&even)?
        .strip_prefix('5')?
        .bytes()
        .all(|digit| digit == b'0');
    let same = format!("{}.{}e{exponent}", &even[..1], &even[1..]).parse() == Ok(v);
    (tie && same && !half_way(v, &even, exponent)).then(|| even.trim_end_matches('0').to_string())
}

/// Whether the decimal lies exactly between `v` and one of its neighbours. Such a decimal of at most 17 digits is an
/// integer `digits * 10^q` with `5^q < 2^54`, so the odd parts of both sides fit 128 bits.
fn half_way(v: f64, digits: &str, exponent: i32) -> bool {
    let q = exponent - (digits.len() as i32 - 1);
    if !(0..=23).contains(&q) {
        return false;
    }
    let Ok(digits) = digits.parse::<u128>() else {
        return false;
    };
    let decimal = digits * 5u128.pow(q as u32);
    let (odd, twos) = (decimal >> decimal.trailing_zeros(), decimal.trailing_zeros() as i32 + q);
    let mantissa = u128::from(v.to_bits() & ((1 << 52) - 1) | 1 << 52);
    let unit = ((v.to_bits() >> 52) & 0x7ff) as i32 - 1075;
    // v = mantissa * 2^unit; its neighbours are one unit away, the lower one half a unit when v is a power of two
    let below = if mantissa == 1 << 52 {
        (4 * mantissa - 1, unit - 2)
    } else {
        (2 * mantissa - 1, unit - 1)
    };
    (odd, twos) == below || (odd, twos) == (2 * mantissa + 1, unit - 1)
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
    fn doubles_as_postgres_prints_them() {
        // the odd ones are from PostgreSQL's own regression test float8.sql
        for (v, text) in [
            (1.5, "1.5"),
            (3.0, "3"),
            (1e20, "1e+20"),
            (0.0, "0"),
            (-0.0, "-0"),
            (-2.25, "-2.25"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (123456789012345.0, "123456789012345"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (5e-324, "5e-324"),
            (1.7976931348623157e308, "1.7976931348623157e+308"),
            (f64::from_bits(0x43e158e460913d00), "1e+19"),
            (f64::from_bits(0x44b52d02c7e14af6), "9.999999999999999e+22"),
            (f64::from_bits(0x44b52d02c7e14af7), "1.0000000000000001e+23"),
            (f64::INFINITY, "Infinity"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(float8(v), text);
        }
    }

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
