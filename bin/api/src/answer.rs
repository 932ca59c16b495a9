//! Answers: a status, headers and a body.

use crate::accept::JSON;
use crate::body::{AnswerBody, pieces};
use crate::error::ApiError;
use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};

/// What every route answers with.
pub type Answer = Response<AnswerBody>;

/// An answer with a body of known length.
pub fn answer(status: StatusCode, media: &'static str, body: Vec<Bytes>) -> Answer {
    with_body(status, media, pieces(body))
}

/// An answer with any body.
pub fn with_body(status: StatusCode, media: &'static str, body: AnswerBody) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    set(&mut answer, CONTENT_TYPE, HeaderValue::from_static(media));
    // always asked for again; an ETag makes that cheap
    set(&mut answer, CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    answer
}

/// 200 with JSON.
pub fn json(body: &serde_json::Value) -> Answer {
    answer(StatusCode::OK, JSON, vec![Bytes::from(body.to_string())])
}

/// What an error answers.
pub fn refused(error: &ApiError) -> Answer {
    let mut answer = answer(error.status, JSON, vec![Bytes::from(error.json().to_string())]);
    if error.status == StatusCode::SERVICE_UNAVAILABLE {
        set(&mut answer, RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// Sets a header.
pub fn set(answer: &mut Answer, name: HeaderName, value: HeaderValue) {
    answer.headers_mut().insert(name, value);
}

/// Sets a header to a text; one that no header can hold is left out.
pub fn set_text(answer: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        set(answer, name, value);
    }
}
