//! How long and how often a request to Kinesis is repeated.

use super::error::BridgeError;
use super::failure::Failure;
use super::observer::Observer;
use std::time::{Duration, Instant};

/// For how long Kinesis may not answer before the bridge gives up: a supervisor starts it again, and says so.
const PATIENCE: Duration = Duration::from_secs(300);
/// The first pause, which doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The failures of one task in a row.
pub(crate) struct Patience<'a> {
    stream: &'a str,
    observer: &'a dyn Observer,
    failing_since: Option<Instant>,
    pause: Duration,
}

impl<'a> Patience<'a> {
    pub(crate) fn new(stream: &'a str, observer: &'a dyn Observer) -> Patience<'a> {
        Patience {
            stream,
            observer,
            failing_since: None,
            pause: FIRST_PAUSE,
        }
    }

    /// A request has succeeded.
    pub(crate) fn reset(&mut self) {
        self.failing_since = None;
        self.pause = FIRST_PAUSE;
    }

    /// Waits before the request is repeated.
    ///
    /// # Errors
    /// Repeating it is of no use, or was of none for too long.
    pub(crate) async fn wait(&mut self, asked: &'static str, failure: Failure) -> Result<(), BridgeError> {
        match failure {
            Failure::Permanent(error) => return Err(error),
            Failure::Expired => return Ok(()),
            // an answer all the same
            Failure::Throttled => {
                self.failing_since = None;
                self.observer.throttled();
            }
            Failure::Passing(source) => {
                let since = *self.failing_since.get_or_insert_with(Instant::now);
                let waited = since.elapsed();
                if waited >= PATIENCE {
                    let stream = self.stream.to_owned();
                    return Err(BridgeError::Unavailable {
                        asked,
                        stream,
                        waited,
                        source,
                    });
                }
                let said = causes::with_causes(&source);
                tracing::warn!(
                    "Kinesis does not give {asked} of stream {}, asking again: {said}",
                    self.stream
                );
            }
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

/// Repeats a request until it succeeds.
///
/// # Errors
/// See [`Patience::wait`].
pub(crate) async fn repeat<T>(
    mut patience: Patience<'_>,
    asked: &'static str,
    mut ask: impl AsyncFnMut() -> Result<T, Failure>,
) -> Result<T, BridgeError> {
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(failure) => patience.wait(asked, failure).await?,
        }
    }
}
