//! A live step in one round trip: `BEGIN`, every write and `COMMIT` travel together, since the server itself checks what
//! has to hold. A check that fails divides by zero, which makes of the `COMMIT` behind it a `ROLLBACK`: nothing has
//! happened, and the step is tried again statement by statement, which finds out what was wrong.

use super::call::{Call, Expect, Sent, StepCounts};
use super::context::Context;
use super::plan::Plan;
use crate::encode::Param;
use crate::error::SinkError;
use crate::failpoint;
use crate::session::pipeline;
use crate::step::Committed;
use tokio_postgres::error::SqlState;

/// More statements than this are not sent without looking at an answer: neither side should have to hold them all.
const MAX_STATEMENTS: usize = 64;

impl Context<'_> {
    /// Whether nothing has to be looked at in between, as far as this is known before the statements are.
    pub(super) fn can_be_pipelined(&self, plan: &Plan<'_>) -> bool {
        !(self.again || plan.step.full_snapshot || failpoint::armed() || self.may_be_over(plan.step))
    }

    /// Nothing when a check has failed, or when an answer has to be looked at after all; no transaction is open then.
    pub(super) async fn pipelined(&self, plan: &Plan<'_>) -> Result<Option<Committed>, SinkError> {
        let mut calls = Vec::new();
        self.result_calls(self.result_statements().await?, plan, &mut calls);
        self.cleaned_calls(plan, &mut calls);
        self.progress_calls(plan, &mut calls);
        if calls.len() > MAX_STATEMENTS || calls.iter().any(Call::has_to_be_checked) {
            return Ok(None);
        }
        let expects: Vec<Expect> = calls.iter().map(|call| call.expect).collect();
        let mut pending = vec![self.begin(), self.checked_lock()];
        let opening = pending.len();
        pending.extend(calls.into_iter().map(|call| {
            self.sent(Call {
                statement: call.checked.unwrap_or(call.statement),
                ..call
            })
        }));
        let changed = plan.results.iter().map(|net| !net.is_empty());
        let step = plan.step;
        let news = changed.clone().any(|changed| changed) || self.brings_cleaned(step) || !step.rejects.is_empty();
        let notify = news && !self.silent;
        if notify {
            pending.push(self.notify(self.payload(step, changed)));
        }
        pending.push(self.commit());
        let answers = match pipeline(pending).await {
            Ok(answers) => answers,
            Err(SinkError::Postgres { source, .. }) if source.code() == Some(&SqlState::DIVISION_BY_ZERO) => {
                // the COMMIT has done so, if it was sent
                let rolled_back = self.client().batch_execute("ROLLBACK").await;
                rolled_back.map_err(|source| self.failed("rolling back", source))?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut counts = StepCounts::of(self.definition);
        for (answer, expect) in answers[opening..].iter().zip(expects) {
            // of a checked statement the count is that of its one row, and of no interest
            counts.take(answer, expect);
        }
        Ok(Some(Committed {
            held_rejects: self.held_with(step),
            ..counts.committed(self.known.commits + 1, notify)
        }))
    }

    /// Locks the progress row and fails unless it is as this run left it.
    fn checked_lock(&self) -> Sent<'_> {
        let params = vec![
            Param::one(self.fence.number),
            Param::one(self.fence.run_id.as_str()),
            Param::one(self.known.commits),
            Param::one(format!("{:016x}", self.definition.hash)),
        ];
        let lock = self.execute(&self.statements.checked_lock, params);
        (self.locking(), Box::pin(lock))
    }
}
