//! Sums that only grow, as rates over the last ten seconds: how long operators ran, how long workers waited, and how many
//! records passed.
//!
//! At most one sample a second is kept, and eleven of them; a rate is between now and the oldest sample of the last ten
//! seconds. Samples are taken when something happens anyway; after a time in which nothing did, the latest sample before
//! it counts.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Samples that are kept.
const SAMPLES: usize = 11;
/// How far apart samples are at least.
const EVERY: Duration = Duration::from_secs(1);
/// How far a rate reaches back.
const WINDOW: Duration = Duration::from_secs(10);

/// The samples of sums, each known by its key.
#[derive(Debug)]
pub(super) struct Sampled<K> {
    samples: VecDeque<(Instant, BTreeMap<K, f64>)>,
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
    pub(super) fn take(&mut self, sums: BTreeMap<K, f64>, now: Instant) {
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((now, sums));
    }

    /// The sample that rates are from: the oldest of the last ten seconds, or the last one before.
    fn since(&self, now: Instant) -> Option<&(Instant, BTreeMap<K, f64>)> {
        let recent = |(at, _): &&(Instant, _)| now.saturating_duration_since(*at) <= WINDOW;
        self.samples.iter().find(recent).or(self.samples.back())
    }

    /// How many seconds rates are of; 0 before the first sample.
    pub(super) fn seconds(&self, now: Instant) -> f64 {
        self.since(now)
            .map_or(0.0, |(at, _)| now.saturating_duration_since(*at).as_secs_f64())
    }

    /// What each of the sums has grown by a second; a sum that was not known counts from 0.
    pub(super) fn rates(&self, sums: BTreeMap<K, f64>, now: Instant) -> BTreeMap<K, f64> {
        let (since, seconds) = (self.since(now), self.seconds(now));
        let rate = |(key, sum): (K, f64)| {
            let before = since.and_then(|(_, before)| before.get(&key)).copied();
            let grown = (sum - before.unwrap_or_default()).max(0.0);
            let rate = if seconds > 0.0 { grown / seconds } else { 0.0 };
            (key, rate)
        };
        sums.into_iter().map(rate).collect()
    }

    /// The same of sums of seconds, as shares of the time: 1 at most.
    pub(super) fn shares(&self, sums: BTreeMap<K, f64>, now: Instant) -> BTreeMap<K, f64> {
        let rates = self.rates(sums, now).into_iter();
        rates.map(|(key, rate)| (key, rate.min(1.0))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(millis: u64) -> BTreeMap<&'static str, f64> {
        [("a", millis as f64 / 1e3)].into()
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
        assert_eq!(sampled.shares([("b", 99.0)].into(), at(31_000))["b"], 1.0);
        // a rate may be more than 1
        assert_eq!(sampled.seconds(at(31_000)), 10.0);
        assert_eq!(sampled.rates([("b", 99.0)].into(), at(31_000))["b"], 9.9);
    }
}
