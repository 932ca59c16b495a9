//! Tables of the version before last records, topics and partition counts: read as they are, opened, and gone on with.

use crate::SOON;
use anyhow::{Context, Result, ensure};
use pinflow_tests::workload::TOPICS;
use pinflow_tests::{Database, Kafka, LakeFolder, Message, Pinflow, Producer, eventually};
use serde_json::{Value, json};

const SCHEMA: &str = "earlier";

/// The records that the dump was made of: two objects a topic.
fn records() -> [Vec<Value>; 3] {
    let either = |i: i64, even, odd| if i % 2 == 0 { even } else { odd };
    let pin = |i: i64| {
        json!({
            "index": i, "unique_id": format!("u{i}"), "title": format!("title {i}"), "description": "d",
            "poster_name": format!("p{}", i % 3), "follower_count": format!("{}k", i + 1), "tag_list": "a,b",
            "is_image_or_video": "image", "image_src": "s", "downloaded": 1,
            "save_location": "Local save in /data/art", "category": either(i, "art", "travel"),
        })
    };
    let geo = |i: i64| {
        json!({
            "ind": i, "timestamp": format!("20{}-08-28 03:52:47", 18 + i % 3), "latitude": 1.5 * i as f64,
            "longitude": 2.5, "country": either(i, "Albania", "Aruba"),
        })
    };
    let user = |i: i64| {
        json!({
            "ind": i, "first_name": "A", "last_name": format!("B{i}"), "age": 20 + 5 * i,
            "date_joined": format!("20{}-10-24 11:23:51", 15 + i % 3),
        })
    };
    let mut records = [
        (0..8).map(pin).collect::<Vec<_>>(),
        (0..8).map(geo).collect(),
        (0..8).map(user).collect(),
    ];
    records[1][7] = json!({"ind": 2, "__deleted": true});
    records[2][7] = json!({"age": 3});
    records
}

#[test]
fn tables_of_the_earlier_version_are_verified_opened_and_gone_on_with() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let producer = Producer::new(&kafka.bootstrap())?;
    let send = |topic: &str, record: &Value| {
        let (key, value) = (record["ind"].to_string(), record.to_string());
        let value = (record["__deleted"] != true).then_some(value.as_bytes());
        let key = Some(key.as_bytes());
        producer.send(
            topic,
            Message {
                partition: Some(0),
                key,
                value,
            },
        )
    };
    for (topic, records) in TOPICS.iter().zip(records()) {
        kafka.create_topic(topic, 1, &[])?;
        lake.object(topic, 0, 0, &records[..5])?;
        lake.object(topic, 0, 5, &records[5..])?;
        records.iter().try_for_each(|record| send(topic, record))?;
    }
    producer.flush()?;
    let database = Database::connect(&postgres.url())?;
    database.run(include_str!("earlier.sql"))?;
    database.run(&format!("SET search_path TO {SCHEMA}"))?;
    let columns = || {
        database.rows(
            "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns \
             WHERE table_schema = current_schema() ORDER BY 1, 2",
        )
    };
    let contents = || -> Result<Vec<Vec<Vec<Option<String>>>>> {
        let tables = pinflow_tests::plain::definitions()
            .iter()
            .map(|result| result.table.name);
        let tables = tables.chain(dataflows::CLEANED.iter().map(|table| table.name));
        let tables = tables.chain(["rejects", "tombstones", "frontier"]);
        // but for the place of a row in its table, and for columns that are added behind
        tables
            .map(|table| {
                let columns = match table {
                    "frontier" => "topic, partition, first_offset, next_offset, cleaned_next_offset",
                    _ => "*",
                };
                let sql = format!("SELECT t::text FROM (SELECT {columns} FROM {table}) t ORDER BY 1");
                database.rows(&sql)
            })
            .collect()
    };
    let (was, held) = (columns()?, contents()?);
    let verify = || {
        let plain = Pinflow::new("verify").postgres(&postgres).args(["--schema", SCHEMA]);
        plain.succeed(SOON)?;
        plain.args(["--replay"]).kafka(&kafka).lake(&lake).succeed(SOON)
    };
    verify().context("as they were written")?;
    let of_lake = Pinflow::new("verify").postgres(&postgres).lake(&lake);
    of_lake.args(["--schema", SCHEMA, "--replay"]).succeed(SOON)?;
    ensure!(columns()? == was && contents()? == held, "verify has changed tables");

    let command = Pinflow::new("run").lake(&lake).kafka(&kafka).postgres(&postgres);
    let command = command.args(["--schema", SCHEMA]);
    let commits = || database.number("SELECT commits FROM progress");
    let before = commits()?;
    let mut run = command.start()?;
    let opened = eventually("a commit", SOON, || {
        ensure!(run.is_running()?, "the run ended");
        Ok(commits()? > before)
    });
    opened.with_context(|| run.tail())?;
    ensure!(contents()? == held, "a start without new records has changed rows");
    let is = columns()?;
    ensure!(
        was.iter().all(|column| is.contains(column)),
        "a column is gone or altered"
    );
    // whole tables may be added; those that were there gain nullable columns alone
    let known = |table: &Option<String>| was.iter().any(|column| column[0] == *table);
    let added = is.iter().filter(|column| known(&column[0]) && !was.contains(column));
    ensure!(
        added.clone().count() > 0 && added.clone().all(|column| column[3].as_deref() == Some("YES")),
        "{:?} were added",
        added.collect::<Vec<_>>()
    );
    // with what only this version knows: the counts, and the last record of each partition
    let counts = "SELECT partition_counts::text FROM progress";
    let known = database.value(counts)?.unwrap_or_default();
    ensure!(known.contains("\"pin\": 1"), "{known}");

    let mut corrected = records()[0][3].clone();
    corrected["category"] = json!("quotes");
    send("pin", &corrected)?;
    producer.flush()?;
    let taken = || database.number("SELECT next_offset FROM frontier WHERE topic = 'pin'");
    eventually("the new record", SOON, || Ok(taken()? == 9)).with_context(|| run.tail())?;
    let category = database.value("SELECT category FROM pin_table WHERE ind = 3")?;
    ensure!(category.as_deref() == Some("quotes"), "{category:?}");
    verify().context("while it runs")?;
    run.terminate()?;
    run.expect(0, SOON)?;
    verify().context("after it has run")?;
    let mut again = command.start()?;
    let before = commits()?;
    let reopened = eventually("a commit", SOON, || Ok(commits()? > before));
    reopened.with_context(|| again.tail())?;
    again.terminate()?;
    again.expect(0, SOON)
}
