//! The pace of the live loop: how far apart the closes of two epochs are at least.
//!
//! Every commit has a cost of its own in four programs: the broker's answer, the engine's step, the transaction, the
//! reader that it wakes. Closed as fast as Postgres answers, epochs hold a handful of records each, and that cost takes
//! the processor from the broker whose acknowledgements everybody waits for. So an epoch stays open for the pace, and
//! where commits are slow for longer: no more than half of the time is spent committing.

use std::time::{Duration, Instant};

/// The longest that slow commits make the pace.
const MOST: Duration = Duration::from_millis(200);
/// One over the weight of the last commit in the average.
const WEIGHT: u32 = 8;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Pace {
    /// The one that was asked for.
    least: Duration,
    /// What a step takes from close to commit, averaged.
    step: Duration,
    /// When the last epoch began to close.
    closed: Option<Instant>,
}

impl Pace {
    pub(super) fn new(least: Duration) -> Pace {
        Pace {
            least,
            step: Duration::ZERO,
            closed: None,
        }
    }

    /// The present one.
    pub(super) fn current(&self) -> Duration {
        match self.least.is_zero() {
            true => Duration::ZERO,
            false => (self.step * 2).min(MOST).max(self.least),
        }
    }

    /// When the next epoch may close; nothing for at once.
    pub(super) fn due(&self) -> Option<Instant> {
        Some(self.closed? + self.current())
    }

    /// An epoch began to close then, and has been committed now.
    pub(super) fn committed(&mut self, began: Instant, now: Instant) {
        self.closed = Some(began);
        let step = now - began;
        self.step = match self.step.is_zero() {
            true => step,
            false => self.step - self.step / WEIGHT + step / WEIGHT,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn paced(least: Duration, steps: impl IntoIterator<Item = Duration>) -> Pace {
        let mut pace = Pace::new(least);
        let now = Instant::now();
        for step in steps {
            pace.committed(now, now + step);
        }
        pace
    }

    #[test]
    fn quick_commits_keep_the_pace_that_was_asked_for() {
        assert_eq!(paced(5 * MS, []).due(), None);
        let pace = paced(5 * MS, [2 * MS; 50]);
        assert_eq!(pace.current(), 5 * MS);
        assert_eq!(pace.due(), pace.closed.map(|closed| closed + 5 * MS));
    }

    #[test]
    fn slow_commits_take_half_of_the_time_at_most_and_are_forgotten() {
        let slow = paced(5 * MS, [20 * MS; 50]);
        assert_eq!(slow.current(), 40 * MS);
        assert_eq!(paced(5 * MS, [3 * Duration::from_secs(1); 5]).current(), MOST);
        let again = paced(
            5 * MS,
            std::iter::repeat_n(20 * MS, 50).chain(std::iter::repeat_n(2 * MS, 50)),
        );
        assert_eq!(again.current(), 5 * MS);
        // a pace beyond the longest is the user's
        assert_eq!(paced(2 * MOST, [20 * MS; 50]).current(), 2 * MOST);
    }

    #[test]
    fn without_a_pace_nothing_is_waited_for() {
        assert_eq!(paced(Duration::ZERO, [20 * MS; 50]).current(), Duration::ZERO);
    }
}
