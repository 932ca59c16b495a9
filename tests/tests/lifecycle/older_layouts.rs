//! Layouts without offsets, whose order is that of their names, before a log that goes on in Kafka.

use crate::layouts::{contents, counted};
use crate::{follow, topics};
use anyhow::{Result, ensure};
use pinflow_tests::case::{Case, History, KINDS, SOON, each, geo, pin, stop, user};
use pinflow_tests::lake::gzip;
use pinflow_tests::plain::definitions;
use pinflow_tests::{LakeFolder, Pinflow};
use serde_json::Value;

/// The older layouts, and all of them in one lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// One record an object, printed over several lines: `events/event-<id>.json`.
    Events,
    /// The same in no topic's folder: the fields say the kind.
    EventsAtTheRoot,
    /// One record an object: `<uuid>.json`.
    Uuids,
    /// One record an object: `message_<number>.json`.
    Messages,
    /// An array of records: `PinterestData_<n>.json`.
    Arrays,
    /// Records one after the other, packed: `data_<n>.json.gz`.
    Packed,
    /// A part in each, in the order in which their names are read.
    Mixed,
}

/// A record of a kind that shows which of several of a post counts.
fn record(kind: &str, ind: i64, word: &str) -> String {
    match kind {
        "pin" => pin(ind, word),
        "geo" => geo(ind, word),
        _ => user(ind).replace("\"A\"", &format!("\"{word}\"")),
    }
}

