//! The body of a v3 stream, cut into records as it arrives.
//!
//! What has arrived of a record counts against the budget before the record is complete, and a record that has begun
//! is complete in time or ends the stream: half a record holds no more memory than its bytes, and not for long.

use super::body::{Body, BodyError};
use super::budget::{OverBudget, RECORD_OVERHEAD};
use super::budget_lease::BudgetLease;
use super::rest::RestError;
use super::split::{SplitError, Splitter};
use super::state::State;
use super::unreported::{Reporting, Unreported};
use bytes::Bytes;
use std::sync::Arc;

/// A request's body, cut into records.
pub(super) struct Source {
    splitter: Splitter,
    /// The bytes in the splitter.
    lease: BudgetLease,
    /// What decompressing takes.
    decoder: BudgetLease,
    unreported: Arc<Unreported>,
    ended: bool,
    bytes: u64,
    /// White space since the last record: compressed, it comes faster than any other body.
    blank: usize,
}

/// A record's text, and what it takes of the budget: its bytes, [`RECORD_OVERHEAD`] until it is acknowledged, and
/// [`RECORD_OVERHEAD`] until it is reported.
pub(super) struct RawRecord {
    pub(super) object: Bytes,
    pub(super) reporting: Reporting,
}

/// Why there is no next record.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    Body(BodyError),
    #[error(transparent)]
    Split(SplitError),
    #[error(transparent)]
    Budget(OverBudget),
}

impl From<SourceError> for RestError {
    fn from(error: SourceError) -> RestError {
        match error {
            SourceError::Body(error) => error.into(),
            SourceError::Split(error) => RestError::BadRequest(error.to_string()),
            SourceError::Budget(error) => error.into(),
        }
    }
}

impl Source {
    pub(super) fn new(state: &State, incoming: &Body) -> Source {
        Source {
            splitter: Splitter::new(state.limits.body_bytes),
            lease: BudgetLease::none(&state.budget, incoming.entry()),
            decoder: BudgetLease::none(&state.budget, incoming.entry()),
            unreported: Arc::default(),
            ended: false,
            bytes: 0,
            blank: 0,
        }
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What ends a stream is reported as a record is.
    pub(super) fn end(&self, state: &State, incoming: &Body) -> Reporting {
        self.unreported.add(BudgetLease::none(&state.budget, incoming.entry()))
    }

    /// The next record; `None` at the end.
    pub(super) async fn next(&mut self, state: &State, incoming: &mut Body) -> Result<Option<RawRecord>, SourceError> {
        let wanted = incoming.decoder_bytes(&state.budget, state.limits.body_bytes);
        if !self.ended && self.decoder.bytes() < wanted {
            // nothing is read yet: it can be refused, and what is read already goes first
            let taken = self.decoder.take(&state.budget, wanted);
            taken.map_err(SourceError::Budget)?;
        }
        loop {
            match self.splitter.next() {
                Ok(Some(object)) => {
                    self.blank = 0;
                    incoming.has_arrived();
                    let mut lease = self.lease.split(object.len());
                    self.lease.shrink(self.splitter.held());
                    let overhead = state.take(&mut lease, 2 * RECORD_OVERHEAD).await;
                    overhead.map_err(SourceError::Budget)?;
                    let reporting = self.unreported.add(lease);
                    return Ok(Some(RawRecord { object, reporting }));
                }
                // white space is gone
                Ok(None) => {
                    self.lease.shrink(self.splitter.held());
                    if self.splitter.held() > 0 {
                        self.blank = 0;
                    } else if self.blank > state.limits.body_bytes {
                        return Err(SourceError::Body(BodyError::TooLarge(state.limits.body_bytes)));
                    }
                }
                Err(SplitError::TooLarge) => {
                    return Err(SourceError::Body(BodyError::TooLarge(state.limits.body_bytes)));
                }
                Err(error) => return Err(SourceError::Split(error)),
            }
            if self.ended {
                return self.splitter.finish().map(|()| None).map_err(SourceError::Split);
            }
            match self.piece(state, incoming).await {
                Some(Ok(bytes)) => {
                    self.bytes += bytes.len() as u64;
                    let taken = state.take(&mut self.lease, bytes.len()).await;
                    taken.map_err(SourceError::Budget)?;
                    self.blank += bytes.len();
                    self.splitter.feed(&bytes);
                }
                Some(Err(error)) => return Err(SourceError::Body(error)),
                None => {
                    self.ended = true;
                    self.decoder.shrink(0);
                }
            }
        }
    }

    /// The next piece of the body. A client that has begun a record is waited for; between two records it may wait for
    /// what becomes of the first.
    async fn piece(&self, state: &State, incoming: &mut Body) -> Option<Result<Bytes, BodyError>> {
        if self.splitter.held() == 0 {
            tokio::select! {
                biased;
                piece = incoming.answered_piece() => return piece,
                () = self.unreported.none() => {}
            }
        }
        let left = incoming.time_left(state.limits.body_timeout);
        let piece = tokio::time::timeout(left, incoming.piece()).await;
        piece.unwrap_or(Some(Err(BodyError::Slow)))
    }
}
