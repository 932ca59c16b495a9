//! The request to end: a channel that the first signal closes.

use super::common::say;
use crate::signals;
use anyhow::Result;
use std::convert::Infallible;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

/// Says when the demo is asked to end.
pub(super) struct Stop(Receiver<Infallible>);

impl Stop {
    /// Ends the demo at SIGTERM or Ctrl-C; a second one ends the process at once.
    pub(super) fn on_signals() -> Result<Stop> {
        let (sender, closed) = sync_channel(0);
        let mut open = Some(sender);
        signals::watch_signals(&signals::STOP, move |_, _| {
            if open.take().is_none() {
                std::process::exit(signals::INTERRUPTED);
            }
            say("stopping");
        })?;
        Ok(Stop(closed))
    }

    /// Waits so long, or until the end is asked for: whether it is.
    pub(super) fn within(&self, limit: Duration) -> bool {
        self.0.recv_timeout(limit) == Err(RecvTimeoutError::Disconnected)
    }
}
