//! Doubles as Postgres prints them.
//!
//! They follow `float8out` with its default `extra_float_digits`: the shortest decimal that lies strictly inside the
//! double's rounding interval, in fixed notation for exponents -4 to 14, else as `1e+20`.

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

/// `{1.5,NULL}`, read back exactly by Postgres.
pub(crate) fn floats_as_text(values: &[Option<f64>]) -> String {
    let values: Vec<String> = values.iter().map(|v| v.map_or("NULL".into(), float8)).collect();
    format!("{{{}}}", values.join(","))
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
}
