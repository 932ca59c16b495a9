//! What a real Kafka log looks like: transactions, aborted records, compaction, retention, partitions that are added,
//! and a sink that is slower than the log. What is there is in the answer; what is not is said.

use anyhow::{Context, Result, bail, ensure};
use pinflow_tests::answer::{demand_answer, demand_results, tables, wait_for_frontier};
use pinflow_tests::case::{Case, History, geo, send_through};
use pinflow_tests::log_image::{LogImage, demand, ends};
use pinflow_tests::workload::{Entry, TOPICS, Workload};
use pinflow_tests::{
    Auditor, BackgroundLoad, Database, Kafka, LakeFolder, Message, Pinflow, Producer, Program, SnapshotChecker,
    eventually, verify_tables,
};
use serde_json::json;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

fn stop(mut run: Program) -> Result<()> {
    run.terminate()?;
    run.expect(0, SOON)
}

#[test]
fn transactions_leave_holes_that_are_no_gaps() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    let url = postgres.url();
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let mut workload = Workload::new(41, 2);
    let writer = Producer::transactional(&kafka.bootstrap(), "writer")?;
    let round = |workload: &mut Workload| -> Result<()> {
        writer.begin()?;
        workload.send(&writer, 120)?;
        writer.commit()?;
        writer.begin()?;
        workload.send(&writer, 40)?;
        writer.abort()
    };
    for _ in 0..4 {
        round(&mut workload)?;
    }
    // the tail is an aborted transaction and its marker: no record ever comes to show the end
    let archived = ends(&kafka, 2)?;
    for _ in 0..3 {
        round(&mut workload)?;
    }
    let log = LogImage::of(&kafka, 2)?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    log.archive(&lake, &archived, 17)?;

    let command = Pinflow::new("run").lake(&lake).kafka(&kafka).postgres(&postgres);
    let run = command.start()?;
    demand(&url, &ends(&kafka, 2)?, &log.answer(|_, _, _| 1)?).with_context(|| run.tail())?;
    ensure!(
        !run.stderr().contains("gap "),
        "a natural hole was called a gap: {}",
        run.tail()
    );

    // an open transaction holds back what comes after it, and nothing else
    let before = ends(&kafka, 2)?;
    writer.begin()?;
    workload.send(&writer, 60)?;
    writer.flush()?;
    let plain = Producer::new(&kafka.bootstrap())?;
    workload.send(&plain, 60)?;
    plain.flush()?;
    std::thread::sleep(Duration::from_secs(2));
    demand(&url, &before, &log.answer(|_, _, _| 1)?).with_context(|| run.tail())?;
    writer.abort()?;
    let log = LogImage::of(&kafka, 2)?;
    demand(&url, &ends(&kafka, 2)?, &log.answer(|_, _, _| 1)?).with_context(|| run.tail())?;
    round(&mut workload)?;
    let log = LogImage::of(&kafka, 2)?;
    demand(&url, &ends(&kafka, 2)?, &log.answer(|_, _, _| 1)?).with_context(|| run.tail())?;
    stop(run)?;

    let run = command.start()?;
    round(&mut workload)?;
    let log = LogImage::of(&kafka, 2)?;
    demand(&url, &ends(&kafka, 2)?, &log.answer(|_, _, _| 1)?).with_context(|| run.tail())?;
    stop(run)?;
    verify_tables(Some(&lake), &kafka, &postgres)
}

