//! Other people's programs at both ends: readers of the lake that our archiver writes, of our exports, and of the tables;
//! and AWS's SDK for Java, which puts records. They are large, so they run in `make test-peers` and not in `make test`.

use anyhow::{Context, Result, ensure};
use pinflow_tests::workload::TOPICS;
use pinflow_tests::{Database, Kafka, LakeFolder, Pinflow, S3Server, root, write_private};
use serde_json::{Value, json};
use servers::free_port;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// The Python that has PySpark and DuckDB.
fn python() -> Result<PathBuf> {
    let python = root().join(".cache/peers/bin/python");
    ensure!(
        python.exists(),
        "{} is missing: run tests/setup/peers.sh",
        python.display()
    );
    Ok(python)
}

/// The JSON that a script prints.
fn said(script: &mut Command) -> Result<Value> {
    let output = script.output().context("running Spark and DuckDB")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).with_context(|| format!("no JSON: {errors}"))
}

/// Spark and DuckDB count in the lake what Kafka holds, plain and packed.
#[test]
#[ignore = "needs PySpark: make test-peers"]
fn spark_and_duckdb_read_the_lake() -> Result<()> {
    let python = python()?;
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
        let mut peers = Command::new(&python);
        peers.arg(root().join("tests/peers/lake.py"));
        let counted = said(peers.arg(folder.path().join("topics")).arg(objects))?;
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

/// Each row of a cleaned table as JSON: timestamps as microseconds, doubles as their bits.
const ROWS: [(&str, &str); 3] = [
    (
        "pin_table",
        "ind, unique_id, title, description, follower_count, poster_name, tag_list, is_image_or_video, image_src, \
         save_location, category",
    ),
    (
        "geo_table",
        "ind, country, CASE WHEN coordinates IS NOT NULL THEN coalesce((SELECT array_agg(encode(float8send(c), 'hex') \
         ORDER BY n) FROM unnest(coordinates) WITH ORDINALITY AS u(c, n)), '{}') END, \
         (extract(epoch FROM \"timestamp\") * 1000000)::bigint",
    ),
    (
        "user_table",
        "ind, user_name, age, (extract(epoch FROM date_joined) * 1000000)::bigint",
    ),
];

/// Rows with all that the columns' types can hold.
const EDGES: &str = r#"
INSERT INTO pinflow.geo_table (ind, country, coordinates, "timestamp", log_generation, log_partition, log_offset) VALUES
  (-9223372036854775808, '', '{}', '0001-01-01', 1, 0, 0),
  (9223372036854775807, E'a\tb\n"c",\\', '{NULL}', '9999-12-31 23:59:59.999999', 1, 0, 0),
  (-1, NULL, NULL, NULL, 1, 0, 0),
  (-2, 'É 👩‍👩‍👧', '{NaN,Infinity,-Infinity,-0,NULL,1.7976931348623157e308,5e-324}', '1969-12-31 23:59:59.999999', 1, 0, 0);
INSERT INTO pinflow.user_table (ind, age, date_joined, log_generation, log_partition, log_offset) VALUES
  (-5, -2147483648, NULL, 1, 0, 0), (-6, 2147483647, '1970-01-01', 1, 0, 0);
"#;

/// DuckDB and Spark read from an export what PostgreSQL holds, row for row, and Spark reads it from PostgreSQL.
#[test]
#[ignore = "needs PySpark: make test-peers"]
fn spark_and_duckdb_read_an_export_row_for_row() -> Result<()> {
    let python = python()?;
    let folder = tempfile::tempdir()?;
    let postgres = pinflow_tests::postgres()?;
    let lake = LakeFolder::new(folder.path().join("lake"));
    let posts = ["--posts", "2000", "--dirty", "0.05", "--deletes", "0.02"];
    Pinflow::new("generate").lake(&lake).args(posts).succeed(SOON)?;
    Pinflow::new("backfill").lake(&lake).postgres(&postgres).succeed(SOON)?;
    let database = Database::connect(&postgres.url())?;
    database.run(EDGES)?;
    let server = S3Server::start(folder.path().join("s3"))?;
    server.create_bucket("exports")?;
    let to_folder = format!("file://{}", folder.path().join("exports").display());
    for to in [to_folder.as_str(), "s3://exports/pinflow"] {
        let export = Pinflow::new("export").postgres(&postgres).args(["--to", to]);
        let export = export.args(["--s3-endpoint", &server.endpoint()]);
        let environment = server.environment().into_iter();
        environment
            .fold(export, |export, (name, value)| export.env(name, value))
            .succeed(SOON)?;
    }
    let url = postgres.url();
    let (login, place) = url
        .trim_start_matches("postgres://")
        .split_once('@')
        .context("a login")?;
    let (user, password) = login.split_once(':').context("a password")?;
    let jdbc = format!("jdbc:postgresql://{place}?user={user}&password={password}");
    let mut peers = Command::new(&python);
    peers
        .arg(root().join("tests/peers/export.py"))
        .arg(folder.path().join("exports"));
    peers
        .args(["--s3", "s3://exports/pinflow", &server.endpoint()])
        .envs(server.environment());
    let read = said(
        peers
            .args(["--jdbc", &jdbc, "pinflow"])
            .arg(root().join(".cache/peers/postgresql.jar")),
    )?;
    for (table, columns) in ROWS {
        let sql = format!("SELECT json_build_array({columns}) FROM pinflow.{table} ORDER BY ind");
        let held = database.rows(&sql)?.into_iter().flatten().flatten();
        let held: Vec<Value> = held.map(|row| serde_json::from_str(&row)).collect::<Result<_, _>>()?;
        ensure!(held.len() > 1000, "{} rows of {table}", held.len());
        for reader in ["duckdb", "duckdb, s3", "spark", "spark, jdbc"] {
            let rows = read[reader][table]["rows"].as_array().context("no rows")?;
            let differs = held.iter().zip(rows).find(|(held, row)| held != row);
            ensure!(
                rows.len() == held.len() && differs.is_none(),
                "{table} by {reader}: {} rows of {}; (held, read) {differs:?}",
                rows.len(),
                held.len()
            );
        }
    }
    let types = |reader: &str, table: &str| read[reader][table]["types"].clone();
    assert_eq!(
        types("duckdb", "geo_table"),
        json!({"ind": "BIGINT", "country": "VARCHAR", "coordinates": "DOUBLE[]", "timestamp": "TIMESTAMP"})
    );
    assert_eq!(types("duckdb", "user_table")["age"], "INTEGER");
    for reader in ["spark", "spark, jdbc"] {
        let geo =
            json!({"ind": "bigint", "country": "string", "coordinates": "array<double>", "timestamp": "timestamp_ntz"});
        assert_eq!(types(reader, "geo_table"), geo, "{reader}");
        assert_eq!(types(reader, "user_table")["age"], "int", "{reader}");
        assert_eq!(types(reader, "pin_table")["follower_count"], "bigint", "{reader}");
    }
    Ok(())
}
