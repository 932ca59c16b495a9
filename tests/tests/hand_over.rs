//! History in a lake, live records in Kafka, and the tables in Postgres: whatever the cut between the two, the
//! answer is that of the whole log.

use anyhow::Result;
use pinflow_tests::answer::demand_answer;
use pinflow_tests::workload::{TOPICS, Workload};
use pinflow_tests::{Auditor, Kafka, LakeFolder, Pinflow, Producer, SnapshotChecker};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// The lake holds the first part of the log, Kafka all of it, and the log goes on.
#[test]
fn an_overlapping_history_and_a_live_log_make_one_answer() -> Result<()> {
    let kafka = Kafka::start()?;
    let postgres = pinflow_tests::postgres()?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(1, 2);
    workload.produce(&producer, 6_000)?;
    workload.archive(&lake, 0.6, 300)?;

    let auditor = Auditor::start(&postgres.url(), SnapshotChecker::results("pinflow", 10))?;
    let mut run = Pinflow::new("run")
        .lake(&lake)
        .kafka(&kafka)
        .postgres(&postgres)
        .start()?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    for _ in 0..5 {
        workload.produce(&producer, 500)?;
        demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    }
    workload.delete(&producer, 0, 7)?;
    workload.delete(&producer, 2, 11)?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    run.terminate()?;
    run.expect(0, SOON)?;

    // a restart reads nothing twice and goes on
    let mut run = Pinflow::new("run")
        .lake(&lake)
        .kafka(&kafka)
        .postgres(&postgres)
        .args(["-w", "2"])
        .start()?;
    workload.produce(&producer, 500)?;
    demand_answer(&workload, &postgres.url(), "pinflow", 10, SOON)?;
    run.terminate()?;
    run.expect(0, SOON)?;
    auditor.finish_with(5, 3, &workload)?;
    Ok(())
}
