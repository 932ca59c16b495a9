//! Whether `/readyz` says yes: Kafka answers, and the gateway is not ending.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// What is known about it.
pub(super) struct Readiness {
    /// Why Kafka cannot be reached, or `None`.
    kafka: RwLock<Option<String>>,
    ending: AtomicBool,
}

impl Readiness {
    pub(super) fn new() -> Readiness {
        Readiness {
            kafka: RwLock::new(Some("Kafka was not asked yet".to_owned())),
            ending: AtomicBool::new(false),
        }
    }

    /// What Kafka said when it was asked last; changes are logged.
    pub(super) fn set_kafka(&self, unreachable: Option<String>) {
        let mut current = self.kafka.write().unwrap_or_else(PoisonError::into_inner);
        match (&*current, &unreachable) {
            (None, Some(text)) => tracing::warn!("{text}"),
            (Some(_), None) => tracing::info!("Kafka answers"),
            _ => {}
        }
        *current = unreachable;
    }

    /// From now on the gateway is ending.
    pub(super) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// Why the gateway is not ready, or `None` when it is.
    pub(super) fn unready_reason(&self) -> Option<String> {
        if self.ending.load(Ordering::Relaxed) {
            return Some("the gateway is ending".to_owned());
        }
        self.kafka.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
