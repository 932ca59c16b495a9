//! Leaders of partitions that are killed, in a cluster of three brokers.

use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::{demand_answer, wait_for_commits};
use pinflow_tests::archived::{demand_archived, demand_whole};
use pinflow_tests::workload::{TOPICS, Workload};
use pinflow_tests::{
    Auditor, BackgroundLoad, Kafka, LakeFolder, Pinflow, Producer, SnapshotChecker, eventually, verify_tables,
};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// One leader dies under a live engine and an archiver, another one while an engine reads the same log from its beginning.
#[test]
fn leaders_of_partitions_are_killed_and_each_record_counts_once() -> Result<()> {
    let mut kafka = Kafka::start_cluster()?;
    let postgres = pinflow_tests::postgres()?;
    let url = postgres.url();
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let mut workload = Workload::new(61, 2);
    workload.produce(&Producer::new(&kafka.bootstrap())?, 2_000)?;
    let folder = tempfile::tempdir()?;
    let history = LakeFolder::new(folder.path().join("history"));
    workload.archive(&history, 0.4, 50)?;
    let archived = LakeFolder::new(folder.path().join("archived"));
    std::fs::create_dir(archived.root())?;

    let command = Pinflow::new("run").lake(&history).kafka(&kafka).postgres(&postgres);
    let auditor = Auditor::start(&url, SnapshotChecker::results("pinflow", 10))?;
    let mut run = command.start()?;
    let archive = Pinflow::new("archive")
        .lake(&archived)
        .kafka(&kafka)
        .args(["--flush-size", "50"])
        .env("PINFLOW__ARCHIVE__ROTATE_SCHEDULE_INTERVAL_MS", "-1");
    let mut archiver = archive.start()?;
    archiver.wait_for("archiving", SOON)?;
    demand_answer(&workload, &url, "pinflow", 10, SOON).with_context(|| run.tail())?;

    let load = BackgroundLoad::start(workload, &kafka, 20, Duration::from_millis(20))?;
    let mut late = None;
    for topic in ["pin", "geo"] {
        wait_for_commits(&url, 10, SOON)?;
        let leader = kafka.leader(topic, 0)?.0.context("a leader")?;
        kafka.broker(leader)?.kill()?;
        if topic == "geo" {
            late = Some(command.clone().args(["--schema", "late"]).start()?);
        }
        eventually("another leader", SOON, || {
            let (now, _) = kafka.leader(topic, 0)?;
            Ok(now.is_some_and(|now| now != leader))
        })?;
        let before = load.produced();
        eventually("acknowledged records", SOON, || Ok(load.produced() > before + 100))?;
        wait_for_commits(&url, 10, SOON).with_context(|| run.tail())?;
        kafka.broker(leader)?.start_again()?;
        for topic in TOPICS {
            for partition in 0..2 {
                eventually("three replicas in sync", SOON, || {
                    Ok(kafka.leader(topic, partition)?.1 == 3)
                })?;
            }
        }
    }
    let workload = load.finish()?;
    demand_answer(&workload, &url, "pinflow", 10, SOON).with_context(|| run.tail())?;
    let mut late = late.context("an engine that was started late")?;
    demand_answer(&workload, &url, "late", 10, SOON).with_context(|| late.tail())?;
    auditor.finish_with(20, 3, &workload)?;
    for run in [&mut run, &mut late] {
        ensure!(run.is_running()?, "it ended: {}", run.tail());
        run.terminate()?;
        run.expect(0, SOON)?;
    }
    archiver.terminate()?;
    archiver.expect(0, SOON)?;
    archive.args(["--once"]).succeed(SOON)?;
    demand_archived(&workload, archived.root())?;
    demand_whole(Pinflow::new("audit").lake(&archived).kafka(&kafka).args(["--deep"]))?;
    verify_tables(Some(&history), &kafka, &postgres)
}
