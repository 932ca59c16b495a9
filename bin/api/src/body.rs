//! Bodies of answers: pieces that are shared, and streams.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http_body_util::{BodyExt, StreamBody};
use http_server::CutOff;
use hyper::body::{Body, Frame, SizeHint};
use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

/// The body of every answer.
pub type AnswerBody = http_server::Body;

/// Pieces that are sent one after the other; their length is known.
struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

/// A body of pieces.
pub fn pieces(pieces: Vec<Bytes>) -> AnswerBody {
    let left = pieces.iter().map(|piece| piece.len() as u64).sum();
    let body = Pieces {
        pieces: pieces.into(),
        left,
    };
    body.boxed_unsync()
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A body of what a stream gives, of unknown length. An error cuts it off.
pub fn streamed(stream: impl Stream<Item = Result<Bytes, CutOff>> + Send + 'static) -> AnswerBody {
    StreamBody::new(stream.map(|piece| piece.map(Frame::data))).boxed_unsync()
}