#[test]
fn a_compacted_log_gives_the_answer_of_the_whole() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    let url = postgres.url();
    let compacted = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("segment.ms", "200"),
        ("min.cleanable.dirty.ratio", "0.001"),
    ];
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &compacted)?;
    }
    // many records a post, so that there is something to compact
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(42, 2);
    let again = |workload: &mut Workload| -> Result<()> {
        let posts: Vec<(u8, i32, Entry)> = workload
            .log
            .iter()
            .flat_map(|((kind, p), log)| log.iter().take(60).map(|e| (*kind, *p, e.clone())))
            .collect();
        for (kind, partition, (ind, value)) in posts {
            let key = ind.to_string();
            let message = Message {
                partition: Some(partition),
                key: Some(key.as_bytes()),
                value: value.as_deref(),
            };
            producer.send(TOPICS[kind as usize], message)?;
            workload.log.entry((kind, partition)).or_default().push((ind, value));
        }
        producer.flush()
    };
    workload.produce(&producer, 600)?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    again(&mut workload)?;
    workload.archive(&lake, 0.4, 50)?;
    eventually("compaction", SOON, || {
        // a segment is closed by a later record
        std::thread::sleep(Duration::from_millis(300));
        again(&mut workload)?;
        let left = LogImage::of(&kafka, 2)?;
        Ok(left
            .0
            .iter()
            .all(|(place, records)| records.len() < workload.log[place].len() * 2 / 3))
    })?;
    let command = Pinflow::new("run").lake(&lake).kafka(&kafka).postgres(&postgres);
    let run = command.start()?;
    demand_results(&workload, &url, "pinflow", 10, SOON).with_context(|| run.tail())?;
    ensure!(
        !run.stderr().contains("gap "),
        "compaction was called a gap: {}",
        run.tail()
    );
    workload.produce(&producer, 100)?;
    workload.delete(&producer, 1, 3)?;
    demand_results(&workload, &url, "pinflow", 10, SOON)?;
    stop(run)?;
    // Kafka alone has the same answer: compaction keeps the newest of each key
    let schema = ["--schema", "alone"];
    let alone = Pinflow::new("run")
        .kafka(&kafka)
        .postgres(&postgres)
        .args(schema)
        .start()?;
    demand_results(&workload, &url, "alone", 10, SOON)?;
    stop(alone)?;
    let run = command.start()?;
    again(&mut workload)?;
    demand_results(&workload, &url, "pinflow", 10, SOON)?;
    stop(run)?;
    verify_tables(Some(&lake), &kafka, &postgres)
}

#[test]
fn retention_past_the_end_of_the_lake_is_a_gap_that_must_be_accepted() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    let url = postgres.url();
    for topic in TOPICS {
        kafka.create_topic(topic, 1, &[])?;
    }
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(43, 1);
    workload.produce(&producer, 900)?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    workload.archive(&lake, 0.3, 50)?;
    let from = (workload.log[&(0, 0)].len() as f64 * 0.3) as i64;
    let to = from + 40;
    kafka.delete_records("pin", 0, to)?;

    let command = Pinflow::new("run").lake(&lake).kafka(&kafka).postgres(&postgres);
    let gap = format!("gap pin/0 {from}..{to}");
    let refused = |command: &Pinflow, gap: &str| -> Result<()> {
        let mut run = command.start()?;
        run.expect(1, SOON)?;
        let said = run.stderr();
        ensure!(said.lines().any(|line| line == gap), "no line `{gap}` in {said}");
        ensure!(said.contains("--accept-gap"), "no way out is named: {said}");
        Ok(())
    };
    refused(&command, &gap)?;
    let commits = || Database::connect(&url)?.number("SELECT commits FROM pinflow.progress");
    ensure!(commits()? == 0, "something was committed before the gap was accepted");
    // accepting another range is not accepting this one
    refused(
        &command
            .clone()
            .args(["--accept-gap", &format!("pin/0:{from}..{}", to - 1)]),
        &gap,
    )?;

    // the records in the gap are lost, and nothing else
    let lost = |workload: &Workload, from: i64, to: i64| -> Result<Vec<Vec<String>>> {
        let mut log = LogImage::default();
        for (place, records) in &workload.log {
            let records = (0i64..).zip(records.iter().cloned());
            let kept = records.filter(|(offset, _)| *place != (0, 0) || !(from..to).contains(offset));
            log.0.insert(*place, kept.collect());
        }
        log.answer(|_, _, _| 1)
    };
    let accepting = command.clone().args(["--accept-gap", &format!("pin/0:{from}..{to}")]);
    let run = accepting.start()?;
    demand(&url, &workload.frontier(), &lost(&workload, from, to)?).with_context(|| run.tail())?;
    workload.produce(&producer, 100)?;
    demand(&url, &workload.frontier(), &lost(&workload, from, to)?).with_context(|| run.tail())?;
    stop(run)?;
    let recorded = "SELECT topic || '/' || partition || ' ' || from_offset || '..' || to_offset FROM pinflow.gaps";
    let recorded = Database::connect(&url)?.value(recorded)?;
    ensure!(
        recorded.as_deref() == gap.strip_prefix("gap "),
        "recorded is {recorded:?}"
    );
    let verdict = Pinflow::new("verify").postgres(&postgres).succeed(SOON)?;
    ensure!(verdict.contains(&gap), "verify does not show the gap: {verdict}");

    // a restart needs no flag
    let run = command.start()?;
    workload.produce(&producer, 50)?;
    demand(&url, &workload.frontier(), &lost(&workload, from, to)?).with_context(|| run.tail())?;
    stop(run)?;
    verify_tables(Some(&lake), &kafka, &postgres)?;

    // one that grows stops again: history that the tables had is gone
    kafka.delete_records("pin", 0, to + 30)?;
    refused(&command, &format!("gap pin/0 {from}..{}", to + 30))?;
    let all = command.args(["--accept-gap", "all"]);
    let run = all.start()?;
    workload.produce(&producer, 50)?;
    demand(&url, &workload.frontier(), &lost(&workload, from, to + 30)?).with_context(|| run.tail())?;
    stop(run)?;
    verify_tables(Some(&lake), &kafka, &postgres)
}

