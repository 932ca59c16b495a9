//! A frontier in a file: `{"frontier":{"TOPIC":{"0":1234}}}`, where 1234 is the first offset not included.
//!
//! `--upto` reads it and `--summary` contains it, so that one run can stop where another stopped. Other members are
//! ignored for that reason.

use ingest::{Offset, Partition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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
        let document: Document<Frontier> = serde_json::from_str(text)
            .map_err(|error| format!("{error} (expected {{\"frontier\":{{\"TOPIC\":{{\"0\":1234}}}}}})"))?;
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
}
