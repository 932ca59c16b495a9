//! Who produces and who reads: light ones in this process, or plain Python programs as users have them.
//!
//! Times are seconds since 1970, since they are compared over processes of one machine.

use anyhow::{Context, Result, bail, ensure};
use pinflow_tests::workload::TOPICS;
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio_postgres::{AsyncMessage, NoTls};
use workload::generate::{Record, partition_of};

/// Partitions of each topic.
pub const PARTITIONS: i32 = 3;

/// `TOPIC/PARTITION`
pub type Place = String;

/// What a producer has sent.
#[derive(Default)]
pub struct Sent {
    /// When each record was sent, in the order of offsets, from the first one.
    pub times: BTreeMap<Place, Vec<f64>>,
    /// When a record was sent, and how long the broker took to acknowledge it.
    pub acks: Vec<(f64, f64)>,
}

/// What a reader saw, in time order: when, and the next offset of every partition.
pub type Seen = Vec<(f64, BTreeMap<Place, i64>)>;

/// How a reader learns that there is something new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// `NOTIFY`
    Notify,
    /// It asks every few milliseconds.
    Poll,
}

/// How often a reader that polls asks.
const POLL_MILLISECONDS: &str = "3";

pub fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

fn place(topic: &str, partition: i32) -> Place {
    format!("{topic}/{partition}")
}

/// Collects acknowledgements: place, offset, when it was due, when it was acknowledged.
#[derive(Clone, Default)]
struct Deliveries {
    acknowledged: Arc<Mutex<Vec<(Place, i64, f64, f64)>>>,
    failed: Arc<AtomicBool>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<f64>;

