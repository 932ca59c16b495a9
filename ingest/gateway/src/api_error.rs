//! Why a request is not served, as far as all dialects agree; each dialect puts it into its own form.

use super::admin::AdminError;
use super::body::{BodyError, ReadError};
use super::budget::OverBudget;
use super::content_encoding;
use super::metadata::TopicError;
use super::producer::DeliveryError;
use super::reply::Reply;
use http_server::{Caller, Exhausted, Need, Refusal, SiteError};
use hyper::StatusCode;

/// Why a request is not served. Its text is what a server without a dialect would say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApiError {
    /// What every server of ours refuses: a path that no interface has, a missing token, its scopes or its rate, the
    /// host or the site.
    #[error(transparent)]
    Refusal(#[from] Refusal),
    /// The path exists for these methods only.
    #[error("Method Not Allowed")]
    Method(&'static str),
    /// Type of the body.
    #[error("Unsupported Media Type")]
    Media,
    /// The body is compressed in another way, or several times.
    #[error("Unsupported Content-Encoding: a body is compressed with gzip, or not at all")]
    Encoding,
    /// The body could not be taken.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Too many bytes or records.
    #[error(transparent)]
    Budget(#[from] OverBudget),
    /// There is no such topic, under the name that the client used.
    #[error("There is no topic for {0}")]
    NoTopic(String),
    /// The topic has no such partition.
    #[error("Partition not found.")]
    NoPartition,
    /// Kafka takes no record of this size.
    #[error("Kafka takes no record of this size")]
    RecordTooLarge,
    /// Kafka takes no such record.
    #[error("Kafka takes no such record: {0}")]
    InvalidRecord(String),
    /// Too many questions and changes wait for Kafka.
    #[error("Too many calls wait for Kafka, try again")]
    Busy,
    /// Kafka does not answer.
    #[error("Kafka does not answer: {0}")]
    Unavailable(String),
    /// Kafka does not let the gateway use the topic.
    #[error("Not authorized to access topics: [{0}]")]
    Denied(String),
    /// Kafka does not accept the gateway's credentials.
    #[error("Kafka does not accept the credentials of the gateway")]
    KafkaAuthentication,
    /// Kafka, or the configuration, says no.
    #[error("Kafka refuses: {0}")]
    Refused(String),
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> ApiError {
        match error {
            ReadError::Body(error) => error.into(),
            ReadError::Budget(error) => error.into(),
        }
    }
}

impl ApiError {
    /// A topic that cannot be had, under the name that the client used.
    pub(super) fn topic(error: TopicError, name: &str) -> ApiError {
        match error {
            TopicError::Unknown => ApiError::NoTopic(name.to_owned()),
            TopicError::Busy => ApiError::Busy,
            TopicError::Unreachable(text) => ApiError::Unavailable(text),
            TopicError::Denied => ApiError::Denied(name.to_owned()),
            TopicError::Unauthenticated => ApiError::KafkaAuthentication,
            TopicError::Refused(text) => ApiError::Refused(format!("topic {name}: {text}")),
        }
    }

    /// A single record that was not taken.
    pub(super) fn delivery(error: DeliveryError, name: &str) -> ApiError {
        match error {
            DeliveryError::NoTopic => ApiError::NoTopic(name.to_owned()),
            DeliveryError::NoPartition(_) => ApiError::NoPartition,
            DeliveryError::Denied => ApiError::Denied(name.to_owned()),
            DeliveryError::Unauthenticated => ApiError::KafkaAuthentication,
            DeliveryError::Retry(text) => ApiError::Unavailable(text),
            DeliveryError::TooLarge(_) => ApiError::RecordTooLarge,
            DeliveryError::Invalid(text) => ApiError::InvalidRecord(text),
            DeliveryError::Refused(text) => ApiError::Refused(text),
        }
    }

    /// A topic that could not be created or deleted.
    pub(super) fn admin(error: AdminError, name: &str) -> ApiError {
        match error {
            AdminError::Exists => ApiError::Refused("Topic exists.".to_owned()),
            AdminError::Topic(error) => ApiError::topic(error, name),
        }
    }

    /// The status of a server without a dialect.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            ApiError::Refusal(refusal) => refusal.status(),
            ApiError::NoTopic(_) | ApiError::NoPartition => StatusCode::NOT_FOUND,
            ApiError::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            ApiError::KafkaAuthentication => StatusCode::UNAUTHORIZED,
            ApiError::Denied(_) => StatusCode::FORBIDDEN,
            ApiError::Media | ApiError::Encoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ApiError::Body(BodyError::Slow) => StatusCode::REQUEST_TIMEOUT,
            ApiError::Body(BodyError::Broken | BodyError::NotGzip(_)) | ApiError::InvalidRecord(_) => {
                StatusCode::BAD_REQUEST
            }
            ApiError::Body(BodyError::TooLarge(_))
            | ApiError::Budget(OverBudget::Always { .. })
            | ApiError::RecordTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::Budget(OverBudget::Now) | ApiError::Busy | ApiError::Unavailable(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ApiError::Refused(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the request came while too much was in flight.
    pub(super) fn is_over_budget(&self) -> bool {
        matches!(self, ApiError::Budget(OverBudget::Now))
    }

    /// The word for a request that was refused for what sends it, or where it was sent to.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        let ApiError::Refusal(refusal) = self else {
            return None;
        };
        match refusal {
            Refusal::Unauthenticated => Some("token"),
            Refusal::Signature(_) => Some("signature"),
            Refusal::Scope(_) => Some("scope"),
            Refusal::Rate(_) => Some("rate"),
            Refusal::Site(SiteError::Origin(_)) => Some("origin"),
            Refusal::Site(_) => Some("host"),
            Refusal::NotFound | Refusal::Method | Refusal::Remote | Refusal::Streams => None,
        }
    }

    /// Whether nothing more can be read from the connection.
    pub(super) fn ends_reading(&self) -> bool {
        matches!(self, ApiError::Body(BodyError::Slow | BodyError::Broken))
    }

    /// The answer with the headers that belong to this error in every dialect.
    pub(super) fn with_headers(&self, mut reply: Reply) -> Reply {
        match self {
            ApiError::Body(_) | ApiError::RecordTooLarge => reply.close = true,
            ApiError::Budget(OverBudget::Now) | ApiError::Busy | ApiError::Unavailable(_) => {
                reply.retry_after = Some(1);
            }
            ApiError::Refusal(Refusal::Rate(Exhausted(seconds))) => reply.retry_after = Some(*seconds),
            ApiError::Method(methods) => reply.allow = Some(methods),
            ApiError::Encoding => reply.accept_encoding = Some(content_encoding::ACCEPTED),
            ApiError::Refusal(Refusal::Unauthenticated) => reply.challenge = true,
            _ => {}
        }
        reply
    }
}

/// Whether the caller may send another request now, and do this.
pub(super) fn let_in(caller: &Caller, need: Option<Need<'_>>) -> Result<(), Refusal> {
    caller.take()?;
    need.map_or(Ok(()), |need| permit(caller, need))
}

/// Whether the caller may do this.
pub(super) fn permit(caller: &Caller, need: Need<'_>) -> Result<(), Refusal> {
    if caller.may(need) {
        Ok(())
    } else {
        Err(Refusal::Scope(need.to_string()))
    }
}
