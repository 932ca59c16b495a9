//! The auditor: it reads the tables while everything moves, and every snapshot has to be true.
//!
//! A hundred milliseconds after the last look it opens a `REPEATABLE READ` transaction, so it sees the state of one
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
pub struct Audit {
    schema: String,
    top: usize,
    checks: Vec<Check>,
}

#[derive(Clone, Debug)]
struct Check {
    table: String,
    columns: String,
    sql: String,
}

/// What a look saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The recorded frontier: one past the last offset covered, by topic and partition.
    pub frontier: BTreeMap<(String, i32), i64>,
    /// The rows that differ, each with its table and `+` (only in the table) or `-` (only in its definition).
    pub differences: Vec<String>,
}

impl Audit {
    /// The ten results with this `--top`, in this schema.
    pub fn results(schema: &str, top: usize) -> Audit {
        let results = dataflows::Results::built_in(&dataflows::Options { top });
        let checks = results.definitions().iter().map(|result| Check {
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
        Audit {
            schema: schema.into(),
            top,
            checks: checks.collect(),
        }
    }

    /// Only frontiers, for runs with `--cleaned off`.
    pub fn frontier_only(schema: &str) -> Audit {
        Audit {
            schema: schema.into(),
            top: 0,
            checks: Vec::new(),
        }
    }

    /// One look in one snapshot. `None` before the schema's tables exist.
    pub fn look(&self, database: &Database) -> Result<Option<Look>> {
        self.look_and(database, |_| Ok(()))
    }

    /// The same, with something else to do in the snapshot, at the frontier that was seen.
    fn look_and(
        &self,
        database: &Database,
        also: impl FnOnce(&BTreeMap<(String, i32), i64>) -> Result<()>,
    ) -> Result<Option<Look>> {
        let schema = format!("\"{}\"", self.schema.replace('"', "\"\""));
        database.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        let look = self.look_inside(database, &schema);
        let done = match &look {
            Ok(Some(look)) => also(&look.frontier),
            _ => Ok(()),
        };
        database.run("ROLLBACK")?;
        done.and(look)
    }

    fn look_inside(&self, database: &Database, schema: &str) -> Result<Option<Look>> {
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
        for Check { table, columns, sql } in &self.checks {
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
        Ok(Some(Look { frontier, differences }))
    }

    /// One look that has to be true, of tables that have to exist; returns the frontier.
    pub fn demand(&self, url: &str) -> Result<BTreeMap<(String, i32), i64>> {
        let look = self
            .look(&Database::connect(url)?)?
            .with_context(|| format!("schema {} has no tables", self.schema))?;
        ensure!(
            look.differences.is_empty(),
            "tables differ from their SQL:\n{}",
            look.differences.join("\n")
        );
        Ok(look.frontier)
    }
}

/// A thread that looks all the time; its findings are an error of [`Auditor::finish`].
pub struct Auditor {
    stop: Arc<AtomicBool>,
    looks: Arc<AtomicU64>,
    top: usize,
    thread: Option<JoinHandle<Result<Samples>>>,
}

impl Auditor {
    /// Starts looking.
    pub fn start(url: &str, audit: Audit) -> Result<Auditor> {
        let stop = Arc::new(AtomicBool::new(false));
        let looks = Arc::new(AtomicU64::new(0));
        let (url, stopped, counter, top) = (url.to_owned(), stop.clone(), looks.clone(), audit.top);
        let watch = move || watch(&url, &audit, &stopped, &counter);
        let thread = std::thread::Builder::new().name("auditor".into()).spawn(watch)?;
        Ok(Auditor {
            stop,
            looks,
            top,
            thread: Some(thread),
        })
    }

    /// Looks at existing tables so far.
    pub fn looks(&self) -> u64 {
        self.looks.load(Ordering::Relaxed)
    }

    /// Stops, and fails with the first finding, or when there were fewer than `at_least` looks to find anything in.
    pub fn finish(self, at_least: u64) -> Result<u64> {
        self.end(at_least).map(|(looks, _)| looks)
    }

    /// The same, and demands of the snapshots that were sampled that they are the answer for exactly the offsets recorded
    /// in them; fails, too, when fewer than `samples` were.
    pub fn finish_with(self, at_least: u64, samples: usize, records: &impl Records) -> Result<u64> {
        let top = self.top;
        let (looks, sampled) = self.end(at_least)?;
        let compared = sampled.demand(records, top)?;
        ensure!(
            compared >= samples,
            "the auditor compared {compared} snapshots with the log, not {samples}"
        );
        eprintln!("{compared} of {looks} snapshots are the answer for their offsets");
        Ok(looks)
    }

    fn end(mut self, at_least: u64) -> Result<(u64, Samples)> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("an auditor ends once")?;
        let samples = thread.join().map_err(|_| anyhow::anyhow!("the auditor panicked"))??;
        let looks = self.looks();
        ensure!(looks >= at_least, "the auditor looked {looks} times, not {at_least}");
        Ok((looks, samples))
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

fn watch(url: &str, audit: &Audit, stop: &AtomicBool, looks: &AtomicU64) -> Result<Samples> {
    let mut samples = Samples::default();
    let mut session: Option<Database> = None;
    let mut last: BTreeMap<(String, i32), i64> = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        if session.is_none() {
            session = Database::connect(url).ok();
        }
        let look = session.as_ref().map(|database| {
            audit.look_and(database, |frontier| {
                if *frontier != last && !audit.checks.is_empty() {
                    samples.offer(|| Sample::read(database, frontier))
                } else {
                    Ok(())
                }
            })
        });
        match look {
            Some(Ok(Some(look))) => {
                looks.fetch_add(1, Ordering::Relaxed);
                ensure!(
                    look.differences.is_empty(),
                    "tables differ from their SQL:\n{}",
                    look.differences.join("\n")
                );
                for (partition, next) in &last {
                    let now = look.frontier.get(partition);
                    ensure!(
                        now.is_some_and(|now| now >= next),
                        "the frontier of {partition:?} moved from {next} to {now:?}"
                    );
                }
                last = look.frontier;
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
