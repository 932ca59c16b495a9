//! Apache Kafka 4.3.0, one node in KRaft mode, from the jars that `tests/setup/kafka.sh` puts in `.cache/kafka/libs`.
//!
//! The settings differ from Kafka's only where a single node or a short test needs it: replication factors of 1, no
//! topics made in passing, and retention and compaction that look every fraction of a second instead of minutes.

use crate::{block_on, eventually, root};
use anyhow::{Context, Result, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use rustix::process::Signal;
use servers::{free_port, process::Server};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Any base64 form of 16 bytes will do.
const CLUSTER_ID: &str = "cGluZmxvdy10ZXN0LTAwMQ";
const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const REQUEST: Duration = Duration::from_secs(30);

/// A broker; killed and its directory removed when dropped.
pub struct Kafka {
    server: Option<Server>,
    dir: TempDir,
    port: u16,
    heap_megabytes: u32,
}

impl Kafka {
    /// Starts a broker with 512 MB of heap, enough for the scenarios.
    pub fn start() -> Result<Kafka> {
        Kafka::start_with(512, &[])
    }

    /// Starts a broker with so much heap (at most 1,024 MB) and these settings added to `server.properties`; `{port}`
    /// and `{controller}` in them are its ports.
    pub fn start_with(heap_megabytes: u32, settings: &[(&str, &str)]) -> Result<Kafka> {
        ensure!(
            heap_megabytes <= 1024,
            "a broker of a test takes at most 1024 MB, not {heap_megabytes}"
        );
        let dir = tempfile::Builder::new()
            .prefix("pinflow-kafka-")
            .tempdir()
            .context("making Kafka's directory")?;
        let mut kafka = Kafka {
            server: None,
            dir,
            port: 0,
            heap_megabytes,
        };
        // a port that is free now may be taken before the JVM is up
        let mut attempts = 0;
        loop {
            attempts += 1;
            kafka.configure(settings)?;
            match kafka.start_again() {
                Ok(()) => return Ok(kafka),
                Err(error) if attempts == 3 => return Err(error),
                Err(error) => eprintln!("kafka: trying other ports: {error:#}"),
            }
        }
    }

    /// `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port on 127.0.0.1; it stays the same over kills and restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The broker's directory: `server.properties`, `logs/`, `kafka.log`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The JVM's process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.kill().context("killing Kafka")?;
        }
        Ok(())
    }

    /// SIGTERM: a controlled shutdown.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.stop(Signal::TERM, STOP_LIMIT).context("stopping Kafka")?;
        }
        Ok(())
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn freeze(&mut self) -> Result<()> {
        self.server
            .as_mut()
            .context("Kafka does not run")?
            .signal(Signal::STOP)
            .context("freezing Kafka")
    }

    /// SIGCONT.
    pub fn thaw(&mut self) -> Result<()> {
        self.server
            .as_mut()
            .context("Kafka does not run")?
            .signal(Signal::CONT)
            .context("thawing Kafka")
    }

    /// Starts the stopped or killed broker on its directory and port and waits until it answers.
    pub fn start_again(&mut self) -> Result<()> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("kafka.log"))?;
        let mut java = java(self.heap_megabytes)?;
        java.arg("kafka.Kafka").arg(self.properties());
        java.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut server = Server::spawn(&mut java, "KILL", Some(self.dir.path())).context("starting java")?;
        let deadline = Instant::now() + START_LIMIT;
        let port = self.port;
        // the listener opens early; the broker is ready when it knows itself from the controller
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() || self.brokers().unwrap_or(0) == 0 {
            let log = || fs::read_to_string(self.dir.path().join("kafka.log")).unwrap_or_default();
            if let Some(status) = server.exited()? {
                bail!("Kafka ended ({status}): {}", log());
            }
            ensure!(
                Instant::now() < deadline,
                "Kafka was not ready after {START_LIMIT:?}: {}",
                log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        self.server = Some(server);
        Ok(())
    }

    /// Creates a topic with these topic settings, and waits until every partition has a leader.
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let admin = self.admin()?;
        let results = block_on(admin.create_topics([&topic], &options()))?.context("creating a topic")?;
        for result in results {
            result.map_err(|(topic, code)| anyhow::anyhow!("creating topic {topic}: {code}"))?;
        }
        self.wait_for_partitions(name, partitions)
    }

    /// The names of all topics.
    pub fn topics(&self) -> Result<Vec<String>> {
        let metadata = self.consumer("read_committed")?.fetch_metadata(None, REQUEST)?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    /// Deletes a topic and waits until it is gone.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let admin = self.admin()?;
        for result in block_on(admin.delete_topics(&[name], &options()))?.context("deleting a topic")? {
            result.map_err(|(topic, code)| anyhow::anyhow!("deleting topic {topic}: {code}"))?;
        }
        eventually(&format!("the end of topic {name}"), REQUEST, || {
            Ok(self.leaders(name)?.is_empty())
        })
    }

    /// Raises a topic's number of partitions to `partitions`.
    pub fn add_partitions(&self, name: &str, partitions: i32) -> Result<()> {
        let admin = self.admin()?;
        let wanted = NewPartitions::new(name, usize::try_from(partitions)?);
        for result in block_on(admin.create_partitions([&wanted], &options()))?.context("adding partitions")? {
            result.map_err(|(topic, code)| anyhow::anyhow!("adding partitions to {topic}: {code}"))?;
        }
        self.wait_for_partitions(name, partitions)
    }

    /// Deletes the records below `before`, as retention would: the low watermark becomes `before`.
    pub fn delete_records(&self, name: &str, partition: i32, before: i64) -> Result<()> {
        let admin = self.admin()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(name, partition, Offset::Offset(before))?;
        let answer = block_on(admin.delete_records(&list, &options()))?.context("deleting records")?;
        for element in answer.elements() {
            element
                .error()
                .with_context(|| format!("deleting records of {name}/{partition} before {before}"))?;
        }
        eventually("the low watermark's move", REQUEST, || {
            Ok(self.watermarks(name, partition)?.0 == before)
        })
    }

    /// Low and high watermark; the high one counts open and aborted transactions.
    pub fn watermarks(&self, name: &str, partition: i32) -> Result<(i64, i64)> {
        let watermarks = self
            .consumer("read_uncommitted")?
            .fetch_watermarks(name, partition, REQUEST);
        watermarks.with_context(|| format!("reading the watermarks of {name}/{partition}"))
    }

    /// All records of a partition that a reader with this isolation level sees, as (offset, key, value).
    pub fn records(&self, name: &str, partition: i32, isolation: &str) -> Result<Vec<Record>> {
        let consumer = self.consumer(isolation)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(name, partition, Offset::Beginning)?;
        consumer.assign(&list)?;
        let mut records = Vec::new();
        let deadline = Instant::now() + REQUEST;
        loop {
            ensure!(
                Instant::now() < deadline,
                "{name}/{partition} was not read to its end within {REQUEST:?}"
            );
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => {
                    use rdkafka::Message as _;
                    let key = message.key().map(<[u8]>::to_vec);
                    records.push((message.offset(), key, message.payload().map(<[u8]>::to_vec)));
                }
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => return Ok(records),
                Some(Err(error)) => return Err(error).with_context(|| format!("reading {name}/{partition}")),
            }
        }
    }

    fn configure(&mut self, settings: &[(&str, &str)]) -> Result<()> {
        self.port = free_port()?;
        let (port, controller, dir) = (self.port, free_port()?, self.dir.path().display());
        let mut text = format!(
            "process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={dir}/logs
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.initial.task.delay.ms=100
log.retention.check.interval.ms=300
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=8388608
log.segment.delete.delay.ms=1000
"
        );
        for (key, value) in settings {
            let value = value.replace("{port}", &port.to_string());
            writeln!(text, "{key}={}", value.replace("{controller}", &controller.to_string()))?;
        }
        fs::write(self.properties(), text)?;
        let logs = self.dir.path().join("logs");
        if logs.exists() {
            fs::remove_dir_all(&logs)?;
        }
        fs::create_dir_all(&logs)?;
        for file in format(&self.properties())? {
            let name = file.file_name().context("a formatted file without a name")?;
            fs::copy(&file, logs.join(name)).with_context(|| format!("copying {}", file.display()))?;
        }
        Ok(())
    }

    fn properties(&self) -> PathBuf {
        self.dir.path().join("server.properties")
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .create()
            .context("making an admin client")
    }

    fn consumer(&self, isolation: &str) -> Result<BaseConsumer> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.bootstrap())
            .set("group.id", "pinflow-tests");
        config
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false");
        config
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error");
        config.create().context("making a consumer")
    }

    fn brokers(&self) -> Result<usize> {
        let metadata = self.consumer("read_committed")?;
        Ok(metadata
            .fetch_metadata(Some("__none"), Duration::from_secs(5))?
            .brokers()
            .len())
    }

    /// How many partitions a topic has; none for an unknown topic.
    pub fn partitions(&self, name: &str) -> Result<i32> {
        Ok(i32::try_from(self.leaders(name)?.len())?)
    }

    /// The leader of each partition of a topic; none for an unknown topic.
    fn leaders(&self, name: &str) -> Result<Vec<i32>> {
        let consumer = self.consumer("read_committed")?;
        let metadata = consumer.fetch_metadata(Some(name), REQUEST)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        Ok(topic
            .into_iter()
            .flat_map(|topic| topic.partitions())
            .map(|partition| partition.leader())
            .collect())
    }

    fn wait_for_partitions(&self, name: &str, partitions: i32) -> Result<()> {
        let count = usize::try_from(partitions)?;
        eventually(&format!("{partitions} leaders of {name}"), REQUEST, || {
            let leaders = self.leaders(name)?;
            Ok(leaders.len() == count && leaders.iter().all(|leader| *leader >= 0))
        })
    }
}

