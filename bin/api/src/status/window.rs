//! What happened in the last minute, a slot a second: commits, their time, their records, and how fresh they were.
//!
//! The size is fixed: 60 slots, each with a histogram of 240 buckets. A bucket is at most an eighth of its value wide, so
//! that a percentile, given as the middle of its bucket, is off by at most a sixteenth.

use std::time::{Duration, Instant};

/// Seconds that are kept.
const SECONDS: u64 = 60;
/// Seconds of a rate: the last full ones.
const RATE_SECONDS: u64 = 10;
/// Milliseconds below this have a bucket each.
const EXACT: u32 = 16;
/// Buckets of each power of two above.
const PER_POWER: u32 = 8;
/// Up to 2^32 ms, 49 days.
const BUCKETS: usize = (EXACT + (32 - EXACT.ilog2()) * PER_POWER) as usize;

/// What happened in one second.
#[derive(Clone, Debug)]
struct Slot {
    second: u64,
    commits: u64,
    committing: Duration,
    records: u64,
    freshness: [u32; BUCKETS],
}

impl Slot {
    fn of(second: u64) -> Slot {
        Slot {
            second,
            commits: 0,
            committing: Duration::ZERO,
            records: 0,
            freshness: [0; BUCKETS],
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
    }

    /// A commit had so many records.
    pub(super) fn records(&mut self, records: u64, now: Instant) {
        self.slot(now).records += records;
    }

    /// The oldest record of a commit was this old.
    pub(super) fn freshness(&mut self, age: Duration, now: Instant) {
        let bucket = bucket(u32::try_from(age.as_millis()).unwrap_or(u32::MAX));
        let count = &mut self.slot(now).freshness[bucket];
        *count = count.saturating_add(1);
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

    /// Percentiles (0 to 1) of the freshness of the commits of the last minute, in milliseconds; none without commits
    /// that had records.
    pub(super) fn freshness_ms<const N: usize>(&self, percentiles: [f64; N], now: Instant) -> Option<[f64; N]> {
        let end = self.second(now);
        let recent = self
            .slots
            .iter()
            .filter(|slot| slot.second <= end && slot.second + SECONDS > end);
        let mut counts = [0u64; BUCKETS];
        for slot in recent {
            let both = counts.iter_mut().zip(&slot.freshness);
            both.for_each(|(sum, count)| *sum += u64::from(*count));
        }
        let total: u64 = counts.iter().sum();
        let percentile = |share: f64| {
            let rank = ((total as f64 * share).ceil() as u64).clamp(1, total);
            let mut below = 0;
            let of_rank = counts.iter().position(|count| {
                below += count;
                below >= rank
            });
            middle(of_rank.unwrap_or(BUCKETS - 1))
        };
        (total > 0).then(|| percentiles.map(percentile))
    }
}

fn bucket(value: u32) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let power = value.ilog2();
    let part = (value >> (power - PER_POWER.ilog2())) % PER_POWER;
    (EXACT + (power - EXACT.ilog2()) * PER_POWER + part) as usize
}

/// The middle of a bucket.
fn middle(bucket: usize) -> f64 {
    let bucket = bucket as u32;
    if bucket < EXACT {
        return f64::from(bucket);
    }
    let above = bucket - EXACT;
    let width = 2f64.powi((EXACT.ilog2() + above / PER_POWER - PER_POWER.ilog2()) as i32);
    width * (f64::from(PER_POWER + above % PER_POWER) + 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(of: u64) -> Duration {
        Duration::from_millis(of)
    }

    #[test]
    fn every_value_has_a_bucket_whose_middle_is_near_it() {
        let powers = (0..32).map(|power| 1u32 << power);
        for value in (0..5_000)
            .chain(powers.flat_map(|value| [value - 1, value, value + value / 3]))
            .chain([u32::MAX])
        {
            let middle = middle(bucket(value));
            let off = (middle - f64::from(value)).abs();
            assert!(off <= f64::from(value) / 16.0 + 1e-9, "{value} is shown as {middle}");
        }
        assert_eq!(bucket(u32::MAX), BUCKETS - 1);
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
        assert!((window.commit_share(now) - 0.4).abs() < 1e-9);
        assert_eq!(window.commits_per_second(began + ms(35_000)), 2.0);
        assert_eq!(window.commits_per_second(began + ms(41_000)), 0.0);
        assert_eq!(window.commit_share(began + ms(90_000)), 0.0);
    }
}
