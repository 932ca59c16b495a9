//! A record of Kinesis, in the shapes in which clients write it.
//!
//! Behind API Gateway a mapping template makes AWS's shape of the pipeline's own, and what the template encodes is what
//! is stored: of `record` the JSON that `Data` is, of `records` the content of the text `data`. A client that writes
//! AWS's shape itself has encoded its data: `Records[].Data` is base64, and so is `Data` where the request says that it
//! speaks AWS's protocol.

use super::encoding;
use super::record;
use super::shape::List;
use hyper::header::{CONTENT_TYPE, HeaderMap};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Kinesis's own limits.
pub(super) const RECORDS: usize = 500;
const RECORD_BYTES: usize = 1 << 20;
const KEY_CHARS: usize = 256;

/// How a request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// For API Gateway's mapping template.
    Mapped,
    /// In AWS's JSON protocol: all `Data` is base64.
    Aws,
}

impl Protocol {
    /// What the head of a request says: AWS's media type, or the name of an operation of Kinesis.
    pub(super) fn of(headers: &HeaderMap) -> Protocol {
        let begins = |name: &str, beginning: &str| {
            let value = headers.get(name).map_or(&b""[..], |value| value.as_bytes());
            let start = value.trim_ascii().get(..beginning.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(beginning.as_bytes()))
        };
        if begins(CONTENT_TYPE.as_str(), "application/x-amz-json-") || begins("x-amz-target", "Kinesis_") {
            Protocol::Aws
        } else {
            Protocol::Mapped
        }
    }
}

/// Why a record is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum WrongRecord {
    /// Something is missing, or has the wrong length.
    #[error("{0}")]
    Validation(String),
    /// `Data` of AWS's shape is no text of base64.
    #[error("Data is not base64")]
    NoBase64,
}

/// A record of `PutRecord`, or one of many.
#[derive(Deserialize)]
pub(super) struct One<'a> {
    #[serde(borrow, default, rename = "Data")]
    aws_data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "PartitionKey", alias = "partition-key")]
    key: Option<&'a RawValue>,
}

/// The body of `PutRecords`.
#[derive(Deserialize)]
pub(super) struct Many<'a> {
    #[serde(borrow, default, rename = "Records")]
    aws_records: Option<List<One<'a>, RECORDS>>,
    #[serde(borrow, default)]
    records: Option<List<One<'a>, RECORDS>>,
}

/// A record that may be sent.
pub(super) struct Checked<'a> {
    pub(super) key: String,
    pub(super) data: Cow<'a, [u8]>,
    /// What decides its shard in place of its key.
    pub(super) hash: Option<u128>,
}

impl<'a> Checked<'a> {
    /// A record with a key and data of lengths that Kinesis takes.
    pub(super) fn new(key: String, data: Cow<'a, [u8]>, hash: Option<u128>) -> Result<Checked<'a>, WrongRecord> {
        if key.is_empty() || key.chars().count() > KEY_CHARS {
            let text = "1 validation error detected: Value at 'partitionKey' failed to satisfy constraint: \
                        Member must have length between 1 and 256";
            return Err(WrongRecord::Validation(text.to_owned()));
        }
        if key.len() + data.len() > RECORD_BYTES {
            let text = "1 validation error detected: Value at 'data' failed to satisfy constraint: \
                        Member must have length less than or equal to 1048576";
            return Err(WrongRecord::Validation(text.to_owned()));
        }
        Ok(Checked { key, data, hash })
    }
}

/// A part of a request that has to be there.
pub(super) fn missing(name: &str) -> WrongRecord {
    WrongRecord::Validation(format!(
        "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
    ))
}

/// What is stored of a record's data.
#[derive(Clone, Copy)]
enum Stored {
    /// The JSON that it is.
    Json,
    /// The content of a text, other JSON as it is.
    Content,
    /// What a text of base64 stands for; JSON, which is none, as [`Stored::Content`].
    Decoded,
    /// What it stands for, and nothing else.
    Base64,
}

impl<'a> One<'a> {
    /// What Kinesis demands of a record of `PutRecord`.
    pub(super) fn check(&self, protocol: Protocol) -> Result<Checked<'a>, WrongRecord> {
        match protocol {
            Protocol::Aws => self.checked(Stored::Base64),
            Protocol::Mapped => self.checked(Stored::Json),
        }
    }

    fn checked(&self, stored: Stored) -> Result<Checked<'a>, WrongRecord> {
        let data = self.aws_data.or(self.data);
        let data = data.map(RawValue::get).ok_or_else(|| missing("data"))?;
        let key = self
            .key
            .map(RawValue::get)
            .filter(|raw| *raw != "null")
            .ok_or_else(|| missing("partitionKey"))?;
        // a number is a partition key too: templates put it between quotes
        let key = serde_json::from_str::<String>(key).unwrap_or_else(|_| key.to_owned());
        Checked::new(key, stored.bytes(data)?, None)
    }
}

impl<'a> Many<'a> {
    /// How many records they are; beyond the limit one more.
    pub(super) fn count(&self) -> usize {
        let count = |list: &Option<List<One<'a>, RECORDS>>| list.as_ref().map_or(0, |List(list)| list.len());
        count(&self.aws_records) + count(&self.records)
    }

    /// What Kinesis demands of each, AWS's shape first.
    pub(super) fn check(&self, protocol: Protocol) -> Result<Vec<Checked<'a>>, WrongRecord> {
        let of = |list: &'_ Option<List<One<'a>, RECORDS>>, aws: bool| {
            let list = list.as_ref().map_or(&[][..], |List(list)| list);
            let stored = |one: &One<'a>| match protocol {
                Protocol::Aws => Stored::Base64,
                Protocol::Mapped if aws && one.aws_data.is_some() => Stored::Decoded,
                Protocol::Mapped => Stored::Content,
            };
            list.iter()
                .map(|one| one.checked(stored(one)))
                .collect::<Result<Vec<_>, _>>()
        };
        let mut checked = of(&self.aws_records, true)?;
        checked.extend(of(&self.records, false)?);
        Ok(checked)
    }
}

