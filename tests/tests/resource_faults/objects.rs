//! Objects of the lake that are odd, change while they are read, or are damaged on their way: the answer of a plain lake
//! of the same records, or an error that names the object.

use crate::error_line;
use anyhow::{Context, Result, ensure};
use pinflow_tests::case::{Case, History, SOON, each, geo, geos, pin, pins, user};
use pinflow_tests::lake::gzip;
use pinflow_tests::{Fault, LakeFolder, Pinflow};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

fn text(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect()
}

/// Runs a command to the end of history: `run` until it has read all that Kafka holds of places.
fn to_its_end(case: &Case, schema: &str, command: Pinflow, end: Option<i64>) -> Result<()> {
    let mut run = command.start()?;
    if let Some(end) = end {
        case.reaches_in(&mut run, schema, &case.topic("geo"), 0, end)?;
        run.terminate()?;
    }
    run.expect(0, SOON)
}

#[test]
fn odd_objects_give_the_answer_of_plain_ones() -> Result<()> {
    each(vec![("odd_run", true), ("odd_backfill", false)], |(name, live)| {
        let case = Case::new(name, 1, History::S3)?;
        let (odd, topic) = (case.lake.as_ref().context("a lake")?, case.topic("geo"));
        let plain = LakeFolder::new(case.folder().join("plain")).topics_dir("");
        // each object has a record that replaces one of another object, and one that is none
        let records = |start: i64| -> Vec<String> {
            let mut records = geos(start..start + 8, "Albania");
            records.push(geo(start % 60, &format!("Country {start}")));
            records.push(format!("no JSON, {start}"));
            records
        };
        let put = |partition: i32, start: i64, extension: &str, bytes: &[u8]| -> Result<()> {
            let key = odd.key(&topic, partition, start, None);
            odd.put(&key.replace(".json", extension), bytes)?;
            plain.put(&plain.key(&topic, partition, start, None), &text(&records(start)))
        };
        let empty = |partition: i32, start: i64, extension: &str| {
            let key = odd.key(&topic, partition, start, None);
            odd.put(&key.replace(".json", extension), b"")
        };
        let at = |start: i64| text(&records(start));
        let marked = |start: i64| [BYTE_ORDER_MARK, &at(start)].concat();
        let unended = |start: i64| at(start)[..at(start).len() - 1].to_vec();
        put(0, 0, ".json", &marked(0))?;
        // cut inside lines, with an empty member
        let lines = at(10);
        put(
            0,
            10,
            ".json.gz",
            &gzip(&[&lines[..33], b"", &lines[33..400], &lines[400..]])?,
        )?;
        put(0, 20, ".json", &unended(20))?;
        put(0, 30, ".json.gz", &gzip(&[&marked(30)])?)?;
        put(0, 40, ".json.gz", &gzip(&[&unended(40)])?)?;
        // of no bytes, before and behind others
        empty(0, 20, ".json.gz")?;
        empty(0, 50, ".json")?;
        let mut end = None;
        if live {
            for start in (0..60).step_by(10) {
                case.send("geo", 0, &records(start))?;
            }
            case.send("pin", 0, &pins(0..5, "art"))?;
            case.send("user", 0, &[user(1)])?;
            end = Some(60);
        } else {
            // ten digits and eleven do not sort as they count
            for start in [9_999_999_980, 9_999_999_990, 10_000_000_000, 10_000_000_010] {
                put(1, start, ".json", &at(start))?;
            }
        }
        let command = if live { "run" } else { "backfill" };
        let mut of_odd = case.offline(command);
        let mut of_plain = Pinflow::new(command).postgres(case.postgres).lake(&plain);
        let topics = ["pin", "geo", "user"]
            .map(|kind| format!("{kind}={}", case.topic(kind)))
            .join(",");
        let schema = format!("{name}_plain");
        of_plain = of_plain.args(["--schema", &schema, "--topics", &topics]);
        (of_odd, of_plain) = if live {
            (of_odd.kafka(case.kafka), of_plain.kafka(case.kafka))
        } else {
            // there are places alone
            let places_alone = |of: Pinflow| of.args(["--allow-missing-topic"]);
            (places_alone(of_odd), places_alone(of_plain))
        };
        to_its_end(&case, name, of_odd, end)?;
        to_its_end(&case, &schema, of_plain, end)?;
        for ((table, odd), (_, plain)) in case.shown(name)?.iter().zip(&case.shown(&schema)?) {
            ensure!(odd == plain, "{name}: {table} is {odd:#?}, of plain objects {plain:#?}");
        }
        let letters = |schema: &str| {
            case.database()?.rows(&format!(
                "SELECT topic, partition, \"offset\", reason, value FROM {schema}.rejects ORDER BY 1, 2, 3"
            ))
        };
        let (odd, plain) = (letters(name)?, letters(&schema)?);
        ensure!(
            odd == plain && odd.len() > 5,
            "{name}: {odd:#?}, of plain objects {plain:#?}"
        );
        Ok(())
    })
}

/// An object of these places, and a later version of it with more of them, in other bytes.
fn versions(places: i64, pad: usize) -> [Vec<String>; 2] {
    let country = "x".repeat(pad);
    let spaced = |line: &String| line.replace("\":", "\" : ");
    [
        geos(0..places, &country),
        geos(0..places + places / 2, &country).iter().map(spaced).collect(),
    ]
}