#[test]
fn a_hole_in_the_lake_is_read_from_kafka() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    let url = postgres.url();
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(44, 2);
    workload.produce(&producer, 1_500)?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    workload.archive(&lake, 0.8, 20)?;
    let mut removed = Vec::new();
    for (topic, partition, start) in [("pin", 0, 40), ("pin", 0, 60), ("geo", 1, 0), ("user", 0, 100)] {
        let key = lake.key(topic, partition, start, None);
        removed.push((key.clone(), lake.get(&key)?));
        lake.remove(&key)?;
    }
    let command = Pinflow::new("run").lake(&lake).kafka(&kafka).postgres(&postgres);
    let auditor = Auditor::start(&url, SnapshotChecker::results("pinflow", 10))?;
    let run = command.start()?;
    demand_answer(&workload, &url, "pinflow", 10, SOON).with_context(|| run.tail())?;
    ensure!(
        !run.stderr().contains("gap "),
        "a hole that Kafka fills is no gap: {}",
        run.tail()
    );
    workload.produce(&producer, 200)?;
    demand_answer(&workload, &url, "pinflow", 10, SOON)?;
    stop(run)?;
    verify_tables(Some(&lake), &kafka, &postgres)?;

    // without Kafka the holes are gaps, each of them
    let mut alone = Pinflow::new("backfill")
        .lake(&lake)
        .postgres(&postgres)
        .args(["--schema", "alone"])
        .start()?;
    alone.expect(1, SOON)?;
    let said = alone.stderr();
    let gaps: Vec<&str> = said.lines().filter(|line| line.starts_with("gap ")).collect();
    ensure!(
        gaps == ["gap pin/0 40..80", "gap user/0 100..120"],
        "the gaps are {gaps:?}: {said}"
    );

    // retention passes the holes, and the lake is mended: nothing is missing
    for (topic, partition) in [("pin", 0), ("geo", 1), ("user", 0)] {
        kafka.delete_records(topic, partition, 130)?;
    }
    for (key, bytes) in removed {
        lake.put(&key, &bytes)?;
    }
    let run = command.start()?;
    workload.produce(&producer, 100)?;
    demand_answer(&workload, &url, "pinflow", 10, SOON).with_context(|| run.tail())?;
    stop(run)?;
    verify_tables(Some(&lake), &kafka, &postgres)?;
    auditor.finish_with(5, 2, &workload)?;
    Ok(())
}

