//! The partition of a post: what Kafka's own clients choose for a key, so that a generated lake and records produced
//! later under the same keys meet in the same partition.

/// The partition of a post whose records are keyed by its index as digits: murmur2 of the key, sign bit cleared,
/// modulo the partitions (the Java client's default, `partitioner=murmur2_random` in librdkafka).
pub fn partition_of(ind: u64, partitions: i32) -> i32 {
    if partitions <= 1 {
        return 0;
    }
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = ind;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    ((murmur2(&digits[at..]) & 0x7fff_ffff) % partitions as u32) as i32
}

/// Murmur2 with the seed and the mixing of Kafka's `Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        for (index, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's UtilsTest and librdkafka's rdmurmur2.c.
    #[test]
    fn murmur2_is_kafkas() {
        let vectors: [(&str, u32); 6] = [
            ("kafka", 0xd067_cf64),
            ("giberish123456789", 0x8f55_2b0c),
            ("1234", 0x9fc9_7b14),
            ("234", 0xe7c0_09ca),
            ("34", 0x8739_30da),
            ("4", 0x5a4b_5ca1),
        ];
        for (text, hash) in vectors {
            assert_eq!(murmur2(text.as_bytes()), hash, "{text}");
        }
        assert_eq!(murmur2(b"21"), (-973_932_308_i32) as u32);
        assert_eq!(murmur2(b"foobar"), (-790_332_482_i32) as u32);
    }

    #[test]
    fn the_key_is_the_index_as_digits_and_partitions_fill_evenly() {
        assert_eq!(partition_of(1234, 7), 0x1fc9_7b14 % 7);
        assert_eq!(partition_of(1234, 1), 0);
        let mut counts = [0; 3];
        (0..30_000).for_each(|ind| counts[partition_of(ind, 3) as usize] += 1);
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }
}
