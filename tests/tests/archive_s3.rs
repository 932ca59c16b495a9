//! The archiver on S3 servers as they may be: objects that are sent in parts, and a server that does not know
//! `If-None-Match`. Whatever dies, an object is whole or absent, and what stands there is not replaced.

use anyhow::{Context, Result, ensure};
use pinflow_tests::archived::{audit, demand_archived, demand_whole, lines};
use pinflow_tests::uploads::{Step, step, unfinished_uploads};
use pinflow_tests::workload::{TOPICS, Workload};
use pinflow_tests::{Fault, Kafka, LakeFolder, Message, Pinflow, Producer, Program, S3Server, Seen, eventually, files};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
/// Of a record whose objects are sent in parts.
const LARGE: usize = 200_000;

/// No two parts of it are alike.
fn large(ind: i64) -> String {
    let mut state = ind as u64;
    let mut letter = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + (state >> 59) as u8 % 26)
    };
    let text: String = (0..LARGE).map(|_| letter()).collect();
    format!("{{\"ind\":{ind},\"country\":\"{text}\"}}")
}

/// The objects of a lake, each with its file's number: one that is written again is another file.
fn stored(root: &Path) -> Result<BTreeMap<PathBuf, (u64, Vec<u8>)>> {
    let mut found = BTreeMap::new();
    let objects = files(root)?.into_iter();
    for path in objects.filter(|path| !path.components().any(|part| part.as_os_str() == "_pinflow")) {
        let content = (std::fs::metadata(&path)?.ino(), std::fs::read(&path)?);
        found.insert(path, content);
    }
    Ok(found)
}

/// What is stored, once nothing changes any more: a request of an archiver that was killed may still be on its way.
fn stored_at_rest(root: &Path) -> Result<BTreeMap<PathBuf, (u64, Vec<u8>)>> {
    let mut last = stored(root)?;
    eventually("a lake at rest", SOON, || {
        std::thread::sleep(Duration::from_millis(500));
        let now = stored(root)?;
        Ok(std::mem::replace(&mut last, now) == last)
    })?;
    Ok(last)
}

fn demand_kept(had: &BTreeMap<PathBuf, (u64, Vec<u8>)>, root: &Path) -> Result<()> {
    let has = stored(root)?;
    for (path, content) in had {
        ensure!(has.get(path) == Some(content), "{} was replaced", path.display());
    }
    Ok(())
}

fn sum(report: &Value, of: &str) -> u64 {
    let partitions = report["partitions"].as_array().into_iter().flatten();
    partitions.filter_map(|partition| partition[of].as_u64()).sum()
}

fn ends(program: &mut Program) -> Result<()> {
    program.terminate()?;
    program.expect(0, SOON)
}

