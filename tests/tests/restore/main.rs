//! A lake's records back in Kafka: the same records in the same order and place, each once, whatever dies or happens
//! meanwhile, and the same answers of them.

mod refusals;

use anyhow::{Context, Result, ensure};
use flate2::read::MultiGzDecoder;
use pinflow_tests::answer::demand_results;
use pinflow_tests::archived::demand_whole;
use pinflow_tests::case::{Case, History, SOON, each, geo, geos, stop};
use pinflow_tests::kafka::Record;
use pinflow_tests::workload::{TOPICS, Workload};
use pinflow_tests::{Database, Fault, Kafka, LakeFolder, Pinflow, Producer, Program, S3Server, eventually, need};
use rdkafka::message::{Header, Headers, Message as _, OwnedMessage};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A dead restore's place is given away after this: the broker's minimum, so that tests do not wait for longer.
const SESSION: [&str; 2] = ["--kafka-property", "session.timeout.ms=6000"];

/// All records of some topics.
type Log = BTreeMap<(String, i32), Vec<Record>>;

fn log(kafka: &Kafka, topics: &[&str], partitions: i32) -> Result<Log> {
    let mut log = Log::new();
    for topic in topics {
        for partition in 0..partitions {
            let records = kafka.records(topic, partition, "read_uncommitted")?;
            log.insert(((*topic).to_owned(), partition), records);
        }
    }
    Ok(log)
}

/// Demands that the topics hold the records of a log at the offsets that they had, under keys that say the same. A value
/// that is the archiver's own line of a delete comes back as a delete.
fn demand_same(found: &Log, wanted: &Log) -> Result<()> {
    ensure!(found.len() == wanted.len(), "{} partitions", found.len());
    let is_delete = |key: &Option<Vec<u8>>, value: &[u8]| {
        let key = key.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        value == format!("{{\"ind\":{key},\"__deleted\":true}}").as_bytes()
    };
    for ((place, found), (_, wanted)) in found.iter().zip(wanted) {
        ensure!(found.len() == wanted.len(), "{place:?} has {} records", found.len());
        for (found, wanted) in found.iter().zip(wanted) {
            let same_key = found.1 == wanted.1 || (found.1.is_none() && found.2.is_some());
            let same_value = match (&found.2, &wanted.2) {
                (None, Some(wanted)) => is_delete(&found.1, wanted),
                (found, wanted) => found == wanted,
            };
            ensure!(
                found.0 == wanted.0 && same_value && same_key,
                "{place:?} has {found:?} instead of {wanted:?}"
            );
        }
    }
    Ok(())
}

/// What `restore` reports as JSON.
fn report(restore: Pinflow) -> Result<Value> {
    let said = restore.args(["--json"]).succeed(SOON)?;
    serde_json::from_str(&said).with_context(|| said)
}

/// A number of the report, summed over all partitions.
fn sum(report: &Value, name: &str) -> u64 {
    let partitions = report["partitions"].as_array().into_iter().flatten();
    partitions.filter_map(|partition| partition[name].as_u64()).sum()
}

/// Demands that it ends with this code and says this.
fn refused(command: Pinflow, code: i32, says: &str) -> Result<Program> {
    let mut refused = command.start()?;
    refused.expect(code, SOON)?;
    ensure!(refused.stderr().contains(says), "{}", refused.stderr());
    Ok(refused)
}

