//! Dead letters are limited, and nothing else knows of it: results, cleaned tables, a replay, a repair.

use super::SOON;
use anyhow::{Context, Result, ensure};
use pinflow_tests::{Database, Kafka, LakeFolder, Message, Pinflow, Producer, eventually, get};
use servers::free_port;

/// A value that is no JSON, longer than what is kept of it.
fn bad(number: i64) -> String {
    format!("{number:04} {}", "x".repeat(100))
}

/// What the table holds: the offsets, and the bytes of the longest value.
fn held(database: &Database) -> Result<(Vec<i64>, i64)> {
    let rows = database.rows(r#"SELECT "offset" FROM pinflow.rejects ORDER BY 1"#)?;
    let offsets = rows
        .iter()
        .map(|row| Ok(row[0].as_deref().context("an offset")?.parse()?));
    let longest = database.number("SELECT coalesce(max(length(value)), 0) FROM pinflow.rejects")?;
    Ok((offsets.collect::<Result<_>>()?, longest))
}

/// From, to and rows of what was dropped.
fn dropped(database: &Database) -> Result<Vec<String>> {
    let sql = "SELECT topic || '/' || partition || ' ' || from_position || '..' || to_position || ' ' || rows \
               FROM pinflow.rejects_dropped ORDER BY 1";
    let rows = database.rows(sql)?;
    Ok(rows.into_iter().flatten().flatten().collect())
}

fn limited(command: Pinflow, rows: u64) -> Pinflow {
    command
        .args(["--topics", "geo"])
        .env("PINFLOW__POSTGRES__REJECT_ROWS", rows.to_string())
        .env("PINFLOW__POSTGRES__REJECT_BYTES", "20")
}

#[test]
fn the_oldest_dead_letters_go_live_and_with_history() -> Result<()> {
    let kafka = Kafka::start()?;
    kafka.create_topic("geo", 1, &[])?;
    let postgres = pinflow_tests::postgres()?;
    let producer = Producer::new(&kafka.bootstrap())?;
    let send = |numbers: std::ops::Range<i64>| -> Result<()> {
        for number in numbers {
            let value = match number % 2 {
                0 => bad(number),
                _ => format!(r#"{{"ind":{number},"country":"Peru"}}"#),
            };
            producer.send(
                "geo",
                Message {
                    partition: Some(0),
                    key: None,
                    value: Some(value.as_bytes()),
                },
            )?;
        }
        producer.flush()
    };
    let listen = format!("127.0.0.1:{}", free_port()?);
    let command = |name: &str, rows: u64| limited(Pinflow::new(name).kafka(&kafka).postgres(&postgres), rows);
    let next = |next: i64| -> Result<()> {
        eventually("the frontier", SOON, || {
            let database = Database::connect(&postgres.url())?;
            let exists = database.value("SELECT to_regclass('pinflow.frontier')")?.is_some();
            Ok(exists && database.number("SELECT coalesce(max(next_offset), 0) FROM pinflow.frontier")? == next)
        })
    };
    // history: thirty dead letters, of which ten stay
    send(0..60)?;
    let mut run = command("run", 10).args(["--listen", &listen]).start()?;
    next(60)?;
    let database = Database::connect(&postgres.url())?;
    assert_eq!(held(&database)?, ((40..60).step_by(2).collect(), 20));
    assert_eq!(dropped(&database)?, ["geo/0 0..39 20"]);
    // live, in several commits
    for number in 60..70 {
        send(number..number + 1)?;
        next(number + 1)?;
    }
    assert_eq!(held(&database)?.0, (50..70).step_by(2).collect::<Vec<i64>>());
    assert_eq!(dropped(&database)?, ["geo/0 0..49 25"]);
    assert_eq!(database.number("SELECT count(*) FROM pinflow.geo_table")?, 35);
    let counted = || Ok(get(&listen, "/metrics")?.contains("\npinflow_dead_letter_dropped_total 25\n"));
    eventually("the metric", SOON, counted)?;
    command("verify", 10).args(["--replay"]).succeed(SOON)?;
    run.terminate()?;
    run.expect(0, SOON)?;

    // what was dropped does not come back, whatever the limit is
    let mut run = command("run", 1_000).start()?;
    send(70..72)?;
    next(72)?;
    assert_eq!(held(&database)?.0, (50..72).step_by(2).collect::<Vec<i64>>());
    run.terminate()?;
    run.expect(0, SOON)?;
    let said = command("verify", 1_000).args(["--replay"]).succeed(SOON)?;
    ensure!(said.contains("rejects: 11 (not_json 11), 25 dropped"), "{said}");
    // one that is missing is missed; a repair brings it back, and nothing below
    database.run("DELETE FROM pinflow.rejects WHERE \"offset\" = 60")?;
    command("verify", 1_000).args(["--replay"]).start()?.expect(1, SOON)?;
    command("verify", 1_000).args(["--repair"]).succeed(SOON)?;
    assert_eq!(held(&database)?.0, (50..72).step_by(2).collect::<Vec<i64>>());
    // a limit that is lowered holds from the next start on
    let mut run = command("run", 4).start()?;
    eventually("the limit", SOON, || Ok(held(&database)?.0 == [64, 66, 68, 70]))?;
    run.terminate()?;
    run.expect(0, SOON)?;
    command("verify", 4).args(["--replay"]).succeed(SOON)?;
    let mut run = command("run", 0).start()?;
    eventually("nothing", SOON, || Ok(held(&database)?.0.is_empty()))?;
    run.terminate()?;
    run.expect(0, SOON)?;
    command("verify", 0).args(["--replay"]).succeed(SOON)?;
    command("verify", 0).args(["--repair"]).succeed(SOON)?;
    assert_eq!(dropped(&database)?, ["geo/0 0..71 36"]);
    Ok(())
}

/// Objects without offsets are the oldest history: they go first, in the order of their names.
#[test]
fn dead_letters_of_objects_without_offsets_go_first() -> Result<()> {
    let postgres = pinflow_tests::postgres()?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path().join("lake"));
    for name in ["b", "a", "B", "c"] {
        let events = format!("topics/geo/events/event-{name}.json");
        lake.put(&events, format!(r#"{{"country":"Peru","name":"{name}"}}"#).as_bytes())?;
    }
    let lines: String = (0..4).map(|number| bad(number) + "\n").collect();
    lake.put(&lake.key("geo", 0, 0, None), lines.as_bytes())?;
    let command = |name: &str, rows| limited(Pinflow::new(name).lake(&lake).postgres(&postgres), rows);
    command("backfill", 6).succeed(SOON)?;
    let database = Database::connect(&postgres.url())?;
    let sources = || -> Result<Vec<String>> {
        let rows = database.rows("SELECT source FROM pinflow.rejects ORDER BY source, position")?;
        Ok(rows.into_iter().flatten().flatten().collect())
    };
    let found = sources()?;
    let of_objects: Vec<&str> = found
        .iter()
        .filter_map(|source| source.rsplit_once("event-"))
        .map(|at| at.1)
        .collect();
    ensure!(found.len() == 6 && of_objects == ["b.json", "c.json"], "{found:?}");
    let gone = database.value("SELECT object FROM pinflow.rejects_dropped WHERE partition = -1")?;
    ensure!(
        gone.as_deref().is_some_and(|object| object.ends_with("event-a.json")),
        "{gone:?}"
    );
    command("verify", 6).args(["--replay"]).succeed(SOON)?;
    command("backfill", 3).succeed(SOON)?;
    assert_eq!(sources()?, ["geo/0", "geo/0", "geo/0"]);
    command("verify", 3).args(["--replay"]).succeed(SOON)?;
    command("verify", 3).args(["--repair"]).succeed(SOON)?;
    assert_eq!(sources()?, ["geo/0", "geo/0", "geo/0"]);
    Ok(())
}
