//! What the tables hold at one commit.
//!
//! Of a cleaned row only its position and a fingerprint are held, 24 bytes a row: the evaluator holds the rows, and
//! those few of the table that are shown are fetched again by key.

use dataflows::{CLEANED, Results};
use engine::Topics;
use operators::{Ind, Position, Row};
use sinks::{DroppedRejects, FoundReject, FoundRow, SinkError, Snapshot, UNKNOWN_TOPIC};
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use xxhash_rust::xxh3::Xxh3;

/// Which row of a cleaned table: where it is from, and what is in it.
pub type Found = (Option<Position>, u64);

/// What the tables held at one commit.
pub struct Held {
    /// The rows of each result, sorted.
    pub results: Vec<Vec<Row>>,
    /// By kind and key; nothing when the cleaned tables are not kept.
    pub cleaned: Option<[HashMap<Ind, Found>; 3]>,
    /// By cleaned table and key.
    pub tombstones: HashMap<(String, Ind), Option<Position>>,
    /// Reasons by source and place.
    pub rejects: HashMap<String, BTreeMap<i64, String>>,
    /// Those that there was no room for.
    pub dropped: Vec<DroppedRejects>,
}

impl Held {
    /// Reads all tables of a snapshot, the cleaned ones where they are `kept`. Rejects of topics that are not among
    /// `topics` are left out: they stay when a topic is replaced, and no log that is read here says anything about them.
    pub async fn read(
        snapshot: &Snapshot,
        kept: bool,
        definitions: &Results,
        topics: &Topics,
    ) -> Result<Held, SinkError> {
        let mut results = Vec::new();
        for result in definitions.definitions() {
            results.push(snapshot.table(&result.table).await?);
        }
        let mut rejects: HashMap<String, BTreeMap<i64, String>> = HashMap::new();
        let each = |found: FoundReject| {
            if found.topic == UNKNOWN_TOPIC || topics.number(&found.topic).is_some() {
                let of_source = rejects.entry(found.source).or_default();
                of_source.insert(found.position, found.reason);
            }
        };
        snapshot.rejects(each).await?;
        let mut held = Held {
            results,
            cleaned: None,
            tombstones: HashMap::new(),
            rejects,
            dropped: snapshot.dropped_rejects().await?,
        };
        if kept {
            let mut cleaned: [HashMap<Ind, Found>; 3] = Default::default();
            for (table, rows) in CLEANED.iter().zip(&mut cleaned) {
                let each = |found: FoundRow| {
                    rows.insert(found.ind, (found.position, fingerprint(&found.row)));
                };
                snapshot.cleaned(table, each).await?;
            }
            held.cleaned = Some(cleaned);
            let found = snapshot.tombstones().await?.into_iter();
            held.tombstones = found.map(|found| ((found.table, found.ind), found.position)).collect();
        }
        Ok(held)
    }
}

/// A hash of a row's values; equal rows have equal ones.
pub fn fingerprint(row: &Row) -> u64 {
    let mut hash = Xxh3::new();
    row.hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use operators::Value;

    #[test]
    fn fingerprints_tell_values_and_their_borders_apart() {
        let rows: [Row; 8] = [
            vec!["ab".into(), "c".into()],
            vec!["a".into(), "bc".into()],
            vec!["abc".into(), Value::Null],
            vec![Value::Null, "abc".into()],
            vec![Value::Int(0), Value::Float(0.0)],
            vec![Value::Float(0.0), Value::Int(0)],
            vec![Value::Floats(Box::new([None, Some(0.0)])), Value::Null],
            vec![Value::Floats(Box::new([Some(0.0), None])), Value::Null],
        ];
        let mut prints: Vec<u64> = rows.iter().map(fingerprint).collect();
        prints.sort_unstable();
        prints.dedup();
        assert_eq!(prints.len(), rows.len());
        let symbol = vec![Value::Text(operators::Symbol::new("ab")), "c".into()];
        assert_eq!(fingerprint(&symbol), fingerprint(&rows[0]));
    }
}
