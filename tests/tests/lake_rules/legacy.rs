//! Objects without offsets: older layouts, which know no order but their names'.

use crate::{SOON, agrees, backfill, demand_rows, pin, rows};
use anyhow::{Result, ensure};
use pinflow_tests::{LakeFolder, Pinflow, S3Server};

/// Their content decides whether they are the same, not their number of records, nor what a store says of them: here
/// neither a LIST nor an entity tag tells that the object is another one.
#[test]
fn an_object_without_offsets_that_is_overwritten_with_as_many_records_is_read_anew() -> Result<()> {
    let postgres = pinflow_tests::postgres()?;
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path().join("s3"))?;
    for (schema, lake) in [
        ("in_a_folder", LakeFolder::new(folder.path().join("files"))),
        ("in_s3", LakeFolder::new(server.create_bucket("history")?)),
    ] {
        let with = |command: &str| match schema {
            "in_s3" => Pinflow::new(command).s3(&server, "history/topics"),
            _ => Pinflow::new(command).lake(&lake),
        };
        let backfill = || {
            let backfill = with("backfill").postgres(&postgres);
            backfill.args(crate::PINS).args(["--schema", schema]).succeed(SOON)
        };
        for index in 0..4 {
            lake.event("pin", &format!("u{index}"), &pin(index, "art"))?;
        }
        lake.array("pin", 1, &[pin(10, "art"), pin(11, "art")])?;
        backfill()?;
        let hash = || rows(&postgres, schema, "SELECT legacy_count, legacy_hash FROM progress");
        let before = hash()?;

        // written again as it was: nothing has changed
        lake.event("pin", "u2", &pin(2, "art"))?;
        backfill()?;
        ensure!(hash()? == before, "{schema}: {:?} was {before:?}", hash()?);

        lake.event("pin", "u2", &pin(2, "travel"))?;
        lake.array("pin", 1, &[pin(10, "art"), pin(11, "quotes")])?;
        // until a start takes it in, the log is not what the tables were made of
        let replay = with("verify").postgres(&postgres).args(crate::PINS);
        let mut replay = replay.args(["--replay", "--schema", schema]).start()?;
        replay.expect(1, SOON)?;
        ensure!(
            replay.stderr().contains("history without offsets differs"),
            "{}",
            replay.stderr()
        );
        backfill()?;
        let changed = "SELECT ind, category FROM pin_table WHERE category <> 'art' ORDER BY 1";
        demand_rows(&postgres, schema, changed, &["2 travel", "11 quotes"])?;
        ensure!(hash()? != before, "{schema}: the hash is the same");
        let of_lake = |command: Pinflow| match schema {
            "in_s3" => command.s3(&server, "history/topics"),
            _ => command.lake(&lake),
        };
        agrees(&postgres, schema, of_lake)?;
    }
    Ok(())
}

/// What the cleaned tables cover is recorded by itself, with and without offsets.
#[test]
fn cleaned_tables_that_were_off_are_filled_when_they_are_turned_on() -> Result<()> {
    let postgres = pinflow_tests::postgres()?;
    for schema in ["objects_without_offsets", "beside_a_log"] {
        let folder = tempfile::tempdir()?;
        let lake = LakeFolder::new(folder.path());
        for index in 0..4 {
            lake.event("pin", &format!("u{index}"), &pin(index, "art"))?;
        }
        if schema == "beside_a_log" {
            // 3 is in both, and the log is newer
            lake.object("pin", 0, 0, &[pin(3, "travel"), pin(4, "travel")])?;
        }
        let all = match schema {
            "beside_a_log" => ["0 art 0", "1 art 0", "2 art 0", "3 travel 1", "4 travel 1"].as_slice(),
            _ => &["0 art 0", "1 art 0", "2 art 0", "3 art 0"],
        };
        let cleaned = "SELECT ind, category, log_generation FROM pin_table ORDER BY 1";
        let off = || {
            backfill(&lake, &postgres, schema)
                .args(["--cleaned", "off"])
                .succeed(SOON)
        };
        let on = || backfill(&lake, &postgres, schema).succeed(SOON);
        off()?;
        demand_rows(&postgres, schema, cleaned, &[])?;
        on()?;
        demand_rows(&postgres, schema, cleaned, all)?;
        agrees(&postgres, schema, |verify| verify.lake(&lake))?;
        // and again: off empties them, and what changes meanwhile is taken in
        off()?;
        demand_rows(&postgres, schema, cleaned, &[])?;
        lake.event("pin", "u9", &pin(9, "art"))?;
        off()?;
        on()?;
        let mut all = all.to_vec();
        all.push("9 art 0");
        demand_rows(&postgres, schema, cleaned, &all)?;
        agrees(&postgres, schema, |verify| verify.lake(&lake))?;
    }
    Ok(())
}

/// A record's number in its object has twenty bits of an offset: what lies beyond is a dead letter, never nothing.
#[test]
fn records_beyond_the_limit_of_an_object_without_offsets_are_dead_letters() -> Result<()> {
    const MOST: usize = 1 << 20;
    let postgres = pinflow_tests::postgres()?;
    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path());
    let mut object = "{\"index\":1}".repeat(MOST - 1);
    object.push_str(r#"{"index":2,"category":"last"}{"index":2,"category":"beyond"}{"index":3}"#);
    lake.put("topics/pin/PinterestData_1.json", object.as_bytes())?;
    let key = "topics/pin/PinterestData_1.json";
    // what comes behind it in the order of names is newer than all of it
    lake.array("pin", 2, &[pin(4, "art")])?;
    backfill(&lake, &postgres, "beyond").succeed(SOON)?;
    let cleaned = "SELECT ind, category FROM pin_table ORDER BY 1";
    demand_rows(&postgres, "beyond", cleaned, &["1 null", "2 last", "4 art"])?;
    let rejects =
        "SELECT position, topic, \"offset\" IS NULL, reason, convert_from(value, 'UTF8') FROM rejects ORDER BY 1";
    let beyond = format!("{MOST} pin t too_large {{\"index\":2,\"category\":\"beyond\"}}");
    let last = format!("{} pin t too_large {{\"index\":3}}", MOST + 1);
    demand_rows(&postgres, "beyond", rejects, &[&beyond, &last])?;
    let sources = rows(&postgres, "beyond", "SELECT DISTINCT source FROM rejects")?;
    ensure!(sources.len() == 1 && key.ends_with(&sources[0]), "{sources:?}");
    let counted = format!("{}", MOST + 3);
    demand_rows(&postgres, "beyond", "SELECT legacy_count FROM progress", &[&counted])?;
    agrees(&postgres, "beyond", |verify| verify.lake(&lake))
}
