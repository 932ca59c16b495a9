//! Verification: whether the tables hold what the log says, and the repair of what they do not.
//!
//! ```text
//!  lake ───┐  read again up to                        rows, deletes, rejects
//!          ├─▶ the committed frontier ─▶ evaluator ─────────────────────────┐
//!  Kafka ──┘      (log, records)        (plain loops)                       ▼
//!                                                                     compare ─▶ report
//!  PostgreSQL ─▶ one snapshot of all tables (held) ─────────────────────────▲  └─▶ repair: one commit
//!             └▶ each result's SQL over the cleaned tables ─────────────────┘      under the fence
//! ```
//!
//! [`Mode::Sql`] compares every result table with its SQL over the cleaned tables, in one snapshot: that needs Postgres
//! alone. [`Mode::Replay`] reads lake and Kafka again up to the committed frontier and compares **every** table:
//! results, cleaned rows with the positions they are from, deletes, and dead letters. [`Mode::Repair`] replays too, and
//! repairs under the fence what differs, in one commit.
//!
//! | module | does |
//! |---|---|
//! | `recorded` | which part of the log the tables answer for |
//! | `log` | reads that part again, and no more: `lake` objects, `kafka` what the lake lacks, `ranges` decides which |
//! | `records` | positions, and the plain evaluator |
//! | `held` | what the tables hold |
//! | `compare`, `differing` | tables against the evaluator |
//! | `repair` | the commit of a repair |
//! | `report` | what is found, as text |
//!
//! Independent of the engine, so that a fault there shows as a difference:
//! - which offsets the tables answer for, and the generation and position of each record (`recorded`, `records`),
//! - the latest row of each key, and the results over them: `dataflows::State`, loops over maps, or the SQL that
//!   Postgres runs,
//! - the comparison.
//!
//! Shared with the engine: how lake, Kafka and tables are read and written, the format of a line and of a dead letter's
//! source, coverage, and the decoder of a record. These say which bytes stand where, and what one record holds; they
//! have tests of their own, and a second version would only repeat their decisions. A fault in them is not found here.
//!
//! A log that no longer holds what the tables were made of is an error that names the gap, never a difference.

#![forbid(unsafe_code)]

mod compare;
mod differing;
mod error;
mod held;
mod kafka;
mod lake;
mod log;
mod options;
mod ranges;
mod recorded;
mod records;
mod repair;
mod report;
mod wake;

pub use differing::Differing;
pub use error::{Unreadable, VerifyError};
pub use options::{Mode, Options};
pub use report::{Commit, Finding, Report};

use differing::SHOWN;
use held::Held;
use log::Log;
use recorded::Recorded;
use records::{Replayed, TakeRejects};
use repair::Repairer;
use sinks::{Reader, Snapshot};
use tokio::runtime::Runtime;

/// Verifies the tables, and repairs them in [`Mode::Repair`]. `found` receives what is found, in order, while the work
/// goes on; the report says how it ended, tables that differ included.
///
/// # Errors
/// The tables cannot be compared with what was given, the log no longer holds what they were made of, or a server
/// failed. [`VerifyError::class`] says what another attempt can do.
pub fn run(options: &Options, found: &mut dyn FnMut(&Finding<'_>)) -> Result<Report, VerifyError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| VerifyError::Start { source })?;
    let mut verify = Verify {
        options,
        runtime,
        found,
    };
    match options.mode {
        Mode::Sql => verify.plain(),
        Mode::Replay => verify.replay(),
        Mode::Repair { takeover } => verify.repair(takeover),
    }
}

/// One verification.
struct Verify<'a> {
    options: &'a Options,
    runtime: Runtime,
    found: &'a mut dyn FnMut(&Finding<'_>),
}

