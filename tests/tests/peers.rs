//! Other people's programs at both ends: readers of the lake that our archiver writes, and AWS's SDK for Java, which
//! puts records. They are large, so they run in `make test-peers` and not in `make test`.

use anyhow::{Context, Result, ensure};
use pinflow_tests::workload::TOPICS;
use pinflow_tests::{Kafka, LakeFolder, Pinflow, root, write_private};
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

/// AWS's SDK for Java needs another endpoint and nothing else: it speaks CBOR, names the hash of the body in the head, and
/// reads what it is answered.
#[test]
#[ignore = "needs AWS's SDK for Java: make test-peers"]
fn the_sdk_for_java_puts_records() -> Result<()> {
    let jars = root().join(".cache/kinesis");
    ensure!(
        jars.join(".complete").exists(),
        "{} is missing: run tests/setup/peers.sh",
        jars.display()
    );
    let kafka = Kafka::start()?;
    kafka.create_topic("java.geo", 3, &[])?;
    let (key, secret) = ("AKIAPINFLOW00000001", "abc/def+ghi=0123456789");
    let folder = tempfile::tempdir()?;
    let keys = folder.path().join("keys");
    write_private(&keys, &format!("{key} secret={secret} name=java\n"))?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let mut gateway = Pinflow::new("gateway")
        .args(["--listen", &listen, "--topics", "geo=java.geo", "--region", "eu-west-1"])
        .args(["--token-file", keys.to_str().context("a path")?])
        .kafka(&kafka)
        .start()?;
    gateway.wait_for("listening on http", SOON)?;
    let output = Command::new("java")
        .arg("-cp")
        .arg(jars.join("*"))
        .arg(root().join("tests/peers/Kinesis.java"))
        .args([&format!("http://{listen}"), "java.geo", key, secret])
        .output()
        .context("running AWS's SDK for Java")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    assert_eq!(
        String::from_utf8(output.stdout)?,
        "shardId-000000000001 0 3 3 1970-01-01T00:00:00Z true\nResourceNotFoundException true\n\
         InvalidSignatureException\n",
    );
    gateway.terminate()?;
    gateway.expect(0, SOON)?;
    let mut values = Vec::new();
    for partition in 0..3 {
        let records = kafka.records("java.geo", partition, "read_committed")?;
        values.extend(records.into_iter().filter_map(|(_, _, value)| value));
    }
    assert_eq!(values, [b"{}\x00\xff".to_vec(), b"many".to_vec(), b"many".to_vec()]);
    Ok(())
}
