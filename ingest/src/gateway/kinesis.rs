//! Kinesis behind API Gateway: `PUT …/streams/{stream}/record(s)` and the questions for streams.
//!
//! A stream is a topic, with as many shards as that has partitions. A record's partition is that of its key, as in
//! every dialect; what the answer calls its shard is chosen by MD5 of the partition key, as Kinesis does. `record` stores `Data` as the JSON it
//! is, and `records` the content of the text `data`, as the mapping templates that people use do.

use super::admin::AdminError;
use super::api_error::{ApiError, permit};
use super::auth::Caller;
use super::body::{self, Body, BodyError, ReadError, Taken};
use super::budget::{OverBudget, Permit};
use super::partition;
use super::producer::{Delivered, DeliveryError};
use super::quote;
use super::record;
use super::reply::{JSON, Reply};
use super::scope::Need;
use super::send::{Record, Sent};
use super::sequence;
use super::shape::{List, Object};
use super::state::State;
use super::topics::Topic;
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

/// Kinesis's own limits.
const RECORDS: usize = 500;
const RECORD_BYTES: usize = 1 << 20;
const REQUEST_BYTES: usize = 5 << 20;
const KEY_CHARS: usize = 256;
/// Shards of a stream when nobody says.
const SHARDS: i32 = 5;
const MOST_SHARDS: i32 = 10_000;

/// Why a request is not served, in Kinesis's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum KinesisError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("{0}")]
    Serialization(String),
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    InvalidArgument(String),
    #[error("{0}")]
    AccessDenied(String),
    #[error("Stream {0} already exists.")]
    InUse(String),
}

impl From<ReadError> for KinesisError {
    fn from(error: ReadError) -> KinesisError {
        ApiError::from(error).into()
    }
}

impl From<OverBudget> for KinesisError {
    fn from(error: OverBudget) -> KinesisError {
        ApiError::from(error).into()
    }
}

impl KinesisError {
    /// `{"__type":"…","message":"…"}`.
    pub(super) fn reply(&self) -> Reply {
        let (status, kind) = match self {
            KinesisError::Api(error) => return error.with_headers(api(error)),
            KinesisError::Serialization(_) => (StatusCode::BAD_REQUEST, "SerializationException"),
            KinesisError::Validation(_) => (StatusCode::BAD_REQUEST, "ValidationException"),
            KinesisError::InvalidArgument(_) => (StatusCode::BAD_REQUEST, "InvalidArgumentException"),
            KinesisError::InUse(_) => (StatusCode::BAD_REQUEST, "ResourceInUseException"),
            KinesisError::AccessDenied(_) => (StatusCode::FORBIDDEN, "AccessDeniedException"),
        };
        error_reply(status, kind, &self.to_string())
    }
}

fn api(error: &ApiError) -> Reply {
    let status = error.status();
    let (status, kind) = match error {
        ApiError::NotFound | ApiError::Method(_) => (status, "UnknownOperationException"),
        ApiError::Unauthenticated => (status, "MissingAuthenticationTokenException"),
        ApiError::Rate(_) => (status, "ProvisionedThroughputExceededException"),
        ApiError::Budget(OverBudget::Now) => (StatusCode::TOO_MANY_REQUESTS, "ProvisionedThroughputExceededException"),
        ApiError::Body(BodyError::TooLarge(_)) | ApiError::Budget(_) | ApiError::RecordTooLarge => {
            (status, "RequestEntityTooLargeException")
        }
        ApiError::Site(error) if error.is_malformed() => (status, "ValidationException"),
        ApiError::Site(_) => (status, "AccessDeniedException"),
        ApiError::Body(BodyError::Slow) => (status, "RequestTimeoutException"),
        ApiError::Body(BodyError::Broken) => (status, "SerializationException"),
        ApiError::InvalidRecord(_) => (status, "InvalidArgumentException"),
        ApiError::Media => (status, "UnsupportedMediaTypeException"),
        ApiError::NoTopic(name) => {
            return error_reply(
                status,
                "ResourceNotFoundException",
                &format!("Stream {name} not found."),
            );
        }
        ApiError::NoPartition => (status, "ResourceNotFoundException"),
        ApiError::Denied(_) | ApiError::Scope(_) => (status, "AccessDeniedException"),
        ApiError::KafkaAuthentication => (status, "UnrecognizedClientException"),
        ApiError::Unavailable(_) => (status, "ServiceUnavailableException"),
        ApiError::Refused(_) => (status, "InternalFailure"),
    };
    error_reply(status, kind, &error.to_string())
}

