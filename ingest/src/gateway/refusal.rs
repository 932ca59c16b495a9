//! Why a request is not served, and how each dialect says so.

use super::admin::AdminError;
use super::produce::Failure;
use super::reply::{JSON, Reply};
use super::rest_v2::V2_JSON;
use super::route::Interface;
use super::topics::TopicError;
use hyper::StatusCode;
use serde_json::json;

/// Why a request is not served.
pub(super) enum Refusal {
    Nowhere,
    /// These methods are right.
    Method(&'static str),
    Unauthorized,
    /// Too much is in flight.
    Busy,
    /// The body has more bytes than these.
    TooLarge(usize),
    /// The body has more records than these, which is all that could ever be in flight beside it.
    TooMany(usize),
    /// The body did not come in time.
    Slow,
    /// The body broke off.
    Broken,
    /// The type of the body, or its encoding.
    Media,
    NoTopic(String),
    NoPartition,
    /// Kafka takes no such record.
    Wrong(String),
    /// Kafka does not answer.
    Unavailable(String),
    /// Kafka, or the configuration, says no.
    Refused(String),
    /// The dialect has its own words.
    Own(Box<Reply>),
}

impl From<Reply> for Refusal {
    fn from(reply: Reply) -> Refusal {
        Refusal::Own(Box::new(reply))
    }
}

impl Refusal {
    /// A topic that cannot be had, under the name that the client used.
    pub(super) fn topic(error: TopicError, name: &str) -> Refusal {
        match error {
            TopicError::Unknown => Refusal::NoTopic(name.to_owned()),
            TopicError::Unreachable(text) => Refusal::Unavailable(text),
            TopicError::Refused(text) => Refusal::Refused(text),
        }
    }

    /// A single record that was not taken.
    pub(super) fn record(failure: Failure, name: &str) -> Refusal {
        match failure {
            Failure::NoTopic => Refusal::NoTopic(name.to_owned()),
            Failure::NoPartition(_) => Refusal::NoPartition,
            Failure::Retry(text) => Refusal::Unavailable(text),
            Failure::TooLarge(_) => Refusal::TooLarge(0),
            Failure::Wrong(text) => Refusal::Wrong(text),
            Failure::Refused(text) => Refusal::Refused(text),
        }
    }

    /// A topic that could not be made or deleted.
    pub(super) fn admin(error: AdminError, name: &str) -> Refusal {
        match error {
            AdminError::Unknown => Refusal::NoTopic(name.to_owned()),
            AdminError::Unreachable(text) => Refusal::Unavailable(text),
            AdminError::Exists => Refusal::Refused("Topic exists.".to_owned()),
            AdminError::Refused(text) => Refusal::Refused(text),
        }
    }

    /// The answer in this dialect.
    pub(super) fn reply(self, interface: Interface) -> Reply {
        let (close, retry) = match &self {
            Refusal::TooLarge(_) | Refusal::Slow | Refusal::Broken => (true, false),
            Refusal::Busy | Refusal::Unavailable(_) => (false, true),
            _ => (false, false),
        };
        let allow = match &self {
            Refusal::Method(methods) => Some(*methods),
            _ => None,
        };
        if let Refusal::Own(reply) = self {
            return *reply;
        }
        let mut reply = match interface {
            Interface::FastApi => self.fastapi(),
            Interface::RestV2 => self.rest(V2_JSON),
            Interface::RestV3 => self.rest(JSON),
            Interface::Kinesis => self.kinesis(),
            Interface::Operations => {
                let (status, text) = self.plain();
                Reply::new(status, "text/plain; charset=utf-8", format!("{text}\n"))
            }
        };
        reply.allow = allow;
        reply.close = close;
        reply.retry_after = retry.then_some(1);
        reply
    }

