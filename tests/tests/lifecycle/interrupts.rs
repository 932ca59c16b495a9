//! SIGINT, as Ctrl-C sends it: a first one asks for an orderly end, a second one ends a command that is still ending.

use crate::{Bucket, Hold, reads_records, topics};
use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::demand_answer;
use pinflow_tests::archived::{demand_whole, lines};
use pinflow_tests::case::{Case, History, SOON, each, geo, geos, pins, user};
use pinflow_tests::{Database, Pinflow, Program, eventually};
use std::io::{Read, Write};
use std::net::TcpStream;

/// Of a process that a second signal has ended.
const INTERRUPTED: i32 = 130;

/// Posts, places and persons in Kafka; the lake, if there is one, has the first 60 of 100 of each.
fn filled(name: &str, history: History) -> Result<Case> {
    let case = Case::new(name, 1, history)?;
    let persons = (0..100).map(user).collect();
    for (kind, records) in [
        ("pin", pins(0..100, "art")),
        ("geo", geos(0..100, "Albania")),
        ("user", persons),
    ] {
        case.send(kind, 0, &records)?;
        if history != History::Nowhere {
            for (start, chunk) in (0..).step_by(20).zip(records[..60].chunks(20)) {
                case.archive(kind, start, chunk)?;
            }
        }
    }
    Ok(case)
}

fn interrupt(program: &mut Program) -> Result<()> {
    program.interrupt()?;
    program.expect(0, SOON)
}

fn commits(case: &Case, schema: &str) -> Result<i64> {
    case.database()?
        .number(&format!("SELECT coalesce(max(commits), 0) FROM {schema}.progress"))
}

#[test]
fn an_interrupted_run_ends_in_order_and_the_next_one_goes_on() -> Result<()> {
    each(
        vec![
            ("interrupted_live", History::Folder),
            ("interrupted_replay", History::S3),
        ],
        |(name, history)| {
            let case = filled(name, history)?;
            let held = case.s3.as_ref().map(|server| Hold::new(server, reads_records));
            let mut run = case.command("run").start()?;
            match &held {
                // nothing of history is read, and nothing committed
                Some(held) => {
                    held.reached()?;
                    interrupt(&mut run)?;
                    ensure!(commits(&case, name)? == 0, "history was committed: {}", run.tail());
                    held.release();
                }
                None => {
                    case.catches_up(&mut run, name)?;
                    case.send("geo", 0, &geos(0..50, "Zambia"))?;
                    interrupt(&mut run)?;
                }
            }
            ensure!(run.stderr().contains("stopping after a last commit"), "{}", run.tail());
            case.send("geo", 0, &[geo(7, "Chad")])?;
            case.update(name, &[])?;
            case.demand_country(7, "Chad")?;
            case.verify_tables()?;
            case.demand_as_new()
        },
    )
}

#[test]
fn an_interrupted_backfill_writes_nothing_and_the_next_one_everything() -> Result<()> {
    let bucket = Bucket::fill(71, 1_500, 50)?;
    let case = Case::new("interrupted_backfill", 0, History::Nowhere)?;
    let (out, summary) = (bucket.folder.path().join("out"), bucket.folder.path().join("summary"));
    let to_files = bucket.command("backfill").args(["--out"]).args([&out]);
    let to_tables = bucket.command("backfill").postgres(case.postgres);
    let to_tables = to_tables.args(["--schema", &case.name]);
    let commands = [to_files, to_tables].map(|command| command.args(["--summary"]).args([&summary]));

    // in the middle: two kinds are read, and one cannot be
    let held = Hold::new(&bucket.server, |seen| reads_records(seen) && seen.key.contains("user"));
    for command in &commands {
        let mut backfill = command.start()?;
        backfill.wait_for("listed the lake", SOON)?;
        held.reached()?;
        interrupt(&mut backfill)?;
    }
    ensure!(!summary.exists(), "a backfill that did not end has a summary");
    let files = std::fs::read_dir(&out).map_or(0, Iterator::count);
    ensure!(files == 0, "{files} files were written");
    ensure!(commits(&case, &case.name)? == 0, "something was committed");

    held.release();
    for command in &commands {
        command.succeed(SOON)?;
    }
    demand_answer(&bucket.workload, &case.postgres.url(), &case.name, 10, SOON)?;
    let files = std::fs::read_dir(&out)?.count();
    let results = pinflow_tests::plain::definitions().len();
    ensure!(files == results, "{files} files of {results} results");
    Ok(())
}