/// A lost cluster: the topics come back from the lake as they were, and everything goes on as if nothing had happened.
#[test]
fn lost_topics_come_back_with_their_offsets_and_give_the_same_answers() -> Result<()> {
    let kafka = Kafka::start()?;
    let postgres = pinflow_tests::postgres()?;
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(81, 2);
    workload.produce(&producer, 3_000)?;
    workload.delete(&producer, 0, 5)?;
    workload.delete(&producer, 2, 9)?;
    let before = log(&kafka, &TOPICS, 2)?;

    let folder = tempfile::tempdir()?;
    let lake = LakeFolder::new(folder.path().join("lake"));
    let server = S3Server::start(folder.path().join("s3"))?;
    server.create_bucket("lake")?;
    let archive = || Pinflow::new("archive").kafka(&kafka).args(["--once"]);
    archive().lake(&lake).args(["--flush-size", "70"]).succeed(SOON)?;
    let by_time = ["--partitioner-class", "time-based", "--s3-compression-type", "gzip"];
    archive().s3(&server, "lake").args(by_time).succeed(SOON)?;
    // merged objects beside those that they were merged of
    Pinflow::new("compact")
        .lake(&lake)
        .args(["--target-bytes", "20000"])
        .succeed(SOON)?;
    TOPICS.iter().try_for_each(|topic| kafka.delete_topic(topic))?;

    let restore = || Pinflow::new("restore").kafka(&kafka);
    refused(restore().lake(&lake), 1, "add --create-topics")?;
    let restored = report(restore().lake(&lake).args(["--create-topics"]))?;
    ensure!(
        sum(&restored, "written") == 3_002 && sum(&restored, "records") == 3_002,
        "{restored:#}"
    );
    let kept = |report: &Value| {
        let partitions = report["partitions"].as_array().map_or(&[][..], Vec::as_slice);
        partitions.len() == 6 && partitions.iter().all(|partition| partition["offsets_kept"] == true)
    };
    ensure!(kept(&restored), "{restored:#}");
    demand_same(&log(&kafka, &TOPICS, 2)?, &before)?;

    // again, it finds everything there
    let again = restore().lake(&lake).succeed(SOON)?;
    ensure!(
        again.contains("restored 3002 records of 6 partitions, 0 of them now"),
        "{again}"
    );

    // from the other lake, under other names
    let renamed = TOPICS.map(|topic| format!("{topic}.again"));
    let renames = TOPICS.iter().zip(&renamed);
    let renames = renames.flat_map(|(topic, renamed)| ["--rename".to_owned(), format!("{topic}={renamed}")]);
    let from_s3 = restore().s3(&server, "lake").args(["--create-topics"]).args(renames);
    ensure!(kept(&report(from_s3)?), "other offsets");
    let names: Vec<&str> = renamed.iter().map(String::as_str).collect();
    let other = log(&kafka, &names, 2)?;
    let other = other
        .into_iter()
        .map(|((topic, p), records)| ((topic.replace(".again", ""), p), records));
    demand_same(&other.collect(), &before)?;

    // the lake and the topics are one log: it is archived on, and a new schema is made of both
    workload.produce(&producer, 500)?;
    archive().lake(&lake).succeed(SOON)?;
    demand_whole(Pinflow::new("audit").lake(&lake).kafka(&kafka))?;
    workload.produce(&producer, 500)?;
    for (schema, lake) in [("of_kafka", None), ("of_both", Some(&lake))] {
        let run = Pinflow::new("run")
            .kafka(&kafka)
            .postgres(&postgres)
            .args(["--schema", schema]);
        let run = lake.into_iter().fold(run, |run, lake| run.lake(lake)).start()?;
        // records that are not JSON have lost their keys, so that of dead letters only the number is compared
        let rejected = demand_results(&workload, &postgres.url(), schema, 10, SOON).with_context(|| run.tail())?;
        let rejects = Database::connect(&postgres.url())?.number(&format!("SELECT count(*) FROM {schema}.rejects"))?;
        ensure!(
            rejects == rejected.len() as i64,
            "{rejects} dead letters instead of {}",
            rejected.len()
        );
        stop(run)?;
    }
    Ok(())
}

/// A case with a lake in a folder or on a server, and its one topic.
fn geo_case(name: &str, history: History) -> Result<(Case, String)> {
    let mut case = Case::new(name, 1, history)?;
    let topic = case.topic("geo");
    case.topics = [None, Some(topic.clone()), None];
    Ok((case, topic))
}

/// `restore` of a case, which needs no database.
fn restore_of(case: &Case) -> Pinflow {
    let command = match (&case.s3, &case.lake) {
        (Some(server), _) => Pinflow::new("restore").s3(server, &format!("{}/lake", case.name)),
        (None, Some(lake)) => Pinflow::new("restore").lake(lake),
        (None, None) => Pinflow::new("restore"),
    };
    let topics = format!("geo={}", case.topic("geo"));
    command.kafka(case.kafka).args(["--topics", &topics]).args(SESSION)
}

