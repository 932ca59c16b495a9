//! What the answers of the server have to say before a step may be committed.

use super::call::{Answer, Expect};
use super::context::Context;
use super::plan::Plan;
use crate::error::SinkError;
use crate::fence::Claimed;
use crate::progress::{self, FrontierMoves};
use crate::step::Step;

impl Context<'_> {
    /// Checks the locked row; true when an earlier try has committed this step.
    pub(crate) fn check_row(&self, opening: &[Answer], step: &Step) -> Result<bool, SinkError> {
        let row = match opening.get(1) {
            Some(Answer::Rows(rows)) => progress::one_row(self.schema, rows)?,
            _ => return Err(progress::missing_row(self.schema)),
        };
        let (commits, definitions): (i64, String) = (row.get(2), row.get(3));
        self.fence.check(self.schema, &Claimed::of(row))?;
        if self.again && commits == self.known.commits + 1 {
            return Ok(true);
        }
        self.fence.check_commits(self.schema, commits, self.known.commits)?;
        let ours = format!("{:016x}", self.definition.hash);
        if !step.full_snapshot && definitions != ours {
            return Err(SinkError::DefinitionsChanged {
                schema: self.schema.into(),
                found: definitions,
                ours,
            });
        }
        Ok(false)
    }

    /// Says why a statement's count cannot be, if it cannot.
    pub(super) async fn check_answer(&self, answer: &Answer, expect: Expect, plan: &Plan<'_>) -> Result<(), SinkError> {
        match (expect, answer) {
            (Expect::Frontier { rows }, Answer::Count(count)) if *count != rows => Err(self.moved_back(plan).await),
            (Expect::One, Answer::Count(count)) if *count != 1 => Err(progress::missing_row(self.schema)),
            _ => Ok(()),
        }
    }

    async fn moved_back(&self, plan: &Plan<'_>) -> SinkError {
        let stored = match progress::read(self.client(), self.schema).await {
            Ok(stored) => stored,
            Err(error) => return error,
        };
        if let Err(moves_back) = FrontierMoves::between(&stored, plan.progress) {
            return moves_back;
        }
        for ((topic, partition), known) in &self.known.partitions {
            match stored.partitions.get(&(topic.clone(), *partition)) {
                Some(found) if found.next < known.next => {
                    let (found, known) = (found.next, known.next);
                    return SinkError::FenceLost {
                        schema: self.schema.into(),
                        what: format!("frontier {topic}/{partition} stands at {found}, this run had committed {known}"),
                    };
                }
                _ => {}
            }
        }
        SinkError::Progress {
            schema: self.schema.into(),
            what: "a partition's frontier is gone or was changed".into(),
        }
    }
}
