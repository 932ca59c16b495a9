//! What a line of the lake stands for: the record as it was in Kafka, whoever wrote the object.

use crate::{PINS, SOON, agrees, backfill, demand_rows, pin, rows};
use anyhow::{Context, Result, ensure};
use pinflow_tests::{Kafka, LakeFolder, Message, Pinflow, Postgres, Producer, Program, eventually, files};
use serde_json::Value;

/// Rows, then dead letters, in the order of their offsets.
const CLEANED: &str = "SELECT log_offset, ind, category FROM pin_table ORDER BY 1";
const REJECTS: &str = "SELECT position, reason, coalesce(convert_from(key, 'UTF8'), '-'), coalesce(convert_from(value, 'UTF8'), '-') \
     FROM rejects ORDER BY 1";

fn message<'a>(key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Message<'a> {
    Message {
        partition: Some(0),
        key,
        value,
    }
}

fn archive(kafka: &Kafka, lake: &LakeFolder) -> Pinflow {
    let archive = Pinflow::new("archive").kafka(kafka).lake(lake);
    archive.args(PINS).args(["--once"])
}

/// A run that has committed and got as far as this offset of pins.
fn run_to(command: &Pinflow, postgres: &Postgres, schema: &str, next: i64) -> Result<Program> {
    let commits = || -> Result<i64> { Ok(rows(postgres, schema, "SELECT commits FROM progress")?[0].parse()?) };
    let before = commits().unwrap_or(0);
    let mut run = command.clone().args(PINS).args(["--schema", schema]).start()?;
    let frontier = "SELECT next_offset FROM frontier WHERE topic = 'pin'";
    let reached = eventually("the frontier", SOON, || {
        ensure!(run.is_running()?, "the run ended");
        let there = rows(postgres, schema, frontier).is_ok_and(|rows| rows == [next.to_string()]);
        Ok(there && commits()? > before)
    });
    reached.with_context(|| run.tail())?;
    Ok(run)
}

fn stop(mut run: Program) -> Result<()> {
    run.terminate()?;
    run.expect(0, SOON)
}

/// A null value under a key that names no post is archived in a wrapping of ours: undone, it is what Kafka holds, and
/// neither a start nor a replay takes it for another record. The same for values that look like our wrapping.
#[test]
fn a_record_is_compared_and_replayed_as_what_it_was_and_not_as_it_was_archived() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    kafka.create_topic("pin", 1, &[])?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let producer = Producer::new(&kafka.bootstrap())?;
    let values: [&[u8]; 6] = [
        br#"{"index":0,"category":"art"}"#,
        br#"{"__pinflow_raw":"x","index":1,"category":"mine"}"#,
        br#"{"__pinflow_tombstone":null,"index":2,"category":"mine"}"#,
        br#"{"__pinflow_raw":"{\"index\":3}"}"#,
        b"no JSON",
        br#"{"__pinflow_tombstone":"abc"}"#,
    ];
    for value in values {
        producer.send("pin", message(None, Some(value)))?;
        producer.flush()?;
        archive(&kafka, &lake).succeed(SOON)?;
    }
    // alone in the newest object, which a start compares first
    producer.send("pin", message(Some(b"abc"), None))?;
    producer.flush()?;
    archive(&kafka, &lake).succeed(SOON)?;

    let cleaned = ["0 0 art", "1 1 mine", "2 2 mine"];
    let rejects = [
        r#"3 no_key - {"__pinflow_raw":"{\"index\":3}"}"#,
        "4 not_json - no JSON",
        r#"5 no_key - {"__pinflow_tombstone":"abc"}"#,
        "6 tombstone_key abc -",
    ];
    let of_kafka = Pinflow::new("run").kafka(&kafka).postgres(&postgres);
    let of_both = of_kafka.clone().lake(&lake);
    stop(run_to(&of_kafka, &postgres, "of_kafka", 7)?)?;
    stop(run_to(&of_both, &postgres, "of_both", 7)?)?;
    backfill(&lake, &postgres, "of_lake").succeed(SOON)?;
    // the second start, and one that finds a lake beside the log that it knows
    stop(run_to(&of_both, &postgres, "of_both", 7)?)?;
    stop(run_to(&of_both, &postgres, "of_kafka", 7)?)?;
    for schema in ["of_kafka", "of_both", "of_lake"] {
        demand_rows(&postgres, schema, CLEANED, &cleaned)?;
        demand_rows(&postgres, schema, REJECTS, &rejects)?;
        agrees(&postgres, schema, |verify| verify.lake(&lake))?;
        agrees(&postgres, schema, |verify| verify.kafka(&kafka))?;
    }
    Ok(())
}

