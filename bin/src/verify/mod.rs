//! `verify`: whether the tables hold what they should.
//!
//! By default, every result table is compared with its SQL over the cleaned tables, in one snapshot: that needs Postgres
//! alone. With `--replay` lake and Kafka are read again up to the committed frontier through a plain evaluator that
//! shares the decoder with the engine and nothing else, and **every** table is compared: results, cleaned rows with
//! the positions they are from, deletes, and dead letters. `--repair` replays too, and repairs under the fence
//! what differs, in one commit.
//!
//! | module | does |
//! |---|---|
//! | `recorded` | what the tables say they answer for |
//! | `log` | reads that part of the log again, and no more |
//! | `records` | positions and the plain evaluator |
//! | `compare` | tables against the evaluator |
//! | `report` | what is printed |
//! | `repair` | the commit of a repair |
//!
//! A log that no longer holds what the tables were made of is an error that names the gap, never a difference.

mod compare;
mod failure;
mod log;

mod recorded;
mod records;
mod repair;
mod report;

use crate::config::VerifySettings;
use crate::exit::Failure;
use compare::{Differing, Held, SHOWN};
use failure::{failed, usage};
use log::Log;

use recorded::{Given, Recorded};
use records::Replayed;
use repair::Repairer;
use sinks::{Progress, Reader, Snapshot};
use tokio::runtime::Runtime;

/// Runs the command; what differs has been printed when it returns.
pub fn run(settings: &VerifySettings) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| failed(format!("cannot start the I/O threads: {error}")))?;
    let verify = Verify { settings, runtime };
    match (settings.repair, settings.replay) {
        (true, _) => verify.repair(),
        (false, true) => verify.replay(),
        (false, false) => verify.plain(),
    }
}

/// One run of the command.
struct Verify<'a> {
    settings: &'a VerifySettings,
    runtime: Runtime,
}