#[test]
fn an_object_sent_in_parts_is_whole_or_absent() -> Result<()> {
    let kafka = Kafka::start()?;
    kafka.create_topic("geo", 1, &[])?;
    let producer = Producer::new(&kafka.bootstrap())?;
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path())?;
    let bucket = server.create_bucket("lake")?;
    let topics = ["--topics", "geo=geo"];
    // three parts an object
    let archiver = || {
        let archive = Pinflow::new("archive").kafka(&kafka).s3(&server, "lake").args(topics);
        archive
            .args(["--flush-size", "60", "--s3-part-size", "5242880"])
            .args(["--rotate-schedule-interval-ms", "-1"])
    };
    let whole = || Pinflow::new("audit").s3(&server, "lake").kafka(&kafka).args(topics);
    let demand = |records: i64, objects: u64| -> Result<()> {
        let found = lines(&bucket.join("topics"), "geo", 0)?;
        ensure!(
            found.len() as i64 == records,
            "{} lines of {records} records",
            found.len()
        );
        let altered = found.iter().find(|(offset, line)| **line != large(**offset));
        ensure!(altered.is_none(), "altered at {:?}", altered.map(|(offset, _)| offset));
        let report = demand_whole(whole().args(["--deep"]))?;
        ensure!(
            sum(&report, "objects") == objects && sum(&report, "overlapping") == 0,
            "{report:#}"
        );
        Ok(())
    };
    let object = |start: i64| bucket.join(format!("topics/geo/partition=0/geo+0+{start:010}.json"));
    let second = |seen: &Seen<'_>| seen.key.ends_with("geo+0+0000000060.json");

    // killed between two parts
    producer.fill("geo", 0, 0..150, large)?;
    let sent = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&sent);
    server.set_faults(move |seen| match step(seen) {
        Some(Step::Part(number)) if second(seen) => {
            counter.fetch_add(1, Ordering::Relaxed);
            match number {
                1 => Fault::None,
                _ => Fault::delay(Duration::from_secs(120)),
            }
        }
        _ => Fault::None,
    });
    let mut killed = archiver().start()?;
    eventually("the second object's parts", SOON, || {
        Ok(sent.load(Ordering::Relaxed) >= 2 && object(0).exists())
    })?;
    std::thread::sleep(Duration::from_millis(300));
    killed.kill()?;
    ensure!(!object(60).exists(), "half an object stands in the lake");
    ensure!(unfinished_uploads(folder.path())? == 1, "nothing was under way");
    let (code, report) = audit(whole().args(["--deep"]))?;
    ensure!(code == 0 && sum(&report, "waiting") == 90, "{report:#}");

    // killed behind the last step, which nobody heard of
    let completed = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&completed);
    server.set_faults(move |seen| match step(seen) {
        Some(Step::Complete) if second(seen) => match counter.fetch_add(1, Ordering::Relaxed) {
            0 => Fault::LoseAnswer,
            _ => Fault::delay(Duration::from_secs(120)),
        },
        _ => Fault::None,
    });
    let mut killed = archiver().start()?;
    eventually("the second object's end", SOON, || {
        Ok(completed.load(Ordering::Relaxed) >= 1 && object(60).exists())
    })?;
    killed.kill()?;
    let had = stored(&bucket)?;
    server.clear_faults();
    archiver().args(["--once"]).succeed(SOON)?;
    demand_kept(&had, &bucket)?;
    demand(150, 3)?;

    // answers are lost, and somebody gives an upload up
    producer.fill("geo", 0, 150..240, large)?;
    server.set_faults(|seen| match (step(seen), seen.before) {
        // of the object's own requests the first POST begins, the second ends
        (Some(Step::Complete), 1) => Fault::LoseAnswer,
        (Some(Step::Part(_)), 0) if seen.key.ends_with("0180.json") => Fault::Status(404),
        _ => Fault::None,
    });
    archiver().args(["--once"]).succeed(SOON)?;
    server.clear_faults();
    demand(240, 5)?;
    ensure!(unfinished_uploads(folder.path())? == 1, "an upload was left behind");

    // two at once: the second one's upload is refused in the end, and given up
    let mut both = [archiver().start()?, archiver().start()?];
    both.iter_mut()
        .try_for_each(|one| one.wait_for("archiving", SOON).map(drop))?;
    let [begun, accepted, given_up] = [(); 3].map(|()| Arc::new(AtomicU64::new(0)));
    let counters = [&begun, &accepted, &given_up].map(Arc::clone);
    server.set_faults(move |seen| {
        let [begun, accepted, given_up] = &counters;
        match step(seen) {
            Some(Step::Begin) => {
                begun.fetch_add(1, Ordering::Relaxed);
            }
            Some(Step::GiveUp) => {
                given_up.fetch_add(1, Ordering::Relaxed);
            }
            Some(Step::Complete) if begun.load(Ordering::Relaxed) < 2 => return Fault::Status(503),
            // the server itself checks and writes in two steps
            Some(Step::Complete) if accepted.fetch_add(1, Ordering::Relaxed) > 0 => {
                return Fault::delay(Duration::from_secs(1));
            }
            _ => {}
        }
        Fault::None
    });
    producer.fill("geo", 0, 240..300, large)?;
    eventually("the end of the second upload", SOON, || {
        Ok(given_up.load(Ordering::Relaxed) == 1 && object(240).exists())
    })?;
    for one in &mut both {
        ends(one)?;
    }
    server.clear_faults();
    demand(300, 6)?;
    ensure!(unfinished_uploads(folder.path())? == 1, "an upload was left behind");

    // what stands in the metadata of an upload is what an audit compares with
    let kept = std::fs::read(object(60))?;
    let shorter = kept.len() - 1000;
    std::fs::write(object(60), &kept[..shorter])?;
    let (code, report) = audit(whole())?;
    let fault = &report["partitions"][0]["faults"][0];
    ensure!(
        code == 1 && fault["what"] == format!("it has {shorter} bytes, its writer recorded {}", kept.len()),
        "{report:#}"
    );
    Ok(())
}

