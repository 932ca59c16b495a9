//! How long the readers of the workers have waited, and for what.

use engine::Wait;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What a worker waits for now, and how long it has waited before.
#[derive(Debug, Default)]
struct OfWorker {
    now: Option<(Wait, Instant)>,
    before: BTreeMap<Wait, Duration>,
}

/// By worker.
#[derive(Debug, Default)]
pub(super) struct Waits(BTreeMap<usize, OfWorker>);

impl Waits {
    /// A worker waits for this from now on.
    pub(super) fn begin(&mut self, worker: usize, on: Option<Wait>, now: Instant) {
        let worker = self.0.entry(worker).or_default();
        if let Some((wait, since)) = worker.now.take() {
            *worker.before.entry(wait).or_default() += now.saturating_duration_since(since);
        }
        worker.now = on.map(|on| (on, now));
    }

    /// How long each worker has waited for each, what it waits for now included.
    pub(super) fn sums(&self, now: Instant) -> BTreeMap<(usize, Wait), Duration> {
        let mut sums = BTreeMap::new();
        for (worker, of_worker) in &self.0 {
            for (wait, waited) in &of_worker.before {
                *sums.entry((*worker, *wait)).or_default() += *waited;
            }
            if let Some((wait, since)) = of_worker.now {
                *sums.entry((*worker, wait)).or_default() += now.saturating_duration_since(since);
            }
        }
        sums
    }
}

/// The share of all workers' time, from the shares of each.
pub(super) fn of_all(shares: &BTreeMap<(usize, Wait), f64>, workers: usize, on: Wait) -> f64 {
    let waited: f64 = shares
        .iter()
        .filter(|((_, wait), _)| *wait == on)
        .map(|(_, share)| share)
        .sum();
    waited / workers.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_counts_while_it_lasts_and_once_it_is_over() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut waits = Waits::default();
        waits.begin(1, Some(Wait::Lake), at(0));
        waits.begin(1, Some(Wait::Staging), at(2));
        waits.begin(1, None, at(3));
        waits.begin(1, Some(Wait::Lake), at(10));
        let sums = waits.sums(at(14));
        assert_eq!(sums[&(1, Wait::Lake)], Duration::from_secs(6));
        assert_eq!(sums[&(1, Wait::Staging)], Duration::from_secs(1));
        let shares = [
            ((0, Wait::Lake), 0.5),
            ((1, Wait::Lake), 1.0),
            ((1, Wait::Staging), 0.25),
        ]
        .into();
        assert_eq!(of_all(&shares, 2, Wait::Lake), 0.75);
        assert_eq!(of_all(&shares, 2, Wait::Staging), 0.125);
        assert_eq!(of_all(&BTreeMap::new(), 0, Wait::Lake), 0.0);
    }
}
