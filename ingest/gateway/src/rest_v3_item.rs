//! A record of a v3 stream, as JSON: key, value, headers, each with its type.

use super::encoding;
use super::record;
use super::shape::{List, Object};
use ingest::Partition;
use rdkafka::message::{Header, OwnedHeaders};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Headers of a record.
const HEADERS: usize = 1000;
/// What a header costs beside its bytes, here and in librdkafka.
pub(super) const HEADER_OVERHEAD: usize = 96;
/// A timestamp may be ahead of the clock by what brokers allow (`message.timestamp.after.max.ms`).
const AHEAD: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

pub(super) type Headers<'a> = List<NamedValue<'a>, HEADERS>;

#[derive(Deserialize)]
pub(super) struct Item<'a> {
    #[serde(borrow, default)]
    pub(super) key: Option<Object<Data<'a>>>,
    #[serde(borrow, default)]
    pub(super) value: Option<Object<Data<'a>>>,
    #[serde(borrow, default)]
    pub(super) headers: Option<Headers<'a>>,
    #[serde(default)]
    pub(super) partition_id: Option<Partition>,
    #[serde(borrow, default)]
    pub(super) timestamp: Option<Cow<'a, str>>,
}

impl Item<'_> {
    /// How many headers it has.
    pub(super) fn header_count(&self) -> Result<usize, HeaderError> {
        match self.headers.as_ref().map_or(0, |List(headers)| headers.len()) {
            count @ ..=HEADERS => Ok(count),
            _ => Err(HeaderError::Count),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Data<'a> {
    #[serde(borrow, default, rename = "type")]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct NamedValue<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) value: Option<Cow<'a, str>>,
}

/// Why a key or a value is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ContentError {
    #[error("data of type {0} is a string")]
    NotText(&'static str),
    #[error("data of type BINARY is base64")]
    NotBase64,
    #[error("type {0} is not served: JSON, BINARY and STRING are")]
    UnknownType(String),
}

/// Type and bytes of a key or a value; `None` for null.
pub(super) fn content<'a>(
    data: Option<Object<Data<'a>>>,
) -> Result<Option<(&'static str, Cow<'a, [u8]>)>, ContentError> {
    let Some(Object(Data { kind, data })) = data else {
        return Ok(None);
    };
    let text = |raw: &RawValue, kind: &'static str| {
        serde_json::from_str::<String>(raw.get()).map_err(|_| ContentError::NotText(kind))
    };
    let raw = data.filter(|raw| raw.get() != "null");
    match (kind.as_deref(), raw) {
        (Some("JSON" | "BINARY" | "STRING") | None, None) => Ok(None),
        (Some("JSON") | None, Some(raw)) => Ok(Some((
            "JSON",
            match record::one_line(raw.get()) {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
        ))),
        (Some("STRING"), Some(raw)) => Ok(Some(("STRING", Cow::Owned(text(raw, "STRING")?.into_bytes())))),
        (Some("BINARY"), Some(raw)) => {
            let bytes = encoding::base64(&text(raw, "BINARY")?).ok_or(ContentError::NotBase64)?;
            Ok(Some(("BINARY", Cow::Owned(bytes))))
        }
        (Some(other), _) => Err(ContentError::UnknownType(other.to_owned())),
    }
}

/// Milliseconds since 1970. One that the broker refuses would fail everything that stands in a batch with it.
pub(super) fn timestamp(text: Option<&str>) -> Result<Option<i64>, &'static str> {
    match text.map(str::parse::<jiff::Timestamp>) {
        None => Ok(None),
        Some(Ok(time)) if time.as_millisecond() < 0 || time > jiff::Timestamp::now() + AHEAD => {
            Err("the timestamp is before 1970 or more than an hour ahead")
        }
        Some(Ok(time)) => Ok(Some(time.as_millisecond())),
        Some(Err(_)) => Err("the timestamp is not of the form 2026-01-02T03:04:05Z"),
    }
}

/// Why a record's headers are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("a record has at most {HEADERS} headers")]
    Count,
    #[error("a header's name holds no NUL")]
    Name,
    #[error("a header's value is base64")]
    Value,
}

/// The headers of a record as librdkafka takes them.
pub(super) fn record_headers(headers: Option<&Headers<'_>>) -> Result<Option<OwnedHeaders>, HeaderError> {
    let Some(List(headers)) = headers else { return Ok(None) };
    if headers.len() > HEADERS {
        return Err(HeaderError::Count);
    }
    let mut owned = OwnedHeaders::new_with_capacity(headers.len());
    for NamedValue { name, value } in headers {
        if name.contains('\0') {
            return Err(HeaderError::Name);
        }
        let value = match value {
            Some(value) => Some(encoding::base64(value).ok_or(HeaderError::Value)?),
            None => None,
        };
        let (key, value) = (&**name, value.as_deref());
        owned = owned.insert(Header { key, value });
    }
    Ok(Some(owned))
}

#[cfg(test)]
mod fuzz;
