//! The phases of a run, each a type that holds exactly what is known in it.
//!
//! ```text
//! Listed ──claim──▶ Claimed ──survey──▶ Surveyed ──hydrate──▶ Live ──follow──▶ the end
//!                                          │  ▲
//!                                          ▼  │ again, when a sink lost what was staged
//!                                         Replay
//! ```
//!
//! A phase ends where the next one begins, so no method of an earlier phase can be called later. All of them borrow the
//! [`Run`], which outlives an error of any of them: the processes are told how it ended, and the target is closed.

use super::lake_read::LakeRead;
use super::missing::{KnownTopics, MissingTopics};
use super::run::Run;
use crate::answer::Answer;
use crate::collect::ClosedEpoch;
use crate::log::growth::PartitionWatermarks;
use crate::recorded::Recorded;
use crate::watch::Watch;
use ingest::coverage::RangeSet;
use ingest::{Offset, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};

/// Per partition, the first offset that is not wanted.
pub(super) type Bounds = BTreeMap<TopicPartition, Offset>;

/// The lake is listed; nothing keeps another run from committing.
pub(super) struct Listed<'a> {
    pub(super) run: &'a mut Run,
    /// The objects of the lake.
    pub(super) read: LakeRead,
}

/// The fence is taken: no other run commits.
pub(super) struct Claimed<'a> {
    pub(super) run: &'a mut Run,
    pub(super) read: LakeRead,
    /// What the tables answer for, read under the fence.
    pub(super) recorded: Recorded,
}

/// Kafka was looked at. What was found is what epoch 0 reaches over; what changes after it is growth.
pub(super) struct Surveyed<'a> {
    pub(super) run: &'a mut Run,
    pub(super) read: LakeRead,
    pub(super) recorded: Recorded,
    /// Covers nothing; it holds what is known of the log before a record is read.
    pub(super) answer: Answer,
    /// Where Kafka begins and ends.
    pub(super) watermarks: PartitionWatermarks,
    pub(super) missing: MissingTopics,
    /// Sees what changes in Kafka from now on; none in a backfill and without Kafka.
    pub(super) watch: Option<Watch>,
}

/// Epoch 0 is computed, in one pass over history or in several.
pub(super) struct Replay<'a> {
    pub(super) run: &'a mut Run,
    /// What this pass has read of the lake.
    pub(super) read: LakeRead,
    pub(super) recorded: Recorded,
    /// What the commit of epoch 0 will answer for.
    pub(super) answer: Answer,
    /// Where Kafka begins and ends; retention moves the beginning.
    pub(super) watermarks: PartitionWatermarks,
    pub(super) missing: MissingTopics,
    pub(super) watch: Option<Watch>,
    /// Where a bounded replay ends.
    pub(super) upto: Option<Bounds>,
    /// Whether cleaned tables are reconciled in full.
    pub(super) full: bool,
    /// What earlier passes have computed: they are committed as one.
    pub(super) before: Option<ClosedEpoch>,
    /// Whether lake and Kafka have been compared.
    pub(super) compared: bool,
    /// What earlier passes did not find; none in the first one.
    pub(super) lost: Option<Lost>,
}

/// What a pass over history did not find.
#[derive(Clone, Debug, Default)]
pub(super) struct Lost {
    /// None before a pass has come so far that it knows them; it has read nothing from Kafka then.
    pub(super) gaps: Option<BTreeMap<TopicPartition, RangeSet>>,
    /// Numbers of damaged objects.
    pub(super) damaged: BTreeSet<u32>,
    /// What was read from Kafka although the lake has it.
    pub(super) again: BTreeMap<TopicPartition, RangeSet>,
}

/// Epoch 0 is committed. A backfill ends here; a run follows Kafka.
pub(super) struct Live<'a> {
    pub(super) run: &'a mut Run,
    /// What the last commit answers for, and what the next one will.
    pub(super) answer: Answer,
    /// The partitions that are read without an end.
    pub(super) partitions: BTreeSet<TopicPartition>,
    /// Topics that exist whatever Kafka says.
    pub(super) known: KnownTopics,
    pub(super) missing: MissingTopics,
    pub(super) watch: Option<Watch>,
}
