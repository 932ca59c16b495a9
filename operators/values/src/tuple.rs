//! Rows whose columns are chosen at run time: some names and some words of plain bits.
//!
//! What is computed from SQL has keys and rows of a shape that no type of Rust was written for. A [`Tuple`] has room
//! for them: names stand in parts of their own, since they travel, route and order as their texts, and all else is
//! packed into words by the code that made the tuple, which alone knows what they mean. Only the two sizes are fixed
//! when this is compiled.
//!
//! # Contract
//! Equal values must be packed into equal words, with 0 in bits and parts that are not used. A tuple then groups,
//! routes and counts as the values in it do. Its [`Ord`] is a total order that is the same in every process, names by
//! bytes before words; it is no order of the values.
//!
//! # Cost
//! 4 bytes a name and 4 bytes a word, without gaps.

use crate::Symbol;
use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::hash::{Hash, Hasher};

/// `S` names and `P` words; see the [module](self) for the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tuple<const S: usize, const P: usize> {
    /// The names: `None` where a value is null, or none is there.
    pub names: [Option<Symbol>; S],
    /// Everything else.
    pub plain: [u32; P],
}

impl<const S: usize, const P: usize> Tuple<S, P> {
    /// No names, and zeros.
    pub const EMPTY: Self = Tuple {
        names: [None; S],
        plain: [0; P],
    };

    /// The names' identifiers, each plus one, and 0 for none.
    #[inline]
    pub fn ids(&self) -> [u32; S] {
        self.names
            .map(|name| name.map_or(0, |symbol| symbol.id().wrapping_add(1)))
    }
}

impl<const S: usize, const P: usize> Default for Tuple<S, P> {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// The words by two, the last one perhaps alone: two are hashed and routed as fast as one.
#[inline]
pub fn pairs(words: &[u32]) -> impl Iterator<Item = u64> + '_ {
    words.chunks(2).map(|pair| match *pair {
        [low, high] => u64::from(high) << 32 | u64::from(low),
        _ => u64::from(pair[0]),
    })
}

impl<const S: usize, const P: usize> Hash for Tuple<S, P> {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        // the sizes are the type's, so lengths need not be hashed; two words cost as much as one
        for pair in pairs(&self.ids()) {
            state.write_u64(pair);
        }
        for pair in pairs(&self.plain) {
            state.write_u64(pair);
        }
    }
}

impl<const S: usize, const P: usize> Serialize for Tuple<S, P> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let mut tuple = serializer.serialize_tuple(S + P)?;
        for name in &self.names {
            tuple.serialize_element(name)?;
        }
        for word in &self.plain {
            tuple.serialize_element(word)?;
        }
        tuple.end()
    }
}

impl<'de, const S: usize, const P: usize> Deserialize<'de> for Tuple<S, P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Parts<const S: usize, const P: usize>;
        impl<'de, const S: usize, const P: usize> Visitor<'de> for Parts<S, P> {
            type Value = Tuple<S, P>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{S} names and {P} words")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
                let mut tuple = Tuple::EMPTY;
                for (place, name) in tuple.names.iter_mut().enumerate() {
                    *name = parts
                        .next_element()?
                        .ok_or_else(|| Error::invalid_length(place, &self))?;
                }
                for (place, word) in tuple.plain.iter_mut().enumerate() {
                    *word = parts
                        .next_element()?
                        .ok_or_else(|| Error::invalid_length(S + place, &self))?;
                }
                Ok(tuple)
            }
        }
        deserializer.deserialize_tuple(S + P, Parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::hash::BuildHasher;

    fn names<const S: usize>() -> impl Strategy<Value = [Option<Symbol>; S]> {
        let name = prop::option::of((0..4u8).prop_map(|n| Symbol::new(&format!("part {}", n.wrapping_mul(89)))));
        prop::collection::vec(name, S).prop_map(|names| names.try_into().expect("so many were made"))
    }

    fn tuples<const S: usize, const P: usize>() -> impl Strategy<Value = Tuple<S, P>> {
        let plain = prop::collection::vec(0..3u32, P).prop_map(|plain| plain.try_into().expect("so many were made"));
        (names(), plain).prop_map(|(names, plain)| Tuple { names, plain })
    }

    /// All that a tuple says, as types that are known to be right.
    fn parts<const S: usize, const P: usize>(tuple: &Tuple<S, P>) -> (Vec<Option<&'static str>>, Vec<u32>) {
        let names = tuple.names.iter().map(|name| name.map(Symbol::text));
        (names.collect(), tuple.plain.to_vec())
    }

    fn behaves<const S: usize, const P: usize>(a: Tuple<S, P>, b: Tuple<S, P>) -> Result<(), TestCaseError> {
        let same = parts(&a) == parts(&b);
        prop_assert_eq!(a == b, same);
        prop_assert_eq!(a.cmp(&b), parts(&a).cmp(&parts(&b)));
        let hasher = foldhash::fast::RandomState::default();
        prop_assert_eq!(hasher.hash_one(a) == hasher.hash_one(b), same);
        prop_assert_eq!(a.ids() == b.ids(), a.names == b.names);
        let wire = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<Tuple<S, P>>(&wire).unwrap(), a);
        Ok(())
    }

    proptest! {
        #[test]
        fn is_the_parts_it_was_made_of(
            small in prop::array::uniform2(tuples::<1, 1>()),
            odd in prop::array::uniform2(tuples::<3, 3>()),
            words in prop::array::uniform2(tuples::<0, 4>()),
            only_names in prop::array::uniform2(tuples::<2, 0>()),
        ) {
            behaves(small[0], small[1])?;
            behaves(odd[0], odd[1])?;
            behaves(words[0], words[1])?;
            behaves(only_names[0], only_names[1])?;
        }
    }

    #[test]
    fn travels_as_texts_and_numbers_and_leaves_no_gaps() {
        let tuple = Tuple {
            names: [Some(Symbol::new("Côte d'Ivoire")), None],
            plain: [7, u32::MAX, 0],
        };
        let wire = serde_json::to_string(&tuple).unwrap();
        assert_eq!(wire, r#"["Côte d'Ivoire",null,7,4294967295,0]"#);
        let short = serde_json::from_str::<Tuple<2, 4>>(&wire).unwrap_err();
        assert!(
            short
                .to_string()
                .contains("invalid length 5, expected 2 names and 4 words"),
            "{short}"
        );
        assert!(serde_json::from_str::<Tuple<2, 2>>(&wire).is_err());
        assert_eq!(serde_json::from_str::<Tuple<0, 0>>("[]").unwrap(), Tuple::EMPTY);
        assert_eq!((size_of::<Tuple<2, 3>>(), align_of::<Tuple<2, 3>>()), (20, 4));
        assert_eq!(Tuple::<2, 3>::default().names, [None, None]);
    }
}
