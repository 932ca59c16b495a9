//! Answers, whole or streamed.

use super::budget::OverBudget;
use super::budget_lease::BudgetLease;
use super::state::State;
use super::unreported::Reporting;
use bytes::Bytes;
use http_server::quote::to_json;
use http_server::{Entry, REQUEST_ID, RequestGuard};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// JSON without anything special.
pub(super) const JSON: &str = "application/json";
/// What version 2 of the REST proxy answers with.
pub(super) const V2_JSON: &str = "application/vnd.kafka.v2+json";
/// Text for people and probes.
pub(super) const TEXT: &str = "text/plain; charset=utf-8";

/// How a client may bring a token.
const CHALLENGE: &str = "Bearer, Basic realm=\"pinflow\"";
const AWS_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const AWS_ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// An answer that is not longer does not count: the system has room for it.
const UNCOUNTED: usize = 4 << 10;

/// An answer.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: ReplyBody,
    /// Seconds after which another try makes sense.
    pub(super) retry_after: Option<u32>,
    /// The methods that would have been right.
    pub(super) allow: Option<&'static str>,
    /// The encodings of a body that would have been right.
    pub(super) accept_encoding: Option<&'static str>,
    /// Whether the client has to bring a token.
    pub(super) challenge: bool,
    /// Whether a client of AWS reads it, which has a name of its own for the request's id.
    pub(super) is_of_aws: bool,
    /// What such a client calls the error.
    pub(super) exception: Option<&'static str>,
    /// Whether its bytes are counted already.
    is_counted: bool,
    /// Whether the connection ends with this answer.
    pub(super) close: bool,
    /// Records that Kafka has acknowledged.
    pub(super) records: u64,
    /// Bytes of the request's body.
    pub(super) bytes: u64,
}

impl Reply {
    pub(super) fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
        Reply {
            status,
            content_type,
            body: ReplyBody::Whole(Some(body.into())),
            retry_after: None,
            allow: None,
            accept_encoding: None,
            challenge: false,
            is_of_aws: false,
            exception: None,
            is_counted: false,
            close: false,
            records: 0,
            bytes: 0,
        }
    }

    /// `200` with JSON.
    pub(super) fn json(body: impl Into<Bytes>) -> Reply {
        Reply::new(StatusCode::OK, JSON, body)
    }

    /// The same with these counts, for the log.
    pub(super) fn counted(mut self, records: u64, bytes: usize) -> Reply {
        (self.records, self.bytes) = (records, bytes as u64);
        self
    }

    /// `200` with an answer that is counted until its client has taken it, and made when there is room for it.
    pub(super) async fn counted_json(
        state: &State,
        entry: &Arc<Entry>,
        answer: &impl Serialize,
    ) -> Result<Reply, OverBudget> {
        let mut reply = Reply::json(Bytes::new());
        let length = json_length(answer);
        let mut lease = BudgetLease::none(&state.budget, entry);
        if length > UNCOUNTED {
            state.take(&mut lease, length).await?;
        }
        let bytes = Counted {
            bytes: to_json(answer).into(),
            _lease: lease,
        };
        reply.body = ReplyBody::Whole(Some(Bytes::from_owner(bytes)));
        reply.is_counted = true;
        Ok(reply)
    }

    /// Counts a long answer until its client has taken it. One that finds no room in time ends its connection.
    pub(super) async fn count(&mut self, state: &State, entry: &Arc<Entry>) {
        let ReplyBody::Whole(Some(bytes)) = &mut self.body else {
            return;
        };
        if self.is_counted || bytes.len() <= UNCOUNTED {
            return;
        }
        let mut lease = BudgetLease::none(&state.budget, entry);
        self.close |= state.take(&mut lease, bytes.len()).await.is_err();
        let bytes_held = Counted {
            bytes: std::mem::take(bytes),
            _lease: lease,
        };
        *bytes = Bytes::from_owner(bytes_held);
    }

    pub(super) fn response(self, id: HeaderValue) -> Response<ReplyBody> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if self.is_of_aws {
            headers.insert(AWS_REQUEST_ID, id.clone());
        }
        if let Some(exception) = self.exception {
            headers.insert(AWS_ERROR_TYPE, HeaderValue::from_static(exception));
        }
        headers.insert(REQUEST_ID, id);
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(methods) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(methods));
        }
        if let Some(encodings) = self.accept_encoding {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(encodings));
        }
        if self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Bytes of an answer in JSON.
fn json_length(answer: &impl Serialize) -> usize {
    struct Length(usize);
    impl Write for Length {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    serde_json::to_writer(&mut length, answer).expect("an answer has no keys but names");
    length.0
}

/// Bytes of an answer, and what they take of the budget until they are written.
struct Counted {
    bytes: Bytes,
    _lease: BudgetLease,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The body of an answer.
pub(super) enum ReplyBody {
    Whole(Option<Bytes>),
    /// Pieces as they come; the request is under way until the last.
    Pieces {
        pieces: mpsc::Receiver<Piece>,
        _guard: RequestGuard,
    },
}

/// A piece of an answer, and what its records take of the budget until it is written.
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    pub(super) _reported: Vec<Reporting>,
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            ReplyBody::Whole(body) => Poll::Ready(body.take().map(|bytes| Ok(Frame::data(bytes)))),
            ReplyBody::Pieces { pieces, .. } => pieces
                .poll_recv(context)
                .map(|piece| piece.map(|piece| Ok(Frame::data(piece.bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, ReplyBody::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ReplyBody::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            ReplyBody::Pieces { .. } => SizeHint::default(),
        }
    }
}
