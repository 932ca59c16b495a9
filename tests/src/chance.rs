//! Chance that can be repeated (see [`crate::seed()`]).

use std::time::Duration;
use workload::generate::Random;

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
