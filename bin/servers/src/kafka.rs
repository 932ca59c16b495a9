//! Apache Kafka in KRaft mode, one node or some that are a cluster, from a folder of jars; it needs Java on the machine.
//!
//! The settings differ from Kafka's defaults only where few nodes or a short test needs it: replication factors of
//! 1 for a single node, no automatic creation of topics, and checks for retention and compaction every fraction of a second instead of
//! every minute.
//!
//! Topics, producers and consumers are the caller's: this is the process, its files and its address.

use crate::error::ServerError;
use crate::free_port;
use crate::process::{Server, tail};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rustix::process::Signal;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Any base64 form of 16 bytes will do.
const CLUSTER_ID: &str = "cGluZmxvdy10ZXN0LTAwMQ";
const START_LIMIT: Duration = Duration::from_secs(90);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const METADATA_LIMIT: Duration = Duration::from_secs(5);
/// Starts with new ports before the broker's own words are taken for the reason.
const ATTEMPTS: u32 = 3;
/// The archive of classes, beside the jars.
const CLASSES: &str = "classes.jsa";
/// Heap of the tool that formats a log folder, in MB.
const TOOL_HEAP: u32 = 128;
/// Lines of `kafka.log` in an error.
const LOG_LINES: usize = 30;

/// How a broker is started.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// The folder of Kafka's jars, as `libs/` in its distribution.
    pub libs: PathBuf,
    /// The largest heap of the JVM, in MB.
    pub heap_megabytes: u32,
    /// Settings added to `server.properties`, which replace the ones of the same name; `{port}` and `{controller}` in
    /// their values are the broker's two ports.
    pub settings: Vec<(String, String)>,
    /// Whether it starts with little work rather than runs fast: the JVM compiles less, and has the archive of Kafka's
    /// classes that `tests/setup/kafka.sh` keeps beside the jars.
    pub short_lived: bool,
}

impl KafkaOptions {
    /// A short-lived broker from these jars with 512 MB of heap.
    pub fn new(libs: impl Into<PathBuf>) -> KafkaOptions {
        KafkaOptions {
            libs: libs.into(),
            heap_megabytes: 512,
            settings: Vec::new(),
            short_lived: true,
        }
    }
}

/// A running broker with a listener without authentication; killed and its directory removed when dropped.
#[derive(Debug)]
pub struct Kafka {
    /// Stands before the directory, so that the process ends first.
    server: Option<Server>,
    dir: TempDir,
    port: u16,
    node: Node,
    options: KafkaOptions,
}

/// A broker's place in its cluster.
#[derive(Clone, Debug, Default)]
struct Node {
    /// Its number, from 1.
    id: usize,
    /// The controllers' ports in the order of the nodes, one each.
    controllers: Vec<u16>,
}

/// Whether this folder holds Kafka's jars.
pub fn is_installed(libs: &Path) -> bool {
    // kafka_2.13-4.3.0.jar: the core, named after the version of Scala and its own
    let is_core = |name: &str| name.starts_with("kafka_") && name.ends_with(".jar");
    let files = fs::read_dir(libs).into_iter().flatten().flatten();
    files
        .into_iter()
        .any(|file| file.file_name().to_str().is_some_and(is_core))
}

