//! Which record stands at an offset.
//!
//! A topic that was deleted and created again has other records at the offsets of the old one. Kafka gives a record no
//! name but its offset, so what it is made of has to serve: its timestamp and a hash of its key and value.

use rdkafka::message::{BorrowedMessage, Message};
use values::Offset;
use xxhash_rust::xxh3::Xxh3;

/// What tells a record from another one at the same offset of a topic that was created again.
///
/// It is stored with frontiers, so that the hash is the same in every version and on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct RecordId {
    /// The record's offset in its partition.
    pub offset: Offset,
    /// Its timestamp in milliseconds since 1970; -1 when it has none.
    pub timestamp: i64,
    /// xxh3 (64 bits) of its key and value: of each the length in eight bytes, little endian, -1 for a null, then the
    /// bytes.
    pub hash: u64,
}

/// One record of a partition, with its key and value borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// The record's offset in its partition.
    pub offset: Offset,
    /// Its timestamp in milliseconds since 1970; -1 when it has none.
    pub timestamp: i64,
    /// Its key; a null key is `None`, an empty one is not.
    pub key: Option<&'a [u8]>,
    /// Its value; a null value, a tombstone, is `None`.
    pub value: Option<&'a [u8]>,
}

impl<'a> RecordRef<'a> {
    /// A record as the Kafka client returns it.
    #[inline]
    pub(super) fn of(message: &'a BorrowedMessage<'_>) -> RecordRef<'a> {
        RecordRef {
            offset: Offset(message.offset()),
            timestamp: message.timestamp().to_millis().unwrap_or(-1),
            key: message.key(),
            value: message.payload(),
        }
    }

    /// The record's identity.
    pub fn id(&self) -> RecordId {
        let mut hasher = Xxh3::new();
        for part in [self.key, self.value] {
            let length = part.map_or(-1, |part| part.len() as i64);
            hasher.update(&length.to_le_bytes());
            hasher.update(part.unwrap_or_default());
        }
        RecordId {
            offset: self.offset,
            timestamp: self.timestamp,
            hash: hasher.digest(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const EMPTY: RecordRef<'static> = RecordRef {
        offset: Offset(5),
        timestamp: 6,
        key: None,
        value: None,
    };

    fn hash(key: Option<&[u8]>, value: Option<&[u8]>) -> u64 {
        RecordRef { key, value, ..EMPTY }.id().hash
    }

    #[test]
    fn the_hash_is_pinned() {
        // frontiers in users' databases hold such hashes; these were computed by another implementation of xxh3
        assert_eq!(hash(Some(b"7"), Some(br#"{"ind":7}"#)), 0xb05e_59c0_67d8_4a54);
        assert_eq!(hash(None, None), 0x722a_202f_07a4_b313);
        assert_eq!(hash(Some(&[b'k'; 300]), Some(&[b'v'; 5000])), 0x1d02_95ab_81a1_a624);
    }

    #[test]
    fn nulls_empties_and_boundaries_differ() {
        let contents: [(Option<&[u8]>, Option<&[u8]>); 8] = [
            (None, None),
            (Some(b""), None),
            (None, Some(b"")),
            (Some(b""), Some(b"")),
            (Some(b"ab"), Some(b"c")),
            (Some(b"a"), Some(b"bc")),
            (None, Some(b"abc")),
            (Some(b"abc"), None),
        ];
        let hashes: BTreeSet<u64> = contents.iter().map(|(key, value)| hash(*key, *value)).collect();
        assert_eq!(hashes.len(), contents.len());
        assert_ne!(EMPTY.id(), RecordRef { timestamp: 7, ..EMPTY }.id());
        assert_ne!(
            EMPTY.id(),
            RecordRef {
                offset: Offset(4),
                ..EMPTY
            }
            .id()
        );
    }
}