fn error_reply(status: StatusCode, kind: &str, text: &str) -> Reply {
    let text = quote::json(text);
    Reply::new(status, JSON, format!("{{\"__type\":\"{kind}\",\"message\":{text}}}"))
}

#[derive(Deserialize)]
struct One<'a> {
    #[serde(borrow, default, rename = "Data", alias = "data")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, rename = "PartitionKey", alias = "partition-key")]
    key: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Many<'a> {
    #[serde(borrow, default, alias = "Records")]
    records: Option<List<One<'a>, RECORDS>>,
}

/// A record that may be sent.
struct Checked<'a> {
    key: String,
    data: Cow<'a, str>,
}

/// `PUT /streams/{stream}/record`.
pub(super) async fn put_record(state: &Arc<State>, stream: &str, incoming: &mut Body) -> Result<Reply, KinesisError> {
    let taken = take(state, incoming).await?;
    let one: One<'_> = parse(&taken.bytes)?;
    let checked = check(&one, false)?;
    let topic = topic(state, stream, Some((checked.key.as_str(), incoming.caller()))).await?;
    let bytes = Arc::new(taken.permit);
    let sent = send(state, &topic, &checked, &bytes);
    let shard = partition::of_partition_key(&checked.key, topic.pinned);
    let length = taken.bytes.len();
    // Kafka's client has a copy
    drop((checked, one, bytes));
    drop(taken.bytes);
    let delivered = state.delivered(&topic, sent).await;
    let at = delivered.map_err(|error| ApiError::delivery(error, stream))?;
    let place = place(state, shard, &at);
    Ok(Reply::json(format!("{{{place}}}")).counted(1, length))
}

/// `PUT /streams/{stream}/records`.
pub(super) async fn put_records(state: &Arc<State>, stream: &str, incoming: &mut Body) -> Result<Reply, KinesisError> {
    let mut taken = take(state, incoming).await?;
    let many: Many<'_> = parse(&taken.bytes)?;
    let entries = many.records.map_or_else(Vec::new, |List(entries)| entries);
    if entries.is_empty() || entries.len() > RECORDS {
        let bound = if entries.is_empty() {
            "greater than or equal to 1"
        } else {
            "less than or equal to 500"
        };
        let text = format!(
            "1 validation error detected: Value at 'records' failed to satisfy constraint: \
             Member must have length {bound}"
        );
        return Err(KinesisError::Validation(text));
    }
    let mut checked = Vec::with_capacity(entries.len());
    for entry in &entries {
        checked.push(check(entry, true)?);
    }
    let total: usize = checked.iter().map(|record| record.key.len() + record.data.len()).sum();
    if total > REQUEST_BYTES {
        let text = "Records size exceeds 5 MB limit".to_owned();
        return Err(KinesisError::InvalidArgument(text));
    }
    state.budget.take_records(&mut taken.permit, entries.len())?;
    let bytes = Arc::new(taken.permit);
    // each record may belong to another topic; none is sent before all have one
    let mut topics = Vec::with_capacity(checked.len());
    for record in &checked {
        topics.push(topic(state, stream, Some((record.key.as_str(), incoming.caller()))).await?);
    }
    let sent: Vec<Sent> = checked
        .iter()
        .zip(&topics)
        .map(|(record, topic)| send(state, topic, record, &bytes))
        .collect();
    let shards = checked.iter().zip(&topics);
    let shards: Vec<i32> = shards
        .map(|(record, topic)| partition::of_partition_key(&record.key, topic.pinned))
        .collect();
    let length = taken.bytes.len();
    // Kafka's client has a copy
    drop((checked, entries, bytes));
    drop(taken.bytes);
    let (mut failed, mut body) = (0u64, String::with_capacity(sent.len() * 128));
    let count = sent.len() as u64;
    for ((sent, topic), shard) in sent.into_iter().zip(&topics).zip(shards) {
        let comma = if body.is_empty() { "" } else { "," };
        match state.delivered(topic, sent).await {
            Ok(at) => write!(body, "{comma}{{{}}}", place(state, shard, &at)),
            // Kafka lets the gateway write none of them
            Err(error @ (DeliveryError::Denied | DeliveryError::Unauthenticated)) if count == 1 => {
                return Err(ApiError::delivery(error, stream).into());
            }
            Err(error) => {
                failed += 1;
                let code = match error {
                    DeliveryError::Retry(_) => "ServiceUnavailable",
                    _ => "InternalFailure",
                };
                let text = quote::json(&error.to_string());
                write!(body, "{comma}{{\"ErrorCode\":\"{code}\",\"ErrorMessage\":{text}}}")
            }
        }
        .expect("writing to a String");
    }
    let body = format!("{{\"FailedRecordCount\":{failed},\"Records\":[{body}]}}");
    Ok(Reply::json(body).counted(count - failed, length))
}

