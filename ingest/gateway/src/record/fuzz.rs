//! The key inside any text, and the text on one line.

use super::*;
use crate::byte_fuzz::Target;
use crate::plain::is_stored;
use serde_json::Value;
use serde_json::value::RawValue;

fn number(json: &Value) -> Option<i64> {
    match json {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text
            .parse()
            .ok()
            .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())),
        _ => None,
    }
}

/// The one number that the fields of a key hold.
fn of_fields(json: &Value) -> Option<i64> {
    let fields = ["ind", "index"].into_iter().filter_map(|name| json.get(name));
    let mut numbers: Vec<i64> = fields.filter_map(number).collect();
    numbers.dedup();
    <[i64; 1]>::try_from(numbers).ok().map(|[number]| number)
}

/// The key inside at most three wrappings.
fn key(mut json: &Value) -> Option<i64> {
    for _ in 0..3 {
        json = match json {
            Value::Array(only) if only.len() == 1 => &only[0],
            Value::Object(fields) if fields.len() == 1 => fields.get("value").unwrap_or(json),
            _ => break,
        };
    }
    of_fields(json)
}

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"\"ind\":", b"\"index\":", b"\"value\":", b"\"\\u0069nd\":", b"{\"ind\":7}", b"[", b"]", b"{", b"}", b",",
    b"\"7\"", b"\"007\"", b"7", b"-7", b"7.0", b"null", b"true", b"9223372036854775808", b"-0", b"\n", b"\r\n", b" ",
    b"\"a b\"", b"\"\\\" \"", b"\\ud83d", b"1e400", b"[[[[", b"]]]]",
];

#[test]
fn keys_are_found_where_plain_values_have_them() {
    let names = ["ind".to_owned(), "index".to_owned()];
    let target = Target {
        name: "keys",
        tokens: TOKENS,
        bytes: 24_000_000,
    };
    target.run(|input, _| {
        let Ok(text) = std::str::from_utf8(input) else {
            assert_eq!(number_of(input, &names), None);
            return false;
        };
        if let Ok(raw) = serde_json::from_str::<&RawValue>(text) {
            let line = one_line(text);
            assert!(is_stored(line.as_bytes(), raw.get()), "{line:?}");
        }
        let plain = match serde_json::from_str::<Value>(text) {
            Ok(json) => {
                assert_eq!(key_of(text, &names).ok(), Some(key(&json)));
                number(&json).or_else(|| of_fields(&json))
            }
            // serde_json's way to skip values takes more than this
            Err(_) if serde_json::from_str::<&RawValue>(text).is_ok() => return false,
            Err(_) => {
                assert!(key_of(text, &names).is_err(), "no JSON");
                None
            }
        };
        // digits may have leading zeros, which JSON does not allow
        let digits = number(&Value::String(text.to_owned()));
        assert_eq!(number_of(input, &names), digits.or(plain));
        plain.is_some()
    });
}
