//! One try of one step: everything in one transaction.
//!
//! A live step is one round trip: everything from `BEGIN` to `COMMIT` is sent together, and the server itself checks
//! what has to hold (`pipelined.rs`). Full snapshots, steps that are tried again, steps that failed such a check and
//! runs with a fail point go statement by statement: they look at the progress row before they write, and at every
//! answer before they commit.

mod call;
mod calls;
mod check;
mod context;
mod pipelined;
mod plan;
mod reconcile;
mod records;
mod send;
mod statements;

pub(crate) use context::Context;
pub(crate) use plan::Plan;
pub use send::channel;
pub(crate) use statements::Statements;

use crate::error::SinkError;
use crate::failpoint;
use crate::reject_cap::{self, StagedRejects, Trimmed};
use crate::reject_surplus::Surplus;
use crate::session::{IN_BULK, pipeline};
use crate::step::{Committed, Step};
use call::StepCounts;

/// Statements sent before their answers are awaited.
const IN_FLIGHT: usize = 64;

/// What a try came to.
pub(crate) enum Outcome {
    Committed(Committed),
    /// An earlier try had committed it; its answer was lost.
    AlreadyCommitted,
}

impl Context<'_> {
    /// Tries once. On an error the transaction may still be open and has to be rolled back.
    pub(crate) async fn attempt(&self, plan: &Plan<'_>) -> Result<Outcome, SinkError> {
        if self.can_be_pipelined(plan)
            && let Some(committed) = self.pipelined(plan).await?
        {
            return Ok(Outcome::Committed(committed));
        }
        self.statement_by_statement(plan).await
    }

    async fn statement_by_statement(&self, plan: &Plan<'_>) -> Result<Outcome, SinkError> {
        let opening = pipeline(vec![self.begin(), self.lock()]).await?;
        failpoint::reach(failpoint::AFTER_BEGIN);
        if self.check_row(&opening, plan.step)? {
            return Ok(Outcome::AlreadyCommitted);
        }
        let mut counts = StepCounts::of(self.definition);
        let mut calls = Vec::new();
        if plan.step.full_snapshot {
            self.client()
                .batch_execute(IN_BULK)
                .await
                .map_err(|source| self.failed("commit", source))?;
            self.write_full_snapshot(plan, &mut counts).await?;
        } else {
            self.result_calls(self.result_statements().await?, plan, &mut calls);
        }
        self.cleaned_calls(plan, &mut calls);
        self.progress_calls(plan, &mut calls);
        let mut calls = calls.into_iter().peekable();
        while calls.peek().is_some() {
            let together = if failpoint::armed() { 1 } else { IN_FLIGHT };
            let calls = calls.by_ref().take(together);
            let (expects, pending): (Vec<_>, Vec<_>) = calls.map(|call| (call.expect, self.sent(call))).unzip();
            let answers = pipeline(pending).await?;
            failpoint::reach(failpoint::AFTER_DELETE);
            for (answer, expect) in answers.iter().zip(expects) {
                self.check_answer(answer, expect, plan).await?;
                counts.take(answer, expect);
            }
        }
        let trimmed = self.limit_rejects(plan.step).await?;
        counts.other += trimmed.map_or(0, |trimmed| trimmed.dropped);
        failpoint::reach(failpoint::BEFORE_COMMIT);
        let notified = self.close(plan.step, &counts).await?;
        failpoint::reach(failpoint::AFTER_COMMIT);
        Ok(Outcome::Committed(Committed {
            dropped_rejects: trimmed.map_or(0, |trimmed| trimmed.dropped),
            held_rejects: trimmed.map_or_else(|| self.held_with(plan.step), |trimmed| Some(trimmed.held)),
            ..counts.committed(self.known.commits + 1, notified)
        }))
    }

    /// Drops the oldest dead letters when this step may bring too many.
    async fn limit_rejects(&self, step: &Step) -> Result<Option<Trimmed>, SinkError> {
        if !self.may_be_over(step) {
            return Ok(None);
        }
        let surplus = Surplus::of(self.schema, self.fence.number);
        let staged = step.staged.as_ref().map(|staged| StagedRejects {
            surplus: &surplus,
            full: staged.full,
        });
        reject_cap::trim(self.session, self.schema, self.limits, staged.as_ref())
            .await
            .map(Some)
    }
}
