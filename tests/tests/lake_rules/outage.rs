//! Unavailable is not damaged: an outage is waited for, and only an object that is proved unreadable becomes a gap.

use crate::{PINS, SOON, agrees, demand_rows, pin, rows};
use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::demand_answer;
use pinflow_tests::case::each;
use pinflow_tests::get;
use pinflow_tests::lake::gzip;
use pinflow_tests::workload::Workload;
use pinflow_tests::{Broker, Fault, LakeFolder, Pinflow, Postgres, Producer, S3Server, Seen, eventually};
use std::sync::Mutex;
use std::time::{Duration, Instant};

struct Bucket {
    server: S3Server,
    lake: LakeFolder,
    postgres: Postgres,
    _folder: tempfile::TempDir,
}

impl Bucket {
    fn new() -> Result<Bucket> {
        let folder = tempfile::tempdir()?;
        let server = S3Server::start(folder.path())?;
        Ok(Bucket {
            lake: LakeFolder::new(server.create_bucket("history")?),
            server,
            postgres: pinflow_tests::postgres()?,
            _folder: folder,
        })
    }

    fn command(&self, command: &str, schema: &str) -> Pinflow {
        let command = Pinflow::new(command).s3(&self.server, "history/topics");
        command.postgres(&self.postgres).args(["--schema", schema])
    }

