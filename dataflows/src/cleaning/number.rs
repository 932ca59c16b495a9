//! Numbers that came as text.

/// A text of digits as an integer: `^\d+$` within i64, else `None`. No sign, no white space.
pub fn digits(text: &str) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    text.bytes().try_fold(0i64, push)
}

/// A follower count: `^\d+(\.\d+)?[kM]?$`, an integer once `k` (thousands) or `M` (millions) is applied, within i64.
pub fn followers(text: &str) -> Option<i64> {
    let (number, decimals) = match text.as_bytes().last()? {
        b'k' => (&text[..text.len() - 1], 3),
        b'M' => (&text[..text.len() - 1], 6),
        _ => (text, 0),
    };
    // a handful of bytes: a loop is faster than a search that is made for long texts
    let point = number.bytes().position(|byte| byte == b'.');
    let mut value = digits(&number[..point.unwrap_or(number.len())])?;
    let fraction = match point {
        None => &[],
        Some(point) => {
            let fraction = &number[point + 1..];
            if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            // trailing zeros say nothing; what is left must vanish with the scale
            fraction.trim_end_matches('0').as_bytes()
        }
    };
    if fraction.len() > decimals {
        return None;
    }
    for place in 0..decimals {
        value = push(value, fraction.get(place).copied().unwrap_or(b'0'))?;
    }
    Some(value)
}

/// A decimal number as JSON writes it, a leading zero or plus allowed, within the range of doubles.
pub fn decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !(all_digits(whole) && all_digits(fraction) && all_digits(exponent)) {
        return None;
    }
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn push(value: i64, digit: u8) -> Option<i64> {
    if !digit.is_ascii_digit() {
        return None;
    }
    value.checked_mul(10)?.checked_add((digit - b'0') as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn followers_by_example() {
        let cases = [
            ("0", Some(0)),
            ("159", Some(159)),
            ("12k", Some(12_000)),
            ("7M", Some(7_000_000)),
            ("1.2M", Some(1_200_000)),
            ("1.2345k", None),
            ("1.2340k", Some(1_234)),
            ("1.0", Some(1)),
            ("1.5", None),
            ("007", Some(7)),
            ("9223372036854775807", Some(i64::MAX)),
            ("9223372036854775808", None),
            ("9223372036854776k", None),
            ("9223372036854775.807k", Some(i64::MAX)),
        ];
        for (text, expected) in cases {
            assert_eq!(followers(text), expected, "{text}");
        }
        for text in [
            "", "k", "M", ".5k", "5.k", "5.", "12K", "12m", "12 k", " 12", "12 ", "-1", "+1", "1e3", "1,000", "1_0",
        ] {
            assert_eq!(followers(text), None, "{text:?}");
        }
        for text in ["12kk", "User Info Error", "٣", "1.2.3k", "k12"] {
            assert_eq!(followers(text), None, "{text:?}");
        }
    }

    #[test]
    fn decimals_by_example() {
        assert_eq!(decimal("-89.9787"), Some(-89.9787));
        assert_eq!(decimal("+1e2"), Some(100.0));
        assert_eq!(decimal("01.50"), Some(1.5));
        for text in [
            "", "-", "inf", "NaN", "1.", ".5", "1e", "1e999", "0x1", " 1", "1 ", "--1", "+-1", "1e+-1", "1.2.3",
        ] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn followers_equal_exact_arithmetic(
            whole in "[0-9]{1,12}", fraction in proptest::option::of("[0-9]{1,8}"), unit in "[kM]?"
        ) {
            let text = format!("{whole}{}{unit}", fraction.as_ref().map_or(String::new(), |f| format!(".{f}")));
            let scale = match unit.as_str() { "k" => 1_000, "M" => 1_000_000, _ => 1i128 };
            let fraction = fraction.unwrap_or_default();
            let all: i128 = format!("{whole}{fraction}").parse::<i128>().unwrap() * scale;
            let one = 10i128.pow(fraction.len() as u32);
            let expected = (all % one == 0).then_some(all / one).and_then(|value| i64::try_from(value).ok());
            prop_assert_eq!(followers(&text), expected);
        }

        #[test]
        fn digits_equal_the_standard_parser(text in "[0-9]{0,22}|[-+0-9 a.]{1,5}") {
            let plain = text.bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(digits(&text), text.parse().ok().filter(|_| plain));
        }
    }
}
