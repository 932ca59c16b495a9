//! Kinesis's streams: which there are, the shards of one, creating and deleting them.

use super::admin::AdminError;
use super::api_error::ApiError;
use super::body::Body;
use super::kinesis_error::KinesisError;
use super::kinesis_request::{parse, take, topic};
use super::kinesis_shards::{Shard, shards};
use super::reply::Reply;
use super::state::State;
use http_server::quote::to_json;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Shards of a stream where the request does not say.
const SHARDS: i64 = 5;
const MOST_SHARDS: i32 = 10_000;

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
    Ok(Reply::json(to_json(&Described {
        stream_description: StreamDescription {
            stream_name: stream,
            stream_status: "ACTIVE",
            has_more_shards: false,
            shards: shards(topic.pinned, 0, usize::MAX),
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
    create_stream(state, stream, Some(count.unwrap_or(SHARDS))).await?;
    Ok(Reply::json("{}"))
}

/// Creates the topic of a stream, with so many shards, or as many as new topics have.
pub(super) async fn create_stream(state: &Arc<State>, stream: &str, shards: Option<i64>) -> Result<(), KinesisError> {
    let wrong = || KinesisError::Validation("ShardCount is a number from 1 to 10000".to_owned());
    let count = |count: i64| {
        i32::try_from(count)
            .ok()
            .filter(|count| (1..=MOST_SHARDS).contains(count))
    };
    let shards = shards.map(|shards| count(shards).ok_or_else(wrong)).transpose()?;
    if !state.create_topics {
        let text = "streams are created by the operator, or with --create-topics".to_owned();
        return Err(KinesisError::AccessDenied(text));
    }
    let Some(name) = state.topics.exact(stream) else {
        let text = "A stream is created under the name of a configured topic, or under an alias".to_owned();
        return Err(KinesisError::InvalidArgument(text));
    };
    match state.topics.make(name, shards).await {
        Ok(()) => Ok(()),
        Err(AdminError::Exists) => Err(KinesisError::InUse(stream.to_owned())),
        Err(error) => Err(ApiError::admin(error, stream).into()),
    }
}

/// `DELETE /streams/{stream}`.
pub(super) async fn delete(state: &Arc<State>, stream: &str) -> Result<Reply, KinesisError> {
    delete_stream(state, stream).await?;
    Ok(Reply::json("{}"))
}

/// Deletes the topic of a stream.
pub(super) async fn delete_stream(state: &Arc<State>, stream: &str) -> Result<(), KinesisError> {
    if !state.delete_topics {
        let text = "streams are deleted by the operator, or with --delete-topics".to_owned();
        return Err(KinesisError::AccessDenied(text));
    }
    let name = state.topics.exact(stream);
    let name = name.ok_or_else(|| ApiError::NoTopic(stream.to_owned()))?;
    let deleted = state.topics.delete(name).await;
    Ok(deleted.map_err(|error| ApiError::admin(error, stream))?)
}
