//! Which partition a record goes to.
//!
//! Keys are placed as Java's producer and librdkafka's `murmur2` do, whatever the dialect, over a number of partitions
//! that the caller pins: partitions that are added later would move keys, and a key's newer record could get a smaller
//! offset than its older one. Kinesis assigns a partition key to a shard by its MD5: that is what its answers say, and
//! no record is placed by it.

use ingest::Partition;
use md5::{Digest, Md5};

/// The partition of a key among `count`.
pub(super) fn of_key(key: &[u8], count: i32) -> Partition {
    let count = u32::try_from(count).unwrap_or(1).max(1);
    Partition(i32::try_from((murmur2(key) & 0x7fff_ffff) % count).unwrap_or(0))
}

/// The shard of a Kinesis partition key among `count`: that of its MD5.
pub(super) fn of_partition_key(key: &str, count: i32) -> i32 {
    let digest: [u8; 16] = Md5::digest(key.as_bytes()).into();
    of_hash(u128::from_be_bytes(digest), count)
}

/// The shard of a hash among `count`, as a fraction of 2^128.
pub(super) fn of_hash(hash: u128, count: i32) -> i32 {
    let count = u128::from(u32::try_from(count).unwrap_or(1).max(1));
    // the product has up to 160 bits, so it is made of two halves
    let low = (hash & u128::from(u64::MAX)) * count;
    let high = (hash >> 64) * count + (low >> 64);
    i32::try_from(high >> 64).unwrap_or(0)
}

/// MurmurHash2 with Kafka's seed.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = 0x9747_b28c ^ length;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    for (index, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's own `UtilsTest`.
    #[test]
    fn murmur2_is_kafkas() {
        let vectors: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (text, expected) in vectors {
            assert_eq!(murmur2(text.as_bytes()) as i32, expected, "{text}");
        }
    }

    #[test]
    fn shards_split_the_range_of_md5_evenly() {
        // MD5("a") = 0cc175b9…, MD5("b") = 92eb5ffe…, MD5("e") = e1671797…
        assert_eq!(
            [
                of_partition_key("a", 4),
                of_partition_key("b", 4),
                of_partition_key("e", 4)
            ],
            [0, 2, 3]
        );
        assert_eq!(of_partition_key("anything", 1), 0);
        for count in [1, 2, 5, 1000] {
            for key in 0..200 {
                let shard = of_partition_key(&key.to_string(), count);
                assert!((0..count).contains(&shard), "{shard} of {count}");
            }
        }
    }
}
