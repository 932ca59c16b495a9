//! The auditor: it reads the tables while everything moves, and every snapshot has to be true.
//!
//! A hundred milliseconds after the last check it opens a `REPEATABLE READ` transaction, so it sees the state of one
//! commit, and demands that every result table equals its SQL over the cleaned tables of the same snapshot (I3) and
//! that no partition's frontier moved back (I2). Of some snapshots it keeps what they answer for and a digest of every
//! table, so that [`Auditor::finish_with`] can compare them with the log itself (I1). A lost connection is no finding:
//! Postgres may be down on purpose.

use crate::sample::{Records, Sample, Samples};
use crate::sql::Database;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const PAUSE: Duration = Duration::from_millis(100);

/// What is compared: each table with the query that it should equal.
#[derive(Clone, Debug)]
pub struct SnapshotChecker {
    schema: String,
    top: usize,
    tables: Vec<TableCheck>,
}

#[derive(Clone, Debug)]
struct TableCheck {
    table: String,
    columns: String,
    sql: String,
}

/// What a check of one snapshot found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotCheck {
    /// The recorded frontier: one past the last offset covered, by topic and partition.
    pub frontier: BTreeMap<(String, i32), i64>,
    /// The rows that differ, each with its table and `+` (only in the table) or `-` (only in its definition).
    pub differences: Vec<String>,
}

impl SnapshotChecker {
    /// The ten results with this `--top`, in this schema.
    pub fn results(schema: &str, top: usize) -> SnapshotChecker {
        let results = dataflows::Results::built_in(&dataflows::Options { top });
        let tables = results.definitions().iter().map(|result| TableCheck {
            table: result.table.name.into(),
            columns: result
                .table
                .columns
                .iter()
                .map(|column| column.name)
                .collect::<Vec<_>>()
                .join(", "),
            sql: result.sql.clone(),
        });
        SnapshotChecker {
            schema: schema.into(),
            top,
            tables: tables.collect(),
        }
    }

    /// Only frontiers, for runs with `--cleaned off`.
    pub fn frontier_only(schema: &str) -> SnapshotChecker {
        SnapshotChecker {
            schema: schema.into(),
            top: 0,
            tables: Vec::new(),
        }
    }

    /// Checks one snapshot. `None` before the schema's tables exist.
    pub fn check(&self, database: &Database) -> Result<Option<SnapshotCheck>> {
        self.check_and(database, |_| Ok(()))
    }

    /// The same, with something else to do in the snapshot, at the frontier that was seen.
    fn check_and(
        &self,
        database: &Database,
        also: impl FnOnce(&BTreeMap<(String, i32), i64>) -> Result<()>,
    ) -> Result<Option<SnapshotCheck>> {
        let schema = format!("\"{}\"", self.schema.replace('"', "\"\""));
        database.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        let check = self.compare(database, &schema);
        let done = match &check {
            Ok(Some(check)) => also(&check.frontier),
            _ => Ok(()),
        };
        database.run("ROLLBACK")?;
        done.and(check)
    }

    fn compare(&self, database: &Database, schema: &str) -> Result<Option<SnapshotCheck>> {
        // a schema that is still being made has its frontier table last of all or not yet
        if database
            .value(&format!("SELECT to_regclass('{schema}.frontier')"))?
            .is_none()
        {
            return Ok(None);
        }
        database.run(&format!("SET LOCAL search_path TO {schema}"))?;
        let mut frontier = BTreeMap::new();
        for row in database.rows("SELECT topic, partition, next_offset FROM frontier")? {
            let [Some(topic), Some(partition), Some(next)] = row.as_slice() else {
                bail!("a null in the frontier")
            };
            frontier.insert((topic.clone(), partition.parse()?), next.parse()?);
        }
        let mut differences = Vec::new();
        for TableCheck { table, columns, sql } in &self.tables {
            let difference = format!(
                "WITH actual AS (SELECT {columns} FROM {table}), expected AS (SELECT {columns} FROM ({sql}) AS definition)
                 (SELECT '+' AS side, surplus::text FROM (TABLE actual EXCEPT ALL TABLE expected) AS surplus)
                 UNION ALL
                 (SELECT '-' AS side, missing::text FROM (TABLE expected EXCEPT ALL TABLE actual) AS missing) LIMIT 5"
            );
            let rows = database
                .rows(&difference)
                .with_context(|| format!("comparing {table}"))?;
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            differences.extend(
                rows.iter()
                    .map(|row| row.iter().map(text).collect::<Vec<_>>().join(" "))
                    .map(|row| format!("{table} {row}")),
            );
        }
        Ok(Some(SnapshotCheck { frontier, differences }))
    }

