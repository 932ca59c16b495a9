//! Sparse objects: objects of other writers with holes inside, of which it is known where each line stands.
//!
//! An object's name says where it starts, and its lines do not say where the holes are. They are known where Kafka gave the
//! records to a reader or was asked for them, and the object has exactly as many lines as records were there before the next
//! object: then its lines stand at the offsets that had a record, in order. Whatever reads the object later places them
//! there too, after retention as before: else a record might stand on the other side of a generation's boundary, or before
//! one of another partition, than it stood when it came from Kafka.
//!
//! An object is known again by its version in the store, or else by its number of lines.

use ingest::Offset;
use ingest::coverage::RangeSet;
use ingest::lake::Object;
use std::collections::BTreeMap;
use std::ops::Range;
use twox_hash::XxHash3_64;

/// Holes in objects that are kept of a partition, beyond which those of the oldest objects are forgotten.
const MOST: usize = 8_192;
/// Objects that are kept of a partition, with or without their holes.
const MOST_OBJECTS: usize = 16_384;

/// See the module's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparseObject {
    /// Its lines.
    pub lines: u64,
    /// The version of its content, where the store says one.
    pub version: Option<u64>,
    /// Where the next object starts.
    pub end: Offset,
    /// The offsets up to there that hold no record; none where there were too many to be kept.
    pub holes: RangeSet,
}

impl SparseObject {
    /// An object of so many lines when its records are all that lie in `reach`, whose `empty` offsets hold none; `None` when
    /// there are more or fewer of them, and for an object without holes inside.
    pub fn prove(reach: Range<Offset>, lines: u64, version: Option<u64>, empty: &RangeSet) -> Option<SparseObject> {
        let holes: RangeSet = empty.within(reach.clone()).into_iter().collect();
        let records = reach.start.abs_diff(reach.end) - holes.count();
        // its first record stood at its start: where it does not any more, others are gone as well
        let proved = records == lines && lines > 0 && !holes.contains(reach.start);
        let is_sparse = may_be_sparse(&holes, reach.clone());
        (proved && is_sparse).then_some(SparseObject {
            lines,
            version,
            end: reach.end,
            holes,
        })
    }

    /// Whether it is known where its lines stand, and not only how far it reaches.
    pub fn is_placed(&self) -> bool {
        !self.holes.is_empty()
    }

    /// The version of an object's content, where its store says one.
    pub fn version_of(object: &Object) -> Option<u64> {
        let tag = object.etag.as_ref()?;
        Some(XxHash3_64::oneshot_with_seed(object.size, tag.as_bytes()))
    }
}

/// The offsets that the records of an object may have, when all of them are answered for: to where the next object
/// starts. Of the last object nothing shows where it ends; that as many records lie before the frontier as it has lines may
/// be chance, if its writer is ahead or behind.
pub fn reach(start: Offset, follower: Option<Offset>, next: Offset) -> Option<Range<Offset>> {
    let reach = start..follower?;
    (!reach.is_empty() && reach.end <= next).then_some(reach)
}

/// Whether an object whose records lie in `reach` may have holes inside, judging by offsets that hold no record: not when
/// all of them lie behind it.
pub fn may_be_sparse(empty: &RangeSet, reach: Range<Offset>) -> bool {
    let first = empty.within(reach.clone()).into_iter().next();
    first.is_some_and(|hole| hole.end < reach.end)
}

/// The sparse objects of a partition by their first offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SparseObjects {
    objects: BTreeMap<Offset, SparseObject>,
    /// Holes of all of them.
    holes: usize,
}

impl SparseObjects {
    /// Adds an object.
    pub fn insert(&mut self, start: Offset, mut object: SparseObject) {
        let holes = |object: &SparseObject| object.holes.iter().count();
        if holes(&object) > MOST {
            object.holes = RangeSet::default();
        }
        self.holes += holes(&object);
        if let Some(replaced) = self.objects.insert(start, object) {
            self.holes -= holes(&replaced);
        }
        if self.holes > MOST {
            for oldest in self.objects.values_mut() {
                self.holes -= holes(oldest);
                oldest.holes = RangeSet::default();
                if self.holes <= MOST {
                    break;
                }
            }
        }
        if self.objects.len() > MOST_OBJECTS
            && let Some((_, oldest)) = self.objects.pop_first()
        {
            self.holes -= holes(&oldest);
        }
    }

