//! Records into the plain evaluator: decoded by the engine's decoder, placed and counted here on their own.

use super::error::VerifyError;
use super::recorded::Recorded;
use dataflows::{Decoder, Kind, Limits, Raw, Reason, State};
use engine::Topics;
use ingest::coverage::RangeSet;
use ingest::lake::{Object, ObjectMetadata, Original};
use ingest::{Offset, Partition, TopicPartition};
use operators::Position;
use sinks::{Reject, RejectPlace, UNKNOWN_TOPIC};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

/// The numbers of a legacy object and of a record in it share an offset: the lower bits are the record's.
const RECORD_BITS: u32 = 20;

/// Dead letters by source and place, with their reasons.
pub type Rejects = HashMap<String, BTreeMap<i64, &'static str>>;

/// Receives dead letters with their bytes.
pub type TakeRejects<'a> = &'a mut dyn FnMut(Vec<Reject>) -> Result<(), VerifyError>;

/// What a replay has read.
pub struct Replayed {
    /// The latest row of every key.
    pub state: State,
    /// Dead letters.
    pub rejects: Rejects,
    /// Records read, each arrival counted.
    pub records: u64,
    /// Those that were rejected.
    pub rejected: u64,
    /// Dead letters with their bytes, until they are taken.
    fresh: Vec<Reject>,
    /// Offsets that were asked of Kafka and yielded no record: markers, aborted records, and what compaction has
    /// removed, perhaps after the tables had it.
    pub vanished: BTreeMap<TopicPartition, RangeSet>,
    /// Inexact objects of the lake, by their beginnings: inside one a record has another offset than it has in Kafka.
    pub inexact: BTreeMap<TopicPartition, Vec<Range<Offset>>>,
    decoder: Decoder,
    topics: Topics,
}

/// Where a record comes from.
#[derive(Clone, Copy)]
pub enum Origin<'a> {
    /// The log, by way of an object or of Kafka.
    Log {
        /// Topic and partition.
        at: TopicPartition,
        /// The offset.
        offset: Offset,
        /// The object, if one.
        object: Option<&'a str>,
    },
    /// An object without offsets.
    Legacy {
        /// The object.
        object: &'a Object,
        /// The record's number in it.
        index: i64,
    },
}

/// An object that is being read.
pub struct Reading {
    /// The object.
    pub object: Object,
    /// What its writer recorded.
    pub metadata: ObjectMetadata,
    /// The lines, or records of an older layout, read so far.
    pub lines: u64,
    /// Offsets between its records at which none of its lines stands.
    holes: RangeSet,
}

impl Reading {
    /// Of which nothing has been read yet.
    pub fn of(object: Object) -> Reading {
        Reading {
            object,
            metadata: ObjectMetadata::default(),
            lines: 0,
            holes: RangeSet::default(),
        }
    }

    /// Takes in what its writer recorded; comes before its content.
    pub fn opened(&mut self, metadata: ObjectMetadata, recorded: &Recorded) {
        // what its writer says that it covers holds no hole
        if metadata.covers.is_none() {
            let place = self.object.log_place();
            let sparse = place
                .and_then(|(topic, partition, start)| recorded.sparse(TopicPartition::new(topic, partition), start));
            self.holes = sparse.map(|sparse| sparse.holes.clone()).unwrap_or_default();
        }
        self.metadata = metadata;
    }

    /// The places of the lines that come after those read, as far as the tables answer for them.
    fn places(&self, recorded: &Recorded) -> impl Iterator<Item = Option<Origin<'_>>> {
        let place = self.object.log_place();
        let first = place.map(|(.., start)| self.holes.nth_missing(start, self.lines));
        let offsets = std::iter::successors(first, |offset| Some(self.holes.nth_missing(offset.next(), 0)));
        offsets.map(move |offset| {
            let (topic, partition, _) = place?;
            let (at, object) = (TopicPartition::new(topic, partition), Some(self.object.key.as_str()));
            recorded.holds(at, offset).then_some(Origin::Log { at, offset, object })
        })
    }
}

impl Replayed {
    /// Nothing read yet; `state` says what is kept of rows.
    pub fn new(limits: Limits, topics: Topics, state: State) -> Replayed {
        Replayed {
            state,
            rejects: Rejects::new(),
            records: 0,
            rejected: 0,
            fresh: Vec::new(),
            vanished: BTreeMap::new(),
            inexact: BTreeMap::new(),
            decoder: Decoder::new(limits),
            topics,
        }
    }

    /// Whether Kafka was asked for this offset and holds no record there.
    pub fn has_vanished(&self, at: TopicPartition, offset: Offset) -> bool {
        self.vanished.get(&at).is_some_and(|offsets| offsets.contains(offset))
    }

    /// The same by a dead letter's source, as `pin/0`.
    pub fn letter_has_vanished(&self, source: &str, offset: i64) -> bool {
        self.source(source)
            .is_some_and(|at| self.has_vanished(at, Offset(offset)))
    }

