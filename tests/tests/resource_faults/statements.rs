//! Statements that fail under the engine, and answers to COMMIT that are lost.

use crate::phases::{Phase, Trouble, play};
use crate::{HeldHistory, Lock, commits, times};
use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::demand_answer;
use pinflow_tests::case::{Case, History, SOON, each, geos, pins, stop, user};
use pinflow_tests::workload::{TOPICS, Workload};
use pinflow_tests::{
    Auditor, BackgroundLoad, Cut, Database, PostgresProxy, Producer, Program, SnapshotChecker, eventually,
};
use std::time::Duration;

/// What a role's statements may take.
const LIMIT: Duration = Duration::from_millis(100);

/// The staging table of places.
pub fn staging(case: &Case) -> Result<String> {
    let name = case.database()?.value(&format!(
        "SELECT relname FROM pg_class WHERE relnamespace = '{}'::regnamespace AND relname ~ '^staging_.*_geo_table$'",
        case.name
    ))?;
    Ok(format!("{}.{}", case.name, name.context("no staging table")?))
}

/// Triggers that fail as a serialisation failure does, in staging and in every commit.
struct Serialization {
    url: String,
    database: Database,
    faults: String,
}

impl Serialization {
    fn of(case: &Case) -> Result<Box<dyn Trouble>> {
        let (database, faults) = (case.database()?, format!("{}_faults", case.name));
        database.run(&format!(
            "CREATE SCHEMA {faults}; CREATE TABLE {faults}.failing (); \
             CREATE FUNCTION {faults}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF EXISTS (SELECT FROM {faults}.failing) THEN \
             RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END IF; RETURN NULL; END $$"
        ))?;
        let url = case.postgres.url();
        Ok(Box::new(Serialization { url, database, faults }))
    }
}

impl Trouble for Serialization {
    fn url(&self) -> String {
        self.url.clone()
    }

    fn said(&self, _: Phase) -> &'static str {
        "could not serialize access"
    }

    fn begin(&mut self, case: &Case, phase: Phase) -> Result<()> {
        let table = match phase {
            Phase::Hydrating => Some(staging(case)?),
            Phase::HandOver => Some(format!("{}.frontier", case.name)),
            Phase::Steady | Phase::ShuttingDown => None,
        };
        if let Some(table) = table {
            self.database.run(&format!(
                "CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION {}.fail()",
                self.faults
            ))?;
        }
        self.database
            .run(&format!("INSERT INTO {}.failing DEFAULT VALUES", self.faults))
    }

    fn end(&mut self) -> Result<()> {
        self.database.run(&format!("DELETE FROM {}.failing", self.faults))
    }

    fn ends_with_the_run(&self) -> bool {
        true
    }
}

/// A table that is locked for longer than a statement may wait. A `COPY` of history may wait for ever, unless somebody
/// cancels it, and the first commit for as long as a lock may take.
struct Locks {
    proxy: PostgresProxy,
    held: Option<(Phase, Lock)>,
}

impl Locks {
    fn of(case: &Case) -> Result<Box<dyn Trouble>> {
        let proxy = PostgresProxy::replacing(
            case.postgres,
            &[
                ("statement_timeout = 300000", "statement_timeout = 300   "),
                ("lock_timeout = '30s'", "lock_timeout = '.6s'"),
            ],
        )?;
        Ok(Box::new(Locks { proxy, held: None }))
    }
}

impl Trouble for Locks {
    fn url(&self) -> String {
        self.proxy.url().to_owned()
    }

