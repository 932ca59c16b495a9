//! Kinesis's streams: which there are, the shards of one, creating and deleting them.

use super::admin::AdminError;
use super::api_error::ApiError;
use super::body::Body;
use super::kinesis_error::KinesisError;
use super::kinesis_request::{parse, shard_id, take, topic};
use super::reply::Reply;
use super::sequence;
use super::state::State;
use http_server::quote::to_json;
use ingest::{Offset, Partition};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Shards of a stream where the request does not say.
const SHARDS: i32 = 5;
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
                starting_sequence_number: sequence::number(0, Partition(partition), Some(Offset::ZERO)),
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
