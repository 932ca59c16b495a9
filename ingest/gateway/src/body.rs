//! Reading a request's body: bounded in size and time, its bytes taken from the budget as they come.
//!
//! A compressed body is decompressed a bounded part at a time, and what comes out is what is bounded and counted. What
//! its decoder takes counts as well, since it is held while the client is waited for.

use super::budget::{Budget, OverBudget, Permit, RECORD_OVERHEAD};
use super::budget_lease::BudgetLease;
use super::content_encoding::ContentEncoding;
use bytes::{Bytes, BytesMut};
use http_server::{Caller, Entry, Gunzip, GzipError};
use hyper::body::{Body as _, Incoming};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// What is read of a body that was refused, so that a client that writes first and reads then sees the answer.
const DRAINED: usize = 16 << 20;
/// And how long.
const DRAIN: Duration = Duration::from_secs(2);
/// The beginning of a body that is not longer is copied while the rest is waited for.
const COPIED: usize = 4 << 10;

/// Why a body could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BodyError {
    /// It has more bytes than these.
    #[error("The body has more than {0} bytes")]
    TooLarge(usize),
    /// It did not come in time.
    #[error("The body did not come in time")]
    Slow,
    /// It broke off.
    #[error("The body broke off")]
    Broken,
    /// Its content is not what its `Content-Encoding` says.
    #[error("The body is not gzip: {0}")]
    NotGzip(#[from] GzipError),
}

/// Why the whole of a body could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadError {
    Body(BodyError),
    Budget(OverBudget),
}

impl From<BodyError> for ReadError {
    fn from(error: BodyError) -> ReadError {
        ReadError::Body(error)
    }
}

impl From<OverBudget> for ReadError {
    fn from(error: OverBudget) -> ReadError {
        ReadError::Budget(error)
    }
}

/// A body and the bytes of the budget that it holds.
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    pub(super) permit: Permit,
}

/// A request's body; its connection knows how long it has been waited for.
pub(super) struct Body {
    incoming: Incoming,
    /// `None`: it is not compressed.
    gzip: Option<Compressed>,
    entry: Arc<Entry>,
    /// Milliseconds for which what is waited for was waited for already.
    waited: u64,
    caller: Caller,
    /// The client waits for `100 Continue`, which the server sends when the body is asked for.
    awaits_continue: bool,
}

/// What has arrived of a compressed body and is not decompressed.
#[derive(Default)]
struct Compressed {
    decoder: Gunzip,
    rest: Bytes,
}

impl Body {
    pub(super) fn new(
        incoming: Incoming,
        encoding: ContentEncoding,
        entry: Arc<Entry>,
        caller: Caller,
        awaits_continue: bool,
    ) -> Body {
        Body {
            incoming,
            gzip: (encoding == ContentEncoding::Gzip).then(Compressed::default),
            // who asks for what came so far is waited for no longer
            waited: entry.has_body(),
            entry,
            caller,
            awaits_continue,
        }
    }

    /// Its connection.
    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Who sends it.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// What is left of a time for what is waited for now.
    pub(super) fn time_left(&self, timeout: Duration) -> Duration {
        timeout.saturating_sub(Duration::from_millis(self.waited))
    }

    /// Whether nothing more comes.
    pub(super) fn is_at_end(&self) -> bool {
        self.incoming.is_end_stream()
    }

    /// What decompressing takes of the budget beside a body of at most so many bytes; the longest body has room beside it.
    pub(super) fn decoder_bytes(&self, budget: &Budget, limit: usize) -> usize {
        let room = budget.total().saturating_sub(limit + 2 * RECORD_OVERHEAD);
        self.gzip.as_ref().map_or(0, |_| Gunzip::BYTES.min(room))
    }

    /// The next piece; `None` at the end. Its client is waited for until it comes, and not for what is done with it.
    pub(super) async fn piece(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.next(true).await
    }

    /// The same from a client that waits for us before it sends more.
    pub(super) async fn answered_piece(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.next(false).await
    }

    async fn next(&mut self, is_waited_for: bool) -> Option<Result<Bytes, BodyError>> {
        loop {
            if self.gzip.is_some() {
                // a small piece may stand for a large body: others have their turn in between
                tokio::task::coop::consume_budget().await;
            }
            if let Some(Compressed { decoder, rest }) = &mut self.gzip {
                match decoder.next(rest) {
                    Ok(None) => {}
                    Ok(Some(bytes)) => return Some(Ok(bytes)),
                    Err(error) => return Some(Err(error.into())),
                }
            }
            let arrived = self.arrived(is_waited_for).await;
            let Some(Compressed { decoder, rest }) = &mut self.gzip else {
                return arrived;
            };
            match arrived {
                Some(Ok(bytes)) => *rest = bytes,
                Some(Err(error)) => return Some(Err(error)),
                None => return decoder.finish().err().map(|error| Err(error.into())),
            }
        }
    }

