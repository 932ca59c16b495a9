//! What the lake has of the log, and whether it is what its writers recorded.
//!
//! An object covers what its writer recorded, or as many offsets as it has lines. Looking at each of a million objects
//! of one record would take a million requests, so objects whose successor starts one offset later are taken at their
//! name, unless they are much larger than the others or `deep` is asked for. Where objects overlap they are read, and
//! their records compared.

use super::error::ArchiveError;
use super::examine::{self, Examined};
use super::resume::list;
use crate::coverage::{Counted, Gap, OrderConflict, RangeSet, coverage};
use crate::lake::{Lake, Listing, Object, ObjectMetadata, Original, Place, original};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use values::{Offset, Partition};

/// Named at most, of each kind of finding and partition.
const EXAMPLES: usize = 20;
/// When something seems to be missing, so many objects that were taken at their name are looked at after all.
const SECOND_LOOK: usize = 100_000;

/// What to look at.
#[derive(Debug, Clone)]
pub struct AuditOptions {
    /// The topics' names.
    pub topics: Vec<String>,
    /// Read every object and compare it with what its writer recorded.
    pub deep: bool,
    /// An object with fewer bytes is small.
    pub small_bytes: u64,
}

/// An object that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Its key.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
}

/// The lake's side of one partition.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PartitionAudit {
    /// The topic's name.
    pub topic: String,
    /// The Kafka partition.
    pub partition: Partition,
    /// Objects that hold its records.
    pub objects: u64,
    /// Their stored bytes.
    pub bytes: u64,
    /// Those that are small.
    pub small: u64,
    /// Those that were looked at, or read.
    pub examined: u64,
    /// The offsets that they cover.
    pub covered: RangeSet,
    /// What is missing between the first and the last of these.
    pub holes: Vec<Gap>,
    /// Objects in which a line's offset is not known.
    pub inexact: u64,
    /// Where such objects interleave.
    pub conflicts: Vec<OrderConflict>,
    /// Offsets that more than one object holds.
    pub overlapping: u64,
    /// Those whose copies differ.
    pub differing: RangeSet,
    /// Objects that are not what they should be; the first of them.
    pub faults: Vec<Fault>,
    /// How many they are.
    pub faulty: u64,
}

/// The lake's side.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LakeAudit {
    /// By topic and partition.
    pub partitions: Vec<PartitionAudit>,
    /// Objects of older layouts, which have no offsets.
    pub legacy: u64,
    /// Keys that are no records.
    pub ignored: u64,
}

/// Audits a lake.
pub async fn audit(lake: &Lake, options: &AuditOptions) -> Result<LakeAudit, ArchiveError> {
    audit_listed(lake, options, &list(lake, &options.topics).await?).await
}

/// Audits the objects of a listing that was made of the same topics.
pub(crate) async fn audit_listed(
    lake: &Lake,
    options: &AuditOptions,
    listing: &Listing,
) -> Result<LakeAudit, ArchiveError> {
    let place = |object: &Object| match object.place {
        Place::Log { partition, .. } => Some((object.topic, partition)),
        Place::Legacy => None,
    };
    let mut audit = LakeAudit {
        ignored: listing.ignored,
        ..LakeAudit::default()
    };
    for own in listing.objects.chunk_by(|a, b| place(a) == place(b)) {
        match place(&own[0]) {
            Some((Some(topic), partition)) => {
                let looking = Look {
                    lake,
                    options,
                    objects: own,
                };
                let name = &options.topics[usize::from(topic)];
                audit.partitions.push(looking.partition(name, partition).await?);
            }
            _ => audit.legacy += own.len() as u64,
        }
    }
    Ok(audit)
}

struct Look<'a> {
    lake: &'a Lake,
    options: &'a AuditOptions,
    /// Of one partition, by start.
    objects: &'a [Object],
}

