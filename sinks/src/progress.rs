//! What the tables answer for: the recorded log offsets and what else a restart needs to know.
//!
//! `progress` is one row, `frontier` one row a partition; both are written by every commit in the transaction that
//! writes the tables, so a reader who reads them in one snapshot knows which records the tables hold.
//!
//! Only what differs from the last commit is sent: the frontier of most partitions stands still in most commits.

mod read;
mod row;
mod shared_set;
mod write;

pub(crate) use read::read;
pub(crate) use row::{missing_row, one_row};
pub use shared_set::SharedSet;
pub(crate) use write::{FrontierMoves, Statements};

use crate::definition::Definition;
use crate::hash::fnv1a;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The topic of objects that lie in no topic's folder.
pub const UNKNOWN_TOPIC: &str = "unknown";

/// The progress of a schema, as read at the start, and as every step carries it.
///
/// A step's progress is complete, not a difference. Partitions, generations, partition counts and gaps that Postgres
/// knows and a step does not are left as they are; only a full snapshot, which has looked at all of the log, forgets
/// gaps of its partitions and topics that it does not hold: they have been filled. Partitions go by
/// [`crate::Step::forget_topics`].
///
/// Tables of earlier versions lack some of the columns: what they would say is absent or empty then.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// The fence number in the row. Ignored in a step: a sink commits under its own.
    pub fence: i64,
    /// How many commits the schema has seen; 0: its tables are empty. Ignored in a step.
    pub commits: i64,
    /// The last closed epoch. In a step: [`crate::Step::epoch`] counts instead.
    pub epoch: u64,
    /// Per (topic, partition) what is covered.
    pub partitions: BTreeMap<(String, i32), PartitionProgress>,
    /// The history without offsets.
    pub legacy: Legacy,
    /// Which history without offsets the cleaned tables cover; `None`: not covered, or not known. A commit that empties
    /// the cleaned tables records `None` whatever the step says.
    pub cleaned_legacy: Option<Legacy>,
    /// Topic name of each kind as of the last commit, by the kind's name; empty: not recorded.
    pub topics: BTreeMap<String, String>,
    /// Per topic, how many partitions were seen in Kafka. Entries that a step does not name stay.
    pub partition_counts: BTreeMap<String, i32>,
    /// [`crate::Definition::hash`] of the last commit; `None` before the first. Ignored in a step.
    pub definitions: Option<u64>,
    /// When topics grew.
    pub generations: SharedSet<Generation>,
    /// Accepted holes.
    pub gaps: SharedSet<AcceptedGap>,
    /// The options that are part of the definitions, for people.
    pub options: serde_json::Value,
    /// The run that committed last, for people.
    pub run_id: String,
    /// Running counts, such as unreadable fields by name.
    pub counters: serde_json::Value,
}

/// What is covered of one partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartitionProgress {
    /// The first offset covered.
    pub first: i64,
    /// One past the last offset covered: never moves back.
    pub next: i64,
    /// The same for the cleaned tables; `None` when they are not kept.
    pub cleaned_next: Option<i64>,
    /// Covered ranges, holes and skipped objects, as the caller likes to keep them. Compared as JSON; best left as it
    /// was found at the start, since a change costs a bigger row.
    pub detail: Arc<serde_json::Value>,
    /// The last Kafka record below `next`, when one was seen.
    pub last: Option<LastRecord>,
}

/// What identifies a topic's incarnation: a record that a topic made again would not have at this offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRecord {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp, in milliseconds since 1970-01-01 UTC.
    pub timestamp: i64,
    /// A hash of its key and value.
    pub hash: u64,
}

/// History without offsets: how many records, and a hash over the objects that hold them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legacy {
    /// Records.
    pub count: u64,
    /// Hash over the objects' names and contents.
    pub hash: u64,
}

/// Where a generation of a topic starts in one partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Generation {
    /// Topic name.
    pub topic: String,
    /// 1, 2, … in the order of growth.
    pub generation: u8,
    /// The partition.
    pub partition: i32,
    /// Its first offset of this generation.
    pub start: i64,
}

/// A hole of the log that an operator accepted: the offsets `from..to` of a partition, or a skipped object without
/// offsets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AcceptedGap {
    /// Topic name.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first missing offset.
    pub from: i64,
    /// One past the last missing offset.
    pub to: i64,
    /// Why it is missing.
    pub reason: String,
    /// The key of a skipped object without offsets; partition and offsets only identify it then. See
    /// [`AcceptedGap::of_object`].
    pub object: Option<String>,
}

impl AcceptedGap {
    /// The partition that stands for objects without offsets.
    pub const NO_PARTITION: i32 = -1;

    /// A skipped object without offsets, identified by a stable hash of its key.
    pub fn of_object(topic: impl Into<String>, key: impl Into<String>, reason: impl Into<String>) -> AcceptedGap {
        let key = key.into();
        // 62 bits: one past it is an offset, too
        let from = (fnv1a(key.as_bytes()) >> 2) as i64;
        AcceptedGap {
            topic: topic.into(),
            partition: AcceptedGap::NO_PARTITION,
            from,
            to: from + 1,
            reason: reason.into(),
            object: Some(key),
        }
    }
}

impl Progress {
    /// Whether the cleaned tables are kept, and answer for all that the results do.
    pub fn keeps_cleaned(&self) -> bool {
        let kept = |partition: &PartitionProgress| partition.cleaned_next == Some(partition.next);
        let wanted = self.options.get("cleaned").and_then(serde_json::Value::as_bool);
        self.partitions.values().all(kept) && wanted.unwrap_or(true)
    }

    /// Whether a recorded gap of a partition or topic of this progress is none any more.
    pub(crate) fn fills(&self, gap: &AcceptedGap) -> bool {
        let looked_at = match gap.object {
            Some(_) => self.names(&gap.topic),
            None => self.partitions.contains_key(&(gap.topic.clone(), gap.partition)),
        };
        looked_at && !self.gaps.contains(gap)
    }

    /// Whether this run reads objects of a topic; any, when the topics are not said.
    fn names(&self, topic: &str) -> bool {
        self.topics.is_empty() || topic == UNKNOWN_TOPIC || self.topics.values().any(|name| name == topic)
    }

    /// What a commit of this records: nothing is covered by cleaned tables that are not kept.
    pub(crate) fn recorded(&self, definition: &Definition) -> Cow<'_, Progress> {
        let covered = self.cleaned_legacy.is_some() || self.partitions.values().any(|p| p.cleaned_next.is_some());
        if definition.keep_cleaned || !covered {
            return Cow::Borrowed(self);
        }
        let mut recorded = self.clone();
        recorded.forget_cleaned();
        Cow::Owned(recorded)
    }

    /// The cleaned tables were emptied.
    pub(crate) fn forget_cleaned(&mut self) {
        self.cleaned_legacy = None;
        self.partitions
            .values_mut()
            .for_each(|partition| partition.cleaned_next = None);
    }

    /// The counts after a step that records `new`.
    pub(crate) fn counts_with(&self, new: &Progress) -> BTreeMap<String, i32> {
        let mut counts = self.partition_counts.clone();
        counts.extend(
            new.partition_counts
                .iter()
                .map(|(topic, count)| (topic.clone(), *count)),
        );
        counts
    }
}
