//! The commit of a repair: the replayed log, staged next to the tables and reconciled with them under the fence.
//!
//! It is the commit that ends a replay of history: one transaction makes cleaned tables, deletes, dead letters and results
//! equal to what was staged, rows that already agree are not touched, and the frontier does not move.

use super::error::VerifyError;
use super::wake::{wait, waker};
use dataflows::{Kind, State};
use operators::Row;
use sinks::{
    Claim, CleanedRow, Definition, PostgresConfig, Reject, Sink, SinkError, StageBatch, StagedHistory, Stager,
    StagerOptions, Step,
};
use std::sync::Arc;
use tokio::runtime::Handle;

/// Rows staged at a time.
const ROWS: usize = 2048;

/// The schema under the fence of a repair.
pub struct Repairer {
    runtime: Handle,
    config: PostgresConfig,
    definition: Arc<Definition>,
    sink: Sink,
    fence: i64,
}

/// The staging tables, which take what the tables should hold. Of the thread that created them.
pub struct Staging(Stager);

impl Repairer {
    /// Takes the fence; fails while a live run holds it, unless `takeover` fences that run.
    pub fn take(
        config: PostgresConfig,
        definition: Definition,
        takeover: bool,
        runtime: &Handle,
    ) -> Result<Repairer, SinkError> {
        runtime.block_on(async {
            let mut sink = Sink::connect(config.clone()).await?;
            sink.prepare(&definition).await?;
            let now = jiff::Timestamp::now().as_millisecond();
            let run_id = format!("repair-{}-{now}", std::process::id());
            let fence = sink.take_fence(Claim::Backfill { takeover }, &run_id).await?;
            Ok(Repairer {
                runtime: runtime.clone(),
                config,
                definition: Arc::new(definition),
                sink,
                fence,
            })
        })
    }

    /// Creates the staging tables.
    pub fn begin(&mut self) -> Result<Staging, SinkError> {
        self.runtime.block_on(self.sink.create_staging())?;
        let (config, definition) = (self.config.clone(), Arc::clone(&self.definition));
        let stager = Stager::start(config, definition, self.fence, StagerOptions::default(), waker())?;
        Ok(Staging(stager))
    }

    /// Reconciles all tables with what was staged of `topics`, and the result tables with `results`.
    pub fn commit(
        &mut self,
        staging: &Staging,
        results: Vec<Vec<Row>>,
        topics: Vec<String>,
    ) -> Result<(), VerifyError> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        staging.0.flush(move |result| drop(sender.send(result)));
        let rows = receiver.recv().map_err(|_| VerifyError::StagingEnded)??;
        let progress = self.sink.progress().clone();
        let step = Step {
            epoch: progress.epoch,
            full_snapshot: true,
            results: results
                .into_iter()
                .map(|rows| rows.into_iter().map(|row| (row, 1)).collect())
                .collect(),
            staged: Some(StagedHistory {
                rows,
                full: true,
                ..StagedHistory::default()
            }),
            reject_topics: topics,
            progress,
            ..Step::default()
        };
        self.runtime.block_on(self.sink.commit(&step))?;
        Ok(())
    }

    /// Releases the schema; what was staged has to be dropped before.
    pub fn close(mut self) {
        self.runtime.block_on(async {
            self.sink.drop_staging().await;
            self.sink.close().await;
        });
    }
}

impl Staging {
    /// Stages rows and dead letters; blocks while the queue is full.
    pub fn stage(&self, cleaned: Vec<CleanedRow>, rejects: Vec<Reject>) -> Result<(), VerifyError> {
        let mut batch = StageBatch { cleaned, rejects };
        while let Err(back) = self.0.offer(batch) {
            if let Some(error) = self.0.take_failure() {
                return Err(error.into());
            }
            wait();
            batch = back;
        }
        Ok(())
    }

    /// Stages the cleaned rows and deletes of a replay.
    pub fn stage_rows(&self, state: &State) -> Result<(), VerifyError> {
        for kind in Kind::ALL {
            let rows = state
                .cleaned(kind)
                .map(|(ind, position, row)| (ind, position, Some(row)));
            let deletes = state.deleted(kind).map(|(ind, position)| (ind, position, None));
            let mut batch = Vec::with_capacity(ROWS);
            for (ind, position, row) in rows.chain(deletes) {
                batch.push(CleanedRow {
                    table: kind as u8,
                    ind,
                    position,
                    row: row.cloned(),
                });
                if batch.len() == ROWS {
                    self.stage(std::mem::replace(&mut batch, Vec::with_capacity(ROWS)), Vec::new())?;
                }
            }
            self.stage(batch, Vec::new())?;
        }
        Ok(())
    }
}
