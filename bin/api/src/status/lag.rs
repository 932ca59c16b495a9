//! How far a partition is behind Kafka, in records and in time, and whether that grows.
//!
//! The lag in seconds has two upper bounds, and is the lesser one. The first is the age of the newest committed record: what
//! waits was written after it. It compares clocks, of producers or brokers with ours, and producers may write any
//! timestamp; an age below 0 counts as 0. The second is how long ago Kafka's end, as we looked at it, was committed in
//! full: what waits arrived since. It uses our clock alone.

use engine::Reached;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Looks at Kafka that are kept for the trend: 15 s, at a look every 5 s.
const LOOKS: usize = 4;
/// Older ones say nothing any more: Kafka has not answered since.
const RECENT: Duration = Duration::from_secs(30);

/// Whether a lag grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trend {
    /// It grows.
    Growing,
    /// It shrinks.
    Shrinking,
    /// It changes by at most a tenth, or by what is committed in a second.
    Steady,
}

/// One look at Kafka.
#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    frontier: i64,
    lag: i64,
}

/// What is known of a partition.
#[derive(Debug)]
pub(super) struct Partition {
    first_seen: Instant,
    /// Up to where the lake covers it.
    pub(super) lake_end: Option<i64>,
    reached: Option<Reached>,
    held: Option<Range<i64>>,
    /// When the tables last held all that Kafka had at a look: the time of that look.
    caught_up: Option<Instant>,
    looks: VecDeque<Look>,
}

impl Partition {
    pub(super) fn new(now: Instant) -> Partition {
        Partition {
            first_seen: now,
            lake_end: None,
            reached: None,
            held: None,
            caught_up: None,
            looks: VecDeque::with_capacity(LOOKS),
        }
    }

    /// Kafka holds these offsets.
    pub(super) fn look(&mut self, held: Range<i64>, now: Instant) {
        self.held = Some(held);
        if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back(Look {
            at: now,
            frontier: self.next(),
            lag: self.lag_records(),
        });
        self.settle();
    }

    /// A commit has reached this far.
    pub(super) fn advance(&mut self, reached: Reached) {
        let newest = reached.newest.or(self.reached.and_then(|before| before.newest));
        self.reached = Some(Reached { newest, ..reached });
        self.settle();
    }

    fn settle(&mut self) {
        if self.lag_records() == 0
            && let Some(look) = self.looks.back()
        {
            self.caught_up = Some(look.at);
        }
    }

    /// The first offset that Kafka holds, if it was looked at.
    pub(super) fn start(&self) -> Option<i64> {
        self.held.as_ref().map(|held| held.start)
    }

    /// The first offset that the tables do not contain, if anything is committed.
    pub(super) fn frontier(&self) -> Option<i64> {
        self.reached.map(|reached| reached.next.0)
    }

    /// The same; before the first commit it is where Kafka begins.
    fn next(&self) -> i64 {
        let start = self.held.as_ref().map_or(0, |held| held.start);
        self.frontier().unwrap_or(start)
    }

    /// The offset after the last record that is known to be in Kafka.
    pub(super) fn end(&self) -> i64 {
        let end = self.held.as_ref().map_or(0, |held| held.end);
        end.max(self.next())
    }

    /// Records, or rather offsets, in Kafka beyond the frontier.
    pub(super) fn lag_records(&self) -> i64 {
        self.end() - self.next()
    }

    /// How long the first of them has waited at most; before the first commit nothing bounds that, and it is how long ago
    /// the partition was seen first. `wall` is the time in milliseconds since 1970.
    pub(super) fn lag_seconds(&self, now: Instant, wall: i64) -> f64 {
        if self.lag_records() == 0 {
            return 0.0;
        }
        let newest = self.reached.and_then(|reached| reached.newest);
        let age = newest.map(|newest| wall.saturating_sub(newest).max(0) as f64 / 1000.0);
        let since = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
        let bounds = age.into_iter().chain(self.caught_up.map(since));
        bounds.reduce(f64::min).unwrap_or_else(|| since(self.first_seen))
    }

