//! The audit finds what is wrong with a lake and nothing else, and a compaction that dies anywhere leaves every record.

use anyhow::{Result, ensure};
use pinflow_tests::archived::{self, lines};
use pinflow_tests::workload::Workload;
use pinflow_tests::{Kafka, LakeFolder, Pinflow, Producer, S3Server};
use serde_json::Value;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const TOPICS: [&str; 2] = ["--topics", "pin=pin"];

/// What `audit` says of the one partition.
fn audit(of: Pinflow) -> Result<(i32, Value)> {
    let (code, report) = archived::audit(of.args(TOPICS))?;
    Ok((code, report["partitions"][0].clone()))
}

fn produce(producer: &Producer, inds: std::ops::Range<i64>) -> Result<()> {
    producer.fill("pin", 0, inds, |ind| {
        format!("{{\"index\":{ind},\"category\":\"art\"}}")
    })
}

fn once(kafka: &Kafka, lake: &LakeFolder, flush: &str) -> Pinflow {
    let archive = Pinflow::new("archive").kafka(kafka).lake(lake).args(TOPICS);
    archive.args(["--once", "--flush-size", flush])
}

#[test]
fn what_is_missing_altered_or_double_is_named() -> Result<()> {
    let kafka = Kafka::start()?;
    kafka.create_topic("pin", 1, &[("retention.ms", "604800000")])?;
    let producer = Producer::new(&kafka.bootstrap())?;
    produce(&producer, 0..1_000)?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    once(&kafka, &lake, "100").succeed(SOON)?;
    let plain = || Pinflow::new("audit").lake(&lake);
    let beside = || plain().kafka(&kafka);

    let (code, whole) = audit(beside())?;
    ensure!(code == 0, "{whole:#}");
    ensure!(
        whole["covered"] == serde_json::json!([[0, 1000]]) && whole["objects"] == 10,
        "{whole:#}"
    );
    ensure!(
        whole["small"] == 10 && whole["kafka"] == serde_json::json!([0, 1000]),
        "{whole:#}"
    );

    // records that are not archived yet: no fault, but a race
    produce(&producer, 1_000..1_050)?;
    let (code, racing) = audit(beside())?;
    let left = racing["dropped_in_seconds"].as_i64().unwrap_or(0);
    ensure!(code == 0 && racing["waiting"] == 50, "{racing:#}");
    ensure!((604_000..=604_800).contains(&left), "{racing:#}");

    // an object is gone: Kafka still has its records, so an archiver mends it
    let key = lake.key("pin", 0, 300, None);
    let kept = lake.get(&key)?;
    lake.remove(&key)?;
    let (code, holed) = audit(beside())?;
    ensure!(code == 1 && holed["gaps"] == serde_json::json!([]), "{holed:#}");
    ensure!(
        holed["missing"][0]["from"] == 300 && holed["missing"][0]["to"] == 400,
        "{holed:#}"
    );
    let (code, alone) = audit(plain())?;
    ensure!(code == 1 && alone["gaps"][0]["from"] == 300, "{alone:#}");
    once(&kafka, &lake, "100").succeed(SOON)?;
    ensure!(lake.get(&key)? == kept, "the mended object differs");
    let (code, mended) = audit(beside())?;
    ensure!(code == 0 && mended["waiting"] == 0, "{mended:#}");

    // shortened: by its size at once; altered under the same size: by its checksum
    lake.put(&key, &kept[..kept.len() / 2])?;
    let (code, shortened) = audit(plain())?;
    ensure!(
        code == 1 && shortened["faults"][0]["object"] == key.as_str(),
        "{shortened:#}"
    );
    let mut altered = kept.clone();
    altered[10] ^= 1;
    lake.put(&key, &altered)?;
    let (code, unseen) = audit(plain())?;
    ensure!(code == 0, "{unseen:#}");
    let (code, seen) = audit(plain().args(["--deep"]))?;
    ensure!(code == 1 && seen["faults"][0]["object"] == key.as_str(), "{seen:#}");
    lake.put(&key, &kept)?;

    // copies of records: the same are harmless, other ones are not
    let copy = format!("topics/pin/copy/pin+0+{:010}.json", 320);
    let lines: Vec<&[u8]> = kept.split_inclusive(|byte| *byte == b'\n').collect();
    lake.put(&copy, &lines[20..30].concat())?;
    let (code, double) = audit(plain())?;
    ensure!(code == 0 && double["overlapping"] == 10, "{double:#}");
    ensure!(double["differing"] == serde_json::json!([]), "{double:#}");
    lake.put(&copy, &lines[21..31].concat())?;
    let (code, differing) = audit(plain())?;
    ensure!(
        code == 1 && differing["differing"] == serde_json::json!([[320, 330]]),
        "{differing:#}"
    );
    lake.remove(&copy)?;

    // retention was faster than the archiver
    produce(&producer, 1_050..1_200)?;
    kafka.delete_records("pin", 0, 1_100)?;
    let (code, lost) = audit(beside())?;
    ensure!(
        code == 1 && lost["gaps"][0]["from"] == 1_050 && lost["gaps"][0]["to"] == 1_100,
        "{lost:#}"
    );
    let mut late = once(&kafka, &lake, "100").start()?;
    late.expect(0, SOON)?;
    ensure!(late.stderr().contains("gap pin/0 1050..1100"), "{}", late.stderr());
    let mut text = beside().args(TOPICS).start()?;
    text.expect(1, SOON)?;
    ensure!(text.stdout().contains("gap pin/0 1050..1100\n"), "{}", text.stdout());

    // a topic that was created again is not written over the old one
    kafka.delete_topic("pin")?;
    kafka.create_topic("pin", 1, &[])?;
    produce(&producer, 5..1_500)?;
    let mut anew = once(&kafka, &lake, "100").start()?;
    anew.expect(1, SOON)?;
    ensure!(anew.stderr().contains("created again"), "{}", anew.stderr());
    Ok(())
}

