//! Random choices that can be played again, so that what they led to can be reduced.
//!
//! All that is random is drawn from a [`Choices`], which records each draw. A shorter or smaller record leads to a
//! simpler outcome: 0 is the simplest choice everywhere, and a record that ends gives 0 from there on.

/// A source of choices: random, or a record.
#[derive(Clone, Debug)]
pub struct Choices {
    state: u64,
    record: Vec<u32>,
    /// How much of `record` is to be played again; what is drawn later is 0.
    replayed: Option<usize>,
}

impl Choices {
    /// Random choices of a seed.
    pub fn random(seed: u64) -> Choices {
        Choices {
            state: seed,
            record: Vec::new(),
            replayed: None,
        }
    }

    /// The choices of a record.
    pub fn replay(record: &[u32]) -> Choices {
        Choices {
            state: 0,
            record: record.to_vec(),
            replayed: Some(0),
        }
    }

    /// What has been drawn.
    pub fn record(&self) -> &[u32] {
        match self.replayed {
            Some(drawn) => &self.record[..drawn.min(self.record.len())],
            None => &self.record,
        }
    }

    /// A number below `end`, which is above 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.draw() as usize % end
    }

    /// True in one of `times` cases, and not in the simplest one.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1 && times > 1
    }

    /// One of several, the first being the simplest.
    pub fn pick<'t, T: ?Sized>(&mut self, from: &[&'t T]) -> &'t T {
        from[self.below(from.len())]
    }

    fn draw(&mut self) -> u32 {
        if let Some(drawn) = &mut self.replayed {
            *drawn += 1;
            return self.record.get(*drawn - 1).copied().unwrap_or(0);
        }
        // splitmix64, <https://prng.di.unimi.it/splitmix64.c>
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let drawn = (mixed ^ (mixed >> 31)) as u32;
        self.record.push(drawn);
        drawn
    }
}

/// The simplest record found in at most `tries` tries for which `fails` holds, as it does for `record`.
pub fn reduce(record: &[u32], tries: usize, mut fails: impl FnMut(&[u32]) -> bool) -> Vec<u32> {
    let mut best = record.to_vec();
    let mut left = tries;
    let mut attempt = |candidate: Vec<u32>, best: &mut Vec<u32>| {
        if left == 0 || candidate == *best {
            return false;
        }
        left -= 1;
        let better = fails(&candidate);
        if better {
            *best = candidate;
        }
        better
    };
    let mut changed = true;
    while changed {
        changed = false;
        let mut length = best.len().div_ceil(2);
        while length > 0 {
            let mut start = 0;
            while start + length <= best.len() {
                let (head, tail) = (&best[..start], &best[start + length..]);
                let without = [head, tail].concat();
                let zeroed = [head, &vec![0; length], tail].concat();
                if attempt(without, &mut best) || attempt(zeroed, &mut best) {
                    changed = true;
                } else {
                    start += length;
                }
            }
            length /= 2;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_played_again_and_reduced() {
        let draw = |choices: &mut Choices| (0..50).map(|_| choices.below(100)).collect::<Vec<_>>();
        let mut first = Choices::random(1);
        let drawn = draw(&mut first);
        assert_eq!(draw(&mut Choices::replay(first.record())), drawn);
        assert_ne!(draw(&mut Choices::random(2)), drawn);

        let fails = |record: &[u32]| draw(&mut Choices::replay(record)).iter().any(|drawn| *drawn > 50);
        assert!(fails(first.record()));
        let reduced = reduce(first.record(), 1_000, fails);
        assert!(fails(&reduced) && reduced.len() == 1, "{reduced:?}");
    }
}
