//! The objects of a lake in one order, the same whatever store they lie in and however they were listed.

use super::name::{self, Encoding, Meaning, Place};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use values::{Offset, Partition};
use xxhash_rust::xxh3::xxh3_64;

/// How many ignored keys a listing names.
const IGNORED_EXAMPLES: usize = 5;
/// How many other topics a listing names.
const OTHER_TOPICS: usize = 100;

/// One object that holds records. Travels between processes as data.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Object {
    /// The key, relative to the lake's URL, with `/` between folders.
    pub key: String,
    /// Stored bytes.
    pub size: u64,
    /// The store's entity tag, without quotes; `file://` has none.
    pub etag: Option<Box<str>>,
    /// The number of the topic whose records these are; `None` for older layouts that stand in no topic's folder
    /// (their records' fields say the kind).
    pub topic: Option<u8>,
    /// Where the records stand in the log.
    pub place: Place,
    /// How the bytes are stored.
    pub encoding: Encoding,
    /// Each line is the key of a deleted record (Connect's `tombstone/` folder).
    pub deletes: bool,
    /// A metadata sidecar stands beside the object.
    pub sidecar: bool,
}

/// The objects of a lake, older layouts first (they rank below every offset) by (file name, key), then the log's by
/// (topic, partition, start, key).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The objects, each key once.
    pub objects: Vec<Object>,
    /// Keys that are no records of ours: keys and headers, other topics, other files.
    pub ignored: u64,
    /// The first few of them, for a message.
    pub ignored_examples: Vec<String>,
    /// Keys that the store listed more than once.
    pub repeated: u64,
    /// The topics of Connect-named objects that are none of ours, in order; of more than a hundred the first hundred.
    pub other_topics: Vec<String>,
}

impl Object {
    /// Topic, partition and first offset of an object of the log; `None` for an object without offsets.
    pub fn log_place(&self) -> Option<(u8, Partition, Offset)> {
        match (self.topic, self.place) {
            (Some(topic), Place::Log { partition, start }) => Some((topic, partition, start)),
            _ => None,
        }
    }

    /// The order of a [`Listing`].
    fn order(&self, other: &Object) -> Ordering {
        let by_name = || name::file_name(&self.key).cmp(name::file_name(&other.key));
        match (self.place, other.place) {
            (Place::Legacy, Place::Legacy) => by_name().then_with(|| self.key.cmp(&other.key)),
            (Place::Legacy, Place::Log { .. }) => Ordering::Less,
            (Place::Log { .. }, Place::Legacy) => Ordering::Greater,
            (Place::Log { .. }, Place::Log { .. }) => {
                (self.topic, self.place, &self.key).cmp(&(other.topic, other.place, &other.key))
            }
        }
    }
}

/// Takes listed keys in any order, keeps what is ours.
pub(crate) struct Builder<'a, T> {
    topics: &'a [T],
    listing: Listing,
    /// Hashes of the keys that have a sidecar: a million of them cost little, and a wrong guess only a look.
    sidecars: HashSet<u64>,
    other_topics: BTreeSet<String>,
}

impl<'a, T: AsRef<str>> Builder<'a, T> {
    pub(crate) fn new(topics: &'a [T]) -> Self {
        Builder {
            topics,
            listing: Listing::default(),
            sidecars: HashSet::new(),
            other_topics: BTreeSet::new(),
        }
    }

    /// Takes one listed key, relative to the lake's root.
    pub(crate) fn add(&mut self, key: &str, size: u64, etag: Option<&str>) {
        match name::meaning(key, self.topics) {
            Meaning::Records {
                topic,
                place,
                encoding,
                deletes,
            } => self.listing.objects.push(Object {
                key: key.to_string(),
                size,
                etag: etag.map(|etag| etag.trim_matches('"').into()),
                topic,
                place,
                encoding,
                deletes,
                sidecar: false,
            }),
            Meaning::Sidecar { of } => {
                self.sidecars.insert(xxh3_64(of.as_bytes()));
            }
            Meaning::Ours => {}
            Meaning::OtherTopic(topic) => {
                if !self.other_topics.contains(topic) {
                    self.other_topics.insert(topic.to_string());
                }
                // the same ones stay in whatever order the keys come
                if self.other_topics.len() > OTHER_TOPICS {
                    self.other_topics.pop_last();
                }
                self.ignore(key);
            }
            Meaning::Other => self.ignore(key),
        }
    }

    /// Counts a key that is not read.
    pub(crate) fn ignore(&mut self, key: &str) {
        self.listing.ignored += 1;
        if self.listing.ignored_examples.len() < IGNORED_EXAMPLES {
            self.listing.ignored_examples.push(key.to_string());
        }
    }

    /// Orders the objects; of a key listed twice the later entry stays.
    pub(crate) fn finish(self) -> Listing {
        let mut listing = self.listing;
        listing.other_topics = self.other_topics.into_iter().collect();
        listing.objects.sort_by(Object::order);
        let listed = listing.objects.len();
        listing.objects.dedup_by(|later, kept| {
            let same = later.key == kept.key;
            if same {
                std::mem::swap(later, kept);
            }
            same
        });
        listing.repeated = (listed - listing.objects.len()) as u64;
        listing.objects.shrink_to_fit();
        if !self.sidecars.is_empty() {
            for object in &mut listing.objects {
                object.sidecar = self.sidecars.contains(&xxh3_64(object.key.as_bytes()));
            }
        }
        listing
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
