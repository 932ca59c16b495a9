//! A partition of a topic, by its number.

use crate::number::{parse_as_number, print_as_number};
use serde::{Deserialize, Serialize};

/// A partition of one topic, as Kafka numbers it. How many partitions a topic has is not one, and stays an `i32`.
///
/// It is printed and serialised as the number it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Partition(pub i32);

impl Partition {
    /// The partitions of a topic that has so many of them.
    pub fn all(count: i32) -> impl DoubleEndedIterator<Item = Partition> {
        (0..count).map(Partition)
    }
}

parse_as_number!(Partition);
print_as_number!(Partition);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn is_printed_parsed_and_serialised_as_its_number() {
        assert_eq!(
            format!("{} {:?} {:03}", Partition(3), Partition(4), Partition(5)),
            "3 4 005"
        );
        assert_eq!("12".parse(), Ok(Partition(12)));
        let by_partition = BTreeMap::from([(Partition(2), 7)]);
        let json = serde_json::to_string(&by_partition).unwrap();
        assert_eq!(json, r#"{"2":7}"#, "also as a key");
        assert_eq!(
            serde_json::from_str::<BTreeMap<Partition, i32>>(&json).unwrap(),
            by_partition
        );
    }

    #[test]
    fn all_are_counted_from_0() {
        assert_eq!(Partition::all(2).collect::<Vec<_>>(), [Partition(0), Partition(1)]);
    }
}