fn values(texts: &[String]) -> Result<Vec<Value>> {
    Ok(texts
        .iter()
        .map(|text| serde_json::from_str(text))
        .collect::<Result<_, _>>()?)
}

/// The places of a topic, in order.
fn places(case: &Case, topic: &str) -> Result<Vec<i64>> {
    let records = case.kafka.records(topic, 0, "read_uncommitted")?;
    let ind = |(offset, key, value): (i64, Option<Vec<u8>>, Option<Vec<u8>>)| -> Result<i64> {
        let place: Value = serde_json::from_slice(&value.context("a null value")?)?;
        let ind = place["ind"].as_i64().context("no ind")?;
        ensure!(
            key == Some(ind.to_string().into_bytes()),
            "{offset} has the key {key:?}"
        );
        Ok(ind)
    };
    records.into_iter().map(ind).collect()
}

/// The headers of the records of a topic, in order, as names and texts.
fn headers(case: &Case, topic: &str) -> Result<Vec<Vec<(String, String)>>> {
    let text = |header: Header<'_, &[u8]>| {
        let value = header.value.map(String::from_utf8_lossy).unwrap_or_default();
        (header.key.to_owned(), value.into_owned())
    };
    let messages = case.kafka.messages(topic, 0, "read_uncommitted")?;
    let of = |message: &OwnedMessage| {
        message
            .headers()
            .into_iter()
            .flat_map(Headers::iter)
            .map(text)
            .collect()
    };
    Ok(messages.iter().map(of).collect())
}

#[test]
fn killed_in_a_window_it_goes_on_behind_the_last_record() -> Result<()> {
    const RECORDS: i64 = 30_000;
    let (case, topic) = geo_case("killed", History::Folder)?;
    let lake = case.lake.as_ref().context("no lake")?;
    lake.objects(&topic, 0, 0, 7_000, &values(&geos(0..RECORDS, "Albania"))?)?;
    let mut killed = restore_of(&case)
        .env("PINFLOW_FAILPOINT", "restore_in_window=25000")
        .start()?;
    killed.wait_for("fail point", SOON)?;
    killed.wait(SOON)?;
    let (_, there) = case.kafka.watermarks(&topic, 0)?;
    ensure!((20_000..25_001).contains(&there), "{there} records");
    let report = report(restore_of(&case))?;
    let there = there.unsigned_abs();
    ensure!(sum(&report, "records") == 30_000, "{report:#}");
    // what was on its way may have arrived after the look
    ensure!(
        (5_000..=30_000 - there).contains(&sum(&report, "written")),
        "{report:#}"
    );
    ensure!(places(&case, &topic)?.into_iter().eq(0..RECORDS), "other records");
    Ok(())
}

/// Archives a thousand places in objects of a hundred, of which the one at `from` cannot be read before it is let go.
/// Gives the topic that they are restored into, too.
fn held_back(case: &Case, topic: &str, from: i64) -> Result<(Arc<AtomicBool>, String)> {
    let restored = format!("{topic}.back");
    case.kafka.create_topic(&restored, 1, &[])?;
    Ok((
        archived(case, topic, &geos(0..1_000, "Albania"), "100", from)?,
        restored,
    ))
}

/// Archives records in objects of so many, of which the one at `from` cannot be read before it is let go.
fn archived(case: &Case, topic: &str, records: &[String], flush_size: &str, from: i64) -> Result<Arc<AtomicBool>> {
    case.send("geo", 0, records)?;
    let server = case.s3.as_ref().context("no server")?;
    let archive = Pinflow::new("archive")
        .kafka(case.kafka)
        .s3(server, &format!("{}/lake", case.name));
    let archive = archive.args(["--topics", &format!("geo={topic}"), "--topics-dir="]);
    archive.args(["--once", "--flush-size", flush_size]).succeed(SOON)?;
    let held = Arc::new(AtomicBool::new(true));
    let (holds, key) = (Arc::clone(&held), format!("+{from:010}"));
    server.set_faults(move |seen| {
        if seen.is_get() && seen.key.contains(&key) && holds.load(Ordering::SeqCst) {
            Fault::Status(503)
        } else {
            Fault::None
        }
    });
    Ok(held)
}

