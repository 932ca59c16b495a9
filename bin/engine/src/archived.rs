//! A range of offsets that an object of the lake holds.

use crate::log::persisted::Starts;
use crate::log::sparse::SparseObject;
use ingest::coverage::{Counted, RangeSet};
use ingest::{Offset, TopicPartition};
use std::ops::Range;

/// An object of the lake, as a start has found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedRange {
    /// The partition.
    pub at: TopicPartition,
    /// The offsets that it covers, or that its records may have.
    pub reach: Range<Offset>,
    /// The offsets that its lines are taken to stand at.
    pub records: RangeSet,
    /// Whether its records do stand there: its writer says what it covers, or its holes are known.
    pub exact: bool,
}

impl ArchivedRange {
    /// Of a counted object among those that start at `starts`; `sparse` says where its lines stand, if that is known.
    pub fn of(object: &Counted, starts: &Starts, sparse: Option<&SparseObject>) -> ArchivedRange {
        let sparse = sparse.filter(|_| object.covers.is_none());
        let whole = object.start..sparse.map_or(object.start.plus(object.lines), |sparse| sparse.end);
        let records: RangeSet = match sparse {
            Some(sparse) => sparse.holes.missing(whole).into_iter().collect(),
            None => [whole].into_iter().collect(),
        };
        ArchivedRange {
            at: object.at(),
            reach: object.covers.clone().unwrap_or_else(|| starts.reach(object)),
            records,
            exact: object.covers.is_some() || sparse.is_some_and(SparseObject::is_placed),
        }
    }
}
