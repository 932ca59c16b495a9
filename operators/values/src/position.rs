//! Where a record stands in the log, and which of two records is the later one.
//!
//! A kind's records are ordered by (generation, offset, partition). The three are packed into one `u64` so that
//! a row of state can afford one position for each of its records and a comparison is a single instruction.
//!
//! Generation 0 is history that has no offsets (objects of older layouts): it ranks below every log record.
//! A further generation starts whenever a topic grows partitions, because keys then move to partitions whose
//! offsets start again at zero.

use crate::{Offset, Partition};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The greatest number of records that make one row, and so of positions that a row has.
pub const MAX_SLOTS: usize = 3;

/// Bits of a packed position that hold the partition.
const PARTITION_BITS: u32 = 12;
/// Bits of a packed position that hold the offset.
const OFFSET_BITS: u32 = 44;

/// A point of a log: greater means later. Packed as generation (8 bits), offset (44), partition (12).
///
/// [`Position::NONE`] is below every record and means "nothing seen yet".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Position(u64);

/// Why a generation, offset and partition do not make a [`Position`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// The offset is negative or at least 2^44.
    #[error("offset {0} is outside 0..{max}", max = Position::MAX_OFFSET.next())]
    Offset(Offset),
    /// The partition is negative or at least 4096.
    #[error("partition {0} is outside 0..{max}", max = Position::MAX_PARTITION.0 + 1)]
    Partition(Partition),
}

impl Position {
    /// Below every record.
    pub const NONE: Position = Position(0);
    /// The greatest offset a position can hold: 2^44 - 1, about 17.6 million million.
    pub const MAX_OFFSET: Offset = Offset((1 << OFFSET_BITS) - 1);
    /// The greatest partition a position can hold.
    pub const MAX_PARTITION: Partition = Partition((1 << PARTITION_BITS) - 1);

    /// Packs a log position; `generation` is 1 or more for records that have an offset.
    #[inline]
    pub fn new(generation: u8, offset: Offset, partition: Partition) -> Result<Position, PositionError> {
        if !(Offset::ZERO..=Self::MAX_OFFSET).contains(&offset) {
            return Err(PositionError::Offset(offset));
        }
        if !(Partition(0)..=Self::MAX_PARTITION).contains(&partition) {
            return Err(PositionError::Partition(partition));
        }
        Ok(Position::pack(generation.into(), offset.0 as u64, partition.0 as u64))
    }

    /// The parts in their places; each is within its bits.
    #[inline]
    fn pack(generation: u64, offset: u64, partition: u64) -> Position {
        Position(generation << (OFFSET_BITS + PARTITION_BITS) | offset << PARTITION_BITS | partition)
    }

    /// All but the lower 32 bits of the offset, and those. Positions of one region are in the order of the latter.
    #[inline]
    pub fn region(self) -> (u32, u32) {
        let region =
            u64::from(self.generation()) << 24 | self.offset().0 as u64 >> 32 << 12 | self.partition().0 as u64;
        (region as u32, self.offset().0 as u32)
    }

    /// The position whose [`region`](Position::region) this is.
    #[inline]
    pub fn in_region(region: u32, low: u32) -> Position {
        let (generation, high, partition) = (region >> 24, region >> 12 & 0xfff, region & 0xfff);
        let offset = u64::from(high) << 32 | u64::from(low);
        Position::pack(generation.into(), offset, partition.into())
    }

    /// The generation: 0 for records without an offset, else 1 or more.
    #[inline]
    pub fn generation(self) -> u8 {
        (self.0 >> (OFFSET_BITS + PARTITION_BITS)) as u8
    }

    /// The offset within the partition.
    #[inline]
    pub fn offset(self) -> Offset {
        Offset((self.0 >> PARTITION_BITS) as i64 & Self::MAX_OFFSET.0)
    }

    /// The partition within the topic.
    #[inline]
    pub fn partition(self) -> Partition {
        Partition(self.0 as i32 & Self::MAX_PARTITION.0)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}/{}@{}", self.generation(), self.partition(), self.offset())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_generation_then_offset_then_partition() {
        let at = |g, o, p| Position::new(g, Offset(o), Partition(p)).unwrap();
        assert!(at(1, 9, 9) < at(2, 0, 0));
        assert!(at(1, 8, 9) < at(1, 9, 0));
        assert!(at(1, 9, 0) < at(1, 9, 1));
        assert!(Position::NONE < at(1, 0, 0));
        let p = at(255, Position::MAX_OFFSET.0, Position::MAX_PARTITION.0);
        assert_eq!(
            (p.generation(), p.offset(), p.partition()),
            (255, Position::MAX_OFFSET, Position::MAX_PARTITION)
        );
    }

    #[test]
    fn out_of_range_is_refused() {
        let new = |offset, partition| Position::new(1, Offset(offset), Partition(partition));
        assert_eq!(new(-1, 0), Err(PositionError::Offset(Offset(-1))));
        assert_eq!(new(1 << 44, 0), Err(PositionError::Offset(Offset(1 << 44))));
        assert_eq!(new(0, 4096), Err(PositionError::Partition(Partition(4096))));
    }

    #[test]
    fn a_region_holds_all_but_the_lower_bits_of_the_offset() {
        for generation in [0, 1, 255] {
            for partition in [0, 1, 0xabc, Position::MAX_PARTITION.0] {
                for offset in [0, 7, u32::MAX.into(), 1 << 32, 0x123_4567_89ab, Position::MAX_OFFSET.0] {
                    let at = Position::new(generation, Offset(offset), Partition(partition)).unwrap();
                    assert_eq!(
                        (at.generation(), at.offset(), at.partition()),
                        (generation, Offset(offset), Partition(partition))
                    );
                    let (region, low) = at.region();
                    let parts = u32::from(generation) << 24 | ((offset >> 32) as u32) << 12 | partition as u32;
                    assert_eq!((region, low), (parts, offset as u32));
                    assert_eq!(Position::in_region(region, low), at);
                }
            }
        }
        assert_eq!(
            format!("{:?}", Position::new(2, Offset(9), Partition(4)).unwrap()),
            "g2/4@9"
        );
    }

    #[test]
    fn an_error_names_the_limits() {
        let error = |offset, partition| Position::new(1, Offset(offset), Partition(partition)).unwrap_err();
        assert_eq!(error(-1, 0).to_string(), "offset -1 is outside 0..17592186044416");
        assert_eq!(error(0, -1).to_string(), "partition -1 is outside 0..4096");
        assert!(Position::new(1, Position::MAX_OFFSET, Position::MAX_PARTITION).is_ok());
    }
}
