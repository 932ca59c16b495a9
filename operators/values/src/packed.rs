//! An `i64` that may lie at any multiple of four bytes, so that a row of state has no gaps.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::hash::{Hash, Hasher};

/// An `i64`, aligned to four bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Packed64([u32; 2]);

impl From<i64> for Packed64 {
    #[inline]
    fn from(value: i64) -> Packed64 {
        Packed64([value as u32, (value >> 32) as u32])
    }
}

impl Packed64 {
    /// The value.
    #[inline]
    pub const fn get(self) -> i64 {
        (self.0[1] as i64) << 32 | self.0[0] as i64
    }
}

impl Ord for Packed64 {
    #[inline]
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.get().cmp(&other.get())
    }
}

impl PartialOrd for Packed64 {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for Packed64 {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.get().hash(state);
    }
}

impl fmt::Debug for Packed64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl Serialize for Packed64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.get().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Packed64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        i64::deserialize(deserializer).map(Packed64::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    proptest! {
        #[test]
        fn is_the_integer_it_was_made_of(a in any::<i64>(), b in any::<i64>()) {
            let (x, y) = (Packed64::from(a), Packed64::from(b));
            prop_assert_eq!((x.get(), x.cmp(&y), x == y), (a, a.cmp(&b), a == b));
            prop_assert_eq!(x.partial_cmp(&y), Some(a.cmp(&b)));
            let hasher = BuildHasherDefault::<DefaultHasher>::default();
            prop_assert_eq!(hasher.hash_one(x), hasher.hash_one(a));
            prop_assert_eq!(format!("{x:?}"), a.to_string());
            prop_assert_eq!(serde_json::to_string(&x).unwrap(), a.to_string());
            prop_assert_eq!(serde_json::from_str::<Packed64>(&a.to_string()).unwrap(), x);
        }
    }

    #[test]
    fn leaves_no_gaps() {
        assert_eq!((size_of::<(Packed64, u32)>(), size_of::<(i64, u32)>()), (12, 16));
    }
}