    /// The partition of a dead letter's source.
    pub fn source(&self, source: &str) -> Option<TopicPartition> {
        let (name, partition) = source.rsplit_once('/')?;
        Some(TopicPartition::new(self.topics.number(name)?, partition.parse().ok()?))
    }

    /// The inexact object around an offset.
    pub fn inexact_around(&self, at: TopicPartition, offset: Offset) -> Option<Range<Offset>> {
        let objects = self.inexact.get(&at)?;
        let before = objects.partition_point(|object| object.start <= offset);
        objects[..before].last().filter(|object| offset < object.end).cloned()
    }

    /// Hands over the dead letters that came since the last call.
    pub fn forward_rejects(&mut self, take: TakeRejects<'_>) -> Result<(), VerifyError> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        take(std::mem::take(&mut self.fresh))
    }

    /// Reads further lines of an object of the log. Returns their number.
    pub fn lines(&mut self, recorded: &Recorded, reading: &Reading, chunk: &[u8]) -> u64 {
        let mut lines = 0;
        let each = chunk.split_inclusive(|byte| *byte == b'\n');
        for (line, place) in each.zip(reading.places(recorded)) {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            lines += 1;
            let Some(origin) = place else { continue };
            let wrapped = reading.metadata.is_ours().then(|| ingest::lake::original(line));
            match wrapped.flatten() {
                Some(Original::Value(value)) => self.record(recorded, origin, None, Some(&value)),
                Some(Original::Tombstone(key)) => self.record(recorded, origin, key.as_deref(), None),
                None if reading.object.deletes => self.record(recorded, origin, Some(line), None),
                None => self.record(recorded, origin, None, Some(line)),
            }
        }
        lines
    }

    /// Counts the next line of an object, which was too large to be read whole.
    pub fn too_large(&mut self, recorded: &Recorded, reading: &Reading, prefix: &[u8]) {
        if let Some(origin) = reading.places(recorded).next().flatten() {
            self.records += 1;
            let kept = ingest::lake::kept_of_line(prefix, reading.metadata.is_ours());
            self.reject(origin, None, Some(&kept), Reason::TooLarge);
        }
    }

    /// Reads one record of the log.
    pub fn record(&mut self, recorded: &Recorded, origin: Origin<'_>, key: Option<&[u8]>, value: Option<&[u8]>) {
        let Origin::Log { at, offset, .. } = origin else { return };
        self.records += 1;
        match (Kind::from_number(at.topic), recorded.position(at, offset)) {
            (Some(kind), Ok(position)) => self.apply(
                origin,
                Raw {
                    kind,
                    position,
                    key,
                    value,
                },
            ),
            // beyond what a position can hold: the engine has no place for it either
            _ => self.rejected += 1,
        }
    }

    /// Reads a whole object without offsets, the `number`-th of the listing counted from 1. Returns its records.
    pub fn legacy(&mut self, object: &Object, number: u32, bytes: &[u8]) -> u64 {
        let of_topic = object.topic.and_then(Kind::from_number);
        let mut records = 0;
        for (value, index) in dataflows::split_values(bytes).zip(0..) {
            records += 1;
            self.records += 1;
            let origin = Origin::Legacy { object, index };
            // what lies beyond the limit has no place in the order of the log
            let position = if index < 1 << RECORD_BITS {
                Position::new(0, Offset(i64::from(number) << RECORD_BITS | index), Partition(0)).ok()
            } else {
                None
            };
            let value = match value {
                Ok(value) => value,
                Err(reason) => {
                    self.reject(origin, None, Some(bytes), reason);
                    continue;
                }
            };
            match (position, of_topic.or_else(|| dataflows::kind_of_fields(value))) {
                (None, _) => self.reject(origin, None, Some(value), Reason::TooLarge),
                (Some(_), None) => self.reject(origin, None, Some(value), Reason::NoKey),
                (Some(position), Some(kind)) => {
                    self.apply(
                        origin,
                        Raw {
                            kind,
                            position,
                            key: None,
                            value: Some(value),
                        },
                    );
                }
            }
        }
        records
    }

    fn apply(&mut self, origin: Origin<'_>, raw: Raw<'_>) {
        match self.decoder.decode_with_row(raw) {
            Ok(decoded) => self.state.apply(decoded),
            Err(reason) => self.reject(origin, raw.key, raw.value, reason),
        }
    }

