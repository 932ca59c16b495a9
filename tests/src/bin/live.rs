//! The live half of `make bench`: a backlog is drained, then records come at a steady rate, on Apache Kafka and
//! PostgreSQL on this machine.
//!
//! Prints one JSON object. What is measured is what a reader sees: the time from the moment a record was due to be
//! sent (open loop, so that a slow broker cannot hide behind a slow producer) until another connection, woken by
//! `NOTIFY`, has read a frontier above the record. All ten results are in that transaction.
//!
//! Usage: `live [--posts N] [--rate R] [--seconds S] [--cleaned off|postgres]`; the binary is `$PINFLOW_BINARY` or the
//! one beside this program.

use anyhow::{Context, Result, bail, ensure};
use pinflow::generate::{Generator, partition_of};
use pinflow_tests::scene::TOPICS;
use pinflow_tests::{Kafka, Message, Pinflow, Producer, eventually, postgres};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::{DeliveryResult, Message as _};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_postgres::{AsyncMessage, NoTls};

const PARTITIONS: i32 = 2;
const SEED: u64 = 7;
/// What the first seconds show is not counted: caches are cold, the consumer has just caught up, and the broker's JVM
/// is still compiling what it does, on the processors that everything shares.
const WARM_UP: Duration = Duration::from_secs(20);

struct Settings {
    posts: u64,
    rate: f64,
    seconds: u64,
    cleaned: String,
}

fn settings() -> Result<Settings> {
    let mut settings = Settings {
        posts: 1_000_000,
        rate: 10_000.0,
        seconds: 60,
        cleaned: "off".into(),
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().with_context(|| format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--posts" => settings.posts = value.parse()?,
            "--rate" => settings.rate = value.parse()?,
            "--seconds" => settings.seconds = value.parse()?,
            "--cleaned" => settings.cleaned = value,
            _ => bail!("unknown flag {flag}"),
        }
    }
    Ok(settings)
}

/// When a record was due, and when the broker acknowledged it.
struct Acknowledged {
    topic: u8,
    partition: i32,
    offset: i64,
    due: Instant,
    at: Instant,
}

#[derive(Clone, Default)]
struct Deliveries {
    acknowledged: Arc<Mutex<Vec<Acknowledged>>>,
    failed: Arc<AtomicBool>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<(u8, Instant)>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        let at = Instant::now();
        let (topic, due) = *opaque;
        match result {
            Ok(message) => self
                .acknowledged
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Acknowledged {
                    topic,
                    partition: message.partition(),
                    offset: message.offset(),
                    due,
                    at,
                }),
            Err((error, _)) => {
                eprintln!("a record was not delivered: {error}");
                self.failed.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// A frontier that a reader saw: (topic, partition) → next offset.
type Seen = (Instant, BTreeMap<(String, i32), i64>);

/// Follows the frontier as a user's program would, on a thread of its own, until `stop`.
fn watch(url: &str, stop: Arc<AtomicBool>) -> Result<std::thread::JoinHandle<Result<Vec<Seen>>>> {
    let url = url.to_owned();
    let follow = async move {
        let (client, mut connection) = tokio_postgres::connect(&url, NoTls).await?;
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
            let frontier = rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
            seen.push((Instant::now(), frontier));
        }
        driver.abort();
        Ok(seen)
    };
    Ok(std::thread::Builder::new().name("watch".into()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(follow)
    })?)
}

/// The value below which this share of the sorted milliseconds lies.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}

/// Turns the kernel's autogroups off while it lives, where we may.
///
/// A backend of PostgreSQL is a session, and so an autogroup, of its own: on a busy machine such a small group waits
/// for hundreds of milliseconds for a processor. Services of an init system with control groups know nothing of that.
struct NoAutogroups(Option<String>);

const AUTOGROUPS: &str = "/proc/sys/kernel/sched_autogroup_enabled";

impl NoAutogroups {
    fn new() -> NoAutogroups {
        let before = std::fs::read_to_string(AUTOGROUPS).ok();
        let changed = before.filter(|_| std::fs::write(AUTOGROUPS, "0").is_ok());
        if changed.is_none() {
            eprintln!("{AUTOGROUPS} cannot be set: PostgreSQL may wait long for a processor");
        }
        NoAutogroups(changed)
    }
}

impl Drop for NoAutogroups {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = std::fs::write(AUTOGROUPS, before);
        }
    }
}

/// CPU seconds of a process so far.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
}

