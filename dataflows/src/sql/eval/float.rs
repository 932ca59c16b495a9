//! `double precision`: its order and its text.

use std::cmp::Ordering;

/// PostgreSQL's order: NaN is equal to itself and above all numbers, and −0 is 0.
pub fn compare(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// The same bits for all values that are equal.
pub fn identity(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        // adding 0 makes −0 into 0
        (value + 0.0).to_bits()
    }
}

/// The text that PostgreSQL writes: the shortest that reads as the same number, with an exponent when it is below −4 or
/// above 14.
pub fn text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value < 0.0 { "-Infinity" } else { "Infinity" }.to_owned();
    }
    let (digits, exponent) = shortest(value);
    if !(-4..15).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let decimals = digits.split_once('.').map_or(0, |(_, decimals)| decimals.len() as i32);
    format!("{value:.places$}", places = (decimals - exponent).max(0) as usize)
}

/// Digits with a point behind the first, and the exponent. A text halfway between two numbers does not count, though it
/// reads as the even one of them: PostgreSQL's Ryu leaves it out, and Rust does not.
fn shortest(value: f64) -> (String, i32) {
    let split = |text: &str| -> Option<(String, i32)> {
        let (digits, exponent) = text.split_once('e')?;
        Some((digits.to_owned(), exponent.parse().ok()?))
    };
    let first = format!("{value:e}");
    let decimals = split(&first).map_or(0, |(digits, _)| {
        digits.split_once('.').map_or(0, |(_, after)| after.len())
    });
    let nearest = |decimals: usize| format!("{value:.decimals$e}");
    let longer = (decimals + 1..17).map(nearest);
    // of two that are equally near it is the even one, which `first` is not always; and at a power of 2, below which
    // numbers are closer, what is nearest may not read as the number where `first` does
    let found = [nearest(decimals), first.clone()]
        .into_iter()
        .chain(longer)
        .filter_map(|text| split(&text))
        .find(|(digits, exponent)| reads_as(value, digits, *exponent));
    found.or_else(|| split(&first)).unwrap_or_default()
}

/// Whether what lies a little above and a little below the text reads as `value` too.
fn reads_as(value: f64, digits: &str, exponent: i32) -> bool {
    const LITTLE: usize = 60;
    let negative = digits.starts_with('-');
    let plain: String = digits.chars().filter(char::is_ascii_digit).collect();
    let shift = exponent - (plain.len() as i32 - 1) - LITTLE as i32;
    let below = plain.parse::<u64>().ok().and_then(|digits| digits.checked_sub(1));
    let texts = [
        Some(format!("{plain}{}1e{shift}", "0".repeat(LITTLE - 1))),
        below.map(|digits| format!("{digits}{}e{shift}", "9".repeat(LITTLE))),
    ];
    let mut read = texts.into_iter().flatten().map(|text| text.parse::<f64>());
    read.all(|read| read.is_ok_and(|read| read == value.abs())) && (negative == (value < 0.0))
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
    #[expect(clippy::excessive_precision, reason = "written out as they are")]
    fn text_is_postgresqls() {
        for (value, expected) in [
            (0.1, "0.1"),
            (1e14, "100000000000000"),
            (1e15, "1e+15"),
            (1.25e-4, "0.000125"),
            (1.25e-5, "1.25e-05"),
            (-1.5e300, "-1.5e+300"),
            (123456.5, "123456.5"),
            (0.0, "0"),
            // halfway between two numbers are 5.4662006833352380e16 and, of powers of 2, others
            (54_662_006_833_352_384.0, "5.4662006833352384e+16"),
            (-54_606_145_481_867_264.0, "-5.4606145481867264e+16"),
            (5e-324, "5e-324"),
            (2.980_232_238_769_531_25e-8, "2.9802322387695312e-08"),
            (662_363_157_865_719.25, "662363157865719.2"),
            (5.641232424577593e-278, "5.641232424577593e-278"),
        ] {
            assert_eq!(text(value), expected);
        }
    }
}
