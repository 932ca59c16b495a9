//! Bodies of `PutRecord` and `PutRecords` of Kinesis's own protocol, in JSON and in CBOR.

use super::*;
use crate::byte_fuzz::Target;
use crate::kinesis_call::Form;
use crate::plain::{self, Fields, elements};
use ciborium::Value;

/// A part of a request by its plain meaning: absent, or this; an error where it is of another type.
type Part<T> = Result<Option<T>, ()>;
/// A record: its data, key and hash.
type Plain = (Vec<u8>, String, Option<u128>);

const STREAM: [&str; 2] = ["StreamName", "StreamARN"];
const RECORD: [&str; 3] = ["Data", "PartitionKey", "ExplicitHashKey"];
const ORDER: &str = "SequenceNumberForOrdering";

/// An object of either form.
trait Object: Sized {
    fn text(&self, name: &str) -> Part<String>;
    fn blob(&self, name: &str) -> Part<Vec<u8>>;
    fn list(&self, name: &str) -> Part<Vec<Self>>;
    fn has_only(&self, names: &[&str]) -> bool;
}

impl Object for Fields<'_> {
    fn text(&self, name: &str) -> Part<String> {
        let json = self.only(&[name]).map_err(drop)?;
        json.map(|json| plain::text(json).ok_or(())).transpose()
    }

    fn blob(&self, name: &str) -> Part<Vec<u8>> {
        let text = self.text(name)?;
        text.map(|text| plain::base64(&text).ok_or(())).transpose()
    }

    fn list(&self, name: &str) -> Part<Vec<Self>> {
        let Some(json) = self.only(&[name]).map_err(drop)? else {
            return Ok(None);
        };
        let elements = elements(json).ok_or(())?;
        let fields = elements.into_iter().map(|json| Fields::of(json).ok_or(()));
        fields.collect::<Result<_, _>>().map(Some)
    }

    fn has_only(&self, names: &[&str]) -> bool {
        self.are_among(names)
    }
}

/// The entries of a map, without tags.
struct Map(Vec<(Value, Value)>);

impl Map {
    fn of(value: Value) -> Option<Map> {
        let entries = untagged(value).into_map().ok()?;
        let entries = entries
            .into_iter()
            .map(|(name, value)| (untagged(name), untagged(value)));
        Some(Map(entries.collect()))
    }

    fn only(&self, name: &str) -> Part<&Value> {
        let is_named = |key: &Value| match key {
            Value::Text(text) => text == name,
            // serde takes these for names, too
            Value::Bytes(bytes) => bytes == name.as_bytes(),
            _ => false,
        };
        let mut named = self.0.iter().filter(|(key, _)| is_named(key));
        match (named.next(), named.next()) {
            (_, Some(_)) => Err(()),
            (found, None) => Ok(found.map(|(_, value)| value).filter(|value| **value != Value::Null)),
        }
    }
}

impl Object for Map {
    fn text(&self, name: &str) -> Part<String> {
        let text = self.only(name)?.map(|value| value.as_text().ok_or(()));
        Ok(text.transpose()?.map(str::to_owned))
    }

    fn blob(&self, name: &str) -> Part<Vec<u8>> {
        let bytes = self.only(name)?.map(|value| value.as_bytes().ok_or(()));
        Ok(bytes.transpose()?.cloned())
    }

    fn list(&self, name: &str) -> Part<Vec<Self>> {
        let Some(value) = self.only(name)? else {
            return Ok(None);
        };
        let elements = value.as_array().ok_or(())?.iter();
        let maps = elements.map(|element| Map::of(element.clone()).ok_or(()));
        maps.collect::<Result<_, _>>().map(Some)
    }

    fn has_only(&self, names: &[&str]) -> bool {
        let is_known = |key: &Value| key.as_text().is_some_and(|text| names.contains(&text));
        self.0.iter().all(|(key, _)| is_known(key))
    }
}

fn untagged(value: Value) -> Value {
    match value {
        Value::Tag(_, inner) => untagged(*inner),
        value => value,
    }
}

/// The plain meaning of a body, if it has one; none at all where a `Value` does not tell it: requests are read whatever
/// the tags of their names and data are, while it takes bytes behind some tags for a number, and no more than so many tags.
fn plain_cbor(body: &[u8]) -> Option<Option<Map>> {
    fn has_number(value: &Value) -> bool {
        match value {
            Value::Integer(_) => true,
            Value::Tag(_, inner) => has_number(inner),
            Value::Array(values) => values.iter().any(has_number),
            Value::Map(entries) => entries.iter().any(|(key, value)| has_number(key) || has_number(value)),
            _ => false,
        }
    }
    let has_bignum = body.iter().any(|byte| matches!(byte, 0xc2 | 0xc3));
    let mut rest = body;
    match ciborium::from_reader::<Value, _>(&mut rest) {
        Err(ciborium::de::Error::RecursionLimitExceeded) => None,
        Err(_) if has_bignum => None,
        Ok(value) if has_bignum && has_number(&value) => None,
        Ok(value) if rest.is_empty() => Some(Map::of(value)),
        _ => Some(None),
    }
}

fn plain_number(text: &str) -> Option<u128> {
    let number = text.parse::<u128>().ok()?;
    (number.to_string() == text).then_some(number)
}

