//! A network that drops everything and says nothing of it: connections stay open, and nothing is acknowledged.

use crate::{case, servers};
use anyhow::{Context, Result, ensure};
use pinflow_tests::archived::lines;
use pinflow_tests::case::{History, each, geos, stop};
use pinflow_tests::relay::Cut;
use pinflow_tests::{Pinflow, Relay, eventually};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// Until a request to Kafka is given up; a minute without this.
const GIVEN_UP: [&str; 2] = ["--kafka-property", "socket.timeout.ms=5000"];

#[test]
fn who_is_cut_off_takes_in_nothing_false_and_goes_on_when_the_network_does() -> Result<()> {
    servers()?;
    let variants: Vec<fn() -> Result<()>> = vec![
        engine_and_kafka,
        archiver_and_kafka,
        || engine_and_postgres("cutbetween", When::Between),
        || engine_and_postgres("cutbefore", When::BeforeCommit),
        || engine_and_postgres("cutafter", When::AfterCommit),
    ];
    each(variants, |play| play())
}

fn engine_and_kafka() -> Result<()> {
    let case = case("cutrun", History::Nowhere)?;
    let relay = &servers()?.cut[0];
    let run = case.offline("run").args(["--kafka", &relay.address().to_string()]);
    let mut run = run.args(GIVEN_UP).start()?;
    case.send("geo", 0, &geos(0..10, "Albania"))?;
    case.reaches(&mut run, "geo", 0, 10)?;
    relay.cut()?;
    case.send("geo", 0, &geos(5..15, "Chad"))?;
    run.wait_for("no Kafka broker answers", SOON)?;
    let said = run.wait_for("timed out", SOON)?;
    ensure!(said.contains(&relay.address().to_string()), "{said}");
    case.demand_country(5, "Albania")?;
    relay.heal()?;
    case.reaches(&mut run, "geo", 0, 20)?;
    case.demand_country(5, "Chad")?;
    stop(run)?;
    case.verify_tables()
}

fn archiver_and_kafka() -> Result<()> {
    let case = case("cutarchive", History::Folder)?;
    let relay = &servers()?.cut[1];
    let lake = case.lake.as_ref().context("a lake")?;
    let archive = Pinflow::new("archive").lake(lake).args(GIVEN_UP);
    let archive = archive.args(["--kafka", &relay.address().to_string()]);
    let archive = archive.args(["--topics", &format!("geo={}", case.topic("geo")), "--flush-size", "5"]);
    let archive = archive.env("PINFLOW__ARCHIVE__ROTATE_SCHEDULE_INTERVAL_MS", "-1");
    let mut archiver = archive.start()?;
    let holds = |count: usize| -> Result<bool> { Ok(lines(lake.root(), &case.topic("geo"), 0)?.len() == count) };
    case.send("geo", 0, &geos(0..10, "Albania"))?;
    eventually("the first records", SOON, || holds(10)).with_context(|| archiver.tail())?;
    relay.cut()?;
    case.send("geo", 0, &geos(10..20, "Chad"))?;
    let said = archiver.wait_for("timed out", SOON)?;
    ensure!(said.contains(&relay.address().to_string()), "{said}");
    ensure!(holds(10)?, "something came through a network that is cut");
    relay.heal()?;
    eventually("the other records", SOON, || {
        ensure!(archiver.is_running()?, "it ended: {}", archiver.tail());
        holds(20)
    })
    .with_context(|| archiver.tail())?;
    stop(archiver)
}

/// When the network to PostgreSQL is cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    /// Between two commits.
    Between,
    /// The writes of a commit have arrived, its COMMIT has not.
    BeforeCommit,
    /// The COMMIT has arrived, the answer has not.
    AfterCommit,
}

fn engine_and_postgres(name: &str, when: When) -> Result<()> {
    let case = case(name, History::Nowhere)?;
    let relay = Relay::to(([127, 0, 0, 1], case.postgres.port()).into())?;
    let address = relay.address().to_string();
    let url = case
        .postgres
        .url()
        .replace(&format!("127.0.0.1:{}", case.postgres.port()), &address);
    // half a minute without this
    let url = format!("{url}?tcp_user_timeout=8");
    let geo = format!("geo={}", case.topic("geo"));
    let run = Pinflow::new("run").kafka(case.kafka).args(["--postgres", &url]);
    let mut run = run.args(["--schema", name, "--topics", &geo]).start()?;
    case.send("geo", 0, &geos(0..10, "Albania"))?;
    case.reaches(&mut run, "geo", 0, 10)?;

    match when {
        When::Between => relay.cut()?,
        When::BeforeCommit => relay.cut_at(b"Iceland", Cut::Before(b"COMMIT")),
        When::AfterCommit => relay.cut_at(b"Iceland", Cut::After(b"COMMIT\0")),
    }
    case.send("geo", 0, &geos(5..6, "Iceland"))?;
    eventually("the cut", SOON, || Ok(relay.cuts() == 1)).with_context(|| run.tail())?;
    let reached = match when {
        When::Between | When::BeforeCommit => 10,
        When::AfterCommit => 11,
    };
    case.reaches(&mut run, "geo", 0, reached)?;
    case.send("geo", 0, &geos(6..7, "Chad"))?;
    run.wait_for("connection to postgres lost", SOON)?;
    let refused = format!("cannot connect to postgres at {address}");
    run.wait_for(&refused, SOON)?;
    let next = case
        .database()?
        .number(&format!("SELECT max(next_offset) FROM {name}.frontier"))?;
    ensure!(next == reached, "{next} was committed over a network that is cut");
    case.demand_country(5, if reached == 11 { "Iceland" } else { "Albania" })?;

    relay.heal()?;
    case.reaches(&mut run, "geo", 0, 12)?;
    case.demand_country(5, "Iceland")?;
    case.demand_country(6, "Chad")?;
    let lost = run.stderr().contains("the answer to COMMIT was lost");
    let is_right = match when {
        // a heartbeat may have been on its way
        When::Between => true,
        When::BeforeCommit => !lost,
        When::AfterCommit => lost,
    };
    ensure!(is_right, "{}", run.tail());
    stop(run)?;
    case.verify_tables()
}
