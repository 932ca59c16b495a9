//! What one try of a step works with.

use super::statements::Statements;
use crate::definition::Definition;
use crate::error::SinkError;
use crate::fence::Fence;
use crate::progress::Progress;
use crate::reject_cap;
use crate::reject_limits::{Held, RejectLimits};
use crate::session::Session;
use crate::step::Step;
use tokio_postgres::{Client, Statement};

/// What a try works with.
pub(crate) struct Context<'a> {
    pub(crate) session: &'a Session,
    pub(crate) statements: &'a Statements,
    pub(crate) schema: &'a str,
    pub(crate) definition: &'a Definition,
    pub(crate) fence: &'a Fence,
    /// The progress of the last commit.
    pub(crate) known: &'a Progress,
    /// Whether this step may have been committed already by an earlier try.
    pub(crate) again: bool,
    /// How much of dead letters is kept.
    pub(crate) limits: &'a RejectLimits,
    /// How many there are; `None`: not known.
    pub(crate) held: Option<Held>,
    /// Whether listeners are not told.
    pub(crate) silent: bool,
}

impl<'a> Context<'a> {
    pub(crate) fn client(&self) -> &'a Client {
        &self.session.client
    }

    pub(crate) fn failed(&self, what: &str, source: tokio_postgres::Error) -> SinkError {
        SinkError::postgres(format!("{what} in schema {}", self.schema), source)
    }

    /// The statements of the result tables, none of which a full snapshot may know: it may make the tables anew.
    pub(super) async fn result_statements(&self) -> Result<&[[Statement; 2]], SinkError> {
        self.statements
            .of_results(self.client(), self.schema, self.definition)
            .await
    }

    /// How many dead letters there may be after a step.
    pub(super) fn held_with(&self, step: &Step) -> Option<Held> {
        self.held
            .map(|held| reject_cap::held_with(held, &step.rejects, self.limits))
    }

    /// Whether a step may bring more dead letters than are kept; a full snapshot always looks.
    pub(super) fn may_be_over(&self, step: &Step) -> bool {
        let over = || self.held_with(step).is_none_or(|held| held.is_over(self.limits));
        step.full_snapshot || !step.rejects.is_empty() && over()
    }
}