/// What the history of a kind holds, oldest first: 40 records, corrections of the first ones, a delete, a dead letter.
fn history(kind: &str) -> Vec<String> {
    let old = (0..40).map(|ind| record(kind, ind, ["old", "older"][ind as usize % 2]));
    let corrected = (0..8).map(|ind| record(kind, ind, "corrected"));
    let others = [r#"{"ind":9,"__deleted":true}"#, r#"{"title":"no key"}"#];
    old.chain(corrected).chain(others.map(str::to_owned)).collect()
}

/// What came later, into a topic that began anew: corrections, a deleted post that is back, a new one.
fn later(kind: &str) -> Vec<String> {
    let words = [(2, "later"), (2, "latest"), (39, "later"), (9, "back"), (50, "new")];
    words.map(|(ind, word)| record(kind, ind, word)).to_vec()
}

/// Writes these records of a topic so that the order of names is theirs.
fn write(lake: &LakeFolder, topic: &str, layout: Layout, records: &[String]) -> Result<()> {
    let pretty = |record: &String| -> Result<Vec<u8>> {
        let value: Value = serde_json::from_str(record)?;
        Ok(serde_json::to_vec_pretty(&value)?)
    };
    let numbered = || (0usize..).zip(records);
    match layout {
        Layout::Events | Layout::EventsAtTheRoot => numbered().try_for_each(|(n, record)| {
            // a delete and a dead letter are of no kind by themselves
            let at_root =
                layout == Layout::EventsAtTheRoot && !record.contains("deleted") && !record.contains("no key");
            let folder = if at_root {
                String::new()
            } else {
                format!("topics/{topic}/")
            };
            let id = format!("{n:05}-{topic}");
            lake.put(&format!("{folder}events/event-{id}.json"), &pretty(record)?)
        }),
        Layout::Uuids => numbered().try_for_each(|(n, record)| {
            let id = format!("{n:08x}-6fe8-4d7f-9455-1eef3462fee0");
            lake.put(&format!("{topic}/{id}.json"), record.as_bytes())
        }),
        Layout::Messages => numbered().try_for_each(|(n, record)| {
            lake.put(&format!("topics/{topic}/message_{}.json", 1_000 + n), record.as_bytes())
        }),
        Layout::Arrays => (100..).zip(records.chunks(7)).try_for_each(|(n, records)| {
            let array = format!("[{}]", records.join(", "));
            lake.put(&format!("topics/{topic}/2023/PinterestData_{n}.json"), array.as_bytes())
        }),
        Layout::Packed => (100..).zip(records.chunks(7)).try_for_each(|(n, records)| {
            let (head, tail) = records.split_at(records.len() / 2);
            let members = [head, tail].map(|records| records.join("\n"));
            let packed = gzip(&[members[0].as_bytes(), b"\n", members[1].as_bytes()])?;
            lake.put(&format!("{topic}/data_{n}.json.gz"), &packed)
        }),
        Layout::Mixed => {
            // in the order of bytes: digits, then capitals, then small letters
            let parts = [
                Layout::Uuids,
                Layout::Arrays,
                Layout::Packed,
                Layout::Events,
                Layout::Messages,
            ];
            let length = records.len().div_ceil(parts.len());
            let parts = parts.into_iter().zip(records.chunks(length));
            parts
                .into_iter()
                .try_for_each(|(layout, records)| write(lake, topic, layout, records))
        }
    }
}

/// What the tables say, whatever places of the log their rows are from.
fn answer(case: &Case, schema: &str) -> Result<Vec<Vec<String>>> {
    let database = case.database()?;
    let results = definitions().iter().map(|result| result.table.name);
    let tables = results.chain(["pin_table", "geo_table", "user_table"]);
    let mut answer = Vec::new();
    for table in tables {
        let sql = format!(
            "SELECT content::text FROM (SELECT to_jsonb(t) - 'log_generation' - 'log_partition' - 'log_offset' AS content \
             FROM {schema}.{table} t) r ORDER BY content::text COLLATE \"C\""
        );
        answer.push(database.rows(&sql)?.into_iter().flatten().flatten().collect());
    }
    let rejects = format!("SELECT reason || ' ' || count(*) FROM {schema}.rejects GROUP BY reason");
    answer.push(database.rows(&rejects)?.into_iter().flatten().flatten().collect());
    Ok(answer)
}

#[test]
fn history_without_offsets_gives_the_answer_of_the_log_that_it_came_from() -> Result<()> {
    let case = Case::new("older", 1, History::Folder)?;
    for kind in KINDS {
        case.send(kind, 0, &later(kind))?;
        // one log of it all, as the measure
        case.archive(kind, 0, &history(kind))?;
        case.archive(kind, history(kind).len() as i64, &later(kind))?;
    }
    case.offline("backfill").succeed(SOON)?;
    let wanted = answer(&case, &case.name)?;
    let of_history = |lake: &LakeFolder, name: &str| -> Result<_> {
        let (out, summary) = (case.folder().join(name), case.folder().join(format!("{name}.json")));
        let backfill = Pinflow::new("backfill").lake(lake).args(topics(&case));
        let backfill = backfill
            .args(["--out"])
            .args([&out])
            .args(["--summary"])
            .args([&summary]);
        backfill.succeed(SOON)?;
        Ok((contents(&out)?, counted(&summary, "records")?))
    };
    let log = LakeFolder::new(case.folder().join("log"));
    for kind in KINDS {
        let lines: String = history(kind).iter().map(|line| format!("{line}\n")).collect();
        log.put(
            &format!("{topic}+0+0000000000.json", topic = case.topic(kind)),
            lines.as_bytes(),
        )?;
    }
    let files = of_history(&log, "of_log")?;

    // those of one record an object that are told by other names are in the last one
    let layouts = [Layout::Events, Layout::EventsAtTheRoot, Layout::Arrays, Layout::Mixed];
    each(layouts.to_vec(), |layout| {
        let name = format!("older_{layout:?}").to_lowercase();
        let lake = LakeFolder::new(case.folder().join(format!("{name}_lake")));
        for kind in KINDS {
            write(&lake, &case.topic(kind), layout, &history(kind))?;
        }
        ensure!(
            of_history(&lake, &name)? == files,
            "{layout:?}: the files, or the number of records, differ"
        );

        // Kafka goes on, and at last the lake holds the newer log beside the older history
        let command = |command: &str| {
            let command = Pinflow::new(command)
                .lake(&lake)
                .kafka(case.kafka)
                .postgres(case.postgres);
            command.args(["--schema", &name]).args(topics(&case))
        };
        for round in 0..2 {
            stop(follow(&case, &name, &command("run"))?)?;
            let found = answer(&case, &name)?;
            for (found, wanted) in found.iter().zip(&wanted) {
                ensure!(
                    found == wanted,
                    "{layout:?}, start {round}: {found:?} instead of {wanted:?}"
                );
            }
            for kind in KINDS {
                let topic = case.topic(kind);
                let lines: String = later(kind).iter().map(|line| format!("{line}\n")).collect();
                let key = format!("{topic}/year=2024/month=03/day=09/hour=07/{topic}+0+0000000000.json");
                lake.put(&key, lines.as_bytes())?;
            }
        }
        command("verify").args(["--replay"]).succeed(SOON).map(drop)
    })
}