    fn delivery(&self, result: &DeliveryResult<'_>, due: Self::DeliveryOpaque) {
        match result {
            Ok(message) => {
                let place = place(message.topic(), message.partition());
                let mut acknowledged = self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner);
                acknowledged.push((place, message.offset(), *due, now()));
            }
            Err((error, _)) => {
                eprintln!("a record was not delivered: {error}");
                self.failed.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// A producer that is ready.
pub enum Load {
    /// None, for so long.
    Nothing(Duration),
    /// One in this process: `bootstrap.servers`, what it sends, records a second.
    Light(String, Box<dyn Iterator<Item = Record>>, f64),
    /// A Python program that waits for its standard input to end, and where it writes what it has sent.
    Python(Child, PathBuf),
}

impl Load {
    /// Produces to the end.
    pub fn run(self) -> Result<Sent> {
        match self {
            Load::Nothing(pause) => {
                std::thread::sleep(pause);
                Ok(Sent::default())
            }
            Load::Light(bootstrap, records, rate) => produce_light(&bootstrap, records, rate),
            Load::Python(mut child, output) => {
                drop(child.stdin.take());
                let status = child.wait()?;
                ensure!(status.success(), "the producer failed: {status}");
                let sent: serde_json::Value = serde_json::from_slice(&std::fs::read(output)?)?;
                Ok(Sent {
                    times: serde_json::from_value(sent["sent"].clone())?,
                    acks: serde_json::from_value(sent["acks"].clone())?,
                })
            }
        }
    }
}

/// Sends records from this process, open loop: the time of a record is when it was due, so that a slow broker cannot
/// hide behind a slow producer.
fn produce_light(bootstrap: &str, records: impl Iterator<Item = Record>, rate: f64) -> Result<Sent> {
    let deliveries = Deliveries::default();
    let producer: ThreadedProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .create_with_context(deliveries.clone())?;
    let (begin, clock) = (Instant::now(), now());
    for (number, record) in records.enumerate() {
        let after = number as f64 / rate;
        let due = begin + Duration::from_secs_f64(after);
        while let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early.max(Duration::from_micros(200)));
        }
        let key = record.ind.to_string();
        let message = BaseRecord::with_opaque_to(TOPICS[record.kind as usize], Box::new(clock + after))
            .partition(partition_of(record.ind, PARTITIONS))
            .key(key.as_bytes())
            .payload(&record.json);
        producer.send(message).map_err(|(error, _)| error)?;
    }
    producer.flush(Duration::from_secs(60))?;
    ensure!(!deliveries.failed.load(Ordering::Relaxed), "records were not delivered");
    let mut acknowledged = std::mem::take(&mut *deliveries.acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
    acknowledged.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
    let mut sent = Sent::default();
    for (place, _, due, at) in acknowledged {
        sent.times.entry(place).or_default().push(due);
        sent.acks.push((due, at - due));
    }
    Ok(sent)
}

/// The Python programs, and where they leave what they have seen.
pub struct Python {
    pub python: PathBuf,
    pub script: PathBuf,
    pub folder: PathBuf,
}

impl Python {
    fn start(&self, arguments: &[&str]) -> Result<Child> {
        let mut child = Command::new(&self.python)
            .arg(&self.script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", self.python.display()))?;
        let mut line = String::new();
        let stdout = child.stdout.as_mut().context("its standard output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(
            line.trim() == "READY",
            "{} {arguments:?} did not start",
            self.script.display()
        );
        Ok(child)
    }

    fn path(&self, name: &str) -> Result<(PathBuf, String)> {
        let path = self.folder.join(name);
        let text = path.to_str().context("a folder whose name is UTF-8")?.to_owned();
        Ok((path, text))
    }

    /// A producer; the time of a record is when it was handed to its library.
    pub fn load(&self, bootstrap: &str, records: impl Iterator<Item = Record>, rate: f64) -> Result<Load> {
        let ((input, records_path), (output, out)) = (self.path("records")?, self.path("sent")?);
        let mut file = BufWriter::new(std::fs::File::create(&input)?);
        for record in records {
            let (topic, partition) = (TOPICS[record.kind as usize], partition_of(record.ind, PARTITIONS));
            write!(file, "{topic}\t{partition}\t{}\t", record.ind)?;
            ensure!(!record.json.contains(&b'\n'), "a record of more than one line");
            file.write_all(&record.json)?;
            file.write_all(b"\n")?;
        }
        file.flush()?;
        let child = self.start(&["produce", bootstrap, &records_path, &out, &rate.to_string()])?;
        Ok(Load::Python(child, output))
    }

    /// Starts a reader.
    pub fn read(&self, url: &str, wake: Wake) -> Result<Reader> {
        let (output, out) = self.path("seen")?;
        let mut arguments = vec!["read", url, &out];
        if wake == Wake::Poll {
            arguments.push(POLL_MILLISECONDS);
        }
        Ok(Reader::Python(self.start(&arguments)?, output))
    }
}

/// A reader that follows the frontier until it is asked what it has seen.
pub enum Reader {
    Python(Child, PathBuf),
    Light(JoinHandle<Result<Seen>>, Arc<AtomicBool>),
}

impl Reader {
    /// A reader in this process, woken by `NOTIFY`.
    pub fn light(url: &str) -> Result<Reader> {
        let (url, stop) = (url.to_owned(), Arc::new(AtomicBool::new(false)));
        let until = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("reader".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(follow(&url, &until))
        })?;
        Ok(Reader::Light(thread, stop))
    }

    /// Ends it.
    pub fn seen(self) -> Result<Seen> {
        match self {
            Reader::Light(thread, stop) => {
                stop.store(true, Ordering::Relaxed);
                let Ok(seen) = thread.join() else {
                    bail!("the reader panicked")
                };
                seen
            }
            Reader::Python(mut child, output) => {
                child.kill()?;
                child.wait()?;
                read_seen(&output)
            }
        }
    }
}

fn read_seen(output: &Path) -> Result<Seen> {
    let text = std::fs::read_to_string(output)?;
    // the reader was killed: its last line may be a part of one
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

async fn follow(url: &str, stop: &AtomicBool) -> Result<Seen> {
    let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
    let (wake, mut woken) = tokio::sync::mpsc::channel::<()>(1);
    let driver = tokio::spawn(async move {
        loop {
            match std::future::poll_fn(|context| connection.poll_message(context)).await {
                // a full channel means that the reader will look anyway
                Some(Ok(AsyncMessage::Notification(_))) => drop(wake.try_send(())),
                Some(Ok(_)) => {}
                _ => return,
            }
        }
    });
    client.batch_execute("LISTEN pinflow_commits").await?;
    let query = client
        .prepare("SELECT topic, partition, next_offset FROM pinflow.frontier")
        .await?;
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if tokio::time::timeout(Duration::from_millis(200), woken.recv())
            .await
            .is_err()
        {
            continue;
        }
        let rows = client.query(&query, &[]).await?;
        let frontier = rows.iter().map(|row| (place(row.get(0), row.get(1)), row.get(2)));
        seen.push((now(), frontier.collect()));
    }
    driver.abort();
    Ok(seen)
}