/// In objects of other writers nothing is wrapped, so nothing is unwrapped; a compaction that makes them ours keeps what
/// they say.
#[test]
fn lines_of_another_writer_that_look_like_our_wrapping_stay_what_they_are() -> Result<()> {
    let postgres = pinflow_tests::postgres()?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let lines = [
        r#"{"index":0,"category":"art"}"#,
        r#"{"__pinflow_raw":"x","index":1,"category":"mine"}"#,
        r#"{"__pinflow_raw":"{\"index\":3}"}"#,
        r#"{"__pinflow_tombstone":"0"}"#,
    ];
    for (pair, start) in lines.chunks(2).zip([0, 2]) {
        let object = pair.iter().map(|line| format!("{line}\n")).collect::<String>();
        lake.put(&lake.key("pin", 0, start, None), object.as_bytes())?;
    }
    // a single record: nothing can be missing inside
    lake.object("pin", 0, 4, &[pin(4, "art")])?;
    let demand = |schema: &str| -> Result<()> {
        demand_rows(&postgres, schema, CLEANED, &["0 0 art", "1 1 mine", "4 4 art"])?;
        let looks = [
            r#"2 no_key - {"__pinflow_raw":"{\"index\":3}"}"#,
            r#"3 no_key - {"__pinflow_tombstone":"0"}"#,
        ];
        demand_rows(&postgres, schema, REJECTS, &looks)?;
        agrees(&postgres, schema, |verify| verify.lake(&lake))
    };
    backfill(&lake, &postgres, "connect").succeed(SOON)?;
    demand("connect")?;
    let compact = Pinflow::new("compact").lake(&lake).args(PINS);
    let said = compact.args(["--keep", "0s"]).succeed(SOON)?;
    ensure!(said.contains("merged 3 objects"), "{said}");
    for schema in ["connect", "compacted"] {
        backfill(&lake, &postgres, schema).succeed(SOON)?;
        demand(schema)?;
    }
    Ok(())
}

/// Nobody knows which offsets the lines of Connect's last object have: holes may lie inside, so `compact` leaves it.
#[test]
fn a_compaction_claims_no_offsets_of_a_last_object_that_may_have_holes() -> Result<()> {
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    kafka.create_topic("pin", 1, &[])?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let producer = Producer::new(&kafka.bootstrap())?;
    producer.fill("pin", 0, 0..6, |index| pin(index, "art").to_string())?;
    // each of these takes two offsets: the record's, and that of the marker behind it
    let writer = Producer::transactional(&kafka.bootstrap(), "writer")?;
    for index in 6..9 {
        writer.begin()?;
        let value = pin(index, "travel").to_string();
        writer.send("pin", message(Some(b"key"), Some(value.as_bytes())))?;
        writer.commit()?;
    }
    let pins = |range: std::ops::Range<i64>, category| range.map(|index| pin(index, category)).collect::<Vec<_>>();
    lake.object("pin", 0, 0, &pins(0..3, "art"))?;
    lake.object("pin", 0, 3, &pins(3..6, "art"))?;
    let last = lake.object("pin", 0, 6, &pins(6..9, "travel"))?;
    let compact = Pinflow::new("compact").lake(&lake).args(PINS).args(["--keep", "0s"]);
    let said = compact.succeed(SOON)?;
    ensure!(said.contains("merged 2 objects with 6 records into 1"), "{said}");
    ensure!(lake.get(&last).is_ok(), "the last object was merged: {said}");
    let mut claimed = Vec::new();
    for path in files(folder.path())? {
        if path.to_string_lossy().ends_with(".meta.json") {
            let metadata: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
            claimed.push(metadata["pinflow-covers"].as_str().unwrap_or_default().to_owned());
        }
    }
    ensure!(claimed == ["0..6"], "objects claim {claimed:?}");

    let command = Pinflow::new("run").lake(&lake).kafka(&kafka).postgres(&postgres);
    let wanted = [
        "0 0 art",
        "1 1 art",
        "2 2 art",
        "3 3 art",
        "4 4 art",
        "5 5 art",
        "6 6 travel",
        "8 7 travel",
        "10 8 travel",
    ];
    for _ in 0..2 {
        stop(run_to(&command, &postgres, "pinflow", 12)?)?;
        demand_rows(&postgres, "pinflow", CLEANED, &wanted)?;
        agrees(&postgres, "pinflow", |verify| verify.lake(&lake).kafka(&kafka))?;
    }
    Ok(())
}

