//! Sums that only grow, as shares of the last ten seconds: how long operators ran, and how long workers waited.
//!
//! At most one sample a second is kept, and eleven of them; a share is between now and the oldest sample of the last ten
//! seconds. Samples are taken when something happens anyway; after a time in which nothing did, the latest sample before
//! it counts.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Samples that are kept.
const SAMPLES: usize = 11;
/// How far apart samples are at least.
const EVERY: Duration = Duration::from_secs(1);
/// How far a share reaches back.
const WINDOW: Duration = Duration::from_secs(10);

/// The samples of sums, each known by its key.
#[derive(Debug)]
pub(super) struct Sampled<K> {
    samples: VecDeque<(Instant, BTreeMap<K, Duration>)>,
}

impl<K: Ord> Sampled<K> {
    pub(super) fn new() -> Sampled<K> {
        Sampled {
            samples: VecDeque::with_capacity(SAMPLES),
        }
    }

    /// Whether another sample is to be taken.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let last = self.samples.back();
        last.is_none_or(|(at, _)| now.saturating_duration_since(*at) >= EVERY)
    }

    /// Takes a sample.
    pub(super) fn take(&mut self, sums: BTreeMap<K, Duration>, now: Instant) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now, sums));
    }

    /// What each of the sums has grown by since then, as a share of the time, 0 to 1; a sum that was not known counts from
    /// 0.
    pub(super) fn shares(&self, sums: BTreeMap<K, Duration>, now: Instant) -> BTreeMap<K, f64> {
        let recent = |(at, _): &&(Instant, _)| now.saturating_duration_since(*at) <= WINDOW;
        let since = self.samples.iter().find(recent).or(self.samples.back());
        let passed = since.map_or(0.0, |(at, _)| now.saturating_duration_since(*at).as_secs_f64());
        let share = |(key, sum): (K, Duration)| {
            let before = since
                .and_then(|(_, before)| before.get(&key))
                .copied()
                .unwrap_or_default();
            let grown = sum.saturating_sub(before).as_secs_f64();
            let share = if passed > 0.0 { (grown / passed).min(1.0) } else { 0.0 };
            (key, share)
        };
        sums.into_iter().map(share).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(millis: u64) -> BTreeMap<&'static str, Duration> {
        [("a", Duration::from_millis(millis))].into()
    }

    #[test]
    fn a_share_is_of_the_last_ten_seconds() {
        let began = Instant::now();
        let at = |millis: u64| began + Duration::from_millis(millis);
        let mut sampled = Sampled::new();
        assert_eq!(sampled.shares(sums(5), began)["a"], 0.0);
        // idle for 20 s, then busy half of the time
        for second in 0..=30u64 {
            let busy = second.saturating_sub(20) * 500;
            assert!(sampled.is_due(at(second * 1000)));
            sampled.take(sums(busy), at(second * 1000));
            assert!(!sampled.is_due(at(second * 1000 + 900)));
        }
        assert_eq!(sampled.samples.len(), SAMPLES);
        assert!((sampled.shares(sums(5_000), at(30_000))["a"] - 0.5).abs() < 1e-9);
        // nothing happened for a minute: from the last sample on
        assert!((sampled.shares(sums(5_000 + 15_000), at(90_000))["a"] - 0.25).abs() < 1e-9);
        assert_eq!(
            sampled.shares([("b", Duration::from_secs(99))].into(), at(31_000))["b"],
            1.0
        );
    }
}