impl Look<'_> {
    fn start(&self, index: usize) -> Offset {
        match self.objects[index].place {
            Place::Log { start, .. } => start,
            Place::Legacy => Offset(-1),
        }
    }

    async fn partition(&self, topic: &str, partition: Partition) -> Result<PartitionAudit, ArchiveError> {
        let objects = self.objects;
        let mut found = PartitionAudit {
            topic: topic.to_owned(),
            partition,
            objects: objects.len() as u64,
            bytes: objects.iter().map(|object| object.size).sum(),
            small: objects
                .iter()
                .filter(|object| object.size < self.options.small_bytes)
                .count() as u64,
            ..PartitionAudit::default()
        };
        let mut trusted = self.trusted();
        let mut counted = self.examine(&trusted, &mut found).await?;
        let mut coverage = self.coverage(&trusted, &counted);
        let at_name = trusted.iter().filter(|trusted| **trusted).count();
        if !coverage.holes.is_empty() && (1..=SECOND_LOOK).contains(&at_name) {
            // a larger object may hide among those that were taken at their name
            let unseen: Vec<bool> = trusted.iter().map(|trusted| !trusted).collect();
            counted.extend(self.examine(&unseen, &mut found).await?);
            trusted.fill(false);
            coverage = self.coverage(&trusted, &counted);
        }
        found.overlapping = coverage.overlaps.count();
        if !coverage.overlaps.is_empty() {
            found.differing = self.differing(&counted, &trusted, &coverage.overlaps).await?;
        }
        found.covered = coverage.ranges;
        found.holes = coverage.holes;
        found.inexact = coverage.inexact.len() as u64;
        found.conflicts = coverage.conflicts;
        Ok(found)
    }

    /// Which objects are taken at their name.
    fn trusted(&self) -> Vec<bool> {
        let mut sizes: Vec<u64> = self.objects.iter().map(|object| object.size).collect();
        let middle = sizes.len() / 2;
        let median = *sizes.select_nth_unstable(middle).1;
        let usual = 1..=4 * median + 256;
        let one = |index: usize| {
            let next = index + 1 < self.objects.len() && self.start(index + 1) - self.start(index) == 1;
            next && !self.options.deep && usual.contains(&self.objects[index].size)
        };
        (0..self.objects.len()).map(one).collect()
    }

    /// Looks at the objects that are not trusted, and notes what is wrong with them.
    async fn examine(&self, trusted: &[bool], found: &mut PartitionAudit) -> Result<Vec<Counted>, ArchiveError> {
        let wanted: Vec<usize> = (0..trusted.len()).filter(|index| !trusted[*index]).collect();
        found.examined += wanted.len() as u64;
        let mut examined = if self.options.deep {
            let mut examined = Vec::new();
            examine::read(
                self.lake,
                self.objects,
                wanted,
                |_, _, _| {},
                |done| examined.push(done),
            )
            .await?;
            examined
        } else {
            examine::recorded(self.lake, self.objects, wanted).await?
        };
        examined.sort_by_key(|examined| examined.index);
        let mut counted = Vec::with_capacity(examined.len());
        for examined in examined {
            if let Some(what) = self.fault(&examined) {
                found.faulty += 1;
                if found.faults.len() < EXAMPLES {
                    let object = self.objects[examined.index].key.clone();
                    found.faults.push(Fault { object, what });
                }
            }
            counted.extend(self.trim(examined));
        }
        Ok(counted)
    }

    /// What an object stands for; one that has fewer lines than its writer recorded stands for these alone.
    fn trim(&self, mut examined: Examined) -> Option<Counted> {
        let recorded = examined.metadata.count;
        if examined.error.is_some() || recorded.is_some_and(|recorded| examined.lines < recorded) {
            examined.metadata.covers = None;
        }
        examined.counted(&self.objects[examined.index])
    }

    fn fault(&self, examined: &Examined) -> Option<String> {
        let object = &self.objects[examined.index];
        let start = self.start(examined.index);
        let Examined {
            lines, metadata, error, ..
        } = examined;
        if let Some(error) = error {
            return Some(causes::with_causes(error));
        }
        if let Some(count) = metadata.count.filter(|count| count != lines) {
            return Some(format!("it holds {lines} records, its writer recorded {count}"));
        }
        if let Some(bytes) = metadata.bytes.filter(|bytes| *bytes != object.size) {
            return Some(format!("it has {} bytes, its writer recorded {bytes}", object.size));
        }
        let end = start.plus(*lines);
        if let Some(recorded) = metadata.end.filter(|recorded| *recorded != end) {
            return Some(format!(
                "its {lines} records end at {end}, its writer recorded {recorded}"
            ));
        }
        if let Some(covers) = metadata
            .covers
            .as_ref()
            .filter(|covers| covers.start > start || covers.end < end)
        {
            return Some(format!("it holds {start}..{end}, its writer recorded {covers:?}"));
        }
        None
    }

    fn coverage(&self, trusted: &[bool], counted: &[Counted]) -> crate::coverage::Coverage {
        let mut all = Vec::with_capacity(counted.len() + 16);
        all.extend_from_slice(counted);
        // a stretch of objects with one record each is as good as one object
        let mut index = 0;
        while index < trusted.len() {
            let begin = index;
            while index < trusted.len()
                && trusted[index]
                && self.start(index) - self.start(begin) == (index - begin) as i64
            {
                index += 1;
            }
            if index > begin {
                all.push(Counted {
                    topic: self.objects[begin].topic.unwrap_or(0),
                    partition: Partition(0),
                    start: self.start(begin),
                    lines: (index - begin) as u64,
                    covers: None,
                    object: begin as u32,
                });
            }
            index = index.max(begin + 1);
        }
        all.iter_mut().for_each(|counted| counted.partition = self.number());
        coverage(&all, &self.options.topics)
            .into_values()
            .next()
            .unwrap_or_default()
    }

    fn number(&self) -> Partition {
        match self.objects[0].place {
            Place::Log { partition, .. } => partition,
            Place::Legacy => Partition(-1),
        }
    }

    /// Reads all objects that hold any of these offsets, and compares their copies.
    async fn differing(
        &self,
        counted: &[Counted],
        trusted: &[bool],
        overlaps: &RangeSet,
    ) -> Result<RangeSet, ArchiveError> {
        let touches = |range: Range<Offset>| !overlaps.within(range).is_empty();
        let held = |counted: &&Counted| touches(counted.start..counted.start.plus(counted.lines));
        let mut wanted: Vec<usize> = counted
            .iter()
            .filter(held)
            .map(|counted| counted.object as usize)
            .collect();
        wanted.extend((0..trusted.len()).filter(|index| trusted[*index] && overlaps.contains(self.start(*index))));
        wanted.retain(|index| !self.objects[*index].deletes);
        let mut lines: HashMap<usize, Offset> = HashMap::new();
        let mut seen: HashMap<Offset, u64> = HashMap::new();
        let mut differing = RangeSet::default();
        let compare = |index: usize, metadata: &ObjectMetadata, chunk: &[u8]| {
            let at = lines.entry(index).or_insert_with(|| self.start(index));
            for line in chunk.split_inclusive(|byte| *byte == b'\n') {
                let offset = std::mem::replace(at, at.next());
                if overlaps.contains(offset) {
                    let hash = record_hash(line.trim_ascii_end(), metadata.is_ours());
                    if *seen.entry(offset).or_insert(hash) != hash {
                        differing.insert(offset..offset.next());
                    }
                }
            }
        };
        examine::read(self.lake, self.objects, wanted, compare, |_| {}).await?;
        Ok(differing)
    }
}

/// Of the record, not of the way in which its writer prints JSON or wraps what is none.
fn record_hash(line: &[u8], ours: bool) -> u64 {
    let value = match ours.then(|| original(line)).flatten() {
        Some(Original::Value(value)) => Cow::Owned(value),
        // no other writer has a line for it
        Some(Original::Tombstone(_)) | None => Cow::Borrowed(line),
    };
    let line = value.trim_ascii_end();
    match serde_json::from_slice::<serde_json::Value>(line) {
        Ok(value) => xxhash_rust::xxh3::xxh3_64(value.to_string().as_bytes()),
        Err(_) => xxhash_rust::xxh3::xxh3_64(line),
    }
}
