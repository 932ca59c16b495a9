//! The audit beside the tables: what they answer for has to be in the lake or in Kafka, or nobody can prove it again.

use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::wait_for_frontier;
use pinflow_tests::archived::audit;
use pinflow_tests::workload::Frontier;
use pinflow_tests::{Kafka, LakeFolder, Pinflow, Postgres, Producer};
use serde_json::{Value, json};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const TOPICS: [&str; 2] = ["--topics", "pin=pin"];

fn pin(ind: i64) -> String {
    format!("{{\"index\":{ind},\"category\":\"art\"}}")
}

/// Runs the engine until its tables answer for everything below these offsets.
fn follow(kafka: &Kafka, lake: &LakeFolder, postgres: &Postgres, next: [i64; 2]) -> Result<()> {
    let run = Pinflow::new("run").kafka(kafka).lake(lake).postgres(postgres);
    let mut run = run.args(TOPICS).start()?;
    let wanted: Frontier = (0..).zip(next).map(|(p, next)| (("pin".to_owned(), p), next)).collect();
    wait_for_frontier(&postgres.url(), "pinflow", &wanted, SOON).with_context(|| run.tail())?;
    run.terminate()?;
    run.expect(0, SOON)
}

/// Exit code and text.
fn text(of: Pinflow) -> Result<(i32, String)> {
    let mut audit = of.start()?;
    let code = audit.wait(SOON)?.unwrap_or(-1);
    Ok((code, audit.stdout()))
}

