//! `double precision`: its order and its text.

use std::cmp::Ordering;

/// PostgreSQL's order: NaN is equal to itself and above all numbers, and −0 is 0.
pub fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The same bits for all values that are equal.
pub fn identity(value: f64) -> u64 {
    match value.is_nan() {
        true => f64::NAN.to_bits(),
        // adding 0 makes −0 into 0
        false => (value + 0.0).to_bits(),
    }
}

/// The shortest text that reads as the same number, as PostgreSQL writes it: with an exponent when it is below −4 or
/// above 14.
pub fn text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-Infinity" } else { "Infinity" }.to_owned();
    }
    let scientific = format!("{value:e}");
    match scientific
        .split_once('e')
        .map(|(digits, exponent)| (digits, exponent.parse::<i32>()))
    {
        Some((digits, Ok(exponent))) if !(-4..15).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_total() {
        let ascending = [f64::NEG_INFINITY, -1.0, 0.0, 1.0, f64::INFINITY, f64::NAN];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare(*a, *b), i.cmp(&j), "{a} {b}");
            }
        }
        assert_eq!(compare(-0.0, 0.0), Ordering::Equal);
        assert_eq!(identity(-0.0), identity(0.0));
    }

    #[test]
    fn text_is_postgresqls() {
        for (value, expected) in [
            (0.1, "0.1"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1.25e-4, "0.000125"),
            (1.25e-5, "1.25e-05"),
            (-1.5e300, "-1.5e+300"),
            (123456.5, "123456.5"),
        ] {
            assert_eq!(text(value), expected);
        }
    }
}
