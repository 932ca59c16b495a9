//! Everything that can be killed is killed while records flow: the engine, PostgreSQL, Kafka; and the engine at each
//! step of a commit. Nothing is lost, nothing is applied twice, and whoever lives on needs nobody's help.

use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::{demand_answer, wait_for_commits};
use pinflow_tests::verify::verify_schema;
use pinflow_tests::workload::{TOPICS, Workload};
use pinflow_tests::{
    Auditor, BackgroundLoad, Database, Fault, Kafka, LakeFolder, Pinflow, Postgres, Producer, Program, S3Server,
    SnapshotChecker, eventually, long, verify_tables,
};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Kafka with the first part of a log, of which a lake holds the beginning.
struct Stage {
    kafka: Kafka,
    postgres: Postgres,
    lake: LakeFolder,
    workload: Workload,
    _folder: tempfile::TempDir,
}

impl Stage {
    fn set(seed: u64, records: usize) -> Result<Stage> {
        let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
        let folder = tempfile::tempdir()?;
        let lake = LakeFolder::new(folder.path());
        for topic in TOPICS {
            kafka.create_topic(topic, 2, &[])?;
        }
        let mut workload = Workload::new(seed, 2);
        workload.produce(&Producer::new(&kafka.bootstrap())?, records)?;
        workload.archive(&lake, 0.6, 300)?;
        Ok(Stage {
            kafka,
            postgres,
            lake,
            workload,
            _folder: folder,
        })
    }
}

fn stop(mut run: Program) -> Result<()> {
    run.terminate()?;
    run.expect(0, SOON)
}

#[test]
fn the_engine_is_killed_while_records_flow() -> Result<()> {
    let Stage {
        kafka,
        postgres,
        lake,
        workload,
        _folder,
    } = Stage::set(11, 4_000)?;
    let command = Pinflow::new("run").lake(&lake).kafka(&kafka).postgres(&postgres);
    let auditor = Auditor::start(&postgres.url(), SnapshotChecker::results("pinflow", 10))?;
    let load = BackgroundLoad::start(workload, &kafka, 40, PAUSE)?;
    for round in 0..4 {
        // the number of workers may differ from start to start
        let mut run = command
            .clone()
            .args(["-w", if round % 2 == 0 { "1" } else { "2" }])
            .start()?;
        // once at the first commit, later in the middle of live work
        wait_for_commits(&postgres.url(), 1 + 3 * round, SOON)?;
        run.kill()?;
    }
    let run = command.start()?;
    wait_for_commits(&postgres.url(), 3, SOON)?;
    let workload = load.finish()?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    stop(run)?;
    verify_tables(Some(&lake), &kafka, &postgres)?;
    auditor.finish_with(20, 4, &workload)?;
    Ok(())
}

/// History comes slowly from S3, so that it can be caught in the middle: the engine is killed there, then PostgreSQL
/// under a running engine, whose staged rows are gone with it.
#[test]
fn the_engine_and_postgres_are_killed_while_history_is_replayed() -> Result<()> {
    let Stage {
        kafka,
        mut postgres,
        workload,
        _folder,
        ..
    } = Stage::set(12, 6_000)?;
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path())?;
    let lake = LakeFolder::new(server.create_bucket("history")?);
    workload.archive(&lake, 0.6, 50)?;
    server.set_faults(|seen| {
        if seen.is_get() {
            Fault::delay(Duration::from_millis(400))
        } else {
            Fault::None
        }
    });
    let command = Pinflow::new("run")
        .s3(&server, "history/topics")
        .kafka(&kafka)
        .postgres(&postgres);
    let staged = |postgres: &Postgres| -> Result<bool> {
        let tables = "SELECT count(*) FROM pg_class WHERE relname LIKE 'staging_%_pin_table'";
        Ok(Database::connect(&postgres.url())?.number(tables)? > 0)
    };
    let committed = |postgres: &Postgres| -> Result<i64> {
        Database::connect(&postgres.url())?.number("SELECT max(commits) FROM pinflow.progress")
    };

    let mut run = command.start()?;
    eventually("staging", SOON, || staged(&postgres))?;
    std::thread::sleep(Duration::from_millis(500));
    run.kill()?;
    ensure!(
        committed(&postgres)? == 0,
        "history was committed before the engine was killed"
    );

    let load = BackgroundLoad::start(workload, &kafka, 20, PAUSE)?;
    let mut run = command.start()?;
    run.wait_for("listed the lake", SOON)?;
    eventually("staging", SOON, || staged(&postgres))?;
    std::thread::sleep(Duration::from_millis(700));
    ensure!(
        committed(&postgres)? == 0,
        "history was committed before PostgreSQL was killed"
    );
    postgres.kill()?;
    std::thread::sleep(Duration::from_millis(700));
    server.clear_faults();
    postgres.start_again()?;
    // the same process goes on
    wait_for_commits(&postgres.url(), 3, SOON).with_context(|| run.tail())?;
    let workload = load.finish()?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON).with_context(|| run.tail())?;
    ensure!(run.is_running()?, "the run ended: {}", run.tail());
    stop(run)?;
    verify_tables(Some(&lake), &kafka, &postgres)
}

