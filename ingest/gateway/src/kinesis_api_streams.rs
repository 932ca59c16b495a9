//! Streams in Kinesis's own protocol: which there are, the shards of one, creating and deleting them.
//!
//! What Kinesis says of a stream and a topic does not have is said as of a stream with nothing special: it keeps records
//! for 24 hours, was created in 1970, and is neither encrypted nor monitored.

use super::api_error::ApiError;
use super::kinesis_call::Form;
use super::kinesis_error::KinesisError;
use super::kinesis_input::{CreateStream, DescribeStream, ListShards, ListStreams, OfStream, ShardPage};
use super::kinesis_request::topic;
use super::kinesis_shards::{Shard, shards};
use super::kinesis_streams::{create_stream, delete_stream};
use super::reply::Reply;
use super::state::State;
use hyper::StatusCode;
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// The account of every stream.
const ACCOUNT: &str = "000000000000";
/// The region of streams where none is configured.
const REGION: &str = "us-east-1";

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Streams<'a> {
    has_more_streams: bool,
    stream_names: &'a [String],
    stream_summaries: Vec<Summary<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<&'a str>,
}

/// What every description of a stream begins with.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Summary<'a> {
    stream_name: &'a str,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
    stream_status: &'static str,
    stream_mode_details: ModeDetails,
    stream_creation_timestamp: Epoch,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ModeDetails {
    stream_mode: &'static str,
}

/// The beginning of 1970: when a topic was created, Kafka does not say.
struct Epoch;

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_u8(0)
        } else {
            ciborium::tag::Required::<u8, 1>(0).serialize(serializer)
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Described<'a> {
    stream_description: StreamDescription<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamDescription<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    has_more_shards: bool,
    shards: Vec<Shard>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Summarized<'a> {
    stream_description_summary: StreamDescriptionSummary<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StreamDescriptionSummary<'a> {
    #[serde(flatten)]
    common: Common<'a>,
    open_shard_count: i32,
    consumer_count: i32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Common<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    retention_period_hours: i32,
    enhanced_monitoring: [Monitoring; 1],
    encryption_type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Monitoring {
    shard_level_metrics: [&'static str; 0],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shards {
    shards: Vec<Shard>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

pub(super) async fn list_streams(state: &Arc<State>, form: Form, body: &[u8]) -> Result<Reply, KinesisError> {
    let (after, most) = form.parse::<ListStreams>(body)?.check()?;
    let names = state.topics.list().await.map_err(|error| ApiError::topic(error, ""))?;
    let first = after.map_or(0, |after| names.partition_point(|name| *name <= after));
    let rest = &names[first..];
    let page = &rest[..rest.len().min(most)];
    let has_more_streams = page.len() < rest.len();
    Ok(form.reply(
        StatusCode::OK,
        &Streams {
            has_more_streams,
            stream_names: page,
            stream_summaries: page.iter().map(|name| summary(state, name)).collect(),
            next_token: page.last().filter(|_| has_more_streams).map(String::as_str),
        },
    ))
}

pub(super) async fn list_shards(state: &Arc<State>, form: Form, body: &[u8]) -> Result<Reply, KinesisError> {
    let page = form.parse::<ListShards>(body)?.check()?;
    let (shards, next) = of_page(state, &page).await?;
    let next_token = next.map(|next| page.token(next));
    Ok(form.reply(StatusCode::OK, &Shards { shards, next_token }))
}

pub(super) async fn describe(state: &Arc<State>, form: Form, body: &[u8]) -> Result<Reply, KinesisError> {
    let page = form.parse::<DescribeStream>(body)?.check()?;
    let (shards, next) = of_page(state, &page).await?;
    let stream_description = StreamDescription {
        common: common(state, &page.stream),
        has_more_shards: next.is_some(),
        shards,
    };
    Ok(form.reply(StatusCode::OK, &Described { stream_description }))
}

pub(super) async fn summarize(state: &Arc<State>, form: Form, body: &[u8]) -> Result<Reply, KinesisError> {
    let stream = form.parse::<OfStream>(body)?.stream()?;
    let topic = topic(state, &stream, None).await?;
    let stream_description_summary = StreamDescriptionSummary {
        common: common(state, &stream),
        open_shard_count: topic.pinned,
        consumer_count: 0,
    };
    Ok(form.reply(
        StatusCode::OK,
        &Summarized {
            stream_description_summary,
        },
    ))
}

pub(super) async fn create(state: &Arc<State>, form: Form, body: &[u8]) -> Result<Reply, KinesisError> {
    let request = form.parse::<CreateStream>(body)?;
    // without a number, on demand: as many as new topics have
    let shards = request.shard_count;
    create_stream(state, &request.stream()?, shards).await?;
    Ok(form.done())
}

pub(super) async fn delete(state: &Arc<State>, form: Form, body: &[u8]) -> Result<Reply, KinesisError> {
    let stream = form.parse::<OfStream>(body)?.stream()?;
    delete_stream(state, &stream).await?;
    Ok(form.done())
}

/// The shards of a page, and the number of the first of the next page if there is one.
async fn of_page(state: &Arc<State>, page: &ShardPage) -> Result<(Vec<Shard>, Option<i32>), KinesisError> {
    let topic = topic(state, &page.stream, None).await?;
    let shards = shards(topic.pinned, page.first, page.most);
    let next = page
        .first
        .saturating_add(i32::try_from(shards.len()).unwrap_or(i32::MAX));
    Ok((shards, (next < topic.pinned).then_some(next)))
}

fn common<'a>(state: &State, stream: &'a str) -> Common<'a> {
    Common {
        summary: summary(state, stream),
        retention_period_hours: 24,
        enhanced_monitoring: [Monitoring {
            shard_level_metrics: [],
        }],
        encryption_type: "NONE",
    }
}

fn summary<'a>(state: &State, stream: &'a str) -> Summary<'a> {
    let region = state.signatures.region.as_deref().unwrap_or(REGION);
    Summary {
        stream_name: stream,
        stream_arn: format!("arn:aws:kinesis:{region}:{ACCOUNT}:stream/{stream}"),
        stream_status: "ACTIVE",
        stream_mode_details: ModeDetails {
            stream_mode: "PROVISIONED",
        },
        stream_creation_timestamp: Epoch,
    }
}
