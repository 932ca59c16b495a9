//! A lake that is away: what is waited for, for how long, and that it costs no row; and what is said at once.

use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::demand_answer;
use pinflow_tests::get;
use pinflow_tests::workload::{TOPICS, Workload};
use pinflow_tests::{Database, Fault, Kafka, LakeFolder, Pinflow, Producer, S3Server, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(60);

fn lines_with<'a>(text: &'a str, part: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.contains(part)).collect()
}

#[test]
fn without_access_the_start_ends_at_once_in_one_sentence() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path())?;
    server.create_bucket("history")?;
    let out = tempfile::tempdir()?;
    let backfill = |bucket: &str| {
        let url = format!("s3://{bucket}/topics");
        let backfill = Pinflow::new("backfill").args(["--lake", &url, "--s3-endpoint", &server.endpoint()]);
        let backfill = backfill.args(["--out".as_ref(), out.path().as_os_str()]);
        // no profile of this machine's user, and no look for a role of the machine
        backfill
            .env("HOME", out.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
    };
    let keys = |backfill: Pinflow, key: &str, secret: &str| {
        backfill
            .env("AWS_ACCESS_KEY_ID", key)
            .env("AWS_SECRET_ACCESS_KEY", secret)
    };
    let key = server.environment()[0].1;
    let cases = [
        (backfill("history"), "there are no credentials", "AWS_PROFILE"),
        (
            keys(backfill("history"), "nobody", "x"),
            "the server answered 403",
            "AWS_PROFILE",
        ),
        (
            keys(backfill("history"), key, "x"),
            "SignatureDoesNotMatch",
            "AWS_SECRET_ACCESS_KEY",
        ),
        (
            keys(backfill("nowhere"), key, server.environment()[1].1),
            "cannot list nowhere",
            "does not exist",
        ),
    ];
    for (command, what, hint) in cases {
        let began = Instant::now();
        let mut command = command.start()?;
        command.expect(1, Duration::from_secs(10))?;
        let said = command.stderr();
        let errors = lines_with(&said, "error: ");
        ensure!(errors.len() == 1, "{said}");
        ensure!(errors[0].contains(what) && errors[0].contains(hint), "{said}");
        ensure!(errors[0].len() < 400 && !said.contains("DispatchFailure"), "{said}");
        ensure!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }
    Ok(())
}

#[test]
fn an_outage_is_no_damage_for_a_backfill() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path())?;
    let lake = LakeFolder::new(server.create_bucket("history")?);
    let mut workload = Workload::new(71, 2);
    workload.take(3_000);
    workload.archive(&lake, 1.0, 50)?;
    let postgres = pinflow_tests::postgres()?;
    let backfill = || {
        Pinflow::new("backfill")
            .s3(&server, "history/topics")
            .postgres(&postgres)
            .args(["--skip-unreadable", "--lake-timeout"])
    };
    // the listing is answered, then everything fails, in the ways in which access is lost
    for status in [503, 403] {
        let listed = Arc::new(AtomicBool::new(false));
        server.set_faults(move |seen| {
            if seen.is_get() || listed.load(Ordering::SeqCst) {
                listed.store(true, Ordering::SeqCst);
                Fault::Status(status)
            } else {
                Fault::None
            }
        });
        let mut given_up = backfill().args(["5s"]).start()?;
        given_up.expect(1, SOON)?;
        let said = given_up.stderr();
        ensure!(said.contains("given up after"), "{said}");
        ensure!(lines_with(&said, "has been unavailable for").len() == 1, "{said}");
        ensure!(
            lines_with(&said, "gap ").is_empty() && !said.contains("skipped"),
            "{said}"
        );
        let database = Database::connect(&postgres.url())?;
        ensure!(
            database.number("SELECT commits FROM pinflow.progress")? == 0,
            "something was committed"
        );
    }
    // an outage that ends in time costs nothing
    let (began, out) = (Instant::now(), Duration::from_secs(6));
    server.set_faults(move |seen| {
        if seen.is_get() && began.elapsed() < out {
            Fault::Status(503)
        } else {
            Fault::None
        }
    });
    backfill().args(["5m"]).succeed(SOON)?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    let database = Database::connect(&postgres.url())?;
    ensure!(
        database.number("SELECT count(*) FROM pinflow.gaps")? == 0,
        "an outage became a gap"
    );
    Ok(())
}

#[test]
fn a_run_waits_for_the_lake_in_sight() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path())?;
    let lake = LakeFolder::new(server.create_bucket("history")?);
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(72, 2);
    workload.produce(&producer, 2_000)?;
    workload.archive(&lake, 0.8, 50)?;
    let out = Arc::new(AtomicBool::new(true));
    let is_out = Arc::clone(&out);
    server.set_faults(move |seen| {
        if seen.is_get() && seen.key.contains("+0000") && is_out.load(Ordering::SeqCst) {
            Fault::Status(503)
        } else {
            Fault::None
        }
    });
    let address = format!("127.0.0.1:{}", servers::free_port()?);
    let mut run = Pinflow::new("run")
        .s3(&server, "history/topics")
        .kafka(&kafka)
        .postgres(&postgres)
        .args(["--skip-unreadable", "--listen", &address])
        .start()?;
    let is_waiting = || {
        let ready = get(&address, "/readyz").unwrap_or_default();
        Ok(ready.starts_with("HTTP/1.1 503")
            && ready.contains("the lake has been unavailable")
            && ready.contains("SlowDown"))
    };
    eventually("a readyz that names the outage", SOON, is_waiting).with_context(|| run.tail())?;
    let outage = || -> Result<f64> {
        let metrics = get(&address, "/metrics")?;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("pinflow_lake_unavailable_seconds "));
        Ok(line.with_context(|| metrics.clone())?.parse()?)
    };
    ensure!(outage()? > 0.0, "no outage is counted");
    out.store(false, Ordering::SeqCst);
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON).with_context(|| run.tail())?;
    eventually("readiness", SOON, || {
        Ok(get(&address, "/readyz")?.starts_with("HTTP/1.1 200"))
    })?;
    ensure!(outage()? == 0.0, "the outage is still counted");
    let said = run.stderr();
    ensure!(lines_with(&said, "has been unavailable for").len() == 1, "{said}");
    ensure!(lines_with(&said, "is available again").len() == 1, "{said}");
    run.terminate()?;
    run.expect(0, SOON)
}