impl Verify<'_> {
    fn definition(&self) -> sinks::Definition {
        self.settings.tables.definition(&self.settings.log.limits)
    }

    /// A snapshot of the tables and what they answer for.
    fn snapshot(&self) -> Result<(Snapshot, Recorded), Failure> {
        let config = &self.settings.postgres;
        let snapshot = self.runtime.block_on(async {
            let reader = Reader::connect(config).await?;
            reader.snapshot().await
        });
        let snapshot = snapshot?;
        let recorded = Recorded::of(snapshot.progress(), &self.settings.log.topics);
        let made_of = self.runtime.block_on(snapshot.results())?;
        let given = Given {
            results: &self.settings.tables.results,
            top: self.settings.tables.top,
            limits: &self.settings.log.limits,
        };
        recorded.check(&given, &made_of, &config.schema)?;
        Ok((snapshot, recorded))
    }

    fn print_head(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        let rejects = self.runtime.block_on(snapshot.reject_counts())?;
        let dropped = self.runtime.block_on(snapshot.dropped_rejects())?;
        let dropped = dropped.iter().map(|dropped| dropped.rows).sum();
        print!("{}", report::head(snapshot.progress(), &rejects, dropped));
        Ok(())
    }

    /// Prints the verdict over `tables` tables; an error when any differs.
    fn verdict(&self, progress: &Progress, tables: usize, differing: &[Differing]) -> Result<(), Failure> {
        print!("{}", report::differences(differing));
        if differing.is_empty() {
            println!("ok: {tables} tables agree at frontier {}", report::frontier(progress));
            return Ok(());
        }
        let names: Vec<&str> = differing.iter().map(|table| table.name).collect();
        Err(failed(format!(
            "{} of {tables} tables differ: {}",
            names.len(),
            names.join(", ")
        )))
    }

    /// Every result table against its SQL.
    fn plain(&self) -> Result<(), Failure> {
        let (snapshot, recorded) = self.snapshot()?;
        if !recorded.kept {
            return Err(usage(
                "the tables were computed with --cleaned off, so the results cannot be compared with cleaned tables: use --replay",
            ));
        }
        self.print_head(&snapshot)?;
        self.against_sql(&snapshot)
    }

    fn against_sql(&self, snapshot: &Snapshot) -> Result<(), Failure> {
        let definition = self.definition();
        let checks = self.runtime.block_on(snapshot.verify(&definition, SHOWN as u32))?;
        let tables = checks.len();
        let differing: Vec<Differing> = checks
            .into_iter()
            .zip(&definition.results)
            .filter_map(|(check, (table, _))| Differing::of_check(check, table))
            .collect();
        self.verdict(snapshot.progress(), tables, &differing)
    }

    /// Every table against the log.
    fn replay(&self) -> Result<(), Failure> {
        let log = Log::open(&self.settings.log, &self.settings.tables.results, &self.runtime)?;
        let (snapshot, recorded) = self.snapshot()?;
        self.print_head(&snapshot)?;
        let proof = self.prove(&log, snapshot, &recorded, &mut |_| Ok(()))?;
        self.verdict(&proof.progress, proof.tables, &proof.differing)
    }

    /// Replays the log up to the snapshot's frontier and compares every table. The snapshot ends when the tables have
    /// been read: one that is open for the time of a replay would keep a live run's old rows from being cleared away.
    fn prove(
        &self,
        log: &Log,
        snapshot: Snapshot,
        recorded: &Recorded,
        rejects: &mut dyn FnMut(Vec<sinks::Reject>) -> Result<(), Failure>,
    ) -> Result<Proof, Failure> {
        let held = self
            .runtime
            .block_on(Held::read(&snapshot, recorded.kept, self.settings))?;
        let progress = snapshot.progress().clone();
        drop(snapshot);
        let replayed = log.replay(recorded, &self.runtime, rejects)?;
        let (records, rejected) = (replayed.records, replayed.rejected);
        println!(
            "replayed {records} records = {} accepted + {rejected} rejected",
            records - rejected
        );
        let mut differing = compare::differing(held, &replayed, &self.settings.tables.results);
        if differing.iter().any(Differing::lacks_rows) {
            let (snapshot, _) = self.snapshot()?;
            for table in &mut differing {
                self.runtime.block_on(table.fetch_surplus(&snapshot))?;
            }
        }
        Ok(Proof {
            progress,
            tables: compare::tables(&self.settings.tables.results, recorded.kept),
            differing,
            replayed,
        })
    }

    /// Replays, and repairs what differs.
    fn repair(&self) -> Result<(), Failure> {
        let log = Log::open(&self.settings.log, &self.settings.tables.results, &self.runtime)?;
        let (snapshot, recorded) = self.snapshot()?;
        let takeover = self.settings.takeover;
        if takeover {
            // the verification comes first, so that a live run is not fenced without need
            self.print_head(&snapshot)?;
            let proof = self.prove(&log, snapshot, &recorded, &mut |_| Ok(()))?;
            if proof.differing.is_empty() {
                return self.verdict(&proof.progress, proof.tables, &[]);
            }
            print!("{}", report::differences(&proof.differing));
            println!("taking over the schema for repair");
        } else {
            drop(snapshot);
        }
        let mut definition = self.definition();
        definition.keep_cleaned = recorded.kept;
        // a file of settings may hold it, and a repair drops nothing
        definition.drop.clear();
        let mut repairer = Repairer::take(self.settings.postgres.clone(), definition, takeover, &self.runtime)?;
        let repaired = self.repair_under_fence(&log, &mut repairer);
        repairer.close();
        repaired?;
        // the repaired tables are verified again in a new snapshot
        let (snapshot, recorded) = self.snapshot()?;
        if recorded.kept {
            self.against_sql(&snapshot)
        } else {
            println!(
                "ok: the tables agree with the log at frontier {}",
                report::frontier(snapshot.progress())
            );
            Ok(())
        }
    }

    /// Under the fence the tables do not change: what is verified here is what is repaired.
    fn repair_under_fence(&self, log: &Log, repairer: &mut Repairer<'_>) -> Result<(), Failure> {
        let (snapshot, recorded) = self.snapshot()?;
        self.print_head(&snapshot)?;
        repairer.begin()?;
        let proof = self.prove(log, snapshot, &recorded, &mut |rejects| {
            repairer.stage(Vec::new(), rejects)
        })?;
        if proof.differing.is_empty() {
            println!("nothing to repair");
            return Ok(());
        }
        print!("{}", report::differences(&proof.differing));
        let topics = self.settings.log.topics.names().map(str::to_owned).collect();
        repairer.commit(&proof.replayed, &self.settings.tables.results, recorded.kept, topics)?;
        for Differing {
            name, missing, surplus, ..
        } in &proof.differing
        {
            println!("repaired {name}: {missing} missing, {surplus} surplus");
        }
        Ok(())
    }
}

/// What a replay came to.
struct Proof {
    /// What was compared.
    progress: Progress,
    /// How many tables were compared.
    tables: usize,
    /// Those that differ.
    differing: Vec<Differing>,
    /// What they should hold.
    replayed: Replayed,
}
