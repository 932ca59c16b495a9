//! Faults of disks, clocks, statements, objects and topics under the program: it waits or ends, says what is wrong, and
//! in the end its answer is the exact one.

mod clock;
mod disk;
mod objects;
mod phases;
mod small_disk;
mod staging;
mod statements;
mod topics;

use anyhow::{Context, Result, ensure};
use pinflow_tests::case::{Case, SOON};
use pinflow_tests::{Database, Fault, Program, S3Server, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a program says this.
fn times(run: &Program, said: &str) -> usize {
    run.stderr().matches(said).count()
}

/// Waits until a program has said this so often.
fn says(run: &mut Program, said: &str, wanted: usize) -> Result<()> {
    eventually(&format!("`{said}` for the {wanted}th time"), SOON, || {
        ensure!(run.is_running()?, "it ended: {}", run.tail());
        Ok(times(run, said) >= wanted)
    })
    .with_context(|| run.tail())
}

/// The one line of an error with which a program has ended.
fn error_line(run: &Program) -> Result<String> {
    let said = run.stderr();
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    ensure!(errors.len() == 1, "{} errors: {said}", errors.len());
    Ok(errors[0].to_owned())
}

/// The number of commits of a case's schema; none before there are tables.
fn commits(case: &Case) -> i64 {
    let count = |database: Database| database.number(&format!("SELECT commits FROM {}.progress", case.name));
    case.database().and_then(count).unwrap_or(0)
}

/// Objects of history that nobody is given yet.
struct HeldHistory<'a> {
    server: &'a S3Server,
    asked: Arc<AtomicBool>,
}

impl HeldHistory<'_> {
    fn of(case: &Case) -> Result<HeldHistory<'_>> {
        let server = case.s3.as_ref().context("the case has no server")?;
        let asked = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&asked);
        server.set_faults(move |request| {
            if !request.is_get() || request.key.contains("_pinflow") {
                return Fault::None;
            }
            seen.store(true, Ordering::Relaxed);
            Fault::After(Duration::from_millis(200), Box::new(Fault::Status(503)))
        });
        Ok(HeldHistory { server, asked })
    }

    /// Waits until a run wants them, which has its tables and its staging by then.
    fn is_awaited(&self, run: &mut Program) -> Result<()> {
        eventually("the replay of history", SOON, || {
            ensure!(run.is_running()?, "it ended: {}", run.tail());
            Ok(self.asked.load(Ordering::Relaxed))
        })
    }

    fn release(self) {
        self.server.clear_faults();
    }
}

/// A lock that others wait for.
struct Lock {
    session: Database,
    pid: i64,
    watcher: Database,
}

impl Lock {
    /// Takes it by a statement.
    fn take(case: &Case, statement: &str) -> Result<Lock> {
        let (session, watcher) = (case.database()?, case.database()?);
        let pid = session.number("SELECT pg_backend_pid()")?;
        session.run(&format!("BEGIN; {statement}"))?;
        Ok(Lock { session, pid, watcher })
    }

    /// The one that every commit of a case needs first.
    fn of_commits(case: &Case) -> Result<Lock> {
        Lock::take(case, &format!("SELECT * FROM {}.progress FOR UPDATE", case.name))
    }

    fn waiting(&self, of_each: &str) -> Result<i64> {
        self.watcher.number(&format!(
            "SELECT count({of_each}) FROM (SELECT DISTINCT pid FROM pg_locks WHERE NOT granted) waiting \
             WHERE {} = ANY(pg_blocking_pids(pid))",
            self.pid
        ))
    }

    /// Waits until somebody waits for it.
    fn is_awaited(&self, run: &mut Program) -> Result<()> {
        eventually("somebody who waits for a lock", SOON, || {
            ensure!(run.is_running()?, "it ended: {}", run.tail());
            Ok(self.waiting("*")? > 0)
        })
        .with_context(|| run.tail())
    }

    /// Cancels the statements that wait for it.
    fn cancel_waiting(&self) -> Result<()> {
        self.waiting("pg_cancel_backend(pid)").map(drop)
    }

    fn release(self) -> Result<()> {
        self.session.run("ROLLBACK")
    }
}
