//! Confluent's REST proxy, version 2: `POST /topics/{topic}`, JSON and base64, and the questions for topics.
//!
//! A request is answered when all of its records are delivered or have failed; a record that was not taken says so in its
//! slot, in the order of the request, and the others are taken all the same.

use super::api_error::ApiError;
use super::body::{self, Body};
use super::encoding;
use super::media_type::MediaType;
use super::producer::{DeliveryError, DeliveryResult};
use super::record;
use super::reply::{Reply, V2_JSON};
use super::rest::{DENIED, RestError, UNAUTHENTICATED};
use super::send::{Record, Sent};
use super::shape::{List, Object};
use super::state::State;
use http_server::Refusal;
use http_server::quote::{self, JsonNumber, to_json};
use hyper::StatusCode;
use ingest::Partition;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

/// Records of a request; more is more than the proxy's own clients send.
pub(super) const RECORDS: usize = 50_000;

/// How values and keys are written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Base64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request<'a> {
    #[serde(borrow, default)]
    records: Option<List<Entry<'a>, RECORDS>>,
    #[serde(default, rename = "key_schema")]
    _key_schema: Option<IgnoredAny>,
    #[serde(default, rename = "key_schema_id")]
    _key_schema_id: Option<IgnoredAny>,
    #[serde(default, rename = "value_schema")]
    _value_schema: Option<IgnoredAny>,
    #[serde(default, rename = "value_schema_id")]
    _value_schema_id: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry<'a> {
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(default)]
    partition: Option<i64>,
}

/// `POST /topics/{topic}` and `POST /topics/{topic}/partitions/{partition}`.
pub(super) async fn produce(
    state: &Arc<State>,
    name: &str,
    partition: Option<&str>,
    media: MediaType,
    incoming: &mut Body,
) -> Result<Reply, RestError> {
    let format = match media {
        MediaType::KafkaJson => Format::Json,
        MediaType::KafkaBinary => Format::Base64,
        _ => return Err(ApiError::Media.into()),
    };
    let kafka_name = state.topics.named(name);
    let kafka_name = kafka_name.ok_or_else(|| ApiError::NoTopic(name.to_owned()))?;
    let forced = partition.map(number).transpose()?;
    let limits = &state.limits;
    let mut taken = body::read(incoming, limits.body_bytes, limits.body_timeout, &state.budget).await?;
    let entries = parse(&taken.bytes, format)?;
    incoming.caller().charge(entries.len().saturating_sub(1) as u64);
    state.budget.take_records(&mut taken.permit, entries.len())?;
    let topic = state
        .topics
        .get(kafka_name)
        .await
        .map_err(|error| ApiError::topic(error, name))?;
    // none is sent before all their partitions are known
    let named = entries.iter().filter_map(|entry| entry.partition).map(clamped);
    let held = match forced.or_else(|| named.max()) {
        None => i32::MAX,
        Some(last) => {
            let held = state.topics.partitions(&topic, last.0).await;
            held.map_err(|error| ApiError::topic(error, name))?
        }
    };
    if forced.is_some_and(|partition| partition.0 >= held) {
        return Err(ApiError::NoPartition.into());
    }
    let bytes = Arc::new(taken.permit);
    let mut sent = Vec::with_capacity(entries.len());
    for entry in &entries {
        let (key, value) = (
            content(entry.key, format, "key")?,
            content(entry.value, format, "value")?,
        );
        let partition = forced.or(entry.partition.map(clamped));
        if let Some(absent) = partition.filter(|partition| partition.0 >= held) {
            sent.push(Sent::Failed(DeliveryError::NoPartition(absent)));
            continue;
        }
        let text = value.as_deref().map(std::str::from_utf8).and_then(Result::ok);
        let ind = text.and_then(|text| record::key_of(text, &state.key_fields).ok().flatten());
        let record = Record {
            key: key.as_deref(),
            ind,
            value: value.as_deref(),
            partition,
            ..Record::default()
        };
        sent.push(state.send(&topic, record, &bytes));
    }
    let length = taken.bytes.len();
    // Kafka's client has a copy
    drop((entries, bytes));
    drop(taken.bytes);
    let mut body = String::with_capacity(64 + sent.len() * 64);
    body.push_str("{\"offsets\":[");
    let (mut written, mut status) = (0, StatusCode::OK);
    for (index, sent) in sent.into_iter().enumerate() {
        let delivered = state.delivered(&topic, sent).await;
        written += u64::from(delivered.is_ok());
        status = match (&delivered, status) {
            (Err(DeliveryError::Unauthenticated), StatusCode::OK) => StatusCode::UNAUTHORIZED,
            (Err(DeliveryError::Denied), StatusCode::OK) => StatusCode::FORBIDDEN,
            (_, status) => status,
        };
        slot(&mut body, index, &delivered);
    }
    body.push_str("],\"key_schema_id\":null,\"value_schema_id\":null}");
    Ok(Reply::new(status, V2_JSON, body).counted(written, length))
}