#[test]
fn postgres_is_killed_while_records_flow_and_the_engine_goes_on() -> Result<()> {
    let Stage {
        kafka,
        mut postgres,
        lake,
        workload,
        _folder,
    } = Stage::set(13, 3_000)?;
    let mut run = Pinflow::new("run")
        .lake(&lake)
        .kafka(&kafka)
        .postgres(&postgres)
        .start()?;
    let auditor = Auditor::start(&postgres.url(), SnapshotChecker::results("pinflow", 10))?;
    let load = BackgroundLoad::start(workload, &kafka, 40, PAUSE)?;
    for _ in 0..2 {
        wait_for_commits(&postgres.url(), 5, SOON)?;
        postgres.kill()?;
        std::thread::sleep(Duration::from_secs(1));
        postgres.start_again()?;
    }
    wait_for_commits(&postgres.url(), 3, SOON)?;
    // connections are cut, again and again, wherever a commit stands
    for _ in 0..15 {
        std::thread::sleep(Duration::from_millis(70));
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pinflow%'";
        Database::connect(&postgres.url())?.run(cut)?;
    }
    wait_for_commits(&postgres.url(), 3, SOON)?;
    postgres.restart()?;
    wait_for_commits(&postgres.url(), 3, SOON)?;
    let workload = load.finish()?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    ensure!(run.is_running()?, "the run ended: {}", run.tail());
    stop(run)?;
    verify_tables(Some(&lake), &kafka, &postgres)?;
    auditor.finish_with(20, 4, &workload)?;
    Ok(())
}

#[test]
fn kafka_is_killed_while_records_flow_and_the_engine_goes_on() -> Result<()> {
    let Stage {
        mut kafka,
        postgres,
        lake,
        workload,
        _folder,
    } = Stage::set(14, 3_000)?;
    let mut run = Pinflow::new("run")
        .lake(&lake)
        .kafka(&kafka)
        .postgres(&postgres)
        .start()?;
    let auditor = Auditor::start(&postgres.url(), SnapshotChecker::results("pinflow", 10))?;
    let load = BackgroundLoad::start(workload, &kafka, 40, PAUSE)?;
    wait_for_commits(&postgres.url(), 5, SOON)?;
    kafka.kill()?;
    // the heartbeat goes on without Kafka
    wait_for_commits(&postgres.url(), 2, SOON)?;
    kafka.start_again()?;
    let before = load.produced();
    eventually("the background load", SOON, || Ok(load.produced() > before + 200))?;
    kafka.stop()?;
    kafka.start_again()?;
    let before = load.produced();
    eventually("the background load", SOON, || Ok(load.produced() > before + 200))?;
    let workload = load.finish()?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON).with_context(|| run.tail())?;
    ensure!(run.is_running()?, "the run ended: {}", run.tail());
    stop(run)?;
    verify_tables(Some(&lake), &kafka, &postgres)?;
    auditor.finish_with(20, 4, &workload)?;
    Ok(())
}

/// The process aborts at each step of the commit that ends history, and of a live commit; the next one finds its way.
#[test]
fn the_engine_dies_at_each_step_of_a_commit() -> Result<()> {
    let Stage {
        kafka,
        postgres,
        lake,
        mut workload,
        _folder,
    } = Stage::set(15, 1_500)?;
    let points = [
        "during_staging",
        "after_begin",
        "after_delete",
        "before_commit",
        "after_commit",
        "after_begin=3",
        "after_delete=60",
        "before_commit=3",
        "after_commit=3",
    ];
    let producer = Producer::new(&kafka.bootstrap())?;
    for (number, point) in points.into_iter().enumerate() {
        let schema = format!("point_{number}");
        let command = Pinflow::new("run")
            .lake(&lake)
            .kafka(&kafka)
            .postgres(&postgres)
            .args(["--schema", &schema]);
        let mut dies = command.clone().env("PINFLOW_FAILPOINT", point).start()?;
        if point.contains('=') {
            // a live commit needs something to commit
            let database = Database::connect(&postgres.url())?;
            eventually("history's commit", SOON, || {
                let commits = database.number(&format!("SELECT max(commits) FROM {schema}.progress"));
                Ok(commits.unwrap_or(0) > 0)
            })?;
            workload.produce(&producer, 100)?;
        }
        let ended = dies.wait(SOON)?;
        ensure!(
            ended.is_none(),
            "at {point} the run ended with {ended:?}: {}",
            dies.tail()
        );
        let said = format!("fail point {}", point.split('=').next().unwrap_or(point));
        ensure!(
            dies.stderr().contains(&said),
            "{point} was not reached: {}",
            dies.tail()
        );

        let run = command.start()?;
        workload.produce(&producer, 50)?;
        demand_answer(&workload, &postgres.url(), &schema, 10, SOON).with_context(|| format!("after {point}"))?;
        stop(run)?;
        verify_schema(&schema, Some(&lake), &kafka, &postgres).with_context(|| format!("after {point}"))?;
    }
    Ok(())
}

