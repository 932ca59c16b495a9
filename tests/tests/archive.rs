//! The archiver on real Apache Kafka: whatever dies and whatever is in the records, the lake holds every offset once,
//! at its place, and gives the same answer as the log.

use anyhow::{Context, Result, ensure};
use dataflows::{Decoder, Kind, Limits, Raw};
use operators::{Offset, Partition, Position};
use pinflow_tests::answer::demand_answer;
use pinflow_tests::archived::{demand_archived, demand_whole, lines};
use pinflow_tests::workload::{TOPICS, Workload};
use pinflow_tests::{Database, Fault, Kafka, LakeFolder, Message, Pinflow, Postgres, Producer, Program, S3Server, get};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn archive(kafka: &Kafka) -> Pinflow {
    // nothing ends by the clock unless a test says so by the flag
    Pinflow::new("archive")
        .kafka(kafka)
        .env("PINFLOW__ARCHIVE__ROTATE_SCHEDULE_INTERVAL_MS", "-1")
}

fn produced(kafka: &Kafka, seed: u64, records: usize) -> Result<(Producer, Workload)> {
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(seed, 2);
    workload.produce(&producer, records)?;
    workload.delete(&producer, 0, 5)?;
    workload.delete(&producer, 2, 9)?;
    Ok((producer, workload))
}

fn ends(program: &mut Program) -> Result<()> {
    program.expect(0, SOON)
}

#[test]
fn killed_at_every_step_it_writes_every_record_once() -> Result<()> {
    let kafka = Kafka::start()?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let (producer, mut workload) = produced(&kafka, 71, 3_000)?;
    let archiver = || archive(&kafka).lake(&lake).args(["--flush-size", "100"]);
    for (at, more) in [
        ("archive_before_put=3", 0),
        ("archive_after_put=7", 300),
        ("archive_before_commit", 0),
        ("archive_after_put=2", 300),
    ] {
        workload.produce(&producer, more)?;
        let mut killed = archiver().env("PINFLOW_FAILPOINT", at).start()?;
        killed.wait_for("fail point", SOON)?;
        killed.wait(SOON)?;
    }
    // a live one, killed in the middle of its work, and another that waits for its lock all the time
    let mut live = archiver().args(["--rotate-schedule-interval-ms", "200"]).start()?;
    // it has the lock by now: started together, either of the two may get it
    live.wait_for("archiving", SOON)?;
    let mut waiting = archiver().start()?;
    waiting.wait_for("another archiver", SOON)?;
    workload.produce(&producer, 1_000)?;
    live.kill()?;
    waiting.terminate()?;
    ends(&mut waiting)?;
    let said = archiver().args(["--once"]).succeed(SOON)?;
    ensure!(said.contains("archived"), "{said}");
    demand_archived(&workload, folder.path())?;
    let report = demand_whole(Pinflow::new("audit").lake(&lake).kafka(&kafka).args(["--deep"]))?;
    ensure!(report["partitions"].as_array().map_or(0, Vec::len) == 6, "{report:#}");
    // nothing is left to do
    let again = archiver().args(["--once"]).succeed(SOON)?;
    ensure!(again.contains("archived 0 records in 0 objects"), "{again}");

    let postgres = pinflow_tests::postgres()?;
    Pinflow::new("backfill").lake(&lake).postgres(&postgres).succeed(SOON)?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)
}

/// A misspelt topic is a failure, and not an archive that is complete.
#[test]
fn topics_that_do_not_exist_are_named_and_awaited() -> Result<()> {
    let kafka = Kafka::start()?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let archiver = || {
        archive(&kafka)
            .lake(&lake)
            .args(["--topics", "pin=later.pin,geo=later.geo"])
    };
    let mut once = archiver().args(["--once"]).start()?;
    once.expect(1, SOON)?;
    let said = once.stderr();
    ensure!(said.contains("no such topic in Kafka: later.pin, later.geo"), "{said}");

    let mut live = archiver()
        .args(["--flush-size", "1", "--listen", "127.0.0.1:0"])
        .start()?;
    live.wait_for("not in Kafka", SOON)?;
    let line = live.wait_for("http://", SOON)?;
    let address = line.split("http://").nth(1).context("an address")?;
    let address = address.split(['/', ' ']).next().context("an address")?;
    let is_ready = || Ok(get(address, "/readyz")?.starts_with("HTTP/1.1 200"));
    ensure!(!is_ready()?, "it is ready for nothing");
    kafka.create_topic("later.pin", 1, &[])?;
    let producer = Producer::new(&kafka.bootstrap())?;
    producer.fill("later.pin", 0, 0..10, |ind| format!("{{\"index\":{ind}}}"))?;
    pinflow_tests::eventually("readiness", SOON, is_ready)?;
    pinflow_tests::eventually("ten objects", SOON, || {
        Ok(lines(folder.path(), "later.pin", 0).is_ok_and(|lines| lines.len() == 10))
    })?;
    live.terminate()?;
    ends(&mut live)
}