    fn said(&self, phase: Phase) -> &'static str {
        match phase {
            Phase::Hydrating => "canceling statement due to user request",
            Phase::HandOver => "canceling statement due to lock timeout",
            Phase::Steady | Phase::ShuttingDown => "canceling statement due to statement timeout",
        }
    }

    fn begin(&mut self, case: &Case, phase: Phase) -> Result<()> {
        let table = match phase {
            Phase::Hydrating => staging(case)?,
            Phase::HandOver | Phase::Steady | Phase::ShuttingDown => format!("{}.geo_table", case.name),
        };
        // whoever reads is not kept waiting
        let lock = Lock::take(case, &format!("LOCK TABLE {table} IN SHARE MODE"))?;
        self.held = Some((phase, lock));
        Ok(())
    }

    fn again(&self) -> Result<()> {
        match &self.held {
            Some((Phase::Hydrating, lock)) => lock.cancel_waiting(),
            _ => Ok(()),
        }
    }

    fn end(&mut self) -> Result<()> {
        self.held.take().map_or(Ok(()), |(_, lock)| lock.release())
    }

    fn ends_with_the_run(&self) -> bool {
        false
    }
}

#[test]
fn serialisation_failures_are_waited_out_in_each_phase() -> Result<()> {
    play("serialization", Serialization::of)
}

#[test]
fn locks_that_last_longer_than_a_statement_may_are_waited_out_in_each_phase() -> Result<()> {
    play("locks", Locks::of)
}

/// Of the first commit and of live ones, whether the server had heard them or not.
#[test]
fn a_commit_whose_answer_is_lost_is_applied_once() -> Result<()> {
    let mut case = Case::new("lost_answers", 0, History::S3)?;
    for (topic, name) in case.topics.iter_mut().zip(TOPICS) {
        case.kafka.create_topic(name, 2, &[])?;
        *topic = Some(name.to_owned());
    }
    let producer = Producer::new(&case.kafka.bootstrap())?;
    let mut workload = Workload::new(91, 2);
    workload.produce(&producer, 1_500)?;
    workload.archive(case.lake.as_ref().context("a lake")?, 0.6, 100)?;
    let proxy = PostgresProxy::to(case.postgres)?;
    let (url, lost) = (
        case.postgres.url(),
        "the answer to COMMIT was lost; it had gone through",
    );
    let auditor = Auditor::start(&url, SnapshotChecker::results(&case.name, 10))?;
    let load = BackgroundLoad::start(workload, case.kafka, 20, Duration::from_millis(20))?;
    let history = HeldHistory::of(&case)?;
    let mut run = case.command_at(proxy.url(), "run").start()?;
    history.is_awaited(&mut run)?;
    // the next COMMIT is that of history
    proxy.cut(&[Cut::Unanswered]);
    history.release();
    eventually("the end of the first commit", SOON, || {
        ensure!(run.is_running()?, "it ended: {}", run.tail());
        Ok(times(&run, lost) == 1)
    })
    .with_context(|| run.tail())?;
    ensure!(proxy.cuts_left() == 0, "the first commit was not cut");
    for round in 0..4 {
        let before = commits(&case);
        // a second and a third answer are lost while the run finds out about the first
        proxy.cut(&[Cut::Unheard, Cut::Unanswered, Cut::Unanswered, Cut::Unheard]);
        eventually(&format!("the cuts of round {round}"), SOON, || {
            ensure!(run.is_running()?, "it ended: {}", run.tail());
            Ok(proxy.cuts_left() == 0 && commits(&case) > before + 2)
        })
        .with_context(|| run.tail())?;
    }
    let workload = load.finish()?;
    demand_answer(&workload, &url, &case.name, 10, SOON).with_context(|| run.tail())?;
    ensure!(
        times(&run, lost) == 9,
        "{} answers were lost: {}",
        times(&run, lost),
        run.tail()
    );
    stop(run)?;
    case.verify_tables()?;
    auditor.finish_with(10, 3, &workload)?;
    Ok(())
}