impl Kafka {
    /// Formats a log folder in a temporary directory, starts a broker on free ports of 127.0.0.1 and waits until it
    /// answers.
    pub fn start(options: KafkaOptions) -> Result<Kafka, ServerError> {
        let mut kafka = Kafka::new(options)?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            kafka.configure(Node {
                id: 1,
                controllers: vec![port()?],
            })?;
            match kafka.try_start()? {
                Started::Ready => return Ok(kafka),
                // a port that was free may be taken before the JVM is up
                Started::Ended(_) if attempts < ATTEMPTS => {}
                Started::Ended(status) => return Err(kafka.not_ready(&format!("it ended ({status})"))),
            }
        }
    }

    /// Starts so many brokers of one cluster, each of them a controller too, and waits until all answer. What Kafka keeps
    /// for itself has a replica on each of them.
    pub fn start_cluster(options: &KafkaOptions, count: usize) -> Result<Vec<Kafka>, ServerError> {
        let controllers = (0..count).map(|_| port()).collect::<Result<Vec<_>, _>>()?;
        let mut nodes = Vec::with_capacity(count);
        for id in 1..=count {
            let mut kafka = Kafka::new(options.clone())?;
            kafka.configure(Node {
                id,
                controllers: controllers.clone(),
            })?;
            nodes.push(kafka);
        }
        // no broker is ready before most of the controllers are
        let started: Vec<Server> = nodes.iter().map(Kafka::spawn).collect::<Result<_, _>>()?;
        for (kafka, server) in nodes.iter_mut().zip(started) {
            kafka.ready(server)?;
        }
        Ok(nodes)
    }

    fn new(options: KafkaOptions) -> Result<Kafka, ServerError> {
        if !is_installed(&options.libs) {
            return Err(ServerError::NoJars { libs: options.libs });
        }
        let dir = tempfile::Builder::new().prefix("pinflow-kafka-").tempdir();
        Ok(Kafka {
            server: None,
            dir: dir.map_err(ServerError::io("making a temporary directory for Kafka"))?,
            port: 0,
            node: Node::default(),
            options,
        })
    }

    /// `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port on 127.0.0.1; it stays the same over [`Kafka::kill`], [`Kafka::stop`] and [`Kafka::start_again`].
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
    pub fn kill(&mut self) -> Result<(), ServerError> {
        if let Some(mut server) = self.server.take() {
            server.kill().map_err(ServerError::io("killing Kafka"))?;
        }
        Ok(())
    }

    /// SIGTERM: a controlled shutdown.
    pub fn stop(&mut self) -> Result<(), ServerError> {
        if let Some(mut server) = self.server.take() {
            server
                .stop(Signal::TERM, STOP_LIMIT)
                .map_err(ServerError::io("stopping Kafka"))?;
        }
        Ok(())
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn freeze(&mut self) -> Result<(), ServerError> {
        self.signal(Signal::STOP, "freezing Kafka")
    }

    /// SIGCONT.
    pub fn thaw(&mut self) -> Result<(), ServerError> {
        self.signal(Signal::CONT, "thawing Kafka")
    }

    /// Starts the stopped or killed broker on its directory and ports and waits until it answers.
    pub fn start_again(&mut self) -> Result<(), ServerError> {
        let server = self.spawn()?;
        self.ready(server)
    }

    /// Waits until it answers.
    fn ready(&mut self, server: Server) -> Result<(), ServerError> {
        match self.wait(server)? {
            Started::Ready => Ok(()),
            Started::Ended(status) => Err(self.not_ready(&format!("it ended ({status})"))),
        }
    }

    fn signal(&mut self, signal: Signal, action: &str) -> Result<(), ServerError> {
        let sent = match &mut self.server {
            Some(server) => server.signal(signal),
            None => Err(io::Error::other("it does not run")),
        };
        sent.map_err(ServerError::io(action))
    }

    fn try_start(&mut self) -> Result<Started, ServerError> {
        let server = self.spawn()?;
        self.wait(server)
    }

    fn spawn(&self) -> Result<Server, ServerError> {
        let path = self.log_file();
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(ServerError::io(format!("opening {}", path.display())))?;
        let errors = log
            .try_clone()
            .map_err(ServerError::io(format!("opening {}", path.display())))?;
        let mut java = self.java(self.options.heap_megabytes);
        java.arg("kafka.Kafka").arg(self.properties());
        java.stdin(Stdio::null()).stdout(log).stderr(errors);
        Server::spawn(&mut java, "KILL", Some(self.dir())).map_err(java_failed("starting java"))
    }

    fn wait(&mut self, mut server: Server) -> Result<Started, ServerError> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(status) = server.exited().map_err(ServerError::io("watching Kafka"))? {
                return Ok(Started::Ended(status));
            }
            if self.answers() {
                self.server = Some(server);
                return Ok(Started::Ready);
            }
            if Instant::now() >= deadline {
                return Err(self.not_ready(&format!("it was not ready after {} s", START_LIMIT.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The listener opens early; the broker is ready when it knows itself from the controller.
    fn answers(&self) -> bool {
        if TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            return false;
        }
        let client = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .create::<BaseConsumer>();
        let metadata = client.and_then(|client| client.fetch_metadata(Some("__none"), METADATA_LIMIT));
        metadata.is_ok_and(|metadata| !metadata.brokers().is_empty())
    }

    /// Takes a new port, writes `server.properties` and formats the log folder.
    fn configure(&mut self, node: Node) -> Result<(), ServerError> {
        (self.port, self.node) = (port()?, node);
        let properties = self.properties();
        fs::write(&properties, self.settings())
            .map_err(ServerError::io(format!("writing {}", properties.display())))?;
        let logs = self.dir().join("logs");
        let empty = || -> io::Result<()> {
            if logs.exists() {
                fs::remove_dir_all(&logs)?;
            }
            fs::create_dir(&logs)
        };
        empty().map_err(ServerError::io(format!("emptying {}", logs.display())))?;
        self.format(&logs)
    }

    fn settings(&self) -> String {
        let Node { id, controllers } = &self.node;
        let voters = (1..)
            .zip(controllers)
            .map(|(id, port)| format!("{id}@127.0.0.1:{port}"));
        let mut text = format!(
            "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={dir}/logs
auto.create.topics.enable=false
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=1
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.initial.task.delay.ms=100
log.retention.check.interval.ms=300
log.cleaner.backoff.ms=200
log.cleaner.dedupe.buffer.size=8388608
log.segment.delete.delay.ms=1000
",
            voters = voters.collect::<Vec<_>>().join(","),
            port = self.port,
            controller = controllers[id - 1],
            replicas = controllers.len(),
            dir = self.dir().display()
        );
        for (key, value) in &self.options.settings {
            let value = value.replace("{port}", &self.port.to_string());
            let value = value.replace("{controller}", &controllers[id - 1].to_string());
            // writing to a string cannot fail
            let _ = writeln!(text, "{key}={value}");
        }
        text
    }

    /// Writes what Kafka's StorageTool writes into a new log folder. It is the same for every broker of this cluster id but
    /// for its number, so it is kept beside the jars: asking the tool takes a JVM's start.
    fn format(&self, logs: &Path) -> Result<(), ServerError> {
        let kept = self.options.libs.join("formatted");
        if kept.exists() {
            let copied = copy_files(&kept, logs).and_then(|()| renumber(logs, self.node.id));
            return copied.map_err(ServerError::io(format!("copying {}", kept.display())));
        }
        let mut tool = self.java(TOOL_HEAP);
        tool.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
            .arg(self.properties());
        let output = tool.stdin(Stdio::null()).output();
        let output = output.map_err(java_failed("running Kafka's StorageTool"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(ServerError::NotReady {
                server: "Kafka",
                reason: format!("its StorageTool said: {said}"),
            });
        }
        let keep = || -> io::Result<()> {
            let part = tempfile::tempdir_in(&self.options.libs)?;
            let formatted = part.path().join("formatted");
            fs::create_dir(&formatted)?;
            copy_files(logs, &formatted)?;
            fs::rename(&formatted, &kept)
        };
        if self.node.id == 1 {
            // the folder cannot be written, or another process was faster: the next broker asks the tool, or has it
            let _ = keep();
        }
        Ok(())
    }

    fn java(&self, heap_megabytes: u32) -> Command {
        let mut java = Command::new("java");
        java.arg(format!("-Xmx{heap_megabytes}m"))
            .args(["-XX:+UseSerialGC", "-Djava.awt.headless=true"]);
        // an archive is of the class path as it was written then
        let libs = fs::canonicalize(&self.options.libs).unwrap_or_else(|_| self.options.libs.clone());
        if self.options.short_lived {
            let mut archive = OsString::from("-XX:SharedArchiveFile=");
            archive.push(libs.join(CLASSES));
            // without the archive, or with that of another JVM, it reads the jars
            java.args(["-XX:TieredStopAtLevel=1", "-Xshare:auto"]).arg(archive);
        }
        java.arg("-cp").arg(libs.join("*"));
        java
    }

    fn properties(&self) -> PathBuf {
        self.dir().join("server.properties")
    }

    fn log_file(&self) -> PathBuf {
        self.dir().join("kafka.log")
    }

    fn not_ready(&self, what: &str) -> ServerError {
        ServerError::NotReady {
            server: "Kafka",
            reason: format!("{what}; its log ends: {}", tail(&self.log_file(), LOG_LINES)),
        }
    }
}

fn port() -> Result<u16, ServerError> {
    free_port().map_err(ServerError::io("looking for a free port"))
}

enum Started {
    Ready,
    Ended(std::process::ExitStatus),
}

fn java_failed(action: &'static str) -> impl FnOnce(io::Error) -> ServerError {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => ServerError::Missing {
            program: "java",
            hint: "Debian and Ubuntu: apt-get install default-jre-headless",
        },
        _ => ServerError::io(action)(source),
    }
}

/// Makes of the first broker's log folder that of another one.
fn renumber(logs: &Path, id: usize) -> io::Result<()> {
    if id == 1 {
        return Ok(());
    }
    let path = logs.join("meta.properties");
    let renumbered = |line: &str| match line.split_once('=') {
        Some(("node.id", _)) => format!("node.id={id}\n"),
        // base64, and no folder's of another broker
        Some(("directory.id", first)) => format!("directory.id={id:03}{}\n", first.get(3..).unwrap_or_default()),
        _ => format!("{line}\n"),
    };
    let properties: String = fs::read_to_string(&path)?.lines().map(renumbered).collect();
    fs::write(&path, properties)
}

fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}
