//! Records of Kinesis on their way to Kafka, whichever protocol they came in: the topic of each, its shard, and what is
//! answered for it.
//!
//! A stream is a topic, with as many shards as that has partitions. A record's partition is that of its key, as in
//! every dialect; what the answer calls its shard is chosen by MD5 of the partition key, or by the hash that the client
//! gives in its place, as Kinesis does.

use super::api_error::ApiError;
use super::budget::Permit;
use super::kinesis_error::{KinesisError, THROUGHPUT};
use super::kinesis_record::{Checked, RECORDS};
use super::kinesis_request::{shard_id, topic};
use super::partition;
use super::placement;
use super::producer::DeliveryError;
use super::send::{Record, Sent};
use super::sequence;
use super::state::State;
use super::topics::Topic;
use http_server::Caller;
use http_server::quote::Quoted;
use serde::{Serialize, Serializer};
use std::sync::Arc;

/// Kinesis's own limit.
const REQUEST_BYTES: usize = 5 << 20;

/// A record that was handed to Kafka's client.
pub(super) struct Submitted {
    sent: Sent,
    topic: Arc<Topic>,
    shard: i32,
}

/// Where a record is.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Placed {
    sequence_number: String,
    shard_id: String,
}

/// Why a record of many is not taken.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Failed {
    error_code: &'static str,
    #[serde(serialize_with = "quoted")]
    error_message: String,
}

/// What became of a record.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    Placed(Placed),
    Failed(Failed),
}

/// The answer to `PutRecords`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Outcomes {
    failed_record_count: u64,
    records: Vec<Outcome>,
}

impl Outcomes {
    /// Records that Kafka has.
    pub(super) fn acknowledged(&self) -> u64 {
        self.records.len() as u64 - self.failed_record_count
    }
}

/// Whether a request may have so many records.
pub(super) fn check_count(count: usize) -> Result<(), KinesisError> {
    let bound = match count {
        0 => "greater than or equal to 1",
        1..=RECORDS => return Ok(()),
        _ => "less than or equal to 500",
    };
    let text = format!(
        "1 validation error detected: Value at 'records' failed to satisfy constraint: Member must have length {bound}"
    );
    Err(KinesisError::Validation(text))
}

/// Hands a record to Kafka's client.
pub(super) async fn submit(
    state: &Arc<State>,
    stream: &str,
    caller: &Caller,
    record: &Checked<'_>,
    permit: Permit,
) -> Result<Submitted, KinesisError> {
    let topic = topic_of(state, stream, caller, record).await?;
    Ok(send(state, topic, record, &Arc::new(permit)))
}

/// The same for many: each may belong to another topic, and none is sent before all have one.
pub(super) async fn submit_all(
    state: &Arc<State>,
    stream: &str,
    caller: &Caller,
    records: &[Checked<'_>],
    mut permit: Permit,
) -> Result<Vec<Submitted>, KinesisError> {
    let total: usize = records.iter().map(|record| record.key.len() + record.data.len()).sum();
    if total > REQUEST_BYTES {
        let text = "Records size exceeds 5 MB limit".to_owned();
        return Err(KinesisError::InvalidArgument(text));
    }
    state.budget.take_records(&mut permit, records.len())?;
    let bytes = Arc::new(permit);
    let mut topics = Vec::with_capacity(records.len());
    for record in records {
        topics.push(topic_of(state, stream, caller, record).await?);
    }
    let sent = records.iter().zip(topics);
    Ok(sent.map(|(record, topic)| send(state, topic, record, &bytes)).collect())
}

/// Waits for the one record of a request.
pub(super) async fn placed(state: &State, stream: &str, submitted: Submitted) -> Result<Placed, KinesisError> {
    let placed = submitted.placed(state).await;
    Ok(placed.map_err(|error| ApiError::delivery(error, stream))?)
}

/// Waits for all of them.
pub(super) async fn placed_all(
    state: &State,
    stream: &str,
    submitted: Vec<Submitted>,
) -> Result<Outcomes, KinesisError> {
    let (mut failed, count) = (0, submitted.len());
    let mut records = Vec::with_capacity(count);
    for submitted in submitted {
        records.push(match submitted.placed(state).await {
            Ok(placed) => Outcome::Placed(placed),
            // Kafka lets the gateway write none of them
            Err(error @ (DeliveryError::Denied | DeliveryError::Unauthenticated)) if count == 1 => {
                return Err(ApiError::delivery(error, stream).into());
            }
            Err(error) => {
                failed += 1;
                // Kinesis has these two
                let error_code = match error {
                    DeliveryError::Retry(_) => THROUGHPUT,
                    _ => "InternalFailure",
                };
                let error_message = error.to_string();
                Outcome::Failed(Failed {
                    error_code,
                    error_message,
                })
            }
        });
    }
    Ok(Outcomes {
        failed_record_count: failed,
        records,
    })
}

impl Submitted {
    async fn placed(self, state: &State) -> Result<Placed, DeliveryError> {
        let at = state.delivered(&self.topic, self.sent).await?;
        Ok(Placed {
            sequence_number: sequence::number(state.sequence_clock.next(), at.partition, at.offset),
            shard_id: shard_id(self.shard),
        })
    }
}

async fn topic_of(
    state: &Arc<State>,
    stream: &str,
    caller: &Caller,
    record: &Checked<'_>,
) -> Result<Arc<Topic>, KinesisError> {
    let found = topic(state, stream, Some((record.key.as_str(), caller))).await;
    found.map_err(|error| match error {
        // a record that waits for what is known about its topic is throttled as one that waits for Kafka
        ApiError::Busy => KinesisError::Throughput(error),
        error => error.into(),
    })
}

fn send(state: &State, topic: Arc<Topic>, checked: &Checked<'_>, bytes: &Arc<Permit>) -> Submitted {
    let record = Record {
        placed_by: Some(checked.key.as_bytes()),
        ind: placement::key_in_value(&checked.data, &state.key_fields),
        value: Some(&*checked.data),
        ..Record::default()
    };
    let shard = match checked.hash {
        Some(hash) => partition::of_hash(hash, topic.pinned),
        None => partition::of_partition_key(&checked.key, topic.pinned),
    };
    Submitted {
        sent: state.send(&topic, record, bytes),
        topic,
        shard,
    }
}

fn quoted<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    Quoted(text).serialize(serializer)
}
