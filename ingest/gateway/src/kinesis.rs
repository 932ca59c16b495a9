//! Kinesis behind API Gateway: `PUT …/streams/{stream}/record(s)` and the questions for streams.
//!
//! A stream is a topic, with as many shards as that has partitions. A record's partition is that of its key, as in
//! every dialect; what the answer calls its shard is chosen by MD5 of the partition key, as Kinesis does. What a record
//! looks like says [`super::kinesis_record`].

use super::admin::AdminError;
use super::api_error::{ApiError, permit};
use super::body::{self, Body, BodyError, ReadError, Taken};
use super::budget::{OverBudget, Permit};
use super::kinesis_record::{Checked, Many, One, Protocol, RECORDS, WrongRecord};
use super::partition;
use super::producer::{Delivered, DeliveryError};
use super::record;
use super::reply::{JSON, Reply};
use super::send::{Record, Sent};
use super::sequence;
use super::shape::Object;
use super::state::State;
use super::topics::Topic;
use http_server::quote::{self, Quoted, to_json};
use http_server::{Caller, Need};
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;
use std::sync::Arc;

/// Kinesis's own limit.
const REQUEST_BYTES: usize = 5 << 20;
/// Shards of a stream where the request does not say.
const SHARDS: i32 = 5;
const MOST_SHARDS: i32 = 10_000;

/// What Kinesis calls it when a record may be taken later.
const THROUGHPUT: &str = "ProvisionedThroughputExceededException";

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
    /// A record is not taken while this holds.
    #[error("{0}")]
    Throughput(ApiError),
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

impl From<WrongRecord> for KinesisError {
    fn from(error: WrongRecord) -> KinesisError {
        match error {
            WrongRecord::Validation(text) => KinesisError::Validation(text),
            WrongRecord::NoBase64 => KinesisError::Serialization(error.to_string()),
        }
    }
}

impl KinesisError {
    /// `{"__type":"…","message":"…"}`.
    pub(super) fn reply(&self) -> Reply {
        let (status, kind) = match self {
            KinesisError::Api(error) => return error.with_headers(api(error)),
            KinesisError::Throughput(error) => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                return error.with_headers(error_reply(status, THROUGHPUT, &error.to_string()));
            }
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
        ApiError::Rate(_) => (status, THROUGHPUT),
        ApiError::Budget(OverBudget::Now) => (StatusCode::TOO_MANY_REQUESTS, THROUGHPUT),
        ApiError::Busy => (StatusCode::TOO_MANY_REQUESTS, "LimitExceededException"),
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
    #[derive(Serialize)]
    struct ErrorBody<'a> {
        __type: &'a str,
        message: Quoted<'a>,
    }
    let message = Quoted(text);
    Reply::new(status, JSON, to_json(&ErrorBody { __type: kind, message }))
}

