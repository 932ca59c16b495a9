//! Retention that removes what a running engine has not read yet.

use crate::case;
use anyhow::{Context, Result, ensure};
use pinflow_tests::Pinflow;
use pinflow_tests::case::{Case, History, geos, stop};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// Where Kafka begins when retention has passed.
const LOW: i64 = 40;

/// Sends more while nobody reads. What of it a stopped engine had asked for already may have reached it, which is nothing
/// of what is sent last.
fn send_more(case: &Case) -> Result<()> {
    case.send("geo", 0, &geos(10..12, "Chad"))?;
    case.send("geo", 0, &geos(12..50, "Chad"))
}

/// Retention passes most of it.
fn overtake(case: &Case) -> Result<()> {
    case.kafka.delete_records(&case.topic("geo"), 0, LOW)
}

fn archive(case: &Case) -> Result<()> {
    let lake = case.lake.as_ref().context("a lake")?;
    let topics = format!("geo={}", case.topic("geo"));
    let archive = Pinflow::new("archive").lake(lake).kafka(case.kafka);
    archive.args(["--topics", &topics, "--once"]).succeed(SOON).map(drop)
}

#[test]
fn a_running_engine_that_retention_overtakes_ends_and_what_is_lost_must_be_accepted() -> Result<()> {
    let case = case("overtaken", History::Folder)?;
    case.send("geo", 0, &geos(0..10, "Albania"))?;
    archive(&case)?;
    let mut run = case.command("run").start()?;
    case.reaches(&mut run, "geo", 0, 10)?;
    run.freeze()?;
    send_more(&case)?;
    overtake(&case)?;
    run.thaw()?;
    run.expect(1, SOON)?;
    let topic = case.topic("geo");
    let said = run.stderr();
    ensure!(
        said.contains(&format!("of {topic}/0 is not in Kafka, which holds {LOW}..50")),
        "{said}"
    );
    let next = case.database()?.number("SELECT next_offset FROM overtaken.frontier")?;
    ensure!(next < LOW, "{next} was committed without a record below {LOW}");

    let mut run = case.command("run").start()?;
    run.expect(1, SOON)?;
    let (said, gap) = (run.stderr(), format!("gap {topic}/0 10..{LOW}"));
    ensure!(said.lines().any(|line| line == gap), "no line `{gap}` in {said}");
    ensure!(said.contains("--accept-gap"), "no way out is named: {said}");
    let accepted = format!("{topic}/0:10..{LOW}");
    let mut run = case.command("run").args(["--accept-gap", &accepted]).start()?;
    case.reaches(&mut run, "geo", 0, 50)?;
    stop(run)?;
    let rows = case.database()?.number("SELECT count(*) FROM overtaken.geo_table")?;
    ensure!(rows == 10 + 50 - LOW, "{rows} rows");
    let gaps = "SELECT from_offset || '..' || to_offset FROM overtaken.gaps";
    let gaps = case.database()?.value(gaps)?;
    ensure!(gaps == Some(format!("10..{LOW}")), "recorded is {gaps:?}");
    case.verify_tables()
}

#[test]
fn an_engine_that_retention_overtakes_is_started_again_and_reads_from_the_lake_what_is_gone() -> Result<()> {
    let case = case("caughtup", History::Folder)?;
    case.send("geo", 0, &geos(0..10, "Albania"))?;
    archive(&case)?;
    let lake = case.lake.as_ref().context("a lake")?;
    let launch = Pinflow::new("launch").args(["-n", "1", "-w", "1", "--", "run", "--schema", &case.name]);
    let launch = launch.lake(lake).kafka(case.kafka).postgres(case.postgres);
    let mut launch = launch
        .args(["--topics", &format!("geo={}", case.topic("geo"))])
        .start()?;
    case.reaches(&mut launch, "geo", 0, 10)?;
    let engine = launch.children()?;
    ensure!(engine.len() == 1, "{engine:?}");
    let engine = Pid::from_raw(engine[0]).context("a process")?;
    kill_process(engine, Signal::STOP)?;
    send_more(&case)?;
    archive(&case)?;
    overtake(&case)?;
    kill_process(engine, Signal::CONT)?;
    case.reaches(&mut launch, "geo", 0, 50)?;
    let said = launch.stderr();
    ensure!(said.contains("starting all again") && !said.contains("gap "), "{said}");
    stop(launch)?;
    let rows = case.database()?.number("SELECT count(*) FROM caughtup.geo_table")?;
    ensure!(rows == 50, "{rows} rows");
    case.verify_tables()
}
