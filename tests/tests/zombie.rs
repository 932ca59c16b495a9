//! One writer at a time: a run that slept while a newer one started commits nothing more, and a backfill takes no
//! schema that somebody works in, nor moves one back.

use anyhow::{Result, ensure};
use pinflow_tests::answer::{demand_answer, tables, texts};
use pinflow_tests::workload::{Frontier, TOPICS, Workload};
use pinflow_tests::{
    Auditor, BackgroundLoad, Database, Kafka, LakeFolder, Pinflow, Producer, SnapshotChecker, eventually, long,
    verify_tables,
};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// `commits` and `fence` of the progress row.
fn progress(url: &str) -> Result<(i64, i64)> {
    let database = Database::connect(url)?;
    Ok((
        database.number("SELECT commits FROM pinflow.progress")?,
        database.number("SELECT fence FROM pinflow.progress")?,
    ))
}

#[test]
fn a_zombie_commits_nothing() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let mut workload = Workload::new(21, 2);
    let producer = Producer::new(&kafka.bootstrap())?;
    workload.produce(&producer, 1_000)?;
    let command = Pinflow::new("run").kafka(&kafka).postgres(&postgres);
    let auditor = Auditor::start(&postgres.url(), SnapshotChecker::results("pinflow", 10))?;
    let mut old = command.start()?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;

    // it falls asleep in the middle of its work
    let load = BackgroundLoad::start(workload, &kafka, 50, Duration::from_millis(5))?;
    std::thread::sleep(Duration::from_millis(500));
    old.freeze()?;
    let asleep = std::time::Instant::now();
    let (_, old_fence) = progress(&postgres.url())?;
    let mut new = command.start()?;
    eventually("the new run's fence", SOON, || {
        Ok(progress(&postgres.url())?.1 > old_fence)
    })?;
    let mut workload = load.finish()?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    let rest = Duration::from_secs(if long() { 60 } else { 5 });
    std::thread::sleep(rest.saturating_sub(asleep.elapsed()));

    old.thaw()?;
    workload.produce(&producer, 300)?;
    old.expect(3, SOON)?;
    let said = old.stderr();
    ensure!(
        said.contains("fenced: a newer run (") && said.contains(") holds fence"),
        "the zombie said: {said}"
    );
    ensure!(
        progress(&postgres.url())?.1 == old_fence + 1,
        "somebody else took the fence"
    );
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    ensure!(new.is_running()?, "the new run ended: {}", new.tail());
    new.terminate()?;
    new.expect(0, SOON)?;
    verify_tables(None, &kafka, &postgres)?;
    auditor.finish_with(10, 3, &workload)?;
    Ok(())
}

/// A run that is told of nothing, whose successor came while it was idle, notices at its next heartbeat.
#[test]
fn an_idle_run_ends_when_a_newer_one_starts() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    for topic in TOPICS {
        kafka.create_topic(topic, 1, &[])?;
    }
    let mut workload = Workload::new(22, 1);
    workload.produce(&Producer::new(&kafka.bootstrap())?, 500)?;
    let command = Pinflow::new("run").kafka(&kafka).postgres(&postgres);
    let mut old = command.start()?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    let mut new = command.start()?;
    old.expect(3, Duration::from_secs(30))?;
    let (commits, _) = progress(&postgres.url())?;
    eventually("the new run's commits", SOON, || {
        Ok(progress(&postgres.url())?.0 > commits + 2)
    })?;
    ensure!(new.is_running()?, "the new run ended: {}", new.tail());
    new.terminate()?;
    new.expect(0, SOON)?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)
}

#[test]
fn a_backfill_takes_no_schema_that_is_held_and_moves_none_back() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    let url = postgres.url();
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let mut workload = Workload::new(23, 2);
    let producer = Producer::new(&kafka.bootstrap())?;
    workload.produce(&producer, 2_000)?;
    workload.archive(&lake, 0.5, 100)?;
    let mut run = Pinflow::new("run")
        .lake(&lake)
        .kafka(&kafka)
        .postgres(&postgres)
        .start()?;
    demand_answer(&workload, &url, "pinflow", 10, SOON)?;

    let backfill = Pinflow::new("backfill").lake(&lake).postgres(&postgres);
    let mut refused = backfill.start()?;
    refused.expect(3, SOON)?;
    let said = refused.stderr();
    ensure!(said.contains("schema pinflow is held by pinflow"), "{said}");
    ensure!(said.contains("server process") && said.contains("--takeover"), "{said}");
    ensure!(run.is_running()?, "a refused backfill ended the run: {}", run.tail());

    // half of the log is less than the tables hold: refused, before anything is written, with --takeover too
    let shown = tables(&Database::connect(&url)?, "pinflow")?;
    let mut back = backfill.clone().args(["--takeover"]).start()?;
    back.expect(1, SOON)?;
    let said = back.stderr();
    ensure!(
        said.contains("a target never moves back") && said.contains("use another --schema or --out"),
        "{said}"
    );
    run.expect(3, SOON)?;
    ensure!(
        tables(&Database::connect(&url)?, "pinflow")? == shown,
        "a refused backfill changed the tables"
    );

    // the whole log in the lake: nobody is there now, so no --takeover is needed
    workload.archive(&lake, 1.0, 100)?;
    backfill.succeed(SOON)?;
    demand_answer(&workload, &url, "pinflow", 10, SOON)?;

    // and a backfill that ends later than the tables takes over from a run
    let mut run = Pinflow::new("run")
        .lake(&lake)
        .kafka(&kafka)
        .postgres(&postgres)
        .start()?;
    let (commits, _) = progress(&url)?;
    eventually("the run's commits", SOON, || Ok(progress(&url)?.0 > commits + 1))?;
    backfill.clone().args(["--takeover"]).succeed(SOON)?;
    run.expect(3, SOON)?;
    demand_answer(&workload, &url, "pinflow", 10, SOON)?;
    verify_tables(Some(&lake), &kafka, &postgres)?;

    // bounded below the frontier: refused in this schema, welcome in another one
    let bound: Frontier = workload
        .frontier()
        .into_iter()
        .map(|(place, next)| (place, next / 3))
        .collect();
    let file = folder.path().join("frontier.json");
    std::fs::write(&file, frontier_file(&bound))?;
    let bounded = backfill.clone().args(["--upto".as_ref(), file.as_os_str()]);
    let mut back = bounded.start()?;
    back.expect(1, SOON)?;
    ensure!(back.stderr().contains("a target never moves back"), "{}", back.stderr());
    demand_answer(&workload, &url, "pinflow", 10, SOON)?;
    bounded.args(["--schema", "earlier"]).succeed(SOON)?;
    let (frontier, actual) = tables(&Database::connect(&url)?, "earlier")?;
    ensure!(frontier == bound, "bounded by {bound:?}, the frontier is {frontier:?}");
    ensure!(
        actual == texts(&workload.answer(&bound, 10)?),
        "the bounded answer differs"
    );
    Ok(())
}

fn frontier_file(frontier: &Frontier) -> String {
    let mut topics = serde_json::Map::new();
    for ((topic, partition), next) in frontier {
        let topic = topics.entry(topic.clone()).or_insert_with(|| serde_json::json!({}));
        topic[partition.to_string()] = (*next).into();
    }
    serde_json::json!({ "frontier": topics }).to_string()
}
