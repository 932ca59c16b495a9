//! What is read of a partition: the holes of the lake one after the other, then everything behind its end.

use std::collections::VecDeque;
use std::ops::Range;
use values::Offset;

/// Which stretch of a partition is being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading {
    /// Offsets before the lake's end that it lacks.
    Hole {
        /// This hole.
        hole: Range<Offset>,
        /// The holes after it, in order.
        later: VecDeque<Range<Offset>>,
        /// Where live reading will start.
        next: Offset,
    },
    /// Everything behind the lake's end.
    Live {
        /// Where it starts.
        next: Offset,
    },
    /// All that was to be read has been.
    Done,
}

impl Reading {
    /// Reads these holes, then everything from `next` on.
    pub(super) fn new(holes: impl IntoIterator<Item = Range<Offset>>, next: Offset) -> Reading {
        let mut later: VecDeque<Range<Offset>> = holes.into_iter().collect();
        match later.pop_front() {
            Some(hole) => Reading::Hole { hole, later, next },
            None => Reading::Live { next },
        }
    }

    /// Where the stretch begins; `None` at the end of all.
    pub(super) fn start(&self) -> Option<Offset> {
        match self {
            Reading::Hole { hole, .. } => Some(hole.start),
            Reading::Live { next } => Some(*next),
            Reading::Done => None,
        }
    }

    /// Whether a hole is being read.
    pub(super) fn is_in_hole(&self) -> bool {
        matches!(self, Reading::Hole { .. })
    }

    /// Whether there is nothing left to read.
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Reading::Done)
    }

    /// Whether the stretch is read to its end when everything below `offset` has been seen; live reading ends at `until`.
    pub(super) fn ends_at(&self, offset: Offset, until: Option<Offset>) -> bool {
        match self {
            Reading::Hole { hole, .. } => offset >= hole.end,
            Reading::Live { .. } => until.is_some_and(|until| offset >= until),
            Reading::Done => false,
        }
    }

    /// Goes to the next stretch; where it begins, or `None` at the end of all.
    pub(super) fn advance(&mut self) -> Option<Offset> {
        *self = match std::mem::replace(self, Reading::Done) {
            Reading::Hole { later, next, .. } => Reading::new(later, next),
            Reading::Live { .. } | Reading::Done => Reading::Done,
        };
        self.start()
    }

    /// Leaves out what lies below `low`.
    pub(super) fn skip_below(&mut self, low: Offset) {
        *self = match std::mem::replace(self, Reading::Done) {
            Reading::Hole { hole, later, next } => {
                let mut left: VecDeque<Range<Offset>> = std::iter::once(hole).chain(later).collect();
                while left.pop_front_if(|hole| hole.end <= low).is_some() {}
                match left.front_mut() {
                    Some(hole) => {
                        hole.start = hole.start.max(low);
                        Reading::new(left, next)
                    }
                    None => Reading::Live { next: next.max(low) },
                }
            }
            Reading::Live { next } => Reading::Live { next: next.max(low) },
            Reading::Done => Reading::Done,
        };
    }

    /// The stretches that are left, in order: from where on, and to where.
    pub(super) fn stretches(&self, until: Option<Offset>) -> Vec<(Offset, Option<Offset>)> {
        let bounded = |hole: &Range<Offset>| (hole.start, Some(hole.end));
        match self {
            Reading::Hole { hole, later, next } => {
                let holes = std::iter::once(hole).chain(later).map(bounded);
                holes.chain([(*next, until)]).collect()
            }
            Reading::Live { next } => vec![(*next, until)],
            Reading::Done => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_come_first_and_live_reading_ends_where_it_is_told_to() {
        let mut reading = Reading::new([2..4, 6..8].map(Offset::range), Offset(10));
        let stretches = [(2, 4), (6, 8), (10, 20)].map(|(from, until)| (Offset(from), Some(Offset(until))));
        assert_eq!(reading.stretches(Some(Offset(20))), stretches);
        assert!(!reading.ends_at(Offset(3), Some(Offset(20))) && reading.ends_at(Offset(4), Some(Offset(20))));
        assert_eq!((reading.advance(), reading.is_in_hole()), (Some(Offset(6)), true));
        assert_eq!((reading.advance(), reading.is_in_hole()), (Some(Offset(10)), false));
        assert!(
            !reading.ends_at(Offset(19), Some(Offset(20)))
                && reading.ends_at(Offset(20), Some(Offset(20)))
                && !reading.ends_at(Offset(99), None)
        );
        assert_eq!((reading.advance(), reading.is_done()), (None, true));
        assert_eq!(reading.stretches(None), vec![]);
    }

    #[test]
    fn what_retention_has_passed_is_left_out() {
        let skipped = |low| {
            let mut reading = Reading::new([2..4, 6..8].map(Offset::range), Offset(10));
            reading.skip_below(low);
            reading.stretches(None)
        };
        assert_eq!(
            skipped(Offset(3)),
            vec![
                (Offset(3), Some(Offset(4))),
                (Offset(6), Some(Offset(8))),
                (Offset(10), None)
            ]
        );
        assert_eq!(
            skipped(Offset(4)),
            vec![(Offset(6), Some(Offset(8))), (Offset(10), None)]
        );
        assert_eq!(skipped(Offset(9)), vec![(Offset(10), None)]);
        assert_eq!(skipped(Offset(12)), vec![(Offset(12), None)]);
    }
}
