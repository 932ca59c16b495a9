//! What all requests of Kinesis's share: the body, and the stream that is meant.

use super::api_error::{ApiError, permit};
use super::body::{self, Body, ReadError, Taken};
use super::kinesis_error::KinesisError;
use super::shape::Object;
use super::state::State;
use super::topics::Topic;
use http_server::{Caller, Need};
use serde::Deserialize;
use std::sync::Arc;

/// The whole body.
pub(super) async fn take(state: &State, incoming: &mut Body) -> Result<Taken, ReadError> {
    let limits = &state.limits;
    body::read(incoming, limits.body_bytes, limits.body_timeout, &state.budget).await
}

/// The topic of a stream, or of a record with this partition key of a caller who may write to it.
pub(super) async fn topic(
    state: &Arc<State>,
    stream: &str,
    record: Option<(&str, &Caller)>,
) -> Result<Arc<Topic>, ApiError> {
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

/// A body in JSON.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, KinesisError> {
    let unreadable = |text: &str| KinesisError::Serialization(text.to_owned());
    let text = std::str::from_utf8(body).map_err(|_| unreadable("the body is not UTF-8"))?;
    let parsed = serde_json::from_str(text).map(|Object(content)| content);
    parsed.map_err(|error| unreadable(&error.to_string()))
}

/// The name of a shard.
pub(super) fn shard_id(partition: i32) -> String {
    format!("shardId-{partition:012}")
}