/// Offset, key and value of a record.
pub type Record = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

/// What Kafka's StorageTool writes into a new log folder. The same for every broker of ours, so it is kept beside the
/// jars: asking the tool takes a JVM's start.
fn format(properties: &Path) -> Result<Vec<PathBuf>> {
    let kept = root().join(".cache/kafka/libs/formatted");
    if !kept.exists() {
        let log_dir = tempfile::tempdir_in(root().join(".cache/kafka"))?;
        let text = fs::read_to_string(properties)?;
        let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with("log.dirs=")).collect();
        let log_dirs = format!("log.dirs={}/formatted", log_dir.path().display());
        lines.push(&log_dirs);
        let copy = log_dir.path().join("server.properties");
        fs::write(&copy, lines.join("\n"))?;
        let mut tool = java(128)?;
        tool.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
            .arg(&copy);
        let output = tool
            .stdin(Stdio::null())
            .output()
            .context("running Kafka's StorageTool")?;
        ensure!(
            output.status.success(),
            "Kafka's StorageTool: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        // somebody else may have been faster
        if let Err(error) = fs::rename(log_dir.path().join("formatted"), &kept) {
            ensure!(kept.exists(), "keeping {}: {error}", kept.display());
        }
    }
    fs::read_dir(&kept)?.map(|entry| Ok(entry?.path())).collect()
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST))
        .operation_timeout(Some(REQUEST))
}

fn java(heap_megabytes: u32) -> Result<Command> {
    let libs = root().join(".cache/kafka/libs");
    ensure!(
        libs.join(".complete").exists(),
        "Apache Kafka's jars are not in {}: run tests/setup/kafka.sh, or `make test`",
        libs.display()
    );
    let mut java = Command::new("java");
    java.arg(format!("-Xmx{heap_megabytes}m"))
        .args(["-XX:+UseSerialGC", "-Djava.awt.headless=true", "-cp"]);
    java.arg(libs.join("*"));
    Ok(java)
}