fn main() -> Result<()> {
    let settings = settings()?;
    let autogroups = NoAutogroups::new();
    let kafka = Kafka::start_with(1024, &[("log.segment.bytes", "268435456")])?;
    let postgres = postgres()?;
    for topic in TOPICS {
        kafka.create_topic(topic, PARTITIONS, &[])?;
    }

    eprintln!("producing the backlog");
    let backlog = Producer::with(&kafka.bootstrap(), &[("linger.ms", "20"), ("batch.size", "1000000")])?;
    let mut records = 0u64;
    let mut generator = Generator::new(SEED).posts(settings.posts).duplicates(0.05);
    for record in generator.records() {
        let key = record.ind.to_string();
        let message = Message {
            partition: Some(partition_of(record.ind, PARTITIONS)),
            key: Some(key.as_bytes()),
            value: Some(&record.json),
        };
        backlog.send(TOPICS[record.kind as usize], message)?;
        records += 1;
    }
    backlog.flush()?;

    eprintln!("draining {records} records");
    let started = Instant::now();
    let run = Pinflow::new("run").kafka(&kafka).postgres(&postgres);
    let mut run = run.args(["--cleaned", &settings.cleaned]).start()?;
    let pid = run.pid();
    let wanted = records as i64;
    let total = "SELECT coalesce(sum(next_offset), 0)::bigint FROM pinflow.frontier";
    eventually("the end of the backlog", Duration::from_secs(1_200), || {
        ensure!(run.is_running()?, "the run has ended:\n{}", run.tail());
        let database = pinflow_tests::Database::connect(&postgres.url())?;
        let there = database.value("SELECT to_regclass('pinflow.frontier')")?.is_some();
        Ok(there && database.number(total)? >= wanted)
    })?;
    let (drained, drain_cpu) = (started.elapsed().as_secs_f64(), cpu_seconds(pid)?);
    let (resident, _) = run.memory()?;

    // the backlog's gigabyte is written back now, and not in the middle of what is measured
    rustix::fs::sync();
    eprintln!("live: {} records/s for {} s", settings.rate, settings.seconds);
    let deliveries = Deliveries::default();
    let producer: ThreadedProducer<Deliveries> = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .create_with_context(deliveries.clone())?;
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watch(&postgres.url(), stop.clone())?;
    // new posts, and of each a second copy now and then
    generator = Generator::new(SEED).starting_at(settings.posts).duplicates(0.05);
    let mut live = generator.records();
    let (begin, cpu) = (Instant::now(), cpu_seconds(pid)?);
    let count = (settings.rate * settings.seconds as f64) as u64;
    for number in 0..count {
        let record = live.next().context("the generator does not end")?;
        let due = begin + Duration::from_secs_f64(number as f64 / settings.rate);
        while let Some(early) = due.checked_duration_since(Instant::now()) {
            std::thread::sleep(early.max(Duration::from_micros(200)));
        }
        let key = record.ind.to_string();
        let message = BaseRecord::with_opaque_to(TOPICS[record.kind as usize], Box::new((record.kind, due)))
            .partition(partition_of(record.ind, PARTITIONS))
            .key(key.as_bytes())
            .payload(&record.json);
        producer.send(message).map_err(|(error, _)| error)?;
    }
    producer.flush(Duration::from_secs(60))?;
    let live_cpu = cpu_seconds(pid)? - cpu;
    std::thread::sleep(Duration::from_secs(2));
    stop.store(true, Ordering::Relaxed);
    let seen = watcher.join().map_err(|_| anyhow::anyhow!("the watcher panicked"))??;
    ensure!(!deliveries.failed.load(Ordering::Relaxed), "records were not delivered");
    run.terminate()?;
    run.expect(0, Duration::from_secs(60))?;

    let acknowledged = std::mem::take(&mut *deliveries.acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
    let (mut fresh, mut acks, mut unseen) = (Vec::new(), Vec::new(), 0u64);
    for record in acknowledged.iter().filter(|record| record.due >= begin + WARM_UP) {
        acks.push(milliseconds(record.at - record.due));
        let place = (TOPICS[record.topic as usize].to_owned(), record.partition);
        // frontiers only grow: the first that has passed the record
        let first =
            seen.partition_point(|(_, frontier)| frontier.get(&place).is_none_or(|next| *next <= record.offset));
        match seen.get(first) {
            Some((at, _)) => fresh.push(milliseconds(at.saturating_duration_since(record.due))),
            None => unseen += 1,
        }
    }
    ensure!(unseen == 0 && !fresh.is_empty(), "{unseen} records were never visible");
    fresh.sort_by(f64::total_cmp);
    acks.sort_by(f64::total_cmp);
    let commits = seen.len() as f64 / settings.seconds as f64;
    println!(
        "{}",
        serde_json::json!({
            "cleaned": settings.cleaned,
            "autogroups_off": autogroups.0.is_some(),
            "posts": settings.posts,
            "backlog_records": records,
            "drain_seconds": drained,
            "drain_records_per_second": records as f64 / drained,
            "drain_cpu_seconds": drain_cpu,
            "resident_bytes": resident,
            "rate": settings.rate,
            "live_seconds": settings.seconds,
            "warm_up_seconds": WARM_UP.as_secs(),
            "live_cpu_seconds": live_cpu,
            "commits_seen_per_second": commits,
            "fresh_ms": {"p50": percentile(&fresh, 0.5), "p99": percentile(&fresh, 0.99), "max": percentile(&fresh, 1.0)},
            "ack_ms": {"p50": percentile(&acks, 0.5), "p99": percentile(&acks, 0.99), "max": percentile(&acks, 1.0)},
        })
    );
    Ok(())
}
