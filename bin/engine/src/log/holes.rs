//! Holes of history: offsets where the log has no record, or none that the object before them lacks.
//!
//! Compaction, transaction markers and aborted records use up offsets. The lake does not show where: an object says
//! where it starts and how many records it has, so a marker in its middle looks like a hole at its end. Kafka can tell,
//! while it spans the hole: either there is no record in it, or Kafka holds exactly as many records from the object's
//! first offset to the hole's end as the object has lines.
//!
//! The last object of a partition has no hole behind it that could show. When Kafka has fewer records than lines in the
//! offsets that its lines would take, holes lie inside it ([`Tail`]), and its records reach at most to where Kafka has
//! given as many records as it has lines. They are then read from Kafka again: the count alone would take a newer record
//! for one that compaction has removed.
//!
//! A hole that a reader has passed without a record is proved as well. What is proved is kept with the frontier, because
//! retention passes the hole one day, and nothing can be proved then.

use super::sparse::SparseObject;
use ingest::Offset;
use ingest::coverage::{Counted, Coverage, RangeSet};
use std::borrow::Borrow;
use std::ops::Range;

/// Holes that are kept of a partition: they are written with its frontier.
pub const MOST: usize = 4096;
/// Suspects that lie closer together than this are counted in one range.
const NEAR: i64 = 4096;
/// The longest range: the places of its records are held in memory.
const LONGEST: u64 = 1 << 20;

/// A hole that may be natural.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// The missing offsets.
    pub hole: Range<Offset>,
    /// The object before it, when Kafka spans all of that object.
    object: Option<Before>,
}

/// The object before a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// Its number.
    pub object: u32,
    /// Its first offset.
    pub start: Offset,
    /// Its lines.
    pub lines: u64,
}

impl Suspect {
    /// The offsets in which Kafka's records have to be counted.
    pub fn read_range(&self) -> Range<Offset> {
        self.object.map_or(self.hole.start, |object| object.start)..self.hole.end
    }

    /// What the offsets that hold a record in Kafka say of the hole. In a topic that is `compacted` their number tells
    /// nothing: for each record that the object lacks, Kafka may have removed another one.
    pub fn judge(&self, arrived: &RangeSet, compacted: bool) -> Verdict {
        if records(arrived, self.hole.clone()) == 0 {
            return Verdict::Natural;
        }
        let Some(before) = self.object else {
            return Verdict::Lacking;
        };
        let empty: RangeSet = arrived.missing(self.read_range()).into_iter().collect();
        match SparseObject::prove(self.read_range(), before.lines, None, &empty) {
            Some(object) if !compacted => Verdict::Sparse(before, object),
            _ => Verdict::Doubtful,
        }
    }
}

/// What a hole is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is no record in it.
    Natural,
    /// The last records of the object before it stand in it, and none is missing.
    Sparse(Before, SparseObject),
    /// The object before it has to be read from Kafka again together with the hole: it lacks a record that Kafka has,
    /// perhaps not at its end, or Kafka has compacted it since, and nothing tells which of its records stand in the hole.
    Doubtful,
    /// Records are missing, and those in the hole alone.
    Lacking,
}

/// Cuts a range into parts that can be counted.
pub fn in_parts(range: Range<Offset>) -> Vec<Range<Offset>> {
    let starts = Offset::each(range.clone()).step_by(LONGEST as usize);
    starts.map(|start| start..range.end.min(start.plus(LONGEST))).collect()
}

/// How many of these offsets hold a record in Kafka.
pub fn records(arrived: &RangeSet, range: Range<Offset>) -> u64 {
    let parts = arrived.within(range).into_iter();
    parts.map(|part| part.end.abs_diff(part.start)).sum()
}

/// The last object of a partition, whose end nothing in the lake shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tail {
    /// Its first offset.
    pub start: Offset,
    /// Its lines.
    pub lines: u64,
}

impl Tail {
    /// The last object of a partition, when its lines are what history's end is known from.
    pub fn of(last: &Counted, coverage: &Coverage) -> Option<Tail> {
        let end = Offset(last.start.0.checked_add_unsigned(last.lines)?);
        let open = last.covers.is_none() && last.lines > 0 && coverage.end() == Some(end);
        open.then_some(Tail {
            start: last.start,
            lines: last.lines,
        })
    }

    /// Of some objects of a partition, the one that may be the last: its lines reach furthest. Where objects overlap, others
    /// may start behind it; of two that reach equally far the longer one has the last record.
    pub fn last<T: Borrow<Counted>>(objects: impl IntoIterator<Item = T>) -> Option<T> {
        objects.into_iter().max_by_key(|object| {
            let object: &Counted = object.borrow();
            (object.start.plus(object.lines), object.lines)
        })
    }

