//! Chance that can be repeated: a seed is new in each run, printed, and taken from `PINFLOW_TEST_SEED` where that is set.

use anyhow::{Context, Result};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use workload::generate::Random;

/// The seed of this run.
pub fn seed() -> Result<u64> {
    let seed = match std::env::var("PINFLOW_TEST_SEED") {
        Ok(seed) => seed.parse().context("PINFLOW_TEST_SEED is a number")?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    eprintln!("PINFLOW_TEST_SEED={seed} repeats what follows");
    Ok(seed)
}

/// What the generator of workloads draws from, with what tests ask of it.
#[derive(Clone, Debug)]
pub struct Chance(Random);

impl Chance {
    /// The draws that belong to this seed.
    pub fn new(seed: u64) -> Chance {
        Chance(Random::of([seed, 0, 0, 0]))
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0.below_wide(limit)
    }

    /// A number of milliseconds from `from` to below `to`.
    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, items: &[T]) -> T {
        *self.0.pick(items)
    }
}
