//! From hashes to entry numbers: a hash table in four bytes a slot.
//!
//! A table that is larger than the caches costs a memory access for each line it looks at, and that is nearly all it
//! costs. So a slot holds an entry's number and, in the bits that the number does not need, a part of its hash: a
//! lookup reads one line here and, but for rare false matches (1 in 2048 at a million entries), one at the entry.
//! `hashbrown` would read one more. And since a lookup starts at a place known beforehand, a caller with many of them
//! can [`touch`](Index::touch) all those places first, so that the memory accesses overlap.

/// Linear probing over slots; at most three in four are in use.
pub struct Index {
    /// [`EMPTY`], or an entry's number in the low `bits` bits and the hash's highest bits above them.
    slots: Vec<u32>,
    /// The number of slots is 2 to this power: numbers fit with one to spare, since there are fewer of them than slots.
    bits: u32,
    len: usize,
}

/// What no slot in use can hold: the greatest number is never given out. It is not zero because memory that comes
/// zeroed is the kernel's one page of zeros until it is written, and a page that is read first costs a second fault
/// then, with an interrupt for every processor that this process runs on.
const EMPTY: u32 = u32::MAX;

/// A new table has eight slots.
const FIRST_BITS: u32 = 3;

/// What an entry has of the index, in bytes: rounded down at least, rounded up at most.
pub const SHARE: (usize, usize) = (5, 11);

/// Bytes of an index into which so many entries were inserted.
pub fn bytes(entries: usize) -> usize {
    let fits = |bits: &u32| entries <= (1usize << bits) / 4 * 3;
    let bits = (FIRST_BITS..usize::BITS).find(fits).unwrap_or(FIRST_BITS);
    size_of::<u32>() << bits
}

impl Default for Index {
    fn default() -> Self {
        Index::new()
    }
}

impl Index {
    /// Without entries.
    pub fn new() -> Self {
        Self::with_bits(FIRST_BITS)
    }

    fn with_bits(bits: u32) -> Self {
        assert!(bits < 32, "more than 2^30 keys");
        Index {
            slots: vec![EMPTY; 1 << bits],
            bits,
            len: 0,
        }
    }

