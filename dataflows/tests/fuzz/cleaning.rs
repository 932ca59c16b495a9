//! Numbers and times that came as texts, a line each.

use super::byte_fuzz::Target;
use super::reference;
use dataflows::cleaning;

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"k", b"M", b".", b"0", b"000", b"e", b"+", b"-", b" ", b"T", b"t", b"Z", b", ", b"/", b":", b"-01-01",
    b"0001-01-01", b"9999-12-31", b"0000-12-31", b"02/29/", b"-02-29", b"1900", b"2000", b"23:59:59", b"24:00:00",
    b".999999", b"+23:59", b"+24:00", b"-24", b":60", b"-23:59", b"+0000", b"9223372036854775807", b"e308", b"e-400",
    b"\xd9\xa3", b"\n",
];

#[test]
fn numbers_and_times_are_read_as_plainly_written_readers_read_them() {
    let target = Target {
        name: "cleaning",
        tokens: TOKENS,
        bytes: 24_000_000,
    };
    target.run(|input, _| {
        let lines = input.split(|byte| *byte == b'\n');
        let texts = lines.filter_map(|line| std::str::from_utf8(line).ok());
        texts.fold(false, |accepted, text| {
            assert_eq!(cleaning::digits(text), reference::digits(text), "digits of {text:?}");
            let followers = cleaning::followers(text);
            assert_eq!(followers, reference::followers(text), "followers of {text:?}");
            let bits = |number: Option<f64>| number.map(f64::to_bits);
            let decimal = bits(cleaning::decimal(text));
            assert_eq!(decimal, bits(reference::decimal(text)), "the decimal {text:?}");
            let micros = cleaning::micros(text);
            assert_eq!(micros, reference::micros(text), "the time {text:?}");
            if let Some(micros) = micros {
                assert_eq!(cleaning::year(micros), reference::year(micros), "the year of {text:?}");
            }
            accepted | followers.is_some() | decimal.is_some() | micros.is_some()
        })
    });
}
