//! Requests and answers in the two forms of Kinesis's own protocol.

use super::kinesis_call::Form;
use super::kinesis_error::KinesisError;
use super::kinesis_request::parse;
use super::reply::Reply;
use super::shape::Object;
use http_server::quote::to_json;
use hyper::StatusCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

impl Form {
    /// The content of a body; one without a byte says nothing, as `{}`.
    pub(super) fn parse<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, KinesisError> {
        match self {
            _ if body.is_empty() => parse(b"{}"),
            Form::Json => parse(body),
            Form::Cbor => {
                let unreadable = |text: String| KinesisError::Serialization(text);
                let mut rest = body;
                let parsed = ciborium::from_reader(&mut rest).map_err(|error| unreadable(error.to_string()))?;
                if !rest.is_empty() {
                    return Err(unreadable("more than one value".to_owned()));
                }
                let Object(content) = parsed;
                Ok(content)
            }
        }
    }

    /// An answer.
    pub(super) fn reply(self, status: StatusCode, answer: &impl Serialize) -> Reply {
        let mut reply = match self {
            Form::Json => Reply::new(status, self.media_type(), to_json(answer)),
            Form::Cbor => {
                let mut body = Vec::new();
                ciborium::into_writer(answer, &mut body).expect("writing to a Vec");
                Reply::new(status, self.media_type(), body)
            }
        };
        reply.is_of_aws = true;
        reply
    }

    /// An answer that says nothing but that it was done.
    pub(super) fn done(self) -> Reply {
        let mut reply = Reply::new(StatusCode::OK, self.media_type(), "");
        reply.is_of_aws = true;
        reply
    }
}
