//! The four requests to Kinesis. Each is made once: what a failure means says [`super::failure`], and whether it is
//! repeated the caller.

use super::config::KinesisConfig;
use super::error::RequestError;
use super::failure::{Failure, classify};
use super::shard::{Page, Record, Shard, ShardId, Start};
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::ShardIteratorType;
use ingest::aws;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Shards in one answer.
const LISTED: i32 = 1000;
/// Pages of shards: more than any account may have.
const MOST_LISTED: usize = 1000;

/// What identifies a stream, and how long it keeps its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) arn: String,
    pub(crate) created_ms: i64,
    /// Where the server says it.
    pub(crate) retention: Option<Duration>,
}

/// Requests for one stream.
#[derive(Debug, Clone)]
pub(crate) struct Kinesis {
    client: Client,
    stream: String,
}

impl Kinesis {
    pub(crate) async fn open(config: &KinesisConfig) -> Kinesis {
        let timeouts = aws::TimeoutConfigBuilder::new().operation_attempt_timeout(Duration::from_secs(30));
        let loader = aws::loader(timeouts, config.endpoint.as_deref(), None);
        Kinesis {
            client: Client::new(&loader.load().await),
            stream: config.stream.clone(),
        }
    }

    pub(crate) async fn describe(&self) -> Result<Description, Failure> {
        let asked = self.client.describe_stream_summary().stream_name(&self.stream);
        let answer = asked
            .send()
            .await
            .map_err(|error| classify("the description", &self.stream, error))?;
        let Some(summary) = answer.stream_description_summary() else {
            return Err(Failure::Passing(RequestError::Incomplete("description")));
        };
        let hours = u64::try_from(summary.retention_period_hours())
            .ok()
            .filter(|hours| *hours > 0);
        Ok(Description {
            arn: summary.stream_arn().to_owned(),
            created_ms: milliseconds(summary.stream_creation_timestamp()).unwrap_or(0),
            retention: hours.map(|hours| Duration::from_secs(hours * 3600)),
        })
    }

    /// All shards that the stream has, closed ones included as long as their records are kept.
    pub(crate) async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        let (mut shards, mut token) = (Vec::new(), None::<String>);
        for _ in 0..MOST_LISTED {
            let asked = self.client.list_shards().max_results(LISTED);
            // the token stands for the name
            let asked = match token.take() {
                Some(token) => asked.next_token(token),
                None => asked.stream_name(&self.stream),
            };
            let answer = asked
                .send()
                .await
                .map_err(|error| classify("the shards", &self.stream, error))?;
            shards.extend(answer.shards().iter().map(|shard| {
                let parents = [shard.parent_shard_id(), shard.adjacent_parent_shard_id()];
                Shard {
                    id: ShardId::new(shard.shard_id()),
                    parents: parents.into_iter().flatten().map(ShardId::new).collect(),
                }
            }));
            match answer.next_token() {
                Some(next) => token = Some(next.to_owned()),
                None => return Ok(shards),
            }
        }
        Err(Failure::Passing(RequestError::Incomplete("end of the list of shards")))
    }

    pub(crate) async fn iterator(&self, shard: &ShardId, start: &Start) -> Result<String, Failure> {
        let asked = self.client.get_shard_iterator().stream_name(&self.stream);
        let asked = asked.shard_id(shard.as_str());
        let asked = match start {
            Start::TrimHorizon => asked.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Start::AtMs(ms) => asked
                .shard_iterator_type(ShardIteratorType::AtTimestamp)
                .timestamp(DateTime::from_millis(*ms)),
            Start::After(sequence) => asked
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(sequence),
        };
        let answer = asked
            .send()
            .await
            .map_err(|error| classify("an iterator", &self.stream, error))?;
        let iterator = answer.shard_iterator().map(str::to_owned);
        iterator.ok_or(Failure::Passing(RequestError::Incomplete("iterator")))
    }

    pub(crate) async fn records(&self, iterator: &str) -> Result<Page, Failure> {
        let asked = self.client.get_records().shard_iterator(iterator);
        let answer = asked
            .send()
            .await
            .map_err(|error| classify("the records", &self.stream, error))?;
        let (next, behind) = (answer.next_shard_iterator.clone(), answer.millis_behind_latest());
        let records: Vec<Record> = answer
            .records
            .into_iter()
            .map(|record| Record {
                arrival_ms: record.approximate_arrival_timestamp.as_ref().and_then(milliseconds),
                sequence: record.sequence_number,
                // the one of a record without is empty
                partition_key: record.partition_key.unwrap_or_default(),
                data: record.data.into_inner(),
            })
            .collect();
        let behind = behind.map(|ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        let behind = behind.unwrap_or_else(|| age(records.last()));
        Ok(Page { records, next, behind })
    }
}

/// How long ago the last record of an answer arrived, where Kinesis does not say how far behind it is.
fn age(last: Option<&Record>) -> Duration {
    let Some(arrived) = last.map(|record| record.arrival_ms.unwrap_or(0)) else {
        return Duration::ZERO;
    };
    let arrived = UNIX_EPOCH + Duration::from_millis(u64::try_from(arrived).unwrap_or(0));
    let age = SystemTime::now().duration_since(arrived).unwrap_or_default();
    age.max(Duration::from_millis(1))
}

fn milliseconds(time: &DateTime) -> Option<i64> {
    time.to_millis().ok()
}
