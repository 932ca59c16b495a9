//! Which records of the lake the tables hold already, so that a start need not write them again.
//!
//! The tables hold what lies below an offset of each partition: a true offset. In an object of another writer
//! `start + line` may be smaller than a record's offset, because markers and compacted records leave no line. Inside
//! such an object nothing is persisted unless all of it is, and all of it is when the object that follows starts at or
//! below the persisted offset. What is written again changes nothing.
//!
//! An object whose writer says what it covers has every record at its offset; there each record is judged by itself.

use ingest::coverage::Counted;
use ingest::{Offset, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The starts of a lake's objects.
#[derive(Clone, Debug, Default)]
pub struct Starts(BTreeMap<TopicPartition, BTreeSet<Offset>>);

impl FromIterator<(TopicPartition, Offset)> for Starts {
    fn from_iter<I: IntoIterator<Item = (TopicPartition, Offset)>>(objects: I) -> Starts {
        let mut starts = Starts::default();
        for (at, start) in objects {
            starts.0.entry(at).or_default().insert(start);
        }
        starts
    }
}

impl Starts {
    fn at_or_after(&self, at: TopicPartition, offset: Offset) -> Option<Offset> {
        self.0.get(&at)?.range(offset..).next().copied()
    }

    /// Whether all of the object that starts here is persisted, judging by names alone: true unless objects overlap.
    pub fn is_persisted(&self, at: TopicPartition, start: Offset, persisted: Offset) -> bool {
        let follower = self.follower(at, start);
        follower.is_some_and(|follower| follower <= persisted)
    }

    /// Where the object after the one that starts here starts.
    pub fn follower(&self, at: TopicPartition, start: Offset) -> Option<Offset> {
        self.at_or_after(at, start.next())
    }

    /// The offsets that the records of a counted object may have: to the start of the object that follows.
    pub fn reach(&self, object: &Counted) -> Range<Offset> {
        let at = object.at();
        let end = end(object);
        object.start..self.at_or_after(at, end).unwrap_or(end)
    }

    /// Whether an object that [`Starts::is_persisted`] took for persisted is not, now that its lines are counted: it
    /// overlaps with others and reaches beyond the persisted offset.
    pub fn was_misclassified(&self, object: &Counted, persisted: Offset) -> bool {
        let at = object.at();
        let end = end(object);
        let follower = self.at_or_after(at, end);
        object.covers.is_none() && follower.is_none_or(|follower| follower > persisted)
    }
}

/// The offset after an object's last line, as names assign offsets.
fn end(object: &Counted) -> Offset {
    object.start.plus(object.lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::Partition;

    const AT: TopicPartition = TopicPartition {
        topic: 0,
        partition: Partition(0),
    };

    fn starts(of: &[i64]) -> Starts {
        of.iter().map(|start| (AT, Offset(*start))).collect()
    }

    fn counted(start: i64, lines: u64) -> Counted {
        Counted {
            topic: 0,
            partition: Partition(0),
            start: Offset(start),
            lines,
            covers: None,
            object: 1,
        }
    }

    #[test]
    fn an_object_is_settled_when_the_next_one_starts_below_the_settled_offset() {
        let starts = starts(&[0, 10, 20]);
        assert!(starts.is_persisted(AT, Offset(0), Offset(10)));
        // five lines, of which the last has the offset 9
        assert!(!starts.is_persisted(AT, Offset(0), Offset(9)));
        assert!(
            !starts.is_persisted(AT, Offset(20), Offset(1_000)),
            "nothing shows where the last one ends"
        );
    }

    #[test]
    fn of_overlapping_objects_the_longer_one_is_not_settled() {
        // 0, 2, 4 and 1, 3, 5 in folders of their own
        let starts = starts(&[0, 1, 6]);
        assert!(starts.is_persisted(AT, Offset(0), Offset(3)));
        assert!(starts.was_misclassified(&counted(0, 3), Offset(3)));
        assert!(!starts.was_misclassified(&counted(0, 3), Offset(6)));
        assert_eq!(starts.reach(&counted(0, 3)), Offset::range(0..6));
        let exact = Counted {
            covers: Some(Offset::range(0..3)),
            ..counted(0, 3)
        };
        assert!(!starts.was_misclassified(&exact, Offset(3)));
    }

    #[test]
    fn an_object_reaches_to_where_the_next_one_starts() {
        let starts = starts(&[0, 10, 20]);
        // markers behind the five lines
        assert_eq!(starts.reach(&counted(0, 5)), Offset::range(0..10));
        assert_eq!(starts.reach(&counted(0, 10)), Offset::range(0..10));
        assert_eq!(starts.reach(&counted(20, 5)), Offset::range(20..25));
        assert_eq!(starts.follower(AT, Offset(0)), Some(Offset(10)));
        assert_eq!(starts.follower(AT, Offset(20)), None);
        // of the last one nothing shows the end
        assert!(starts.was_misclassified(&counted(20, 5), Offset(1_000)));
    }
}