/// Where in its life a run is struck.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Everything is in the tables and nothing comes.
    Idle,
    /// History is on its way into staging.
    Hydrating,
    /// History has just been committed, and live records are coming.
    HandOver,
    /// Records come and are committed.
    Steady,
    /// The run has been told to stop.
    ShuttingDown,
}

/// What strikes.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Engine,
    Postgres,
    Kafka,
}

/// A lake behind an S3 server whose every answer takes a while, so that history can be caught on its way.
struct Slow {
    server: S3Server,
    lake: LakeFolder,
    _folder: tempfile::TempDir,
}

impl Slow {
    fn archive(workload: &Workload) -> Result<Slow> {
        let folder = tempfile::tempdir()?;
        let server = S3Server::start(folder.path())?;
        let lake = LakeFolder::new(server.create_bucket("history")?);
        workload.archive(&lake, 0.6, 50)?;
        Ok(Slow {
            server,
            lake,
            _folder: folder,
        })
    }

    fn delay(&self) {
        self.server.set_faults(|seen| {
            if seen.is_get() {
                Fault::delay(Duration::from_millis(300))
            } else {
                Fault::None
            }
        });
    }
}

/// Waits until a run has come to a phase.
fn wait_for_phase(phase: Phase, postgres: &Postgres, schema: &str) -> Result<()> {
    let number = |sql: &str| Database::connect(&postgres.url())?.number(sql);
    let commits = || number(&format!("SELECT coalesce(max(commits), 0) FROM {schema}.progress")).unwrap_or(0);
    match phase {
        Phase::Hydrating => {
            let staging = format!(
                "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
                 WHERE nspname = '{schema}' AND relname LIKE 'staging_%_pin_table'"
            );
            eventually("staging", SOON, || Ok(number(&staging)? > 0))?;
            std::thread::sleep(Duration::from_millis(300));
            Ok(())
        }
        Phase::HandOver => eventually("history's commit", SOON, || Ok(commits() > 0)),
        Phase::Idle | Phase::Steady => eventually("some commits", SOON, || Ok(commits() > 3)),
        Phase::ShuttingDown => {
            eventually("some commits", SOON, || Ok(commits() > 3))?;
            // right behind a heartbeat, so that the next commit is the last one
            let before = commits();
            eventually("a commit", SOON, || Ok(commits() > before))
        }
    }
}