/// A lake of objects with one record each, as its writer's sink would leave it.
fn small_objects(lake: &LakeFolder, records: usize) -> Result<Workload> {
    let mut workload = Workload::new(9, 1);
    workload.take(records);
    workload.archive(lake, 1.0, 1)?;
    Ok(workload)
}

#[test]
fn a_compaction_that_dies_anywhere_loses_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path())?;
    let on_disk = tempfile::tempdir()?;
    for in_s3 in [false, true] {
        let root = if in_s3 {
            server.create_bucket("lake")?
        } else {
            on_disk.path().to_path_buf()
        };
        let lake = LakeFolder::new(&root);
        small_objects(&lake, 400)?;
        let objects = root.join("topics/pin/partition=0");
        let before = lines(&objects, "pin", 0)?;
        ensure!(before.len() > 100, "few records");
        let with = |command: &str| {
            if in_s3 {
                Pinflow::new(command).s3(&server, "lake")
            } else {
                Pinflow::new(command).lake(&lake)
            }
        };
        let compact = || {
            with("compact")
                .args(TOPICS)
                .args(["--keep", "0s", "--target-bytes", "40000"])
        };
        for at in [
            "compact_before_put=2",
            "compact_after_put=2",
            "compact_before_delete",
            "compact_during_delete=30",
        ] {
            let mut killed = compact().env("PINFLOW_FAILPOINT", at).start()?;
            killed.wait_for("fail point", SOON)?;
            killed.wait(SOON)?;
            ensure!(lines(&objects, "pin", 0)? == before, "records were lost at {at}");
            let (code, report) = audit(with("audit").args(["--deep"]))?;
            ensure!(code == 0, "{at}: {report:#}");
        }
        compact().succeed(SOON)?;
        ensure!(lines(&objects, "pin", 0)? == before, "records were lost");
        let (code, report) = audit(with("audit").args(["--deep"]))?;
        ensure!(code == 0 && report["overlapping"] == 0, "{report:#}");
        ensure!(
            report["objects"].as_u64().is_some_and(|objects| objects < 10),
            "{report:#}"
        );
        let again = compact().succeed(SOON)?;
        ensure!(again.contains("merged 0 objects"), "{again}");
    }
    Ok(())
}