    /// The number of entries.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no entry.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the slots.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        size_of_val(self.slots.as_slice())
    }

    #[inline]
    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    #[inline]
    fn slot(&self, hash: u64, id: u32) -> u32 {
        // the lowest bits of the hash have chosen the place
        ((hash >> 32) as u32) >> self.bits << self.bits | id
    }

    #[inline]
    fn id(&self, slot: u32) -> u32 {
        slot & self.mask() as u32
    }

    /// Reads where a lookup would start. The result means nothing.
    #[inline]
    pub fn touch(&self, hash: u64) -> u32 {
        self.slots[hash as usize & self.mask()]
    }

    /// The number with this hash of which `is` holds.
    #[inline]
    pub fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        let mut place = hash as usize & self.mask();
        let tag = ((hash >> 32) as u32) >> self.bits;
        loop {
            let slot = self.slots[place];
            if slot == EMPTY {
                return None;
            }
            if slot >> self.bits == tag && is(self.id(slot)) {
                return Some(self.id(slot));
            }
            place = (place + 1) & self.mask();
        }
    }

    /// Whether [`grow`](Index::grow) is due before the next insertion.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len >= self.slots.len() / 4 * 3
    }

    /// Whether a number, however great, can be inserted before the index is [rebuilt](Index::rebuild).
    #[inline]
    pub fn has_room_for(&self, id: u32) -> bool {
        !self.is_full() && (id as usize) < self.mask()
    }

    /// Begins anew, with room for half as many more than `known`: all numbers are below that.
    pub fn rebuild(&mut self, known: u32, all: impl Iterator<Item = (u64, u32)>) {
        let slots = (known as usize * 2).next_power_of_two();
        self.slots = Vec::new();
        *self = Self::with_bits(slots.ilog2().max(FIRST_BITS));
        all.for_each(|(hash, id)| self.insert(hash, id));
    }

    /// Inserts a number that is not there. Numbers must be as dense as entries: each less than the greatest
    /// [`len`](Index::len) there ever was.
    #[inline]
    pub fn insert(&mut self, hash: u64, id: u32) {
        debug_assert!(!self.is_full() && (id as usize) < self.mask());
        let mut place = hash as usize & self.mask();
        while self.slots[place] != EMPTY {
            place = (place + 1) & self.mask();
        }
        self.slots[place] = self.slot(hash, id);
        self.len += 1;
    }

    /// Doubles the slots, and fills them from all entries' hashes and numbers.
    pub fn grow(&mut self, all: impl Iterator<Item = (u64, u32)>) {
        let bits = self.bits + 1;
        // released first, so that the two are never there at once
        self.slots = Vec::new();
        *self = Self::with_bits(bits);
        all.for_each(|(hash, id)| self.insert(hash, id));
    }

    /// Removes a number that is there; `hash_of` tells the hash of any number.
    #[inline]
    pub fn remove(&mut self, id: u32, hash_of: impl Fn(u32) -> u64) {
        let mask = self.mask();
        let hash = hash_of(id);
        let mut hole = hash as usize & mask;
        while self.slots[hole] != self.slot(hash, id) {
            assert!(self.slots[hole] != EMPTY, "entry {id} is not in the index");
            hole = (hole + 1) & mask;
        }
        // whatever was pushed past the hole moves back, so that lookups need not pass it
        let mut place = (hole + 1) & mask;
        while self.slots[place] != EMPTY {
            let home = hash_of(self.id(self.slots[place])) as usize & mask;
            if place.wrapping_sub(home) & mask >= place.wrapping_sub(hole) & mask {
                self.slots[hole] = self.slots[place];
                hole = place;
            }
            place = (place + 1) & mask;
        }
        self.slots[hole] = EMPTY;
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Few places, so that probes meet and wrap around, and few tags, so that they match falsely.
    fn hash_of(id: u32, places: u64) -> u64 {
        let id = u64::from(id);
        ((id.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) % places) | ((id % 3) << 61) | (0xffff << 16)
    }

    #[test]
    fn agrees_with_a_map_while_numbers_come_and_go() {
        for places in [1, 7, 61, 1 << 16] {
            let hash_of = |id| hash_of(id, places);
            let mut index = Index::new();
            // the numbers in use, and those that were and are given out again
            let (mut used, mut free): (BTreeMap<u32, u64>, Vec<u32>) = Default::default();
            let mut random = places;
            for step in 0..6_000u32 {
                random = random
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                let growing = step % 2_000 < 1_200;
                if (random >> 33) % 4 < if growing { 3 } else { 1 } {
                    if index.is_full() {
                        index.grow(used.iter().map(|(id, hash)| (*hash, *id)));
                    }
                    let id = free.pop().unwrap_or(used.len() as u32);
                    index.insert(hash_of(id), id);
                    used.insert(id, hash_of(id));
                } else if let Some(id) = used.keys().nth((random >> 40) as usize % used.len().max(1)).copied() {
                    index.remove(id, hash_of);
                    used.remove(&id);
                    free.push(id);
                    assert_eq!(index.find(hash_of(id), |other| other == id), None);
                }
                assert_eq!((index.len(), index.is_empty()), (used.len(), used.is_empty()));
                if step % 100 == 0 {
                    for id in used.keys().chain(&free) {
                        let found = index.find(hash_of(*id), |other| other == *id);
                        assert_eq!(found, used.contains_key(id).then_some(*id));
                    }
                }
            }
            assert!(index.find(hash_of(0), |_| false).is_none());
        }
    }

    #[test]
    fn only_numbers_with_the_hash_are_looked_at() {
        let mut index = Index::new();
        // one place, different tags
        (0..5u32).for_each(|id| index.insert(u64::from(id) << 40, id));
        for id in 0..5 {
            let looked = std::cell::RefCell::new(Vec::new());
            let is = |other| {
                looked.borrow_mut().push(other);
                true
            };
            assert_eq!(index.find(u64::from(id) << 40, is), Some(id));
            assert_eq!(looked.into_inner(), [id]);
        }
    }

    #[test]
    fn is_full_when_three_in_four_slots_are_in_use() {
        let mut index = Index::default();
        assert_eq!(index.memory(), 8 * 4);
        for id in 0..6 {
            assert!(!index.is_full());
            index.insert(0, id);
        }
        assert!(index.is_full() && !index.has_room_for(6));
        index.grow((0..6).map(|id| (0, id)));
        assert!(!index.is_full() && index.memory() == 16 * 4 && index.len() == 6);
        // the greatest number that fits marks no slot as empty
        assert!(index.has_room_for(14) && !index.has_room_for(15) && !index.has_room_for(u32::MAX));
        assert_eq!([0, 6, 7, 12, 13].map(bytes), [32, 32, 64, 64, 128]);
    }

    #[test]
    fn is_rebuilt_with_room_for_half_as_many_more() {
        let mut index = Index::new();
        for known in [0, 1, 5, 100, 1024, 1025] {
            index.rebuild(known, (0..known).map(|id| (id.into(), id)));
            assert_eq!(index.len(), known as usize);
            assert!((0..known).all(|id| index.find(id.into(), |other| other == id) == Some(id)));
            let more = (known..).take_while(|id| {
                let room = index.has_room_for(*id);
                if room {
                    index.insert(u64::from(*id), *id);
                }
                room
            });
            assert!(more.count() >= known as usize / 2, "{known}");
        }
    }

    #[test]
    #[should_panic(expected = "entry 3 is not in the index")]
    fn removing_what_is_not_there_is_refused() {
        let mut index = Index::new();
        (0..3).for_each(|id| index.insert(0, id));
        index.remove(3, |_| 0);
    }
}
