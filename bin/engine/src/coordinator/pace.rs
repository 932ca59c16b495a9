//! The pace of the live loop: how far apart the closes of epochs are.
//!
//! Every commit has a cost of its own in four programs: the broker's answer, the engine's step, the transaction, the
//! reader that it wakes. Closed as fast as Postgres answers, epochs hold a handful of records each, and that cost takes
//! the processor from the broker whose acknowledgements everybody waits for. So closes have slots that lie the pace apart,
//! and a close waits for the slot of the one before it: an answer of a broker that gathers for the pace comes now a little
//! sooner and now later, and is not to wait for that, while the answers of several brokers share the slots. Where steps
//! take longer than the pace, an epoch stays open after a step for as long as the step took beyond it, up to [`MOST`]: the
//! slower commits are, the nearer to a half of the time is left to the neighbours.

use std::time::{Duration, Instant};

/// The longest pause that slow commits make.
const MOST: Duration = Duration::from_millis(100);
/// One over the weight of the last commit in the average.
const WEIGHT: u32 = 8;

/// See the module's head.
#[derive(Debug)]
pub(super) struct Pace {
    /// The one that was asked for.
    least: Duration,
    /// What a step takes from close to commit, averaged.
    step: Duration,
    /// The slot of the last close, and when its epoch was committed. Slots are the pace apart, and none lies before its
    /// close.
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
        if self.least.is_zero() {
            Duration::ZERO
        } else {
            self.least.max(self.step + self.pause())
        }
    }

    /// How long the others get the processor after a step.
    fn pause(&self) -> Duration {
        self.step.saturating_sub(self.least).min(MOST)
    }

    /// When the next epoch may close; nothing for at once.
    pub(super) fn due(&self) -> Option<Instant> {
        let (slot, committed) = self.last.filter(|_| !self.least.is_zero())?;
        Some(slot.max(committed + self.pause()))
    }

    /// An epoch began to close then, and has been committed now.
    pub(super) fn committed(&mut self, began: Instant, now: Instant) {
        let slot = self.last.map_or(began, |(slot, _)| began.max(slot + self.least));
        self.last = Some((slot, now));
        let step = now - began;
        self.step = if self.step.is_zero() {
            step
        } else {
            self.step - self.step / WEIGHT + step / WEIGHT
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// After steps that took so long, each begun at once.
    fn paced(least: Duration, steps: impl IntoIterator<Item = Duration>) -> (Pace, Instant) {
        let mut pace = Pace::new(least);
        let mut now = Instant::now();
        for step in steps {
            let began = pace.due().map_or(now, |due| due.max(now));
            now = began + step;
            pace.committed(began, now);
        }
        (pace, now)
    }

    /// How long the closes after a pause of a second wait, when something is there for each at once.
    #[test]
    fn closes_are_the_pace_apart_and_one_may_come_early() {
        let (mut pace, start) = paced(5 * MS, [2 * MS]);
        let mut now = start + Duration::from_secs(1);
        let mut waits = Vec::new();
        for _ in 0..4 {
            let began = pace.due().map_or(now, |due| due.max(now));
            waits.push(began - now);
            now = began + MS;
            pace.committed(began, now);
        }
        assert_eq!(waits, [Duration::ZERO, Duration::ZERO, 3 * MS, 4 * MS]);
        // answers that come in the rhythm of the pace, now sooner and now later, never wait
        for (answer, late) in [0, 2, 1, 4, 0, 3, 0].into_iter().enumerate() {
            now = start + Duration::from_secs(2) + (5 * answer as u32 + late) * MS;
            assert!(pace.due().is_some_and(|due| due <= now), "{late}");
            pace.committed(now, now + MS);
        }
    }

    #[test]
    fn quick_commits_keep_the_pace_that_was_asked_for() {
        assert_eq!(Pace::new(5 * MS).due(), None);
        assert_eq!(paced(5 * MS, [2 * MS; 50]).0.current(), 5 * MS);
        // as long as a step is within the pace, the next record that comes after it does not wait
        let (pace, now) = paced(5 * MS, [5 * MS; 50]);
        assert_eq!(pace.due(), Some(now));
    }

    #[test]
    fn slow_commits_are_followed_by_a_pause_and_are_forgotten() {
        let (slow, now) = paced(5 * MS, [20 * MS; 50]);
        assert_eq!((slow.current(), slow.due()), (35 * MS, Some(now + 15 * MS)));
        let (stalled, now) = paced(5 * MS, [3_000 * MS; 5]);
        assert_eq!(stalled.due(), Some(now + MOST));
        let again = std::iter::repeat_n(20 * MS, 50).chain(std::iter::repeat_n(2 * MS, 50));
        assert_eq!(paced(5 * MS, again).0.current(), 5 * MS);
        // a pace beyond the longest is the user's
        assert_eq!(paced(200 * MS, [20 * MS; 50]).0.current(), 200 * MS);
    }

    #[test]
    fn without_a_pace_nothing_is_waited_for() {
        let (unpaced, _) = paced(Duration::ZERO, [20 * MS; 50]);
        assert_eq!((unpaced.current(), unpaced.due()), (Duration::ZERO, None));
    }
}
