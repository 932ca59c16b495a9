//! What both versions of Confluent's REST proxy share: the form of an error, and its codes.

use super::api_error::ApiError;
use super::body::{BodyError, ReadError};
use super::budget::OverBudget;
use super::reply::{JSON, Reply};
use http_server::Refusal;
use http_server::quote::{Quoted, to_json};
use hyper::StatusCode;
use serde::Serialize;

/// Why a request is not served, in the proxy's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RestError {
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The body is not what a request looks like.
    #[error("Bad Request: {0}")]
    BadRequest(String),
    /// A client wants to read.
    #[error(
        "This gateway only writes, and has no consumers: read the topic with a consumer of the Kafka protocol, or the \
         results over HTTP, as `pinflow run --listen` serves them"
    )]
    NoConsumers,
    /// There is no cluster with this id.
    #[error("Cluster {0} cannot be found.")]
    NoCluster(String),
    /// There is no body.
    #[error("Null input provided. Data is required.")]
    NoInput,
    /// The body is not a batch of records.
    #[error("{0}")]
    InvalidBatch(&'static str),
    /// The body has the form of a request and cannot be one.
    #[error("{0}")]
    Unprocessable(String),
}

impl From<BodyError> for RestError {
    fn from(error: BodyError) -> RestError {
        ApiError::from(error).into()
    }
}

impl From<ReadError> for RestError {
    fn from(error: ReadError) -> RestError {
        ApiError::from(error).into()
    }
}

impl From<OverBudget> for RestError {
    fn from(error: OverBudget) -> RestError {
        ApiError::from(error).into()
    }
}

impl RestError {
    /// The answer in the version whose answers have this type.
    pub(super) fn reply(&self, content_type: &'static str) -> Reply {
        match self {
            RestError::Api(error) => error.with_headers(api(error, content_type)),
            RestError::BadRequest(_) | RestError::NoInput => {
                body(StatusCode::BAD_REQUEST, content_type, 400, &self.to_string())
            }
            RestError::NoCluster(_) => body(StatusCode::NOT_FOUND, content_type, 404, &self.to_string()),
            RestError::NoConsumers => body(StatusCode::NOT_FOUND, content_type, 404, &self.to_string()),
            RestError::InvalidBatch(text) => body(StatusCode::UNPROCESSABLE_ENTITY, content_type, INVALID_BATCH, text),
            RestError::Unprocessable(text) => body(StatusCode::UNPROCESSABLE_ENTITY, content_type, 422, text),
        }
    }
}

fn api(error: &ApiError, content_type: &'static str) -> Reply {
    let (status, code, text) = described(error, content_type == JSON);
    body(status, content_type, code, &text)
}

/// Status, code and words of an error that all interfaces know.
pub(super) fn described(error: &ApiError, is_v3: bool) -> (StatusCode, u32, String) {
    let status = error.status();
    let plain = u32::from(status.as_u16());
    let http = || format!("HTTP {plain} {}", status.canonical_reason().unwrap_or_default());
    match error {
        ApiError::Budget(OverBudget::Now) | ApiError::Busy => {
            (StatusCode::TOO_MANY_REQUESTS, TOO_MANY, error.to_string())
        }
        ApiError::NoTopic(_) if is_v3 => (status, 40403, NO_TOPIC_PARTITION.to_owned()),
        ApiError::NoTopic(_) => (status, 40401, "Topic not found.".to_owned()),
        ApiError::NoPartition => (status, 40402, error.to_string()),
        ApiError::Refusal(Refusal::Rate(_)) => (status, 42901, error.to_string()),
        ApiError::Denied(_) | ApiError::Refusal(Refusal::Scope(_) | Refusal::Remote) => {
            (status, DENIED, error.to_string())
        }
        ApiError::KafkaAuthentication => (status, UNAUTHENTICATED, error.to_string()),
        ApiError::Unavailable(_) => (status, 50003, error.to_string()),
        ApiError::Refused(_) => (status, 50002, error.to_string()),
        ApiError::Refusal(Refusal::NotFound | Refusal::Method | Refusal::Unauthenticated)
        | ApiError::Method(_)
        | ApiError::Media => (status, plain, http()),
        ApiError::Refusal(Refusal::Site(_) | Refusal::Streams | Refusal::Signature(_))
        | ApiError::Encoding
        | ApiError::Body(_)
        | ApiError::Budget(_)
        | ApiError::RecordTooLarge
        | ApiError::InvalidRecord(_) => (status, plain, error.to_string()),
    }
}

/// The code of what may be tried again when less is under way.
const TOO_MANY: u32 = 42901;
/// The code of what Kafka does not let the gateway do.
pub(super) const DENIED: u32 = 40301;
/// The code of credentials that Kafka does not accept.
pub(super) const UNAUTHENTICATED: u32 = 40101;

/// The code of a batch that is not one.
const INVALID_BATCH: u32 = 42208;

/// What version 3 says of a topic that is not there.
pub(super) const NO_TOPIC_PARTITION: &str = "This server does not host this topic-partition.";

/// `{"error_code":N,"message":"…"}`.
pub(super) fn error_json(code: u32, text: &str) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        error_code: u32,
        message: Quoted<'a>,
    }
    to_json(&Body {
        error_code: code,
        message: Quoted(text),
    })
}

fn body(status: StatusCode, content_type: &'static str, code: u32, text: &str) -> Reply {
    Reply::new(status, content_type, error_json(code, text))
}
