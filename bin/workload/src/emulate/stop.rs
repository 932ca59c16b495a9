//! The signal that ends sending early, and its reason.

use std::sync::Arc;
use tokio::sync::watch;

/// Why sending ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The caller asked for it.
    Requested,
    /// The source failed.
    SourceFailed,
    /// No record will be taken, or one was not within the patience.
    DeliveryFailed(String),
}

/// Ends sending; the first reason counts. Clones share the signal.
#[derive(Clone, Debug)]
pub struct StopSignal(Arc<watch::Sender<Option<StopReason>>>);

/// A signal that has not been given.
impl Default for StopSignal {
    fn default() -> StopSignal {
        StopSignal(Arc::new(watch::Sender::new(None)))
    }
}

impl StopSignal {
    /// Ends sending.
    pub fn stop(&self, why: StopReason) {
        self.0.send_if_modified(|reason| {
            let first = reason.is_none();
            if first {
                *reason = Some(why);
            }
            first
        });
    }

    /// Why sending ended early, if it did.
    pub fn reason(&self) -> Option<StopReason> {
        self.0.borrow().clone()
    }

    /// Waits until the signal is given.
    pub async fn wait(&self) {
        // the sender is held by `self`: waiting cannot fail
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_counts() {
        let signal = StopSignal::default();
        assert_eq!(signal.reason(), None);
        signal.stop(StopReason::DeliveryFailed("a".into()));
        signal.stop(StopReason::Requested);
        assert_eq!(signal.reason(), Some(StopReason::DeliveryFailed("a".into())));
    }
}