    /// Checks one snapshot, which has to be true, of tables that have to exist; returns the frontier.
    pub fn demand(&self, url: &str) -> Result<BTreeMap<(String, i32), i64>> {
        let check = self
            .check(&Database::connect(url)?)?
            .with_context(|| format!("schema {} has no tables", self.schema))?;
        ensure!(
            check.differences.is_empty(),
            "tables differ from their SQL:\n{}",
            check.differences.join("\n")
        );
        Ok(check.frontier)
    }
}

/// A thread that checks snapshots all the time; its findings are an error of [`Auditor::finish`].
pub struct Auditor {
    stop: Arc<AtomicBool>,
    checks: Arc<AtomicU64>,
    top: usize,
    thread: Option<JoinHandle<Result<Samples>>>,
}

impl Auditor {
    /// Starts checking.
    pub fn start(url: &str, checker: SnapshotChecker) -> Result<Auditor> {
        let stop = Arc::new(AtomicBool::new(false));
        let checks = Arc::new(AtomicU64::new(0));
        let (url, stopped, counter, top) = (url.to_owned(), stop.clone(), checks.clone(), checker.top);
        let watch = move || watch(&url, &checker, &stopped, &counter);
        let thread = std::thread::Builder::new().name("auditor".into()).spawn(watch)?;
        Ok(Auditor {
            stop,
            checks,
            top,
            thread: Some(thread),
        })
    }

    /// Snapshots of existing tables that have been checked so far.
    pub fn checks(&self) -> u64 {
        self.checks.load(Ordering::Relaxed)
    }

    /// Stops, and fails with the first finding, or when there were fewer than `at_least` snapshots to find anything in.
    pub fn finish(self, at_least: u64) -> Result<u64> {
        self.end(at_least).map(|(checks, _)| checks)
    }

    /// The same, and demands of the snapshots that were sampled that they are the answer for exactly the offsets recorded
    /// in them; fails, too, when fewer than `samples` were.
    pub fn finish_with(self, at_least: u64, samples: usize, records: &impl Records) -> Result<u64> {
        let top = self.top;
        let (checks, sampled) = self.end(at_least)?;
        let compared = sampled.demand(records, top)?;
        ensure!(
            compared >= samples,
            "the auditor compared {compared} snapshots with the log, not {samples}"
        );
        eprintln!("{compared} of {checks} snapshots are the answer for their offsets");
        Ok(checks)
    }

    fn end(mut self, at_least: u64) -> Result<(u64, Samples)> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("an auditor ends once")?;
        let samples = thread.join().map_err(|_| anyhow::anyhow!("the auditor panicked"))??;
        let checks = self.checks();
        ensure!(
            checks >= at_least,
            "the auditor checked {checks} snapshots, not {at_least}"
        );
        Ok((checks, samples))
    }
}

impl Drop for Auditor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn watch(url: &str, checker: &SnapshotChecker, stop: &AtomicBool, checks: &AtomicU64) -> Result<Samples> {
    let mut samples = Samples::default();
    let mut session: Option<Database> = None;
    let mut last: BTreeMap<(String, i32), i64> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        if session.is_none() {
            session = Database::connect(url).ok();
        }
        let check = session.as_ref().map(|database| {
            checker.check_and(database, |frontier| {
                if *frontier != last && !checker.tables.is_empty() {
                    samples.offer(|| Sample::read(database, frontier))
                } else {
                    Ok(())
                }
            })
        });
        match check {
            Some(Ok(Some(check))) => {
                checks.fetch_add(1, Ordering::Relaxed);
                ensure!(
                    check.differences.is_empty(),
                    "tables differ from their SQL:\n{}",
                    check.differences.join("\n")
                );
                for (partition, next) in &last {
                    let now = check.frontier.get(partition);
                    ensure!(
                        now.is_some_and(|now| now >= next),
                        "the frontier of {partition:?} moved from {next} to {now:?}"
                    );
                }
                last = check.frontier;
            }
            Some(Err(error)) if !lost(&error) => return Err(error),
            // Postgres is down
            Some(Err(_)) | None => session = None,
            Some(Ok(None)) => {}
        }
        std::thread::sleep(PAUSE);
    }
    Ok(samples)
}

/// Whether an error says that the session or the server ended: no answer from the server, or an SQLSTATE of class 08
/// (connection), 53 (resources) or 57 (operator intervention).
fn lost(error: &anyhow::Error) -> bool {
    let postgres = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<tokio_postgres::Error>());
    postgres.is_some_and(|error| match error.code() {
        Some(state) => ["08", "53", "57"].iter().any(|class| state.code().starts_with(class)),
        None => {
            error.is_closed() || std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
        }
    })
}