/// A partition is added and keys move to it: their newer records have smaller offsets there, and win all the same.
#[test]
fn partitions_are_added_while_we_run_and_while_we_do_not() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    let url = postgres.url();
    for topic in TOPICS {
        kafka.create_topic(topic, 1, &[])?;
    }
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(45, 1);
    workload.produce(&producer, 900)?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    workload.archive(&lake, 0.5, 50)?;
    let command = Pinflow::new("run").lake(&lake).kafka(&kafka).postgres(&postgres);
    let run = command.start()?;
    demand_answer(&workload, &url, "pinflow", 10, SOON)?;

    // posts that exist in all three topics
    let inds: Vec<i64> = {
        let keys = |kind: u8| {
            workload.log[&(kind, 0)]
                .iter()
                .map(|(ind, _)| *ind)
                .collect::<std::collections::BTreeSet<_>>()
        };
        let (pins, geos, users) = (keys(0), keys(1), keys(2));
        pins.into_iter()
            .filter(|ind| geos.contains(ind) && users.contains(ind))
            .take(6)
            .collect()
    };
    let country = |ind: i64| -> Result<Option<String>> {
        let rows =
            Database::connect(&url)?.rows(&format!("SELECT country FROM pinflow.geo_table WHERE ind = {ind}"))?;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next().flatten()))
    };
    let place = |partition: i32, ind: i64, country: &str| -> Result<()> {
        let record = json!({
            "ind": ind, "timestamp": "2020-01-01T00:00:00", "latitude": 1.0, "longitude": 1.0, "country": country
        });
        let (key, value) = (ind.to_string(), record.to_string());
        let message = Message {
            partition: Some(partition),
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
        };
        // a producer of its own each time: an older one has not heard of a new partition yet
        let producer = Producer::new(&kafka.bootstrap())?;
        producer.send("geo", message)?;
        producer.flush()
    };
    let shows = |ind: i64, wanted: &str| {
        eventually(&format!("{wanted} of {ind}"), SOON, || {
            Ok(country(ind)?.as_deref() == Some(wanted))
        })
    };
    kafka.add_partitions("geo", 2)?;
    place(1, inds[0], "Moved")?;
    shows(inds[0], "Moved").with_context(|| run.tail())?;
    // and records go on in both
    place(1, inds[0], "Moved on")?;
    place(0, inds[1], "Stayed")?;
    shows(inds[0], "Moved on")?;
    shows(inds[1], "Stayed")?;
    stop(run)?;

    // a third one while nobody looks
    kafka.add_partitions("geo", 3)?;
    place(2, inds[0], "Moved twice")?;
    place(2, inds[2], "Moved once")?;
    let run = command.start()?;
    for (ind, wanted) in [(inds[0], "Moved twice"), (inds[1], "Stayed"), (inds[2], "Moved once")] {
        shows(ind, wanted).with_context(|| run.tail())?;
    }
    stop(run)?;
    // a start from nothing has the boundaries from the lake
    let fresh = command.clone().args(["--schema", "fresh"]).start()?;
    let shown = tables(&Database::connect(&url)?, "pinflow")?;
    eventually("the same tables", SOON, || {
        Ok(tables(&Database::connect(&url)?, "fresh").is_ok_and(|fresh| fresh == shown))
    })
    .with_context(|| fresh.tail())?;
    stop(fresh)?;
    // the answer by the plain evaluator: what came after a boundary is newer than anything before it
    let log = LogImage::of(&kafka, 1)?;
    let mut all = log;
    for partition in 1..3 {
        let records = kafka.records("geo", partition, "read_committed")?;
        let entry = |(offset, key, value): (i64, Option<Vec<u8>>, Option<Vec<u8>>)| {
            let key: i64 = String::from_utf8(key.unwrap_or_default()).ok()?.parse().ok()?;
            Some((offset, (key, value)))
        };
        all.0
            .insert((1, partition), records.into_iter().filter_map(entry).collect());
    }
    let end = workload.log[&(1, 0)].len() as i64;
    let generation = |kind: u8, partition: i32, offset: i64| match (kind, partition) {
        (1, 0) if offset < end => 1,
        (1, 0) => 2,
        (1, partition) => partition as u8 + 1,
        _ => 1,
    };
    ensure!(shown.1 == all.answer(generation)?, "the answer differs");
    verify_tables(Some(&lake), &kafka, &postgres)
}

