//! What stands beside objects, as any bytes and as any text of an item.

use super::*;
use crate::byte_fuzz::Target;
use crate::lake::file::parse_sidecar;
use serde_json::Value;

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse()
        .ok()
        .filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The metadata that these items are, by the documented form of each.
fn expected(items: &MetadataMap) -> Option<ObjectMetadata> {
    let mut expected = ObjectMetadata::default();
    for (name, text) in items {
        match name.as_str() {
            "pinflow-end" => expected.end = Some(Offset(number(text)?)),
            "pinflow-count" => expected.count = Some(number(text)?),
            "pinflow-bytes" => expected.bytes = Some(number(text)?),
            "pinflow-xxh3" => {
                let is_hex = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                let digits = text.trim_start_matches('0');
                if !is_hex || digits.len() > 16 {
                    return None;
                }
                let digit = |sum: u64, digit: char| sum * 16 + u64::from(digit.to_digit(16).unwrap_or_default());
                expected.checksum = Some(digits.chars().fold(0, digit));
            }
            "pinflow-covers" => {
                let (from, to) = text.split_once("..")?;
                let range = number::<i64>(from)?..number(to)?;
                if range.start > range.end {
                    return None;
                }
                expected.covers = Some(Offset::range(range));
            }
            _ => {}
        }
    }
    Some(expected)
}

/// The items of a sidecar: an object of texts, and nothing else.
fn items(input: &[u8]) -> Option<MetadataMap> {
    let Ok(Value::Object(object)) = serde_json::from_slice(input) else {
        return None;
    };
    let text = |(name, value): (String, Value)| Some((name, value.as_str()?.to_owned()));
    object.into_iter().map(text).collect()
}

fn check(items: &MetadataMap) -> bool {
    let found = ObjectMetadata::from_map("key", items).ok();
    assert_eq!(found, expected(items), "{items:?}");
    if let Some(found) = &found {
        assert_eq!(
            ObjectMetadata::from_map("key", &found.to_map()).ok().as_ref(),
            Some(found)
        );
    }
    found.is_some()
}

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"\"pinflow-end\":", b"\"pinflow-count\":", b"\"pinflow-covers\":", b"\"pinflow-xxh3\":", b"\"pinflow-bytes\":",
    b"\"", b"..", b"+", b"-", b" ", b"0x", b"ffffffffffffffff", b"00", b",", b"{", b"}", b"\\u0031", b"\n",
    b"9223372036854775807",
];

#[test]
fn metadata_are_what_was_written_and_nothing_else_is_read() {
    let target = Target {
        name: "metadata",
        tokens: TOKENS,
        bytes: 2_400_000,
    };
    target.run(|input, _| {
        let sidecar = parse_sidecar("key", input).ok();
        assert_eq!(sidecar, items(input).and_then(|items| expected(&items)));
        let texts = input.split(|byte| *byte == b'\n');
        let texts = texts.filter_map(|text| std::str::from_utf8(text).ok());
        texts.fold(sidecar.is_some(), |accepted, text| {
            let item = |name: &str| MetadataMap::from([(name.to_owned(), text.to_owned())]);
            check(&item("other"));
            let read = [END, COUNT, COVERS, CHECKSUM, BYTES].map(|name| check(&item(name)));
            accepted | read.contains(&true)
        })
    });
}
