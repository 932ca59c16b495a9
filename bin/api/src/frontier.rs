//! The frontier of a commit: per topic and partition the first offset that its tables do not contain.

use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Topics and partitions, in order.
pub type Places = Arc<[(Box<str>, i32)]>;

/// See the module's head. Frontiers of the same partitions share their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    places: Places,
    next: Box<[i64]>,
}

impl Default for Frontier {
    fn default() -> Frontier {
        Frontier {
            places: Arc::new([]),
            next: Box::default(),
        }
    }
}

impl Frontier {
    /// A frontier of (topic, partition, next offset), in the order of topics and partitions. It takes the names of
    /// `known` when they are the same.
    pub fn of(known: &Places, entries: &[(&str, i32, i64)]) -> Frontier {
        let same = known.len() == entries.len()
            && known
                .iter()
                .zip(entries)
                .all(|((topic, partition), entry)| **topic == *entry.0 && *partition == entry.1);
        let places = if same {
            Arc::clone(known)
        } else {
            let place = |entry: &(&str, i32, i64)| (entry.0.into(), entry.1);
            entries.iter().map(place).collect()
        };
        Frontier {
            places,
            next: entries.iter().map(|entry| entry.2).collect(),
        }
    }

    /// The topics and partitions.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Topic, partition and next offset, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32, i64)> {
        let places = self.places.iter().zip(&self.next);
        places.map(|((topic, partition), next)| (&**topic, *partition, *next))
    }

    /// The first offset of a partition that the tables do not contain.
    pub fn next(&self, topic: &str, partition: i32) -> Option<i64> {
        let place = self.iter().find(|(of, number, _)| (*of, *number) == (topic, partition));
        place.map(|(_, _, next)| next)
    }

    /// `{"pin":{"0":11349}}`
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("maps of texts and numbers serialise")
    }
}

/// As [`Frontier::json`].
impl Serialize for Frontier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let entries: Vec<_> = self.iter().collect();
        let topics = entries.chunk_by(|one, other| one.0 == other.0);
        serializer.collect_map(topics.map(|of| {
            let partitions: BTreeMap<i32, i64> = of.iter().map(|(_, partition, next)| (*partition, *next)).collect();
            (of[0].0, partitions)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_pinned_and_names_are_shared() {
        let none = Frontier::default();
        assert_eq!(none.json(), "{}");
        let first = Frontier::of(none.places(), &[("geo", 0, 7), ("pin", 0, 1), ("pin", 10, 2)]);
        assert_eq!(first.json(), r#"{"geo":{"0":7},"pin":{"0":1,"10":2}}"#);
        assert_eq!((first.next("pin", 10), first.next("pin", 1)), (Some(2), None));
        let second = Frontier::of(first.places(), &[("geo", 0, 8), ("pin", 0, 1), ("pin", 10, 2)]);
        assert!(Arc::ptr_eq(first.places(), second.places()));
        let third = Frontier::of(first.places(), &[("geo", 0, 8), ("pin", 1, 1), ("pin", 10, 2)]);
        assert_eq!(third.next("pin", 1), Some(1));
    }
}