/// `restore` of a case into another topic.
fn restore_into(case: &Case, into: &str) -> Pinflow {
    let rename = format!("{}={into}", case.topic("geo"));
    restore_of(case).args(["--rename", &rename])
}

/// Waits until a restore has written everything below the object that is held back.
fn arrives(case: &Case, run: &mut Program, topic: &str, end: i64) -> Result<()> {
    eventually(&format!("{end} records"), SOON, || {
        ensure!(run.is_running()?, "it ended: {}", run.tail());
        Ok(case.kafka.watermarks(topic, 0)?.1 >= end)
    })
}

#[test]
fn of_two_restores_one_writes_and_a_frozen_one_never_comes_back() -> Result<()> {
    let (case, topic) = geo_case("two", History::S3)?;
    let (held, restored) = held_back(&case, &topic, 500)?;
    let restore = || restore_into(&case, &restored);
    let mut first = restore().start()?;
    arrives(&case, &mut first, &restored, 500)?;
    // the second one leaves the topic to the first
    refused(restore(), 3, "another restore writes topic")?;
    ensure!(first.is_running()?, "{}", first.tail());
    // but not to one that is not heard of any more
    first.freeze()?;
    held.store(false, Ordering::SeqCst);
    let report = report(restore())?;
    ensure!(
        sum(&report, "records") == 1_000 && sum(&report, "written") == 500,
        "{report:#}"
    );
    first.thaw()?;
    first.expect(3, SOON)?;
    ensure!(
        first.stderr().contains("another restore writes topic"),
        "{}",
        first.tail()
    );
    ensure!(places(&case, &restored)?.into_iter().eq(0..1_000), "other records");
    Ok(())
}

#[test]
fn told_to_stop_it_goes_on_later_and_another_writer_is_noticed() -> Result<()> {
    let (case, topic) = geo_case("stopped", History::S3)?;
    let (held, restored) = held_back(&case, &topic, 700)?;
    let restore = || restore_into(&case, &restored);
    let mut stopped = restore().start()?;
    arrives(&case, &mut stopped, &restored, 700)?;
    stopped.terminate()?;
    stopped.expect(0, SOON)?;
    ensure!(
        stopped.stderr().contains("the same command goes on") && stopped.stdout().is_empty(),
        "{}",
        stopped.tail()
    );

    let mut disturbed = restore().start()?;
    disturbed.wait_for("writing the records", SOON)?;
    case.send_to(&restored, 0, &[geo(7, "Andorra")])?;
    held.store(false, Ordering::SeqCst);
    disturbed.expect(1, SOON)?;
    ensure!(
        disturbed.stderr().contains("another writer has written"),
        "{}",
        disturbed.tail()
    );
    let spoiled = refused(restore(), 1, "does not hold what was restored")?;
    let errors = spoiled
        .stderr()
        .lines()
        .filter(|line| line.starts_with("error"))
        .count();
    ensure!(errors == 1, "{}", spoiled.tail());
    Ok(())
}

