//! Why Kinesis does not serve a request, in its words.

use super::api_error::ApiError;
use super::body::{BodyError, ReadError};
use super::budget::OverBudget;
use super::kinesis_record::WrongRecord;
use super::reply::{JSON, Reply};
use http_server::Refusal;
use http_server::quote::{Quoted, to_json};
use hyper::StatusCode;
use serde::Serialize;

/// What Kinesis calls it when a record may be taken later.
pub(super) const THROUGHPUT: &str = "ProvisionedThroughputExceededException";

/// Why a request is not served, in Kinesis's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum KinesisError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("{0}")]
    Serialization(String),
    #[error("{0}")]
    Validation(String),
    #[error("{0}")]
    InvalidArgument(String),
    #[error("{0}")]
    AccessDenied(String),
    #[error("Stream {0} already exists.")]
    InUse(String),
    /// A record is not taken while this holds.
    #[error("{0}")]
    Throughput(ApiError),
}

impl From<ReadError> for KinesisError {
    fn from(error: ReadError) -> KinesisError {
        ApiError::from(error).into()
    }
}

impl From<OverBudget> for KinesisError {
    fn from(error: OverBudget) -> KinesisError {
        ApiError::from(error).into()
    }
}

impl From<WrongRecord> for KinesisError {
    fn from(error: WrongRecord) -> KinesisError {
        match error {
            WrongRecord::Validation(text) => KinesisError::Validation(text),
            WrongRecord::NoBase64 => KinesisError::Serialization(error.to_string()),
        }
    }
}

impl KinesisError {
    /// `{"__type":"…","message":"…"}`.
    pub(super) fn reply(&self) -> Reply {
        let (status, kind) = match self {
            KinesisError::Api(error) => return error.with_headers(api(error)),
            KinesisError::Throughput(error) => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                return error.with_headers(error_reply(status, THROUGHPUT, &error.to_string()));
            }
            KinesisError::Serialization(_) => (StatusCode::BAD_REQUEST, "SerializationException"),
            KinesisError::Validation(_) => (StatusCode::BAD_REQUEST, "ValidationException"),
            KinesisError::InvalidArgument(_) => (StatusCode::BAD_REQUEST, "InvalidArgumentException"),
            KinesisError::InUse(_) => (StatusCode::BAD_REQUEST, "ResourceInUseException"),
            KinesisError::AccessDenied(_) => (StatusCode::FORBIDDEN, "AccessDeniedException"),
        };
        error_reply(status, kind, &self.to_string())
    }
}

/// The exception of what every server refuses.
fn refused(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotFound | Refusal::Method => "UnknownOperationException",
        Refusal::Unauthenticated => "MissingAuthenticationTokenException",
        Refusal::Rate(_) | Refusal::Streams => THROUGHPUT,
        Refusal::Site(error) if error.is_malformed() => "ValidationException",
        Refusal::Site(_) | Refusal::Scope(_) | Refusal::Remote => "AccessDeniedException",
    }
}

fn api(error: &ApiError) -> Reply {
    let status = error.status();
    let (status, kind) = match error {
        ApiError::Refusal(refusal) => (status, refused(refusal)),
        ApiError::Method(_) => (status, "UnknownOperationException"),
        ApiError::Budget(OverBudget::Now) => (StatusCode::TOO_MANY_REQUESTS, THROUGHPUT),
        ApiError::Busy => (StatusCode::TOO_MANY_REQUESTS, "LimitExceededException"),
        ApiError::Body(BodyError::TooLarge(_)) | ApiError::Budget(_) | ApiError::RecordTooLarge => {
            (status, "RequestEntityTooLargeException")
        }
        ApiError::Body(BodyError::Slow) => (status, "RequestTimeoutException"),
        ApiError::Body(BodyError::Broken) => (status, "SerializationException"),
        ApiError::InvalidRecord(_) => (status, "InvalidArgumentException"),
        ApiError::Media => (status, "UnsupportedMediaTypeException"),
        ApiError::NoTopic(name) => {
            return error_reply(
                status,
                "ResourceNotFoundException",
                &format!("Stream {name} not found."),
            );
        }
        ApiError::NoPartition => (status, "ResourceNotFoundException"),
        ApiError::Denied(_) => (status, "AccessDeniedException"),
        ApiError::KafkaAuthentication => (status, "UnrecognizedClientException"),
        ApiError::Unavailable(_) => (status, "ServiceUnavailableException"),
        ApiError::Refused(_) => (status, "InternalFailure"),
    };
    error_reply(status, kind, &error.to_string())
}

fn error_reply(status: StatusCode, kind: &str, text: &str) -> Reply {
    #[derive(Serialize)]
    struct ErrorBody<'a> {
        __type: &'a str,
        message: Quoted<'a>,
    }
    let message = Quoted(text);
    Reply::new(status, JSON, to_json(&ErrorBody { __type: kind, message }))
}