    /// Status and words of a server without a dialect.
    fn plain(&self) -> (StatusCode, String) {
        let (status, text) = match self {
            Refusal::Nowhere => (StatusCode::NOT_FOUND, "Not Found"),
            Refusal::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed"),
            Refusal::Unauthorized => (StatusCode::UNAUTHORIZED, "Not authenticated"),
            Refusal::Busy => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Too much is on its way to Kafka, try again",
            ),
            Refusal::TooLarge(0) => (StatusCode::PAYLOAD_TOO_LARGE, "Kafka takes no record of this size"),
            Refusal::TooLarge(limit) => {
                return (
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("The body has more than {limit} bytes"),
                );
            }
            Refusal::TooMany(most) => {
                return (
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("The body has more than {most} records"),
                );
            }
            Refusal::Slow => (StatusCode::REQUEST_TIMEOUT, "The body did not come in time"),
            Refusal::Broken => (StatusCode::BAD_REQUEST, "The body broke off"),
            Refusal::Media => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported Media Type"),
            Refusal::NoTopic(name) => {
                return (StatusCode::NOT_FOUND, format!("There is no topic for {name}"));
            }
            Refusal::NoPartition => (StatusCode::NOT_FOUND, "Partition not found."),
            Refusal::Wrong(text) => {
                return (StatusCode::BAD_REQUEST, format!("Kafka takes no such record: {text}"));
            }
            Refusal::Unavailable(text) => {
                return (
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!("Kafka does not answer: {text}"),
                );
            }
            Refusal::Refused(text) => {
                return (StatusCode::INTERNAL_SERVER_ERROR, format!("Kafka refuses: {text}"));
            }
            Refusal::Own(_) => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        };
        (status, text.to_owned())
    }

    fn fastapi(&self) -> Reply {
        let (status, text) = self.plain();
        Reply::new(status, JSON, json!({ "detail": text }).to_string())
    }

    /// `{"error_code":N,"message":"…"}`.
    fn rest(&self, content_type: &'static str) -> Reply {
        let v3 = content_type == JSON;
        let (mut status, mut text) = self.plain();
        let code = match self {
            Refusal::Busy => {
                status = StatusCode::TOO_MANY_REQUESTS;
                42901
            }
            Refusal::NoTopic(_) if v3 => {
                text = "This server does not host this topic-partition.".to_owned();
                40403
            }
            Refusal::NoTopic(_) => {
                text = "Topic not found.".to_owned();
                40401
            }
            Refusal::NoPartition => 40402,
            Refusal::Unavailable(_) => 50003,
            Refusal::Refused(_) => 50002,
            Refusal::Nowhere | Refusal::Method(_) | Refusal::Unauthorized | Refusal::Media => {
                text = format!(
                    "HTTP {} {}",
                    status.as_u16(),
                    status.canonical_reason().unwrap_or_default()
                );
                u32::from(status.as_u16())
            }
            _ => u32::from(status.as_u16()),
        };
        error_body(status, content_type, code, &text)
    }

    /// `{"__type":"…","message":"…"}`.
    fn kinesis(&self) -> Reply {
        let (mut status, mut text) = self.plain();
        let kind = match self {
            Refusal::Nowhere | Refusal::Method(_) => "UnknownOperationException",
            Refusal::Unauthorized => "MissingAuthenticationTokenException",
            Refusal::Busy => {
                status = StatusCode::TOO_MANY_REQUESTS;
                "ProvisionedThroughputExceededException"
            }
            Refusal::TooLarge(_) | Refusal::TooMany(_) => "RequestEntityTooLargeException",
            Refusal::Slow => "RequestTimeoutException",
            Refusal::Broken => "SerializationException",
            Refusal::Wrong(_) => "InvalidArgumentException",
            Refusal::Media => "UnsupportedMediaTypeException",
            Refusal::NoTopic(name) => {
                text = format!("Stream {name} not found.");
                "ResourceNotFoundException"
            }
            Refusal::NoPartition => "ResourceNotFoundException",
            Refusal::Unavailable(_) => "ServiceUnavailableException",
            Refusal::Refused(_) | Refusal::Own(_) => "InternalFailure",
        };
        kinesis_error(status, kind, &text)
    }
}

/// The REST proxy's error body.
pub(super) fn error_body(status: StatusCode, content_type: &'static str, code: u32, text: &str) -> Reply {
    let text = serde_json::to_string(text).unwrap_or_default();
    Reply::new(
        status,
        content_type,
        format!("{{\"error_code\":{code},\"message\":{text}}}"),
    )
}

/// Kinesis's error body.
pub(super) fn kinesis_error(status: StatusCode, kind: &str, text: &str) -> Reply {
    let text = serde_json::to_string(text).unwrap_or_default();
    Reply::new(status, JSON, format!("{{\"__type\":\"{kind}\",\"message\":{text}}}"))
}
