//! Why Kinesis does not serve a request, in its words.

use super::api_error::ApiError;
use super::body::{BodyError, ReadError};
use super::budget::OverBudget;
use super::kinesis_record::WrongRecord;
use super::reply::{JSON, Reply};
use http_server::quote::{Quoted, to_json};
use http_server::{ClaimError, Refusal, SignatureError};
use hyper::StatusCode;
use serde::{Serialize, Serializer};

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
    /// An operation of Kinesis, or of another service, that is not served.
    #[error("The gateway puts records and describes streams, and has no other operation")]
    UnknownOperation,
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
    /// `{"__type":"…","message":"…"}`, as API Gateway passes it on.
    pub(super) fn reply(&self) -> Reply {
        let body = to_json(&self.body());
        self.with_headers(Reply::new(self.status(), JSON, body))
    }

    /// What is said of it.
    pub(super) fn body(&self) -> ErrorBody {
        let message = match self.api() {
            Some(ApiError::NoTopic(name)) => format!("Stream {name} not found."),
            _ => self.to_string(),
        };
        ErrorBody {
            kind: self.name(),
            message,
        }
    }

    /// The answer with the headers that belong to this error.
    pub(super) fn with_headers(&self, reply: Reply) -> Reply {
        match self.api() {
            Some(error) => error.with_headers(reply),
            None => reply,
        }
    }

    /// The error, where it is one that all interfaces know.
    pub(super) fn api(&self) -> Option<&ApiError> {
        match self {
            KinesisError::Api(error) | KinesisError::Throughput(error) => Some(error),
            _ => None,
        }
    }

    /// The exception.
    pub(super) fn name(&self) -> &'static str {
        match self {
            KinesisError::Api(error) => of_api(error),
            KinesisError::Throughput(_) => THROUGHPUT,
            KinesisError::Serialization(_) => "SerializationException",
            KinesisError::Validation(_) => "ValidationException",
            KinesisError::InvalidArgument(_) => "InvalidArgumentException",
            KinesisError::InUse(_) => "ResourceInUseException",
            KinesisError::AccessDenied(_) => "AccessDeniedException",
            KinesisError::UnknownOperation => "UnknownOperationException",
        }
    }

    /// The status, as API Gateway passes it on.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            KinesisError::Api(ApiError::Budget(OverBudget::Now) | ApiError::Busy) => StatusCode::TOO_MANY_REQUESTS,
            KinesisError::Api(error) => error.status(),
            KinesisError::Throughput(_) => StatusCode::TOO_MANY_REQUESTS,
            KinesisError::AccessDenied(_) => StatusCode::FORBIDDEN,
            KinesisError::Serialization(_)
            | KinesisError::Validation(_)
            | KinesisError::InvalidArgument(_)
            | KinesisError::InUse(_)
            | KinesisError::UnknownOperation => StatusCode::BAD_REQUEST,
        }
    }
}

/// What an answer says of an error.
#[derive(Serialize)]
pub(super) struct ErrorBody {
    #[serde(rename = "__type")]
    pub(super) kind: &'static str,
    #[serde(serialize_with = "quoted")]
    message: String,
}

fn quoted<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    Quoted(text).serialize(serializer)
}

/// The exception of what every server refuses.
fn refused(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NotFound | Refusal::Method => "UnknownOperationException",
        Refusal::Unauthenticated => "MissingAuthenticationTokenException",
        Refusal::Rate(_) | Refusal::Streams => THROUGHPUT,
        Refusal::Site(error) if error.is_malformed() => "ValidationException",
        Refusal::Site(_) | Refusal::Scope(_) | Refusal::Remote => "AccessDeniedException",
        Refusal::Signature(error) => unsigned(error),
    }
}

/// The exception of a signature that is not accepted.
fn unsigned(error: &SignatureError) -> &'static str {
    match error {
        SignatureError::Missing | SignatureError::Claim(ClaimError::Scheme) => "MissingAuthenticationTokenException",
        SignatureError::Claim(_) | SignatureError::Header(_) | SignatureError::Date => "IncompleteSignatureException",
        SignatureError::UnknownKey => "UnrecognizedClientException",
        SignatureError::Unsigned(_)
        | SignatureError::Service(_)
        | SignatureError::Region(_)
        | SignatureError::Day
        | SignatureError::Expired { .. }
        | SignatureError::Early { .. }
        | SignatureError::Payload(_)
        | SignatureError::Mismatch => "InvalidSignatureException",
    }
}

/// The exception of what all interfaces refuse.
fn of_api(error: &ApiError) -> &'static str {
    match error {
        ApiError::Refusal(refusal) => refused(refusal),
        ApiError::Method(_) => "UnknownOperationException",
        ApiError::Budget(OverBudget::Now) => THROUGHPUT,
        ApiError::Busy => "LimitExceededException",
        ApiError::Body(BodyError::TooLarge(_)) | ApiError::Budget(_) | ApiError::RecordTooLarge => {
            "RequestEntityTooLargeException"
        }
        ApiError::Body(BodyError::Slow) => "RequestTimeoutException",
        ApiError::Body(BodyError::Broken | BodyError::NotGzip(_)) => "SerializationException",
        ApiError::InvalidRecord(_) => "InvalidArgumentException",
        ApiError::Media | ApiError::Encoding => "UnsupportedMediaTypeException",
        ApiError::NoTopic(_) | ApiError::NoPartition => "ResourceNotFoundException",
        ApiError::Denied(_) => "AccessDeniedException",
        ApiError::KafkaAuthentication => "UnrecognizedClientException",
        ApiError::Unavailable(_) => "ServiceUnavailableException",
        ApiError::Refused(_) => "InternalFailure",
    }
}
