//! What a lake covers of the log: ranges, gaps, inexact objects, and where live reading takes over. Pure functions over
//! what was counted while reading; nothing here reads.
//!
//! **Assigned range.** An object is taken to hold the offsets `start .. start + lines`; its writer's `covers` metadata,
//! when there is some, says instead what it stands for. Offsets only grow inside an object, so a record's true offset is
//! never below the assigned one.
//!
//! **Exact.** An object is exact when its writer says what it covers, or when its end is where another object starts, or
//! the end of its partition's history. Any other object is *inexact*: records are missing inside it or after it
//! (compaction, markers, a shortened or lost object), so no frontier may lie inside it. Order inside it still holds.
//!
//! **Unproved.** Of the exact objects some are taken for it on trust: the last one of a partition, because nothing comes
//! after it that its end could meet, and one that only meets objects of our own archiver, which continues wherever history
//! seems to end. If records are missing inside such an object, its end is too low and its later lines stand for other
//! offsets than `start + line`. [`Coverage::unproved`] names them; whoever builds more than an order on their offsets
//! (what is settled, what covers what) treats them as inexact. An object of one line is always proved: its offset is
//! its name.
//!
//! **Conflict.** Inexact objects whose assigned ranges overlap interleave: another writer's time partitions, or values
//! and tombstones in folders of their own. Their order cannot be known from the lake. Where exact objects hold the same
//! offsets nothing is at stake, because their copies have the true positions.
//!
//! **History** of a partition begins at its first object (the first offset often is not 0) and ends at the contiguous
//! end after accepted and filled holes are counted as covered.

mod gap;
mod ranges;

pub use gap::{AcceptGap, AcceptGapError, Accepted, Gap, OrderConflict};
pub use ranges::{RangeError, RangeSet};

use crate::lake::Object;
use crate::topic_partition::TopicPartition;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use values::{Offset, Partition};
use xxhash_rust::xxh3::Xxh3;

/// What reading one object of the log showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The topic's number.
    pub topic: u8,
    /// The Kafka partition.
    pub partition: Partition,
    /// The offset in the object's name.
    pub start: Offset,
    /// The lines read, rejected ones included.
    pub lines: u64,
    /// What the object's writer says it covers.
    pub covers: Option<Range<Offset>>,
    /// The caller's number of the object (its place in the listing).
    pub object: u32,
}

/// An object in which `start + line` is not known to be a record's offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Inexact {
    /// The caller's number of the object.
    pub object: u32,
    /// Its first offset.
    pub from: Offset,
    /// The next place where a frontier may lie: the next start beyond its assigned range, or that range's end.
    pub to: Offset,
}

/// The coverage of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The name of its topic.
    pub topic: String,
    /// The Kafka partition.
    pub partition: Partition,
    /// Covered offsets; begins at the first object.
    pub ranges: RangeSet,
    /// What is missing between the first and the last covered offset, in order.
    pub holes: Vec<Gap>,
    /// Inexact objects by (from, object).
    pub inexact: Vec<Inexact>,
    /// Objects that are taken for exact although nothing proves it, by (from, object); none of them is in `inexact`.
    pub unproved: Vec<Inexact>,
    /// Where inexact objects interleave, in order.
    pub conflicts: Vec<OrderConflict>,
    /// Offsets that more than one object holds. Harmless, for the audit.
    pub overlaps: RangeSet,
}

/// The coverage of every partition that has an object, by its numbers. `topics[n]` names topic `n`.
pub fn coverage<T: AsRef<str>>(objects: &[Counted], topics: &[T]) -> BTreeMap<TopicPartition, Coverage> {
    let mut partitions: BTreeMap<TopicPartition, Vec<&Counted>> = BTreeMap::new();
    for object in objects {
        partitions.entry(object.at()).or_default().push(object);
    }
    let cover = |(at, mut objects): (TopicPartition, Vec<&Counted>)| {
        objects.sort_by_key(|object| (object.start, object.object));
        let name = topics.get(usize::from(at.topic)).map_or("?", |name| name.as_ref());
        (at, cover_partition(name, at.partition, &objects))
    };
    partitions.into_iter().map(cover).collect()
}

impl Counted {
    /// What reading the `number`-th object to its end showed; `None` for an object without offsets.
    pub fn of(object: &Object, number: u32, lines: u64, covers: Option<Range<Offset>>) -> Option<Counted> {
        let (topic, partition, start) = object.log_place()?;
        Some(Counted {
            topic,
            partition,
            start,
            lines,
            covers,
            object: number,
        })
    }

    /// The partition that the object is of.
    pub fn at(&self) -> TopicPartition {
        TopicPartition {
            topic: self.topic,
            partition: self.partition,
        }
    }

    /// The offsets that the object stands for.
    fn assigned(&self) -> Range<Offset> {
        match &self.covers {
            Some(covers) => covers.clone(),
            None => self.start..self.start.plus(self.lines),
        }
    }
}

