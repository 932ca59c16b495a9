//! What the coordinator tells the readers, and what they report back: all of it data in the dataflow.
//!
//! One place decides what is read. The coordinator, beside worker 0 of process 0, lists the lake, reads Kafka's
//! watermarks, opens and closes epochs; its [`Command`]s reach every worker through the dataflow's own exchange, so two
//! processes never list for themselves and disagree. The answers come back the same way as [`ReaderReport`]s.

use super::error::{Class, ReaderError};
use super::log::generations::Generations;
use ingest::coverage::RangeSet;
use ingest::kafka::RecordId;
use ingest::lake::Object;
use ingest::{Offset, TopicPartition};
use serde::{Deserialize, Serialize};
use sinks::{CleanedRow, Reject};
use std::collections::BTreeMap;
use twox_hash::XxHash3_64;

/// How a pass over history is to be done.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pass {
    /// Numbers the passes of one run from 1: a report of an earlier pass is ignored.
    pub number: u32,
    /// The fence whose staging tables take the rows of epoch 0, or none when nothing is staged.
    pub fence: Option<i64>,
    /// Whether cleaned rows are wanted at all.
    pub cleaned: bool,
    /// Per partition, the offset below which the sink already holds cleaned rows and rejects. Empty: stage all.
    pub persisted: BTreeMap<TopicPartition, Offset>,
    /// Whether records without an offset are persisted already.
    pub legacy_persisted: bool,
    /// Per partition, the offset up to which the content of the lake was hashed at the last start; none where hashes are
    /// not recorded, so that nothing is hashed.
    pub hashed: Option<BTreeMap<TopicPartition, Offset>>,
    /// The generations known at the start.
    pub generations: Generations,
    /// Read no record at or past these offsets; with a bound set, partitions that it does not name are not read.
    pub upto: Option<BTreeMap<TopicPartition, Offset>>,
}

/// An object to read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Assigned {
    /// The coordinator's number of the object, from 1; a legacy object's rank.
    pub id: u32,
    /// The object.
    pub object: Object,
    /// Whether the sink holds all of it already. Of an object whose writer says what it covers each record is judged
    /// by itself instead.
    pub persisted: bool,
    /// Offsets from its first one on at which none of its lines stands. Of an object whose writer says what it covers
    /// there are none.
    pub holes: RangeSet,
}

/// A range of a Kafka partition to read.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Consume {
    /// The partition.
    pub at: TopicPartition,
    /// The first offset wanted.
    pub from: Offset,
    /// Where to stop, or none to read until the run ends.
    pub until: Option<Offset>,
    /// The offset whose passing is reported as [`ReaderReport::Reached`]: the bound of epoch 0.
    pub bound: Offset,
    /// What the records are wanted for.
    pub purpose: Purpose,
    /// The last record known before `from`: a topic that was created again has another one there.
    pub after: Option<RecordId>,
}

/// What the records of a range are wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// They are taken in.
    Take,
    /// They are taken in although the lake has them too, and none of them is persisted.
    TakeAgain,
    /// Only their offsets are reported, as [`ReaderReport::Probed`].
    Probe,
}

/// From the coordinator to one reader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// A pass over history begins.
    Begin(Box<Pass>),
    /// Read these objects.
    Read(Vec<Assigned>),
    /// Read this range of Kafka.
    Consume(Consume),
    /// Make sure that everything offered for staging has reached the staging tables, then report it.
    FlushStaging,
    /// Read nothing more from Kafka, and report how far each partition has been read.
    Hold,
    /// Go on reading; records not yet read are placed by these generations.
    Resume(Generations),
    /// The run ends; the dataflow ends by itself right after.
    End(Ending),
}

/// How a run has ended, as its coordinator tells every process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// All is committed that was to be committed.
    Done,
    /// The run could not go on.
    Failed {
        /// What a restart can do.
        class: Class,
        /// Why.
        text: String,
    },
}