impl Stored {
    /// The bytes to store of this JSON.
    fn bytes(self, raw: &str) -> Result<Cow<'_, [u8]>, WrongRecord> {
        let text = raw
            .starts_with('"')
            .then(|| serde_json::from_str::<String>(raw).ok())
            .flatten();
        match (self, text) {
            (Stored::Content, Some(text)) => Ok(Cow::Owned(text.into_bytes())),
            (Stored::Decoded, Some(text)) if text.trim_start().starts_with(['{', '[', '"']) => {
                Ok(Cow::Owned(text.into_bytes()))
            }
            (Stored::Decoded | Stored::Base64, Some(text)) => {
                encoding::base64(&text).map(Cow::Owned).ok_or(WrongRecord::NoBase64)
            }
            (Stored::Base64, None) => Err(WrongRecord::NoBase64),
            (Stored::Json | Stored::Content | Stored::Decoded, _) => Ok(match record::one_line(raw) {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            }),
        }
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    fn one(body: &str, protocol: Protocol) -> Result<(String, String), WrongRecord> {
        let one: One<'_> = serde_json::from_str(body).unwrap();
        let checked = one.check(protocol)?;
        Ok((checked.key, String::from_utf8(checked.data.into_owned()).unwrap()))
    }

    fn many(body: &str, protocol: Protocol) -> Result<Vec<String>, WrongRecord> {
        let many: Many<'_> = serde_json::from_str(body).unwrap();
        let checked = many.check(protocol)?;
        assert_eq!(checked.len(), many.count());
        Ok(checked
            .into_iter()
            .map(|one| String::from_utf8(one.data.into_owned()).unwrap())
            .collect())
    }

    #[test]
    fn data_of_a_record_is_the_json_it_is() {
        let of = |body: &str| one(body, Protocol::Mapped).ok();
        let text = r#"{"StreamName":"s","Data":"{\"ind\":1}","PartitionKey":"pin"}"#;
        assert_eq!(of(text), Some(("pin".into(), r#""{\"ind\":1}""#.into())));
        let wrapped = r#"{"Data":{"value":{"ind":1}},"PartitionKey":7}"#;
        assert_eq!(of(wrapped), Some(("7".into(), r#"{"value":{"ind":1}}"#.into())));
        assert_eq!(
            of(r#"{"Data":"","PartitionKey":"k"}"#),
            Some(("k".into(), "\"\"".into()))
        );
        for wrong in [
            r#"{"Data":1}"#,
            r#"{"PartitionKey":"k"}"#,
            r#"{"Data":1,"PartitionKey":""}"#,
        ] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn aws_own_shape_is_decoded_and_the_pipelines_is_not() {
        // {"ind":1}
        let (blob, plain) = ("eyJpbmQiOjF9", r#"{"ind":1}"#);
        let aws = |data: &str| format!(r#"{{"StreamName":"s","Records":[{{"Data":{data},"PartitionKey":"k"}}]}}"#);
        let pipeline = |data: &str| format!(r#"{{"records":[{{"data":{data},"partition-key":"k"}}]}}"#);
        let quoted = format!("\"{blob}\"");
        for protocol in [Protocol::Mapped, Protocol::Aws] {
            assert_eq!(many(&aws(&quoted), protocol), Ok(vec![plain.to_owned()]));
            assert_eq!(
                many(&aws(r#""e30""#), protocol),
                Ok(vec!["{}".to_owned()]),
                "without padding"
            );
            assert_eq!(many(&aws(r#""!""#), protocol), Err(WrongRecord::NoBase64));
        }
        // braces are in no base64
        let text = r#""{\"ind\":1}""#;
        assert_eq!(many(&aws(text), Protocol::Mapped), Ok(vec![plain.to_owned()]));
        assert_eq!(many(&aws(plain), Protocol::Mapped), Ok(vec![plain.to_owned()]));
        assert_eq!(many(&aws(text), Protocol::Aws), Err(WrongRecord::NoBase64));
        assert_eq!(many(&aws(plain), Protocol::Aws), Err(WrongRecord::NoBase64));
        assert_eq!(many(&pipeline(text), Protocol::Mapped), Ok(vec![plain.to_owned()]));
        assert_eq!(many(&pipeline(&quoted), Protocol::Mapped), Ok(vec![blob.to_owned()]));
        let single = format!(r#"{{"Data":{quoted},"PartitionKey":"k"}}"#);
        assert_eq!(one(&single, Protocol::Aws), Ok(("k".into(), plain.into())));
        assert_eq!(one(&single, Protocol::Mapped), Ok(("k".into(), quoted)));
    }

    #[test]
    fn the_head_tells_who_speaks_awss_protocol() {
        for (name, value, protocol) in [
            ("content-type", "application/x-amz-json-1.1", Protocol::Aws),
            (
                "content-type",
                "Application/X-Amz-Json-1.0; charset=utf-8",
                Protocol::Aws,
            ),
            ("x-amz-target", "Kinesis_20131202.PutRecords", Protocol::Aws),
            ("x-amz-target", "DynamoDB_20120810.PutItem", Protocol::Mapped),
            ("content-type", "application/json", Protocol::Mapped),
            ("content-type", "", Protocol::Mapped),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(Protocol::of(&headers), protocol, "{name}: {value}");
        }
    }
}