    /// The object that starts here.
    pub fn get(&self, start: Offset) -> Option<&SparseObject> {
        self.objects.get(&start)
    }

    /// The objects in order.
    pub fn iter(&self) -> impl Iterator<Item = (Offset, &SparseObject)> {
        self.objects.iter().map(|(start, object)| (*start, object))
    }

    /// The holes of all of them.
    pub fn holes(&self) -> impl Iterator<Item = Range<Offset>> {
        self.objects.values().flat_map(|object| object.holes.iter())
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // a list of one range is meant
mod tests {
    use super::*;

    fn set(ranges: &[Range<i64>]) -> RangeSet {
        ranges.iter().cloned().map(Offset::range).collect()
    }

    #[test]
    fn an_object_with_as_many_lines_as_records_has_its_lines_between_the_holes() {
        let reach = Offset::range(10..20);
        let prove = |lines, empty: &[Range<i64>]| SparseObject::prove(reach.clone(), lines, Some(7), &set(empty));
        let sparse = prove(7, &[5..6, 12..13, 15..16, 19..30]).unwrap();
        assert_eq!(sparse.holes, set(&[12..13, 15..16, 19..20]));
        assert_eq!(sparse.end, Offset(20));
        // one more line than records, and one fewer
        assert_eq!(prove(8, &[12..13, 15..16, 19..20]), None);
        assert_eq!(prove(6, &[12..13, 15..16, 19..20]), None);
        // nothing is inside
        assert_eq!(prove(9, &[19..20]), None);
        assert_eq!(prove(10, &[]), None);
        assert_eq!(prove(0, &[10..20]), None);
        // its first record is gone from Kafka
        assert_eq!(prove(8, &[10..11, 15..16]), None);
    }

    #[test]
    fn an_object_that_is_not_answered_for_as_a_whole_has_no_reach() {
        let reach = |follower: Option<i64>, next| reach(Offset(10), follower.map(Offset), Offset(next));
        assert_eq!(reach(Some(20), 20), Some(Offset::range(10..20)));
        assert_eq!(reach(Some(20), 19), None);
        // of the last one nothing shows the end
        assert_eq!(reach(None, 15), None);
    }

    #[test]
    fn holes_that_all_lie_behind_an_object_are_none_of_its_own() {
        let may = |empty: &[Range<i64>]| may_be_sparse(&set(empty), Offset::range(10..20));
        assert!(may(&[12..13]) && may(&[12..13, 18..20]));
        assert!(!may(&[18..20]) && !may(&[18..25]) && !may(&[5..9, 20..30]) && !may(&[]));
    }

    #[test]
    fn the_oldest_objects_are_forgotten_first() {
        let mut objects = SparseObjects::default();
        let object = |holes: usize| SparseObject {
            lines: 1,
            version: None,
            end: Offset::MAX,
            holes: (0..holes as i64)
                .map(|hole| Offset::range(2 * hole..2 * hole + 1))
                .collect(),
        };
        for start in 0..3 {
            objects.insert(Offset(start), object(MOST / 2));
        }
        let placed = |objects: &SparseObjects| {
            let placed = objects.iter().filter(|(_, object)| object.is_placed());
            placed.map(|(start, _)| start.0).collect::<Vec<_>>()
        };
        assert_eq!(placed(&objects), [1, 2]);
        // how far it reaches stays known
        assert_eq!(objects.get(Offset(0)).map(|object| object.end), Some(Offset::MAX));
        // one that comes again is counted once, and one that is too large replaces no other
        objects.insert(Offset(2), object(MOST / 2));
        objects.insert(Offset(3), object(MOST + 1));
        assert_eq!((placed(&objects), objects.iter().count()), (vec![1, 2], 4));
        for start in 4..MOST_OBJECTS as i64 + 1 {
            objects.insert(Offset(start), object(0));
        }
        assert_eq!(objects.iter().next().map(|(start, _)| start.0), Some(1));
    }
}
