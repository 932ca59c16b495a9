//! One Apache Kafka in KRaft mode for all tests of this file, on free ports of 127.0.0.1 and in a directory of its own.
//!
//! It hangs on a pipe: a shell waits for the end of its standard input, which comes when the test process ends in
//! whatever way, then kills the broker and removes the directory.

use crate::need;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

const JVM: [&str; 6] = [
    "-Xmx512m",
    "-Xms256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Xshare:auto",
    "-Djava.awt.headless=true",
];

/// A running broker.
pub struct Broker {
    /// Address of the listener without authentication.
    pub bootstrap: String,
    /// Address of the listener that wants SASL PLAIN, user `reader`, password `secret`.
    pub sasl: String,
    directory: PathBuf,
    libs: PathBuf,
    /// The shells that guard the broker's processes, and the process id of the last of those.
    processes: Mutex<(Vec<Child>, u32)>,
}

/// Tests that need the broker up share it; the one that kills it has it alone.
static GATE: RwLock<()> = RwLock::new(());
static BROKER: OnceLock<Option<Broker>> = OnceLock::new();

/// The broker, up as long as the guard lives; `None` where there is no Kafka.
pub fn shared() -> Option<(&'static Broker, RwLockReadGuard<'static, ()>)> {
    let guard = GATE.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    broker().map(|broker| (broker, guard))
}

/// The broker for one test alone, which may kill it.
pub fn alone() -> Option<(&'static Broker, RwLockWriteGuard<'static, ()>)> {
    let guard = GATE.write().unwrap_or_else(|poisoned| poisoned.into_inner());
    broker().map(|broker| (broker, guard))
}

fn broker() -> Option<&'static Broker> {
    let start = || {
        let libs = libs();
        if !libs.join("kafka_2.13-4.3.0.jar").exists() {
            return None;
        }
        Some(Broker::start(libs).expect("Apache Kafka starts"))
    };
    let broker = BROKER.get_or_init(start).as_ref();
    if broker.is_none() {
        // each test by itself, so that each is counted
        let libs = libs();
        need::skip(&format!(
            "there is no Apache Kafka in {} (set PINFLOW_KAFKA_LIBS)",
            libs.display()
        ));
    }
    broker
}

fn libs() -> PathBuf {
    match std::env::var_os("PINFLOW_KAFKA_LIBS") {
        Some(libs) => libs.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/kafka/libs"),
    }
}

impl Broker {
    fn start(libs: PathBuf) -> Result<Broker> {
        let directory = tempfile::Builder::new().prefix("pinflow-kafka-").tempdir()?.keep();
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
        let mut ports = Vec::new();
        for listener in listeners {
            ports.push(listener?.local_addr()?.port());
        }
        let [plain, sasl, controller] = ports[..] else {
            unreachable!()
        };
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{plain},SASL://127.0.0.1:{sasl}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=PLAINTEXT\nsasl.enabled.mechanisms=PLAIN\n\
             listener.name.sasl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_reader=\"secret\";\n\
             log.dirs={directory}/logs\nauto.create.topics.enable=false\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\ntransaction.state.log.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\nlog.cleaner.backoff.ms=100\nlog.cleaner.dedupe.buffer.size=4194304\n\
             connection.failed.authentication.delay.ms=10\n\
             broker.session.timeout.ms=3000\nbroker.heartbeat.interval.ms=500\n",
            directory = directory.display(),
        );
        std::fs::write(directory.join("server.properties"), properties)?;
        let broker = Broker {
            bootstrap: format!("127.0.0.1:{plain}"),
            sasl: format!("127.0.0.1:{sasl}"),
            directory,
            libs,
            processes: Mutex::new((Vec::new(), 0)),
        };
        let format = [
            "kafka.tools.StorageTool",
            "format",
            "-t",
            "3GmZjO9dRdmcVzLl1cLkDg",
            "-c",
        ];
        let output = broker
            .java()
            .args(format)
            .arg(broker.directory.join("server.properties"))
            .output()?;
        if !output.status.success() {
            bail!("formatting failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        broker.launch()?;
        Ok(broker)
    }

    fn java(&self) -> Command {
        let mut command = Command::new("java");
        command.args(JVM).arg("-cp").arg(self.libs.join("*"));
        command
    }

    /// Starts the process, after the first start or a kill, and waits until it listens.
    pub fn launch(&self) -> Result<()> {
        let java = self.java();
        let script = r#"dir=$1; shift; "$@" >"$dir/broker.log" 2>&1 & echo $!; cat >/dev/null; kill -9 $! 2>/dev/null; wait; rm -rf "$dir""#;
        let mut guard = Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(&self.directory)
            .arg(java.get_program())
            .args(java.get_args())
            .arg("kafka.Kafka")
            .arg(self.directory.join("server.properties"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(guard.stdout.as_mut().context("the guard's output")?).read_line(&mut line)?;
        let mut processes = self.processes();
        processes.1 = line.trim().parse()?;
        processes.0.push(guard);
        drop(processes);
        let start = Instant::now();
        while TcpStream::connect(&self.bootstrap).is_err() {
            if start.elapsed() > Duration::from_secs(60) {
                bail!(
                    "no broker after a minute: {}",
                    std::fs::read_to_string(self.directory.join("broker.log"))?
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&self) -> Result<()> {
        let status = Command::new("kill")
            .args(["-9", &self.processes().1.to_string()])
            .status()?;
        if !status.success() {
            bail!("the broker could not be killed");
        }
        while TcpStream::connect(&self.bootstrap).is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn processes(&self) -> MutexGuard<'_, (Vec<Child>, u32)> {
        self.processes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