/// What an administrator sets for a role or a database is meant for people and their queries.
#[test]
fn limits_of_a_role_do_not_end_what_the_engine_does() -> Result<()> {
    each(
        vec![("role_run", "run"), ("role_backfill", "backfill")],
        |(name, command)| {
            let case = Case::new(name, 1, History::S3)?;
            case.send("pin", 0, &pins(0..5, "art"))?;
            case.send("user", 0, &[user(1)])?;
            case.send("geo", 0, &geos(0..100, "Albania"))?;
            case.archive("geo", 0, &geos(0..100, "Albania"))?;
            let limit = LIMIT.as_millis();
            case.database()?.run(&format!(
                "CREATE ROLE {name} SUPERUSER LOGIN PASSWORD 'secret'; \
             ALTER ROLE {name} SET statement_timeout = {limit}; ALTER ROLE {name} SET lock_timeout = {limit}; \
             ALTER ROLE {name} SET idle_in_transaction_session_timeout = {limit}; \
             ALTER ROLE {name} SET default_transaction_isolation = 'serializable'; \
             ALTER ROLE {name} SET default_transaction_read_only = on"
            ))?;
            let url = format!("postgres://{name}:secret@127.0.0.1:{}/postgres", case.postgres.port());
            let history = HeldHistory::of(&case)?;
            let mut run = case.command_at(&url, command).start()?;
            history.is_awaited(&mut run)?;
            let lock = Lock::of_commits(&case)?;
            history.release();
            outlast_limits(lock, &mut run)?;
            if command == "run" {
                case.reaches(&mut run, "geo", 0, 100)?;
                let lock = Lock::of_commits(&case)?;
                case.send("geo", 0, &geos(50..150, "Brazil"))?;
                outlast_limits(lock, &mut run)?;
                case.reaches(&mut run, "geo", 0, 200)?;
                case.demand_country(149, "Brazil")?;
                run.terminate()?;
            }
            run.expect(0, SOON)?;
            let said = run.stderr();
            ensure!(!said.contains("trying again") && !said.contains("canceling"), "{said}");
            case.demand_country(49, "Albania")?;
            case.command_at(&url, "verify").args(["--replay"]).succeed(SOON)?;
            Ok(())
        },
    )
}

/// Holds a lock for longer than the role's limits, from when a run waits for it.
fn outlast_limits(lock: Lock, run: &mut Program) -> Result<()> {
    lock.is_awaited(run)?;
    std::thread::sleep(6 * LIMIT);
    lock.release()
}

/// Whoever listens may keep the server from room for notifications. Answers go on to be committed, and are announced
/// again later.
#[test]
fn a_full_queue_of_notifications_keeps_no_answer_back() -> Result<()> {
    let case = Case::new("full_queue", 1, History::Nowhere)?;
    let schema = &case.name;
    case.database()?.run(&format!(
        "CREATE SCHEMA {schema}; CREATE TABLE public.{schema}_full (); \
         CREATE FUNCTION {schema}.no_notify(text, text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN \
         IF EXISTS (SELECT FROM public.{schema}_full) THEN \
         RAISE EXCEPTION 'too many notifications in the NOTIFY queue' USING ERRCODE = '54000'; END IF; END $$"
    ))?;
    let proxy = PostgresProxy::replacing(case.postgres, &[("pg_notify(", "no_notify(")])?;
    case.send("pin", 0, &pins(0..5, "art"))?;
    case.send("user", 0, &[user(1)])?;
    case.send("geo", 0, &geos(0..100, "Albania"))?;
    let mut run = case.command_at(proxy.url(), "run").start()?;
    case.reaches(&mut run, "geo", 0, 100)?;
    case.database()?
        .run(&format!("INSERT INTO public.{schema}_full DEFAULT VALUES"))?;
    for round in 1..=3 {
        case.send("geo", 0, &geos(0..10, &format!("Brazil {round}")))?;
        case.reaches(&mut run, "geo", 0, 100 + 10 * round)?;
    }
    case.demand_country(9, "Brazil 3")?;
    let said = "commits are not announced for a minute";
    ensure!(times(&run, said) == 1, "{}", run.tail());
    stop(run)?;
    case.verify_tables()
}
