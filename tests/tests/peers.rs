//! Other people's readers of the lake that our archiver writes. They are large, so they run in `make test-peers` and
//! not in `make test`.

use anyhow::{Context, Result, ensure};
use pinflow_tests::workload::TOPICS;
use pinflow_tests::{Kafka, LakeFolder, Pinflow, root};
use serde_json::Value;
use servers::free_port;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// Spark and DuckDB count in the lake what Kafka holds, plain and packed.
#[test]
#[ignore = "needs PySpark: make test-peers"]
fn spark_and_duckdb_read_the_lake() -> Result<()> {
    let python = root().join(".cache/peers/bin/python");
    ensure!(
        python.exists(),
        "{} is missing: run tests/setup/peers.sh",
        python.display()
    );
    let kafka = Kafka::start()?;
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let listen = format!("127.0.0.1:{}", free_port()?);
    let mut gateway = Pinflow::new("gateway")
        .args(["--listen", &listen])
        .kafka(&kafka)
        .start()?;
    Pinflow::new("emulate")
        .args([
            "--to",
            &format!("http://{listen}"),
            "--api",
            "rest",
            "--posts",
            "2000",
            "--rate",
            "0",
        ])
        .args(["--deletes", "0.01"])
        .succeed(SOON)?;
    gateway.terminate()?;
    gateway.expect(0, SOON)?;
    let mut expected: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for topic in TOPICS {
        let (mut records, mut posts) = (0, std::collections::BTreeSet::new());
        for partition in 0..2 {
            for (_, key, value) in kafka.records(topic, partition, "read_committed")? {
                records += 1;
                // a delete names its post by `ind` in every kind, so a pin's has no `index`
                if value.is_some() || topic != "pin" {
                    posts.insert(key);
                }
            }
        }
        expected.insert(topic, [records, posts.len() as u64]);
    }
    for (compression, objects) in [("none", "*[0-9].json"), ("gzip", "*.json.gz")] {
        let folder = tempfile::tempdir()?;
        let lake = LakeFolder::new(folder.path());
        Pinflow::new("archive")
            .kafka(&kafka)
            .lake(&lake)
            .args(["--once", "--flush-size", "500", "--s3-compression-type", compression])
            .succeed(SOON)?;
        let output = Command::new(&python)
            .arg(root().join("tests/peers/lake.py"))
            .arg(folder.path().join("topics"))
            .arg(objects)
            .output()
            .context("running Spark and DuckDB")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}");
        let counted: Value = serde_json::from_slice(&output.stdout).with_context(|| format!("no counts: {said}"))?;
        for peer in ["spark", "duckdb"] {
            assert_eq!(counted[peer], serde_json::json!(expected), "{peer}, {compression}");
        }
    }
    Ok(())
}