    /// What to count in Kafka next, when everything up to `seen` has been counted: nothing when its end is known or lies
    /// beyond `end`.
    pub fn next_stretch(&self, arrived: &RangeSet, seen: Offset, end: Offset) -> Option<Range<Offset>> {
        let missing = self.lines.checked_sub(records(arrived, self.start..seen))?;
        let until = match missing {
            0 => return None,
            // the first look takes the object for exact; later ones look for markers and the like
            _ if seen == self.start => seen.plus(missing),
            _ => seen.plus(missing.max(NEAR as u64)),
        };
        let read_range = seen..until.min(end).min(seen.plus(LONGEST));
        (!read_range.is_empty()).then_some(read_range)
    }

    /// The offsets that the object's records may have, when holes lie inside: nothing for an exact object. `seen` is how
    /// far Kafka was counted.
    pub fn reach(&self, arrived: &RangeSet, seen: Offset) -> Option<Range<Offset>> {
        let mut left = self.lines;
        let assigned_end = Offset(self.start.0.checked_add_unsigned(left)?);
        let mut end = seen;
        for range in arrived.within(self.start..seen) {
            let here = range.end.abs_diff(range.start);
            if left <= here {
                end = range.start.plus(left);
                break;
            }
            left -= here;
        }
        (assigned_end < end).then_some(self.start..end)
    }
}

/// Adds a hole; beyond [`MOST`] the oldest go, which the lake covers first.
pub fn keep(holes: &mut RangeSet, hole: Range<Offset>) {
    holes.insert(hole);
    holes.keep_last(MOST);
}

/// The holes of a partition's history that Kafka spans and that are not known to be natural, in order.
pub fn suspects(
    coverage: &Coverage,
    known: &RangeSet,
    span: &Range<Offset>,
    bound: Offset,
    lines: impl Fn(u32) -> u64,
) -> Vec<Suspect> {
    let conflicts: RangeSet = coverage
        .conflicts
        .iter()
        .map(|conflict| conflict.from..conflict.to)
        .collect();
    let open = |hole: &Range<Offset>| {
        let spanned = span.start <= hole.start && hole.end <= span.end;
        // where objects interleave Kafka is read in any case
        spanned && hole.start < bound && !known.covers(hole.clone()) && conflicts.within(hole.clone()).is_empty()
    };
    let suspect = |hole: Range<Offset>| {
        // they stand in the order of their beginnings
        let before = coverage.inexact.partition_point(|object| object.from < hole.start);
        let before = coverage.inexact[..before].last().filter(|object| {
            let end = object.from.plus(lines(object.object));
            end == hole.start && object.to == hole.end && object.from >= span.start
        });
        let before = before.map(|object| Before {
            object: object.object,
            start: object.from,
            lines: lines(object.object),
        });
        Suspect { object: before, hole }
    };
    coverage.ranges.holes().filter(open).map(suspect).collect()
}

/// The holes right behind inexact objects that Kafka spans: the last records of these objects may stand there.
pub fn behind_objects(coverage: &Coverage, span: &Range<Offset>, lines: impl Fn(u32) -> u64) -> RangeSet {
    let spanned = coverage
        .inexact
        .iter()
        .filter(|object| span.start <= object.from && object.to <= span.end);
    spanned
        .map(|object| object.from.plus(lines(object.object))..object.to)
        .collect()
}

