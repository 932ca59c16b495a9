//! Round trips of seconds, to Kafka and to S3: everything takes its time, and nothing is taken for lost.

use crate::{case, delay, servers};
use anyhow::{Context, Result, ensure};
use pinflow_tests::archived::{demand_whole, lines};
use pinflow_tests::case::{Case, History, each, geos};
use pinflow_tests::{LakeFolder, Pinflow, Program, Relay, S3Server, eventually};
use std::time::Duration;

/// A start asks a dozen questions, one after the other.
const IN_TIME: Duration = Duration::from_secs(240);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Far {
    Kafka,
    S3,
}

/// What a program says of a server that it believes lost.
const LOST: [&str; 6] = [
    "no Kafka broker answers",
    "no answer from Kafka",
    "timed out",
    "cannot read partition metadata",
    "was not asked for its partitions",
    "unavailable",
];

fn demand_patience(of: &Program) -> Result<()> {
    let said = of.stderr();
    let lost = LOST.iter().find(|lost| said.contains(**lost));
    ensure!(lost.is_none(), "`{}` is said: {said}", lost.unwrap_or(&""));
    Ok(())
}

/// A case, and the way to its S3 server if that is far away.
fn far_case(name: &str, far: Far) -> Result<(Case, Option<Relay>)> {
    let history = match far {
        Far::Kafka => History::Folder,
        Far::S3 => History::S3,
    };
    let case = case(name, history)?;
    let relay = |server: &S3Server| Relay::slow(([127, 0, 0, 1], server.port()).into(), delay());
    let relay = case.s3.as_ref().map(relay).transpose()?;
    Ok((case, relay))
}

/// A command on a case whose Kafka or whose S3 is far away.
fn command(case: &Case, name: &str, relay: Option<&Relay>) -> Result<Pinflow> {
    let geo = format!("geo={}", case.topic("geo"));
    let command = Pinflow::new(name).args(["--topics", &geo]);
    let (Some(relay), Some(server)) = (relay, &case.s3) else {
        let kafka = servers()?.slow.address().to_string();
        return Ok(command
            .args(["--kafka", &kafka])
            .lake(case.lake.as_ref().context("a lake")?));
    };
    let (lake, endpoint) = (
        format!("s3://{}/lake", case.name),
        format!("http://{}", relay.address()),
    );
    let command = command
        .kafka(case.kafka)
        .args(["--lake", &lake, "--s3-endpoint", &endpoint]);
    let environment = server.environment().into_iter();
    Ok(environment.fold(command, |command, (name, value)| command.env(name, value)))
}

fn stop(mut program: Program) -> Result<()> {
    demand_patience(&program)?;
    program.terminate()?;
    program.expect(0, IN_TIME)?;
    demand_patience(&program)
}

#[test]
fn an_engine_and_an_archiver_far_away_start_follow_and_stop_in_order() -> Result<()> {
    servers()?;
    let variants: Vec<(&str, Far, fn(&str, Far) -> Result<()>)> = vec![
        ("farkafka", Far::Kafka, engine),
        ("fars3", Far::S3, engine),
        ("tokafka", Far::Kafka, archiver),
        ("tos3", Far::S3, archiver),
    ];
    each(variants, |(name, far, play)| play(name, far).context(name.to_owned()))
}

fn engine(name: &str, far: Far) -> Result<()> {
    let (case, relay) = far_case(name, far)?;
    case.send("geo", 0, &geos(0..20, "Albania"))?;
    case.archive("geo", 0, &geos(0..10, "Albania"))?;
    let run = command(&case, "run", relay.as_ref())?.postgres(case.postgres);
    let mut run = run.args(["--schema", name]).start()?;
    let mut reaches = |partition: i32, next: i64| {
        let sql = format!("SELECT max(next_offset) FROM {name}.frontier WHERE partition = {partition}");
        eventually(&format!("{next} in partition {partition}"), IN_TIME, || {
            ensure!(run.is_running()?, "it ended: {}", run.tail());
            Ok(case.database()?.number(&sql).is_ok_and(|reached| reached >= next))
        })
        .with_context(|| run.tail())
    };
    reaches(0, 20)?;
    case.send("geo", 0, &geos(0..5, "Chad"))?;
    reaches(0, 25)?;
    if far == Far::S3 {
        // a boundary is written to the lake and read back before records of the new partition are taken in
        case.kafka.add_partitions(&case.topic("geo"), 2)?;
        case.send("geo", 1, &geos(0..2, "Zambia"))?;
        reaches(1, 2)?;
    }
    stop(run)?;
    let first = if far == Far::S3 { "Zambia" } else { "Chad" };
    for (ind, country) in [(0, first), (4, "Chad"), (5, "Albania"), (19, "Albania")] {
        case.demand_country(ind, country)?;
    }
    case.verify_tables()
}

fn archiver(name: &str, far: Far) -> Result<()> {
    let (case, relay) = far_case(name, far)?;
    case.send("geo", 0, &geos(0..20, "Albania"))?;
    let archive = command(&case, "archive", relay.as_ref())?.args(["--flush-size", "10"]);
    let archive = archive.env("PINFLOW__ARCHIVE__ROTATE_SCHEDULE_INTERVAL_MS", "-1");
    let mut archiver = archive.start()?;
    let root = case.lake.as_ref().map(LakeFolder::root).context("a lake")?;
    let mut holds = |count: usize| {
        eventually(&format!("{count} records in the lake"), IN_TIME, || {
            ensure!(archiver.is_running()?, "it ended: {}", archiver.tail());
            Ok(lines(root, &case.topic("geo"), 0)?.len() == count)
        })
        .with_context(|| archiver.tail())
    };
    holds(20)?;
    case.send("geo", 0, &geos(20..30, "Chad"))?;
    holds(30)?;
    stop(archiver)?;
    let written: Vec<String> = lines(root, &case.topic("geo"), 0)?.into_values().collect();
    let sent = [geos(0..20, "Albania"), geos(20..30, "Chad")].concat();
    ensure!(written == sent, "the lake holds {written:#?}");
    let audit = Pinflow::new("audit").args(["--topics", &format!("geo={}", case.topic("geo"))]);
    let audit = audit.kafka(case.kafka).args(["--deep"]);
    demand_whole(match (&case.s3, &case.lake) {
        (Some(server), _) => audit.s3(server, &format!("{name}/lake")),
        (None, Some(lake)) => audit.lake(lake),
        (None, None) => audit,
    })
    .map(drop)
}