/// `GET /streams`.
pub(super) async fn list(state: &Arc<State>) -> Result<Reply, KinesisError> {
    let names = state.topics.list().await.map_err(|error| ApiError::topic(error, ""))?;
    let names = serde_json::to_string(&names).unwrap_or_default();
    Ok(Reply::json(format!(
        "{{\"HasMoreStreams\":false,\"StreamNames\":{names}}}"
    )))
}

/// `GET /streams/{stream}`.
pub(super) async fn describe(state: &Arc<State>, stream: &str) -> Result<Reply, KinesisError> {
    let topic = topic(state, stream, None).await?;
    let name = serde_json::to_string(stream).unwrap_or_default();
    let count = u128::from(topic.pinned.unsigned_abs().max(1));
    // 2^128 × shard / count, rounded up: the first hash that falls into the shard
    let start = |shard: u128| match shard {
        0 => 0,
        shard if shard == count => u128::MAX,
        shard => {
            let (whole, rest) = (u128::MAX / count, u128::MAX % count);
            whole * shard + ((rest + 1) * shard).div_ceil(count)
        }
    };
    let mut shards = String::new();
    for shard in 0..count {
        let end = if shard + 1 == count {
            u128::MAX
        } else {
            start(shard + 1) - 1
        };
        let comma = if shard > 0 { "," } else { "" };
        let partition = i32::try_from(shard).unwrap_or(0);
        write!(
            shards,
            "{comma}{{\"ShardId\":\"{}\",\"HashKeyRange\":{{\"StartingHashKey\":\"{}\",\"EndingHashKey\":\"{end}\"}},\
             \"SequenceNumberRange\":{{\"StartingSequenceNumber\":\"{}\"}}}}",
            shard_id(partition),
            start(shard),
            sequence::number(0, partition, 0),
        )
        .expect("writing to a String");
    }
    let status = "\"StreamStatus\":\"ACTIVE\",\"HasMoreShards\":false";
    Ok(Reply::json(format!(
        "{{\"StreamDescription\":{{\"StreamName\":{name},{status},\"Shards\":[{shards}]}}}}"
    )))
}

/// `POST /streams/{stream}`.
pub(super) async fn create(state: &Arc<State>, stream: &str, incoming: &mut Body) -> Result<Reply, KinesisError> {
    #[derive(Deserialize)]
    struct Shards {
        #[serde(rename = "ShardCount")]
        count: Option<i64>,
    }
    let taken = take(state, incoming).await?;
    let count = match taken.bytes.iter().all(u8::is_ascii_whitespace) {
        true => None,
        false => parse::<Shards>(&taken.bytes)?.count,
    };
    let count = match count.map_or(Ok(SHARDS), i32::try_from) {
        Ok(count @ 1..=MOST_SHARDS) => count,
        _ => {
            let text = "ShardCount is a number from 1 to 10000".to_owned();
            return Err(KinesisError::Validation(text));
        }
    };
    if !state.create_topics {
        let text = "streams are created by the operator, or with --create-topics".to_owned();
        return Err(KinesisError::AccessDenied(text));
    }
    let Some(name) = state.topics.exact(stream) else {
        let text = "A stream is created under the name of a configured topic, or under an alias".to_owned();
        return Err(KinesisError::InvalidArgument(text));
    };
    match state.topics.make(name, Some(count)).await {
        Ok(()) => Ok(Reply::json("{}")),
        Err(AdminError::Exists) => Err(KinesisError::InUse(stream.to_owned())),
        Err(error) => Err(ApiError::admin(error, stream).into()),
    }
}

/// `DELETE /streams/{stream}`.
pub(super) async fn delete(state: &Arc<State>, stream: &str) -> Result<Reply, KinesisError> {
    if !state.delete_topics {
        let text = "streams are deleted by the operator, or with --delete-topics".to_owned();
        return Err(KinesisError::AccessDenied(text));
    }
    let name = state.topics.exact(stream);
    let name = name.ok_or_else(|| ApiError::NoTopic(stream.to_owned()))?;
    state
        .topics
        .delete(name)
        .await
        .map_err(|error| ApiError::admin(error, stream))?;
    Ok(Reply::json("{}"))
}

async fn take(state: &State, incoming: &mut Body) -> Result<Taken, ReadError> {
    let limits = &state.limits;
    body::read(incoming, limits.body_bytes, limits.body_timeout, &state.budget).await
}