/// The ranges to count for some suspects: near ones together, so that a partition is not begun again for each.
pub fn read_ranges(suspects: &[Suspect]) -> Vec<Range<Offset>> {
    let mut read_ranges: Vec<Range<Offset>> = Vec::new();
    for suspect in suspects {
        let read_range = suspect.read_range();
        match read_ranges.last_mut() {
            Some(last) if read_range.start - last.end < NEAR && read_range.end - last.start <= LONGEST as i64 => {
                last.end = read_range.end
            }
            _ => read_ranges.push(read_range),
        }
    }
    read_ranges
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // a list of one range is meant
mod tests {
    use super::*;
    use ingest::{Partition, TopicPartition};

    fn coverage(objects: &[(i64, u64)]) -> Coverage {
        let counted: Vec<Counted> = (1..)
            .zip(objects)
            .map(|(object, (start, lines))| Counted {
                topic: 0,
                partition: Partition(0),
                start: Offset(*start),
                lines: *lines,
                covers: None,
                object,
            })
            .collect();
        let mut coverage = ingest::coverage::coverage(&counted, &["pin"]);
        coverage
            .remove(&TopicPartition {
                topic: 0,
                partition: Partition(0),
            })
            .unwrap_or_default()
    }

    fn suspects(objects: &[(i64, u64)], known: &[Range<i64>], span: Range<i64>) -> Vec<Suspect> {
        let known = known.iter().cloned().map(Offset::range).collect();
        let lines = |id: u32| objects[id as usize - 1].1;
        super::suspects(&coverage(objects), &known, &Offset::range(span), Offset::MAX, lines)
    }

    #[test]
    fn holes_that_kafka_spans_are_suspects_with_the_object_before_them() {
        let objects = [(0, 9), (10, 18), (30, 10), (40, 5)];
        let found = suspects(&objects, &[], 0..100);
        let holes: Vec<_> = found.iter().map(|suspect| suspect.hole.clone()).collect();
        assert_eq!(holes, [Offset::range(9..10), Offset::range(28..30)]);
        let before = |object, start, lines| {
            let start = Offset(start);
            Some(Before { object, start, lines })
        };
        assert_eq!((found[0].object, found[1].object), (before(1, 0, 9), before(2, 10, 18)));
        // of an object that retention has reached only the hole is counted
        assert_eq!(suspects(&objects, &[], 15..100)[0].object, None);
        assert!(suspects(&objects, &[9..10], 0..29).is_empty());
    }

    #[test]
    fn a_hole_is_natural_when_it_is_empty_and_sparse_when_the_object_has_everything() {
        let before = Before {
            object: 1,
            start: Offset(10),
            lines: 18,
        };
        let suspect = Suspect {
            hole: Offset::range(28..30),
            object: Some(before),
        };
        let judge = |ranges: &[Range<i64>]| suspect.judge(&set(ranges), false);
        assert_eq!(judge(&[10..28]), Verdict::Natural);
        // two markers inside the object
        let Verdict::Sparse(of, object) = judge(&[10..15, 16..20, 21..30]) else {
            panic!("it is not sparse");
        };
        assert_eq!((of, object.holes), (before, set(&[15..16, 20..21])));
        assert_eq!(suspect.judge(&set(&[10..15, 16..20, 21..30]), true), Verdict::Doubtful);
        // one marker only: the lake lacks a record
        assert_eq!(judge(&[10..15, 16..30]), Verdict::Doubtful);
        // compacted since: the record at 28 may be one of the object's, or one that it lacks
        assert_eq!(judge(&[10..15, 28..30]), Verdict::Doubtful);
        // as many records as lines, but not its first one
        assert_eq!(judge(&[11..20, 21..30]), Verdict::Doubtful);
        let alone = Suspect {
            object: None,
            ..suspect.clone()
        };
        // of the hole alone, it is known which records are missing
        assert_eq!(alone.judge(&set(&[28..29]), false), Verdict::Lacking);
        assert_eq!(alone.judge(&set(&[]), false), Verdict::Natural);
    }

    #[test]
    fn the_last_object_reaches_to_where_kafka_has_as_many_records() {
        let tail = Tail {
            start: Offset(10),
            lines: 3,
        };
        let one = |offset: &i64| Offset(*offset)..Offset(*offset).next();
        let arrived = |offsets: &[i64]| offsets.iter().map(one).collect::<RangeSet>();
        assert_eq!(
            tail.next_stretch(&RangeSet::default(), Offset(10), Offset(50)),
            Some(Offset::range(10..13))
        );
        // exact
        assert_eq!(tail.next_stretch(&arrived(&[10, 11, 12]), Offset(13), Offset(50)), None);
        assert_eq!(tail.reach(&arrived(&[10, 11, 12]), Offset(13)), None);
        // markers inside
        let found = arrived(&[10, 12]);
        assert_eq!(
            tail.next_stretch(&found, Offset(13), Offset(50)),
            Some(Offset::range(13..50))
        );
        assert_eq!(
            tail.reach(&arrived(&[10, 12, 14, 16]), Offset(50)),
            Some(Offset::range(10..15))
        );
        // compaction has removed two of its records, and nothing newer has come
        assert_eq!(tail.reach(&arrived(&[12]), Offset(20)), Some(Offset::range(10..20)));
        assert_eq!(tail.next_stretch(&RangeSet::default(), Offset(10), Offset(10)), None);
    }

    #[test]
    fn near_stretches_are_counted_together() {
        let suspect = |hole: Range<i64>| Suspect {
            hole: Offset::range(hole),
            object: None,
        };
        let near = [suspect(10..12), suspect(100..101), suspect(9_000..9_001)];
        assert_eq!(
            read_ranges(&near),
            [Offset::range(10..101), Offset::range(9_000..9_001)]
        );
        let long: Vec<Suspect> = (0..1_000).map(|n| suspect(n * 4_000..n * 4_000 + 1)).collect();
        assert!(
            read_ranges(&long)
                .iter()
                .all(|read_range| read_range.end.abs_diff(read_range.start) <= LONGEST)
        );
    }

    fn set(ranges: &[Range<i64>]) -> RangeSet {
        ranges.iter().cloned().map(Offset::range).collect()
    }

    #[test]
    fn a_range_is_counted_in_parts_that_fit_in_memory() {
        let longest = LONGEST as i64;
        let parts = |range: Range<i64>| in_parts(Offset::range(range));
        assert_eq!(parts(5..9), [Offset::range(5..9)]);
        assert_eq!(parts(5..5 + longest), [Offset::range(5..5 + longest)]);
        assert_eq!(
            parts(5..6 + 2 * longest),
            [
                Offset::range(5..5 + longest),
                Offset::range(5 + longest..5 + 2 * longest),
                Offset::range(5 + 2 * longest..6 + 2 * longest)
            ]
        );
        assert_eq!(parts(5..5), []);
    }

    #[test]
    fn the_end_of_the_last_object_is_open_when_only_its_lines_tell_it() {
        let last = |start: i64, lines: u64, covers: Option<Range<i64>>| Counted {
            topic: 0,
            partition: Partition(0),
            start: Offset(start),
            lines,
            covers: covers.map(Offset::range),
            object: 2,
        };
        let coverage = coverage(&[(0, 10), (10, 5)]);
        let open = Tail {
            start: Offset(10),
            lines: 5,
        };
        assert_eq!(Tail::of(&last(10, 5, None), &coverage), Some(open));
        // its writer says what it covers; it is empty; another one reaches further
        assert_eq!(Tail::of(&last(10, 5, Some(10..15)), &coverage), None);
        assert_eq!(Tail::of(&last(15, 0, None), &coverage), None);
        assert_eq!(Tail::of(&last(0, 10, None), &coverage), None);
    }

    #[test]
    fn the_last_object_is_the_one_whose_lines_reach_furthest() {
        let counted = |start: i64, lines: u64| Counted {
            topic: 0,
            partition: Partition(0),
            start: Offset(start),
            lines,
            covers: None,
            object: 1,
        };
        let last = |objects: &[(i64, u64)]| {
            let objects = objects.iter().map(|(start, lines)| counted(*start, *lines));
            Tail::last(objects).map(|object| object.start.0)
        };
        assert_eq!(last(&[(0, 7), (7, 4)]), Some(7));
        // the archiver has begun earlier again
        assert_eq!(last(&[(0, 7), (7, 4), (9, 1)]), Some(7));
        assert_eq!(last(&[(9, 2), (7, 4)]), Some(7));
        assert_eq!(last(&[]), None);
    }

    #[test]
    fn the_last_object_is_looked_for_further_and_further() {
        let tail = Tail {
            start: Offset(10),
            lines: 5,
        };
        let next =
            |arrived: &[Range<i64>], seen: i64, end: i64| tail.next_stretch(&set(arrived), Offset(seen), Offset(end));
        // at first as if it were exact, then for markers, a piece at a time and not beyond Kafka's end
        assert_eq!(next(&[], 10, 1_000_000), Some(Offset::range(10..15)));
        assert_eq!(next(&[10..13], 15, 1_000_000), Some(Offset::range(15..15 + NEAR)));
        assert_eq!(next(&[10..13], 15, 20), Some(Offset::range(15..20)));
        assert_eq!(next(&[10..13], 15, 15), None);
        assert_eq!(next(&[10..13, 20..22], 25, 1_000_000), None);
        let long = Tail {
            start: Offset(0),
            lines: 3 * LONGEST,
        };
        let whole = long.next_stretch(&RangeSet::default(), Offset(0), Offset::MAX);
        assert_eq!(whole, Some(Offset::range(0..LONGEST as i64)));
        // more is missing than lies near
        let seen = LONGEST as i64;
        let rest = long.next_stretch(&set(&[0..seen - 1]), Offset(seen), Offset::MAX);
        assert_eq!(rest, Some(Offset::range(seen..2 * seen)));
    }

    #[test]
    fn the_reach_of_the_last_object_ends_with_as_many_records_as_it_has_lines() {
        let tail = Tail {
            start: Offset(10),
            lines: 4,
        };
        let reach = |arrived: &[Range<i64>], seen: i64| tail.reach(&set(arrived), Offset(seen));
        assert_eq!(reach(&[10..14], 14), None);
        // the fourth record is within a run, is the end of one, or begins one
        assert_eq!(reach(&[10..12, 13..20], 30), Some(Offset::range(10..15)));
        assert_eq!(reach(&[10..12, 13..15, 16..20], 30), Some(Offset::range(10..15)));
        assert_eq!(reach(&[10..13, 16..20], 30), Some(Offset::range(10..17)));
        // three of four records up to here
        assert_eq!(reach(&[10..13], 14), None);
        assert_eq!(reach(&[10..13], 15), Some(Offset::range(10..15)));
    }

    #[test]
    fn the_oldest_holes_are_forgotten_first() {
        let mut holes = RangeSet::default();
        for hole in 0..=MOST as i64 {
            keep(&mut holes, Offset::range(3 * hole..3 * hole + 1));
        }
        assert_eq!(holes.iter().count(), MOST);
        assert_eq!(holes.iter().next(), Some(Offset::range(3..4)));
    }

    #[test]
    fn what_is_proved_or_read_in_any_case_is_no_suspect() {
        let objects = [(0, 9), (10, 18), (30, 10)];
        let holes = |known: &[Range<i64>], span: Range<i64>, bound: i64| -> Vec<Range<Offset>> {
            let lines = |id: u32| objects[id as usize - 1].1;
            let found = super::suspects(
                &coverage(&objects),
                &set(known),
                &Offset::range(span),
                Offset(bound),
                lines,
            );
            found.into_iter().map(|suspect| suspect.hole).collect()
        };
        let (first, second) = (Offset::range(9..10), Offset::range(28..30));
        assert_eq!(holes(&[], 9..30, 100), [first.clone(), second.clone()]);
        assert_eq!(holes(&[], 10..30, 100), std::slice::from_ref(&second));
        assert_eq!(holes(&[], 9..29, 100), std::slice::from_ref(&first));
        // beyond a bounded replay
        assert_eq!(holes(&[], 0..100, 28), std::slice::from_ref(&first));
        assert_eq!(holes(&[], 0..100, 29), [first.clone(), second.clone()]);
        // a part of a hole is no proof of it
        assert_eq!(holes(&[28..29], 0..100, 100), [first.clone(), second]);
        assert_eq!(holes(&[28..30], 0..100, 100), [first]);
        // 0, 2, 4 and 1, 3, 5 in two objects, and a hole behind them
        let interleaving = coverage(&[(0, 3), (1, 3), (6, 2)]);
        let found = super::suspects(
            &interleaving,
            &RangeSet::default(),
            &Offset::range(0..100),
            Offset::MAX,
            |_| 3,
        );
        assert_eq!(found, []);
    }

    #[test]
    fn only_the_object_that_ends_at_a_hole_tells_of_it() {
        let counted = |object: u32, start: i64, lines: u64, covers: Option<Range<i64>>| Counted {
            topic: 0,
            partition: Partition(0),
            start: Offset(start),
            lines,
            covers: covers.map(Offset::range),
            object,
        };
        // the writer of the second one says that its records end at 15
        let objects = [
            counted(0, 0, 9, None),
            counted(1, 10, 5, Some(10..15)),
            counted(2, 20, 1, None),
        ];
        let coverage = ingest::coverage::coverage(&objects, &["pin"]);
        let coverage = coverage.into_values().next().expect("one partition");
        let lines = |object: u32| objects[object as usize].lines;
        let span = Offset::range(0..100);
        let found = super::suspects(&coverage, &RangeSet::default(), &span, Offset::MAX, lines);
        let found: Vec<_> = found
            .iter()
            .map(|suspect| (suspect.read_range(), suspect.object.map(|before| before.object)))
            .collect();
        assert_eq!(found, [(Offset::range(0..10), Some(0)), (Offset::range(15..20), None)]);
    }

    #[test]
    fn stretches_that_are_near_are_one_up_to_the_longest() {
        let suspect = |hole: Range<i64>| Suspect {
            hole: Offset::range(hole),
            object: None,
        };
        let stretches = |holes: &[Range<i64>]| read_ranges(&holes.iter().cloned().map(suspect).collect::<Vec<_>>());
        assert_eq!(stretches(&[0..1, NEAR..NEAR + 1]), [Offset::range(0..NEAR + 1)]);
        assert_eq!(stretches(&[0..1, NEAR + 1..NEAR + 2]).len(), 2);
        let longest = LONGEST as i64;
        assert_eq!(stretches(&[7..8, 10..7 + longest]), [Offset::range(7..7 + longest)]);
        assert_eq!(stretches(&[7..8, 10..8 + longest]).len(), 2);
    }
}
