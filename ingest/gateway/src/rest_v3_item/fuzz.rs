//! Bodies of version 3: records one after the other, each taken or refused by itself.

use super::*;
use crate::byte_fuzz::Target;
use crate::plain::{self, Fields, elements, integer, is_stored};
use crate::split::Splitter;
use rdkafka::message::Headers as _;

/// Names and values of a record's headers.
type PlainHeaders = Vec<(String, Option<Vec<u8>>)>;

/// A record that is sent.
struct Sent<'a> {
    key: Option<Cow<'a, [u8]>>,
    value: Option<Cow<'a, [u8]>>,
    headers: Option<OwnedHeaders>,
    partition: Option<Partition>,
}

/// What is sent of a record, as the stream decides it.
fn sent(object: &[u8]) -> Option<Sent<'_>> {
    let item: Item<'_> = serde_json::from_str(std::str::from_utf8(object).ok()?).ok()?;
    let bytes = |data: Option<(&'static str, _)>| data.map(|(_, bytes)| bytes);
    let (key, value) = (content(item.key).ok()?, content(item.value).ok()?);
    timestamp(item.timestamp.as_deref()).ok()?;
    Some(Sent {
        key: bytes(key),
        value: bytes(value),
        headers: record_headers(item.headers.as_ref()).ok()?,
        partition: item.partition_id,
    })
}

/// What is to be sent for a key or a value: JSON, or bytes.
enum Content<'a> {
    Json(&'a str),
    Bytes(Vec<u8>),
}

impl Content<'_> {
    fn is(&self, sent: &[u8]) -> bool {
        match self {
            Content::Json(json) => is_stored(sent, json),
            Content::Bytes(bytes) => sent == bytes,
        }
    }
}

/// A record by its plain meaning.
struct Plain<'a> {
    key: Option<Content<'a>>,
    value: Option<Content<'a>>,
    headers: Option<PlainHeaders>,
    partition: Option<i32>,
}

/// Nothing where the record is refused.
fn plain(object: &[u8]) -> Option<Plain<'_>> {
    let fields = Fields::of(std::str::from_utf8(object).ok()?)?;
    let names = ["key", "value", "headers", "partition_id", "timestamp"];
    let [key, value, headers, partition, time] = names.map(|name| fields.only(&[name]).ok());
    let time = time?.map(|json| plain::text(json).ok_or(())).transpose().ok()?;
    timestamp(time.as_deref()).ok()?;
    let partition = partition?.map(|json| integer(json).ok_or(())).transpose().ok()?;
    Some(Plain {
        key: plain_content(key?)?,
        value: plain_content(value?)?,
        headers: plain_headers(headers?)?,
        partition,
    })
}

/// Nothing where it is refused.
fn plain_content(json: Option<&str>) -> Option<Option<Content<'_>>> {
    let Some(json) = json else { return Some(None) };
    let fields = Fields::of(json)?;
    let kind = match fields.only(&["type"]).ok()? {
        Some(json) => plain::text(json)?,
        None => "JSON".to_owned(),
    };
    let data = fields.only(&["data"]).ok()?;
    let content = |json| match kind.as_str() {
        "JSON" => Some(Content::Json(json)),
        "STRING" => plain::text(json).map(|text| Content::Bytes(text.into_bytes())),
        _ => plain::base64(&plain::text(json)?).map(Content::Bytes),
    };
    match (["JSON", "STRING", "BINARY"].contains(&kind.as_str()), data) {
        (false, _) => None,
        (true, None) => Some(None),
        (true, Some(json)) => content(json).map(Some),
    }
}

/// Nothing where they are refused.
fn plain_headers(json: Option<&str>) -> Option<Option<PlainHeaders>> {
    let Some(json) = json else { return Some(None) };
    let header = |json| {
        let fields = Fields::of(json)?;
        let name = plain::text(fields.only(&["name"]).ok()??)?;
        let value = match fields.only(&["value"]).ok()? {
            Some(json) => Some(plain::base64(&plain::text(json)?)?),
            None => None,
        };
        Some((name, value)).filter(|(name, _)| !name.contains('\0'))
    };
    elements(json)?.into_iter().map(header).collect::<Option<_>>().map(Some)
}

fn check(object: &[u8]) -> bool {
    let expected = plain(object);
    let Some(sent) = sent(object) else {
        assert!(expected.is_none(), "{} is refused", object.escape_ascii());
        return false;
    };
    let Some(expected) = expected else {
        panic!("{} is taken", object.escape_ascii());
    };
    for (what, sent, expected) in [("key", sent.key, expected.key), ("value", sent.value, expected.value)] {
        let is_same = match (&sent, &expected) {
            (Some(sent), Some(expected)) => expected.is(sent),
            (sent, expected) => sent.is_none() && expected.is_none(),
        };
        assert!(is_same, "the {what} {sent:?}");
    }
    let headers = sent.headers.map(|headers| {
        let headers = headers.iter();
        let headers = headers.map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)));
        headers.collect::<PlainHeaders>()
    });
    assert_eq!(headers, expected.headers);
    assert_eq!(sent.partition.map(|partition| partition.0), expected.partition);
    true
}

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"\"value\":", b"\"key\":", b"\"type\":", b"\"data\":", b"\"headers\":", b"\"name\":", b"\"partition_id\":",
    b"\"timestamp\":", b"\"JSON\"", b"\"BINARY\"", b"\"STRING\"", b"\"AVRO\"", b"{\"value\":{\"data\":{\"ind\":1}}}",
    b"null", b"\"dg==\"", b"\"2026-01-02T03:04:05Z\"", b"[\"JSON\",1]", b"[{\"name\":\"a\",\"value\":\"dg\"}]",
    b"\\u0000", b"\\ud83d", b"{", b"}", b"[", b"]", b",", b"\"", b"\n", b"\r\n", b" ", b"-0", b"1.5", b"1e400",
];

#[test]
fn records_of_a_stream_are_those_of_the_body_in_order() {
    let target = Target {
        name: "rest_v3",
        tokens: TOKENS,
        bytes: 30_000_000,
    };
    target.run(|input, random| {
        let mut splitter = Splitter::new(input.len() + 1);
        let (mut rest, mut objects) = (input, Vec::new());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(1 + random.below(rest.len() as u64) as usize);
            splitter.feed(now);
            rest = later;
            while let Ok(Some(object)) = splitter.next() {
                objects.push(object);
            }
        }
        // what serde_json finds before its first error
        let found = serde_json::Deserializer::from_slice(input).into_iter::<&RawValue>();
        let found = found.map_while(|object| Some(object.ok()?.get().as_bytes()).filter(|json| json.starts_with(b"{")));
        for (number, object) in found.enumerate() {
            assert_eq!(objects.get(number).map(|object| &object[..]), Some(object));
        }
        objects.iter().fold(false, |accepted, object| accepted | check(object))
    });
}
