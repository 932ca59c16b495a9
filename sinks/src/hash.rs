//! The hash of what is stored.

/// FNV-1a, 64 bits: <http://www.isthe.com/chongo/tech/comp/fnv/>. Stored, so it must never change.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