/// From the readers to the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ReaderReport {
    /// The open epoch has received its first record.
    Data,
    /// An object has been read to its end.
    Object { pass: u32, id: u32, read: ObjectRead },
    /// An object is damaged: it could not be read beyond its first `lines` lines. Its writer may have recorded its end.
    Damaged {
        pass: u32,
        id: u32,
        lines: u64,
        end: Option<Offset>,
        error: String,
    },
    /// A bounded range, or the bound of a live one, has been read: nothing below `next` is missing.
    Reached { pass: u32, at: TopicPartition, mark: Mark },
    /// A range has been probed: ranges of offsets that hold a record.
    Probed {
        pass: u32,
        at: TopicPartition,
        records: Vec<(Offset, Offset)>,
    },
    /// A reader cannot go on.
    Broken(ReaderError),
    /// Everything offered for staging by this worker is in the staging tables: rows per table, rejects last.
    Staged { pass: u32, rows: [u64; 4] },
    /// Staging failed: the pass has to be repeated.
    StagingLost { pass: u32, error: String },
    /// The reader of a worker holds, having read so far.
    Held { places: Vec<(TopicPartition, Offset)> },
    /// What belongs to the report's epoch, and waits for its close.
    Epoch(EpochReport),
    /// The process has been asked to stop.
    Stop,
}

/// What a reader reports of an epoch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum EpochReport {
    /// How far a partition has been read at the close.
    Mark { at: TopicPartition, mark: Mark },
    /// A cleaned row or a delete.
    Row(CleanedRow),
    /// A reject.
    Rejected(Box<Reject>),
    /// What was counted since this worker's last report.
    Counted(Counts),
    /// The least timestamp of the records that Kafka gave, in milliseconds since 1970.
    Stamped { oldest: i64 },
}

/// Records, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Records read.
    pub records: u64,
    /// Records rejected.
    pub rejected: u64,
    /// Rejects by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Fields that became null, by `kind.field`.
    pub fields: BTreeMap<String, u64>,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.records += other.records;
        self.rejected += other.rejected;
        for (reason, n) in other.reasons {
            *self.reasons.entry(reason).or_default() += n;
        }
        for (field, n) in other.fields {
            *self.fields.entry(field).or_default() += n;
        }
    }
}

/// What reading an object to its end has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRead {
    /// Lines, or records of an object without offsets.
    pub lines: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Records that were rejected.
    pub rejected: u64,
    /// What its writer says it covers.
    pub covers: Option<(Offset, Offset)>,
    /// A hash of its content; always there for an object without offsets.
    pub digest: Option<u64>,
    /// Hashes of the lines of an object of the log, added up.
    pub lines_hash: LinesHash,
}

/// Hashes of lines with their offsets, added up: the same however the lines are cut into objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinesHash {
    /// Of the lines that were hashed at the last start.
    pub known: u64,
    /// Of all lines.
    pub all: u64,
}

impl LinesHash {
    /// Adds a line; `known` says whether it was hashed at the last start.
    pub fn add(&mut self, offset: Offset, line: &[u8], known: bool) {
        let hash = XxHash3_64::oneshot_with_seed(offset.0 as u64, line);
        self.all = self.all.wrapping_add(hash);
        if known {
            self.known = self.known.wrapping_add(hash);
        }
    }
}

impl std::ops::AddAssign for LinesHash {
    fn add_assign(&mut self, other: LinesHash) {
        self.known = self.known.wrapping_add(other.known);
        self.all = self.all.wrapping_add(other.all);
    }
}

/// How far a partition has been read from Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Everything below has been read.
    pub next: Offset,
    /// The last record read.
    pub last: Option<RecordId>,
    /// Ranges of offsets passed since the last mark that hold no record.
    pub holes: Vec<(Offset, Offset)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64_with_seed;

    /// Hashes are recorded, so no version may have others: of all lengths that XXH3 treats differently.
    #[test]
    fn lines_have_the_hashes_that_earlier_versions_recorded() {
        let bytes: Vec<u8> = (0..2_000u32).map(|n| (n * n / 7) as u8).collect();
        for length in 0..bytes.len() {
            let (offset, line) = (Offset(length as i64 * 1_000_003), &bytes[..length]);
            let mut hash = LinesHash::default();
            hash.add(offset, line, false);
            let earlier = xxh3_64_with_seed(line, offset.0 as u64);
            assert_eq!(hash, LinesHash { known: 0, all: earlier }, "{length} bytes");
        }
    }
}
