//! The body of an answer, which may break off, fall silent or be damaged on its way.

use hyper::body::{Bytes, Frame, SizeHint};
use s3s::Body;
use std::error::Error;
use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// Time for the bytes before a cut to leave: a body that fails takes what hyper still holds with it.
const BEFORE_CUT: Duration = Duration::from_millis(5);

/// Why a connection is closed. A type with a name: hyper's bounds do not resolve for a boxed error in a spawned task.
#[derive(Debug)]
pub(super) struct Failed(String);

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failed {}

pub(super) fn failed(what: impl fmt::Display) -> Failed {
    Failed(what.to_string())
}

/// Where a body goes wrong, in bytes from its start.
#[derive(Clone, Copy, Debug)]
pub(super) enum Break {
    /// It does not.
    Nowhere,
    /// The connection breaks after so many bytes.
    Cut(u64),
    /// Nothing comes after so many bytes.
    Stall(u64),
    /// The lowest bit of this byte is flipped.
    Flip(u64),
}

/// A body that goes wrong there.
pub(super) struct FaultyBody {
    body: Body,
    at_fault: Break,
    /// Bytes that have passed.
    at: u64,
    /// Before a cut.
    pause: Option<Pin<Box<Sleep>>>,
}

impl FaultyBody {
    pub(super) fn new(body: Body, at_fault: Break) -> FaultyBody {
        FaultyBody {
            body,
            at_fault,
            at: 0,
            pause: None,
        }
    }
}

impl hyper::body::Body for FaultyBody {
    type Data = Bytes;
    type Error = Failed;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failed>>> {
        let left = match self.at_fault {
            Break::Cut(after) | Break::Stall(after) => after.saturating_sub(self.at),
            Break::Nowhere | Break::Flip(_) => u64::MAX,
        };
        if left == 0 {
            // nothing wakes a task that stalls: the peer has to give up
            if matches!(self.at_fault, Break::Stall(_)) {
                return Poll::Pending;
            }
            let pause = self
                .pause
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(BEFORE_CUT)));
            ready!(pause.as_mut().poll(cx));
            return Poll::Ready(Some(Err(failed("injected cut"))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        let Poll::Ready(Some(Ok(frame))) = polled else {
            return polled.map_err(failed);
        };
        let mut data = match frame.into_data() {
            Ok(data) => data,
            Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
        };
        data.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        if let Break::Flip(index) = self.at_fault
            && let Some(place) = index.checked_sub(self.at).and_then(|place| usize::try_from(place).ok())
            && place < data.len()
        {
            let mut bytes = data.to_vec();
            bytes[place] ^= 1;
            data = bytes.into();
        }
        self.at += data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.at_fault, Break::Nowhere) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
