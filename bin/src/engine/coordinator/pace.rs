//! The pace of the live loop: how far apart the closes of two epochs are at least.
//!
//! Every commit has a cost of its own in four programs: the broker's answer, the engine's step, the transaction, the
//! reader that it wakes. Closed as fast as Postgres answers, epochs hold a handful of records each, and that cost takes
//! the processor from the broker whose acknowledgements everybody waits for. So an epoch stays open for the pace, and
//! where steps take longer than that, it stays open after a step for as long as the step took beyond the pace, up to
//! [`MOST`]: the slower commits are, the nearer to a half of the time is left to the neighbours.

use std::time::{Duration, Instant};

/// The longest pause that slow commits make.
const MOST: Duration = Duration::from_millis(100);
/// How much less than the pace two closes may be apart, half of it at most. A broker that gathers records for the pace
/// answers in that rhythm by itself, now a little sooner and now later: its answers are not to wait for each other.
const SLACK: Duration = Duration::from_millis(3);
/// One over the weight of the last commit in the average.
const WEIGHT: u32 = 8;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Pace {
    /// The one that was asked for.
    least: Duration,
    /// What a step takes from close to commit, averaged.
    step: Duration,
    /// When the last epoch began to close, and when it was committed.
    last: Option<(Instant, Instant)>,
}

impl Pace {
    pub(super) fn new(least: Duration) -> Pace {
        Pace {
            least,
            step: Duration::ZERO,
            last: None,
        }
    }

    /// The present one.
    pub(super) fn current(&self) -> Duration {
        match self.least.is_zero() {
            true => Duration::ZERO,
            false => self.least.max(self.step + self.pause()),
        }
    }

    /// How long the others get the processor after a step.
    fn pause(&self) -> Duration {
        self.step.saturating_sub(self.least).min(MOST)
    }

    /// When the next epoch may close; nothing for at once.
    pub(super) fn due(&self) -> Option<Instant> {
        let (closed, committed) = self.last.filter(|_| !self.least.is_zero())?;
        let apart = self.least - (self.least / 2).min(SLACK);
        Some((closed + apart).max(committed + self.pause()))
    }

    /// An epoch began to close then, and has been committed now.
    pub(super) fn committed(&mut self, began: Instant, now: Instant) {
        self.last = Some((began, now));
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
        assert_eq!(pace.due(), pace.last.map(|(closed, _)| closed + 5 * MS / 2));
        // as long as a step is within the pace, the next record that comes after it does not wait
        let pace = paced(5 * MS, [5 * MS; 50]);
        assert_eq!(pace.due(), pace.last.map(|(_, committed)| committed));
    }

    #[test]
    fn slow_commits_are_followed_by_a_pause_and_are_forgotten() {
        let slow = paced(5 * MS, [20 * MS; 50]);
        assert_eq!(slow.current(), 35 * MS);
        assert_eq!(slow.due(), slow.last.map(|(_, committed)| committed + 15 * MS));
        let stalled = paced(5 * MS, [3_000 * MS; 5]);
        assert_eq!(stalled.due(), stalled.last.map(|(_, committed)| committed + MOST));
        let again = paced(
            5 * MS,
            std::iter::repeat_n(20 * MS, 50).chain(std::iter::repeat_n(2 * MS, 50)),
        );
        assert_eq!(again.current(), 5 * MS);
        // a pace beyond the longest is the user's
        assert_eq!(paced(200 * MS, [20 * MS; 50]).current(), 200 * MS);
    }

    #[test]
    fn without_a_pace_nothing_is_waited_for() {
        let unpaced = paced(Duration::ZERO, [20 * MS; 50]);
        assert_eq!((unpaced.current(), unpaced.due()), (Duration::ZERO, None));
    }
}