fn archiver(case: &Case) -> Pinflow {
    let archive = Pinflow::new("archive").kafka(case.kafka).args(topics(case));
    let archive = archive.args(["--flush-size", "10", "--rotate-schedule-interval-ms=-1"]);
    match (&case.s3, &case.lake) {
        (Some(server), _) => archive.s3(server, &format!("{}/lake", case.name.replace('_', "-"))),
        (None, Some(lake)) => archive.lake(lake),
        (None, None) => archive,
    }
}

#[test]
fn an_interrupted_archiver_leaves_the_rest_to_the_next_one() -> Result<()> {
    let mut case = Case::new("interrupted_archive", 1, History::Folder)?;
    case.topics = [None, Some(case.topic("geo")), None];
    let root = case.lake.as_ref().context("a lake")?.root().to_owned();
    let records = geos(0..205, "Albania");
    case.send("geo", 0, &records[..105])?;
    let archived = || lines(&root, &case.topic("geo"), 0);
    let mut first = archiver(&case).start()?;
    // files that are being written come and go
    eventually("complete objects", SOON, || {
        Ok(archived().is_ok_and(|found| found.len() >= 100))
    })?;
    interrupt(&mut first)?;
    ensure!(first.stdout().contains("archived 100 records"), "{}", first.tail());
    ensure!(archived()?.len() < 105, "an open object was written");

    case.send("geo", 0, &records[105..])?;
    archiver(&case).args(["--once"]).succeed(SOON)?;
    let found: Vec<String> = archived()?.into_values().collect();
    ensure!(found == records, "{} lines of {} records", found.len(), records.len());
    let audit = Pinflow::new("audit").kafka(case.kafka).args(topics(&case));
    demand_whole(audit.lake(case.lake.as_ref().context("a lake")?))?;
    case.offline("backfill").succeed(SOON)?;
    case.verify_tables()
}

/// A place whose second half is large enough to be told from the rest of what a gateway holds.
fn place() -> String {
    geo(7, &"Chad".repeat(1_000))
}

/// A gateway that runs, and a connection with half a request, which it has taken in.
fn half_a_request(name: &str) -> Result<(Case, Program, TcpStream)> {
    let case = Case::new(name, 1, History::Nowhere)?;
    let gateway = Pinflow::new("gateway").kafka(case.kafka).args(topics(&case));
    let mut gateway = gateway.args(["--listen", "127.0.0.1:0"]).start()?;
    let line = gateway.wait_for("listening on http", SOON)?;
    let address = line.rsplit_once("://").context("an address")?.1.trim().to_owned();
    eventually("readiness", SOON, || {
        Ok(pinflow_tests::get(&address, "/readyz")?.contains("200 OK"))
    })?;
    let mut stream = TcpStream::connect(&address)?;
    stream.set_read_timeout(Some(SOON))?;
    let place = place();
    write!(
        stream,
        "POST /geo/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{}",
        place.len(),
        &place[..HALF]
    )?;
    eventually("half a request", SOON, || {
        let metrics = pinflow_tests::get(&address, "/metrics")?;
        let held = metrics
            .lines()
            .find_map(|line| line.strip_prefix("pinflow_gateway_in_flight_bytes "));
        Ok(held.context("no metric")?.trim().parse::<usize>()? >= HALF)
    })?;
    Ok((case, gateway, stream))
}

/// Bytes of the first half.
const HALF: usize = 2_000;

#[test]
fn an_interrupted_gateway_answers_the_request_under_way() -> Result<()> {
    let (case, mut gateway, mut stream) = half_a_request("interrupted_gateway")?;
    gateway.interrupt()?;
    gateway.wait_for("ending: requests under way", SOON)?;
    stream.write_all(&place().as_bytes()[HALF..])?;
    let mut answer = String::new();
    stream.take(100_000).read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    gateway.expect(0, SOON)?;
    let records = case.kafka.records(&case.topic("geo"), 0, "read_committed")?;
    let values: Vec<_> = records.into_iter().filter_map(|(_, _, value)| value).collect();
    ensure!(values == [place().into_bytes()], "{} records", values.len());
    Ok(())
}

