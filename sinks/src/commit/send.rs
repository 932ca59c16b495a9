//! The statements around those of the tables, and how a statement is sent: begin, lock, notify, commit.

use super::call::{Answer, Call, Sent, StepCounts};
use super::context::Context;
use crate::encode::Param;
use crate::error::SinkError;
use crate::session::{BEGIN_TO_WRITE, pipeline};
use crate::step::Step;
use tokio_postgres::Statement;

impl Context<'_> {
    pub(crate) fn begin(&self) -> Sent<'_> {
        let client = self.client();
        let begin = async move { client.batch_execute(BEGIN_TO_WRITE).await.map(|()| Answer::Done) };
        (format!("begin in schema {}", self.schema), Box::pin(begin))
    }

    /// Locks the progress row and asks what it says.
    pub(crate) fn lock(&self) -> Sent<'_> {
        let client = self.client();
        let lock = async move { client.query(&self.statements.lock, &[]).await.map(Answer::Rows) };
        (self.locking(), Box::pin(lock))
    }

    pub(super) fn locking(&self) -> String {
        format!("locking the progress of schema {}", self.schema)
    }

    pub(super) fn commit(&self) -> Sent<'_> {
        let client = self.client();
        let commit = async move { client.batch_execute("COMMIT").await.map(|()| Answer::Done) };
        (format!("commit in schema {}", self.schema), Box::pin(commit))
    }

    pub(super) fn notify(&self, payload: String) -> Sent<'_> {
        let params = vec![
            Param::one(channel(self.schema)),
            Param::one(payload),
            Param::one(self.known.commits + 1),
        ];
        let sent = self.execute(&self.statements.notify, params);
        (format!("notify {}", channel(self.schema)), Box::pin(sent))
    }

    pub(super) fn sent<'b>(&'b self, call: Call<'b>) -> Sent<'b> {
        (call.context, Box::pin(self.execute(call.statement, call.params)))
    }

    pub(super) async fn execute(
        &self,
        statement: &Statement,
        params: Vec<Param<'_>>,
    ) -> Result<Answer, tokio_postgres::Error> {
        self.client().execute_raw(statement, params).await.map(Answer::Count)
    }

    /// Tells listeners if there is news for them, and commits; whether they were told.
    pub(crate) async fn close(&self, step: &Step, counts: &StepCounts) -> Result<bool, SinkError> {
        let changed = counts.changed.iter().map(|rows| *rows > 0);
        let news = counts.other > 0 || self.brings_cleaned(step) || changed.clone().any(|changed| changed);
        let notify = news && !self.silent;
        let mut pending = Vec::new();
        if notify {
            pending.push(self.notify(self.payload(step, changed)));
        }
        pending.push(self.commit());
        pipeline(pending).await?;
        Ok(notify)
    }

    pub(super) fn brings_cleaned(&self, step: &Step) -> bool {
        !step.cleaned.is_empty() && self.definition.keep_cleaned
    }

    /// `{"commit":7,"epoch":3,"tables":["a"]}`; without the tables when they would not fit a notification.
    pub(super) fn payload(&self, step: &Step, changed: impl Iterator<Item = bool>) -> String {
        let (commit, epoch) = (self.known.commits + 1, step.epoch);
        let results = self.definition.results.iter().zip(changed);
        let changed = results.filter(|(_, changed)| *changed);
        let tables: Vec<&str> = changed.map(|((table, _), _)| table.name).collect();
        let payload = serde_json::json!({"commit": commit, "epoch": epoch, "tables": tables}).to_string();
        if payload.len() < 8000 {
            return payload;
        }
        serde_json::json!({"commit": commit, "epoch": epoch}).to_string()
    }
}

/// The channel of a schema's notifications: `{schema}_commits`.
pub fn channel(schema: &str) -> String {
    format!("{schema}_commits")
}