/// `objects` in order of their starts.
fn cover_partition(topic: &str, partition: Partition, objects: &[&Counted]) -> Coverage {
    let mut coverage = Coverage {
        topic: topic.to_string(),
        partition,
        ..Coverage::default()
    };
    let mut exact = RangeSet::default();
    for object in objects {
        let assigned = object.assigned();
        for covered in coverage.ranges.within(assigned.clone()) {
            coverage.overlaps.insert(covered);
        }
        coverage.ranges.insert(assigned);
    }
    let end = coverage.end();
    let starts: HashSet<Offset> = objects.iter().map(|object| object.assigned().start).collect();
    // an object of another writer begins with a record that it was given after those before it
    let of_others = objects.iter().filter(|object| object.covers.is_none());
    let of_others: HashSet<Offset> = of_others.map(|object| object.start).collect();
    let mut inexact = Vec::new();
    for object in objects {
        let assigned = object.assigned();
        let meets = starts.contains(&assigned.end) || Some(assigned.end) == end;
        if !(object.covers.is_some() || meets || assigned.is_empty()) {
            inexact.push((object.object, assigned));
            continue;
        }
        if object.covers.is_none() && object.lines > 1 && !of_others.contains(&assigned.end) {
            coverage.unproved.push(Inexact {
                object: object.object,
                from: assigned.start,
                to: assigned.end,
            });
        }
        exact.insert(assigned);
    }
    let edge = |offset: Offset| {
        let next = objects.partition_point(|object| object.start < offset);
        objects.get(next).map_or(offset, |object| object.start)
    };
    let inexact_object = |(object, assigned): &(u32, Range<Offset>)| Inexact {
        object: *object,
        from: assigned.start,
        to: edge(assigned.end),
    };
    coverage.inexact = inexact.iter().map(inexact_object).collect();
    coverage.conflicts = conflicts(&inexact, &exact)
        .map(|run| OrderConflict {
            topic: topic.to_string(),
            partition,
            from: run.start,
            to: edge(run.end),
        })
        .collect();
    coverage.holes = coverage
        .ranges
        .holes()
        .map(|hole| Gap::new(topic, partition, hole))
        .collect();
    coverage
}

/// Runs of overlapping inexact objects (given in order of their starts) in which something is not held exactly too.
fn conflicts(inexact: &[(u32, Range<Offset>)], exact: &RangeSet) -> impl Iterator<Item = Range<Offset>> {
    let mut runs: Vec<(Range<Offset>, bool)> = Vec::new();
    for (_, assigned) in inexact {
        match runs.last_mut() {
            Some((run, interleaves)) if assigned.start < run.end => {
                let shared = assigned.start..run.end.min(assigned.end);
                *interleaves |= !exact.covers(shared);
                run.end = run.end.max(assigned.end);
            }
            _ => runs.push((assigned.clone(), false)),
        }
    }
    runs.into_iter()
        .filter(|(_, interleaves)| *interleaves)
        .map(|(run, _)| run)
}

impl Coverage {
    /// The first covered offset; history begins there. `None` when its objects are all empty.
    pub fn first(&self) -> Option<Offset> {
        self.ranges.iter().next().map(|range| range.start)
    }

    /// The offset after the last covered one.
    pub fn end(&self) -> Option<Offset> {
        self.ranges.iter().next_back().map(|range| range.end)
    }

    /// Where contiguous history ends when the offsets in `filled` (accepted gaps, natural holes, what Kafka gave again)
    /// count as covered.
    pub fn contiguous_end(&self, filled: &RangeSet) -> Option<Offset> {
        let mut whole = self.ranges.clone();
        for range in filled.iter() {
            whole.insert(range);
        }
        whole.end_of(self.first()?)
    }

    /// The nearest offset at or below `offset` at which a frontier may lie: never inside an inexact object, never
    /// inside a conflict.
    pub fn frontier_at_or_below(&self, offset: Offset) -> Offset {
        let inexact = self.inexact.iter().map(|object| object.from..object.to);
        let conflicts = self.conflicts.iter().map(|conflict| conflict.from..conflict.to);
        let mut barred = RangeSet::default();
        for range in inexact.chain(conflicts) {
            // The first offset of a barred range is its edge, so touching ranges must not melt into one.
            barred.insert(range.start.next()..range.end);
        }
        barred.around(offset).map_or(offset, |range| range.start.previous())
    }
}

/// What is kept of history without offsets, to notice that it changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LegacyDigest {
    /// Objects of older layouts.
    pub objects: u64,
    /// Records in them.
    pub records: u64,
    /// xxh3 over their names, counts and contents, whatever the order they are given in.
    pub hash: u64,
}

/// An object of an older layout, as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LegacyObject<'a> {
    /// Its key.
    pub key: &'a str,
    /// The records in it.
    pub records: u64,
    /// The digest of its content after decompression: what the fetcher says of it
    /// ([`Fetched::Done`](crate::lake::Fetched::Done)), the same for the same bytes in every store.
    pub digest: u64,
}

/// The digest over the objects that were read; those that were skipped are not among them.
pub fn legacy_digest<'a>(objects: impl IntoIterator<Item = LegacyObject<'a>>) -> LegacyDigest {
    let mut objects: Vec<LegacyObject<'_>> = objects.into_iter().collect();
    objects.sort_unstable();
    let mut hash = Xxh3::new();
    for object in &objects {
        // Lengths first, so that no two lists feed the same bytes.
        hash.update(&(object.key.len() as u64).to_le_bytes());
        hash.update(object.key.as_bytes());
        hash.update(&object.records.to_le_bytes());
        hash.update(&object.digest.to_le_bytes());
    }
    LegacyDigest {
        objects: objects.len() as u64,
        records: objects.iter().map(|object| object.records).sum(),
        hash: if objects.is_empty() { 0 } else { hash.digest() },
    }
}

#[cfg(test)]
mod tests;
