//! Reading a request's body: bounded in size and time, its bytes taken from the budget as they come.

use super::budget::{Budget, OverBudget, Permit};
use super::budget_lease::BudgetLease;
use bytes::{Bytes, BytesMut};
use http_server::{Caller, Entry};
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
    entry: Arc<Entry>,
    /// Milliseconds for which what is waited for was waited for already.
    waited: u64,
    caller: Caller,
    /// The client waits for `100 Continue`, which the server sends when the body is asked for.
    awaits_continue: bool,
}

impl Body {
    pub(super) fn new(incoming: Incoming, entry: Arc<Entry>, caller: Caller, awaits_continue: bool) -> Body {
        Body {
            incoming,
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

    /// The next piece; `None` at the end. Its client is waited for until it comes, and not for what is done with it.
    pub(super) async fn piece(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.next(true).await
    }

    /// The same from a client that waits for us before it sends more.
    pub(super) async fn answered_piece(&mut self) -> Option<Result<Bytes, BodyError>> {
        self.next(false).await
    }

    async fn next(&mut self, is_waited_for: bool) -> Option<Result<Bytes, BodyError>> {
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
    let announced = usize::try_from(body.incoming.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(BodyError::TooLarge(limit).into());
    }
    // what is announced is not taken yet: a client that announces much and sends nothing holds nothing
    if !budget.has(announced) {
        return Err(OverBudget::Now.into());
    }
    let whole = tokio::time::timeout(body.time_left(timeout), gather(body, limit, budget)).await;
    whole.unwrap_or(Err(BodyError::Slow.into()))
}

async fn gather(body: &mut Body, limit: usize, budget: &Budget) -> Result<Taken, ReadError> {
    let mut lease = BudgetLease::none(budget, &body.entry);
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut length = 0;
    while let Some(bytes) = body.piece().await {
        let bytes = bytes?;
        length += bytes.len();
        if length > limit {
            return Err(BodyError::TooLarge(limit).into());
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
        while let Some(bytes) = body.piece().await {
            match bytes.ok().and_then(|bytes| left.checked_sub(bytes.len())) {
                Some(remaining) => left = remaining,
                None => return false,
            }
        }
        true
    };
    tokio::time::timeout(DRAIN, all).await.unwrap_or(false)
}