#[test]
fn two_archivers_a_failing_server_and_a_broker_that_restarts_do_no_harm() -> Result<()> {
    let mut kafka = Kafka::start()?;
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path())?;
    let bucket = server.create_bucket("lake")?;
    let (producer, mut workload) = produced(&kafka, 72, 2_500)?;
    let refused = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&refused);
    server.set_faults(move |seen| {
        let fail = |fault| {
            counter.fetch_add(1, Ordering::Relaxed);
            fault
        };
        match (seen.is_put(), seen.before) {
            (true, 0) if seen.key.len() % 3 == 0 => fail(Fault::Status(503)),
            (true, 0 | 1) if seen.key.contains("geo+1") => fail(Fault::LoseAnswer),
            (true, 1) => fail(Fault::Status(500)),
            _ => Fault::None,
        }
    });
    let archiver = |flush: &str| archive(&kafka).s3(&server, "lake/topics").args(["--flush-size", flush]);
    let both = [archiver("50"), archiver("50")];
    let last = archiver("50").args(["--once"]);
    let whole = Pinflow::new("audit")
        .s3(&server, "lake/topics")
        .kafka(&kafka)
        .args(["--deep"]);
    let mut both = [both[0].start()?, both[1].start()?];
    both.iter_mut()
        .try_for_each(|one| one.wait_for("archiving", SOON).map(drop))?;
    workload.produce(&producer, 500)?;
    kafka.kill()?;
    std::thread::sleep(Duration::from_millis(500));
    kafka.start_again()?;
    workload.produce(&producer, 500)?;
    for one in &mut both {
        one.terminate()?;
        ends(one)?;
    }
    last.succeed(SOON)?;
    ensure!(refused.load(Ordering::Relaxed) > 10, "few requests failed");
    server.clear_faults();
    demand_archived(&workload, &bucket)?;
    demand_whole(whole)?;

    // history from the lake, the answer of the whole log
    let postgres = pinflow_tests::postgres()?;
    let backfill = Pinflow::new("backfill").s3(&server, "lake/topics").postgres(&postgres);
    backfill.succeed(SOON)?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)
}

/// What decoding says of a record, straight from Kafka.
fn reasons(records: &[(Option<&[u8]>, Option<&[u8]>)], record_bytes: usize) -> Result<BTreeMap<i64, String>> {
    let mut decoder = Decoder::new(Limits {
        record_bytes,
        ..Limits::default()
    });
    let mut reasons = BTreeMap::new();
    for ((key, value), offset) in records.iter().zip(0i64..) {
        let raw = Raw {
            kind: Kind::Geo,
            position: Position::new(1, Offset(offset), Partition(0))?,
            key: *key,
            value: *value,
        };
        if let Err(reason) = decoder.decode_with_row(raw) {
            reasons.insert(offset, reason.as_str().to_owned());
        }
    }
    Ok(reasons)
}