/// Each server and the engine itself is killed in each phase of a run. The ordinary test takes the worst ones that the
/// tests above leave out.
#[test]
fn whoever_is_killed_in_whatever_phase_the_answer_stands() -> Result<()> {
    let Stage {
        mut kafka,
        mut postgres,
        mut workload,
        _folder,
        ..
    } = Stage::set(16, 3_000)?;
    let slow = Slow::archive(&workload)?;
    let phases = [
        Phase::Idle,
        Phase::Hydrating,
        Phase::HandOver,
        Phase::Steady,
        Phase::ShuttingDown,
    ];
    let victims = [Victim::Engine, Victim::Postgres, Victim::Kafka];
    let cases: Vec<(Victim, Phase)> = if long() {
        victims
            .iter()
            .flat_map(|victim| phases.map(|phase| (*victim, phase)))
            .collect()
    } else {
        vec![
            (Victim::Kafka, Phase::Hydrating),
            (Victim::Postgres, Phase::ShuttingDown),
        ]
    };
    for (number, (victim, phase)) in cases.into_iter().enumerate() {
        let schema = format!("phase_{number}");
        let command = Pinflow::new("run")
            .s3(&slow.server, "history/topics")
            .kafka(&kafka)
            .postgres(&postgres)
            .args(["--schema", &schema]);
        let at = || format!("{victim:?} at {phase:?}");
        slow.server.clear_faults();
        if phase == Phase::Hydrating {
            slow.delay();
        }
        let load = match phase {
            Phase::Idle => None,
            _ => Some(BackgroundLoad::start(
                std::mem::replace(&mut workload, Workload::new(0, 2)),
                &kafka,
                20,
                PAUSE,
            )?),
        };
        let mut run = command.start()?;
        wait_for_phase(phase, &postgres, &schema).with_context(at)?;
        if phase == Phase::ShuttingDown {
            run.terminate()?;
        }
        match victim {
            Victim::Engine => run.kill()?,
            Victim::Postgres => {
                postgres.kill()?;
                std::thread::sleep(Duration::from_millis(500));
                postgres.start_again()?;
            }
            Victim::Kafka => {
                kafka.kill()?;
                kafka.start_again()?;
            }
        }
        slow.server.clear_faults();
        if phase == Phase::ShuttingDown || matches!(victim, Victim::Engine) {
            // whatever became of the last commit, the run ends, and the next one finds its way
            run.wait(SOON).with_context(at)?;
            run = command.start()?;
        }
        if let Some(load) = load {
            workload = load.finish().with_context(at)?;
        }
        workload.produce(&Producer::new(&kafka.bootstrap())?, 50)?;
        demand_answer(&workload, &postgres.url(), &schema, 10, SOON)
            .with_context(|| run.tail())
            .with_context(at)?;
        ensure!(run.is_running()?, "{}: the run ended: {}", at(), run.tail());
        stop(run).with_context(at)?;
        verify_schema(&schema, Some(&slow.lake), &kafka, &postgres).with_context(at)?;
    }
    Ok(())
}

/// The process aborts at each step of a commit in each phase of a run. The ordinary test dies in the last commit of a
/// run, which `the_engine_dies_at_each_step_of_a_commit` does not reach.
#[test]
fn the_engine_dies_at_a_step_of_a_commit_in_each_phase() -> Result<()> {
    let Stage {
        kafka,
        postgres,
        lake,
        mut workload,
        _folder,
    } = Stage::set(17, 1_500)?;
    let points = ["after_begin", "after_delete", "before_commit", "after_commit"];
    let phases = [
        Phase::Idle,
        Phase::Hydrating,
        Phase::HandOver,
        Phase::Steady,
        Phase::ShuttingDown,
    ];
    let cases: Vec<(&str, Phase)> = if long() {
        points
            .iter()
            .flat_map(|point| phases.map(|phase| (*point, phase)))
            .collect()
    } else {
        vec![("before_commit", Phase::ShuttingDown)]
    };
    let folder = tempfile::tempdir()?;
    for (number, (point, phase)) in cases.into_iter().enumerate() {
        let schema = format!("step_{number}");
        let at = || format!("{point} at {phase:?}");
        let command = Pinflow::new("run")
            .lake(&lake)
            .kafka(&kafka)
            .postgres(&postgres)
            .args(["--schema", &schema]);
        let now = folder.path().join(&schema);
        let mut dies = command
            .clone()
            .env("PINFLOW_FAILPOINT", format!("{point}@{}", now.display()))
            .start()?;
        let load = match phase {
            Phase::HandOver | Phase::Steady => Some(BackgroundLoad::start(
                std::mem::replace(&mut workload, Workload::new(0, 2)),
                &kafka,
                20,
                PAUSE,
            )?),
            _ => None,
        };
        if phase == Phase::Hydrating {
            // the first commit is history's
            std::fs::write(&now, "")?;
        } else {
            wait_for_phase(phase, &postgres, &schema).with_context(at)?;
            std::fs::write(&now, "")?;
        }
        if phase == Phase::ShuttingDown {
            dies.terminate()?;
        }
        let ended = dies.wait(SOON)?;
        let said = dies.stderr();
        let reached = said.contains(&format!("fail point {point}"));
        ensure!(
            reached && ended.is_none(),
            "{}: the run ended with {ended:?}: {said}",
            at()
        );
        let run = command.start()?;
        if let Some(load) = load {
            workload = load.finish()?;
        }
        workload.produce(&Producer::new(&kafka.bootstrap())?, 50)?;
        demand_answer(&workload, &postgres.url(), &schema, 10, SOON)
            .with_context(|| run.tail())
            .with_context(at)?;
        stop(run).with_context(at)?;
        verify_schema(&schema, Some(&lake), &kafka, &postgres).with_context(at)?;
    }
    Ok(())
}