impl Verify<'_> {
    fn definition(&self) -> sinks::Definition {
        self.options.tables.definition(&self.options.log.limits)
    }

    fn open_log(&self) -> Result<Log, VerifyError> {
        Log::open(&self.options.log, &self.options.tables.results, &self.runtime)
    }

    /// A snapshot of the tables and what they answer for.
    fn snapshot(&self) -> Result<(Snapshot, Recorded), VerifyError> {
        let config = &self.options.postgres;
        let snapshot = self.runtime.block_on(async {
            let reader = Reader::connect(config).await?;
            reader.snapshot().await
        })?;
        let recorded = Recorded::of(snapshot.progress(), &self.options.log.topics);
        let made_of = self.runtime.block_on(snapshot.results())?;
        let Options { tables, log, .. } = self.options;
        recorded.check(tables, &log.limits, &made_of, &config.schema)?;
        Ok((snapshot, recorded))
    }

    fn show_commit(&mut self, snapshot: &Snapshot) -> Result<(), VerifyError> {
        let rejects = self.runtime.block_on(snapshot.reject_counts())?;
        let dropped = self.runtime.block_on(snapshot.dropped_rejects())?;
        (self.found)(&Finding::Commit(Commit {
            progress: snapshot.progress(),
            rejects: &rejects,
            dropped: dropped.iter().map(|dropped| dropped.rows).sum(),
        }));
        Ok(())
    }

    /// Every result table against its SQL.
    fn plain(&mut self) -> Result<Report, VerifyError> {
        let (snapshot, recorded) = self.snapshot()?;
        if !recorded.kept {
            return Err(VerifyError::NotKept);
        }
        self.show_commit(&snapshot)?;
        self.against_sql(&snapshot)
    }

    fn against_sql(&self, snapshot: &Snapshot) -> Result<Report, VerifyError> {
        let definition = self.definition();
        let checks = self.runtime.block_on(snapshot.verify(&definition, SHOWN as u32))?;
        let tables = checks.len();
        let checked = checks.into_iter().zip(&definition.results);
        Ok(Report {
            progress: snapshot.progress().clone(),
            tables: Some(tables),
            differing: checked
                .filter_map(|(check, (table, _))| Differing::of_check(check, table))
                .collect(),
        })
    }

    /// Every table against the log.
    fn replay(&mut self) -> Result<Report, VerifyError> {
        let log = self.open_log()?;
        let (snapshot, recorded) = self.snapshot()?;
        self.show_commit(&snapshot)?;
        let (report, _) = self.prove(&log, snapshot, &recorded, &mut |_| Ok(()))?;
        Ok(report)
    }

    /// Replays the log up to the snapshot's frontier and compares every table. The snapshot ends when the tables have
    /// been read: one that is open for the time of a replay would keep a live run's old rows from being cleared away.
    fn prove(
        &mut self,
        log: &Log,
        snapshot: Snapshot,
        recorded: &Recorded,
        rejects: TakeRejects<'_>,
    ) -> Result<(Report, Replayed), VerifyError> {
        let (results, topics) = (&self.options.tables.results, &self.options.log.topics);
        let held = self
            .runtime
            .block_on(Held::read(&snapshot, recorded.kept, results, topics))?;
        let progress = snapshot.progress().clone();
        drop(snapshot);
        let replayed = log.replay(recorded, &self.runtime, rejects, self.found)?;
        let (records, rejected) = (replayed.records, replayed.rejected);
        (self.found)(&Finding::Replayed { records, rejected });
        let mut differing = compare::differing(held, &replayed, results);
        if differing.iter().any(Differing::lacks_rows) {
            let (snapshot, _) = self.snapshot()?;
            for table in &mut differing {
                self.runtime.block_on(table.fetch_surplus(&snapshot))?;
            }
        }
        let report = Report {
            progress,
            tables: Some(compare::tables(results, recorded.kept)),
            differing,
        };
        Ok((report, replayed))
    }

    /// Replays, and repairs what differs.
    fn repair(&mut self, takeover: bool) -> Result<Report, VerifyError> {
        let log = self.open_log()?;
        let (snapshot, recorded) = self.snapshot()?;
        if takeover {
            // the verification comes first, so that a live run is not fenced without need
            self.show_commit(&snapshot)?;
            let (report, _) = self.prove(&log, snapshot, &recorded, &mut |_| Ok(()))?;
            if report.differing.is_empty() {
                return Ok(report);
            }
            (self.found)(&Finding::Differ(&report.differing));
            (self.found)(&Finding::TakingOver);
        } else {
            drop(snapshot);
        }
        let mut definition = self.definition();
        definition.keep_cleaned = recorded.kept;
        // a file of settings may hold it, and a repair drops nothing
        definition.drop.clear();
        let postgres = self.options.postgres.clone();
        let mut repairer = Repairer::take(postgres, definition, takeover, self.runtime.handle())?;
        let repaired = self.repair_under_fence(&log, &mut repairer);
        repairer.close();
        repaired?;
        // the repaired tables are verified again in a new snapshot
        let (snapshot, recorded) = self.snapshot()?;
        if recorded.kept {
            return self.against_sql(&snapshot);
        }
        Ok(Report {
            progress: snapshot.progress().clone(),
            tables: None,
            differing: Vec::new(),
        })
    }

    /// Under the fence the tables do not change: what is verified here is what is repaired.
    fn repair_under_fence(&mut self, log: &Log, repairer: &mut Repairer) -> Result<(), VerifyError> {
        let (snapshot, recorded) = self.snapshot()?;
        self.show_commit(&snapshot)?;
        let staging = repairer.begin()?;
        let stage = &mut |rejects| staging.stage(Vec::new(), rejects);
        let (Report { differing, .. }, replayed) = self.prove(log, snapshot, &recorded, stage)?;
        if differing.is_empty() {
            (self.found)(&Finding::NothingToRepair);
            return Ok(());
        }
        (self.found)(&Finding::Differ(&differing));
        if recorded.kept {
            staging.stage_rows(&replayed.state)?;
        }
        let results = replayed.state.results(&self.options.tables.results);
        let topics = self.options.log.topics.names().map(str::to_owned).collect();
        repairer.commit(&staging, results, topics)?;
        let repaired = differing.iter().map(Finding::Repaired);
        repaired.for_each(|table| (self.found)(&table));
        Ok(())
    }
}