    /// Whether the lag grows, by the last looks; without a lag it does not.
    pub(super) fn trend(&self, now: Instant) -> Trend {
        if self.lag_records() == 0 {
            return Trend::Steady;
        }
        let recent = |look: &&Look| now.saturating_duration_since(look.at) <= RECENT;
        let mut looks = self.looks.iter().filter(recent);
        let (Some(first), Some(last)) = (looks.next(), looks.next_back()) else {
            return Trend::Steady;
        };
        let seconds = last.at.saturating_duration_since(first.at).as_secs_f64().max(0.001);
        let a_second = (last.frontier - first.frontier).max(0) as f64 / seconds;
        let a_tenth = first.lag.max(last.lag) as f64 / 10.0;
        let change = (last.lag - first.lag) as f64;
        match change.abs() <= a_second.max(a_tenth) {
            true => Trend::Steady,
            false if change > 0.0 => Trend::Growing,
            false => Trend::Shrinking,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::Offset;

    fn at(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    fn reached(next: i64, newest: Option<i64>) -> Reached {
        Reached {
            next: Offset(next),
            newest,
        }
    }

    #[test]
    fn nothing_that_waits_is_no_lag_whatever_the_clocks_say() {
        let began = Instant::now();
        let mut partition = Partition::new(began);
        partition.look(5..9, began);
        partition.advance(reached(9, Some(1_000)));
        assert_eq!((partition.lag_records(), partition.end()), (0, 9));
        assert_eq!(partition.lag_seconds(at(began, 500), 900_000), 0.0);
        // more was committed than Kafka had at the last look
        partition.advance(reached(12, Some(1_000)));
        assert_eq!((partition.lag_records(), partition.end()), (0, 12));
    }

    #[test]
    fn before_the_first_commit_all_that_kafka_has_waits() {
        let began = Instant::now();
        let mut partition = Partition::new(began);
        partition.look(5..9, at(began, 1));
        assert_eq!((partition.frontier(), partition.lag_records()), (None, 4));
        assert_eq!(partition.lag_seconds(at(began, 3), 900_000), 3.0);
    }

    #[test]
    fn the_lag_is_the_age_of_the_newest_committed_record() {
        let began = Instant::now();
        let mut partition = Partition::new(began);
        partition.look(0..100, began);
        partition.advance(reached(50, Some(10_000)));
        assert_eq!(partition.lag_seconds(at(began, 1), 12_500), 2.5);
        // a clock ahead of ours
        assert_eq!(partition.lag_seconds(at(began, 1), 9_000), 0.0);
        // a commit that brings no record of Kafka keeps what is known
        partition.advance(reached(60, None));
        assert_eq!(partition.lag_seconds(at(began, 1), 12_500), 2.5);
    }

    #[test]
    fn timestamps_of_last_year_make_no_lag_of_a_year() {
        let began = Instant::now();
        let mut partition = Partition::new(began);
        partition.look(0..100, at(began, 5));
        partition.advance(reached(100, Some(10_000)));
        partition.look(0..130, at(began, 10));
        assert_eq!(partition.lag_records(), 30);
        // all that was there at second 5 is committed, so what waits came later
        assert_eq!(partition.lag_seconds(at(began, 12), 31_536_000_000), 7.0);
    }

    #[test]
    fn a_trend_is_a_change_by_more_than_a_tenth_and_more_than_a_second_s_work() {
        let began = Instant::now();
        let trend = |looks: &[(i64, i64)]| {
            let mut partition = Partition::new(began);
            for (look, (frontier, end)) in (0..).zip(looks) {
                partition.advance(reached(*frontier, None));
                partition.look(0..*end, at(began, look * 5));
            }
            partition.trend(at(began, looks.len() as u64 * 5))
        };
        assert_eq!(trend(&[]), Trend::Steady);
        assert_eq!(trend(&[(0, 500)]), Trend::Steady);
        assert_eq!(trend(&[(10, 10), (10, 10)]), Trend::Steady);
        // a frontier that stands still, of a topic with few records
        assert_eq!(trend(&[(10, 10), (10, 11)]), Trend::Growing);
        assert_eq!(trend(&[(0, 1_000), (500, 1_050)]), Trend::Shrinking);
        // 1,000 records a second: 40 or 400 that wait are all the same
        assert_eq!(trend(&[(0, 40), (5_000, 5_400)]), Trend::Steady);
        assert_eq!(trend(&[(0, 40), (5_000, 8_000)]), Trend::Growing);
        // what is older than the window does not count
        let mut looks = vec![(0, 1_000_000)];
        looks.extend([(10, 11); LOOKS]);
        assert_eq!(trend(&looks), Trend::Steady);
        // nothing waits any more
        assert_eq!(trend(&[(0, 1_000_000), (10, 10)]), Trend::Steady);
    }
}
