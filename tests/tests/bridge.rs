//! `pinflow bridge`: a Kinesis stream (kinesalite) into Apache Kafka. Whatever happens, readers of committed records find
//! each record once, under its shard and sequence number, and those of one partition key in the order in which they were
//! put.

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use pinflow_tests::api_client::ask;
use pinflow_tests::case::{Case, History, SOON, geo, stop, user};
use pinflow_tests::kinesis::Place;
use pinflow_tests::{Kinesis, KinesisFault, Message, Pinflow, Producer, Program, eventually, need};
use rdkafka::Message as _;
use rdkafka::message::{Headers, OwnedMessage};
use serde_json::Value;
use servers::free_port;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Duration;

const PARTITIONS: i32 = 3;
/// Of no kind itself: the partition keys say what records are.
const STREAM: &str = "events";

/// A partition key and data.
type Record = (String, Vec<u8>);

struct Stream {
    case: Case,
    kinesis: Kinesis,
    /// What was put, in order.
    put: Vec<(Place, Record)>,
}

impl Stream {
    /// A stream of so many shards, with topics of its own; none where kinesalite is not installed.
    fn new(name: &str, shards: u32) -> Result<Option<Stream>> {
        let Some(kinesis) = Kinesis::start()? else {
            return Ok(None);
        };
        kinesis.create(STREAM, shards)?;
        let case = Case::new(name, PARTITIONS, History::Nowhere)?;
        let put = Vec::new();
        Ok(Some(Stream { case, kinesis, put }))
    }

    fn put(&mut self, records: &[Record]) -> Result<()> {
        let places = self.kinesis.put(STREAM, records)?;
        self.put.extend(places.into_iter().zip(records.iter().cloned()));
        Ok(())
    }

    /// The command, with positions of this test.
    fn bridge(&self) -> Pinflow {
        self.bridge_with(&self.kinesis.endpoint(), &self.positions())
    }

    fn bridge_with(&self, endpoint: &str, positions: &str) -> Pinflow {
        let topics = ["pin", "geo", "user"].map(|kind| format!("{kind}={}", self.case.topic(kind)));
        Pinflow::new("bridge")
            .kafka(self.case.kafka)
            .args(["--kinesis", STREAM, "--kinesis-endpoint", endpoint])
            .args(["--positions", positions, "--topics", &topics.join(",")])
            .args(["--commit-interval", "50ms"])
            .env("PINFLOW__BRIDGE__POLL_INTERVAL", "200ms")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
    }

    fn positions(&self) -> String {
        format!("{}.positions", self.case.name)
    }

    /// Copies everything, and ends.
    fn copy(&self) -> Result<String> {
        self.bridge().args(["--once"]).succeed(SOON)
    }

    /// Everything that was copied, with the topic, partition by partition.
    fn copied(&self) -> Result<Vec<OwnedMessage>> {
        let mut all = Vec::new();
        for topic in self.case.topics.iter().flatten() {
            for partition in 0..PARTITIONS {
                all.extend(self.case.kafka.messages(topic, partition, "read_committed")?);
            }
        }
        Ok(all)
    }

    /// How many records Kafka holds, transaction markers included.
    fn written(&self) -> Result<i64> {
        let mut written = 0;
        for topic in self.case.topics.iter().flatten() {
            for partition in 0..PARTITIONS {
                written += self.case.kafka.watermarks(topic, partition)?.1;
            }
        }
        Ok(written)
    }

