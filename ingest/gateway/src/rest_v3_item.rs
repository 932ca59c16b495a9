//! A record of a v3 stream, as JSON: key, value, headers, each with its type.

use super::encoding;
use super::record;
use super::shape::List;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Headers of a record.
pub(super) const HEADERS: usize = 1000;

pub(super) type Headers<'a> = List<NamedValue<'a>, HEADERS>;

#[derive(Deserialize)]
pub(super) struct Item<'a> {
    #[serde(borrow, default)]
    pub(super) key: Option<Data<'a>>,
    #[serde(borrow, default)]
    pub(super) value: Option<Data<'a>>,
    #[serde(borrow, default)]
    pub(super) headers: Option<Headers<'a>>,
    #[serde(default)]
    pub(super) partition_id: Option<i32>,
    #[serde(borrow, default)]
    pub(super) timestamp: Option<Cow<'a, str>>,
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
pub(super) fn content<'a>(data: Option<Data<'a>>) -> Result<Option<(&'static str, Cow<'a, [u8]>)>, ContentError> {
    let Some(Data { kind, data }) = data else {
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
