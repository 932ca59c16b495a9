//! The whole chain under load while its parts are killed: emulator → gateway → Kafka → archiver and engine → Postgres.
//! What the gateway acknowledged is in the tables, the lake covers the log, and a replay of both agrees.

use anyhow::{Context, Result, ensure};
use pinflow_tests::answer::{texts, wait_for_frontier};
use pinflow_tests::clients::{PythonClient, SCRIPTS, read_topics};
use pinflow_tests::workload::{Frontier, TOPICS, Workload};
use pinflow_tests::{
    Auditor, Chance, Kafka, LakeFolder, MariaDb, Pinflow, Postgres, Program, SnapshotChecker, Tables, eventually,
    files, long, verify_tables,
};
use serde_json::Value;
use servers::free_port;
use std::collections::BTreeSet;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use workload::generate::Generator;

const SOON: Duration = Duration::from_secs(60);
/// Hundreds of thousands of records may wait when the last fault is over.
const CATCHING_UP: Duration = Duration::from_secs(180);
const PARTITIONS: i32 = 2;
const RATE: u64 = 2_000;

/// The parts of the chain that can be killed and started again.
struct Chain {
    kafka: Kafka,
    postgres: Postgres,
    lake: LakeFolder,
    listen: String,
    gateway: Option<Program>,
    archiver: Option<Program>,
    engine: Option<Program>,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Broker,
    Gateway,
    Archiver,
    Engine,
}

impl Chain {
    fn start(folder: &std::path::Path) -> Result<Chain> {
        let kafka = Kafka::start()?;
        for topic in TOPICS {
            kafka.create_topic(topic, PARTITIONS, &[])?;
        }
        let lake = folder.join("lake");
        std::fs::create_dir_all(&lake)?;
        let mut chain = Chain {
            kafka,
            postgres: pinflow_tests::postgres()?,
            lake: LakeFolder::new(&lake),
            listen: format!("127.0.0.1:{}", free_port()?),
            gateway: None,
            archiver: None,
            engine: None,
        };
        for part in [Part::Gateway, Part::Archiver, Part::Engine] {
            chain.start_again(part)?;
        }
        chain.wait_for_gateway()?;
        Ok(chain)
    }

    fn url(&self) -> String {
        format!("http://{}", self.listen)
    }

    fn kill(&mut self, part: Part) -> Result<()> {
        let program = match part {
            Part::Broker => return Ok(self.kafka.kill()?),
            Part::Gateway => &mut self.gateway,
            Part::Archiver => &mut self.archiver,
            Part::Engine => &mut self.engine,
        };
        let mut program = program.take().context("a part that runs")?;
        ensure!(
            program.is_running()?,
            "{part:?} had ended by itself; it said:\n{}",
            program.tail()
        );
        program.kill()
    }

    fn start_again(&mut self, part: Part) -> Result<()> {
        match part {
            Part::Broker => self.kafka.start_again()?,
            Part::Gateway => {
                let gateway = Pinflow::new("gateway")
                    .args(["--listen", &self.listen])
                    .kafka(&self.kafka);
                self.gateway = Some(gateway.args(["--access-log", "off"]).start()?);
            }
            Part::Archiver => {
                let archiver = Pinflow::new("archive").kafka(&self.kafka).lake(&self.lake);
                let sizes = ["--flush-size", "2000", "--rotate-schedule-interval-ms", "1000"];
                self.archiver = Some(archiver.args(sizes).start()?);
            }
            Part::Engine => {
                let engine = Pinflow::new("run").lake(&self.lake).kafka(&self.kafka);
                self.engine = Some(engine.postgres(&self.postgres).start()?);
            }
        }
        Ok(())
    }

    fn wait_for_gateway(&self) -> Result<()> {
        eventually("the gateway's port", SOON, || {
            Ok(TcpStream::connect(&self.listen).is_ok())
        })
    }

    /// Where the log ends.
    fn log_end(&self) -> Result<Frontier> {
        let mut end = Frontier::new();
        for topic in TOPICS {
            for partition in 0..PARTITIONS {
                let (_, high) = self.kafka.watermarks(topic, partition)?;
                if high > 0 {
                    end.insert((topic.to_owned(), partition), high);
                }
            }
        }
        Ok(end)
    }