    /// Demands that all that was put is there once, unchanged and in order.
    fn demand_all(&self) -> Result<()> {
        let put: BTreeMap<&Place, (usize, &Record)> = self
            .put
            .iter()
            .enumerate()
            .map(|(number, (place, record))| (place, (number, record)))
            .collect();
        ensure!(put.len() == self.put.len(), "places are not unique");
        let mut found: BTreeMap<Place, i64> = BTreeMap::new();
        let mut last: BTreeMap<(String, i32, String), usize> = BTreeMap::new();
        for message in self.copied()? {
            let place = (
                header(&message, "kinesis.shard")?,
                header(&message, "kinesis.sequence")?,
            );
            let (number, (key, data)) = put.get(&place).with_context(|| format!("{place:?} was never put"))?;
            let (topic, partition) = (message.topic().to_owned(), message.partition());
            ensure!(message.payload() == Some(data), "{place:?} was changed");
            ensure!(
                header(&message, "kinesis.partition-key")? == *key,
                "{place:?} has another key"
            );
            ensure!(
                header(&message, "kinesis.stream")? == STREAM,
                "{place:?} has another stream"
            );
            let kind = key.rsplit('-').next().unwrap_or_default();
            ensure!(topic == self.case.topic(kind), "{key} is in {topic}");
            if let Some(earlier) = found.insert(place.clone(), message.offset()) {
                anyhow::bail!(
                    "{place:?} is there twice: {topic}/{partition} {earlier} and {}",
                    message.offset()
                );
            }
            if let Some(before) = last.insert((topic, partition, key.clone()), *number) {
                ensure!(before < *number, "{place:?} of {key} comes too late");
            }
        }
        ensure!(
            found.len() == put.len(),
            "{} of {} records are there",
            found.len(),
            put.len()
        );
        Ok(())
    }

    /// What the command says that ends with this code.
    fn ends(&self, command: &Pinflow, code: i32) -> Result<String> {
        let mut bridge = command.start()?;
        bridge.expect(code, SOON)?;
        Ok(bridge.stderr())
    }

    /// The position of a shard; none before the first one.
    fn position_of(&self, shard: &str) -> Result<Option<Value>> {
        let positions = self.case.kafka.records(&self.positions(), 0, "read_committed")?;
        let key = format!("shard/{shard}");
        let mut newest = positions.iter().rev();
        let last = newest.find(|(_, found, _)| found.as_deref() == Some(key.as_bytes()));
        let value = last.and_then(|(_, _, value)| value.as_deref());
        Ok(value.map(serde_json::from_slice).transpose()?)
    }

    /// As if a shard had been read an age ago, longer than the stream keeps its records.
    fn make_old(&self, shard: &str) -> Result<()> {
        let mut position = self.position_of(shard)?.context("no position")?;
        position["read_until_ms"] = (position["read_until_ms"].as_i64().context("no time")? - 25 * 3_600_000).into();
        self.position(&format!("shard/{shard}"), &position.to_string())
    }

    /// Writes a record into the topic of positions.
    fn position(&self, key: &str, value: &str) -> Result<()> {
        let producer = Producer::new(&self.case.kafka.bootstrap())?;
        let message = Message {
            partition: Some(0),
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
        };
        producer.send(&self.positions(), message)?;
        producer.flush()
    }
}

fn header(message: &OwnedMessage, name: &str) -> Result<String> {
    let mut headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let found = headers
        .find(|header| header.key == name)
        .and_then(|header| header.value);
    let found = found.with_context(|| format!("no header {name}"))?;
    Ok(String::from_utf8(found.to_vec())?)
}

/// People under the partition keys of seven users, versions of the same ones among them.
fn people(inds: std::ops::Range<i64>) -> Vec<Record> {
    inds.map(|ind| (format!("u{}-user", ind % 7), user(ind % 50).into_bytes()))
        .collect()
}

/// What a stream really delivered.
fn recorded() -> Result<Option<Vec<Record>>> {
    let Some(path) = need::data("kinesis_data_strings.sample.jsonl.gz") else {
        return Ok(None);
    };
    let lines = BufReader::new(GzDecoder::new(File::open(path)?)).lines();
    let records = lines.map(|line| {
        let entry: Value = serde_json::from_str(&line?)?;
        let data = entry["data"].as_str().context("no data")?;
        let value: Value = serde_json::from_str(data)?;
        let has = |field: &str| value.get(field).is_some();
        let kind = match () {
            () if has("latitude") => "geo",
            () if has("first_name") => "user",
            () => "pin",
        };
        let ind = value["ind"].as_i64().or(value["index"].as_i64()).unwrap_or(0);
        Ok((format!("u{}-{kind}", ind % 7), data.as_bytes().to_vec()))
    });
    records.collect::<Result<_>>().map(Some)
}

