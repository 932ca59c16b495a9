//! One statement of a step: what is sent, what is expected of its answer, and what its answer adds to the counts.

use crate::definition::Definition;
use crate::encode::Param;
use crate::session::Pending;
use crate::step::Committed;
use tokio_postgres::Statement;

/// A statement on its way, with what it is sent for.
pub(super) type Sent<'a> = (String, Pending<'a, Answer>);

/// What a statement's answer means.
pub(crate) enum Answer {
    Done,
    Count(u64),
    Rows(Vec<tokio_postgres::Row>),
}

/// What is expected of a statement's count.
#[derive(Clone, Copy)]
pub(super) enum Expect {
    /// Deletes of a result table: fewer than this means somebody edited it.
    Deleted { table: usize, rows: u64 },
    /// Upserts of a result table: at most these.
    Changed { table: usize, rows: u64 },
    /// Cleaned rows and rejects.
    Other,
    /// Generations and gaps: no news for listeners.
    Quiet,
    /// The frontier: fewer than this means that it would have moved back.
    Frontier { rows: u64 },
    /// The progress row.
    One,
}

/// A statement to be sent.
pub(super) struct Call<'a> {
    pub(super) context: String,
    pub(super) statement: &'a Statement,
    pub(super) params: Vec<Param<'a>>,
    pub(super) expect: Expect,
    /// The same statement, which fails when the count is not what is expected; none where no count is wrong, or where
    /// none was made.
    pub(super) checked: Option<&'a Statement>,
}

impl Call<'_> {
    /// Whether its count has to be looked at here.
    pub(super) fn has_to_be_checked(&self) -> bool {
        matches!(self.expect, Expect::Frontier { .. } | Expect::One) && self.checked.is_none()
    }
}

/// What the statements of a try have changed.
pub(crate) struct StepCounts {
    /// Rows per result table.
    pub(crate) changed: Vec<u64>,
    /// Rows to be deleted that were not there.
    pub(crate) missing: u64,
    /// Cleaned rows, tombstones and dead letters.
    pub(crate) other: u64,
}

impl StepCounts {
    pub(crate) fn of(definition: &Definition) -> StepCounts {
        StepCounts {
            changed: vec![0; definition.results.len()],
            missing: 0,
            other: 0,
        }
    }

    pub(super) fn take(&mut self, answer: &Answer, expect: Expect) {
        let Answer::Count(count) = answer else { return };
        match expect {
            Expect::Deleted { table, rows } => {
                self.changed[table] += count;
                self.missing += rows.saturating_sub(*count);
            }
            Expect::Changed { table, rows } => {
                debug_assert!(*count <= rows, "an upsert changes at most the rows that were sent");
                self.changed[table] += count;
            }
            Expect::Other => self.other += count,
            Expect::Quiet | Expect::Frontier { .. } | Expect::One => {}
        }
    }

    /// The outcome of the commit that changed these.
    pub(super) fn committed(self, commits: i64, notified: bool) -> Committed {
        Committed {
            commits,
            changed: self.changed,
            missing: self.missing,
            notified,
            ..Committed::default()
        }
    }
}
