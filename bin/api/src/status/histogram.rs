//! Counts of values, in buckets that are at most an eighth of their value wide: a percentile, given as the middle of its
//! bucket, is off by at most a sixteenth. The size is fixed: 240 buckets.

/// Values below this have a bucket each.
const EXACT: u32 = 16;
/// Buckets of each power of two above.
const PER_POWER: u32 = 8;
/// Up to 2^32.
const BUCKETS: usize = (EXACT + (32 - EXACT.ilog2()) * PER_POWER) as usize;

/// See the module's head.
#[derive(Clone, Debug)]
pub(super) struct Histogram([u32; BUCKETS]);

impl Histogram {
    pub(super) const EMPTY: Histogram = Histogram([0; BUCKETS]);

    /// Counts a value; one beyond 2^32 counts as that.
    pub(super) fn add(&mut self, value: u128) {
        let count = &mut self.0[bucket(u32::try_from(value).unwrap_or(u32::MAX))];
        *count = count.saturating_add(1);
    }
}

/// Percentiles (0 to 1) of the values of all of them; none where there are no values.
pub(super) fn percentiles<'a, const N: usize>(
    all: impl Iterator<Item = &'a Histogram>,
    percentiles: [f64; N],
) -> Option<[f64; N]> {
    let mut counts = [0u64; BUCKETS];
    for Histogram(of) in all {
        let both = counts.iter_mut().zip(of);
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
    fn percentiles_are_of_all_values_together() {
        let (mut a, mut b) = (Histogram::EMPTY, Histogram::EMPTY);
        assert_eq!(percentiles([&a, &b].into_iter(), [0.5]), None);
        (0..9).for_each(|_| a.add(3));
        b.add(u128::MAX);
        let [p50, p90, p100] = percentiles([&a, &b].into_iter(), [0.5, 0.9, 1.0]).unwrap();
        assert_eq!((p50, p90), (3.0, 3.0));
        assert!(p100 > 4e9, "{p100}");
    }
}
