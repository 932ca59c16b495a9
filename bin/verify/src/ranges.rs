//! Which offsets are read from Kafka, and in which of the lake's objects a record may have another offset than its line
//! says. Decisions without I/O, made from what the tables recorded. How far the last object of a partition reaches is
//! [`Tail`]'s to say, for the engine as well.

use super::recorded::Recorded;
use engine::Tail;
use ingest::coverage::{Counted, Coverage, Gap, RangeSet};
use ingest::{Offset, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;

/// What the lake lacks of the tables' answer, and what only Kafka knows the order of.
pub fn wanted(
    recorded: &Recorded,
    coverage: &BTreeMap<TopicPartition, Coverage>,
) -> BTreeMap<TopicPartition, RangeSet> {
    let nothing = (Coverage::default(), RangeSet::default());
    let mut wanted = BTreeMap::new();
    for (at, span) in &recorded.partitions {
        let coverage = coverage.get(at).unwrap_or(&nothing.0);
        let gaps = recorded.gaps.get(at).unwrap_or(&nothing.1);
        let natural = recorded.natural.get(at).unwrap_or(&nothing.1);
        let lacking = coverage.ranges.missing(span.clone()).into_iter();
        let lacking = lacking.flat_map(|range| gaps.missing(range));
        let mut ranges: RangeSet = lacking.flat_map(|range| natural.missing(range)).collect();
        for conflict in &coverage.conflicts {
            ranges.insert(conflict.from.max(span.start)..conflict.to.min(span.end));
        }
        if !ranges.is_empty() {
            wanted.insert(*at, ranges);
        }
    }
    wanted
}

/// Adds to what the objects cover by their lines the rest of those that have holes inside: they reach further.
pub fn reach_of_sparse(coverage: &mut BTreeMap<TopicPartition, Coverage>, counted: &[Counted], recorded: &Recorded) {
    for object in counted.iter().filter(|object| object.covers.is_none()) {
        let sparse = recorded.sparse(object.at(), object.start);
        // one that is damaged or was replaced has other lines
        let sparse = sparse.filter(|sparse| sparse.lines == object.lines);
        if let (Some(sparse), Some(of)) = (sparse, coverage.get_mut(&object.at())) {
            of.ranges.insert(object.start..sparse.end);
        }
    }
}

/// Objects with holes inside of which it is not known where: their records have other offsets than their lines say, as
/// long as Kafka has them.
pub fn unplaced(counted: &[Counted], recorded: &Recorded) -> BTreeMap<TopicPartition, RangeSet> {
    let mut unplaced: BTreeMap<TopicPartition, RangeSet> = BTreeMap::new();
    for object in counted {
        let sparse = recorded.sparse(object.at(), object.start);
        if let Some(sparse) = sparse.filter(|sparse| !sparse.is_placed()) {
            unplaced
                .entry(object.at())
                .or_default()
                .insert(object.start..sparse.end);
        }
    }
    unplaced
}

/// Adds ranges as far as Kafka holds them.
pub fn add_spanned(
    wanted: &mut BTreeMap<TopicPartition, RangeSet>,
    ranges: BTreeMap<TopicPartition, RangeSet>,
    spans: &BTreeMap<TopicPartition, Range<Offset>>,
) {
    for (at, ranges) in ranges {
        let Some(span) = spans.get(&at) else { continue };
        for range in ranges.iter() {
            let held = range.start.max(span.start)..range.end.min(span.end);
            wanted.entry(at).or_default().insert(held);
        }
    }
}

/// What is wanted and lies outside of what Kafka holds; `names` are the topics by number.
pub fn lost(
    wanted: &BTreeMap<TopicPartition, RangeSet>,
    spans: &BTreeMap<TopicPartition, Range<Offset>>,
    names: &[&str],
) -> Vec<Gap> {
    let of = |(at, ranges): (&TopicPartition, &RangeSet)| {
        let lost = ranges.iter().flat_map(|range| outside(range, spans.get(at)));
        let gap = |range| Gap::new(names[usize::from(at.topic)], at.partition, range);
        lost.map(gap).collect::<Vec<_>>()
    };
    wanted.iter().flat_map(of).collect()
}

/// The parts of `range` that lie outside of what Kafka holds.
fn outside(range: Range<Offset>, held: Option<&Range<Offset>>) -> Vec<Range<Offset>> {
    held.cloned().into_iter().collect::<RangeSet>().missing(range)
}

/// The objects whose records may have other offsets than their lines say, by their beginnings.
pub fn inexact(
    coverage: &BTreeMap<TopicPartition, Coverage>,
    counted: &[Counted],
    natural: &BTreeMap<TopicPartition, RangeSet>,
) -> BTreeMap<TopicPartition, Vec<Range<Offset>>> {
    let of = |(at, coverage): (&TopicPartition, &Coverage)| {
        let objects = coverage.inexact.iter().chain(&coverage.unproved);
        let natural = natural.get(at);
        let last = natural.and_then(|natural| last_with_holes(counted, *at, coverage, natural));
        let mut inexact: Vec<Range<Offset>> = objects.map(|object| object.from..object.to).chain(last).collect();
        inexact.sort_by_key(|object| (object.start, object.end));
        (*at, inexact)
    };
    coverage.iter().map(of).collect()
}

/// Where the records of a partition's last object stand, when holes that Kafka has proved lie inside it: nothing in the
/// lake shows that its lines have other offsets.
fn last_with_holes(
    counted: &[Counted],
    at: TopicPartition,
    coverage: &Coverage,
    natural: &RangeSet,
) -> Option<Range<Offset>> {
    let of_partition = counted.iter().filter(|object| object.at() == at);
    let tail = Tail::of(Tail::last(of_partition)?, coverage)?;
    // there are as many offsets with a record below it as the object has lines
    let end = Offset(tail.start.0.checked_add_unsigned(tail.lines)?);
    let furthest = end.plus(natural.count());
    let arrived: RangeSet = natural.missing(tail.start..furthest).into_iter().collect();
    tail.reach(&arrived, furthest)
}

/// Adds the objects before the holes in `wanted`, where Kafka holds all of them: what an object with a loss lacks may be
/// missing anywhere in it.
pub fn add_inexact(
    wanted: &mut BTreeMap<TopicPartition, RangeSet>,
    inexact: &BTreeMap<TopicPartition, Vec<Range<Offset>>>,
    spans: &BTreeMap<TopicPartition, Range<Offset>>,
) {
    for (at, ranges) in wanted {
        if let (Some(objects), Some(span)) = (inexact.get(at), spans.get(at)) {
            with_their_objects(ranges, objects, span);
        }
    }
}

fn with_their_objects(ranges: &mut RangeSet, objects: &[Range<Offset>], span: &Range<Offset>) {
    let lossy = |object: &&Range<Offset>| {
        let held = span.start <= object.start && object.end <= span.end;
        held && !ranges.within((*object).clone()).is_empty()
    };
    let lossy: Vec<Range<Offset>> = objects.iter().filter(lossy).cloned().collect();
    lossy.into_iter().for_each(|object| ranges.insert(object));
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // a list of one range is meant
mod tests {
    use super::*;
    use engine::Topics;
    use ingest::Partition;
    use sinks::{AcceptedGap, PartitionProgress, Progress};

    fn recorded(first: i64, next: i64, gaps: &[Range<i64>]) -> Recorded {
        let gap = |gap: &Range<i64>| AcceptedGap {
            topic: "pin".into(),
            partition: 0,
            from: gap.start,
            to: gap.end,
            reason: "accepted".into(),
            object: None,
        };
        let partition = PartitionProgress {
            first,
            next,
            ..PartitionProgress::default()
        };
        let progress = Progress {
            partitions: [(("pin".to_owned(), 0), partition)].into(),
            gaps: gaps.iter().map(gap).collect(),
            ..Progress::default()
        };
        Recorded::of(&progress, &Topics::new([Some("pin".to_owned()), None, None]))
    }

    fn object(start: i64, lines: u64, number: u32) -> Counted {
        Counted {
            topic: 0,
            partition: Partition(0),
            start: Offset(start),
            lines,
            covers: None,
            object: number,
        }
    }

    fn ranges(recorded: &Recorded, objects: &[Counted]) -> Vec<Range<i64>> {
        let wanted = wanted(recorded, &ingest::coverage::coverage(objects, &["pin"]));
        wanted
            .get(&TopicPartition::new(0, Partition(0)))
            .map(|ranges| ranges.iter().map(|range| range.start.0..range.end.0).collect())
            .unwrap_or_default()
    }

    #[test]
    fn kafka_is_read_for_what_the_lake_lacks_below_the_frontier() {
        let objects = [object(5, 5, 1), object(20, 10, 2), object(30, 70, 3)];
        assert_eq!(ranges(&recorded(0, 40, &[]), &objects), [0..5, 10..20]);
        assert_eq!(ranges(&recorded(5, 120, &[]), &objects), [10..20, 100..120]);
        assert_eq!(ranges(&recorded(3, 7, &[]), &[]), [3..7]);
    }

    #[test]
    fn accepted_gaps_are_not_asked_for() {
        let objects = [object(0, 10, 1), object(20, 10, 2)];
        assert_eq!(ranges(&recorded(0, 30, &[12..15, 18..20]), &objects), [10..12, 15..18]);
        assert!(ranges(&recorded(0, 30, &[0..30]), &objects).is_empty());
    }

    #[test]
    fn an_object_with_a_loss_is_read_again_as_a_whole() {
        let objects = [0..10, 30..40].map(Offset::range);
        let read = |hole: Range<i64>, span: Range<i64>| {
            let mut ranges: RangeSet = [Offset::range(hole)].into_iter().collect();
            with_their_objects(&mut ranges, &objects, &Offset::range(span));
            ranges.iter().collect::<Vec<_>>()
        };
        assert_eq!(read(8..10, 0..100), [Offset::range(0..10)]);
        assert_eq!(read(8..10, 5..100), [Offset::range(8..10)]);
        assert_eq!(read(15..20, 0..100), [Offset::range(15..20)]);
    }

    #[test]
    fn interleaving_objects_are_read_from_kafka_too() {
        let objects = [object(0, 4, 1), object(2, 4, 2), object(9, 1, 3)];
        assert_eq!(ranges(&recorded(0, 10, &[]), &objects), [0..9]);
    }

    #[test]
    fn the_last_object_reaches_beyond_its_lines_when_a_proved_hole_lies_inside() {
        let objects = [object(0, 10, 1), object(10, 3, 2)];
        let inexact = |natural: &[Range<i64>]| {
            let natural = [(
                TopicPartition::new(0, Partition(0)),
                natural.iter().cloned().map(Offset::range).collect(),
            )]
            .into();
            let coverage = ingest::coverage::coverage(&objects, &["pin"]);
            let mut inexact = super::inexact(&coverage, &objects, &natural);
            inexact
                .remove(&TopicPartition::new(0, Partition(0)))
                .unwrap_or_default()
        };
        let unproved = inexact(&[]);
        assert!(!unproved.contains(&Offset::range(10..14)), "{unproved:?}");
        assert!(inexact(&[11..12]).contains(&Offset::range(10..14)));
        assert!(inexact(&[10..11, 12..13]).contains(&Offset::range(10..15)));
        // behind the object: its lines stand at their offsets
        assert_eq!(inexact(&[13..20]), unproved);
    }

    #[test]
    fn what_kafka_has_lost_or_never_had_is_outside() {
        assert_eq!(
            outside(Offset::range(10..20), Some(&Offset::range(12..15))),
            [Offset::range(10..12), Offset::range(15..20)]
        );
        assert_eq!(outside(Offset::range(10..20), Some(&Offset::range(0..20))), Vec::new());
        assert_eq!(outside(Offset::range(10..20), None), vec![Offset::range(10..20)]);
    }
}
