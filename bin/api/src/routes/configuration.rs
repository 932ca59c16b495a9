//! `GET /api/configuration`: the settings of the run, without secrets, and where each comes from.

use crate::answer::{Answer, json};
use crate::api::Api;
use crate::error::ApiError;
use crate::params;
use serde_json::json;

/// `{"settings":[{"key":…,"value":…,"source":…,"origin":…}]}`
pub fn answer(api: &Api, parameters: &[(String, String)]) -> Result<Answer, ApiError> {
    params::only(parameters, &[])?;
    Ok(json(&json!({ "settings": api.settings })))
}
