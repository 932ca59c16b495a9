//! The commit of a repair: the replayed log, staged next to the tables and reconciled with them under the fence.
//!
//! It is the commit that ends a replay of history: one transaction makes cleaned tables, deletes, dead letters and results
//! equal to what was staged, rows that already agree are not touched, and the frontier does not move.

use super::failure::failed;
use super::log::{wait, wake_channel};
use super::records::Replayed;
use crate::exit::Failure;
use crossbeam_channel::Receiver;
use dataflows::{Kind, Results};
use sinks::{
    Claim, CleanedRow, Definition, PostgresConfig, Reject, Sink, SinkError, StageBatch, StagedHistory, Stager,
    StagerOptions, Step,
};
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Rows staged at a time.
const ROWS: usize = 2048;

/// The schema under the fence of a repair.
pub struct Repairer<'a> {
    runtime: &'a Runtime,
    config: PostgresConfig,
    definition: Arc<Definition>,
    sink: Sink,
    fence: i64,
    stager: Option<(Stager, Receiver<()>)>,
}

impl<'a> Repairer<'a> {
    /// Takes the fence; fails while a live run holds it, unless `takeover` fences that run.
    pub fn take(
        config: PostgresConfig,
        definition: Definition,
        takeover: bool,
        runtime: &'a Runtime,
    ) -> Result<Repairer<'a>, Failure> {
        let taken = runtime.block_on(async {
            let mut sink = Sink::connect(config.clone()).await?;
            sink.prepare(&definition).await?;
            let now = jiff::Timestamp::now().as_millisecond();
            let run_id = format!("repair-{}-{now}", std::process::id());
            let fence = sink.take_fence(Claim::Backfill { takeover }, &run_id).await?;
            Ok::<_, SinkError>((sink, fence))
        });
        let (sink, fence) = taken?;
        Ok(Repairer {
            runtime,
            config,
            definition: Arc::new(definition),
            sink,
            fence,
            stager: None,
        })
    }

    /// Creates the staging tables.
    pub fn begin(&mut self) -> Result<(), Failure> {
        self.runtime.block_on(self.sink.create_staging())?;
        let (wake, woken) = wake_channel();
        let (config, definition) = (self.config.clone(), Arc::clone(&self.definition));
        let stager = Stager::start(config, definition, self.fence, StagerOptions::default(), wake)?;
        self.stager = Some((stager, woken));
        Ok(())
    }

    /// Stages rows and dead letters; blocks while the queue is full.
    pub fn stage(&self, cleaned: Vec<CleanedRow>, rejects: Vec<Reject>) -> Result<(), Failure> {
        let Some((stager, woken)) = &self.stager else {
            return Err(failed("cannot stage rows: the staging tables do not exist yet"));
        };
        let mut batch = StageBatch { cleaned, rejects };
        while let Err(back) = stager.offer(batch) {
            if let Some(error) = stager.take_failure() {
                return Err(error.into());
            }
            wait(woken);
            batch = back;
        }
        Ok(())
    }

    /// Reconciles all tables with the replayed log of `topics`. Its dead letters were staged during the replay.
    pub fn commit(
        &mut self,
        replayed: &Replayed,
        results: &Results,
        kept: bool,
        topics: Vec<String>,
    ) -> Result<(), Failure> {
        if kept {
            self.stage_rows(replayed)?;
        }
        let Some((stager, _)) = &self.stager else {
            return Err(failed("cannot commit the repair: nothing was staged"));
        };
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        stager.flush(move |result| drop(sender.send(result)));
        let rows = receiver.recv().map_err(|_| failed("the staging thread has ended"))??;
        let results = replayed.state.results(results);
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
        self.runtime
            .block_on(self.sink.commit(&step))
            .map(drop)
            .map_err(Failure::from)
    }

    fn stage_rows(&self, replayed: &Replayed) -> Result<(), Failure> {
        for kind in Kind::ALL {
            let table = kind as u8;
            let rows = replayed
                .state
                .cleaned(kind)
                .map(|(ind, position, row)| (ind, position, Some(row)));
            let deletes = replayed
                .state
                .deleted(kind)
                .map(|(ind, position)| (ind, position, None));
            let mut batch = Vec::with_capacity(ROWS);
            for (ind, position, row) in rows.chain(deletes) {
                batch.push(CleanedRow {
                    table,
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

    /// Releases the schema.
    pub fn close(self) {
        let Repairer {
            runtime,
            mut sink,
            stager,
            ..
        } = self;
        drop(stager);
        runtime.block_on(async {
            sink.drop_staging().await;
            sink.close().await;
        });
    }
}
