//! Where an archiver resumes: what the lake has of what Kafka holds.
//!
//! The lake is the truth. It is listed, objects that stand where Kafka still has records are looked at, and what is
//! missing there is read again: the holes first, then everything behind the lake's end. A small control object,
//! `_pinflow/archive/{topic}+{partition}.json`, says how far an earlier run had found everything in place, so that a
//! restart need not look at every object of a week. It names the objects by the sum of their keys' hashes: when one was
//! removed, or merged with others, or the note is absent, everything is looked at.

use super::error::ArchiveError;
use super::examine;
use super::line::append_value;
use super::writer::{key_hash, lines_hold_same_record};
use crate::coverage::{Gap, RangeSet, coverage};
use crate::kafka::{Cluster, Watermarks};
use crate::lake::{CONTROL_FOLDER, Encoding, Lake, LakeError, LakeUrl, Listing, Object, Place, original};
use crate::topic_partition::TopicPartition;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use values::{Offset, Partition};

/// Holes of one partition that are read again one by one; of more the rest is left for an audit to name.
const MOST_HOLES: usize = 1000;
/// A first line above this is not compared.
const SAMPLE_BYTES: usize = 16 << 20;

/// Where to resume one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resume {
    /// What the lake lacks before its end and Kafka still has, in order.
    pub(super) holes: Vec<Range<Offset>>,
    /// Where live reading starts.
    pub(super) next: Offset,
    /// The first offset of the stretch that ends at `next` and holds no hole.
    pub(super) contiguous_from: Offset,
    /// What neither has.
    pub(super) gaps: Vec<Gap>,
    /// The sum of the hashes of the keys of the lake's objects.
    pub(super) keys: u64,
}

/// How far everything was found in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) from: Offset,
    pub(super) to: Offset,
    /// The sum of the hashes of the keys of all objects that begin below `to`.
    pub(super) keys: u64,
}

fn checkpoint_key(topic: &str, partition: Partition) -> String {
    format!("{CONTROL_FOLDER}/archive/{topic}+{partition}.json")
}

/// Records for the next run how far everything is in place.
pub(super) async fn write_checkpoint(
    lake: &Lake,
    topic: &str,
    partition: Partition,
    checkpoint: &Checkpoint,
) -> Result<(), LakeError> {
    let bytes = serde_json::to_vec(checkpoint).expect("two numbers serialise");
    lake.put(&checkpoint_key(topic, partition), bytes, BTreeMap::new())
        .await
}

async fn read_checkpoint(lake: &Lake, topic: &str, partition: Partition) -> Result<Option<Checkpoint>, LakeError> {
    let key = checkpoint_key(topic, partition);
    let bytes = lake.get_small(&key).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// A listing; a folder that does not exist yet is an empty lake.
pub(crate) async fn list(lake: &Lake, topics: &[String]) -> Result<Listing, LakeError> {
    match lake.list(topics).await {
        Err(LakeError::NoLake { .. }) if matches!(lake.url(), LakeUrl::File(_)) => Ok(Listing::default()),
        listing => listing,
    }
}

/// Finds where to resume the given partitions.
pub(super) async fn resume(
    lake: &Lake,
    cluster: &Arc<Cluster>,
    topics: &[String],
    partitions: &BTreeMap<TopicPartition, Watermarks>,
) -> Result<BTreeMap<TopicPartition, Resume>, ArchiveError> {
    let objects = list(lake, topics).await?.objects;
    let mut resumed = BTreeMap::new();
    for (at, marks) in partitions {
        let topic = &topics[usize::from(at.topic)];
        let of_partition = |object: &&Object| {
            object.topic == Some(at.topic)
                && matches!(object.place, Place::Log { partition, .. } if partition == at.partition)
        };
        let own: Vec<Object> = objects.iter().filter(of_partition).cloned().collect();
        let known = read_checkpoint(lake, topic, at.partition).await?;
        let covered = covered(lake, topics, &own, known, marks.low).await?;
        if let Some(end) = covered.iter().next_back().map(|range| range.end)
            && end > marks.stable
        {
            return Err(ArchiveError::Ahead {
                topic: topic.clone(),
                partition: at.partition,
                lake: end,
                kafka: marks.stable,
            });
        }
        if let Some(last) = own.iter().rev().find(|object| !object.deletes) {
            check_sample(lake, cluster, topic, at.partition, last, marks).await?;
        }
        resumed.insert(*at, plan(topic, at.partition, &covered, marks, sum_of_keys(own.iter())));
    }
    Ok(resumed)
}

/// The offsets that the lake has of a partition, as far as they matter: objects that end below what Kafka holds are
/// taken at their names.
async fn covered(
    lake: &Lake,
    topics: &[String],
    objects: &[Object],
    known: Option<Checkpoint>,
    low: Offset,
) -> Result<RangeSet, ArchiveError> {
    let start = |object: &Object| match object.place {
        Place::Log { start, .. } => start,
        Place::Legacy => Offset(-1),
    };
    let known = known.filter(|known| {
        let below = objects.iter().take_while(|object| start(object) < known.to);
        sum_of_keys(below) == known.keys
    });
    let trusted = known.as_ref().map_or(low, |known| known.to.max(low));
    // the last object below may reach into what matters
    let first = objects
        .partition_point(|object| start(object) < trusted)
        .saturating_sub(1);
    let examined = examine::recorded(lake, objects, first..objects.len()).await?;
    let counted: Vec<_> = examined
        .iter()
        .filter_map(|examined| examined.counted(&objects[examined.index]))
        .collect();
    let mut covered = RangeSet::default();
    for coverage in coverage(&counted, topics).into_values() {
        coverage.ranges.iter().for_each(|range| covered.insert(range));
    }
    if let Some(known) = known {
        covered.insert(known.from..known.to);
    } else if first > 0 {
        // below Kafka's first offset nothing can be mended: an audit looks there
        covered.insert(start(&objects[0])..start(&objects[first]));
    }
    Ok(covered)
}

fn sum_of_keys<'a>(objects: impl Iterator<Item = &'a Object>) -> u64 {
    objects.fold(0, |sum, object| sum.wrapping_add(key_hash(&object.key)))
}