/// `GET /topics`.
pub(super) async fn list(state: &Arc<State>) -> Result<Reply, RestError> {
    let names = state.topics.list().await.map_err(|error| ApiError::topic(error, ""))?;
    let body = serde_json::to_string(&names).unwrap_or_default();
    Ok(Reply::new(StatusCode::OK, V2_JSON, body))
}

/// A topic, as `GET /topics/{topic}` describes it.
#[derive(Serialize)]
struct Topic<'a> {
    name: &'a str,
    configs: Configs,
    partitions: Vec<Described>,
}

/// No setting is told.
#[derive(Serialize)]
struct Configs {}

#[derive(Serialize)]
struct Described {
    partition: Partition,
    leader: i32,
    replicas: Vec<Replica>,
}

#[derive(Serialize)]
struct Replica {
    broker: i32,
    leader: bool,
    in_sync: bool,
}

/// `GET /topics/{topic}`.
pub(super) async fn describe(state: &Arc<State>, name: &str) -> Result<Reply, RestError> {
    let kafka_name = state
        .topics
        .named(name)
        .ok_or_else(|| ApiError::NoTopic(name.to_owned()))?;
    let placed = state
        .topics
        .describe(kafka_name)
        .await
        .map_err(|error| ApiError::topic(error, name))?;
    let partitions = placed.iter().map(|placed| {
        let replica = |&(broker, in_sync): &(i32, bool)| Replica {
            broker,
            leader: broker == placed.leader,
            in_sync,
        };
        Described {
            partition: placed.partition,
            leader: placed.leader,
            replicas: placed.replicas.iter().map(replica).collect(),
        }
    });
    let body = to_json(&Topic {
        name,
        configs: Configs {},
        partitions: partitions.collect(),
    });
    Ok(Reply::new(StatusCode::OK, V2_JSON, body))
}

const WRITING: &str = "writing to a String";

/// One element of `offsets`.
fn slot(body: &mut String, index: usize, delivered: &DeliveryResult) {
    let comma = if index > 0 { "," } else { "" };
    match delivered {
        Ok(at) => {
            let (partition, offset) = (at.partition, JsonNumber(at.offset.map(|offset| offset.0)));
            write!(
                body,
                "{comma}{{\"partition\":{partition},\"offset\":{offset},\"error_code\":null,\"error\":null}}"
            )
        }
        Err(error) => {
            let code = match error {
                DeliveryError::Retry(_) => 50003,
                DeliveryError::Denied => DENIED,
                DeliveryError::Unauthenticated => UNAUTHENTICATED,
                _ => 50002,
            };
            let text = quote::json(&error.to_string());
            write!(
                body,
                "{comma}{{\"partition\":null,\"offset\":null,\"error_code\":{code},\"error\":{text}}}"
            )
        }
    }
    .expect(WRITING);
}

/// The partition of a path.
fn number(text: &str) -> Result<Partition, RestError> {
    match text.parse::<i64>() {
        Ok(..0) => Err(negative()),
        Ok(number) => Ok(clamped(number)),
        Err(_) => Err(ApiError::from(Refusal::NotFound).into()),
    }
}

