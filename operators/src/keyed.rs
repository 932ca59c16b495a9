//! State by key, made for millions of small entries: [`Keyed`] and the list of what an epoch has [`Changed`].
//!
//! Entries lie in chunks that never move, so growing copies nothing and never holds two copies of everything; the
//! [`Index`] beside them takes 5 to 11 bytes an entry.

use foldhash::fast::RandomState;
use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use values::index::Index;

/// Bytes of a chunk at most: so many that an allocator rounds them up by next to nothing.
const CHUNK_BYTES: usize = 512 << 10;

/// Entries in a chunk, as a power of two.
const fn chunk_bits<E>() -> u32 {
    let entry = if size_of::<E>() == 0 { 1 } else { size_of::<E>() };
    let entries = CHUNK_BYTES / entry;
    if entries < 16 { 4 } else { entries.ilog2() }
}

/// Keys looked up together, so that their cache misses overlap.
pub(crate) const BLOCK: usize = 32;

/// Something stored under a key that it holds itself.
pub(crate) trait Entry {
    /// What it is found by.
    type Key: Hash + Eq;

    /// The key: never changes while the entry is stored.
    fn key(&self) -> &Self::Key;
}

/// A key and what is kept for it.
pub(crate) struct Pair<K, V> {
    pub(crate) key: K,
    pub(crate) value: V,
}

impl<K: Hash + Eq, V> Entry for Pair<K, V> {
    type Key = K;

    fn key(&self) -> &K {
        &self.key
    }
}

/// Entries by key. An entry has a number, which stays the same until it is removed.
pub(crate) struct Keyed<E> {
    chunks: Vec<Vec<E>>,
    index: Index,
    /// Numbers of removed entries, to be given out again.
    free: Vec<u32>,
    hasher: RandomState,
}

impl<E: Entry> Keyed<E> {
    pub(crate) fn new() -> Self {
        Keyed {
            chunks: Vec::new(),
            index: Index::new(),
            free: Vec::new(),
            hasher: RandomState::default(),
        }
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The number of the key's entry, which is made by `new` if there is none.
    pub(crate) fn find_or_insert(&mut self, key: &E::Key, new: impl FnOnce(&E::Key) -> E) -> u32 {
        let hash = self.hasher.hash_one(key);
        self.find_or_insert_hashed(hash, key, new)
    }

    /// The numbers of the entries of up to [`BLOCK`] keys, which are made by `new` where there are none.
    #[inline]
    pub(crate) fn find_or_insert_block(
        &mut self,
        keys: impl Iterator<Item = impl Borrow<E::Key>> + Clone,
        new: impl Fn(&E::Key) -> E,
    ) -> [u32; BLOCK] {
        let mut hashes = [0; BLOCK];
        let mut touched = 0;
        for (hash, key) in hashes.iter_mut().zip(keys.clone()) {
            *hash = self.hasher.hash_one(key.borrow());
            touched ^= self.index.touch(*hash);
        }
        std::hint::black_box(touched);
        let mut ids = [0; BLOCK];
        for ((id, hash), key) in ids.iter_mut().zip(hashes).zip(keys) {
            *id = self.find_or_insert_hashed(hash, key.borrow(), &new);
        }
        ids
    }

    #[inline]
    fn find_or_insert_hashed(&mut self, hash: u64, key: &E::Key, new: impl FnOnce(&E::Key) -> E) -> u32 {
        let chunks = &self.chunks;
        match self.index.find(hash, |id| at(chunks, id).key() == key) {
            Some(id) => id,
            None => self.insert(hash, new(key)),
        }
    }

    fn insert(&mut self, hash: u64, entry: E) -> u32 {
        if self.index.is_full() {
            self.grow();
        }
        let id = match self.free.pop() {
            Some(id) => {
                *at_mut(&mut self.chunks, id) = entry;
                id
            }
            None => {
                if self
                    .chunks
                    .last()
                    .is_none_or(|chunk| chunk.len() == 1 << chunk_bits::<E>())
                {
                    // the first chunk grows as it fills, for the sake of small collections
                    let room = if self.chunks.is_empty() {
                        0
                    } else {
                        1 << chunk_bits::<E>()
                    };
                    self.chunks.push(Vec::with_capacity(room));
                }
                let full = (self.chunks.len() - 1) << chunk_bits::<E>();
                let chunk = self.chunks.last_mut().expect("a chunk was just made");
                chunk.push(entry);
                u32::try_from(full + chunk.len() - 1).expect("more than 2^32 keys")
            }
        };
        self.index.insert(hash, id);
        id
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        // entries are as many as ever, so every number is in use; walking them in their own order reads memory in
        // sequence, which walking the index would not
        debug_assert!(self.free.is_empty());
        let (chunks, hasher) = (&self.chunks, &self.hasher);
        let entries = (0u32..).zip(chunks.iter().flatten());
        self.index
            .grow(entries.map(|(id, entry)| (hasher.hash_one(entry.key()), id)));
    }

    /// The entry with this number.
    #[inline]
    pub(crate) fn get(&self, id: u32) -> &E {
        at(&self.chunks, id)
    }

    /// The entry with this number.
    #[inline]
    pub(crate) fn get_mut(&mut self, id: u32) -> &mut E {
        at_mut(&mut self.chunks, id)
    }

    /// Removes the entry with this number. Its memory is kept for the next new one, except that removing the last
    /// entry of all releases everything.
    pub(crate) fn remove(&mut self, id: u32) {
        let (chunks, hasher) = (&self.chunks, &self.hasher);
        self.index.remove(id, |id| hasher.hash_one(at(chunks, id).key()));
        self.free.push(id);
        if self.index.is_empty() {
            (self.chunks, self.free, self.index) = (Vec::new(), Vec::new(), Index::new());
        }
    }

    /// All entries. Nothing may have been removed.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = E> {
        debug_assert!(self.free.is_empty());
        self.chunks.into_iter().flatten()
    }