fn plan(topic: &str, partition: Partition, covered: &RangeSet, marks: &Watermarks, keys: u64) -> Resume {
    let first = covered.iter().next().map_or(marks.low, |range| range.start);
    let end = covered.iter().next_back().map_or(marks.low, |range| range.end);
    let gap = |range: Range<Offset>| Gap {
        topic: topic.to_owned(),
        partition,
        from: range.start,
        to: range.end,
    };
    let gaps = covered
        .missing(first.min(marks.low)..marks.low)
        .into_iter()
        .map(gap)
        .collect();
    let mut holes = covered.missing(marks.low..end.max(marks.low));
    if holes.len() > MOST_HOLES {
        let left = holes.len() - MOST_HOLES;
        tracing::warn!(
            topic,
            partition = partition.0,
            "{left} holes of the lake are left as they are: see `pinflow audit`"
        );
        holes.truncate(MOST_HOLES);
    }
    let next = end.max(marks.low);
    let contiguous_from = holes.last().map_or(first.max(marks.low).min(next), |hole| hole.end);
    Resume {
        holes,
        next,
        contiguous_from: covered
            .around(next.previous())
            .map_or(contiguous_from, |range| range.start),
        gaps,
        keys,
    }
}

/// A topic that was created again has other records at the offsets of the old one.
async fn check_sample(
    lake: &Lake,
    cluster: &Arc<Cluster>,
    topic: &str,
    partition: Partition,
    object: &Object,
    marks: &Watermarks,
) -> Result<(), ArchiveError> {
    let Place::Log { start, .. } = object.place else {
        return Ok(());
    };
    if !(marks.low..marks.stable).contains(&start) || object.size == 0 || object.size > SAMPLE_BYTES as u64 {
        return Ok(());
    }
    let (cluster, name) = (Arc::clone(cluster), topic.to_owned());
    let sample = tokio::task::spawn_blocking(move || cluster.sample(&name, partition, start)).await;
    let sample = sample.map_err(|_| ArchiveError::Panicked)??;
    // a tombstone's line is made of its key, which is the caller's affair
    let Some(value) = sample.and_then(|sample| sample.value) else {
        return Ok(());
    };
    let bytes = lake.read_prefix(&object.key, object.encoding, SAMPLE_BYTES).await?;
    let wrapped = lake.metadata(object).await?.is_ours();
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let mut ours = Vec::new();
    append_value(&value, usize::MAX, &mut ours);
    let whole = object.encoding == Encoding::Gzip || line.len() < SAMPLE_BYTES;
    // other writers keep what is no JSON in ways of their own
    let comparable = original(&ours).is_none() || wrapped && original(line).is_some();
    if !whole || !comparable || lines_hold_same_record(line, wrapped, &ours) {
        Ok(())
    } else {
        Err(ArchiveError::OtherRecords {
            key: object.key.clone(),
            offset: start,
        })
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of ranges of offsets")]
mod tests {
    use super::*;

    fn resume(covered: &[Range<i64>], low: i64, high: i64) -> Resume {
        plan(
            "pin",
            Partition(0),
            &covered.iter().cloned().map(Offset::range).collect(),
            &Watermarks {
                low: Offset(low),
                stable: Offset(high),
                high: Offset(high),
            },
            0,
        )
    }

    #[test]
    fn an_empty_lake_is_filled_from_what_kafka_has() {
        let resume = resume(&[], 7, 20);
        assert_eq!((resume.holes, resume.next, resume.gaps), (vec![], Offset(7), vec![]));
    }

    #[test]
    fn holes_are_read_again_while_kafka_has_them() {
        let resume = resume(&[0..10, 15..20, 30..40], 17, 50);
        assert_eq!(
            (resume.holes, resume.next, resume.contiguous_from),
            (vec![Offset::range(20..30)], Offset(40), Offset(30))
        );
        assert_eq!(
            resume.gaps.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["gap pin/0 10..15"]
        );
    }

    #[test]
    fn what_lies_before_the_lake_is_a_hole() {
        let resume = resume(&[10..20], 4, 50);
        assert_eq!((resume.holes, resume.next), (vec![Offset::range(4..10)], Offset(20)));
    }

    #[test]
    fn retention_beyond_the_lake_is_a_gap() {
        let resume = resume(&[0..10], 12, 50);
        assert_eq!((resume.holes, resume.next), (vec![], Offset(12)));
        assert_eq!(
            resume.gaps.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["gap pin/0 10..12"]
        );
    }
}