    /// The next piece as it was sent.
    async fn arrived(&mut self, is_waited_for: bool) -> Option<Result<Bytes, BodyError>> {
        self.awaits_continue = false;
        loop {
            let polled = std::future::poll_fn(|context| {
                let polled = Pin::new(&mut self.incoming).poll_frame(context);
                if polled.is_pending() && is_waited_for {
                    self.entry.waits_for_body(self.waited);
                }
                polled
            });
            let polled = polled.await;
            if is_waited_for {
                self.pause();
            }
            match polled {
                // trailers say nothing here
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => return Some(Ok(bytes)),
                    Err(_) => continue,
                },
                Some(Err(_)) => return Some(Err(BodyError::Broken)),
                None => {
                    self.has_arrived();
                    return None;
                }
            }
        }
    }

    /// As much as was wanted is there: the next wait is a new one.
    pub(super) fn has_arrived(&mut self) {
        self.entry.has_body();
        self.waited = 0;
    }

    /// The wait continues with the next piece.
    fn pause(&mut self) {
        // where it did not begin, that was at once
        self.waited = self.entry.has_body().max(self.waited);
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        self.entry.has_body();
    }
}

/// The whole body.
pub(super) async fn read(
    body: &mut Body,
    limit: usize,
    timeout: Duration,
    budget: &Budget,
) -> Result<Taken, ReadError> {
    read_within(body, limit, timeout, budget, None).await
}

/// The same of a request that nobody vouches for before its body is there: until then the body takes of what there is
/// for such requests, too, and so do these bytes of its head.
pub(super) async fn read_unverified(
    body: &mut Body,
    limit: usize,
    timeout: Duration,
    budget: &Budget,
    unknown: (&Budget, usize),
) -> Result<Taken, ReadError> {
    read_within(body, limit, timeout, budget, Some(unknown)).await
}

async fn read_within(
    body: &mut Body,
    limit: usize,
    timeout: Duration,
    budget: &Budget,
    unknown: Option<(&Budget, usize)>,
) -> Result<Taken, ReadError> {
    // how much a compressed body stands for is not announced
    let announced = match body.gzip {
        Some(_) => 0,
        None => usize::try_from(body.incoming.size_hint().lower()).unwrap_or(usize::MAX),
    };
    if announced > limit {
        return Err(BodyError::TooLarge(limit).into());
    }
    // what is announced is not taken yet: a client that announces much and sends nothing holds nothing
    if !budget.has(announced) {
        return Err(OverBudget::Now.into());
    }
    let whole = tokio::time::timeout(body.time_left(timeout), gather(body, limit, budget, unknown)).await;
    whole.unwrap_or(Err(BodyError::Slow.into()))
}

async fn gather(
    body: &mut Body,
    limit: usize,
    budget: &Budget,
    unknown: Option<(&Budget, usize)>,
) -> Result<Taken, ReadError> {
    let mut lease = BudgetLease::none(budget, &body.entry);
    let mut share = None;
    if let Some((unknown, head)) = unknown {
        share = Some((unknown, unknown.take(head)?));
        lease.take(budget, head)?;
    }
    lease.take(budget, body.decoder_bytes(budget, limit))?;
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut length = 0;
    while let Some(bytes) = body.piece().await {
        let bytes = bytes?;
        length += bytes.len();
        if length > limit {
            return Err(BodyError::TooLarge(limit).into());
        }
        if let Some((unknown, permit)) = &mut share {
            permit.add(unknown.take(bytes.len())?);
        }
        lease.take(budget, bytes.len())?;
        // a small body comes in one piece, which need not be copied
        match first {
            None if body.is_at_end() || bytes.len() > COPIED => first = Some(bytes),
            // it is a part of the server's buffer, which is larger
            None => first = Some(Bytes::copy_from_slice(&bytes)),
            Some(ref first) => {
                if rest.is_empty() {
                    rest.extend_from_slice(first);
                }
                rest.extend_from_slice(&bytes);
            }
        }
    }
    let bytes = if rest.is_empty() {
        first.unwrap_or_default()
    } else {
        rest.freeze()
    };
    lease.shrink(length);
    let permit = lease.hand_over_all();
    Ok(Taken { bytes, permit })
}

/// Reads on after a refusal, within bounds; whether the end was reached. A client that waits for leave to send its body
/// is not asked for it.
pub(super) async fn drain(body: &mut Body) -> bool {
    if body.awaits_continue {
        return false;
    }
    let all = async {
        let mut left = DRAINED;
        while let Some(bytes) = body.arrived(true).await {
            match bytes.ok().and_then(|bytes| left.checked_sub(bytes.len())) {
                Some(remaining) => left = remaining,
                None => return false,
            }
        }
        true
    };
    tokio::time::timeout(DRAIN, all).await.unwrap_or(false)
}
