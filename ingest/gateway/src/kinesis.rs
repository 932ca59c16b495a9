//! Kinesis behind API Gateway: `PUT …/streams/{stream}/record(s)` for records; [`super::kinesis_streams`] has the
//! questions for streams, [`super::kinesis_put`] the way to Kafka. What a record looks like says
//! [`super::kinesis_record`].

use super::body::Body;
use super::kinesis_error::KinesisError;
use super::kinesis_put::{check_count, placed, placed_all, submit, submit_all};
use super::kinesis_record::{Many, One, Protocol};
use super::kinesis_request::{parse, take};
use super::reply::Reply;
use super::state::State;
use http_server::quote::to_json;
use std::sync::Arc;

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
    let submitted = submit(state, stream, incoming.caller(), &checked, taken.permit).await?;
    let length = taken.bytes.len();
    // Kafka's client has a copy
    drop((checked, one));
    drop(taken.bytes);
    let placed = placed(state, stream, submitted).await?;
    Ok(Reply::json(to_json(&placed)).counted(1, length))
}

/// `PUT /streams/{stream}/records`.
pub(super) async fn put_records(
    state: &Arc<State>,
    stream: &str,
    protocol: Protocol,
    incoming: &mut Body,
) -> Result<Reply, KinesisError> {
    let taken = take(state, incoming).await?;
    let many: Many<'_> = parse(&taken.bytes)?;
    let count = many.count();
    check_count(count)?;
    incoming.caller().charge(count.saturating_sub(1) as u64);
    let checked = many.check(protocol)?;
    let submitted = submit_all(state, stream, incoming.caller(), &checked, taken.permit).await?;
    let length = taken.bytes.len();
    // Kafka's client has a copy
    drop((checked, many));
    drop(taken.bytes);
    let outcomes = placed_all(state, stream, submitted).await?;
    Ok(Reply::json(to_json(&outcomes)).counted(outcomes.acknowledged(), length))
}
