//! What the coordinator tells the readers, and what they report back: all of it data in the dataflow.
//!
//! One place decides what is read. The coordinator, beside worker 0 of process 0, lists the lake, asks Kafka for its
//! ends and opens and closes epochs; its [`Command`]s reach every worker through the dataflow's own exchange, so two
//! processes never list for themselves and disagree. The answers come back the same way as [`Note`]s.

use ingest::lake::Object;
use serde::{Deserialize, Serialize};
use sinks::{CleanedRow, Reject};
use std::collections::BTreeMap;

/// A partition of a topic; topics are numbered like kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic's number: 0 pin, 1 geo, 2 user.
    pub topic: u8,
    /// The partition.
    pub partition: i32,
}

/// Where each generation of a partition's records begins: `(first offset, generation)`, ascending.
pub type Generations = BTreeMap<TopicPartition, Vec<(i64, u8)>>;

/// How a pass over history is to be done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pass {
    /// Numbers the passes of one run from 1: a report of an earlier pass is ignored.
    pub number: u32,
    /// The fence whose staging tables take the rows of epoch 0, or none when nothing is staged.
    pub fence: Option<i64>,
    /// Whether cleaned rows are wanted at all.
    pub cleaned: bool,
    /// Per partition, the offset below which the sink already holds cleaned rows and rejects. Empty: stage all.
    pub settled: BTreeMap<TopicPartition, i64>,
    /// Whether records without an offset are settled already.
    pub legacy_settled: bool,
    /// The generations known at the start.
    pub generations: Generations,
    /// Read no record at or past these offsets; with a bound set, partitions that it does not name are not read.
    pub upto: Option<BTreeMap<TopicPartition, i64>>,
}

/// A stretch of a Kafka partition to read.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Consume {
    /// The partition.
    pub at: TopicPartition,
    /// The first offset wanted.
    pub from: i64,
    /// Where to stop, or none for ever.
    pub until: Option<i64>,
    /// The offset whose passing is reported as [`Note::Reached`]: the bound of epoch 0.
    pub bound: i64,
    /// Records are not taken in, only their offsets are reported, as [`Note::Probed`].
    pub probe: bool,
}

/// From the coordinator to one reader.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Command {
    /// A pass over history begins.
    Begin(Box<Pass>),
    /// Read these objects, numbered by the coordinator from 1; the number is a legacy object's rank.
    Read(Vec<(u32, Object)>),
    /// Read this stretch of Kafka.
    Consume(Vec<Consume>),
    /// Make sure that everything offered for staging has reached the staging tables, then report it.
    FlushStaging,
    /// From here on, records of the topic belong to this generation.
    Generation(u8, u8),
    /// The run ends for this reason with this exit code; the dataflow ends by itself right after.
    End(i32, String),
}

/// From the readers to the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Note {
    /// The open epoch has received its first record.
    Data,
    /// An object has been read to its end; `covers` is what its writer says it stands for, `digest` is of its content
    /// where the fetcher computes it.
    Object {
        pass: u32,
        id: u32,
        lines: u64,
        bytes: u64,
        rejected: u64,
        covers: Option<(i64, i64)>,
        digest: Option<u64>,
    },
    /// An object could not be read beyond its first `lines` lines.
    Unreadable {
        pass: u32,
        id: u32,
        lines: u64,
        error: String,
    },
    /// A bounded stretch, or the bound of a live one, has been read: nothing below `next` is missing.
    Reached {
        pass: u32,
        at: TopicPartition,
        from: i64,
        next: i64,
    },
    /// A stretch has been probed: ranges of offsets that hold a record.
    Probed {
        pass: u32,
        at: TopicPartition,
        records: Vec<(i64, i64)>,
    },
    /// Kafka cannot go on with a partition.
    Broken(String),
    /// Everything offered for staging by this worker is in the staging tables: rows per table, rejects last.
    Staged { pass: u32, rows: [u64; 4] },
    /// Staging failed: the pass has to be repeated.
    StagingLost { pass: u32, error: String },
    /// At the close of the note's epoch, everything below `next` has been read.
    Mark { at: TopicPartition, next: i64 },
    /// A generation of a partition begins at this offset.
    Boundary {
        at: TopicPartition,
        generation: u8,
        start: i64,
    },
    /// A cleaned row or a delete of a live epoch.
    Row(CleanedRow),
    /// A reject of a live epoch.
    Rejected(Box<Reject>),
    /// Records read and rejected, and fields that became null, since this worker's last report.
    Counted {
        records: u64,
        rejected: u64,
        reasons: Vec<(String, u64)>,
        fields: Vec<(String, u64)>,
    },
    /// The least timestamp of the records that Kafka gave to a live epoch, in milliseconds since 1970.
    Stamped { oldest: i64 },
    /// The process has been asked to stop.
    Stop,
}

impl Note {
    /// Whether the note belongs to its epoch and must wait for the epoch's close.
    pub fn of_epoch(&self) -> bool {
        matches!(
            self,
            Note::Mark { .. }
                | Note::Boundary { .. }
                | Note::Row(_)
                | Note::Rejected(_)
                | Note::Counted { .. }
                | Note::Stamped { .. }
        )
    }
}