/// Postgres does not answer while more flows than fits into memory: reading waits, and nothing is lost.
#[test]
fn a_stalled_postgres_costs_no_memory_and_no_record() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    let url = postgres.url();
    for topic in TOPICS {
        kafka.create_topic(topic, 1, &[])?;
    }
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(46, 1);
    workload.produce(&producer, 600)?;
    let mut run = Pinflow::new("run").kafka(&kafka).postgres(&postgres).start()?;
    demand_answer(&workload, &url, "pinflow", 10, SOON)?;
    let (resident, _) = run.memory()?;

    let lock = Database::connect(&url)?;
    lock.run("BEGIN; SELECT * FROM pinflow.progress FOR UPDATE")?;
    let (before, _) = wait_for_frontier(&url, "pinflow", &workload.frontier(), SOON)?;
    let wide = "wide ".repeat(4_000);
    let (mut bytes, mut ind) = (0, 800_000_000i64);
    let limit = 500 << 20;
    while bytes < limit {
        for _ in 0..500 {
            let record = json!({ "index": ind, "category": "art", "poster_name": "p", "follower_count": "5k",
                "title": format!("t{ind}"), "description": wide, "downloaded": 1 });
            let value = record.to_string().into_bytes();
            let key = ind.to_string();
            let message = Message {
                partition: Some(0),
                key: Some(key.as_bytes()),
                value: Some(&value),
            };
            producer.send("pin", message)?;
            bytes += value.len();
            workload.log.entry((0, 0)).or_default().push((ind, Some(value)));
            ind += 1;
        }
        producer.flush()?;
    }
    std::thread::sleep(Duration::from_secs(3));
    let (_, peak) = run.memory()?;
    let grown = peak.saturating_sub(resident);
    eprintln!(
        "{} MiB waited in Kafka, the engine grew by {} MiB",
        bytes >> 20,
        grown >> 20
    );
    ensure!(
        grown < 300 << 20,
        "the engine grew by {} MiB while Postgres was stalled",
        grown >> 20
    );
    let (after, _) = tables(&Database::connect(&url)?, "pinflow")?;
    ensure!(after == before, "something was committed past a locked row");
    lock.run("ROLLBACK")?;
    demand_answer(&workload, &url, "pinflow", 10, SOON)?;
    let (_, peak) = run.memory()?;
    ensure!(
        peak.saturating_sub(resident) < 400 << 20,
        "the engine grew to {} MiB",
        peak >> 20
    );
    ensure!(run.is_running()?, "the run ended: {}", run.tail());
    stop(run)?;
    let rows = Database::connect(&url)?.number("SELECT count(*) FROM pinflow.pin_table WHERE ind >= 800000000")?;
    ensure!(rows == ind - 800_000_000, "{rows} wide rows of {}", ind - 800_000_000);
    Ok(())
}

/// The server's processes are asleep for some seconds, connections open: nobody is told, and nothing breaks.
#[test]
fn a_sleeping_postgres_is_waited_for() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    let url = postgres.url();
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let workload = Workload::new(47, 2);
    let mut run = Pinflow::new("run").kafka(&kafka).postgres(&postgres).start()?;
    let load = BackgroundLoad::start(workload, &kafka, 40, Duration::from_millis(10))?;
    eventually("commits", SOON, || {
        let commits = || Database::connect(&url)?.number("SELECT commits FROM pinflow.progress");
        Ok(commits().unwrap_or(0) > 5)
    })?;
    let pid = Database::connect(&url)?.number(
        "SELECT l.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' AND l.granted",
    )?;
    let Some(pid) = rustix::process::Pid::from_raw(pid as i32) else {
        bail!("{pid} is no process id")
    };
    rustix::process::kill_process(pid, rustix::process::Signal::STOP)?;
    std::thread::sleep(Duration::from_secs(5));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT)?;
    let workload = load.finish()?;
    demand_answer(&workload, &url, "pinflow", 10, SOON)?;
    ensure!(run.is_running()?, "the run ended: {}", run.tail());
    stop(run)?;
    verify_tables(None, &kafka, &postgres)
}

#[test]
fn live_commits_begin_a_pace_apart_and_hold_everything_that_came_meanwhile() -> Result<()> {
    const PACE: Duration = Duration::from_millis(400);
    let case = Case::new("paced", 3, History::Nowhere)?;
    let topic = case.topic("geo");
    let mut run = case.command("run").args(["--pace", "400ms"]).start()?;
    case.send("geo", 0, &[geo(0, "Albania")])?;
    case.reaches(&mut run, "geo", 0, 1)?;
    let database = case.database()?;
    let commits = || database.number("SELECT commits FROM paced.progress");
    let (began, before) = (Instant::now(), commits()?);
    let writer = Producer::new(&case.kafka.bootstrap())?;
    let mut sent = [1, 0, 0];
    for ind in 1.. {
        let partition = ind as usize % 3;
        send_through(&writer, &topic, partition as i32, &[geo(ind, "Albania")])?;
        sent[partition] += 1;
        if began.elapsed() > 8 * PACE {
            break;
        }
    }
    for (partition, next) in (0..).zip(sent) {
        case.reaches(&mut run, "geo", partition, next)?;
    }
    // one may have been under way when the first was counted
    let (made, most) = (commits()? - before, began.elapsed().div_duration_f64(PACE) as i64 + 2);
    ensure!(
        (2..=most).contains(&made),
        "{made} commits for {sent:?} records, {most} at most"
    );
    stop(run)?;
    case.verify_tables()
}
