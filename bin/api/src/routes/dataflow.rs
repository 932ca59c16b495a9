//! `GET /api/dataflow`: the dataflow as a graph, with what passes between its operators and what they take.

use crate::accept::JSON;
use crate::answer::{Answer, answer as whole};
use crate::api::Api;
use crate::error::ApiError;
use crate::params;
use crate::status::handle_dataflow;
use bytes::Bytes;
use hyper::StatusCode;

/// [`DataflowBody`](crate::DataflowBody) as JSON.
pub fn answer(api: &Api, parameters: &[(String, String)]) -> Result<Answer, ApiError> {
    params::only(parameters, &[])?;
    let body = serde_json::to_vec(&handle_dataflow(&api.status)).expect("numbers and texts serialise");
    Ok(whole(StatusCode::OK, JSON, vec![Bytes::from(body)]))
}
