//! Sequence numbers as Kinesis gives them: decimal, of 56 digits, growing in each shard.
//!
//! A shard's records may lie in several partitions of the topic, whose offsets know nothing of each other, so numbers
//! grow with the time at which a record was acknowledged. Partition and offset follow and make them unique, also among
//! gateways whose clocks agree.

use ingest::{Offset, Partition};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The moments of sequence numbers: microseconds since 1970, each later than the one before, whatever the clock does.
pub(super) struct SequenceClock(AtomicU64);

impl SequenceClock {
    pub(super) fn new() -> SequenceClock {
        SequenceClock(AtomicU64::new(0))
    }

    pub(super) fn next(&self) -> u64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let later = |last: u64| now.max(last.saturating_add(1));
        let last = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(later(last)));
        later(last.unwrap_or_default())
    }
}

/// No offset has so many digits.
const UNKNOWN: &str = "9999999999999999999999999";

/// The number of a record that was acknowledged at this moment, where its offset may be unknown.
pub(super) fn number(moment: u64, partition: Partition, offset: Option<Offset>) -> String {
    match offset {
        Some(offset) => format!("496{moment:018}{partition:010}{offset:025}"),
        None => format!("496{moment:018}{partition:010}{UNKNOWN}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_never_stand_still() {
        let sequence_clock = SequenceClock::new();
        let all: Vec<u64> = (0..10_000).map(|_| sequence_clock.next()).collect();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(all[0] > 1_700_000_000_000_000);
        let ahead = SequenceClock(AtomicU64::new(u64::from(u32::MAX) << 32));
        assert!(ahead.next() < ahead.next(), "the clock was set back");
    }

    #[test]
    fn numbers_grow_as_numbers_and_as_texts() {
        let numbers: Vec<String> = [0, 9, 10, 1_700_000_000_000_000, 999_999_999_999_999_999]
            .map(|moment| number(moment, Partition(3), Some(Offset::MAX)))
            .into();
        assert!(numbers.is_sorted());
        let unknown = number(7, Partition(3), None);
        assert!(
            number(7, Partition(3), Some(Offset::MAX)) < unknown && unknown < number(8, Partition(0), Some(Offset(0)))
        );
        for number in numbers.iter().chain([&unknown]) {
            assert_eq!(number.len(), 56);
            assert!(
                !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit()),
                "{number}"
            );
        }
    }
}