#[test]
fn each_record_is_there_once_through_crashes_splits_and_merges() -> Result<()> {
    let Some(records) = recorded()? else { return Ok(()) };
    let Some(mut stream) = Stream::new("bridge_once", 2)? else {
        return Ok(());
    };
    let (first, second) = records.split_at(records.len() / 2);
    stream.put(first)?;
    // Kafka has records, and they are not committed: the third transaction, behind those of the owner and of the shards
    let killed = stream.bridge().env("PINFLOW_FAILPOINT", "bridge_before_commit=3");
    ensure!(killed.start()?.wait(SOON)?.is_none(), "the fail point was not reached");
    ensure!(stream.written()? > 0, "nothing was written");
    ensure!(stream.copied()?.is_empty(), "a record of an open transaction was read");
    // and they are committed, and nobody was told
    let killed = stream.bridge().env("PINFLOW_FAILPOINT", "bridge_after_commit=2");
    ensure!(killed.start()?.wait(SOON)?.is_none(), "the fail point was not reached");
    ensure!(!stream.copied()?.is_empty(), "nothing was committed");

    let mut bridge = stream.bridge().start()?;
    for (turn, some) in second.chunks(second.len().div_ceil(4)).enumerate() {
        stream.put(some)?;
        if turn % 2 == 0 {
            stream.kinesis.split(STREAM)?;
        } else {
            stream.kinesis.merge(STREAM)?;
        }
        if turn == 1 {
            bridge.kill()?;
            bridge = stream.bridge().start()?;
        }
    }
    // versions of the same records, so that an order that was lost shows
    stream.put(&people(0..400))?;
    let all = i64::try_from(stream.put.len())?;
    eventually("all records", SOON, || {
        ensure!(bridge.is_running()?, "it ended: {}", bridge.tail());
        Ok(stream.written()? >= all)
    })?;
    stop(bridge)?;
    stream.copy()?;
    stream.demand_all()?;
    ensure!(
        stream.copy()?.starts_with("copied 0 records"),
        "something was copied again"
    );

    tables_are_true(&stream)?;
    // from the beginning, where those that come first in a shard's line are answered last
    stream.case = Case::new("bridge_again", PARTITIONS, History::Nowhere)?;
    let front = stream.kinesis.front()?;
    front.fail(
        &[(
            "GetRecords",
            KinesisFault::Error(400, "ProvisionedThroughputExceededException"),
        ); 2],
    );
    let again = stream.bridge_with(&front.endpoint(), &stream.positions());
    again.args(["--once"]).succeed(SOON)?;
    stream.demand_all()
}

/// Demands that an engine on the topics shows what was put.
fn tables_are_true(stream: &Stream) -> Result<()> {
    let mut run = stream.case.command("run").start()?;
    stream.case.catches_up(&mut run, &stream.case.name)?;
    stop(run)?;
    stream.case.verify_tables()?;
    let people = stream
        .case
        .database()?
        .number(&format!("SELECT count(*) FROM {}.user_table", stream.case.name))?;
    let mut inds: Vec<i64> = stream
        .put
        .iter()
        .filter_map(|(_, (key, data))| {
            let value: Value = serde_json::from_slice(data).ok()?;
            key.ends_with("user").then(|| value["ind"].as_i64()).flatten()
        })
        .collect();
    inds.sort_unstable();
    inds.dedup();
    ensure!(
        people == i64::try_from(inds.len())?,
        "{people} people, and {} were sent",
        inds.len()
    );
    Ok(())
}