    /// From the first of these requests on the server fails like this for so long.
    fn fail_from(&self, begins: fn(&Seen<'_>) -> bool, fault: Fault, time: Duration) {
        let began: Mutex<Option<Instant>> = Mutex::new(None);
        let fault = Mutex::new(fault);
        self.server.set_faults(move |seen| {
            let mut began = began.lock().expect("no thread panics with it");
            if began.is_none() && begins(seen) {
                *began = Some(Instant::now());
            }
            match *began {
                Some(at) if at.elapsed() < time => fault.lock().expect("no thread panics with it").clone(),
                _ => Fault::None,
            }
        });
    }
}

/// Whatever the server fails with, as long as it lets nobody list the lake either: with `--skip-unreadable` nothing is
/// skipped, and no gap is recorded.
#[test]
fn an_outage_of_s3_loses_nothing_when_unreadable_objects_are_skipped() -> Result<()> {
    let faults = vec![
        ("slow_down", Fault::Status(503)),
        ("denied", Fault::Status(403)),
        ("unreachable", Fault::Reset),
    ];
    each(faults, |(schema, fault)| {
        let bucket = Bucket::new()?;
        let mut workload = Workload::new(81, 2);
        workload.take(1_500);
        workload.archive(&bucket.lake, 1.0, 40)?;
        // three objects without offsets, of posts that nothing else knows
        for index in 0..3 {
            let (name, post) = (format!("u{index}"), pin(9_000_000 + index, "art"));
            bucket.lake.event("pin", &name, &post)?;
        }
        let outage = Duration::from_secs(5);
        // some objects have been read by then
        bucket.fail_from(
            |seen| seen.is_get() && seen.key.ends_with("pin+1+0000000120.json"),
            fault,
            outage,
        );
        let began = Instant::now();
        let mut backfill = bucket.command("backfill", schema).args(["--skip-unreadable"]).start()?;
        backfill.expect(0, SOON)?;
        let said = backfill.stderr();
        ensure!(began.elapsed() >= outage, "{schema}: nothing failed: {said}");
        ensure!(!said.contains("skipped"), "{schema}: {said}");
        demand_rows(&bucket.postgres, schema, "SELECT count(*) FROM gaps", &["0"])?;
        let alone = "SELECT count(*) FROM pin_table WHERE ind >= 9000000";
        demand_rows(&bucket.postgres, schema, alone, &["3"])?;
        demand_answer(&workload, &bucket.postgres.url(), schema, 10, SOON)
    })
}

/// It has no offsets to name a gap by, so its key is recorded.
#[test]
fn a_damaged_object_without_offsets_is_a_gap_by_name() -> Result<()> {
    let bucket = Bucket::new()?;
    for index in 0..3 {
        bucket.lake.event("pin", &format!("u{index}"), &pin(index, "art"))?;
    }
    let key = "topics/pin/events/event-u5.json.gz";
    let whole = gzip(&[pin(5, "travel").to_string().as_bytes()])?;
    bucket.lake.put(key, &whole[..whole.len() / 2])?;
    bucket.lake.object("pin", 0, 0, &[pin(10, "quotes")])?;
    let backfill = |more: &[&str]| bucket.command("backfill", "pinflow").args(PINS).args(more).start();

    let mut stopped = backfill(&[])?;
    stopped.expect(1, SOON)?;
    let said = stopped.stderr();
    ensure!(
        said.contains("event-u5.json.gz") && said.contains("--skip-unreadable"),
        "{said}"
    );

    let gaps = "SELECT topic, partition, object FROM gaps";
    // as it is called below the lake's URL
    let recorded = "pin -1 pin/events/event-u5.json.gz";
    let cleaned = "SELECT ind, category FROM pin_table ORDER BY 1";
    // the second time it is known already
    for _ in 0..2 {
        let mut skipping = backfill(&["--skip-unreadable"])?;
        skipping.expect(0, SOON)?;
        let said = skipping.stderr();
        ensure!(said.contains("event-u5.json.gz"), "{said}");
        demand_rows(&bucket.postgres, "pinflow", gaps, &[recorded])?;
        demand_rows(
            &bucket.postgres,
            "pinflow",
            cleaned,
            &["0 art", "1 art", "2 art", "10 quotes"],
        )?;
        agrees(&bucket.postgres, "pinflow", |verify| {
            verify.s3(&bucket.server, "history/topics")
        })?;
    }
    bucket.lake.put(key, &whole)?;
    backfill(&[])?.expect(0, SOON)?;
    demand_rows(&bucket.postgres, "pinflow", gaps, &[])?;
    let all = ["0 art", "1 art", "2 art", "5 travel", "10 quotes"];
    demand_rows(&bucket.postgres, "pinflow", cleaned, &all)?;
    agrees(&bucket.postgres, "pinflow", |verify| {
        verify.s3(&bucket.server, "history/topics")
    })
}

/// A command that ends by itself does not wait for ever.
#[test]
fn a_backfill_gives_an_outage_up_after_its_lake_timeout() -> Result<()> {
    let bucket = Bucket::new()?;
    bucket
        .lake
        .objects("pin", 0, 0, 1, &[pin(0, "art"), pin(1, "art"), pin(2, "art")])?;
    bucket.fail_from(|seen| seen.is_get(), Fault::Status(503), SOON);
    let began = Instant::now();
    let mut backfill = bucket
        .command("backfill", "pinflow")
        .args(PINS)
        .args(["--lake-timeout", "2s", "--skip-unreadable"])
        .start()?;
    backfill.expect(1, Duration::from_secs(20))?;
    let said = backfill.stderr();
    ensure!(began.elapsed() >= Duration::from_secs(2), "{said}");
    let last = said.lines().last().unwrap_or_default();
    ensure!(
        last.starts_with("error: ") && last.contains("given up after") && last.contains("503"),
        "{said}"
    );
    let commits = rows(&bucket.postgres, "pinflow", "SELECT commits FROM progress")?;
    ensure!(commits == ["0"], "{commits:?} commits were made");
    Ok(())
}

/// A run waits without end, and whoever asks sees why it is not ready.
#[test]
fn a_run_waits_for_s3_and_is_not_ready_meanwhile() -> Result<()> {
    let bucket = Bucket::new()?;
    let broker = Broker::start()?;
    broker.create_topic("pin", 1)?;
    let producer = Producer::new(broker.bootstrap())?;
    producer.fill("pin", 0, 0..3, |index| pin(index, "art").to_string())?;
    bucket
        .lake
        .objects("pin", 0, 0, 1, &[pin(0, "art"), pin(1, "art"), pin(2, "art")])?;
    bucket.fail_from(|seen| seen.is_get(), Fault::Status(503), Duration::from_secs(600));
    let address = format!("127.0.0.1:{}", servers::free_port()?);
    let mut run = bucket
        .command("run", "pinflow")
        .args(PINS)
        .args(["--kafka", broker.bootstrap(), "--listen", &address, "--skip-unreadable"])
        .args(["--accept-gap", "all"])
        .start()?;
    let ready = || get(&address, "/readyz").unwrap_or_default();
    let out = || Ok(ready().contains("the lake has been unavailable for") && ready().contains("503"));
    eventually("an answer of /readyz", SOON, out).with_context(|| run.tail())?;
    ensure!(ready().starts_with("HTTP/1.1 503"), "{}", ready());
    let seconds = get(&address, "/metrics")?;
    let seconds = seconds
        .lines()
        .find_map(|line| line.strip_prefix("pinflow_lake_unavailable_seconds "));
    ensure!(
        seconds.is_some_and(|value| value != "0.0" && value != "0"),
        "{seconds:?}"
    );
    // long beyond any time limit
    std::thread::sleep(Duration::from_secs(5));
    ensure!(run.is_running()?, "the run ended: {}", run.tail());
    demand_rows(&bucket.postgres, "pinflow", "SELECT commits FROM progress", &["0"])?;
    bucket.server.clear_faults();
    eventually("readiness", SOON, || Ok(ready().starts_with("HTTP/1.1 200"))).with_context(|| run.tail())?;
    demand_rows(&bucket.postgres, "pinflow", "SELECT count(*) FROM pin_table", &["3"])?;
    demand_rows(&bucket.postgres, "pinflow", "SELECT count(*) FROM gaps", &["0"])?;
    run.terminate()?;
    run.expect(0, SOON)
}
