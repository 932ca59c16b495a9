//! Python's random numbers: `random.seed(n)` and `random.randint(a, b)` of CPython 3.2 and later, number for number.
//!
//! The generator is the Mersenne Twister; what is Python's own is how a seed becomes its state (`init_by_array` over
//! the seed's 32-bit digits, least first) and how a number below a bound is drawn (`_randbelow_with_getrandbits`:
//! the top bits of one output, again until they are below the bound).

use rand_mt::Mt;

/// The module `random` after `random.seed(n)`.
#[derive(Clone, Debug)]
pub struct PythonRandom(Mt);

impl PythonRandom {
    /// `random.seed(seed)`.
    pub fn seeded(seed: u64) -> PythonRandom {
        let (low, high) = (seed as u32, (seed >> 32) as u32);
        let digits = [low, high];
        let count = if high == 0 { 1 } else { 2 };
        PythonRandom(Mt::new_with_key(digits[..count].iter().copied()))
    }

    /// `random.randrange(0, bound)`, for bounds from 1 to 2³².
    pub fn below(&mut self, bound: u64) -> u64 {
        debug_assert!((1..=1 << 32).contains(&bound));
        let bits = 64 - bound.leading_zeros();
        loop {
            let drawn = match bits {
                33 => u64::from(self.0.next_u32()) | u64::from(self.0.next_u32() >> 31) << 32,
                bits => u64::from(self.0.next_u32() >> (32 - bits)),
            };
            if drawn < bound {
                return drawn;
            }
        }
    }
}

/// The rows that the classic emulator chooses, round after round:
/// `sleep(random.randrange(0, 2))`, then `random.randint(0, 11000)`.
///
/// The sleep is drawn, since it moves the generator on, and not slept: the rate is the sender's matter.
#[derive(Clone, Debug)]
pub struct ClassicRows(PythonRandom);

/// The greatest row that is chosen.
const LAST_ROW: u64 = 11_000;

impl ClassicRows {
    /// After `random.seed(seed)`.
    pub fn seeded(seed: u64) -> ClassicRows {
        ClassicRows(PythonRandom::seeded(seed))
    }
}

impl Iterator for ClassicRows {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0.below(2);
        Some(self.0.below(LAST_ROW + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by CPython 3.11.
    #[test]
    fn numbers_are_cpythons() {
        let mut random = PythonRandom::seeded(100);
        let drawn: Vec<u64> = (0..8).map(|_| random.below(11_001)).collect();
        assert_eq!(drawn, SEED_100);
        let mut random = PythonRandom::seeded(1 << 40 | 7);
        let drawn: Vec<u64> = (0..4).map(|_| random.below(1_000_000)).collect();
        assert_eq!(drawn, SEED_WIDE);
        let mut random = PythonRandom::seeded(0);
        let drawn: Vec<u64> = (0..4).map(|_| random.below(1 << 32)).collect();
        assert_eq!(drawn, SEED_0);
    }

    const SEED_100: [u64; 8] = [2_386, 7_528, 7_453, 2_863, 6_439, 5_730, 7_102, 8_304];
    const SEED_WIDE: [u64; 4] = [643_515, 783_626, 854_501, 983_493];
    const SEED_0: [u64; 4] = [3_626_764_237, 1_806_341_205, 2_195_908_194, 2_046_968_324];

    #[test]
    fn classic_rows_begin_as_recorded() {
        assert_eq!(ClassicRows::seeded(100).take(3).collect::<Vec<_>>(), [7528, 2863, 5730]);
    }
}
