//! How a failing request is repeated: for how long, and after what pauses.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Pauses and limits: pauses are exponential, with full jitter, so that many readers do not come back at the same
/// moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retries {
    /// The longest pause after the first failure; it doubles with each further one.
    pub first_pause: Duration,
    /// What no pause exceeds.
    pub longest_pause: Duration,
    /// How long a request, or a body, may stay silent before it counts as failed.
    pub silence: Duration,
    /// How long a request may fail before it is given up; `None`: never.
    pub retry_timeout: Option<Duration>,
    /// How long a request fails before the lake is shown as unavailable.
    pub notice: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Retries {
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(20),
            silence: Duration::from_secs(30),
            retry_timeout: Some(Duration::from_secs(600)),
            notice: Duration::from_secs(3),
        }
    }
}

impl Retries {
    /// The pause after `failures` failures in a row: anywhere between nothing and the exponential bound.
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let doubled = self
            .first_pause
            .saturating_mul(1u32 << failures.saturating_sub(1).min(20));
        doubled
            .min(self.longest_pause)
            .mul_f64(random() as f64 / u64::MAX as f64)
    }
}

/// A number that no two calls share: the standard library's hash keys are seeded by the system. Good for spreading
/// pauses and naming temporary files, and for nothing else.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(0)
}
