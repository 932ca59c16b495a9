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
use std::collections::{BTreeMap, BTreeSet};

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

/// The topics of which the lake says that they have grown: their records are not ordered by offset alone.
///
/// # Errors
/// The object cannot be read.
pub async fn grown_topics(lake: &Lake) -> Result<BTreeSet<String>, LakeError> {
    let Some(bytes) = lake.get_small(KEY).await? else {
        return Ok(BTreeSet::new());
    };
    Ok(parse(&bytes)?.into_keys().collect())
}

fn parse(bytes: &[u8]) -> Result<Document, LakeError> {
    let corrupt = |source| LakeError::Corrupt {
        object: KEY.to_owned(),
        source,
    };
    let document: Document = serde_json::from_slice(bytes).map_err(|error| corrupt(error.into()))?;
    for (topic, partitions) in &document {
        for (partition, starts) in partitions {
            if *partition < Partition(0) || starts.iter().any(|(offset, _)| *offset < Offset::ZERO) {
                let why = format!("{topic}/{partition}: partitions and offsets must not be negative");
                return Err(corrupt(why.into()));
            }
        }
    }
    Ok(document)
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
    use crate::byte_fuzz::{Target, repeats};
    use serde_json::Value;

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

    /// The starts that a document names, by serde_json's own values.
    fn named(input: &[u8]) -> Option<BTreeMap<(String, i32), Vec<(i64, u8)>>> {
        let Ok(Value::Object(document)) = serde_json::from_slice(input) else {
            return None;
        };
        let mut named = BTreeMap::new();
        for (topic, partitions) in document {
            for (partition, starts) in partitions.as_object()? {
                let number = partition.parse::<Partition>().ok()?;
                if number.to_string() != *partition {
                    return None;
                }
                let mut read = Vec::new();
                for start in starts.as_array()? {
                    let [offset, generation] = &start.as_array()?[..] else {
                        return None;
                    };
                    let offset = offset.as_i64().filter(|offset| *offset >= 0)?;
                    read.push((offset, generation.as_u64()?.try_into().ok()?));
                }
                named.insert((topic.clone(), number.0), read);
            }
        }
        Some(named)
    }

    /// The starts of a partition in their order: of a generation the first one, none before an earlier one.
    fn in_order(mut starts: Vec<(i64, u8)>) -> Vec<(i64, u8)> {
        starts.retain(|(_, generation)| *generation > 1);
        starts.sort_by_key(|(_, generation)| *generation);
        starts.dedup_by_key(|(_, generation)| *generation);
        let mut least = 0;
        for (offset, _) in &mut starts {
            least = least.max(*offset);
            *offset = least;
        }
        starts
    }

    #[rustfmt::skip]
    const TOKENS: &[&[u8]] = &[
        b"\"a.pin\":", b"\"a.user\":", b"\"b\":", b"\"0\":", b"\"1\":", b"\"-1\":", b"\"00\":", b"[[60,2]]",
        b"[60,2]", b"[-1,2]", b"[5,3],", b"[0,255]", b"[0,256]", b"[1,1]", b"[]", b"{}", b"{", b"}", b",", b"1.0",
        b"null", b"\\u0030",
    ];

    #[test]
    fn documents_are_read_as_written_or_refused() {
        let target = Target {
            name: "generations",
            tokens: TOKENS,
            bytes: 18_000_000,
        };
        target.run(|input, _| {
            let expected = named(input);
            let Ok(document) = parse(input) else {
                // what is said twice, or a number in other characters
                let text = String::from_utf8_lossy(input);
                let is_odd = repeats(&text) || text.contains("\\u");
                assert!(expected.is_none() || is_odd, "a document is refused");
                return false;
            };
            let expected = expected.expect("what is no document is refused");
            let generations = generations_of(&document, &topics());
            for (topic, name) in topics().named() {
                for ((_, partition), starts) in expected.iter().filter(|((of, _), _)| of == name) {
                    let partition = Partition(*partition);
                    let found = generations.of(TopicPartition { topic, partition }).iter();
                    let found: Vec<(i64, u8)> = found.map(|start| (start.offset.0, start.generation)).collect();
                    assert_eq!(found, in_order(starts.clone()), "{name}/{partition}");
                }
            }
            let written = serde_json::to_vec(&with(document.clone(), &topics(), &generations)).unwrap();
            let again = parse(&written).unwrap();
            assert_eq!(generations_of(&again, &topics()), generations);
            let of_others = |document: &Document| {
                let mut document = document.clone();
                topics().names().for_each(|name| drop(document.remove(name)));
                document
            };
            assert_eq!(of_others(&again), of_others(&document));
            true
        });
    }
}