/// The code with which a bridge that was fenced ends, and what it says.
fn fenced(mut bridge: Program, by: &Program) -> Result<()> {
    bridge.expect(3, SOON)?;
    let (said, by) = (bridge.stderr(), format!("process {}", by.pid()));
    ensure!(
        said.contains("another bridge has taken over") && said.contains(&by),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_second_bridge_fences_the_first_one() -> Result<()> {
    let Some(mut stream) = Stream::new("bridge_fence", 2)? else {
        return Ok(());
    };
    stream.put(&people(0..50))?;
    let mut first = stream.bridge().start()?;
    eventually("the first records", SOON, || Ok(stream.written()? >= 50))?;
    // it has read what it has not written when it stands still
    first.freeze()?;
    stream.put(&people(50..100))?;
    let mut second = stream.bridge().start()?;
    second.wait_for("reading", SOON)?;
    first.thaw()?;
    stream.put(&people(100..150))?;
    fenced(first, &second)?;
    eventually("all records", SOON, || Ok(stream.written()? >= 150))?;
    stop(second)?;
    stream.demand_all()
}

#[test]
fn what_kinesis_refuses_for_a_while_is_asked_for_again() -> Result<()> {
    use KinesisFault::{Cut, Error};
    let Some(mut stream) = Stream::new("bridge_faults", 2)? else {
        return Ok(());
    };
    let front = stream.kinesis.front()?;
    stream.put(&people(0..200))?;
    front.fail(&[
        ("DescribeStreamSummary", Error(500, "InternalFailure")),
        ("ListShards", Error(400, "LimitExceededException")),
        ("GetShardIterator", Cut),
        ("GetRecords", Error(400, "ProvisionedThroughputExceededException")),
        ("GetRecords", Error(400, "ExpiredIteratorException")),
        ("GetRecords", Cut),
        ("GetRecords", Error(503, "ServiceUnavailable")),
    ]);
    let listen = format!("127.0.0.1:{}", free_port()?);
    let mut bridge = stream
        .bridge_with(&front.endpoint(), &stream.positions())
        .args(["--listen", &listen])
        .start()?;
    eventually("all records", SOON, || {
        ensure!(bridge.is_running()?, "it ended: {}", bridge.tail());
        Ok(stream.written()? >= 200 && front.has_failed())
    })?;
    ensure!(ask(&listen, "/readyz", &[])?.status == 200, "it is not ready");
    let metrics = ask(&listen, "/metrics", &[])?.body;
    for line in [
        "pinflow_bridge_records_total 200",
        "pinflow_bridge_throttled_total 2",
        "pinflow_bridge_shards 2",
    ] {
        ensure!(
            metrics.lines().any(|found| found == line),
            "{line} is missing in\n{metrics}"
        );
    }
    // expired while nothing is there: no record twice, none left out
    front.fail(&[("GetRecords", Error(400, "ExpiredIteratorException")); 2]);
    stream.put(&people(200..300))?;
    eventually("the rest", SOON, || Ok(stream.written()? >= 300 && front.has_failed()))?;
    bridge.interrupt()?;
    bridge.expect(0, SOON)?;
    ensure!(bridge.stdout().contains("copied 300 records"), "{}", bridge.stdout());
    stream.demand_all()
}

#[test]
fn a_shard_without_records_is_not_forgotten() -> Result<()> {
    let Some(mut stream) = Stream::new("bridge_quiet", 1)? else {
        return Ok(());
    };
    stream.put(&people(0..20))?;
    let parent = stream.put[0].0.0.clone();
    let mut bridge = stream.bridge().start()?;
    eventually("the first records", SOON, || Ok(stream.written()? >= 20))?;
    stream.kinesis.split(STREAM)?;
    let child = "shardId-000000000001";
    bridge.wait_for(&format!("reading {STREAM}/{child}"), SOON)?;
    bridge.kill()?;
    let position = stream.position_of(child)?.context("the child has no position")?;
    ensure!(
        position["sequence"].is_null() && position["ended"] == false,
        "{position}"
    );
    let position = stream.position_of(&parent)?.context("the parent has no position")?;
    ensure!(position["ended"] == true && position["followed"] == true, "{position}");

    // nothing was read of it when retention passes what it has
    stream.make_old(child)?;
    stream.put(&people(20..40))?;
    let once = || stream.bridge().args(["--once"]);
    let said = stream.ends(&once(), 1)?;
    ensure!(said.contains(&format!("gap {STREAM}/{child} ")), "{said}");
    once().args(["--accept-trimmed"]).succeed(SOON)?;
    stream.demand_all()?;

    // one that has ended, and what continued it is gone
    let gone = r#"{"sequence":"1","read_until_ms":1796059632406,"ended":true}"#;
    stream.position("shard/shardId-000000000777", gone)?;
    let said = stream.ends(&once(), 1)?;
    ensure!(said.contains(&format!("gap {STREAM}/shardId-000000000777 ")), "{said}");
    once().args(["--accept-trimmed"]).succeed(SOON)?;
    stream.copy()?;
    stream.demand_all()
}

#[test]
fn small_records_fit_a_topic_that_takes_no_large_batches() -> Result<()> {
    let Some(mut stream) = Stream::new("bridge_limit", 1)? else {
        return Ok(());
    };
    let limit = [("max.message.bytes", "131072")];
    stream.case.kafka.create_topic("bridge_limited", 1, &limit)?;
    stream.put(&people(0..3000))?;
    let alias = format!("{STREAM}=bridge_limited");
    stream.bridge().args(["--once", "--alias", &alias]).succeed(SOON)?;
    let copied = stream.case.kafka.records("bridge_limited", 0, "read_committed")?;
    ensure!(copied.len() == 3000, "{} records", copied.len());
    Ok(())
}

#[test]
fn what_cannot_be_copied_is_said_and_nothing_is_left_out() -> Result<()> {
    let Some(mut stream) = Stream::new("bridge_refusals", 1)? else {
        return Ok(());
    };
    let once = |stream: &Stream| stream.bridge().args(["--once"]);
    // a stream that there is not
    let command = Pinflow::new("bridge")
        .kafka(stream.case.kafka)
        .args(["--kinesis", "nowhere", "--once"]);
    let endpoint = stream.kinesis.endpoint();
    let command = command
        .args(["--kinesis-endpoint", &endpoint])
        .env("AWS_ACCESS_KEY_ID", "a");
    let said = stream.ends(&command.env("AWS_SECRET_ACCESS_KEY", "b"), 1)?;
    ensure!(
        said.contains("ResourceNotFoundException") && said.contains("check the name"),
        "{said}"
    );

    // of what comes before a record of no kind nothing is lost, nor of what comes behind
    stream.put(&people(0..10))?;
    stream.copy()?;
    let lost = ("nothing".to_owned(), geo(1, "Albania").into_bytes());
    stream.kinesis.put(STREAM, &[lost])?;
    stream.put(&people(10..20))?;
    let said = stream.ends(&once(&stream), 1)?;
    ensure!(
        said.contains("of no known kind") && said.contains("`nothing`"),
        "{said}"
    );
    // a topic that a broker does not know at first
    let mut waits = once(&stream).args(["--other-topic", "bridge_other"]).start()?;
    waits.wait_for("reading", SOON)?;
    std::thread::sleep(Duration::from_secs(2));
    stream.case.kafka.create_topic("bridge_other", 1, &[])?;
    waits.expect(0, SOON)?;
    stream.demand_all()?;
    ensure!(
        stream.case.kafka.records("bridge_other", 0, "read_committed")?.len() == 1,
        "it is not there"
    );

    // retention has passed the position
    let shard = stream.put[0].0.0.clone();
    stream.make_old(&shard)?;
    stream.put(&people(20..30))?;
    let said = stream.ends(&once(&stream), 1)?;
    ensure!(
        said.contains(&format!("gap {STREAM}/{shard} ")) && said.contains("--accept-trimmed"),
        "{said}"
    );
    once(&stream).args(["--accept-trimmed"]).succeed(SOON)?;
    stream.demand_all()?;
    stream.copy()?;

    // what arrived since a time, and nothing else
    let with_positions = |topic: &str| stream.bridge_with(&endpoint, topic).args(["--once"]);
    std::thread::sleep(Duration::from_millis(1100));
    let since = jiff::Timestamp::now().to_string();
    stream.kinesis.put(STREAM, &people(0..3))?;
    let said = with_positions("bridge_since").args(["--from", &since]).succeed(SOON)?;
    ensure!(said.starts_with("copied 3 records"), "{said}");
    // a time before the stream was created is no gap
    let all = with_positions("bridge_all").args(["--from", "2020-01-01T00:00:00Z", "--other-topic", "bridge_other"]);
    let said = all.succeed(SOON)?;
    ensure!(said.starts_with("copied 34 records"), "{said}");

    // another stream under the same name
    stream.kinesis.delete(STREAM)?;
    stream.kinesis.create(STREAM, 1)?;
    let said = stream.ends(&once(&stream), 1)?;
    ensure!(said.contains("was it deleted and created again?"), "{said}");

    // topics that cannot keep positions
    stream.position("17", "{}")?;
    let said = stream.ends(&once(&stream), 1)?;
    ensure!(said.contains("contains a record of something else: 17"), "{said}");
    stream
        .case
        .kafka
        .create_topic("bridge_deletes", 1, &[("cleanup.policy", "delete")])?;
    let said = stream.ends(&with_positions("bridge_deletes"), 1)?;
    ensure!(said.contains("cleanup.policy is delete"), "{said}");
    Ok(())
}