    /// Demands that the log holds each record that was sent, under its key, and nothing else. Records may be there
    /// twice, since a client that gets no answer sends again; those that the gateway has refused are in no log, and what
    /// names no post has no key.
    fn demand_in_the_log(&self, sent: &Workload, refused: &Value) -> Result<()> {
        type Records = BTreeSet<(Option<Vec<u8>>, Option<Vec<u8>>)>;
        for (kind, topic) in TOPICS.iter().enumerate() {
            let mut found = Records::new();
            for partition in 0..PARTITIONS {
                let log = self.kafka.records(topic, partition, "read_committed")?;
                found.extend(log.into_iter().map(|(_, key, value)| (key, value)));
            }
            let mut missing = 0;
            let mut left = found.clone();
            let of_kind = sent.log.iter().filter(|((of, _), _)| usize::from(*of) == kind);
            let expected: Records = of_kind
                .flat_map(|(_, entries)| entries)
                .map(|(key, value)| {
                    // what a lake says of a delete is a record without a value for Kafka
                    let delete = format!("{{\"ind\":{key},\"__deleted\":true}}").into_bytes();
                    let value = value.clone().filter(|value| *value != delete);
                    (Some(key.to_string().into_bytes()), value)
                })
                .collect();
            for record in expected {
                let without_key = (None, record.1.clone());
                if found.contains(&record) || found.contains(&without_key) {
                    left.remove(&record);
                    left.remove(&without_key);
                    continue;
                }
                let json = record.1.as_deref().map(serde_json::from_slice::<Value>);
                ensure!(matches!(json, Some(Err(_))), "{topic} lacks {record:?}");
                missing += 1;
            }
            ensure!(left.is_empty(), "{topic} holds what nobody sent: {:?}", left.first());
            let refused = refused[topic].as_u64().unwrap_or(0);
            ensure!(
                missing <= refused,
                "{missing} records of {topic} are missing, {refused} were refused"
            );
        }
        Ok(())
    }

    /// Ends everything in order, and demands that lake, log and tables agree.
    fn verify_tables(mut self) -> Result<()> {
        let end = self.log_end()?;
        // whatever the schedule has not closed yet is closed within a second
        eventually("the lake's coverage of the log", CATCHING_UP, || {
            let archived: i64 = self.lake_records()?;
            Ok(archived >= end.values().sum())
        })?;
        for part in [&mut self.archiver, &mut self.engine, &mut self.gateway] {
            let program = part.as_mut().context("a part that runs")?;
            program.terminate()?;
            program.expect(0, SOON)?;
        }
        Pinflow::new("audit")
            .lake(&self.lake)
            .kafka(&self.kafka)
            .postgres(&self.postgres)
            .args(["--deep"])
            .succeed(SOON)
            .context("audit")?;
        verify_tables(Some(&self.lake), &self.kafka, &self.postgres)?;
        // the lake alone gives the same answer
        let schema = Pinflow::new("backfill").lake(&self.lake).postgres(&self.postgres);
        schema.args(["--schema", "from_lake"]).succeed(CATCHING_UP)?;
        let url = self.postgres.url();
        let (_, live) = wait_for_frontier(&url, "pinflow", &end, SOON)?;
        let (frontier, archived) = wait_for_frontier(&url, "from_lake", &end, SOON)?;
        assert_eq!(frontier, end, "the lake's own frontier");
        assert!(archived == live, "the lake's answer differs from the tables");
        Ok(())
    }

    /// Lines in all objects of the lake.
    fn lake_records(&self) -> Result<i64> {
        let mut lines = 0;
        for path in files(self.lake.root())? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // `pin+0+0000000000.json`, and nothing that an archiver keeps beside it
            if name.ends_with(".json") && name.split('+').count() == 3 {
                let bytes = std::fs::read(&path)?;
                lines += bytes.iter().filter(|byte| **byte == b'\n').count() as i64;
            }
        }
        Ok(lines)
    }
}

