//! What routes that read PostgreSQL have in common: its failures as answers, and the commit as members of an answer.

use crate::error::{ApiError, shown};
use crate::postgres::{Head, ReadError};
use hyper::StatusCode;

/// 410: a page of a commit that is not kept any more.
pub fn gone(commit: i64) -> ApiError {
    let error = format!("the rows of commit {commit} are not kept any more");
    ApiError::new(StatusCode::GONE, error, "begin with the first page again").with("commit", commit)
}

/// What a failure of PostgreSQL answers.
pub fn unreadable(error: ReadError) -> ApiError {
    match &error {
        ReadError::NoResults { .. } => crate::wait::nothing(&error.to_string()),
        ReadError::Statement(cause) if cause.code() == Some(&tokio_postgres::error::SqlState::QUERY_CANCELED) => {
            ApiError::unavailable(
                "the query took too long",
                "ask for less, by the columns of the primary key",
            )
        }
        ReadError::Busy | ReadError::Connect(_) | ReadError::Statement(_) => {
            tracing::warn!(%error, "a request cannot be answered");
            let text = error.to_string();
            ApiError::unavailable(shown(&text).trim_matches('`'), "try again")
        }
    }
}

/// What a snapshot belongs to, as members of an answer.
pub fn head_json(head: &Head) -> (i64, serde_json::Value) {
    (head.commit, serde_json::json!(head.frontier))
}
