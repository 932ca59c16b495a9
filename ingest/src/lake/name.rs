//! What an object's name says: the layouts of the Confluent S3 sink and of the pipelines before it.
//!
//! A Connect object is known by its file name alone, `{topic}+{partition}+{start}.json[.gz]`; folders (default, time or
//! field partitions, flat) say nothing, except `tombstone/`, where the sink keeps the keys of deleted records. Names
//! are parsed from the right because a topic may hold `+` and `.`, and offsets are numbers of any length.
//!
//! This module judges names only; it reads nothing.

use serde::{Deserialize, Serialize};
use std::fmt::Write;
use values::{Offset, Partition};

/// The folder of our own control objects: never part of a listing.
pub const CONTROL_FOLDER: &str = "_pinflow";
/// The folder in which Connect keeps the keys of deleted records (`tombstone.encoded.partition`).
const TOMBSTONE_FOLDER: &str = "tombstone";
/// What a metadata sidecar's name adds to its object's name.
pub(crate) const SIDECAR_SUFFIX: &str = ".meta.json";

/// How an object's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Encoding {
    /// As they are.
    Plain,
    /// One or several gzip members.
    Gzip,
}

/// Where an object's records stand in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Place {
    /// An object of an older layout: no offsets, its order is its name.
    Legacy,
    /// Line `n` of the object is the record `start + n`, unless coverage finds the object inexact.
    Log {
        /// The Kafka partition.
        partition: Partition,
        /// The offset of the first line.
        start: Offset,
    },
}

/// The key of a Connect object in a default-partitioned topic folder, as the sink and our archiver write it.
pub fn connect_key(topic: &str, partition: Partition, start: Offset, encoding: Encoding) -> String {
    let mut key = format!("{topic}/partition={partition}/{topic}+{partition}+{start:010}.json");
    if encoding == Encoding::Gzip {
        key.push_str(".gz");
    }
    key
}

/// The key of the sidecar that holds an object's metadata where the store itself cannot.
pub(crate) fn sidecar_key(key: &str) -> String {
    let mut sidecar = String::with_capacity(key.len() + SIDECAR_SUFFIX.len());
    let _ = write!(sidecar, "{key}{SIDECAR_SUFFIX}");
    sidecar
}

/// The file name of a key: what stands after its last `/`.
pub fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// What a key is to us.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning<'a> {
    /// Records.
    Records {
        topic: Option<u8>,
        place: Place,
        encoding: Encoding,
        deletes: bool,
    },
    /// The metadata of another object, named by its key.
    Sidecar { of: &'a str },
    /// A folder marker or a control object of ours: not counted as ignored.
    Ours,
    /// A Connect object of a topic that is none of ours.
    OtherTopic(&'a str),
    /// Nothing that we read: keys, headers, other files.
    Other,
}

/// Judges a key, relative to the lake's root; `topics[n]` is the name of topic `n`.
pub(crate) fn meaning<'a, T: AsRef<str>>(key: &'a str, topics: &[T]) -> Meaning<'a> {
    let (folders, name) = key.rsplit_once('/').unwrap_or(("", key));
    if name.is_empty() || folders.split('/').any(|folder| folder == CONTROL_FOLDER) {
        return Meaning::Ours;
    }
    if let Some(of) = key.strip_suffix(SIDECAR_SUFFIX)
        && split_extension(of).is_some()
    {
        return Meaning::Sidecar { of };
    }
    let Some((stem, encoding)) = split_extension(name) else {
        return Meaning::Other;
    };
    let in_tombstones = folders.split('/').any(|folder| folder == TOMBSTONE_FOLDER);
    // an empty name is a kind that is not read, and no folder
    let named = |name: &str, topic: &T| !name.is_empty() && topic.as_ref() == name;
    let topic_number = |name: &str| topics.iter().position(|topic| named(name, topic)).map(|n| n as u8);

    let (stem, sibling) = match (stem.strip_suffix(".keys"), stem.strip_suffix(".headers")) {
        (Some(stem), _) => (stem, Some("keys")),
        (_, Some(stem)) => (stem, Some("headers")),
        _ => (stem, None),
    };
    if let Some((topic, partition, start)) = parse_connect(stem) {
        // Under tombstone/ there are no values: the keys are the records.
        let read = sibling.is_none() || (in_tombstones && sibling == Some("keys"));
        return match topic_number(topic) {
            Some(topic) if read => Meaning::Records {
                topic: Some(topic),
                place: Place::Log { partition, start },
                encoding,
                deletes: in_tombstones,
            },
            Some(_) => Meaning::Other,
            None => Meaning::OtherTopic(topic),
        };
    }
    if sibling.is_some() || !is_legacy(stem) {
        return Meaning::Other;
    }
    let topic = folders.rsplit('/').find_map(topic_number);
    Meaning::Records {
        topic,
        place: Place::Legacy,
        encoding,
        deletes: false,
    }
}

/// The stem and encoding of `….json` and `….json.gz`.
fn split_extension(name: &str) -> Option<(&str, Encoding)> {
    match name.strip_suffix(".json") {
        Some(stem) => Some((stem, Encoding::Plain)),
        None => name.strip_suffix(".json.gz").map(|stem| (stem, Encoding::Gzip)),
    }
}

/// `{topic}+{partition}+{start}`, from the right.
fn parse_connect(stem: &str) -> Option<(&str, Partition, Offset)> {
    let mut parts = stem.rsplitn(3, '+');
    let start = Offset(number(parts.next()?)?);
    let partition = Partition(i32::try_from(number(parts.next()?)?).ok()?);
    let topic = parts.next().filter(|topic| !topic.is_empty())?;
    Some((topic, partition, start))
}

/// Decimal digits alone: neither sign nor space.
fn number(digits: &str) -> Option<i64> {
    let decimal = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    decimal.then(|| digits.parse().ok()).flatten()
}

/// The names of the older layouts: `event-<id>`, `<uuid>`, and a word with a number (`PinterestData_7`, `message_12`,
/// `data_3`, `0`). Other JSON files are not history, whatever they hold.
fn is_legacy(stem: &str) -> bool {
    if stem.strip_prefix("event-").is_some_and(|id| !id.is_empty()) || is_uuid(stem) {
        return true;
    }
    let word = stem.trim_end_matches(|c: char| c.is_ascii_digit());
    word.len() < stem.len() && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_')
}

fn is_uuid(stem: &str) -> bool {
    stem.len() == 36
        && stem.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests;
