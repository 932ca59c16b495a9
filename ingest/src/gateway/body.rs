//! Reading a request's body: bounded in size and time, its bytes taken from the budget as they come.

use super::limits::{Budget, Permit};
use super::refusal::Refusal;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Incoming};
use std::pin::Pin;
use std::time::Duration;

/// What is read of a body that was refused, so that a client that writes first and reads then hears why.
const DRAINED: usize = 16 << 20;
/// And how long.
const DRAIN: Duration = Duration::from_secs(2);

/// A body and the bytes of the budget that it holds.
pub(super) struct Taken {
    pub(super) bytes: Bytes,
    pub(super) permit: Permit,
}

/// The next piece of a body; `None` at its end.
pub(super) async fn piece(body: &mut Incoming) -> Option<Result<Bytes, Refusal>> {
    loop {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        match frame {
            // trailers say nothing here
            Ok(frame) => match frame.into_data() {
                Ok(bytes) => return Some(Ok(bytes)),
                Err(_) => continue,
            },
            Err(_) => return Some(Err(Refusal::Broken)),
        }
    }
}

/// The whole body.
pub(super) async fn read(
    body: &mut Incoming,
    limit: usize,
    patience: Duration,
    budget: &Budget,
) -> Result<Taken, Refusal> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(Refusal::TooLarge(limit));
    }
    // what is announced is not taken yet: a client that announces much and sends nothing holds nothing
    if !budget.has(announced) {
        return Err(Refusal::Busy);
    }
    let whole = tokio::time::timeout(patience, gather(body, limit, budget)).await;
    whole.unwrap_or(Err(Refusal::Slow))
}

async fn gather(body: &mut Incoming, limit: usize, budget: &Budget) -> Result<Taken, Refusal> {
    let mut permit = budget.take(0).ok_or(Refusal::Busy)?;
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut length = 0;
    while let Some(bytes) = piece(body).await {
        let bytes = bytes?;
        length += bytes.len();
        if length > limit {
            return Err(Refusal::TooLarge(limit));
        }
        permit.add(budget.take(bytes.len()).ok_or(Refusal::Busy)?);
        // a small body comes in one piece, which need not be copied
        match first {
            None => first = Some(bytes),
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
    Ok(Taken { bytes, permit })
}

/// Reads on after a refusal, within bounds; whether the end was reached.
pub(super) async fn drain(body: &mut Incoming) -> bool {
    let all = async {
        let mut left = DRAINED;
        while let Some(bytes) = piece(body).await {
            match bytes.ok().and_then(|bytes| left.checked_sub(bytes.len())) {
                Some(remaining) => left = remaining,
                None => return false,
            }
        }
        true
    };
    tokio::time::timeout(DRAIN, all).await.unwrap_or(false)
}
