//! How far one partition has been read from Kafka, and what was seen on the way.

use super::super::log::holes;
use crate::protocol::{Consume, Mark, Purpose};
use ingest::Offset;
use ingest::coverage::RangeSet;
use ingest::kafka::RecordId;

/// Where a range ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// At its bound. Once the consumer is done with it, it is passed: what the consumer says of its end would otherwise
    /// be taken for a report about the next range.
    Bounded { done: bool },
    /// Nowhere: each epoch's close says how far it has been read.
    Endless,
}

/// A range that is being read.
#[derive(Debug)]
pub struct ReadRange {
    purpose: Purpose,
    /// Everything below has been read.
    next: Offset,
    /// The offset whose passing is still to be reported.
    bound: Option<Offset>,
    extent: Extent,
    last: Option<RecordId>,
    /// Passed since the last mark, without a record.
    holes: RangeSet,
    /// Where records are, when only that is wanted.
    records: RangeSet,
    /// What the last mark said.
    marked: Option<Offset>,
}

/// What a range has come to when its bound is passed.
#[derive(Debug, PartialEq, Eq)]
pub enum Passed {
    /// Everything below the bound has been taken in.
    Reached(Mark),
    /// Offsets that hold a record.
    Probed(Vec<(Offset, Offset)>),
}

impl ReadRange {
    /// Nothing has been read of it yet.
    pub fn new(consume: &Consume) -> ReadRange {
        ReadRange {
            purpose: consume.purpose,
            next: consume.from,
            bound: Some(consume.bound),
            extent: match consume.until {
                Some(_) => Extent::Bounded { done: false },
                None => Extent::Endless,
            },
            last: None,
            holes: RangeSet::default(),
            records: RangeSet::default(),
            marked: None,
        }
    }

    /// What the records are wanted for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Everything below has been read.
    pub fn next(&self) -> Offset {
        self.next
    }

    /// Whether it is read until the run ends.
    pub fn is_endless(&self) -> bool {
        self.extent == Extent::Endless
    }

    /// Takes in where the records of a batch stand: `offsets` ascending, `last` the last of them.
    pub fn arrived(&mut self, offsets: impl Iterator<Item = Offset>, last: Option<RecordId>) {
        for offset in offsets {
            self.skip(offset);
            if self.purpose == Purpose::Probe {
                self.records.insert(offset..offset.next());
            }
            self.next = offset.next();
        }
        self.last = last.or(self.last);
    }

    /// Takes in the consumer's word that there is no further record below `next`.
    pub fn pass(&mut self, next: Offset) {
        self.skip(next);
        if let Extent::Bounded { done } = &mut self.extent {
            *done |= self.bound.is_some_and(|bound| next >= bound);
        }
    }

    fn skip(&mut self, next: Offset) {
        if self.next < next {
            holes::keep(&mut self.holes, self.next..next);
            self.next = next;
        }
    }

    /// What there is to say when the bound has been passed; once.
    pub fn passed(&mut self) -> Option<Passed> {
        let passed = self.extent != Extent::Bounded { done: false };
        self.bound.take_if(|bound| passed && self.next >= *bound)?;
        Some(match self.purpose {
            Purpose::Probe => Passed::Probed(std::mem::take(&mut self.records).into()),
            Purpose::Take | Purpose::TakeAgain => Passed::Reached(self.take_mark()),
        })
    }

    /// What there is to say at an epoch's close, if it has come any further.
    pub fn mark(&mut self) -> Option<Mark> {
        (self.is_endless() && self.marked != Some(self.next)).then(|| self.take_mark())
    }

    fn take_mark(&mut self) -> Mark {
        self.marked = Some(self.next);
        Mark {
            next: self.next,
            last: self.last,
            holes: std::mem::take(&mut self.holes).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::{Partition, TopicPartition};

    fn read_range(from: i64, until: Option<i64>, bound: i64, purpose: Purpose) -> ReadRange {
        ReadRange::new(&Consume {
            at: TopicPartition {
                topic: 0,
                partition: Partition(0),
            },
            from: Offset(from),
            until: until.map(Offset),
            bound: Offset(bound),
            purpose,
            after: None,
        })
    }

    fn id(offset: i64) -> Option<RecordId> {
        Some(RecordId {
            offset: Offset(offset),
            timestamp: 7,
            hash: 9,
        })
    }

    #[test]
    fn offsets_without_a_record_are_holes() {
        let mut live = read_range(5, None, 9, Purpose::Take);
        live.arrived([5, 7].into_iter().map(Offset), id(7));
        assert_eq!(live.passed(), None);
        live.pass(Offset(10));
        let mark = Mark {
            next: Offset(10),
            last: id(7),
            holes: vec![(Offset(6), Offset(7)), (Offset(8), Offset(10))],
        };
        assert_eq!(live.passed(), Some(Passed::Reached(mark)));
        assert_eq!((live.passed(), live.mark()), (None, None));
        live.arrived([10].into_iter().map(Offset), id(10));
        let mark = live.mark().unwrap();
        assert_eq!((mark.next, mark.last, mark.holes), (Offset(11), id(10), vec![]));
    }

    #[test]
    fn a_probe_says_where_records_are() {
        let mut probe = read_range(5, Some(9), 9, Purpose::Probe);
        probe.arrived([5, 6, 8].into_iter().map(Offset), id(8));
        assert_eq!(probe.passed(), None, "the consumer has not ended it");
        probe.pass(Offset(9));
        assert_eq!(
            probe.passed(),
            Some(Passed::Probed(vec![(Offset(5), Offset(7)), (Offset(8), Offset(9))]))
        );
        assert_eq!(probe.mark(), None);
    }

    #[test]
    fn a_stretch_that_begins_at_its_bound_has_passed_it() {
        let mut live = read_range(5, None, 5, Purpose::Take);
        assert!(matches!(
            live.passed(),
            Some(Passed::Reached(Mark {
                next: Offset(5),
                last: None,
                ..
            }))
        ));
    }
}
