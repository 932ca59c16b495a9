//! A frontier in a file: `{"frontier":{"TOPIC":{"0":1234}}}`, where 1234 is the first offset not included.
//!
//! `--upto` reads it and `--summary` contains it, so that one run can stop where another stopped. Other members are
//! ignored for that reason.

use ingest::{Offset, Partition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

/// Per topic and partition the first offset that is not included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Frontier(pub BTreeMap<String, BTreeMap<Partition, Offset>>);

#[derive(Serialize, Deserialize)]
struct Document<F> {
    frontier: F,
}

impl Frontier {
    /// The first offset not included of one partition; `None` when the frontier does not speak of it.
    pub fn next(&self, topic: &str, partition: Partition) -> Option<Offset> {
        self.0.get(topic)?.get(&partition).copied()
    }

    /// Sets the first offset not included of one partition.
    pub fn set(&mut self, topic: &str, partition: Partition, next: Offset) {
        self.0.entry(topic.to_owned()).or_default().insert(partition, next);
    }

    /// Reads a frontier from the text of a file.
    pub fn parse(text: &str) -> Result<Frontier, String> {
        let wrong = |why: &dyn Display| format!("{why} (expected {{\"frontier\":{{\"TOPIC\":{{\"0\":1234}}}}}})");
        // serde takes a list of its fields for a struct
        if text.trim_start().starts_with('[') {
            return Err(wrong(&"a list is not a frontier"));
        }
        let document: Document<Frontier> = serde_json::from_str(text).map_err(|error| wrong(&error))?;
        let frontier = document.frontier;
        for (topic, partitions) in &frontier.0 {
            for (partition, next) in partitions {
                if *partition < Partition(0) || *next < Offset::ZERO {
                    return Err(format!(
                        "{topic}/{partition} {next}: partitions and offsets must not be negative"
                    ));
                }
            }
        }
        Ok(frontier)
    }

    /// Reads a frontier from a file.
    pub fn read(path: &Path) -> Result<Frontier, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Frontier::parse(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// The text of a frontier file.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&Document { frontier: self }).expect("maps of texts and numbers serialise")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::byte_fuzz::{Target, repeats};
    use serde_json::Value;
    use serde_json::value::RawValue;

    #[test]
    fn the_file_format_is_pinned_and_read_back() {
        let mut frontier = Frontier::default();
        frontier.set("pin", Partition(0), Offset(1234));
        frontier.set("pin", Partition(10), Offset(0));
        assert_eq!(frontier.to_json(), r#"{"frontier":{"pin":{"0":1234,"10":0}}}"#);
        assert_eq!(Frontier::parse(&frontier.to_json()), Ok(frontier.clone()));
        assert_eq!(frontier.next("pin", Partition(0)), Some(Offset(1234)));
        assert_eq!(frontier.next("pin", Partition(1)), None);
        assert_eq!(frontier.next("geo", Partition(0)), None);
    }

    #[test]
    fn a_summary_is_a_frontier_file_too_and_nonsense_is_refused() {
        let frontier = Frontier::parse(r#"{"records":3,"frontier":{"geo":{"2":7}},"seconds":1.5}"#).unwrap();
        assert_eq!(frontier.next("geo", Partition(2)), Some(Offset(7)));
        assert!(Frontier::parse(r#"{"records":3}"#).unwrap_err().contains("frontier"));
        assert!(Frontier::parse(r#"{"frontier":{"pin":{"x":1}}}"#).is_err());
        assert!(
            Frontier::parse(r#"{"frontier":{"pin":{"0":-1}}}"#)
                .unwrap_err()
                .contains("pin/0 -1")
        );
    }

    /// The frontier in a document, by serde_json's own values.
    fn expected(text: &str) -> Option<Frontier> {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
        let topics: Value = serde_json::from_str(members.get("frontier")?.get()).ok()?;
        let mut frontier = Frontier::default();
        for (topic, partitions) in topics.as_object()? {
            let of_topic = frontier.0.entry(topic.clone()).or_default();
            for (partition, next) in partitions.as_object()? {
                let number: Partition = partition.parse().ok()?;
                let next = next.as_i64().filter(|next| *next >= 0)?;
                if number.to_string() != *partition {
                    return None;
                }
                of_topic.insert(number, Offset(next));
            }
        }
        Some(frontier)
    }

    #[rustfmt::skip]
    const TOKENS: &[&[u8]] = &[
        b"\"frontier\":", b"\"pin\":", b"\"0\":", b"\"00\":", b"\"-0\":", b"\"2147483648\":", b"{", b"}", b",",
        b"1.0", b"-1", b"1e3", b"null", b"[]", b"{}", b"\"x\":[[1]],", b"\"x\":\"\\ud83d\",", b"\\u0030",
        b"9223372036854775807",
    ];

    #[test]
    fn files_are_read_as_written_or_refused() {
        let target = Target {
            name: "frontier",
            tokens: TOKENS,
            bytes: 18_000_000,
        };
        target.run(|input, _| {
            let Ok(text) = std::str::from_utf8(input) else {
                return false;
            };
            let Ok(found) = Frontier::parse(text) else {
                // what is said twice, or a number in other characters
                let is_odd = repeats(text) || text.contains("\\u");
                assert!(expected(text).is_none() || is_odd, "a frontier is refused");
                return false;
            };
            assert_eq!(Some(&found), expected(text).as_ref());
            assert_eq!(Frontier::parse(&found.to_json()), Ok(found));
            true
        });
    }
}
