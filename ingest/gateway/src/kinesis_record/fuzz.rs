//! Bodies of `PutRecord` and `PutRecords`, in both protocols.

use super::*;
use crate::byte_fuzz::Target;
use crate::kinesis_request::parse;
use crate::plain::{self, Fields, elements, is_stored};

/// What is to be stored: the JSON that it is, or bytes.
enum Data<'a> {
    Json(&'a str),
    Bytes(Vec<u8>),
}

/// The key and the data of a record, none where it is refused; `stored` is what the documentation says of the data.
fn plain_record<'a>(json: &'a str, stored: impl Fn(bool) -> Stored) -> Option<(String, Data<'a>)> {
    let fields = Fields::of(json)?;
    let (aws, own) = (fields.only(&["Data"]).ok()?, fields.only(&["data"]).ok()?);
    let key = fields.only(&["PartitionKey", "partition-key"]).ok()??;
    let key = plain::text(key).unwrap_or_else(|| key.to_owned());
    let data = aws.or(own)?;
    let text = plain::text(data);
    let decoded = |text: &str| plain::base64(text).map(Data::Bytes);
    let data = match (stored(aws.is_some()), text) {
        (Stored::Json, _) | (Stored::Content | Stored::Decoded, None) => Data::Json(data),
        (Stored::Content, Some(text)) => Data::Bytes(text.into_bytes()),
        (Stored::Base64, text) => decoded(&text?)?,
        (Stored::Decoded, Some(text)) => match text.trim_start().chars().next() {
            Some('{' | '[' | '"') => Data::Bytes(text.into_bytes()),
            _ => decoded(&text)?,
        },
    };
    let length = key.chars().count();
    (1..=256).contains(&length).then_some((key, data))
}

fn check_record(checked: &Checked<'_>, (key, data): (String, Data<'_>)) {
    assert_eq!(checked.key, key);
    match data {
        Data::Json(json) => assert!(is_stored(&checked.data, json), "{:?} of {json}", checked.data),
        Data::Bytes(bytes) => assert_eq!(*checked.data, bytes),
    }
}

fn check_one(body: &[u8], protocol: Protocol) -> bool {
    let plain_stored = |_| match protocol {
        Protocol::Aws => Stored::Base64,
        Protocol::Mapped => Stored::Json,
    };
    let expected = std::str::from_utf8(body).ok();
    let expected = expected.and_then(|json| plain_record(json, plain_stored));
    let one = parse::<One<'_>>(body);
    match one.ok().and_then(|one| one.check(protocol).ok()) {
        Some(checked) => {
            check_record(&checked, expected.expect("what is no record is refused"));
            true
        }
        None => {
            assert!(expected.is_none(), "a record is refused");
            false
        }
    }
}

/// The records of a body, AWS's shape first; none where it is refused, for one of them too.
fn plain_records(body: &[u8], protocol: Protocol) -> Option<Vec<(String, Data<'_>)>> {
    let fields = Fields::of(std::str::from_utf8(body).ok()?)?;
    let list = |name: &str| match fields.only(&[name]).ok()? {
        Some(json) => elements(json),
        None => Some(Vec::new()),
    };
    let (aws, own) = (list("Records")?, list("records")?);
    let stored = |is_aws: bool| {
        move |has_data: bool| match protocol {
            Protocol::Aws => Stored::Base64,
            Protocol::Mapped if is_aws && has_data => Stored::Decoded,
            Protocol::Mapped => Stored::Content,
        }
    };
    let aws = aws.into_iter().map(|json| plain_record(json, stored(true)));
    let own = own.into_iter().map(|json| plain_record(json, stored(false)));
    aws.chain(own).collect()
}

fn check_many(body: &[u8], protocol: Protocol) -> bool {
    let many = parse::<Many<'_>>(body).ok();
    // more than there may be are refused before they are looked at
    let many = many.filter(|many| many.count() <= RECORDS);
    let expected = plain_records(body, protocol).filter(|records| records.len() <= RECORDS);
    let Some(checked) = many.and_then(|many| Some((many.count(), many.check(protocol).ok()?))) else {
        assert!(expected.is_none(), "records are refused");
        return false;
    };
    let (count, checked) = checked;
    let expected = expected.expect("what is no request is refused");
    assert_eq!((count, checked.len()), (expected.len(), expected.len()));
    checked
        .iter()
        .zip(expected)
        .for_each(|(checked, plain)| check_record(checked, plain));
    count > 0
}

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"\"Records\":", b"\"records\":", b"\"Data\":", b"\"data\":", b"\"PartitionKey\":", b"\"partition-key\":",
    b"\"StreamName\":\"s\",", b"\"eyJpbmQiOjF9\"", b"\"{\\\"ind\\\":1}\"", b"{\"value\":{\"ind\":1}}",
    b"{\"Data\":\"dg==\",\"PartitionKey\":\"p\"}", b"7", b"null", b"\"\"", b"\" [\"", b"\\ud83d", b"\\u0041", b"=",
    b"[", b"]", b"{", b"}", b",", b"\n", b"\r\n", b" ", b"[1,\"dg\",\"p\"]",
];

#[test]
fn records_are_those_of_the_body_in_order_or_none() {
    let target = Target {
        name: "kinesis",
        tokens: TOKENS,
        bytes: 40_000_000,
    };
    target.run(|input, _| {
        let of = |protocol| check_one(input, protocol) | check_many(input, protocol);
        of(Protocol::Aws) | of(Protocol::Mapped)
    });
}
