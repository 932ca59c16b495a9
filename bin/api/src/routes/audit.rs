//! `GET /api/audit`: whether the lake holds what it should of the log, as `pinflow audit --json` says it.

use crate::answer::{Answer, json};
use crate::api::Api;
use crate::error::ApiError;
use crate::params::only;

/// `{"ok":true,"partitions":[{"topic":…,"partition":…,"objects":…,"gaps":[],"missing":[],…}],…}`
pub async fn answer(api: &Api, parameters: &[(String, String)]) -> Result<Answer, ApiError> {
    only(parameters, &[])?;
    Ok(json(&api.audits.newest().await?))
}