/// Lakes without some offsets, and what is said of each record.
#[test]
fn where_offsets_cannot_be_kept_each_record_names_its_own() -> Result<()> {
    each(vec!["marked", "lost"], |variant| {
        let (case, topic) = geo_case(variant, History::Folder)?;
        let lake = case.lake.as_ref().context("no lake")?;
        let restored = format!("{topic}.back");
        let rename = format!("{topic}={restored}");
        let restore = || restore_of(&case).args(["--create-topics", "--rename", &rename]);
        let originals: Vec<i64> = match variant {
            // transaction markers, and the records of one that was aborted: the archiver vouches for their holes
            "marked" => {
                let transactions = Producer::transactional(&case.kafka.bootstrap(), "restore")?;
                for (round, aborts) in [(0, false), (1, true), (2, false)] {
                    transactions.begin()?;
                    for ind in round * 10..round * 10 + 10 {
                        transactions.put(&topic, ind, &serde_json::from_str(&geo(ind, "Albania"))?)?;
                    }
                    if aborts {
                        transactions.abort()?
                    } else {
                        transactions.commit()?
                    }
                }
                let topics = format!("geo={topic}");
                let archive = Pinflow::new("archive").kafka(case.kafka).lake(lake);
                archive
                    .args(["--once", "--topics-dir=", "--topics", &topics])
                    .succeed(SOON)?;
                (0..10).chain(22..32).collect()
            }
            // what another writer lost, or never had
            _ => {
                lake.objects(&topic, 0, 500, 10, &values(&geos(0..10, "Albania"))?)?;
                lake.objects(&topic, 0, 520, 10, &values(&geos(20..30, "Albania"))?)?;
                let gap = format!("gap {topic}/0 510..520");
                let incomplete = refused(restore(), 1, "accept the gap with --accept-gap")?;
                ensure!(
                    incomplete.stderr().lines().any(|line| line == gap),
                    "{}",
                    incomplete.tail()
                );
                ensure!(!case.kafka.topics()?.contains(&restored), "the topic was created");
                (500..510).chain(520..530).collect()
            }
        };
        let said = restore().args(["--accept-gap", "all"]).succeed(SOON)?;
        let place = format!("{topic}/0 into {restored}: 20 records of ");
        ensure!(
            said.contains(&place) && said.contains("now at 0..20, the original offsets"),
            "{said}"
        );
        let wanted = (0..10).chain(20..30);
        ensure!(places(&case, &restored)?.into_iter().eq(wanted), "other records");
        let headers = headers(&case, &restored)?;
        ensure!(headers.len() == originals.len(), "{} records", headers.len());
        for ((index, headers), original) in (0i64..).zip(headers).zip(originals) {
            let wanted = [
                ("pinflow.offset".to_owned(), original.to_string()),
                ("pinflow.restored".to_owned(), format!("{topic}/0 {index}")),
            ];
            ensure!(headers == wanted, "{index} has {headers:?}");
        }
        Ok(())
    })
}

/// Payloads that producers really sent, a record an object as in the users' lakes, archived before by Connect, which
/// keeps null values' keys in a folder of their own.
#[test]
fn real_records_of_one_object_each_come_back_byte_for_byte() -> Result<()> {
    let Some(path) = need::data("malformed_records.jsonl.gz") else {
        return Ok(());
    };
    let lines = BufReader::new(MultiGzDecoder::new(File::open(path)?)).lines();
    let records = lines.map(|line| -> Result<Option<String>> {
        let entry: Value = serde_json::from_str(&line?)?;
        Ok(entry["raw_line"].as_str().map(str::to_owned))
    });
    let records: Vec<Option<String>> = records.collect::<Result<_>>()?;
    let (case, topic) = geo_case("real", History::S3)?;
    let lake = case.lake.as_ref().context("no lake")?;
    let mut offset = 3;
    let mut wanted = Vec::new();
    for record in records.iter().flatten().filter(|record| !record.contains('\n')) {
        lake.put(&lake.key(&topic, 0, offset, None), format!("{record}\n").as_bytes())?;
        wanted.push(Some(record.clone().into_bytes()));
        offset += 1;
    }
    lake.put(
        &format!("tombstone/{topic}/partition=0/{topic}+0+{offset:010}.keys.json"),
        b"\"7\"\n",
    )?;
    wanted.push(None);
    ensure!(wanted.len() > 60, "{} records", wanted.len());
    let report = report(restore_of(&case))?;
    ensure!(sum(&report, "records") == wanted.len() as u64, "{report:#}");
    let found = case.kafka.records(&topic, 0, "read_uncommitted")?;
    for ((_, _, found), wanted) in found.iter().zip(&wanted) {
        ensure!(found == wanted, "{found:?} instead of {wanted:?}");
    }
    let (_, key, _) = found.last().context("no record")?;
    ensure!(key.as_deref() == Some(b"7"), "{key:?}");
    Ok(())
}
