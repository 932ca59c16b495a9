//! What one commit carries.

use crate::definition::Definition;
use crate::progress::Progress;
use crate::reject_limits::Held;
use crate::rows::{CleanedRow, Reject};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Duration;
use values::Row;

/// Everything that one transaction writes: the net changes of all epochs that closed since the last step.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// The last epoch that is complete with this step.
    pub epoch: u64,
    /// Whether `results` holds the entire contents instead of changes, as the first commit of a run must.
    pub full_snapshot: bool,
    /// Per result table of the definition: (row, +1 or -1), net, at most one of each for a primary key.
    pub results: Vec<Vec<(Row, isize)>>,
    /// History that stagers have copied beside the tables, to be settled with this commit.
    pub staged: Option<StagedHistory>,
    /// Cleaned rows and deletes, in any order; replays change nothing. Ignored when the tables are not kept.
    pub cleaned: Vec<CleanedRow>,
    /// Dead letters, in any order; replays change nothing.
    pub rejects: Vec<Reject>,
    /// The topics that this run reads, whose dead letters a full reconcile may delete; [`crate::UNKNOWN_TOPIC`] is
    /// always one of them. Dead letters of other topics stay.
    pub reject_topics: Vec<String>,
    /// Topics whose partitions are forgotten: their rows of the frontier go. Their generations, partition counts,
    /// accepted gaps and dead letters stay. Only in a full snapshot that does not name their partitions; where cleaned
    /// tables are kept they must be reconciled in full by the same step ([`StagedHistory::full`]), since the rows of
    /// these topics are not among the staged ones.
    pub forget_topics: Vec<String>,
    /// What the tables answer for after this step.
    pub progress: Progress,
}

impl Step {
    /// Makes of the progress before this step what is recorded once the step, which records `new`, is committed.
    pub(crate) fn follow(&self, known: &mut Progress, new: &Progress, definition: &Definition, fence: i64) {
        known
            .partitions
            .retain(|(topic, _), _| !self.forget_topics.contains(topic));
        if self.full_snapshot && !definition.keep_cleaned {
            known.forget_cleaned();
        }
        for (key, partition) in &new.partitions {
            debug_assert!(
                known.partitions.get(key).is_none_or(|old| old.next <= partition.next),
                "what is committed never moves back"
            );
            match known.partitions.get_mut(key) {
                Some(old) => old.clone_from(partition),
                None => {
                    known.partitions.insert(key.clone(), partition.clone());
                }
            }
        }
        known.generations.take_in(&new.generations);
        if self.full_snapshot {
            known.gaps.retain(|gap| !new.fills(gap));
        }
        known.gaps.take_in(&new.gaps);
        known.commits += 1;
        known.epoch = self.epoch;
        known.definitions = Some(definition.hash);
        known.legacy = new.legacy;
        known.cleaned_legacy = new.cleaned_legacy;
        known.topics.clone_from(&new.topics);
        known.partition_counts = known.counts_with(new);
        known.options.clone_from(&new.options);
        known.run_id.clone_from(&new.run_id);
        known.counters.clone_from(&new.counters);
        known.fence = fence;
    }
}

/// Rows staged so far, counted where they were sent. Sums over processes by `+=`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Per cleaned table.
    pub cleaned: Vec<u64>,
    /// Dead letters.
    pub rejects: u64,
}

impl std::ops::AddAssign<&Staged> for Staged {
    fn add_assign(&mut self, other: &Staged) {
        if self.cleaned.len() < other.cleaned.len() {
            self.cleaned.resize(other.cleaned.len(), 0);
        }
        for (sum, count) in self.cleaned.iter_mut().zip(&other.cleaned) {
            *sum += count;
        }
        self.rejects += other.rejects;
    }
}

/// Staged history as the first commit meets it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StagedHistory {
    /// How many rows all stagers together have sent; checked before anything is settled.
    pub rows: Staged,
    /// Whether the staged rows are **all** there are: then rows that are not among them go. Otherwise they are
    /// added to what the tables hold.
    pub full: bool,
    /// Offsets of partitions that were read again as a whole, so that the staged dead letters are all there are in
    /// them: others go, also where the staged rows are not all. An object whose records lack some offsets is read
    /// under other offsets the next time.
    pub replaced_rejects: Vec<(String, i32, Range<i64>)>,
    /// Offsets of partitions that were read from Kafka in full although lake objects hold some of them: what was
    /// staged as a dead letter of an object there is left out.
    pub from_kafka: Vec<(String, i32, Range<i64>)>,
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Committed {
    /// The number of this commit, counted over the life of the schema.
    pub commits: i64,
    /// Rows written or deleted per result table.
    pub changed: Vec<u64>,
    /// Rows that should have been deleted and were not there: somebody edited a table.
    pub missing: u64,
    /// Dead letters that were dropped to keep their table within its limits.
    pub dropped_rejects: u64,
    /// How many there are now, if that is known.
    pub(crate) held_rejects: Option<Held>,
    /// Whether listeners were told.
    pub notified: bool,
    /// Whether the answer to COMMIT was lost and read from the progress row instead; then `changed` is empty.
    pub resolved: bool,
    /// How often the transaction was tried.
    pub attempts: u32,
    /// From the call to the answer.
    pub elapsed: Duration,
}
