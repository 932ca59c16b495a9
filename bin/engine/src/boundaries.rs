//! The boundaries of generations as a small object in the lake: what all engines on one lake share.
//!
//! `_pinflow/generations.json` holds `{"pin":{"0":[[1200,2]],"1":[[0,2]]}}`: from offset 1200 on, records of `pin/0`
//! belong to generation 2. What stands nowhere is generation 1. The object is read first and written on the condition
//! that it is still the one that was read, so the boundary that is written first is everyone's.

use super::error::EngineError;
use super::log::generations::{Generations, Start};
use super::topics::Topics;
use ingest::lake::{Lake, LakeError};
use ingest::{Offset, Partition, TopicPartition};
use std::collections::BTreeMap;

const KEY: &str = "_pinflow/generations.json";

type Document = BTreeMap<String, BTreeMap<Partition, Vec<(Offset, u8)>>>;

/// Settles which generations count: those of the lake, and of `ours` what the lake lacks, which is written.
///
/// An answer that is lost is no harm: what has been written is found by the next look. Repeats until its own write, or
/// another run's, stands.
pub async fn settle(lake: &Lake, topics: &Topics, ours: &Generations) -> Result<Generations, EngineError> {
    loop {
        let (document, version) = match lake.get_versioned(KEY).await? {
            Some((bytes, version)) => (parse(&bytes)?, Some(version)),
            None => (Document::new(), None),
        };
        let of_lake = generations_of(&document, topics);
        let (merged, lacking) = of_lake.merged(ours).map_err(|source| EngineError::Generations {
            topic: topics.names().collect::<Vec<_>>().join(", "),
            source,
        })?;
        if !lacking {
            return Ok(merged);
        }
        let bytes = serde_json::to_vec(&with(document, topics, &merged)).expect("maps of numbers serialise");
        if lake.put_if(KEY, bytes, version.as_ref()).await? {
            tracing::info!("wrote the boundaries of generations to the lake");
        }
        // what stands there now counts, whoever wrote it
    }
}

fn parse(bytes: &[u8]) -> Result<Document, LakeError> {
    serde_json::from_slice(bytes).map_err(|error| LakeError::Corrupt {
        object: KEY.to_owned(),
        source: error.into(),
    })
}

fn generations_of(document: &Document, topics: &Topics) -> Generations {
    let mut generations = Generations::default();
    for (topic, name) in topics.named() {
        for (partition, starts) in document.get(name).into_iter().flatten() {
            let partition = *partition;
            for (offset, generation) in starts {
                let (offset, generation) = (*offset, *generation);
                generations.insert(TopicPartition { topic, partition }, Start { offset, generation });
            }
        }
    }
    generations
}

/// The document with the starts of our topics, those of others as they are.
fn with(mut document: Document, topics: &Topics, generations: &Generations) -> Document {
    for (at, starts) in generations.iter() {
        let Some(name) = topics.get(at.topic) else {
            continue;
        };
        let starts = starts.iter().map(|start| (start.offset, start.generation)).collect();
        document
            .entry(name.to_owned())
            .or_default()
            .insert(at.partition, starts);
    }
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics() -> Topics {
        Topics::new([Some("a.pin".into()), None, Some("a.user".into())])
    }

    #[test]
    fn the_document_keeps_the_topics_of_others() {
        let text = r#"{"a.pin":{"0":[[60,2]],"1":[[0,2]]},"b.pin":{"7":[[1,9]]}}"#;
        let document = parse(text.as_bytes()).unwrap();
        let mut generations = generations_of(&document, &topics());
        let added = TopicPartition {
            topic: 2,
            partition: Partition(1),
        };
        generations.begin(added, &[(Partition(0), Offset(5))].into()).unwrap();
        let written = serde_json::to_string(&with(document, &topics(), &generations)).unwrap();
        assert_eq!(
            written,
            r#"{"a.pin":{"0":[[60,2]],"1":[[0,2]]},"a.user":{"0":[[5,2]],"1":[[0,2]]},"b.pin":{"7":[[1,9]]}}"#
        );
        assert!(parse(b"no JSON").is_err());
    }
}