fn rejects(postgres: &Postgres) -> Result<BTreeMap<i64, String>> {
    let rows = Database::connect(&postgres.url())?.rows(r#"SELECT "offset", reason FROM pinflow.rejects"#)?;
    rows.into_iter()
        .map(|row| match row.as_slice() {
            [Some(position), Some(reason)] => Ok((position.parse()?, reason.clone())),
            _ => anyhow::bail!("a null in rejects"),
        })
        .collect()
}

/// Runs a query over the lake in DuckDB.
fn duckdb(sql: &str) -> Result<String> {
    let python = pinflow_tests::root().join(".cache/clients/bin/python");
    ensure!(python.exists(), "DuckDB is not installed: run tests/setup/clients.sh");
    let program = "import sys, duckdb; print(*duckdb.connect().execute(sys.argv[1]).fetchall()[0])";
    let output = std::process::Command::new(python).args(["-c", program, sql]).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[test]
fn odd_records_keep_their_offsets_and_their_reasons() -> Result<()> {
    const LIMIT: usize = 2048;
    let kafka = Kafka::start()?;
    kafka.create_topic("geo", 1, &[])?;
    let large = format!("{{\"ind\":9,\"country\":\"{}\"}}", "x".repeat(2 * LIMIT));
    let pretty_large = format!("{{\n{}\"ind\":9}}", " ".repeat(LIMIT));
    let noise: Vec<u8> = (0..LIMIT as u32 - 10).map(|n| (n * 7 % 251) as u8).collect();
    let deep = format!("{{\"ind\":1,\"x\":{}{}}}", "[".repeat(300), "]".repeat(300));
    let value = |value: &'static str| (Some(&b"k"[..]), Some(value.as_bytes()));
    let records: Vec<(Option<&[u8]>, Option<&[u8]>)> = vec![
        value(r#"{"ind":1,"country":"Albania"}"#),
        value("not\nJSON"),
        value(""),
        value(" \n"),
        value("\"text\""),
        value("[1,\n2]"),
        value("{\r\n  \"ind\": 2,\n  \"country\": \"a b \\\" \\n c\"\n}\n"),
        (None, Some(&noise)),
        (None, Some(b"\xef\xbb\xbf{\"ind\":3}")),
        value(r#"{"ind":4,"x":"\ud800"}"#),
        value(r#"{"ind":4,"x":1e999}"#),
        (None, Some(large.as_bytes())),
        (None, Some(pretty_large.as_bytes())),
        (None, Some(deep.as_bytes())),
        (Some(b"1"), None),
        (Some(b"one"), None),
        (None, None),
        (Some(b"\xff\xfe"), None),
        (Some(b"{\"ind\": 2}"), None),
        value(r#"{"__pinflow_raw":"{\"ind\":5}"}"#),
        value(r#"{"__pinflow_tombstone":"1"}"#),
        value(r#"{"ind":6,"country":"🇦🇱 é"}"#),
        value(r#"{"ind":"ind"}"#),
    ];
    let producer = Producer::new(&kafka.bootstrap())?;
    for (key, value) in &records {
        let message = Message {
            partition: Some(0),
            key: *key,
            value: *value,
        };
        producer.send("geo", message)?;
    }
    producer.flush()?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let limited = |pinflow: Pinflow| pinflow.env("PINFLOW__LIMITS__RECORD_BYTES", LIMIT.to_string());
    let topics = ["--topics", "geo=geo"];
    let archiver = limited(archive(&kafka).lake(&lake))
        .args(topics)
        .args(["--once", "--flush-size", "4"]);
    archiver.succeed(SOON)?;

    let found = lines(folder.path(), "geo", 0)?;
    ensure!(found.keys().copied().eq(0..records.len() as i64), "{found:#?}");
    for line in found.values() {
        serde_json::from_str::<Value>(line).with_context(|| line.clone())?;
    }
    let postgres = pinflow_tests::postgres()?;
    limited(Pinflow::new("backfill").lake(&lake).postgres(&postgres))
        .args(topics)
        .succeed(SOON)?;
    let expected = reasons(&records, LIMIT)?;
    ensure!(expected.len() > 12, "{expected:?}");
    let kept = rejects(&postgres)?;
    ensure!(
        kept == expected,
        "the lake's rejects are {kept:#?}\nthe log's are {expected:#?}"
    );
    // what the engine has taken from the lake, the log proves
    let verify = Pinflow::new("verify")
        .postgres(&postgres)
        .kafka(&kafka)
        .args(["--replay"])
        .args(topics);
    limited(verify).succeed(SOON)?;
    let both = Pinflow::new("verify")
        .postgres(&postgres)
        .lake(&lake)
        .args(["--replay"])
        .args(topics);
    limited(both).succeed(SOON)?;

    // kept beside the lake, they leave holes that are covered
    let beside = tempfile::tempdir()?;
    let other = LakeFolder::new(beside.path());
    let archiver = limited(archive(&kafka).lake(&other)).args(topics);
    archiver
        .args(["--once", "--behavior-on-undecodable-values", "dead-letter"])
        .succeed(SOON)?;
    demand_whole(Pinflow::new("audit").lake(&other).kafka(&kafka).args(topics))?;
    let letters = std::fs::read_dir(beside.path().join("_pinflow/dead-letters/geo"))?.count();
    let kept = lines(beside.path().join("topics").as_path(), "geo", 0)?.len();
    ensure!(
        letters > 5 && letters + kept == records.len(),
        "{letters} letters and {kept} lines"
    );
    Ok(())
}

#[test]
fn folders_of_time_packed_objects_and_holes_are_read_by_others() -> Result<()> {
    let kafka = Kafka::start()?;
    kafka.create_topic("geo", 1, &[])?;
    kafka.create_topic("pin", 1, &[])?;
    // transaction markers and an aborted transaction leave holes
    let transactions = Producer::transactional(&kafka.bootstrap(), "holes")?;
    let mut records = 0;
    for round in 0..6 {
        transactions.begin()?;
        for ind in 0..25 {
            let value =
                serde_json::json!({"ind": round * 100 + ind, "country": "Albania", "timestamp": "2020-01-02 03:04:05"});
            transactions.put("geo", ind, &value)?;
        }
        if round == 3 {
            transactions.abort()?
        } else {
            transactions.commit()?;
            records += 25;
        }
    }
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path())?;
    let bucket = server.create_bucket("lake")?;
    let archiver = || {
        archive(&kafka)
            .s3(&server, "lake")
            .args(["--topics", "geo=geo", "--s3-compression-type", "gzip"])
            .args([
                "--partitioner-class",
                "io.confluent.connect.storage.partitioner.TimeBasedPartitioner",
                "--path-format",
                "'year'=YYYY/'month'=MM",
                "--flush-size",
                "40",
            ])
    };
    // the clock ends the objects of a topic that has grown quiet, its last marker included
    let mut live = archiver()
        .args(["--rotate-schedule-interval-ms", "300", "--listen", "127.0.0.1:0"])
        .start()?;
    let listening = live.wait_for("http://", SOON)?;
    let address = listening.split("http://").nth(1).unwrap_or_default().trim().to_owned();
    let whole = || {
        Pinflow::new("audit")
            .s3(&server, "lake")
            .kafka(&kafka)
            .args(["--topics", "geo=geo"])
    };
    pinflow_tests::eventually("a whole lake", SOON, || Ok(demand_whole(whole()).is_ok()))?;
    let metrics = get(&address, "/metrics")?;
    ensure!(
        metrics.contains(&format!("pinflow_archive_records_total {records}\n"))
            && metrics.contains("pinflow_archive_lag_records{topic=\"geo\",partition=\"0\"} 0"),
        "{metrics}"
    );
    ensure!(get(&address, "/readyz")?.contains("200 OK"), "not ready");
    live.terminate()?;
    ends(&mut live)?;
    let found = lines(&bucket.join("topics/geo"), "geo", 0)?;
    ensure!(found.len() == records, "{} lines of {records} records", found.len());
    for (offset, line) in &found {
        let round = serde_json::from_str::<Value>(line)?["ind"].as_i64().unwrap_or(-1) / 100;
        ensure!(
            *offset / 26 == round,
            "the record of transaction {round} stands at {offset}"
        );
    }
    let year = bucket.join("topics/geo");
    ensure!(
        std::fs::read_dir(&year)?
            .all(|entry| entry.is_ok_and(|e| e.file_name().to_string_lossy().starts_with("year=")))
    );
    let restarted = archiver().args(["--once"]).succeed(SOON)?;
    ensure!(restarted.contains("archived 0 records"), "{restarted}");
    let counted = duckdb(&format!(
        "SELECT count(*), count(DISTINCT ind) FROM read_json('{}/**/*.json.gz', format='newline_delimited')",
        year.display()
    ))?;
    ensure!(counted == format!("{records} {records}"), "{counted}");

    // plain objects of dirty records, in the default folders, after a compaction too
    let producer = Producer::new(&kafka.bootstrap())?;
    for ind in 0..300i64 {
        let key = ind.to_string();
        let value = match ind % 50 {
            7 => Some("no JSON, \"really\""),
            9 => None,
            11 => Some(""),
            _ => Some(r#"{"index":1,"category":"art"}"#),
        };
        let message = Message {
            partition: Some(0),
            key: Some(key.as_bytes()),
            value: value.map(str::as_bytes),
        };
        producer.send("pin", message)?;
    }
    producer.flush()?;
    let plain = tempfile::tempdir()?;
    let lake = LakeFolder::new(plain.path());
    let topics = ["--topics", "pin=pin"];
    archive(&kafka)
        .lake(&lake)
        .args(topics)
        .args(["--once", "--flush-size", "1"])
        .succeed(SOON)?;
    let count = || {
        duckdb(&format!(
            "SELECT count(*) FROM read_json('{}/topics/pin/**/*[0-9].json', format='newline_delimited', \
             columns={{'index': 'BIGINT', 'ind': 'BIGINT'}})",
            plain.path().display()
        ))
    };
    ensure!(count()? == "300", "{}", count()?);
    Pinflow::new("compact")
        .lake(&lake)
        .args(topics)
        .args(["--keep", "0s"])
        .succeed(SOON)?;
    ensure!(count()? == "300", "{}", count()?);
    Ok(())
}
