//! `GET /api/frontier`: which offsets the tables contain.

use crate::accept::JSON;
use crate::answer::{Answer, answer as whole};
use crate::api::Api;
use crate::error::ApiError;
use crate::params;
use crate::wait::AtLeast;
use bytes::Bytes;
use hyper::StatusCode;

/// `{"commit":…,"frontier":{…}}`
pub async fn answer(api: &Api, parameters: &[(String, String)]) -> Result<Answer, ApiError> {
    params::only(parameters, &["at_least", "timeout"])?;
    let wanted = AtLeast::parse(parameters, &api.shared.topics)?;
    let state = wanted.wait(&api.shared).await?;
    let head = format!("{{\"commit\":{},\"frontier\":", state.commit);
    let body = vec![Bytes::from(head), state.frontier_json(), Bytes::from_static(b"}")];
    Ok(whole(StatusCode::OK, JSON, body))
}
