//! What the state of an operator takes in memory, computed from the types that it is made of: every operator's module
//! has a function `footprint` that says it, beside the state that it describes.

use crate::index;
use std::fmt;

/// What there is an entry of state for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Per {
    /// Each key (or group) that is there.
    Key,
    /// Each different item of all groups.
    Item,
    /// Each different value of each group.
    Value,
    /// Each value of a key beyond the first.
    Further,
    /// Each row of each group.
    Row,
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Per::Key => "key",
            Per::Item => "distinct item",
            Per::Value => "distinct value",
            Per::Further => "further value",
            Per::Row => "row",
        })
    }
}

/// A part of an operator's state that grows with its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// What there is an entry for.
    pub per: Per,
    /// Bytes of one entry as history leaves it, with what it owns on the heap and without the index.
    pub bytes: usize,
    /// The same after long random change, which leaves gaps.
    pub most: usize,
    /// Whether entries are found by an index of 4 bytes a slot, of which three in eight to three in four are in use.
    pub indexed: bool,
    /// Bytes beside each entry from the first record of an epoch to its close, where the epoch brings the entry: history
    /// is one epoch.
    pub staged: usize,
}

impl Footprint {
    /// Entries that are found by an index, of this size.
    pub const fn keyed(per: Per, bytes: usize) -> Footprint {
        Footprint {
            per,
            bytes,
            most: bytes,
            indexed: true,
            staged: 0,
        }
    }

    /// Entries of a B-tree of the standard library: nodes of eleven, which are full when the tree was built in order.
    pub const fn tree(per: Per, entry: usize, align: usize) -> Footprint {
        let leaf = Footprint::leaf(entry, align);
        // an inner node has twelve children besides; eleven entries lie in a leaf, the twelfth in an inner node
        let bytes = (12 * leaf + leaf + 96).div_ceil(144);
        Footprint {
            per,
            bytes,
            // nodes are two thirds full
            most: bytes + bytes / 2,
            indexed: false,
            staged: 0,
        }
    }

    /// A leaf of such a tree, which has a parent and two lengths.
    pub const fn leaf(entry: usize, align: usize) -> usize {
        let word = if align > 8 { align } else { 8 };
        (11 * entry + 12).next_multiple_of(word)
    }

    /// The same for other entries.
    pub const fn of(self, per: Per) -> Footprint {
        Footprint { per, ..self }
    }

    /// The same with so many bytes beside each entry until its epoch closes.
    pub const fn staging(self, staged: usize) -> Footprint {
        Footprint { staged, ..self }
    }

    /// Bytes of so many entries as history leaves them, with their index.
    pub fn total(&self, entries: usize) -> usize {
        self.bytes * entries + if self.indexed { index::bytes(entries) } else { 0 }
    }

    /// Bytes of an entry with its share of the index: at least, and at most after long random change.
    pub fn range(&self) -> (usize, usize) {
        if self.indexed {
            (self.bytes + index::SHARE.0, self.most + index::SHARE.1)
        } else {
            (self.bytes, self.most)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_made_of_nodes() {
        let leaves = [(1, 1), (8, 8), (17, 8), (17, 16)].map(|(entry, align)| Footprint::leaf(entry, align));
        assert_eq!(leaves, [24, 104, 200, 208]);
        let tree = Footprint::tree(Per::Value, 8, 8);
        let expected = Footprint {
            per: Per::Value,
            bytes: 11,
            most: 16,
            indexed: false,
            staged: 0,
        };
        assert_eq!(tree, expected);
        assert_eq!((tree.total(1000), tree.range()), (11_000, (11, 16)));
        let expected = Footprint {
            per: Per::Row,
            staged: 5,
            ..expected
        };
        assert_eq!(tree.of(Per::Row).staging(5), expected);
        assert_eq!(Per::Further.to_string(), "further value");
    }

    #[test]
    fn the_index_is_between_three_eighths_and_three_quarters_full() {
        let entry = Footprint::keyed(Per::Key, 10);
        assert_eq!(entry.range(), (10 + index::SHARE.0, 10 + index::SHARE.1));
        for entries in [6, 7, 1000, 98_304, 98_305, 1_000_000] {
            let total = entry.total(entries);
            let (least, most) = entry.range();
            assert!(
                total >= least * entries && (total <= most * entries),
                "{entries}: {total}"
            );
        }
        // as an index grows
        let mut index = index::Index::new();
        for entries in 0..5000usize {
            assert_eq!(index.memory(), index::bytes(entries), "{entries}");
            if index.is_full() {
                index.grow((0..entries as u32).map(|id| (id.into(), id)));
            }
            index.insert(entries as u64, entries as u32);
        }
    }
}