#[test]
fn what_the_tables_answer_for_is_asked_of_lake_and_kafka() -> Result<()> {
    let kafka = Kafka::start()?;
    kafka.create_topic("pin", 2, &[])?;
    let postgres = pinflow_tests::postgres()?;
    let producer = Producer::new(&kafka.bootstrap())?;
    producer.fill("pin", 0, 0..1_000, pin)?;
    producer.fill("pin", 1, 0..300, pin)?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let archive = Pinflow::new("archive").kafka(&kafka).lake(&lake).args(TOPICS);
    archive.args(["--once", "--flush-size", "100"]).succeed(SOON)?;
    let plain = || Pinflow::new("audit").lake(&lake).args(TOPICS);
    let without = || plain().kafka(&kafka);
    let beside = || without().postgres(&postgres);

    // before the first run there are no tables, and nothing is wrong with that
    let (code, report) = audit(beside())?;
    ensure!(code == 0 && report["partitions"][0]["tables"].is_null(), "{report:#}");
    let mut verify = Pinflow::new("verify").postgres(&postgres).start()?;
    verify.expect(1, SOON)?;
    ensure!(
        verify.stderr().contains("schema pinflow lacks tables"),
        "{}",
        verify.tail()
    );

    follow(&kafka, &lake, &postgres, [1_000, 300])?;
    let partition = |(code, report): (i32, Value), number: usize| -> Result<(i32, Value)> {
        Ok((code, report["partitions"][number].clone()))
    };

    // all three sides, for each partition
    let (code, report) = audit(beside())?;
    ensure!(code == 0, "{report:#}");
    for (number, next) in [(0, 1_000), (1, 300)] {
        let one = &report["partitions"][number];
        ensure!(
            one["tables"] == json!([0, next])
                && one["kafka"] == json!([0, next])
                && one["covered"] == json!([[0, next]]),
            "{one:#}"
        );
    }
    let (code, said) = text(beside())?;
    ensure!(code == 0 && said.ends_with("nothing is missing\n"), "{code} {said}");
    for (partition, next) in [
        ("pin/0: lake 0..1000 in 10 objects", 1_000),
        ("pin/1: lake 0..300 in 3 objects", 300),
    ] {
        let line = said
            .lines()
            .find(|line| line.starts_with(partition))
            .unwrap_or_default();
        ensure!(
            line.ends_with(&format!("; kafka 0..{next}; tables 0..{next}")),
            "{said}"
        );
    }
    let (_, report) = audit(without())?;
    ensure!(report["partitions"][0]["tables"].is_null(), "{report:#}");

    // a lake may begin late; one that has lost its beginning does not show it, the tables do
    kafka.delete_records("pin", 1, 200)?;
    ensure!(
        partition(audit(beside())?, 1)?.0 == 0,
        "the lake has what Kafka dropped"
    );
    let first = lake.key("pin", 1, 0, None);
    let kept = lake.get(&first)?;
    lake.remove(&first)?;
    ensure!(
        partition(audit(without())?, 1)?.0 == 0,
        "nobody else knows of a beginning"
    );
    let lost = "the tables answer for 0..100, which neither the lake nor Kafka has";
    let (code, one) = partition(audit(beside())?, 1)?;
    ensure!(code == 1 && one["problems"] == json!([lost]), "{one:#}");
    let (code, said) = text(beside())?;
    ensure!(
        code == 1 && said.contains(&format!("  {lost}\n")) && said.ends_with("the lake is incomplete\n"),
        "{code} {said}"
    );
    // nor is a partition forgotten of which the lake has nothing at all
    let others = [100, 200].map(|start| lake.key("pin", 1, start, None));
    let contents: Vec<Vec<u8>> = others.iter().map(|key| lake.get(key)).collect::<Result<_>>()?;
    others.iter().try_for_each(|key| lake.remove(key))?;
    let (code, one) = partition(audit(beside())?, 1)?;
    ensure!(
        code == 1 && one["tables"] == json!([0, 300]) && one["waiting"] == 100,
        "{one:#}"
    );
    ensure!(
        one["problems"] == json!(["the tables answer for 0..200, which neither the lake nor Kafka has"]),
        "{one:#}"
    );
    lake.put(&first, &kept)?;
    for (key, content) in others.iter().zip(&contents) {
        lake.put(key, content)?;
    }
    ensure!(partition(audit(beside())?, 1)?.0 == 0, "the lake is whole again");

    // tables ahead of the lake: no fault as long as Kafka has the records, and not to be judged without it
    producer.fill("pin", 0, 1_000..1_050, pin)?;
    follow(&kafka, &lake, &postgres, [1_050, 300])?;
    let (code, one) = partition(audit(beside())?, 0)?;
    ensure!(
        code == 0 && one["tables"] == json!([0, 1_050]) && one["waiting"] == 50 && one["problems"] == json!([]),
        "{one:#}"
    );
    let (code, one) = partition(audit(plain().postgres(&postgres))?, 0)?;
    ensure!(
        code == 1
            && one["problems"]
                == json!(["the tables answer for 1000..1050, which the lake lacks (Kafka was not asked)"]),
        "{one:#}"
    );

    // retention was faster than the archiver, and the tables are the last to know
    kafka.delete_records("pin", 0, 1_030)?;
    let (code, one) = partition(audit(beside())?, 0)?;
    ensure!(
        code == 1 && one["gaps"] == json!([{"topic": "pin", "partition": 0, "from": 1_000, "to": 1_030}]),
        "{one:#}"
    );
    ensure!(
        one["kafka"] == json!([1_030, 1_050]) && one["tables"] == json!([0, 1_050]),
        "{one:#}"
    );
    let (code, said) = text(beside())?;
    ensure!(
        code == 1 && said.contains("gap pin/0 1000..1030\n") && said.contains("; kafka 1030..1050; tables 0..1050\n"),
        "{code} {said}"
    );

    // a run needs the gap to be accepted, and what the tables record is no fault any more; without them it is one
    let run = Pinflow::new("run").kafka(&kafka).lake(&lake).postgres(&postgres);
    let mut run = run.args(TOPICS).args(["--accept-gap", "pin/0:1000..1030"]).start()?;
    producer.fill("pin", 0, 1_050..1_060, pin)?;
    let wanted: Frontier = [(("pin".to_owned(), 0), 1_060)].into();
    wait_for_frontier(&postgres.url(), "pinflow", &wanted, SOON).with_context(|| run.tail())?;
    run.terminate()?;
    run.expect(0, SOON)?;
    let lost = json!([{"topic": "pin", "partition": 0, "from": 1_000, "to": 1_030}]);
    let (code, one) = partition(audit(beside())?, 0)?;
    ensure!(
        code == 0 && one["gaps"] == json!([]) && one["accepted"] == lost && one["problems"] == json!([]),
        "{one:#}"
    );
    let (code, said) = text(beside())?;
    ensure!(
        code == 0 && said.contains("\naccepted pin/0 1000..1030\n"),
        "{code} {said}"
    );
    let (code, one) = partition(audit(without())?, 0)?;
    ensure!(
        code == 1 && one["gaps"] == lost && one["accepted"] == json!([]),
        "{one:#}"
    );

    // tables that are not there are no empty tables
    let mut nowhere = beside().args(["--schema", "nowhere"]).start()?;
    nowhere.expect(1, SOON)?;
    ensure!(nowhere.stderr().contains("nowhere"), "{}", nowhere.stderr());

    // and a lake in which nothing is found is no complete one
    let empty = tempfile::tempdir()?;
    let (code, said) = text(Pinflow::new("audit").lake(&LakeFolder::new(empty.path())).args(TOPICS))?;
    ensure!(code == 1 && said.starts_with("nothing was found"), "{code} {said}");
    Ok(())
}
