//! The boundaries of generations as a small object in the lake, for readers that have no tables to ask.
//!
//! `_pinflow/generations.json` holds `{"pin":{"0":[[1200,2]],"1":[[0,2]]}}`: from offset 1200 on, records of `pin/0`
//! belong to generation 2. What stands nowhere is generation 1.

use super::protocol::{Generations, TopicPartition};
use ingest::lake::{Lake, LakeError};
use std::collections::BTreeMap;

const KEY: &str = "_pinflow/generations.json";

fn broken(error: serde_json::Error) -> LakeError {
    LakeError::Corrupt {
        object: KEY.to_owned(),
        why: error.to_string(),
    }
}

type Document = BTreeMap<String, BTreeMap<i32, Vec<(i64, u8)>>>;

/// Reads the boundaries of our topics; none where the object is absent.
pub async fn read(lake: &Lake, topics: &[Option<String>; 3]) -> Result<Generations, LakeError> {
    let Some(bytes) = lake.get_small(KEY).await? else {
        return Ok(Generations::new());
    };
    let document: Document = serde_json::from_slice(&bytes).map_err(broken)?;
    let mut generations = Generations::new();
    for (topic, name) in topics.iter().enumerate() {
        let partitions = name.as_ref().and_then(|name| document.get(name)).into_iter().flatten();
        for (partition, starts) in partitions {
            let at = TopicPartition {
                topic: topic as u8,
                partition: *partition,
            };
            generations.insert(at, starts.clone());
        }
    }
    Ok(generations)
}

/// Writes the boundaries of our topics, keeping those of others.
pub async fn write(lake: &Lake, topics: &[Option<String>; 3], generations: &Generations) -> Result<(), LakeError> {
    let mut document: Document = match lake.get_small(KEY).await? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(broken)?,
        None => Document::new(),
    };
    for (at, starts) in generations {
        let Some(name) = topics[at.topic as usize].clone() else {
            continue;
        };
        document.entry(name).or_default().insert(at.partition, starts.clone());
    }
    let bytes = serde_json::to_vec(&document).expect("maps of numbers serialise");
    lake.put(KEY, bytes, BTreeMap::new()).await
}
