//! How many requests and records a token may send.
//!
//! Each request costs one, and each further record of it one more. What a request costs is known when it is read, so
//! that one of many records may overdraw: then nothing is taken until the average is met again.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// So many a second, on average.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(u32);

impl Rate {
    /// At least one a second.
    pub fn new(a_second: u32) -> Option<Rate> {
        (a_second > 0).then_some(Rate(a_second))
    }
}

/// What is left of a rate; a second's worth can be saved.
#[derive(Debug)]
pub(super) struct Allowance {
    rate: Rate,
    left: Mutex<(f64, Instant)>,
}

/// The rate of a token is used up, and for how many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Too many requests or records with this token, try again in {0} s")]
pub struct Exhausted(pub u32);

impl Allowance {
    pub(super) fn new(rate: Rate) -> Allowance {
        let left = Mutex::new((f64::from(rate.0), Instant::now()));
        Allowance { rate, left }
    }

    /// One request, or one record of a stream.
    pub(super) fn take(&self) -> Result<(), Exhausted> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Result<(), Exhausted> {
        let rate = f64::from(self.rate.0);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let since = now.saturating_duration_since(left.1).as_secs_f64();
        *left = ((left.0 + since * rate).min(rate), now.max(left.1));
        if left.0 < 1.0 {
            // saturates
            let seconds = ((1.0 - left.0) / rate).ceil().max(1.0) as u32;
            return Err(Exhausted(seconds));
        }
        left.0 -= 1.0;
        Ok(())
    }

    /// Further records of a request that was let in.
    pub(super) fn charge(&self, records: u64) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.0 -= records as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_second_is_saved_and_an_overdraft_is_waited_for() {
        let allowance = Allowance::new(Rate::new(10).unwrap());
        let began = Instant::now() + Duration::from_secs(5);
        let at = |milliseconds| allowance.take_at(began + Duration::from_millis(milliseconds));
        for _ in 0..10 {
            assert_eq!(at(0), Ok(()));
        }
        assert_eq!(at(0), Err(Exhausted(1)));
        assert_eq!(at(99), Err(Exhausted(1)));
        assert_eq!(at(101), Ok(()));
        assert_eq!(at(101), Err(Exhausted(1)));
        allowance.charge(49);
        assert_eq!(at(101), Err(Exhausted(5)));
        assert_eq!(at(4_900), Err(Exhausted(1)));
        assert_eq!(at(5_200), Ok(()));
        assert!(Rate::new(0).is_none());
    }
}