#[test]
fn what_was_acknowledged_under_faults_is_in_the_tables() -> Result<()> {
    let seconds = if long() { 600 } else { 45 };
    let mut chance = Chance::new(pinflow_tests::seed()?);
    let folder = tempfile::tempdir()?;
    let mut chain = Chain::start(folder.path())?;
    let auditor = Auditor::start(&chain.postgres.url(), SnapshotChecker::frontier_only("pinflow"))?;

    // the workload knows what the emulator sends: the same generator under the same seed
    let posts = seconds * RATE * 10 / 32;
    let events = Generator::new(11)
        .posts(posts)
        .duplicates(0.06)
        .dirty(0.02)
        .deletes(0.02);
    let records = events.count();
    let (posts, rate) = (posts.to_string(), RATE.to_string());
    let mut emulator = Pinflow::new("emulate")
        .args([
            "--to",
            &chain.url(),
            "--api",
            "rest",
            "--seed",
            "11",
            "--posts",
            &posts,
            "--rate",
            &rate,
        ])
        .args([
            "--duplicates",
            "0.06",
            "--dirty",
            "0.02",
            "--deletes",
            "0.02",
            "--connections",
            "64",
        ])
        .start()?;
    let began = Instant::now();
    let mut killed = Vec::new();
    while began.elapsed() < Duration::from_secs(seconds) && emulator.is_running()? {
        std::thread::sleep(chance.millis(1_000, 3_000));
        let part = chance.one_of(&[Part::Gateway, Part::Engine, Part::Archiver, Part::Broker]);
        chain.kill(part).with_context(|| format!("after {killed:?}"))?;
        std::thread::sleep(chance.millis(0, 1_000));
        chain.start_again(part)?;
        killed.push(part);
    }
    emulator.expect(0, CATCHING_UP)?;
    let counted: Value = serde_json::from_str(&emulator.stdout())?;
    eprintln!("{killed:?} after {:?}: {counted}", began.elapsed());
    let sum = |of: &Value| TOPICS.iter().filter_map(|kind| of[kind].as_u64()).sum::<u64>();
    assert_eq!(counted["unacknowledged"], 0);
    assert_eq!(sum(&counted["acknowledged"]) + sum(&counted["refused"]), records as u64);
    assert!(killed.len() >= 8, "{killed:?}");

    // every acknowledged record is in the log, and the log in the tables
    let end = chain.log_end()?;
    let mut workload = Workload::new(11, PARTITIONS);
    workload.take(records);
    chain.demand_in_the_log(&workload, &counted["refused"])?;
    let (_, tables) = wait_for_frontier(&chain.postgres.url(), "pinflow", &end, CATCHING_UP)?;
    let expected = texts(&workload.answer(&workload.frontier(), 10)?);
    for ((result, actual), expected) in pinflow_tests::plain::definitions().iter().zip(&tables).zip(&expected) {
        assert!(
            actual == expected,
            "{} differs from what was acknowledged",
            result.table.name
        );
    }
    auditor.finish(10)?;
    chain.verify_tables()
}

/// The users' Python scripts, with nothing changed but the URL, and the emulator's three dialects beside them.
#[test]
fn the_users_scripts_reach_the_tables_through_the_gateway() -> Result<()> {
    let Some(tables) = Tables::real()? else { return Ok(()) };
    let mariadb = MariaDb::start()?;
    mariadb.load(&tables)?;
    let folder = tempfile::tempdir()?;
    let mut chain = Chain::start(folder.path())?;
    let mut clients = SCRIPTS
        .iter()
        .map(|(script, ..)| PythonClient::start(script, &chain.url(), &mariadb, folder.path()))
        .collect::<Result<Vec<_>>>()?;
    for (api, seed) in [("pin", "1"), ("rest", "2"), ("kinesis", "3")] {
        Pinflow::new("emulate")
            .args(["--to", &format!("{}/prod", chain.url()), "--api", api, "--seed", seed])
            .args(["--posts", "300", "--rate", "0"])
            .succeed(SOON)?;
    }
    // twelve rounds of each script, all of them taken
    for (client, (script, ..)) in clients.iter_mut().zip(SCRIPTS) {
        eventually(&format!("twelve rounds of {script}"), SOON, || {
            let said = client.check()?;
            let answers: Vec<&str> = said.lines().skip(1).collect();
            ensure!(
                answers.iter().all(|line| line.starts_with("200")),
                "{script} was answered: {said}"
            );
            Ok(answers.len() >= 36)
        })?;
        client.stop()?;
    }
    let end = chain.log_end()?;
    assert_eq!(read_topics(&chain.kafka, &TOPICS)?, end, "what confluent-kafka reads");
    wait_for_frontier(&chain.postgres.url(), "pinflow", &end, SOON)?;
    let database = pinflow_tests::Database::connect(&chain.postgres.url())?;
    // the first post of the seed 100
    let geo = database.value("SELECT country FROM pinflow.geo_table WHERE ind = 7528")?;
    assert_eq!(geo.as_deref(), Some("Albania"));
    assert_eq!(database.number("SELECT count(*) FROM pinflow.rejects")?, 0);
    let engine = chain.engine.as_mut().context("the engine runs")?;
    ensure!(engine.is_running()?, "the engine ended: {}", engine.tail());
    chain.verify_tables()
}