/// The topic of a stream, or of a record with this partition key of a caller who may write to it.
async fn topic(state: &Arc<State>, stream: &str, record: Option<(&str, &Caller)>) -> Result<Arc<Topic>, ApiError> {
    let name = state
        .topics
        .of_stream(stream, record.map(|(key, _)| key))
        .ok_or_else(|| ApiError::NoTopic(stream.to_owned()))?;
    if let Some((_, caller)) = record {
        permit(caller, Need::Produce(name))?;
    }
    state
        .topics
        .get(name)
        .await
        .map_err(|error| ApiError::topic(error, stream))
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, KinesisError> {
    let unreadable = |text: &str| KinesisError::Serialization(text.to_owned());
    let text = std::str::from_utf8(body).map_err(|_| unreadable("the body is not UTF-8"))?;
    let parsed = serde_json::from_str(text).map(|Object(content)| content);
    parsed.map_err(|error| unreadable(&error.to_string()))
}

/// What Kinesis demands of a record; `content`: a text stands for its content, not for a JSON text.
fn check<'a>(one: &One<'a>, content: bool) -> Result<Checked<'a>, KinesisError> {
    let missing = |name: &str| {
        KinesisError::Validation(format!(
            "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
        ))
    };
    let data = one.data.map(RawValue::get).ok_or_else(|| missing("data"))?;
    let key = one
        .key
        .map(RawValue::get)
        .filter(|raw| *raw != "null")
        .ok_or_else(|| missing("partitionKey"))?;
    // a number is a partition key too: templates put it between quotes
    let key = serde_json::from_str::<String>(key).unwrap_or_else(|_| key.to_owned());
    if key.is_empty() || key.chars().count() > KEY_CHARS {
        let text = "1 validation error detected: Value at 'partitionKey' failed to satisfy constraint: \
                    Member must have length between 1 and 256";
        return Err(KinesisError::Validation(text.to_owned()));
    }
    let text = (content && data.starts_with('"'))
        .then(|| serde_json::from_str::<String>(data).ok())
        .flatten();
    let data = match text {
        Some(text) => Cow::Owned(text),
        None => record::one_line(data),
    };
    if key.len() + data.len() > RECORD_BYTES {
        let text = "1 validation error detected: Value at 'data' failed to satisfy constraint: \
                    Member must have length less than or equal to 1048576";
        return Err(KinesisError::Validation(text.to_owned()));
    }
    Ok(Checked { key, data })
}

fn send(state: &State, topic: &Topic, checked: &Checked<'_>, bytes: &Arc<Permit>) -> Sent {
    let ind = record::key_of(&checked.data, &state.key_fields).ok().flatten();
    let placed_by = Some(checked.key.as_bytes());
    let value = Some(checked.data.as_bytes());
    state.send(
        topic,
        Record {
            placed_by,
            ind,
            value,
            ..Record::default()
        },
        bytes,
    )
}

fn place(state: &State, shard: i32, at: &Delivered) -> String {
    let number = sequence::number(state.moments.next(), at.partition, at.offset);
    format!("\"SequenceNumber\":\"{number}\",\"ShardId\":\"{}\"", shard_id(shard))
}

fn shard_id(partition: i32) -> String {
    format!("shardId-{partition:012}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_the_json_it_is_and_in_records_the_content_of_a_text() {
        let of = |body: &str, content| {
            let one: One<'_> = serde_json::from_str(body).unwrap();
            check(&one, content)
                .map(|checked| (checked.key.clone(), checked.data.into_owned()))
                .ok()
        };
        let text = r#"{"StreamName":"s","Data":"{\"ind\":1}","PartitionKey":"pin"}"#;
        assert_eq!(of(text, false), Some(("pin".into(), r#""{\"ind\":1}""#.into())));
        assert_eq!(of(text, true), Some(("pin".into(), r#"{"ind":1}"#.into())));
        let wrapped = r#"{"Data":{"value":{"ind":1}},"PartitionKey":7}"#;
        assert_eq!(of(wrapped, false), Some(("7".into(), r#"{"value":{"ind":1}}"#.into())));
        assert_eq!(
            of(r#"{"Data":"","PartitionKey":"k"}"#, false),
            Some(("k".into(), "\"\"".into()))
        );
        assert_eq!(of(r#"{"Data":1}"#, false), None);
        assert_eq!(of(r#"{"PartitionKey":"k"}"#, false), None);
        assert_eq!(of(r#"{"Data":1,"PartitionKey":""}"#, false), None);
    }
}
