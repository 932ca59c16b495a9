//! Kinesis's own protocol, as boto3, the AWS CLI, Java's SDK and the Kinesis Agent speak it: `POST /`, with the operation
//! in a header.
//!
//! What a request means is what it means behind API Gateway: its stream, its topic, its limits and its answer. Its data
//! are bytes, whatever they hold. A request may be signed ([`SignedRequest`]); where its head does not say the hash of
//! its body, nobody vouches for it until that is there.

use super::api_error::{ApiError, let_in};
use super::body::{self, Body, Taken};
use super::kinesis_api_streams::{create, delete, describe, list_shards, list_streams, summarize};
use super::kinesis_call::{Call, Form, Operation};
use super::kinesis_error::KinesisError;
use super::kinesis_input::{PutRecord, PutRecords};
use super::kinesis_put::{check_count, placed, placed_all, submit, submit_all};
use super::kinesis_request::take;
use super::reply::Reply;
use super::state::State;
use http_server::{Refusal, SignedRequest};
use hyper::StatusCode;
use std::sync::Arc;

/// Serves a request, which was admitted, or is as soon as its signature is verified.
pub(super) async fn serve(
    state: &Arc<State>,
    call: Call,
    signature: Option<&mut SignedRequest>,
    incoming: &mut Body,
) -> Result<Reply, KinesisError> {
    let operation = call.operation.ok_or(KinesisError::UnknownOperation)?;
    let taken = match signature {
        Some(signature) => take_signed(state, call, signature, incoming).await?,
        None => take(state, incoming).await?,
    };
    let (form, body) = (call.form, &taken.bytes);
    match operation {
        Operation::PutRecord => put_record(state, form, taken, incoming).await,
        Operation::PutRecords => put_records(state, form, taken, incoming).await,
        Operation::ListStreams => list_streams(state, form, body).await,
        Operation::ListShards => list_shards(state, form, body).await,
        Operation::DescribeStream => describe(state, form, body).await,
        Operation::DescribeStreamSummary => summarize(state, form, body).await,
        Operation::CreateStream => create(state, form, body).await,
        Operation::DeleteStream => delete(state, form, body).await,
    }
}

/// The body of a signed request.
async fn take_signed(
    state: &State,
    call: Call,
    signature: &mut SignedRequest,
    incoming: &mut Body,
) -> Result<Taken, KinesisError> {
    let was_verified = signature.is_verified();
    let taken = if was_verified {
        take(state, incoming).await?
    } else {
        let limits = &state.limits;
        let unknown = (&state.unknown, signature.bytes());
        body::read_unverified(incoming, limits.body_bytes, limits.body_timeout, &state.budget, unknown).await?
    };
    let verified = signature.verify(&taken.bytes);
    verified.map_err(|error| ApiError::from(Refusal::from(error)))?;
    if !was_verified {
        let_in(incoming.caller(), call.need()).map_err(ApiError::from)?;
    }
    Ok(taken)
}

async fn put_record(state: &Arc<State>, form: Form, taken: Taken, incoming: &Body) -> Result<Reply, KinesisError> {
    let length = taken.bytes.len();
    let (stream, record) = form.parse::<PutRecord>(&taken.bytes)?.check()?;
    drop(taken.bytes);
    let submitted = submit(state, &stream, incoming.caller(), &record, taken.permit).await?;
    // Kafka's client has a copy
    drop(record);
    let placed = placed(state, &stream, submitted).await?;
    Ok(form.reply(StatusCode::OK, &placed).counted(1, length))
}

async fn put_records(state: &Arc<State>, form: Form, taken: Taken, incoming: &Body) -> Result<Reply, KinesisError> {
    let length = taken.bytes.len();
    let request = form.parse::<PutRecords>(&taken.bytes)?;
    drop(taken.bytes);
    let count = request.count();
    check_count(count)?;
    incoming.caller().charge(count.saturating_sub(1) as u64);
    let (stream, records) = request.check()?;
    let submitted = submit_all(state, &stream, incoming.caller(), &records, taken.permit).await?;
    // Kafka's client has a copy
    drop(records);
    let outcomes = placed_all(state, &stream, submitted).await?;
    let acknowledged = outcomes.acknowledged();
    Ok(form.reply(StatusCode::OK, &outcomes).counted(acknowledged, length))
}