/// A partition of a record: those beyond Kafka's numbers are all the same.
fn clamped(partition: i64) -> Partition {
    Partition(i32::try_from(partition).unwrap_or(i32::MAX))
}

fn negative() -> RestError {
    RestError::Unprocessable("partition must be greater than or equal to 0".to_owned())
}

/// The bytes of a key or a value; `None` for null.
fn content<'a>(raw: Option<&'a RawValue>, format: Format, what: &str) -> Result<Option<Cow<'a, [u8]>>, RestError> {
    let Some(raw) = raw.map(RawValue::get).filter(|raw| *raw != "null") else {
        return Ok(None);
    };
    match format {
        Format::Json => Ok(Some(match record::one_line(raw) {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        })),
        Format::Base64 => {
            let text: Option<String> = serde_json::from_str(raw).ok();
            let bytes = text.and_then(|text| encoding::base64(&text));
            let wrong = || RestError::Unprocessable(format!("Record {what} contains invalid base64 encoding"));
            bytes.map(|bytes| Some(Cow::Owned(bytes))).ok_or_else(wrong)
        }
    }
}

/// The records of a body; none of them is sent unless all can be.
fn parse(body: &[u8], format: Format) -> Result<Vec<Entry<'_>>, RestError> {
    let unreadable = |text: &str| RestError::BadRequest(text.to_owned());
    let text = std::str::from_utf8(body).map_err(|_| unreadable("the body is not UTF-8"))?;
    let Object(request): Object<Request<'_>> = serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        match said
            .strip_prefix("unknown field `")
            .and_then(|rest| rest.split_once("`, expected"))
        {
            Some((field, _)) => RestError::Unprocessable(format!("Unrecognized field: {field}")),
            None => unreadable(&said),
        }
    })?;
    match request.records {
        Some(List(entries)) if entries.len() > RECORDS => {
            let text = format!("a request has at most {RECORDS} records");
            Err(RestError::Unprocessable(text))
        }
        Some(List(entries)) if !entries.is_empty() => {
            if entries
                .iter()
                .any(|entry| entry.partition.is_some_and(|partition| partition < 0))
            {
                return Err(negative());
            }
            if format == Format::Base64 {
                for entry in &entries {
                    content(entry.key, format, "key")?;
                    content(entry.value, format, "value")?;
                }
            }
            Ok(entries)
        }
        _ => Err(RestError::Unprocessable("records must not be empty".to_owned())),
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::super::reply::ReplyBody;
    use super::*;

    fn said(body: &str) -> String {
        let error = match parse(body.as_bytes(), Format::Json) {
            Ok(entries) => return format!("{} records", entries.len()),
            Err(error) => error.reply(V2_JSON),
        };
        match error.body {
            ReplyBody::Whole(Some(body)) => format!("{} {}", error.status.as_u16(), String::from_utf8_lossy(&body)),
            _ => String::new(),
        }
    }

    #[test]
    fn bodies_are_judged_as_the_proxy_does() {
        assert_eq!(
            said(r#"{"records":[{"value":1},{"key":"a","value":null,"partition":0}]}"#),
            "2 records"
        );
        assert_eq!(said(r#"{"value_schema_id":null,"records":[{}]}"#), "1 records");
        let unknown = r#"422 {"error_code":422,"message":"Unrecognized field: ind"}"#;
        assert_eq!(said(r#"{"ind":1,"country":"x"}"#), unknown);
        assert_eq!(said(r#"{"records":[{"ind":1}]}"#), unknown);
        let empty = r#"422 {"error_code":422,"message":"records must not be empty"}"#;
        for body in ["{}", r#"{"records":[]}"#, r#"{"records":null}"#] {
            assert_eq!(said(body), empty, "{body}");
        }
        for body in [
            "",
            "{",
            "[]",
            "7",
            r#"{"records":7}"#,
            r#"{"records":[{"partition":"x"}]}"#,
        ] {
            assert!(
                said(body).starts_with("400 {\"error_code\":400,\"message\":\"Bad Request: "),
                "{body}"
            );
        }
    }
}
