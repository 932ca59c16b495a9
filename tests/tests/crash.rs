//! Everything that can be killed is killed while records flow: the engine, PostgreSQL, Kafka; and the engine at each
//! step of a commit. Nothing is lost, nothing is applied twice, and whoever lives on needs nobody's help.

use anyhow::{Context, Result, ensure};
use pinflow_tests::flow::prove_schema;
use pinflow_tests::scene::{Feed, TOPICS, demand_answer};
use pinflow_tests::{
    Audit, Auditor, Database, Fault, Flow, Kafka, LakeFolder, Pinflow, Postgres, Producer, Program, S3Server,
    eventually, prove,
};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(20);

/// Kafka with the first part of a log, of which a lake holds the beginning.
struct Stage {
    kafka: Kafka,
    postgres: Postgres,
    lake: LakeFolder,
    feed: Feed,
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
        let mut feed = Feed::new(seed, 2);
        feed.produce(&Producer::new(&kafka.bootstrap())?, records)?;
        feed.archive(&lake, 0.6, 300)?;
        Ok(Stage {
            kafka,
            postgres,
            lake,
            feed,
            _folder: folder,
        })
    }
}

/// Waits until `commits` more commits have been made.
fn wait_for_commits(postgres: &Postgres, commits: i64) -> Result<()> {
    let count = || -> Result<i64> {
        Database::connect(&postgres.url())?.number("SELECT coalesce(max(commits), 0) FROM pinflow.progress")
    };
    let before = count().unwrap_or(0);
    eventually("a commit", SOON, || Ok(count().unwrap_or(0) >= before + commits))
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
        feed,
        _folder,
    } = Stage::set(11, 4_000)?;
    let command = Pinflow::new("run").lake(&lake).kafka(&kafka).postgres(&postgres);
    let auditor = Auditor::start(&postgres.url(), Audit::results("pinflow", 10))?;
    let flow = Flow::start(feed, &kafka, 40, PAUSE)?;
    for round in 0..4 {
        // the number of workers may differ from start to start
        let mut run = command
            .clone()
            .args(["-w", if round % 2 == 0 { "1" } else { "2" }])
            .start()?;
        // once at the first commit, later in the middle of live work
        wait_for_commits(&postgres, 1 + 3 * round)?;
        run.kill()?;
    }
    let run = command.start()?;
    wait_for_commits(&postgres, 3)?;
    let feed = flow.finish()?;
    demand_answer(&feed, &postgres.url(), "pinflow", 10, SOON)?;
    stop(run)?;
    prove(Some(&lake), &kafka, &postgres)?;
    auditor.finish(20)?;
    Ok(())
}

/// History comes slowly from S3, so that it can be caught in the middle: the engine is killed there, then PostgreSQL
/// under a running engine, whose staged rows are gone with it.
#[test]
fn the_engine_and_postgres_are_killed_while_history_is_replayed() -> Result<()> {
    let Stage {
        kafka,
        mut postgres,
        feed,
        _folder,
        ..
    } = Stage::set(12, 6_000)?;
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path())?;
    let lake = LakeFolder::new(server.create_bucket("history")?);
    feed.archive(&lake, 0.6, 50)?;
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

    let flow = Flow::start(feed, &kafka, 20, PAUSE)?;
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
    wait_for_commits(&postgres, 3).with_context(|| run.tail())?;
    let feed = flow.finish()?;
    demand_answer(&feed, &postgres.url(), "pinflow", 10, SOON).with_context(|| run.tail())?;
    ensure!(run.is_running()?, "the run ended: {}", run.tail());
    stop(run)?;
    prove(Some(&lake), &kafka, &postgres)
}

#[test]
fn postgres_is_killed_while_records_flow_and_the_engine_goes_on() -> Result<()> {
    let Stage {
        kafka,
        mut postgres,
        lake,
        feed,
        _folder,
    } = Stage::set(13, 3_000)?;
    let mut run = Pinflow::new("run")
        .lake(&lake)
        .kafka(&kafka)
        .postgres(&postgres)
        .start()?;
    let auditor = Auditor::start(&postgres.url(), Audit::results("pinflow", 10))?;
    let flow = Flow::start(feed, &kafka, 40, PAUSE)?;
    for _ in 0..2 {
        wait_for_commits(&postgres, 5)?;
        postgres.kill()?;
        std::thread::sleep(Duration::from_secs(1));
        postgres.start_again()?;
    }
    wait_for_commits(&postgres, 3)?;
    // connections are cut, again and again, wherever a commit stands
    for _ in 0..15 {
        std::thread::sleep(Duration::from_millis(70));
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'pinflow%'";
        Database::connect(&postgres.url())?.run(cut)?;
    }
    wait_for_commits(&postgres, 3)?;
    postgres.restart()?;
    wait_for_commits(&postgres, 3)?;
    let feed = flow.finish()?;
    demand_answer(&feed, &postgres.url(), "pinflow", 10, SOON)?;
    ensure!(run.is_running()?, "the run ended: {}", run.tail());
    stop(run)?;
    prove(Some(&lake), &kafka, &postgres)?;
    auditor.finish(20)?;
    Ok(())
}

#[test]
fn kafka_is_killed_while_records_flow_and_the_engine_goes_on() -> Result<()> {
    let Stage {
        mut kafka,
        postgres,
        lake,
        feed,
        _folder,
    } = Stage::set(14, 3_000)?;
    let mut run = Pinflow::new("run")
        .lake(&lake)
        .kafka(&kafka)
        .postgres(&postgres)
        .start()?;
    let auditor = Auditor::start(&postgres.url(), Audit::results("pinflow", 10))?;
    let flow = Flow::start(feed, &kafka, 40, PAUSE)?;
    wait_for_commits(&postgres, 5)?;
    kafka.kill()?;
    // the heartbeat goes on without Kafka
    wait_for_commits(&postgres, 2)?;
    kafka.start_again()?;
    let before = flow.produced();
    eventually("the flow's going on", SOON, || Ok(flow.produced() > before + 200))?;
    kafka.stop()?;
    kafka.start_again()?;
    let before = flow.produced();
    eventually("the flow's going on", SOON, || Ok(flow.produced() > before + 200))?;
    let feed = flow.finish()?;
    demand_answer(&feed, &postgres.url(), "pinflow", 10, SOON).with_context(|| run.tail())?;
    ensure!(run.is_running()?, "the run ended: {}", run.tail());
    stop(run)?;
    prove(Some(&lake), &kafka, &postgres)?;
    auditor.finish(20)?;
    Ok(())
}

/// The process aborts at each step of the commit that ends history, and of a live commit; the next one finds its way.
#[test]
fn the_engine_dies_at_each_step_of_a_commit() -> Result<()> {
    let Stage {
        kafka,
        postgres,
        lake,
        mut feed,
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
            feed.produce(&producer, 100)?;
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
        feed.produce(&producer, 50)?;
        demand_answer(&feed, &postgres.url(), &schema, 10, SOON).with_context(|| format!("after {point}"))?;
        stop(run)?;
        prove_schema(&schema, Some(&lake), &kafka, &postgres).with_context(|| format!("after {point}"))?;
    }
    Ok(())
}