fn plain_record(fields: &impl Object) -> Option<Plain> {
    let data = fields.blob("Data").ok()??;
    let key = fields.text("PartitionKey").ok()??;
    let hash = fields.text("ExplicitHashKey").ok()?;
    let hash = hash.map(|hash| plain_number(&hash).ok_or(())).transpose().ok()?;
    (1..=256).contains(&key.chars().count()).then_some((data, key, hash))
}

fn plain_stream(fields: &impl Object) -> Option<String> {
    let (name, arn) = (fields.text(STREAM[0]).ok()?, fields.text(STREAM[1]).ok()?);
    let Some(arn) = arn else {
        return name;
    };
    let (head, of_arn) = arn.split_once(":stream/")?;
    let parts: Vec<&str> = head.split(':').collect();
    let is_stream = parts.len() == 5 && parts[0] == "arn" && parts[1].starts_with("aws") && parts[2] == "kinesis";
    let is_right = is_stream && !of_arn.is_empty() && !of_arn.contains('/');
    (is_right && name.is_none_or(|name| name == of_arn)).then(|| of_arn.to_owned())
}

fn plain_one(fields: &impl Object) -> Option<(String, Plain)> {
    let number = fields.text(ORDER).ok()?;
    let is_number = |text: &str| {
        let digits = (1..=129).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_digit());
        digits && (text == "0" || !text.starts_with('0'))
    };
    let record = plain_record(fields)?;
    number.is_none_or(|number| is_number(&number)).then_some(())?;
    Some((plain_stream(fields)?, record))
}

fn plain_many(fields: &impl Object) -> Option<(String, Vec<Plain>)> {
    let records = fields.list("Records").ok()?.unwrap_or_default();
    let records = records.iter().map(plain_record).collect::<Option<Vec<_>>>()?;
    Some((plain_stream(fields)?, records))
}

fn of_checked(record: Checked<'_>) -> Plain {
    (record.data.into_owned(), record.key, record.hash)
}

/// Compares both readers; of fields that it does not know, a reader may refuse what the other skips.
fn compare<T: PartialEq + std::fmt::Debug>(read: Option<T>, plain: Option<T>, is_known: bool) -> bool {
    match (&read, &plain) {
        (None, Some(_)) => assert!(!is_known, "what is a request is refused: {plain:?}"),
        _ => assert_eq!(read.as_ref().and(plain.as_ref()), read.as_ref()),
    }
    read.is_some()
}

fn check(body: &[u8], form: Form, fields: Option<&impl Object>) -> bool {
    let one = form.parse::<PutRecord>(body).and_then(PutRecord::check).ok();
    let one = one.map(|(stream, record)| (stream, of_checked(record)));
    let knows = |names: &[&str]| fields.is_some_and(|fields| fields.has_only(names));
    let names = [&STREAM[..], &RECORD, &[ORDER]].concat();
    let is_one = compare(one, fields.and_then(|fields| plain_one(fields)), knows(&names));
    let many = form.parse::<PutRecords>(body).ok();
    // more than there may be are refused before they are looked at
    let many = many
        .filter(|many| many.count() <= RECORDS)
        .and_then(|many| many.check().ok());
    let many = many.map(|(stream, records)| (stream, records.into_iter().map(of_checked).collect::<Vec<_>>()));
    let plain = fields
        .and_then(|fields| plain_many(fields))
        .filter(|(_, records)| records.len() <= RECORDS);
    let list = fields
        .and_then(|fields| fields.list("Records").ok().flatten())
        .unwrap_or_default();
    let is_known = knows(&[STREAM[0], STREAM[1], "Records"]) && list.iter().all(|record| record.has_only(&RECORD));
    let has_records = many.as_ref().is_some_and(|(_, records)| !records.is_empty());
    compare(many, plain, is_known) && has_records || is_one
}

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"\"Records\":", b"\"Data\":", b"\"PartitionKey\":", b"\"StreamName\":\"s\",", b"\"ExplicitHashKey\":\"7\",",
    b"\"StreamARN\":\"arn:aws:kinesis:r:1:stream/s\",", b"\"SequenceNumberForOrdering\":\"1\",", b"\"dg==\"", b"null",
    b"[", b"]", b"{", b"}", b",", b"=", b"\"", b"340282366920938463463374607431768211456",
    // CBOR: a map and a list of any length and their end, names, bytes, null, tags
    b"\xbf", b"\x9f", b"\xff", b"\xa1", b"\xa3", b"\x81", b"gRecords", b"dData", b"lPartitionKey", b"jStreamName",
    b"oExplicitHashKey", b"iStreamARN", b"as", b"ak", b"a7", b"\x41v", b"\x5f\x41v\xff", b"\x7f\x61k\xff", b"\xf6",
    b"\xf7", b"\xc1", b"\xc2\x41\x01", b"\x18\x20", b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff", b"\x78\x20",
];

#[test]
fn records_are_those_of_the_body_in_either_form_or_none() {
    let target = Target {
        name: "kinesis_api",
        tokens: TOKENS,
        bytes: 20_000_000,
    };
    target.run(|input, _| {
        let json = std::str::from_utf8(input).ok().and_then(Fields::of);
        let is_json = check(input, Form::Json, json.as_ref());
        let Some(cbor) = plain_cbor(input) else {
            // it must not panic
            let _ = (
                Form::Cbor.parse::<PutRecord>(input),
                Form::Cbor.parse::<PutRecords>(input),
            );
            return is_json;
        };
        is_json | check(input, Form::Cbor, cbor.as_ref())
    });
}
