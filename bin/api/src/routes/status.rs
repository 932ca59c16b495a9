//! `GET /api/status`: what the run is doing, how far it is, and what limits it.

use crate::accept::JSON;
use crate::answer::{Answer, answer as whole};
use crate::api::Api;
use crate::error::ApiError;
use crate::params;
use crate::status::handle_status;
use bytes::Bytes;
use hyper::StatusCode;

/// [`StatusBody`](crate::StatusBody) as JSON.
pub fn answer(api: &Api, parameters: &[(String, String)]) -> Result<Answer, ApiError> {
    params::only(parameters, &[])?;
    let body = serde_json::to_vec(&handle_status(&api.status)).expect("numbers and texts serialise");
    Ok(whole(StatusCode::OK, JSON, vec![Bytes::from(body)]))
}
