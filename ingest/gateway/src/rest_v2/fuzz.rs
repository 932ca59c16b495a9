//! Bodies of version 2, in both formats.

use super::*;
use crate::byte_fuzz::Target;
use crate::plain::{self, Fields, elements, integer, is_stored};

/// Key and value of a record as JSON, and its partition.
type Plain<'a> = (Option<&'a str>, Option<&'a str>, Option<i64>);

/// The records of a body that may be sent.
fn records(body: &[u8], format: Format) -> Option<Vec<Plain<'_>>> {
    let fields = Fields::of(std::str::from_utf8(body).ok()?)?;
    let names = [
        "records",
        "key_schema",
        "key_schema_id",
        "value_schema",
        "value_schema_id",
    ];
    let is_once = names.iter().all(|name| fields.only(&[*name]).is_ok());
    if !fields.are_among(&names) || !is_once {
        return None;
    }
    let elements = elements(fields.only(&["records"]).ok()??)?;
    let records: Option<Vec<Plain<'_>>> = elements.into_iter().map(|json| record(json, format)).collect();
    records.filter(|records| !records.is_empty())
}

fn record(json: &str, format: Format) -> Option<Plain<'_>> {
    let fields = Fields::of(json)?;
    if !fields.are_among(&["key", "value", "partition"]) {
        return None;
    }
    let [key, value, partition] = ["key", "value", "partition"].map(|name| fields.only(&[name]).ok());
    let (key, value) = (key?, value?);
    let is_base64 = |json: &str| plain::text(json).and_then(|text| plain::base64(&text)).is_some();
    let mut contents = key.into_iter().chain(value);
    if format == Format::Base64 && !contents.all(is_base64) {
        return None;
    }
    let partition = match partition? {
        Some(json) => Some(integer(json).filter(|partition| *partition >= 0)?),
        None => None,
    };
    Some((key, value, partition))
}

/// Whether these bytes are sent for this JSON.
fn is_sent(sent: Option<&[u8]>, json: Option<&str>, format: Format) -> bool {
    match (sent, json) {
        (None, None) => true,
        (Some(sent), Some(json)) => match format {
            Format::Json => is_stored(sent, json),
            Format::Base64 => plain::text(json).and_then(|text| plain::base64(&text)).as_deref() == Some(sent),
        },
        _ => false,
    }
}

fn check(body: &[u8], format: Format) -> bool {
    let expected = records(body, format);
    let Ok(entries) = parse(body, format) else {
        assert!(expected.is_none(), "records are refused");
        return false;
    };
    let expected = expected.expect("what is no request is refused");
    assert_eq!(entries.len(), expected.len());
    for (entry, (key, value, partition)) in entries.iter().zip(expected) {
        // those before it would be sent already
        let sent = |json, what| content(json, format, what).expect("no record of a request that is taken is refused");
        assert!(
            is_sent(sent(entry.key, "key").as_deref(), key, format),
            "the key {key:?}"
        );
        assert!(
            is_sent(sent(entry.value, "value").as_deref(), value, format),
            "the value {value:?}"
        );
        assert_eq!(entry.partition, partition);
    }
    true
}

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"\"records\":", b"\"value\":", b"\"key\":", b"\"partition\":", b"\"key_schema_id\":1,", b"{\"value\":1}",
    b",{\"value\":\"dg==\"}", b"{\"ind\":1}", b"[", b"]", b"{", b"}", b",", b"null", b"\"\"", b"\"dg\"", b"\"d=g=\"",
    b"=", b"-0", b"1.0", b"\n", b"\r\n", b"\\ud83d", b"\\u0041", b"\"x\\ny\"", b"1e400", b"[\"k\",\"v\"]", b" ",
];

#[test]
fn records_are_those_of_the_body_in_order_or_none() {
    let target = Target {
        name: "rest_v2",
        tokens: TOKENS,
        bytes: 24_000_000,
    };
    target.run(|input, _| check(input, Format::Json) | check(input, Format::Base64));
}
