//! Answers that last for hours, bounded in number: a part of the connections is left for everything else.

use super::body::{Body, CutOff};
use super::caller::Caller;
use super::entry::Entry;
use super::priority::give_way;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often a stream looks whether its token is still valid.
const LOOK: Duration = Duration::from_secs(1);

/// The open streams of a server.
#[derive(Debug)]
pub(crate) struct Streams {
    limit: usize,
    open: AtomicUsize,
}

/// A place among the open streams, given back when dropped. Its connection makes room for no other, and has no end in
/// time, while it lives.
pub struct StreamPlace {
    streams: Arc<Streams>,
    entry: Arc<Entry>,
    caller: Caller,
}

impl Streams {
    /// At most so many.
    pub(crate) fn new(limit: usize) -> Arc<Streams> {
        let open = AtomicUsize::new(0);
        Arc::new(Streams { limit, open })
    }

    /// A place for an answer on this connection; `None` where all are taken.
    pub(crate) fn place(self: &Arc<Self>, entry: &Arc<Entry>, caller: Caller) -> Option<StreamPlace> {
        let one_more = |open: usize| (open < self.limit).then_some(open + 1);
        let taken = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.ok()?;
        entry.begin_stream();
        Some(StreamPlace {
            streams: Arc::clone(self),
            entry: Arc::clone(entry),
            caller,
        })
    }
}

impl StreamPlace {
    /// A body that keeps the place until its end. Where the caller's token becomes invalid it ends within a second.
    pub fn body<B>(self, body: B) -> Body
    where
        B: HttpBody<Data = Bytes, Error = CutOff> + Send + 'static,
    {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stream = Stream {
            body: body.boxed_unsync(),
            look,
            place: self,
        };
        stream.boxed_unsync()
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.entry.end_stream();
        self.streams.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that lasts as long as its token.
struct Stream {
    body: Body,
    look: Interval,
    place: StreamPlace,
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        // also where pieces come without a pause
        if !self.place.caller.is_valid() {
            return Poll::Ready(None);
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if polled.is_pending() {
            while self.look.poll_tick(context).is_ready() {
                if !self.place.caller.is_valid() {
                    return Poll::Ready(None);
                }
            }
        } else {
            give_way();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
