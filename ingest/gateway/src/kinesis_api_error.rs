//! Errors in Kinesis's own protocol. A client of AWS goes by the name of the exception, and retries what is throttled
//! by that name: all that the client has to change has the status 400.

use super::api_error::ApiError;
use super::kinesis_call::Form;
use super::kinesis_error::KinesisError;
use super::reply::Reply;
use hyper::StatusCode;

/// The answer to what is not served.
pub(super) fn reply(error: &KinesisError, form: Form) -> Reply {
    let mut body = error.body();
    let status = match error.status() {
        // the credentials that Kafka does not accept are the gateway's own
        _ if error.api() == Some(&ApiError::KafkaAuthentication) => {
            body.kind = "InternalFailure";
            StatusCode::INTERNAL_SERVER_ERROR
        }
        status if status.is_server_error() || status == StatusCode::PAYLOAD_TOO_LARGE => status,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut reply = error.with_headers(form.reply(status, &body));
    reply.exception = Some(body.kind);
    // the scheme of tokens is none of AWS's clients'
    reply.challenge = false;
    reply
}
