//! Bodies of answers: whole, or a stream of pieces.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of an answer. Where it fails the connection ends, and the client sees that the answer has no end.
pub type Body = UnsyncBoxBody<Bytes, CutOff>;

/// The rest of an answer is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer is cut off")]
pub struct CutOff;

/// JSON without anything special.
pub const JSON: &str = "application/json";
/// Text for people and probes.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// Server-sent events.
pub const EVENTS: &str = "text/event-stream";

/// A body that is complete.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An answer that is complete, of this media type.
pub fn response(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    with_type(status, content_type, whole(bytes))
}

/// A line of text.
pub fn text(status: StatusCode, line: impl Into<Bytes>) -> Response<Body> {
    response(status, TEXT, line)
}

/// JSON.
pub fn json(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    response(status, JSON, text)
}

/// A stream of server-sent events, which neither caches nor proxies are to keep back. Its body is that of a
/// [`StreamPlace`](super::StreamPlace).
pub fn events(body: Body) -> Response<Body> {
    let mut response = with_type(StatusCode::OK, EVENTS, body);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        HeaderName::from_static("x-accel-buffering"),
        HeaderValue::from_static("no"),
    );
    response
}

fn with_type(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let value = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

/// A body, and what lasts until the last of it is handed over or the connection ends.
pub(crate) struct Held<T> {
    body: Body,
    _held: T,
}

impl<T> Held<T> {
    pub(crate) fn new(body: Body, held: T) -> Held<T> {
        Held { body, _held: held }
    }
}

impl<T: Unpin> HttpBody for Held<T> {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
