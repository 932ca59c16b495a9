//! A sorted list whose order is passed to each call, for entries that are ordered by something that only the caller
//! has.
//!
//! Entries lie in chunks. Finding one takes O(log entries) comparisons; inserting or removing one moves at most a chunk
//! and, once in a hundred times, the list of chunks. Lists that were made whole have no gaps; after random change
//! chunks are half full or fuller.

use std::cmp::Ordering;

/// Entries in a chunk at most.
const MOST: usize = 256;

/// The place of an entry, or where it belongs: chunk, and place in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At(usize, usize);

pub(crate) struct Sorted<T> {
    /// None is empty.
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Sorted<T> {
    pub(crate) fn new() -> Self {
        Sorted {
            chunks: Vec::new(),
            len: 0,
        }
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the entry is that `order` calls equal, or else where it belongs: `order` tells how an entry compares to
    /// the one that is sought.
    pub(crate) fn find(&self, order: impl Fn(&T) -> Ordering) -> Result<At, At> {
        let before = |chunk: &Vec<T>| chunk.last().is_some_and(|last| order(last).is_lt());
        let chunk = self.chunks.partition_point(before);
        match self.chunks.get(chunk) {
            Some(entries) => match entries.binary_search_by(order) {
                Ok(place) => Ok(At(chunk, place)),
                Err(place) => Err(At(chunk, place)),
            },
            // behind the last entry of all, in the last chunk
            None => Err(match self.chunks.last() {
                Some(last) => At(chunk - 1, last.len()),
                None => At(0, 0),
            }),
        }
    }

    pub(crate) fn get_mut(&mut self, At(chunk, place): At) -> &mut T {
        &mut self.chunks[chunk][place]
    }

    /// Inserts an entry where [`find`](Sorted::find) says that it belongs.
    pub(crate) fn insert(&mut self, At(chunk, place): At, entry: T) {
        self.len += 1;
        let Some(entries) = self.chunks.get_mut(chunk) else {
            self.chunks.push(vec![entry]);
            return;
        };
        entries.insert(place, entry);
        if entries.len() > MOST {
            let upper = entries.split_off(MOST / 2);
            // what was made whole has grown to twice its size for one entry
            entries.shrink_to(MOST);
            self.chunks.insert(chunk + 1, upper);
        }
    }

    pub(crate) fn remove(&mut self, At(chunk, place): At) {
        self.len -= 1;
        self.chunks[chunk].remove(place);
        if self.chunks[chunk].is_empty() {
            self.chunks.remove(chunk);
        } else {
            self.join(chunk);
        }
        // last, since joining with the lower neighbour renumbers
        if let Some(lower) = chunk.checked_sub(1) {
            self.join(lower);
        }
    }

    /// Joins a chunk with the next one where they are small together, so that chunks are half full on average.
    fn join(&mut self, chunk: usize) {
        let Some(next) = self.chunks.get(chunk + 1) else {
            return;
        };
        if self.chunks[chunk].len() + next.len() <= MOST / 2 {
            let mut next = self.chunks.remove(chunk + 1);
            self.chunks[chunk].append(&mut next);
        }
    }

    /// Adds entries that are in order, and behind all others.
    pub(crate) fn append(&mut self, entries: Vec<T>) {
        self.len += entries.len();
        let last = self.chunks.len().checked_sub(1);
        let mut entries = entries.into_iter();
        while entries.len() > 0 {
            let mut chunk = Vec::with_capacity(entries.len().min(MOST));
            chunk.extend(entries.by_ref().take(MOST));
            self.chunks.push(chunk);
        }
        if let Some(last) = last {
            self.join(last);
        }
    }

    /// Takes the first entries, of which `is` holds, and of no others.
    pub(crate) fn take_first(&mut self, is: impl Fn(&T) -> bool) -> Vec<T> {
        let whole = self.chunks.partition_point(|chunk| chunk.last().is_some_and(&is));
        let mut taken: Vec<T> = self.chunks.drain(..whole).flatten().collect();
        if let Some(chunk) = self.chunks.first_mut() {
            let part = chunk.partition_point(is);
            taken.extend(chunk.drain(..part));
            self.join(0);
        }
        self.len -= taken.len();
        taken
    }

    /// Takes the last `count` entries, the very last one first.
    pub(crate) fn take_last(&mut self, count: usize) -> Vec<T> {
        let mut taken = Vec::with_capacity(count.min(self.len));
        while taken.len() < count
            && let Some(chunk) = self.chunks.last_mut()
        {
            taken.extend(chunk.pop());
            if chunk.is_empty() {
                self.chunks.pop();
            }
        }
        if let Some(lower) = self.chunks.len().checked_sub(2) {
            self.join(lower);
        }
        self.len -= taken.len();
        taken
    }

    /// All entries, in order.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.chunks.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn agrees_with_a_set_while_entries_come_and_go() {
        for (made, bound) in [(0, 3), (0, 5000), (2000, 5000), (256, 300)] {
            let mut model: BTreeSet<u64> = (0..made).collect();
            let mut sorted = Sorted::new();
            sorted.append(model.iter().copied().collect());
            let mut random = 3u64;
            for step in 0..60_000u64 {
                random = random
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                let entry = (random >> 33) % bound;
                // growing and shrinking by turns
                match (sorted.find(|other| other.cmp(&entry)), step % 20_000 < 10_000) {
                    (Ok(place), false) => {
                        assert_eq!(*sorted.get_mut(place), entry);
                        sorted.remove(place);
                        assert!(model.remove(&entry));
                    }
                    (Ok(_), true) => assert!(model.contains(&entry)),
                    (Err(place), true) => {
                        sorted.insert(place, entry);
                        assert!(model.insert(entry));
                    }
                    (Err(_), false) => assert!(!model.contains(&entry)),
                }
                // whole parts of it, too
                if step % 997 == 0 {
                    let first = sorted.iter().take(step as usize % 400).last().copied().unwrap_or(0);
                    let taken = sorted.take_first(|entry| *entry <= first);
                    assert!(taken.iter().eq(model.range(..=first).collect::<Vec<_>>()));
                    model.retain(|entry| *entry > first);
                    let taken = sorted.take_last(step as usize % 300);
                    let last: Vec<u64> = model.iter().rev().take(step as usize % 300).copied().collect();
                    assert_eq!(taken, last);
                    if step % 2 == 0 {
                        sorted.append(taken.into_iter().rev().collect());
                    } else {
                        model.retain(|entry| !last.contains(entry));
                    }
                }
                if step % 500 == 0 || step % 997 == 0 {
                    assert_eq!(sorted.len(), model.len());
                    assert!(sorted.iter().eq(&model));
                    assert!(sorted.chunks.iter().all(|chunk| (1..=MOST).contains(&chunk.len())));
                    let pairs = sorted.chunks.windows(2);
                    assert!(
                        pairs
                            .map(|pair| pair[0].len() + pair[1].len())
                            .all(|pair| pair > MOST / 2)
                    );
                }
            }
            assert_eq!(sorted.is_empty(), model.is_empty());
        }
    }

    /// Always at one end, as counts grow and times pass.
    #[test]
    fn grows_at_its_ends() {
        let (mut up, mut down) = (Sorted::new(), Sorted::new());
        for entry in 0..2000i64 {
            let place = up.find(|other: &i64| other.cmp(&entry)).unwrap_err();
            up.insert(place, entry);
            let place = down.find(|other: &i64| other.cmp(&-entry)).unwrap_err();
            down.insert(place, -entry);
        }
        assert!(up.iter().copied().eq(0..2000) && down.iter().copied().eq(-1999..1));
        for entry in 0..2000i64 {
            up.remove(up.find(|other| other.cmp(&entry)).unwrap_or_else(|_| panic!("{entry}")));
        }
        assert!(up.is_empty());
    }
}
