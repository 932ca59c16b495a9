//! What happened in the last minute, a slot a second: commits, their time, their records, how fresh they were, and how fast
//! Kafka answered. The size is fixed: 60 slots, each with three histograms.

use super::histogram::{Histogram, percentiles};
use std::time::{Duration, Instant};

/// Seconds that are kept.
const SECONDS: u64 = 60;
/// Seconds of a rate: the last full ones.
const RATE_SECONDS: u64 = 10;
/// What happened in one second.
#[derive(Clone, Debug)]
struct Slot {
    second: u64,
    commits: u64,
    committing: Duration,
    records: u64,
    /// In milliseconds, as timestamps of records are.
    freshness: Histogram,
    /// In microseconds, as are the round trips.
    commit: Histogram,
    round_trip: Histogram,
}

impl Slot {
    fn of(second: u64) -> Slot {
        Slot {
            second,
            commits: 0,
            committing: Duration::ZERO,
            records: 0,
            freshness: Histogram::EMPTY,
            commit: Histogram::EMPTY,
            round_trip: Histogram::EMPTY,
        }
    }
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct Window {
    began: Instant,
    slots: Vec<Slot>,
}

impl Window {
    pub(super) fn new(began: Instant) -> Window {
        Window {
            began,
            slots: (0..SECONDS).map(Slot::of).collect(),
        }
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_secs()
    }

    fn slot(&mut self, now: Instant) -> &mut Slot {
        let second = self.second(now);
        let slot = &mut self.slots[(second % SECONDS) as usize];
        if slot.second != second {
            *slot = Slot::of(second);
        }
        slot
    }

    /// A commit that took this long has ended.
    pub(super) fn committed(&mut self, took: Duration, now: Instant) {
        let slot = self.slot(now);
        slot.commits += 1;
        slot.committing += took;
        slot.commit.add(took.as_micros());
    }

    /// A commit had so many records.
    pub(super) fn records(&mut self, records: u64, now: Instant) {
        self.slot(now).records += records;
    }

    /// The oldest record of a commit was this old.
    pub(super) fn freshness(&mut self, age: Duration, now: Instant) {
        self.slot(now).freshness.add(age.as_millis());
    }

    /// Kafka has answered within this time.
    pub(super) fn round_trip(&mut self, took: Duration, now: Instant) {
        self.slot(now).round_trip.add(took.as_micros());
    }

    /// The slots of the last full seconds, and how many seconds these are: fewer in the beginning, at least one.
    fn rated(&self, now: Instant) -> (impl Iterator<Item = &Slot>, f64) {
        let end = self.second(now);
        // the first second counts while it is the only one
        let seconds = if end == 0 {
            0..1
        } else {
            end.saturating_sub(RATE_SECONDS)..end
        };
        let length = (seconds.end - seconds.start) as f64;
        (
            self.slots.iter().filter(move |slot| seconds.contains(&slot.second)),
            length,
        )
    }

    /// Commits a second.
    pub(super) fn commits_per_second(&self, now: Instant) -> f64 {
        let (slots, seconds) = self.rated(now);
        slots.map(|slot| slot.commits).sum::<u64>() as f64 / seconds
    }

    /// Records a second that commits took in.
    pub(super) fn records_per_second(&self, now: Instant) -> f64 {
        let (slots, seconds) = self.rated(now);
        slots.map(|slot| slot.records).sum::<u64>() as f64 / seconds
    }

    /// The share of the time in which a commit was under way, 0 to 1.
    pub(super) fn commit_share(&self, now: Instant) -> f64 {
        let (slots, seconds) = self.rated(now);
        let committing: Duration = slots.map(|slot| slot.committing).sum();
        (committing.as_secs_f64() / seconds).min(1.0)
    }

    /// The slots of the last minute.
    fn recent(&self, now: Instant) -> impl Iterator<Item = &Slot> {
        let end = self.second(now);
        let recent = move |slot: &&Slot| slot.second <= end && slot.second + SECONDS > end;
        self.slots.iter().filter(recent)
    }

    /// Percentiles (0 to 1) of the freshness of the commits of the last minute, in milliseconds; none without commits
    /// that had records.
    pub(super) fn freshness_ms<const N: usize>(&self, of: [f64; N], now: Instant) -> Option<[f64; N]> {
        percentiles(self.recent(now).map(|slot| &slot.freshness), of)
    }

    /// The same of how long the commits took, those without records included; none without commits.
    pub(super) fn commit_ms<const N: usize>(&self, of: [f64; N], now: Instant) -> Option<[f64; N]> {
        in_ms(percentiles(self.recent(now).map(|slot| &slot.commit), of))
    }

    /// The same of how long Kafka took to answer; none without answers.
    pub(super) fn round_trip_ms<const N: usize>(&self, of: [f64; N], now: Instant) -> Option<[f64; N]> {
        in_ms(percentiles(self.recent(now).map(|slot| &slot.round_trip), of))
    }
}

fn in_ms<const N: usize>(micros: Option<[f64; N]>) -> Option<[f64; N]> {
    micros.map(|micros| micros.map(|micros| micros / 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(of: u64) -> Duration {
        Duration::from_millis(of)
    }

    #[test]
    fn percentiles_are_those_of_the_last_minute() {
        let began = Instant::now();
        let mut window = Window::new(began);
        assert_eq!(window.freshness_ms([0.5], began), None);
        for _ in 0..98 {
            window.freshness(ms(7), began);
        }
        window.freshness(ms(800), began + ms(59_000));
        window.freshness(Duration::MAX, began + ms(59_000));
        let now = began + ms(59_900);
        let [p50, p98, p99] = window.freshness_ms([0.5, 0.98, 0.99], now).unwrap();
        assert_eq!((p50, p98), (7.0, 7.0));
        assert!((750.0..850.0).contains(&p99), "{p99}");
        // a minute later the first second is forgotten
        let [p50] = window.freshness_ms([0.5], began + ms(60_000)).unwrap();
        assert!((750.0..850.0).contains(&p50), "{p50}");
        assert_eq!(window.freshness_ms([0.5], began + ms(200_000)), None);
    }

    #[test]
    fn rates_are_those_of_the_last_full_seconds() {
        let began = Instant::now();
        let mut window = Window::new(began);
        for millis in (0..30_000).step_by(250) {
            let now = began + ms(millis);
            window.committed(ms(100), now);
            window.records(5, now);
        }
        for now in [ms(900), ms(4_100), ms(29_990)] {
            let now = began + now;
            assert_eq!(window.commits_per_second(now), 4.0);
        }
        let now = began + ms(29_990);
        assert_eq!(window.records_per_second(now), 20.0);
        let [p50, p99] = window.commit_ms([0.5, 0.99], now).unwrap();
        assert!(p50 == p99 && (95.0..105.0).contains(&p50), "{p50} {p99}");
        assert_eq!(window.round_trip_ms([0.5], now), None);
        window.round_trip(Duration::from_micros(800), now);
        let [p50] = window.round_trip_ms([0.5], now).unwrap();
        assert!((0.75..0.85).contains(&p50), "{p50}");
        assert!((window.commit_share(now) - 0.4).abs() < 1e-9);
        assert_eq!(window.commits_per_second(began + ms(35_000)), 2.0);
        assert_eq!(window.commits_per_second(began + ms(41_000)), 0.0);
        assert_eq!(window.commit_share(began + ms(90_000)), 0.0);
    }
}