/// Of a value above the limit the first 4 KiB are kept, the same ones wherever the record was read, however it was
/// archived.
#[test]
fn a_value_above_the_limit_is_kept_alike_from_kafka_and_from_the_lake() -> Result<()> {
    const LIMIT: &str = "6000";
    let (kafka, postgres) = (Kafka::start()?, pinflow_tests::postgres()?);
    kafka.create_topic("pin", 1, &[])?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let producer = Producer::new(&kafka.bootstrap())?;
    let limited = |command: Pinflow| command.env("PINFLOW__LIMITS__RECORD_BYTES", LIMIT);
    let long = |text: &str| text.repeat(20_000 / text.len());
    let values: [Vec<u8>; 6] = [
        br#"{"index":1,"category":"short"}"#.to_vec(),
        format!(r#"{{"index":2,"title":"{}"}}"#, long("ab")).into_bytes(),
        // several lines of JSON; text that has to be escaped; bytes that are no text
        format!("{{\n  \"index\": 3,\n{}  \"title\": \"t\"\n}}", long("\n ")).into_bytes(),
        long("a \"quoted\"\n\tline \u{1}\\ é 🎈").into_bytes(),
        [b"{\"index\":5,".as_slice(), &[0xff, 0xfe, b'"', b'\n'].repeat(5_000)].concat(),
        // our own wrapping, produced by somebody else
        format!(r#"{{"__pinflow_raw":"{}"}}"#, long("cd")).into_bytes(),
    ];
    for value in &values {
        producer.send("pin", message(Some(b"1"), Some(value)))?;
    }
    producer.flush()?;
    limited(archive(&kafka, &lake)).succeed(SOON)?;
    let of_kafka = limited(Pinflow::new("run").kafka(&kafka).postgres(&postgres));
    stop(run_to(&of_kafka, &postgres, "of_kafka", 6)?)?;
    limited(backfill(&lake, &postgres, "of_lake")).succeed(SOON)?;
    for schema in ["of_kafka", "of_lake"] {
        let kept = rows(
            &postgres,
            schema,
            "SELECT position, reason, value FROM rejects ORDER BY 1",
        )?;
        let hex = |value: &[u8]| value.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let wanted = (1..6).map(|offset| format!("{offset} too_large \\x{}", hex(&values[offset][..4096])));
        for (found, wanted) in kept.iter().zip(wanted.clone()) {
            let same = found.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
            ensure!(
                *found == wanted,
                "{schema}: differs from character {same} on: {}",
                &found[..40]
            );
        }
        ensure!(kept.len() == wanted.count(), "{schema}: {} dead letters", kept.len());
        demand_rows(&postgres, schema, "SELECT ind, category FROM pin_table", &["1 short"])?;
        agrees(&postgres, schema, |verify| limited(verify.lake(&lake)))?;
        agrees(&postgres, schema, |verify| limited(verify.kafka(&kafka)))?;
    }
    Ok(())
}
