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
    // Kafka has records, and they are not committed
    let killed = stream.bridge().env("PINFLOW_FAILPOINT", "bridge_before_commit=2");
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
    stream.case.kafka.create_topic("bridge_other", 1, &[])?;
    once(&stream).args(["--other-topic", "bridge_other"]).succeed(SOON)?;
    stream.demand_all()?;
    ensure!(
        stream.case.kafka.records("bridge_other", 0, "read_committed")?.len() == 1,
        "it is not there"
    );

    // retention has passed the position
    let shard = stream.put[0].0.0.clone();
    let positions = stream.case.kafka.records(&stream.positions(), 0, "read_committed")?;
    let key = format!("shard/{shard}");
    let last = positions
        .iter()
        .rev()
        .find(|(_, found, _)| found.as_deref() == Some(key.as_bytes()));
    let mut position: Value = serde_json::from_slice(last.and_then(|(_, _, value)| value.as_deref()).context("none")?)?;
    position["read_until_ms"] = (position["read_until_ms"].as_i64().context("no time")? - 25 * 3_600_000).into();
    stream.position(&key, &position.to_string())?;
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
