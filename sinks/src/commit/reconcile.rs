//! Full snapshots: the first commit of a run, and repair.
//!
//! What a result table should hold is put into a temporary table; then the two are compared where they are
//! and only what differs is written, deletes first. Tables of a million rows work, and equal rows are not touched.

use super::call::StepCounts;
use super::context::Context;
use super::plan::Plan;
use crate::encode::{COPY_CHUNK, put_copy_header, put_copy_trailer, put_value};
use crate::error::SinkError;
use crate::failpoint;
use crate::history;
use crate::progress;
use crate::quote::{list, qualified, quoted};
use crate::results;
use crate::session::{IN_BULK, pipeline};
use crate::sql;
use crate::step::Step;
use bytes::{BufMut, Bytes, BytesMut};
use futures_util::SinkExt;
use values::{Row, Table};

impl Context<'_> {
    /// Writes what a full snapshot brings: result tables, which of them there are, and staged history.
    pub(super) async fn write_full_snapshot(&self, plan: &Plan<'_>, counts: &mut StepCounts) -> Result<(), SinkError> {
        let changes = results::changes(self.client(), self.schema, self.definition).await?;
        results::apply(self.client(), self.schema, &changes).await?;
        // listeners hear of tables that are gone
        counts.other += changes.drop.len() as u64;
        for (index, net) in plan.results.iter().enumerate() {
            let (table, _) = &self.definition.results[index];
            let new = self.copy_to_temp(table, &net.upserts).await?;
            counts.changed[index] += self.reconcile(table, &new).await?;
        }
        let commit = self.known.commits + 1;
        results::record(self.client(), self.schema, self.definition, &changes, commit).await?;
        if !self.definition.keep_cleaned {
            counts.other += history::empty(self.client(), self.schema, self.definition).await?;
        }
        if let Some(staged) = &plan.step.staged {
            let topics = &plan.step.reject_topics;
            let fence = self.fence.number;
            counts.other += history::settle(self.client(), self.schema, fence, self.definition, staged, topics).await?;
        }
        Ok(())
    }

    /// Makes a result table equal to relation `new`.
    async fn reconcile(&self, table: &Table, new: &str) -> Result<u64, SinkError> {
        let mut changed = 0;
        for statement in sql::reconcile(self.schema, table, new) {
            let rows = self.client().execute(&statement, &[]).await;
            changed += rows.map_err(|source| self.failed(&format!("reconciling {}", table.name), source))?;
            failpoint::reach(failpoint::AFTER_DELETE);
        }
        Ok(changed)
    }

    /// Makes every result table equal to its SQL over the cleaned tables, in one transaction. Rows changed per table.
    pub(crate) async fn repair(&self) -> Result<Vec<u64>, SinkError> {
        let opening = pipeline(vec![self.begin(), self.lock()]).await?;
        let step = Step {
            full_snapshot: true,
            epoch: self.known.epoch,
            ..Step::default()
        };
        self.check_row(&opening, &step)?;
        self.client()
            .batch_execute(IN_BULK)
            .await
            .map_err(|source| self.failed("repair", source))?;
        let changes = results::changes(self.client(), self.schema, self.definition).await?;
        results::apply(self.client(), self.schema, &changes).await?;
        let mut counts = StepCounts::of(self.definition);
        for (index, (table, definition)) in self.definition.results.iter().enumerate() {
            let new = self.create_temp_table(table).await?;
            let fill = format!("INSERT INTO {new} {}; ANALYZE {new};", sql::as_table(table, definition));
            self.client()
                .batch_execute(&fill)
                .await
                .map_err(|source| self.failed(table.name, source))?;
            counts.changed[index] = self.reconcile(table, &new).await?;
        }
        let commit = self.known.commits + 1;
        results::record(self.client(), self.schema, self.definition, &changes, commit).await?;
        let raise = format!(
            "UPDATE {}.progress SET commits = commits + 1 WHERE id = 1",
            quoted(self.schema)
        );
        let raised = self.client().execute(&raise, &[]).await;
        if raised.map_err(|source| self.failed("repair", source))? != 1 {
            return Err(progress::missing_row(self.schema));
        }
        self.close(&step, &counts).await?;
        Ok(counts.changed)
    }

    /// Creates a temporary table like `table`, for what it should hold; returns its name.
    async fn create_temp_table(&self, table: &Table) -> Result<String, SinkError> {
        let new = format!("pg_temp.{}", quoted(&format!("full_{}", table.name)));
        let like = qualified(self.schema, table.name);
        let create = format!(
            "CREATE TEMP TABLE {} (LIKE {like}) ON COMMIT DROP",
            quoted(&format!("full_{}", table.name))
        );
        let created = self.client().batch_execute(&create).await;
        created.map_err(|source| self.failed(&format!("reconciling {}", table.name), source))?;
        Ok(new)
    }

    async fn copy_to_temp(&self, table: &Table, rows: &[&Row]) -> Result<String, SinkError> {
        let new = self.create_temp_table(table).await?;
        let failed = |source| self.failed(&format!("copying {}", table.name), source);
        let statement = format!(
            "COPY {new} ({}) FROM STDIN (FORMAT binary)",
            list("", sql::names(table))
        );
        let copy = self.client().copy_in::<_, Bytes>(&statement).await.map_err(failed)?;
        let mut copy = std::pin::pin!(copy);
        let mut out = BytesMut::with_capacity(COPY_CHUNK + 4096);
        put_copy_header(&mut out);
        for row in rows {
            debug_assert_eq!(row.len(), table.columns.len(), "the plan has checked each row's width");
            out.put_i16(row.len() as i16);
            for (value, column) in row.iter().zip(table.columns) {
                put_value(&mut out, value, column.ty);
            }
            if out.len() >= COPY_CHUNK {
                copy.send(out.split().freeze()).await.map_err(failed)?;
            }
        }
        put_copy_trailer(&mut out);
        copy.send(out.freeze()).await.map_err(failed)?;
        copy.finish().await.map_err(failed)?;
        self.client()
            .batch_execute(&format!("ANALYZE {new}"))
            .await
            .map_err(failed)?;
        Ok(new)
    }
}
