//! A small generator of random numbers whose output is part of our contract: the same seed writes the same bytes on
//! every machine and with every version. It is SplitMix64 (Steele, Lea, Flood 2014); integers only, no libm.

/// A stream of random numbers.
#[derive(Clone, Debug)]
pub struct Random(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

impl Random {
    /// The stream that belongs to these numbers; any other numbers give an unrelated one.
    pub fn of(numbers: [u64; 4]) -> Random {
        Random(
            numbers
                .iter()
                .fold(STEP, |state, number| mix(state ^ mix(number.wrapping_add(STEP)))),
        )
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `bound`, which is below 2^32.
    pub fn below(&mut self, bound: u64) -> u64 {
        debug_assert!(bound > 0 && bound <= 1 << 32);
        ((self.next_u64() >> 32) * bound) >> 32
    }

    /// A number below any bound.
    pub fn below_wide(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True with a probability of `share` / 2^32.
    pub fn chance(&mut self, share: u64) -> bool {
        self.next_u64() >> 32 < share
    }

    /// True in so many of a thousand cases.
    pub fn per_mille(&mut self, share: u64) -> bool {
        self.below(1000) < share
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len() as u64) as usize]
    }

    /// A number below 2^bits whose frequency falls as 1/n: the octave is uniform, and so is the place within it.
    pub fn zipf(&mut self, bits: u64) -> u64 {
        let octave = self.below(bits);
        (1 << octave) - 1 + self.below(1 << octave)
    }
}

/// A probability as a share of 2^32.
pub fn share(probability: f64) -> u64 {
    (probability.clamp(0.0, 1.0) * 4_294_967_296.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_pinned() {
        // SplitMix64 with the seed 1234567, as published with the algorithm
        let mut random = Random(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn zipf_falls_by_octaves_and_stays_below_its_bound() {
        let mut random = Random::of([1, 2, 3, 4]);
        let mut octaves = [0; 10];
        for _ in 0..100_000 {
            let number = random.zipf(10);
            assert!(number < 1023);
            octaves[(number + 1).ilog2() as usize] += 1;
        }
        assert!(
            octaves.iter().all(|count| (9_000..11_000).contains(count)),
            "{octaves:?}"
        );
    }
}