#[test]
fn a_second_interrupt_ends_a_command_that_is_still_ending() -> Result<()> {
    let plays: Vec<fn() -> Result<()>> = vec![
        a_run_that_waits_for_its_commit,
        a_backfill_that_waits_for_its_commit,
        an_archiver_that_waits_for_its_lake,
        a_gateway_that_waits_for_its_client,
    ];
    each(plays, |play| play())
}

/// A first signal, what is said to it, a second one, and the end, whose exit code tells it from an orderly one.
fn interrupt_twice(program: &mut Program, says: &str, code: i32) -> Result<()> {
    program.interrupt()?;
    program.wait_for(says, SOON)?;
    ensure!(program.is_running()?, "it ended by itself: {}", program.tail());
    program.interrupt()?;
    program.expect(code, SOON)
}

/// A session that lets nobody write places of a schema, until it is dropped.
fn lock(case: &Case) -> Result<Database> {
    let session = case.database()?;
    session.run(&format!("BEGIN; LOCK TABLE {}.geo_table IN SHARE MODE", case.name))?;
    Ok(session)
}

fn waits_for_lock(case: &Case, program: &mut Program) -> Result<()> {
    let database = case.database()?;
    let waiting = format!(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{}.geo_table'::regclass",
        case.name
    );
    eventually("a commit that waits", SOON, || {
        ensure!(program.is_running()?, "it ended: {}", program.tail());
        Ok(database.number(&waiting)? > 0)
    })
}

fn a_run_that_waits_for_its_commit() -> Result<()> {
    let case = filled("twice_run", History::Folder)?;
    let mut run = case.command("run").start()?;
    case.catches_up(&mut run, &case.name)?;
    let locked = lock(&case)?;
    case.send("geo", 0, &[geo(7, "Chad")])?;
    waits_for_lock(&case, &mut run)?;
    interrupt_twice(&mut run, "stopping after a last commit", INTERRUPTED)?;
    // the server may carry the commit out, now that nobody waits for it
    drop(locked);
    case.update(&case.name, &[])?;
    case.demand_country(7, "Chad")?;
    case.verify_tables()
}

fn a_backfill_that_waits_for_its_commit() -> Result<()> {
    let case = filled("twice_backfill", History::Folder)?;
    case.offline("backfill").succeed(SOON)?;
    case.archive("geo", 60, &[geo(7, "Chad")])?;
    let locked = lock(&case)?;
    let mut backfill = case.offline("backfill").start()?;
    waits_for_lock(&case, &mut backfill)?;
    interrupt_twice(&mut backfill, "stopping after a last commit", INTERRUPTED)?;
    drop(locked);
    case.offline("backfill").succeed(SOON)?;
    case.demand_country(7, "Chad")?;
    let verify = case.offline("verify").args(["--replay"]);
    verify.succeed(SOON).map(drop)
}

fn an_archiver_that_waits_for_its_lake() -> Result<()> {
    let case = Case::new("twice_archive", 1, History::S3)?;
    case.send("geo", 0, &geos(0..100, "Albania"))?;
    let server = case.s3.as_ref().context("a server")?;
    let held = Hold::new(server, |seen| seen.is_put() && seen.key.contains('+'));
    let mut archive = archiver(&case).start()?;
    held.reached()?;
    interrupt_twice(
        &mut archive,
        "stopping: objects that are complete are written",
        INTERRUPTED,
    )?;
    held.release();
    archiver(&case).args(["--once"]).succeed(SOON)?;
    let root = case.lake.as_ref().context("a lake")?.root();
    let found = lines(root, &case.topic("geo"), 0)?.len();
    ensure!(found == 100, "{found} lines of 100 records");
    Ok(())
}

fn a_gateway_that_waits_for_its_client() -> Result<()> {
    let (_case, mut gateway, _stream) = half_a_request("twice_gateway")?;
    interrupt_twice(&mut gateway, "ending: requests under way", 1)
}
