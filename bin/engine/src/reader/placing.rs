//! Where the records of one object or batch belong in the order of the log, and which of them are wanted.

use super::super::log::generations::{Generations, Start, generation_at};
use crate::protocol::{Assigned, LinesHash, Pass};
use crate::topics::Topics;
use dataflows::Kind;
use ingest::coverage::RangeSet;
use ingest::lake::{ObjectMetadata, Place};
use ingest::{Offset, Partition, TopicPartition};
use operators::Position;

/// See the module's head.
pub struct Placing<'a> {
    /// The kind, if the topic tells it.
    pub kind: Option<Kind>,
    /// The topic's name, or `unknown`.
    pub name: &'a str,
    /// Whether the records have offsets; false for a legacy object.
    pub log: bool,
    /// Topic and partition; meaningless for a legacy object.
    pub at: TopicPartition,
    /// The first record's offset, or the object's number for a legacy object.
    pub start: Offset,
    /// Offsets between the records of an object at which none of its lines stands.
    pub holes: Option<&'a RangeSet>,
    /// The generations of the partition, ascending; empty: all records are of generation 1.
    pub starts: &'a [Start],
    /// Records below this offset are persisted in the sink.
    pub persisted: Offset,
    /// Records at or past this offset are not wanted.
    pub upto: Offset,
    /// Lines below this offset were hashed at the last start; none if lines are not hashed.
    pub hashed: Option<Offset>,
    /// Whether each line is a key to delete.
    pub deletes: bool,
    /// Whether pinflow wrote the object, so that a wrapped line stands for another value.
    pub ours: bool,
    /// The object the records come from.
    pub object: Option<&'a str>,
}

/// An object that is being read.
pub struct Reading {
    assigned: Assigned,
    persisted: Offset,
    ours: bool,
    covers: Option<(Offset, Offset)>,
    /// Lines, or records of a legacy object, read so far.
    pub lines: u64,
    /// Those that were rejected.
    pub rejected: u64,
    /// Hashes of the lines.
    pub lines_hash: LinesHash,
}

impl Reading {
    /// Nothing has been read of it yet.
    pub fn new(assigned: Assigned) -> Reading {
        Reading {
            assigned,
            persisted: Offset::ZERO,
            ours: false,
            covers: None,
            lines: 0,
            rejected: 0,
            lines_hash: LinesHash::default(),
        }
    }

    /// Takes in what its writer has recorded; comes before its content.
    pub fn opened(&mut self, metadata: Option<&ObjectMetadata>, pass: &Pass) {
        let object = &self.assigned.object;
        self.ours = metadata.is_some_and(ObjectMetadata::is_ours);
        let covers = metadata.and_then(|metadata| metadata.covers.as_ref());
        self.covers = covers.map(|covers| (covers.start, covers.end));
        self.persisted = match (object.place, object.topic) {
            (Place::Legacy, _) if pass.legacy_persisted => Offset::MAX,
            (Place::Legacy, _) => Offset::ZERO,
            // its writer says that each record stands at its offset
            (Place::Log { partition, .. }, Some(topic)) if self.covers.is_some() => {
                let at = TopicPartition { topic, partition };
                pass.persisted.get(&at).copied().unwrap_or(Offset::ZERO)
            }
            (Place::Log { .. }, _) if self.assigned.persisted => Offset::MAX,
            (Place::Log { .. }, _) => Offset::ZERO,
        };
    }

    /// What its writer says that it covers.
    pub fn covers(&self) -> Option<(Offset, Offset)> {
        self.covers
    }

    /// Where its records belong.
    pub fn placing<'a>(&'a self, pass: &'a Pass, generations: &'a Generations, topics: &'a Topics) -> Placing<'a> {
        let object = &self.assigned.object;
        let topic = object.topic.unwrap_or(u8::MAX);
        let (log, partition, start) = match object.place {
            Place::Log { partition, start } => (true, partition, start),
            Place::Legacy => (false, Partition(0), Offset(i64::from(self.assigned.id))),
        };
        let at = TopicPartition { topic, partition };
        Placing {
            kind: object.topic.and_then(Kind::from_number),
            name: topics.name(topic),
            log,
            at,
            start,
            // what its writer says that it covers holds no hole
            holes: Some(&self.assigned.holes).filter(|holes| self.covers.is_none() && !holes.is_empty()),
            starts: generations.of(at),
            persisted: self.persisted,
            upto: match &pass.upto {
                Some(bounds) if log => bounds.get(&at).copied().unwrap_or(Offset::ZERO),
                _ => Offset::MAX,
            },
            hashed: pass
                .hashed
                .as_ref()
                .map(|hashed| hashed.get(&at).copied().unwrap_or(Offset::ZERO)),
            deletes: object.deletes,
            ours: self.ours,
            object: Some(&object.key),
        }
    }
}

impl Placing<'_> {
    /// The offset of an object's line.
    pub fn offset(&self, line: u64) -> Offset {
        match self.holes {
            None => self.start.plus(line),
            Some(holes) => holes.nth_missing(self.start, line),
        }
    }

    /// The offset of the line after the one at `offset`.
    pub fn next(&self, offset: Offset) -> Offset {
        let next = offset.next();
        let hole = self.holes.and_then(|holes| holes.around(next));
        hole.map_or(next, |hole| hole.end)
    }

    /// The position of the record at `offset`.
    pub fn position(&self, offset: Offset) -> Result<Position, operators::PositionError> {
        Position::new(generation_at(self.starts, offset), offset, self.at.partition)
    }
}
