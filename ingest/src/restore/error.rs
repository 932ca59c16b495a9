//! What stops a restore.

use crate::archive::ArchiveError;
use crate::coverage::{Gap, OrderConflict, RangeSet};
use crate::kafka::{KafkaError, LibrdkafkaError};
use crate::lake::LakeError;
use std::ops::Range;
use std::time::Duration;
use values::{Offset, Partition};

/// Why records were not restored. What has been written stays, and the next start goes on behind it, unless the error
/// says that the topic holds something else.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The lake.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The audit of the lake.
    #[error(transparent)]
    Audit(#[from] ArchiveError),
    /// Neither topic has an object with offsets.
    #[error("the lake at {url} holds no records of {topics} (check --lake and --topics)")]
    NothingThere {
        /// The lake.
        url: String,
        /// The topics.
        topics: String,
    },
    /// A topic that was named has no object.
    #[error("the lake holds no records of topic {topic} (leave it out of --topics, or add --allow-missing-topic)")]
    NoRecords {
        /// The topic.
        topic: String,
    },
    /// Objects without offsets.
    #[error(
        "{count} objects of older layouts have neither offsets nor partitions, first {first}: they cannot be restored \
         (leave them out with --skip-older-layouts)"
    )]
    OlderLayouts {
        /// How many.
        count: u64,
        /// The first of them.
        first: String,
    },
    /// Offsets that the lake lacks.
    #[error(
        "{count} {} missing from the lake, first {first} (restore the objects, or accept the gap with --accept-gap)",
        if *count == 1 { "range is" } else { "ranges are" }
    )]
    Gaps {
        /// How many ranges.
        count: usize,
        /// The first of them.
        first: Gap,
    },
    /// Objects of unknown order.
    #[error("{0}: objects interleave there, and nothing in the lake shows their order")]
    Order(OrderConflict),
    /// Objects that are not what their writers recorded.
    #[error("{count} objects are damaged, first {object}: {what} (see `pinflow audit --deep`)")]
    Damaged {
        /// How many.
        count: u64,
        /// The first of them.
        object: String,
        /// What is wrong with it.
        what: String,
    },
    /// Two objects have different records at the same offset.
    #[error("objects hold different records at the offsets {offsets} of {topic}/{partition} (see `pinflow audit`)")]
    Differ {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// The offsets.
        offsets: RangeSet,
    },
    /// Deletes in objects of their own lie among values at the same offsets.
    #[error(
        "objects of the folder tombstone/ overlap with others of {topic}/{partition}: the offsets of their records are \
         not known"
    )]
    Deletes {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
    },
    /// A line that no record of Kafka can be.
    #[error("{object} has a line of {bytes} bytes at offset {offset}, more than a record may have")]
    LineTooLarge {
        /// The object.
        object: String,
        /// The offset of the line.
        offset: Offset,
        /// Its length.
        bytes: u64,
    },
    /// An object has other lines than when it was listed.
    #[error("{object} has {lines} lines, its writer recorded {recorded} (see `pinflow audit --deep`)")]
    Lines {
        /// The object.
        object: String,
        /// The lines that were read.
        lines: u64,
        /// The lines that were recorded.
        recorded: u64,
    },
    /// An object has more lines than there are offsets before the next object.
    #[error(
        "{object} has {lines} lines or more, but the next object begins at offset {next}: the offsets of its records are \
         not known (see `pinflow audit --deep`)"
    )]
    MoreThanNamed {
        /// The object.
        object: String,
        /// The lines that were read.
        lines: u64,
        /// Where the next object begins.
        next: Offset,
    },
    /// Offsets that were covered when the lake was listed have no records.
    #[error(
        "{gap}: the lake had these offsets when it was listed (was it compacted or changed meanwhile? start again)"
    )]
    Vanished {
        /// The offsets.
        gap: Gap,
    },
    /// Kafka lacks the topic.
    #[error("topic {topic} does not exist in Kafka (create it, or add --create-topics)")]
    NoTopic {
        /// The topic.
        topic: String,
    },
    /// Kafka has too few partitions.
    #[error(
        "topic {topic} has {has} partitions, the lake has records of {needed} (add partitions: records go back into the \
         partition that they came from)"
    )]
    FewPartitions {
        /// The topic.
        topic: String,
        /// How many it has.
        has: i32,
        /// How many are needed.
        needed: i32,
    },
    /// A topic that loses records by itself.
    #[error(
        "topic {topic} is compacted: Kafka would remove restored records (set cleanup.policy=delete, and compact it again \
         after the restore)"
    )]
    Compacted {
        /// The topic.
        topic: String,
    },
    /// The topic holds records that no restore of this lake has written.
    #[error(
        "topic {topic} is not empty: partition {partition} holds {}..{}, {why} (restore into a new topic, with --rename)",
        .held.start, .held.end
    )]
    NotEmpty {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// The offsets that Kafka holds.
        held: Range<Offset>,
        /// Why they are not ours.
        why: &'static str,
    },
    /// The topic holds restored records, and others among them, or not all of them.
    #[error(
        "topic {topic} does not hold what was restored: {why} at offset {offset} of partition {partition} (delete the \
         topic and restore it again)"
    )]
    Spoiled {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// The offset in Kafka.
        offset: Offset,
        /// What is wrong there.
        why: Wrong,
    },
    /// The lake has lost its beginning since the restore began.
    #[error(
        "the lake's records of {topic}/{partition} begin at offset {lake} now, those in topic {into} at {restored}: the \
         lake has lost its beginning, so that the topic can be neither continued nor compared (bring the objects back, or \
         restore the rest into another topic, with --rename)"
    )]
    BeginningLost {
        /// The topic in the lake.
        topic: String,
        /// The topic in Kafka.
        into: String,
        /// The partition.
        partition: Partition,
        /// Where the lake begins.
        lake: Offset,
        /// The original offset of Kafka's first record.
        restored: Offset,
    },
    /// Another restore works on the topic.
    #[error("another restore writes topic {topic}")]
    Fenced {
        /// The topic.
        topic: String,
    },
    /// Kafka does not let us join the group that keeps other restores away.
    #[error("cannot join the consumer group {group}, which keeps other restores away")]
    Group {
        /// The group.
        group: String,
        /// Kafka's answer.
        source: LibrdkafkaError,
    },
    /// Kafka does not take a record.
    #[error("Kafka does not take the record {topic}/{partition} {offset} of {bytes} bytes")]
    Refused {
        /// The topic in Kafka.
        topic: String,
        /// The partition.
        partition: Partition,
        /// The record's original offset.
        offset: Offset,
        /// The bytes of its key and value.
        bytes: usize,
        /// Kafka's answer.
        #[source]
        source: LibrdkafkaError,
    },
    /// Kafka did not acknowledge records for too long.
    #[error("Kafka acknowledged no record of {topic}/{partition} for {waited:?} (start again to go on)")]
    Unacknowledged {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// For how long.
        waited: Duration,
        /// What the last attempt met.
        #[source]
        source: LibrdkafkaError,
    },
    /// It was told to stop.
    #[error("stopped before its end: the same command goes on where it stopped")]
    Stopped,
    /// A task of ours ended in a panic, which has been reported.
    #[error("a task panicked")]
    Panicked,
}

/// What is wrong with a topic that a restore has written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The last record says that the first one stands elsewhere than Kafka's first record.
    #[error("more or fewer records precede the one")]
    Position,
    /// A record was written elsewhere than behind the one before.
    #[error("another writer has written, so that a record came to stand")]
    OtherWriter,
    /// The record is not the lake's.
    #[error("a record differs from the lake's")]
    OtherRecord,
    /// There is no record where there should be one.
    #[error("a record of the lake is missing")]
    Missing,
    /// There is a record where there should be none.
    #[error("there is a record that the lake does not have")]
    Surplus,
}
