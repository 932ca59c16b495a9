//! Bodies of batches.

use super::*;
use crate::byte_fuzz::Target;
use crate::plain::{Fields, elements, integer, text};

/// The id and the partition of a record that may be sent.
fn entry(json: &str) -> Option<(String, Option<i32>)> {
    let fields = Fields::of(json)?;
    // its other fields are judged as those of a stream's records are, one by one
    for name in ["key", "value", "headers", "timestamp"] {
        fields.only(&[name]).ok()?;
    }
    let partition = match fields.only(&["partition_id"]).ok()? {
        Some(json) => Some(integer(json)?),
        None => None,
    };
    let id = text(fields.only(&["id"]).ok()??)?;
    let is_plain = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '_';
    let is_id = !id.is_empty() && id.chars().count() <= 80 && id.chars().all(is_plain);
    is_id.then_some((id, partition))
}

/// Ids and partitions of the records of a body that may be sent.
fn entries(body: &[u8]) -> Option<Vec<(String, Option<i32>)>> {
    let fields = Fields::of(std::str::from_utf8(body).ok()?)?;
    let elements = elements(fields.only(&["entries"]).ok()??)?;
    let entries: Option<Vec<_>> = elements.into_iter().map(entry).collect();
    let entries = entries.filter(|entries| (1..=50).contains(&entries.len()))?;
    let is_once = |id: &String| entries.iter().filter(|(other, _)| other == id).count() == 1;
    entries.iter().all(|(id, _)| is_once(id)).then_some(entries)
}

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"\"entries\":", b"\"id\":", b"\"value\":", b"\"key\":", b"\"data\":", b"\"type\":\"JSON\",", b"\"headers\":[",
    b"\"partition_id\":", b"{\"id\":\"x\"}", b",{\"id\":\"y_1\"}", b"{\"name\":\"h\"}", b"\"timestamp\":\"x\"", b"[", b"]",
    b"{", b"}", b",", b"null", b"\"\"", b"\"a\"", b"-0", b"1.0", b"\n", b"\\u0041", b"\\n", b"\"\xc3\xa9\"",
];

#[test]
fn records_are_those_of_the_body_in_order_or_none() {
    let target = Target {
        name: "rest_v3_batch",
        tokens: TOKENS,
        bytes: 12_000_000,
    };
    target.run(|input, _| {
        let expected = entries(input);
        let Ok(found) = parse(input) else {
            // what is no JSON of a record refuses the batch, too
            return false;
        };
        let found: Vec<_> = found
            .into_iter()
            .map(|entry| (entry.id.0, entry.item.partition_id.map(|partition| partition.0)))
            .collect();
        assert_eq!(Some(found), expected);
        true
    });
}