    /// One more than the greatest number in use.
    fn bound(&self) -> usize {
        match self.chunks.last() {
            Some(last) => ((self.chunks.len() - 1) << chunk_bits::<E>()) + last.len(),
            None => 0,
        }
    }
}

#[inline]
fn at<E>(chunks: &[Vec<E>], id: u32) -> &E {
    &chunks[(id >> chunk_bits::<E>()) as usize][id as usize & ((1 << chunk_bits::<E>()) - 1)]
}

#[inline]
fn at_mut<E>(chunks: &mut [Vec<E>], id: u32) -> &mut E {
    &mut chunks[(id >> chunk_bits::<E>()) as usize][id as usize & ((1 << chunk_bits::<E>()) - 1)]
}

/// The entries an epoch has touched, each with its value before the epoch: `T::default()` stands for a new entry.
///
/// An epoch that starts with no entries at all (history) is **fresh**: it touches everything and no entry had a
/// value before, so nothing is recorded.
pub(crate) struct Changed<T> {
    fresh: bool,
    seen: Vec<u64>,
    list: Vec<(u32, T)>,
    /// In a fresh epoch, the next entry to hand out; none once the epoch is being handed out no more.
    next: usize,
    bound: usize,
}

impl<T: Default> Changed<T> {
    /// For an operator without entries.
    pub(crate) fn new() -> Self {
        Changed {
            fresh: true,
            seen: Vec::new(),
            list: Vec::new(),
            next: 0,
            bound: 0,
        }
    }

    /// Notes that an entry is about to change; `before` is evaluated the first time in an epoch.
    #[inline]
    pub(crate) fn note(&mut self, id: u32, before: impl FnOnce() -> T) {
        if self.fresh {
            return;
        }
        let (word, bit) = (id as usize / 64, 1u64 << (id % 64));
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit == 0 {
            self.seen[word] |= bit;
            self.list.push((id, before()));
        }
    }

    /// Starts handing out what the epoch has touched.
    pub(crate) fn close<E: Entry>(&mut self, entries: &Keyed<E>) {
        (self.next, self.bound) = (0, entries.bound());
    }

    /// The next touched entry, with its value before the epoch. Entries may be removed as they are handed out.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<(u32, T)> {
        if self.fresh {
            let id = self.next;
            self.next += 1;
            return (id < self.bound).then(|| (id as u32, T::default()));
        }
        let (id, before) = self.list.pop()?;
        self.seen[id as usize / 64] &= !(1 << (id % 64));
        Some((id, before))
    }

    /// All has been handed out; `entries` is what the next epoch starts with.
    pub(crate) fn finish<E: Entry>(&mut self, entries: &Keyed<E>) {
        debug_assert!(self.list.is_empty());
        self.list.shrink_to(4096);
        self.fresh = entries.len() == 0;
        if self.fresh {
            self.seen = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_chunk_takes_half_a_megabyte_or_little_less() {
        const fn bytes<E>() -> usize {
            size_of::<E>() << chunk_bits::<E>()
        }
        for bytes in [
            bytes::<u8>(),
            bytes::<u64>(),
            bytes::<[u8; 24]>(),
            bytes::<[u8; 1000]>(),
        ] {
            assert!(CHUNK_BYTES / 2 < bytes && bytes <= CHUNK_BYTES, "{bytes}");
        }
        // of what is large there are sixteen, of what takes nothing as many as of bytes
        assert_eq!([chunk_bits::<[u64; 1 << 15]>(), chunk_bits::<()>()], [4, 19]);
        assert_eq!(chunk_bits::<[u64; 1 << 12]>(), 4);
    }

    #[test]
    fn agrees_with_a_map_while_entries_come_and_go() {
        let mut keyed: Keyed<Pair<u64, u64>> = Keyed::new();
        let mut model: HashMap<u64, u64> = HashMap::new();
        let mut random = 1u64;
        for step in 0..200_000u64 {
            random = random
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            // growing, then shrinking, then empty
            let key = (random >> 33) % 20_000;
            let id = keyed.find_or_insert(&key, |_| Pair { key, value: 0 });
            if step % 100_000 < 50_000 {
                keyed.get_mut(id).value += 1;
                *model.entry(key).or_default() += 1;
            } else {
                assert_eq!(keyed.get(id).value, model.remove(&key).unwrap_or(0));
                keyed.remove(id);
            }
            assert_eq!(keyed.len(), model.len());
        }
        for (key, value) in &model {
            let id = keyed.find_or_insert(key, |_| unreachable!());
            assert_eq!(keyed.get(id).value, *value);
            keyed.remove(id);
        }
        assert_eq!((keyed.len(), keyed.bound()), (0, 0));
    }

    #[test]
    fn each_touched_entry_is_handed_out_once_with_its_first_before() {
        let mut keyed: Keyed<Pair<u64, u64>> = Keyed::new();
        let mut changed: Changed<u64> = Changed::new();
        for round in 0..3u64 {
            for key in (0..1000u64).chain(0..1000) {
                let id = keyed.find_or_insert(&key, |_| Pair { key, value: 0 });
                let value = &mut keyed.get_mut(id).value;
                changed.note(id, || *value);
                *value += 1;
            }
            changed.close(&keyed);
            let mut count = 0;
            while let Some((id, before)) = changed.pop() {
                assert_eq!((before, keyed.get(id).value), (2 * round, 2 * round + 2));
                count += 1;
            }
            changed.finish(&keyed);
            assert_eq!(count, 1000);
        }
    }
}
