//! Kinesis behind API Gateway: `PUT …/streams/{stream}/record(s)` for records; [`super::kinesis_streams`] has the
//! questions for streams.
//!
//! A stream is a topic, with as many shards as that has partitions. A record's partition is that of its key, as in
//! every dialect; what the answer calls its shard is chosen by MD5 of the partition key, as Kinesis does. What a record
//! looks like says [`super::kinesis_record`].

use super::api_error::ApiError;
use super::body::Body;
use super::budget::Permit;
use super::kinesis_error::{KinesisError, THROUGHPUT};
use super::kinesis_record::{Checked, Many, One, Protocol, RECORDS};
use super::kinesis_request::{parse, shard_id, take, topic};
use super::partition;
use super::producer::{Delivered, DeliveryError};
use super::record;
use super::reply::Reply;
use super::send::{Record, Sent};
use super::sequence;
use super::state::State;
use super::topics::Topic;
use http_server::quote;
use std::fmt::Write as _;
use std::sync::Arc;

/// Kinesis's own limit.
const REQUEST_BYTES: usize = 5 << 20;

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

/// A record that waits for what is known about its topic is throttled as one that waits for Kafka.
fn of_record(error: ApiError) -> KinesisError {
    match error {
        ApiError::Busy => KinesisError::Throughput(error),
        error => error.into(),
    }
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
