//! The objects of the lake: which of them are persisted, and what reading them has shown.

use crate::archived::ArchivedRange;
use crate::log::persisted::Starts;
use crate::log::sparse::{SparseObject, SparseObjects};
use crate::protocol::{LinesHash, ObjectRead};
use ingest::coverage::{Counted, Coverage, LegacyObject, RangeSet};
use ingest::lake::{Listing, Object, Place};
use ingest::{Offset, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The objects of the lake, and what reading them has shown; by default no objects, as without a lake.
#[derive(Default)]
pub struct LakeRead {
    /// All objects, older layouts first: an object's number is its place here, from 1.
    pub(super) objects: Vec<Object>,
    /// Names of topics in the lake that are not ours.
    pub other_topics: Vec<String>,
    /// What reading an object to its end has shown, by number.
    pub(super) counted: BTreeMap<u32, ObjectRead>,
    /// Objects that are damaged, by number, with where they end as far as their writers have recorded it.
    pub(super) damaged: BTreeMap<u32, Option<Offset>>,
    /// Objects of which everything was staged although the sink may hold some of it.
    pub(super) restaged: BTreeSet<u32>,
    /// Objects with holes inside of which it is known where their lines stand, by number.
    pub(super) sparse: BTreeMap<u32, SparseObject>,
    /// Those of them that were placed otherwise when the tables were written last.
    pub(super) placed_anew: BTreeSet<u32>,
    /// Objects that have turned out in this pass to have holes inside, after their lines were placed without them.
    pub(super) found: BTreeMap<u32, SparseObject>,
}

impl LakeRead {
    /// A lake of which nothing is read yet, by its first listing.
    pub fn of(listing: Listing) -> LakeRead {
        let mut objects = listing.objects;
        // older layouts first: their number is their rank, and it shares bits with the records' indexes
        objects.sort_by_key(|object| !matches!(object.place, Place::Legacy));
        LakeRead {
            objects,
            other_topics: listing.other_topics,
            ..LakeRead::default()
        }
    }

    /// All objects.
    pub fn objects(&self) -> &[Object] {
        &self.objects
    }

    /// The object of this number.
    pub fn object(&self, id: u32) -> &Object {
        &self.objects[id as usize - 1]
    }

    /// Adds what a second listing shows and the first one did not. Older layouts are left out, since what was read has
    /// taken their numbers; the next start takes them in. So are partitions that are not `known`: those are growth.
    pub fn add(&mut self, listed: Vec<Object>, known: impl Fn(TopicPartition) -> bool) {
        let keys: BTreeSet<&str> = self.objects.iter().map(|object| object.key.as_str()).collect();
        let partitions: BTreeSet<TopicPartition> =
            self.objects.iter().filter_map(log_place).map(|(at, _)| at).collect();
        let fresh = |object: &Object| {
            let of_known = log_place(object).is_some_and(|(at, _)| partitions.contains(&at) || known(at));
            of_known && !keys.contains(object.key.as_str())
        };
        let fresh: Vec<Object> = listed.into_iter().filter(|object| fresh(object)).collect();
        self.objects.extend(fresh);
    }

    /// Forgets what an earlier pass has shown, but for where lines stand.
    pub fn begin_pass(&mut self) {
        (self.counted, self.damaged, self.restaged) = Default::default();
        self.placed_anew.extend(self.found.keys());
        self.sparse.append(&mut self.found);
        self.forget_surplus_holes();
    }

    /// What reading has shown, by number.
    pub fn counted(&self) -> impl Iterator<Item = (u32, &Object, &ObjectRead)> {
        self.counted.iter().map(|(id, read)| (*id, self.object(*id), read))
    }

    /// Lines of the object of this number.
    pub fn lines(&self, id: u32) -> u64 {
        self.counted.get(&id).map_or(0, |read| read.lines)
    }

    /// The holes inside the object of this number, as far as they are known.
    pub fn holes(&self, id: u32) -> RangeSet {
        self.sparse
            .get(&id)
            .map(|object| object.holes.clone())
            .unwrap_or_default()
    }

    /// Whether the lines of the object of this number are placed between its holes.
    pub fn is_placed(&self, id: u32) -> bool {
        self.sparse.get(&id).is_some_and(SparseObject::is_placed)
    }

    /// The sparse objects of each partition, those that were found in this pass with them.
    pub fn sparse_objects(&self) -> BTreeMap<TopicPartition, SparseObjects> {
        let mut objects: BTreeMap<TopicPartition, SparseObjects> = BTreeMap::new();
        for (id, object) in self.sparse.iter().chain(&self.found) {
            if let Some((at, start)) = log_place(self.object(*id)) {
                objects.entry(at).or_default().insert(start, object.clone());
            }
        }
        objects
    }

    /// Forgets the holes that are not kept: what reads the tables later is to place lines as this run does.
    pub fn forget_surplus_holes(&mut self) {
        if self.sparse.is_empty() {
            return;
        }
        let kept = self.sparse_objects();
        let is_kept = |id: &u32| {
            let (at, start) = log_place(self.object(*id))?;
            Some(kept.get(&at)?.get(start)?.is_placed())
        };
        let surplus: Vec<u32> = self
            .sparse
            .keys()
            .filter(|id| is_kept(id) != Some(true))
            .copied()
            .collect();
        for id in surplus {
            self.sparse
                .entry(id)
                .and_modify(|object| object.holes = RangeSet::default());
        }
    }

    /// The sparse object of a counted one, if its lines were placed between holes up to its end.
    fn placed(&self, object: &Counted) -> Option<&SparseObject> {
        let sparse = self.sparse.get(&object.object)?;
        (object.covers.is_none() && object.lines == sparse.lines).then_some(sparse)
    }

    /// The offsets of a partition's objects whose lines are placed between their holes.
    pub fn reach_of_placed(&self, at: TopicPartition) -> impl Iterator<Item = Range<Offset>> {
        self.sparse.iter().filter_map(move |(id, object)| {
            let (of, start) = log_place(self.object(*id))?;
            (of == at && object.is_placed()).then_some(start..object.end)
        })
    }

    /// The offsets of sparse objects of which it is not known where their lines stand.
    pub fn unplaced(&self) -> impl Iterator<Item = (TopicPartition, Range<Offset>)> {
        let unplaced = self.sparse.iter().filter(|(_, object)| !object.is_placed());
        unplaced.filter_map(|(id, object)| {
            let (at, start) = log_place(self.object(*id))?;
            Some((at, start..object.end))
        })
    }

    /// An object that has other lines than when its holes became known: it was replaced since it was listed.
    pub fn replaced_sparse(&self) -> Option<&Object> {
        let other = |(id, object): &(&u32, &SparseObject)| {
            let read = self.counted.get(id).filter(|_| !self.is_damaged(**id));
            read.is_some_and(|read| read.covers.is_none() && read.lines != object.lines)
        };
        let (id, _) = self.sparse.iter().find(other)?;
        Some(self.object(*id))
    }

    /// Whether the object of this number is damaged.
    pub fn is_damaged(&self, id: u32) -> bool {
        self.damaged.contains_key(&id)
    }

    /// The damaged objects.
    pub fn damaged(&self) -> impl Iterator<Item = (u32, &Object)> {
        self.damaged.keys().map(|id| (*id, self.object(*id)))
    }

    /// How far the records reach that a damaged object lacks, where reading it has come to `from`: to the end that its
    /// writer has recorded, or else to the next object. `None` when there is no such object, or nothing says its end.
    pub fn lost_from(&self, at: TopicPartition, from: Offset) -> Option<Offset> {
        let starts = || self.objects.iter().filter_map(log_place).filter(|(of, _)| *of == at);
        let lost = |(id, end): (&u32, &Option<Offset>)| {
            let (of, start) = log_place(self.object(*id))?;
            let stopped_here = of == at && start.plus(self.lines(*id)) == from;
            let next = || starts().map(|(_, other)| other).filter(|other| *other > start).min();
            stopped_here.then(|| end.or_else(next)).flatten()
        };
        self.damaged.iter().filter_map(lost).max()
    }

    /// The objects of the log as coverage is computed from them.
    pub fn of_log(&self) -> impl Iterator<Item = Counted> {
        self.counted().filter_map(|(id, object, read)| {
            let covers = read.covers.map(|(from, to)| from..to);
            Counted::of(object, id, read.lines, covers)
        })
    }

    /// What the objects read so far cover, per partition.
    pub fn coverage(&self, names: &[&str]) -> BTreeMap<TopicPartition, Coverage> {
        let counted: Vec<Counted> = self.of_log().collect();
        let mut coverage = ingest::coverage::coverage(&counted, names);
        // their lines alone do not show how far they reach
        for object in &counted {
            if let (Some(sparse), Some(of)) = (self.placed(object), coverage.get_mut(&object.at())) {
                of.ranges.insert(object.start..sparse.end);
            }
        }
        coverage
    }

    /// The history without offsets: its records, and a hash of its objects.
    pub fn legacy(&self) -> Option<(u64, u64)> {
        let legacy = self.counted().filter(|(_, object, _)| log_place(object).is_none());
        let legacy = legacy.map(|(_, object, read)| LegacyObject {
            key: object.key.as_str(),
            records: read.lines,
            digest: read.digest.unwrap_or_default(),
        });
        let digest = ingest::coverage::legacy_digest(legacy);
        (digest.objects > 0).then_some((digest.records, digest.hash))
    }

    /// The starts of all objects of the log.
    pub fn starts(&self) -> Starts {
        self.objects.iter().filter_map(log_place).collect()
    }

    /// Per partition, hashes of the lines of its objects, added up. An object that lies within another one is left out:
    /// it may have been merged into it.
    pub fn hashes(&self) -> BTreeMap<TopicPartition, LinesHash> {
        let mut objects: Vec<Counted> = self.of_log().collect();
        objects.sort_by_key(|object| (object.topic, object.partition, object.start, u64::MAX - object.lines));
        let mut hashes: BTreeMap<TopicPartition, (LinesHash, Offset)> = BTreeMap::new();
        for object in objects {
            let (hash, end) = hashes
                .entry(object.at())
                .or_insert((LinesHash::default(), Offset(i64::MIN)));
            let own_end = object.start.plus(object.lines);
            if own_end > *end {
                *end = own_end;
                *hash += self
                    .counted
                    .get(&object.object)
                    .map_or_else(LinesHash::default, |read| read.lines_hash);
            }
        }
        hashes.into_iter().map(|(at, (hash, _))| (at, hash)).collect()
    }

    /// The objects of the log with the offsets that their records may have.
    pub fn archived(&self) -> Vec<ArchivedRange> {
        let starts = self.starts();
        let archived = |object: Counted| ArchivedRange::of(&object, &starts, self.placed(&object));
        self.of_log().map(archived).collect()
    }

    /// Offsets whose rejects the staged ones replace: those of objects that were staged again as a whole.
    pub fn replaced(&self) -> Vec<(TopicPartition, Range<Offset>)> {
        let starts = self.starts();
        let restaged = self.of_log().filter(|object| self.restaged.contains(&object.object));
        let with_reach = |object: Counted| {
            let at = object.at();
            (at, starts.reach(&object))
        };
        restaged
            .filter(|object| object.covers.is_none())
            .map(with_reach)
            .collect()
    }
}

/// The place of an object of the log.
pub(super) fn log_place(object: &Object) -> Option<(TopicPartition, Offset)> {
    let (topic, partition, start) = object.log_place()?;
    Some((TopicPartition { topic, partition }, start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::Partition;
    use ingest::lake::Encoding;

    fn object(key: &str, partition: Option<i32>, start: i64) -> Object {
        Object {
            key: key.into(),
            size: 1,
            etag: None,
            topic: partition.map(|_| 0),
            place: partition.map_or(Place::Legacy, |partition| Place::Log {
                partition: Partition(partition),
                start: Offset(start),
            }),
            encoding: Encoding::Plain,
            deletes: false,
            sidecar: false,
        }
    }

    fn listed(objects: Vec<Object>) -> LakeRead {
        LakeRead::of(Listing {
            objects,
            ..Listing::default()
        })
    }

    #[test]
    fn a_second_listing_adds_objects_of_known_partitions_alone() {
        let mut read = listed(vec![object("p0", Some(0), 0), object("old", None, 0)]);
        assert_eq!(read.object(1).key, "old");
        let listed = vec![
            object("p0", Some(0), 0),
            object("late", Some(0), 5),
            object("seen in Kafka", Some(1), 0),
            object("grown", Some(2), 0),
            object("older", None, 0),
        ];
        read.add(listed, |at| at.partition == Partition(1));
        let keys: Vec<&str> = read.objects().iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, ["old", "p0", "late", "seen in Kafka"]);
    }

    #[test]
    fn what_a_damaged_object_lacks_ends_where_it_does() {
        let starts = [0, 100, 200, 300];
        let mut read = listed(starts.map(|start| object("o", Some(0), start)).into());
        let at = TopicPartition {
            topic: 0,
            partition: Partition(0),
        };
        let lines = |lines| ObjectRead {
            lines,
            ..ObjectRead::default()
        };
        read.counted.insert(2, lines(40));
        for (id, end) in [(2, None), (3, Some(250)), (4, None)] {
            read.damaged.insert(id, end.map(Offset));
        }
        let lost_from = |from| read.lost_from(at, Offset(from)).map(|to| to.0);
        assert_eq!(lost_from(140), Some(200), "the next object is damaged, too");
        assert_eq!(lost_from(200), Some(250), "its writer says so");
        assert_eq!(lost_from(300), None, "the end of the last one is not recorded");
        assert_eq!((lost_from(0), lost_from(100)), (None, None));
    }

    #[test]
    fn an_object_that_is_found_to_be_sparse_is_placed_in_the_next_pass() {
        let mut read = listed(vec![object("a", Some(0), 0), object("b", Some(0), 10)]);
        let at = TopicPartition {
            topic: 0,
            partition: Partition(0),
        };
        let sparse = SparseObject {
            lines: 8,
            version: None,
            end: Offset(10),
            holes: [Offset(3)..Offset(5)].into_iter().collect(),
        };
        read.found.insert(1, sparse.clone());
        assert!(read.holes(1).is_empty());
        assert_eq!(read.sparse_objects()[&at].get(Offset(0)), Some(&sparse));
        read.begin_pass();
        assert_eq!((read.holes(1), read.holes(2)), (sparse.holes, RangeSet::default()));
        assert!(read.placed_anew.contains(&1) && read.found.is_empty());
        // it was replaced by one of other lines since; a damaged one shows nothing
        let lines = |lines| ObjectRead {
            lines,
            ..ObjectRead::default()
        };
        read.counted.insert(1, lines(8));
        assert_eq!(read.replaced_sparse(), None);
        // it reaches beyond its lines
        assert!(read.coverage(&["pin"])[&at].ranges.covers(Offset(0)..Offset(10)));
        read.counted.insert(1, lines(7));
        assert_eq!(read.replaced_sparse().map(|object| object.key.as_str()), Some("a"));
        read.damaged.insert(1, None);
        assert_eq!(read.replaced_sparse(), None);
        // what a damaged one lacks is not covered
        assert!(!read.coverage(&["pin"])[&at].ranges.contains(Offset(8)));
    }

    #[test]
    fn lines_are_hashed_the_same_however_they_are_cut() {
        let hash = |offsets: std::ops::Range<i64>| {
            let mut hash = LinesHash::default();
            offsets.for_each(|offset| hash.add(Offset(offset), b"line", offset < 3));
            hash
        };
        let read = |objects: &[(i64, i64)]| {
            let mut read = listed(objects.iter().map(|(from, _)| object("o", Some(0), *from)).collect());
            for (id, (from, to)) in (1..).zip(objects) {
                let lines_hash = hash(*from..*to);
                let lines = from.abs_diff(*to);
                read.counted.insert(
                    id,
                    ObjectRead {
                        lines,
                        lines_hash,
                        ..ObjectRead::default()
                    },
                );
            }
            read.hashes()[&TopicPartition {
                topic: 0,
                partition: Partition(0),
            }]
        };
        let whole = read(&[(0, 6)]);
        assert_eq!(whole, hash(0..6));
        assert_eq!(read(&[(0, 2), (2, 6)]), whole);
        assert_eq!(
            read(&[(0, 6), (0, 2), (2, 6)]),
            whole,
            "merged, and the parts are still there"
        );
        assert_ne!(read(&[(0, 5)]).all, whole.all);
        assert_eq!(read(&[(0, 5)]).known, whole.known);
    }

    #[test]
    fn rejects_of_objects_that_are_staged_again_are_replaced() {
        let mut read = listed(vec![object("a", Some(0), 0), object("b", Some(0), 10)]);
        let lines = |lines, covers| ObjectRead {
            lines,
            covers,
            ..ObjectRead::default()
        };
        read.counted.insert(1, lines(5, None));
        read.counted.insert(2, lines(3, Some((Offset(10), Offset(13)))));
        read.restaged.extend([1, 2]);
        let at = TopicPartition {
            topic: 0,
            partition: Partition(0),
        };
        // five lines with offsets below 10; the other one has each record at its offset
        assert_eq!(read.replaced(), [(at, Offset::range(0..10))]);
    }
}
