//! A row's positions in a little more than four bytes each.
//!
//! The records of a log lie close together: those that share a generation, a partition and the higher bits of their
//! offset form a *region*, and a region holds four thousand million of them. A row keeps the lower bits and a region's
//! number; what the numbers mean is kept once, in a [`RegionTable`].

use crate::Position;
use crate::position::MAX_SLOTS;
use hashbrown::HashMap;

/// Bits of a region's number.
const BITS: u32 = 10;
/// The number that says "no record".
const NONE: u32 = 0;
/// The number that says "kept among [`RegionTable::overflow`]".
const OVERFLOW: u32 = (1 << BITS) - 1;

/// One row's positions.
#[derive(Clone, Copy, Default)]
pub struct PackedPositions {
    low: [u32; MAX_SLOTS],
    /// The regions' numbers, [`BITS`] each.
    regions: u32,
}

const _: () = assert!(MAX_SLOTS as u32 * BITS <= u32::BITS && size_of::<PackedPositions>() == 16);

/// What the regions' numbers mean, and the positions in regions that have none.
#[derive(Default)]
pub struct RegionTable {
    /// By slot: the regions that have numbers, from 1 on.
    regions: [Vec<u32>; MAX_SLOTS],
    numbers: [HashMap<u32, u32>; MAX_SLOTS],
    /// By slot: the region and number met last.
    last: [(u32, u32); MAX_SLOTS],
    /// Positions whose region has no number, by row and slot.
    overflow: HashMap<(u32, u8), Position>,
}

impl RegionTable {
    /// The position of row `id`'s `slot`.
    #[inline]
    pub fn position(&self, id: u32, slot: u8, packed: &PackedPositions) -> Position {
        match number(slot, packed) {
            NONE => Position::NONE,
            OVERFLOW => self.overflow[&(id, slot)],
            number => {
                let slot = slot as usize;
                Position::in_region(self.regions[slot][number as usize - 1], packed.low[slot])
            }
        }
    }

    /// Sets the position of row `id`'s `slot`.
    #[inline]
    pub fn put(&mut self, id: u32, slot: u8, position: Position, packed: &mut PackedPositions) {
        let (region, low) = position.region();
        let (last, new) = self.last[slot as usize];
        let new = if last == region && new != NONE {
            new
        } else {
            self.number(slot, region)
        };
        let old = number(slot, packed);
        if new == OVERFLOW {
            self.overflow.insert((id, slot), position);
        } else if old == OVERFLOW {
            self.overflow.remove(&(id, slot));
        }
        packed.low[slot as usize] = low;
        packed.regions ^= (old ^ new) << (slot as u32 * BITS);
    }

    /// The number of a region, which is given one while there are any.
    #[inline]
    fn number(&mut self, slot: u8, region: u32) -> u32 {
        let (regions, numbers) = (&mut self.regions[slot as usize], &mut self.numbers[slot as usize]);
        let number = match numbers.get(&region) {
            Some(number) => *number,
            None if regions.len() as u32 + 1 == OVERFLOW => OVERFLOW,
            None => {
                regions.push(region);
                numbers.insert(region, regions.len() as u32);
                regions.len() as u32
            }
        };
        self.last[slot as usize] = (region, number);
        number
    }
}

#[inline]
fn number(slot: u8, packed: &PackedPositions) -> u32 {
    packed.regions >> (slot as u32 * BITS) & OVERFLOW
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Offset, Partition};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_position_is_found_again(
            // more regions than there are numbers, and few enough that they recur
            puts in prop::collection::vec((0u32..500, 0u8..3, 0u8..3, 0i64..3, 0i32..4096, any::<u32>()), 0..6000)
        ) {
            let mut table = RegionTable::default();
            let mut rows = vec![PackedPositions::default(); 500];
            let mut model = vec![[Position::NONE; 3]; 500];
            for (id, slot, generation, high, partition, low) in puts {
                let position = Position::new(generation, Offset(high << 32 | i64::from(low)), Partition(partition)).unwrap();
                table.put(id, slot, position, &mut rows[id as usize]);
                model[id as usize][slot as usize] = position;
            }
            for (id, (packed, positions)) in (0..).zip(rows.iter().zip(&model)) {
                for slot in 0..3 {
                    prop_assert_eq!(table.position(id, slot, packed), positions[slot as usize]);
                }
            }
            // what has moved on leaves nothing behind
            let overflow = rows.iter().flat_map(|row| (0..3).map(|slot| number(slot, row)));
            prop_assert_eq!(table.overflow.len(), overflow.filter(|number| *number == OVERFLOW).count());
        }
    }
    /// One region more than there are numbers, and those again; the very first is the one without an offset's generation.
    #[test]
    fn as_many_regions_have_numbers_as_there_are() {
        let position = |region: u32| Position::in_region(region, 7);
        let mut table = RegionTable::default();
        let mut rows = vec![PackedPositions::default(); OVERFLOW as usize];
        for _ in 0..2 {
            for (region, row) in (0..).zip(&mut rows) {
                table.put(region, 1, position(region), row);
            }
            for (region, row) in (0..).zip(&rows) {
                assert_eq!(table.position(region, 1, row), position(region));
            }
            let last = (OVERFLOW - 1, 1);
            assert_eq!(table.overflow.keys().collect::<Vec<_>>(), [&last]);
        }
    }
}