/// `PUT /streams/{stream}/record`.
pub(super) async fn put_record(
    state: &Arc<State>,
    stream: &str,
    protocol: Protocol,
    incoming: &mut Body,
) -> Result<Reply, KinesisError> {
    let taken = take(state, incoming).await?;
    let one: One<'_> = parse(&taken.bytes)?;
    let checked = one.check(protocol)?;
    let topic = topic(state, stream, Some((checked.key.as_str(), incoming.caller())));
    let topic = topic.await.map_err(of_record)?;
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
pub(super) async fn put_records(
    state: &Arc<State>,
    stream: &str,
    protocol: Protocol,
    incoming: &mut Body,
) -> Result<Reply, KinesisError> {
    let mut taken = take(state, incoming).await?;
    let many: Many<'_> = parse(&taken.bytes)?;
    let count = many.count();
    if count == 0 || count > RECORDS {
        let bound = if count == 0 {
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
    incoming.caller().charge(count.saturating_sub(1) as u64);
    let checked = many.check(protocol)?;
    let total: usize = checked.iter().map(|record| record.key.len() + record.data.len()).sum();
    if total > REQUEST_BYTES {
        let text = "Records size exceeds 5 MB limit".to_owned();
        return Err(KinesisError::InvalidArgument(text));
    }
    state.budget.take_records(&mut taken.permit, count)?;
    let bytes = Arc::new(taken.permit);
    // each record may belong to another topic; none is sent before all have one
    let mut topics = Vec::with_capacity(checked.len());
    for record in &checked {
        let topic = topic(state, stream, Some((record.key.as_str(), incoming.caller())));
        topics.push(topic.await.map_err(of_record)?);
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
    drop((checked, many, bytes));
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
                // Kinesis has these two
                let code = match error {
                    DeliveryError::Retry(_) => THROUGHPUT,
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

/// The names of streams.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Streams<'a> {
    has_more_streams: bool,
    stream_names: &'a [String],
}

/// A stream and its shards.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Described<'a> {
    stream_description: StreamDescription<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamDescription<'a> {
    stream_name: &'a str,
    stream_status: &'static str,
    has_more_shards: bool,
    shards: Vec<Shard>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shard {
    shard_id: String,
    hash_key_range: HashKeyRange,
    sequence_number_range: SequenceNumberRange,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HashKeyRange {
    starting_hash_key: String,
    ending_hash_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SequenceNumberRange {
    starting_sequence_number: String,
}

/// `GET /streams`.
pub(super) async fn list(state: &Arc<State>) -> Result<Reply, KinesisError> {
    let names = state.topics.list().await.map_err(|error| ApiError::topic(error, ""))?;
    Ok(Reply::json(to_json(&Streams {
        has_more_streams: false,
        stream_names: &names,
    })))
}

/// `GET /streams/{stream}`.
pub(super) async fn describe(state: &Arc<State>, stream: &str) -> Result<Reply, KinesisError> {
    let topic = topic(state, stream, None).await?;
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
    let shards = (0..count).map(|shard| {
        let end = if shard + 1 == count {
            u128::MAX
        } else {
            start(shard + 1) - 1
        };
        let partition = i32::try_from(shard).unwrap_or(0);
        Shard {
            shard_id: shard_id(partition),
            hash_key_range: HashKeyRange {
                starting_hash_key: start(shard).to_string(),
                ending_hash_key: end.to_string(),
            },
            sequence_number_range: SequenceNumberRange {
                starting_sequence_number: sequence::number(0, partition, Some(0)),
            },
        }
    });
    Ok(Reply::json(to_json(&Described {
        stream_description: StreamDescription {
            stream_name: stream,
            stream_status: "ACTIVE",
            has_more_shards: false,
            shards: shards.collect(),
        },
    })))
}

/// `POST /streams/{stream}`.
pub(super) async fn create(state: &Arc<State>, stream: &str, incoming: &mut Body) -> Result<Reply, KinesisError> {
    #[derive(Deserialize)]
    struct Shards {
        #[serde(rename = "ShardCount")]
        count: Option<i64>,
    }
    let taken = take(state, incoming).await?;
    let count = if taken.bytes.iter().all(u8::is_ascii_whitespace) {
        None
    } else {
        parse::<Shards>(&taken.bytes)?.count
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
    let found = match record {
        Some(_) => state.topics.get(name).await,
        None => state.topics.existing(name).await,
    };
    found.map_err(|error| ApiError::topic(error, stream))
}

/// A record that waits for what is known about its topic is throttled as one that waits for Kafka.
fn of_record(error: ApiError) -> KinesisError {
    match error {
        ApiError::Busy => KinesisError::Throughput(error),
        error => error.into(),
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, KinesisError> {
    let unreadable = |text: &str| KinesisError::Serialization(text.to_owned());
    let text = std::str::from_utf8(body).map_err(|_| unreadable("the body is not UTF-8"))?;
    let parsed = serde_json::from_str(text).map(|Object(content)| content);
    parsed.map_err(|error| unreadable(&error.to_string()))
}

fn send(state: &State, topic: &Topic, checked: &Checked<'_>, bytes: &Arc<Permit>) -> Sent {
    let text = std::str::from_utf8(&checked.data).ok();
    let ind = text.and_then(|text| record::key_of(text, &state.key_fields).ok().flatten());
    let placed_by = Some(checked.key.as_bytes());
    let value = Some(&*checked.data);
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
    let number = sequence::number(state.sequence_clock.next(), at.partition, at.offset);
    format!("\"SequenceNumber\":\"{number}\",\"ShardId\":\"{}\"", shard_id(shard))
}

fn shard_id(partition: i32) -> String {
    format!("shardId-{partition:012}")
}