/// One of which nothing was handed out is read anew; of a larger one it is an error, and the next start reads it.
#[test]
fn an_object_that_is_replaced_while_it_is_read_is_never_read_in_two_halves() -> Result<()> {
    let variants = vec![
        ("replaced_small_run", "run", 0),
        ("replaced_small_backfill", "backfill", 0),
        ("replaced_large_run", "run", 10_000),
        ("replaced_large_backfill", "backfill", 10_000),
    ];
    each(variants, |(name, command, pad)| {
        let case = Case::new(name, 1, History::S3)?;
        let [old, new] = versions(80, pad);
        let end = i64::try_from(new.len())?;
        case.send("pin", 0, &pins(0..5, "art"))?;
        case.send("user", 0, &[user(1)])?;
        case.send("geo", 0, &new)?;
        case.archive("geo", 0, &old)?;
        let lake = case.lake.clone().context("a lake")?;
        let key = lake.key(&case.topic("geo"), 0, 0, None);
        let (half, replaced) = (text(&old).len() as u64 * 3 / 4, Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&replaced);
        let (object, bytes) = (key.clone(), text(&new));
        case.s3.as_ref().context("a server")?.set_faults(move |seen| {
            match seen.before {
                _ if !seen.is_get() || !seen.key.ends_with(&object) => Fault::None,
                0 => Fault::Cut(half),
                1 => {
                    // its entity tag is that of its bytes
                    let put = lake.put(&object, &bytes);
                    counted.fetch_add(u64::from(put.is_ok()), Ordering::Relaxed);
                    Fault::None
                }
                _ => Fault::None,
            }
        });
        let live = (command == "run").then_some(end);
        if pad > 0 {
            let mut ended = case.command(command).start()?;
            ended.expect(1, SOON)?;
            let error = error_line(&ended)?;
            ensure!(
                error.contains(&key) && error.contains("was replaced while it was being read"),
                "{error}"
            );
            ensure!(crate::commits(&case) == 0, "something was committed");
        }
        to_its_end(&case, name, case.command(command), live)?;
        ensure!(replaced.load(Ordering::Relaxed) == 1, "the object was not replaced");
        let places = case
            .database()?
            .number(&format!("SELECT count(*) FROM {name}.geo_table"))?;
        ensure!(places == end, "{places} places instead of {end}");
        case.verify_tables()
    })
}

/// What is damaged on the way is read again; what is damaged where it is stored is read from Kafka, as far as that has it.
#[test]
fn a_bit_that_flips_costs_nothing_that_kafka_still_has() -> Result<()> {
    let variants = vec![
        ("flip_run", "run"),
        ("flip_backfill", "backfill"),
        ("flip_stored", "run"),
        ("flip_lost", "run"),
    ];
    each(variants, |(name, command)| {
        let case = Case::new(name, 1, History::S3)?;
        let (lake, topic) = (case.lake.as_ref().context("a lake")?.clone().gzip(), case.topic("geo"));
        let server = case.s3.as_ref().context("a server")?;
        let places = geos(0..100, "Albania");
        case.send("pin", 0, &[pin(1, "art")])?;
        case.send("user", 0, &[user(1)])?;
        case.send("geo", 0, &places)?;
        let mut packed = Vec::new();
        for (start, records) in (0..).step_by(25).zip(places.chunks(25)) {
            packed = gzip(&[&text(records)])?;
            lake.put(&lake.key(&topic, 0, start, None), &packed)?;
        }
        let middle = packed.len() as u64 / 2;
        let live = (command == "run").then_some(100);
        let flips = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&flips);
        if name == "flip_run" || name == "flip_backfill" {
            // of each object the first answer
            server.set_faults(move |seen| {
                if seen.is_get() && seen.key.ends_with(".json.gz") && seen.before == 0 {
                    counted.fetch_add(1, Ordering::Relaxed);
                    Fault::Flip(middle)
                } else {
                    Fault::None
                }
            });
            to_its_end(&case, name, case.command(command), live)?;
            ensure!(flips.load(Ordering::Relaxed) == 4, "{flips:?} answers were damaged");
        } else {
            // the checksum of the second object
            let key = lake.key(&topic, 0, 25, None);
            let mut damaged = lake.get(&key)?;
            let at = damaged.len() - 6;
            damaged[at] ^= 1;
            lake.put(&key, &damaged)?;
            if name == "flip_lost" {
                case.kafka.delete_records(&topic, 0, 60)?;
            }
            let mut ended = case.command(command).start()?;
            ended.expect(1, SOON)?;
            let error = error_line(&ended)?;
            ensure!(error.contains(&key) && error.contains("--skip-unreadable"), "{error}");
            to_its_end(&case, name, case.command(command).args(["--skip-unreadable"]), live)?;
        }
        let database = case.database()?;
        let gaps = database.rows(&format!("SELECT from_offset, to_offset, reason FROM {name}.gaps"))?;
        let lost = vec![["25", "50", "unreadable"].map(|text| Some(text.to_owned())).to_vec()];
        let (wanted, count) = if name == "flip_lost" {
            (lost, 75)
        } else {
            (Vec::new(), 100)
        };
        ensure!(gaps == wanted, "{gaps:?}");
        let held = database.number(&format!("SELECT count(*) FROM {name}.geo_table"))?;
        ensure!(held == count, "{held} places instead of {count}");
        // a replay cannot make up for what is lost
        if name == "flip_lost" {
            Ok(())
        } else {
            case.verify_tables()
        }
    })
}
