//! What routes that read PostgreSQL have in common: pages that are gone, and the commit as members of an answer.

use crate::error::ApiError;
use crate::postgres::Head;
use hyper::StatusCode;

/// 410: a page of a commit that is not kept any more.
pub fn gone(commit: i64) -> ApiError {
    let error = format!("the rows of commit {commit} are not kept any more");
    ApiError::new(StatusCode::GONE, error, "begin with the first page again").with("commit", commit)
}

/// 503: PostgreSQL is at an earlier commit than was shown before. It is another server, or has lost the later ones.
pub fn behind(found: i64, shown: i64) -> ApiError {
    let error = format!("PostgreSQL is at commit {found}, and this process has committed {shown}");
    ApiError::unavailable(&error, "try again in a second").with("commit", found)
}

/// What a snapshot belongs to, as members of an answer.
pub fn head_json(head: &Head) -> (i64, serde_json::Value) {
    (head.commit, serde_json::json!(head.frontier))
}
