//! The body of a v3 stream, cut into records as it arrives.
//!
//! What has arrived of a record counts against the budget before the record is complete, and a record that has begun
//! is complete in time or ends the stream: half a record holds no more memory than its bytes, and not for long.

use super::body::{Body, BodyError};
use super::budget::{OverBudget, RECORD_OVERHEAD};
use super::held::Held;
use super::rest::RestError;
use super::split::{SplitError, Splitter};
use super::state::State;
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

/// A request's body, cut into records.
pub(super) struct Source {
    splitter: Splitter,
    /// The bytes in the splitter.
    held: Held,
    ended: bool,
    bytes: u64,
}

/// A record's text, and what it takes of the budget: its bytes, [`RECORD_OVERHEAD`] until it is acknowledged, and
/// [`RECORD_OVERHEAD`] until it is reported.
pub(super) struct RawRecord {
    pub(super) object: Bytes,
    pub(super) held: Held,
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
            held: Held::none(&state.budget, incoming.entry()),
            ended: false,
            bytes: 0,
        }
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next record; `None` at the end.
    pub(super) async fn next(&mut self, state: &State, incoming: &mut Body) -> Result<Option<RawRecord>, SourceError> {
        let mut deadline = None;
        loop {
            match self.splitter.next() {
                Ok(Some(object)) => {
                    incoming.has_arrived();
                    let mut held = self.held.split(object.len());
                    self.held.shrink(self.splitter.held());
                    let overhead = state.take(&mut held, 2 * RECORD_OVERHEAD).await;
                    overhead.map_err(SourceError::Budget)?;
                    return Ok(Some(RawRecord { object, held }));
                }
                // white space is gone
                Ok(None) => self.held.shrink(self.splitter.held()),
                Err(SplitError::TooLarge) => {
                    return Err(SourceError::Body(BodyError::TooLarge(state.limits.body_bytes)));
                }
                Err(error) => return Err(SourceError::Split(error)),
            }
            if self.ended {
                return self.splitter.finish().map(|()| None).map_err(SourceError::Split);
            }
            let left = || incoming.time_left(state.limits.body_timeout);
            let until = *deadline.get_or_insert_with(|| Instant::now() + left());
            match timeout_at(until, incoming.piece()).await {
                Ok(Some(Ok(bytes))) => {
                    self.bytes += bytes.len() as u64;
                    let began = Instant::now();
                    let taken = state.take(&mut self.held, bytes.len()).await;
                    taken.map_err(SourceError::Budget)?;
                    // the client is not to blame for what it waited for us
                    deadline = Some(until + began.elapsed());
                    self.splitter.feed(&bytes);
                }
                Ok(Some(Err(error))) => return Err(SourceError::Body(error)),
                Ok(None) => self.ended = true,
                Err(_) => return Err(SourceError::Body(BodyError::Slow)),
            }
        }
    }
}