    fn reject(&mut self, origin: Origin<'_>, key: Option<&[u8]>, value: Option<&[u8]>, reason: Reason) {
        self.rejected += 1;
        let (topic, place) = match origin {
            Origin::Log { at, offset, object } => {
                let place = RejectPlace::Log {
                    partition: at.partition.0,
                    offset: offset.0,
                    object: object.map(str::to_owned),
                };
                (Some(at.topic), place)
            }
            Origin::Legacy { object, index } => {
                let key = object.key.clone();
                (object.topic, RejectPlace::Object { object: key, index })
            }
        };
        let value = match reason {
            Reason::TooLarge => value.map(ingest::lake::kept),
            _ => value,
        };
        let reject = Reject {
            topic: topic.map_or(UNKNOWN_TOPIC, |topic| self.topics.name(topic)).to_owned(),
            place,
            reason: reason.as_str().to_owned(),
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
        };
        let (source, index) = reject.source();
        // of a record that arrives again in another form, as in the tables, the first one stays
        let of_source = self.rejects.entry(source).or_default();
        of_source.entry(index).or_insert(reason.as_str());
        self.fresh.push(reject);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::lake::{Encoding, Place};
    use operators::Ind;
    use sinks::{PartitionProgress, Progress};

    fn topics() -> Topics {
        Topics::new(["pin", "geo", "user"].map(|name| Some(name.to_owned())))
    }

    fn replayed() -> Replayed {
        Replayed::new(Limits::default(), topics(), State::new())
    }

    fn object(topic: Option<u8>, place: Place) -> Object {
        Object {
            key: "o".into(),
            size: 0,
            etag: None,
            topic,
            place,
            encoding: Encoding::Plain,
            deletes: false,
            sidecar: false,
        }
    }

    fn recorded(first: i64, next: i64) -> Recorded {
        let partition = PartitionProgress {
            first,
            next,
            ..PartitionProgress::default()
        };
        let progress = Progress {
            partitions: [(("geo".to_owned(), 0), partition)].into(),
            ..Progress::default()
        };
        Recorded::of(&progress, &topics())
    }

    #[test]
    fn only_what_the_tables_answer_for_is_read() {
        let mut replayed = replayed();
        let object = Reading::of(object(
            Some(1),
            Place::Log {
                partition: Partition(0),
                start: Offset(10),
            },
        ));
        let chunk = b"{\"ind\":1}\n{\"ind\":2}\nno\n{\"ind\":2,\"country\":\"A\"}\n{\"ind\":3}\n";
        let lines = replayed.lines(&recorded(11, 14), &object, chunk);
        assert_eq!((lines, replayed.records, replayed.rejected), (5, 3, 1));
        let rows: Vec<_> = replayed
            .state
            .cleaned(Kind::Geo)
            .map(|(ind, at, _)| (ind, at.offset().0))
            .collect();
        assert_eq!(rows, [(Ind(2), 13)]);
        assert_eq!(replayed.rejects["geo/0"], BTreeMap::from([(12, "not_json")]));
        assert_eq!(replayed.fresh.len(), 1);
        assert_eq!(replayed.fresh[0].value.as_deref(), Some(&b"no"[..]));
    }

    #[test]
    fn keys_of_deletes_and_too_large_lines_have_their_offsets() {
        let mut replayed = replayed();
        let mut reading = Reading::of(object(
            Some(1),
            Place::Log {
                partition: Partition(0),
                start: Offset(0),
            },
        ));
        let recorded = recorded(0, 100);
        reading.lines += replayed.lines(&recorded, &reading, b"{\"ind\":7}\n");
        replayed.too_large(&recorded, &reading, b"xxx");
        let mut keys = Reading::of(object(
            Some(1),
            Place::Log {
                partition: Partition(0),
                start: Offset(2),
            },
        ));
        keys.object.deletes = true;
        replayed.lines(&recorded, &keys, b"7\n");
        assert_eq!(replayed.state.cleaned(Kind::Geo).count(), 0);
        let deleted: Vec<_> = replayed
            .state
            .deleted(Kind::Geo)
            .map(|(ind, at)| (ind, at.offset().0))
            .collect();
        assert_eq!(deleted, [(Ind(7), 2)]);
        assert_eq!(replayed.rejects["geo/0"], BTreeMap::from([(1, "too_large")]));
    }

    #[test]
    fn objects_without_offsets_rank_by_their_number_and_below_the_log() {
        let mut replayed = replayed();
        let legacy = object(None, Place::Legacy);
        let records = b"[{\"ind\":1,\"country\":\"A\"},{\"ind\":2,\"country\":\"B\"},{\"what\":1}]";
        assert_eq!(replayed.legacy(&legacy, 2, records), 3);
        assert_eq!(replayed.legacy(&legacy, 1, b"{\"ind\":1,\"country\":\"old\"}"), 1);
        let log = Reading::of(object(
            Some(1),
            Place::Log {
                partition: Partition(0),
                start: Offset(0),
            },
        ));
        replayed.lines(&recorded(0, 1), &log, b"{\"ind\":2,\"country\":\"C\"}");
        let mut rows: Vec<_> = replayed
            .state
            .cleaned(Kind::Geo)
            .map(|(ind, at, row)| (ind, at.generation(), row[1].clone()))
            .collect();
        rows.sort();
        assert_eq!(rows, [(Ind(1), 0, "A".into()), (Ind(2), 1, "C".into())]);
        assert_eq!(replayed.rejects["o"], BTreeMap::from([(2, "no_key")]));
    }
}