#[test]
fn a_server_that_does_not_know_the_condition_keeps_what_it_has() -> Result<()> {
    const WARNING: &str = "server ignores If-None-Match";
    let kafka = Kafka::start()?;
    for topic in TOPICS {
        kafka.create_topic(topic, 2, &[])?;
    }
    let producer = Producer::new(&kafka.bootstrap())?;
    let mut workload = Workload::new(73, 2);
    let folder = tempfile::tempdir()?;
    let server = S3Server::start(folder.path())?;
    let bucket = server.create_bucket("lake")?;
    let twice = Arc::new(AtomicU64::new(0));
    let (counter, objects) = (Arc::clone(&twice), bucket.clone());
    server.set_faults(move |seen| {
        let is_object = seen.is_put() && seen.key.contains("/partition=");
        let fault = if is_object && seen.key.contains("geo+1") && seen.before == 0 {
            // sent again, because the answer that it was written got lost
            Fault::LoseAnswer
        } else {
            if is_object && !seen.key.contains("geo+1") {
                // a request whose sender was killed has left nothing, and is made again
                counter.fetch_add(u64::from(objects.join(seen.key).exists()), Ordering::Relaxed);
            }
            Fault::None
        };
        fault.unconditional()
    });
    let archiver = |flush: &str, rotate: &str| {
        let archive = Pinflow::new("archive").kafka(&kafka).s3(&server, "lake/topics");
        archive.args(["--flush-size", flush, "--rotate-schedule-interval-ms", rotate])
    };
    let whole = || Pinflow::new("audit").s3(&server, "lake/topics").kafka(&kafka);

    // killed before, between and behind: a restart finds what is there
    let mut had = BTreeMap::new();
    for at in ["archive_after_put=4", "archive_before_put=3", "archive_before_commit"] {
        // what was on its way when the last one died may be in the lake by now
        workload.produce(&producer, 1_500)?;
        let mut killed = archiver("100", "-1").env("PINFLOW_FAILPOINT", at).start()?;
        killed.wait_for(WARNING, SOON)?;
        killed.wait_for("fail point", SOON)?;
        killed.wait(SOON)?;
        demand_kept(&had, &bucket)?;
        had = stored_at_rest(&bucket)?;
        ensure!(!had.is_empty(), "nothing was written before {at}");
    }
    archiver("100", "-1").args(["--once"]).succeed(SOON)?;
    demand_kept(&had, &bucket)?;
    demand_archived(&workload, &bucket)?;
    let report = demand_whole(whole().args(["--deep"]))?;
    ensure!(sum(&report, "overlapping") == 0, "{report:#}");

    // two by mistake, that cut at other offsets: the later one finds longer objects, shorter ones, and none
    for (flush, other) in [(100, "70"), (40, "110")] {
        let mut late = archiver(other, "300").start()?;
        late.wait_for("archiving", SOON)?;
        let mut early = archiver(&flush.to_string(), "-1").start()?;
        early.wait_for("archiving", SOON)?;
        // everything that is produced now is new to both
        late.freeze()?;
        workload.produce(&producer, 1_500)?;
        eventually("the early one's objects", SOON, || {
            let (_, report) = audit(whole())?;
            let partitions = report["partitions"].as_array().context("partitions")?;
            Ok(partitions.len() == 6 && partitions.iter().all(|one| one["waiting"].as_i64() < Some(flush)))
        })?;
        ends(&mut early)?;
        let had = stored(&bucket)?;
        late.thaw()?;
        eventually("the late one's objects", 3 * SOON, || Ok(demand_whole(whole()).is_ok()))?;
        ends(&mut late)?;
        demand_kept(&had, &bucket)?;
        let found = late.stdout();
        ensure!(!found.contains("; 0 objects were there already"), "{found}");
        ensure!(stored(&bucket)?.len() > had.len(), "the late one wrote nothing");
    }
    demand_archived(&workload, &bucket)?;
    let report = demand_whole(whole().args(["--deep"]))?;
    ensure!(sum(&report, "overlapping") > 0, "{report:#}");
    ensure!(twice.load(Ordering::Relaxed) == 0, "objects were written twice");

    // what is not the log's is not replaced either
    kafka.create_topic("other", 1, &[])?;
    let topics = ["--topics", "pin=other"];
    let mut stopped = archiver("10", "-1").args(topics).start()?;
    stopped.wait_for("archiving", SOON)?;
    stopped.freeze()?;
    let lake = LakeFolder::new(&bucket);
    let key = lake.key("other", 0, 0, None);
    let content: Vec<u8> = (0..10)
        .flat_map(|n| format!("{{\"index\":{n}}}\n").into_bytes())
        .collect();
    lake.put(&key, &content)?;
    for ind in 0..10 {
        let value = format!("{{\"index\":{}}}", if ind == 7 { 70 } else { ind });
        let message = Message {
            partition: Some(0),
            key: None,
            value: Some(value.as_bytes()),
        };
        producer.send("other", message)?;
    }
    producer.flush()?;
    stopped.thaw()?;
    stopped.expect(1, SOON)?;
    let said = stopped.stderr();
    ensure!(
        said.contains("other+0+0000000000.json holds another record than Kafka at offset 7"),
        "{said}"
    );
    ensure!(lake.get(&key)? == content, "the object was replaced");
    Ok(())
}
