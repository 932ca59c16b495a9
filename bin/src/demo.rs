//! `pinflow demo`: the whole way of the data on one machine, with nothing installed but PostgreSQL.
//!
//! An embedded broker, an S3 server in this process and a private PostgreSQL cluster are started; a history of posts
//! is produced and archived; then `pinflow run` replays it from S3 and follows a live stream, as a process of its
//! own, exactly as it would be run elsewhere. At the end `pinflow verify --replay` says whether the tables are true.
//! Everything that was started ends, and everything that was written is removed, unless `--dir` keeps it.

use crate::config::DemoSettings;
use crate::embedded::process::Server;
use crate::embedded::{Broker, Postgres, PostgresOptions, S3Server};
use crate::generate::{Generator, Record};
use anyhow::{Context, Result, bail, ensure};
use ingest::lake::{Encoding, Lake, LakeOptions, LakeUrl, MetadataMap, S3Credentials, connect_key};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rustix::process::Signal;
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

/// Records a second that the embedded broker can keep: a partition holds 5 MiB, which is seven seconds of pins then.
pub const MAX_RATE: u64 = 3_000;

const TOPICS: [&str; 3] = ["pin", "geo", "user"];
const BUCKET: &str = "demo";
const PREFIX: &str = "topics";
const RECORDS_PER_OBJECT: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(120);
/// Rows of a table that are shown.
const SHOWN_ROWS: i64 = 5;

/// Runs the demo to its end.
pub fn run(settings: &DemoSettings) -> Result<()> {
    ensure!(
        settings.rate <= MAX_RATE,
        "--rate {} is more than the embedded broker can keep: at most {MAX_RATE} records/s (run against Apache Kafka for more)",
        settings.rate
    );
    let stop = watch_signals()?;
    // removed when it is dropped
    let temporary = tempfile::tempdir().context("making a folder for the demo")?;
    let dir = match &settings.dir {
        Some(dir) => fresh_folder(dir)?,
        None => temporary.path().to_owned(),
    };

    say("starting PostgreSQL, an S3 server and a broker on 127.0.0.1");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let postgres = Postgres::start(PostgresOptions {
        dir: settings.dir.as_ref().map(|_| dir.join("postgres")),
        ..PostgresOptions::default()
    })?;
    let s3_root = dir.join("s3");
    std::fs::create_dir_all(&s3_root)?;
    let s3 = S3Server::start(&s3_root)?;
    s3.create_bucket(BUCKET)?;
    let broker = Broker::start()?;
    for topic in TOPICS {
        broker.create_topic(topic, 1)?;
    }
    let mut stream = Stream::new(&broker, settings.seed)?;

    say(&format!(
        "writing a history of {} posts to s3://{BUCKET}/{PREFIX}",
        settings.posts
    ));
    stream.history(settings.posts, &runtime, &s3)?;

    let mut engine = Engine::start(settings, &postgres, &s3, &broker)?;
    say(&format!("running: {}", engine.shown));
    let began = Instant::now();
    let client = runtime.block_on(connect(&postgres.url()))?;
    engine.wait_for_frontier(&runtime, &client, &stream.produced(), &stop, PATIENCE)?;
    say(&format!(
        "history is in the tables: {} records in {:.1} s",
        stream.total(),
        began.elapsed().as_secs_f64()
    ));
    print_tables(&runtime, &client)?;

    let freshness = stream.live(settings, &runtime, &client, &stop, &mut engine)?;
    engine.wait_for_frontier(&runtime, &client, &stream.produced(), &Arc::default(), PATIENCE)?;
    engine.stop()?;
    say("the stream has ended and every record is in the tables");
    print_tables(&runtime, &client)?;
    print_freshness(freshness, settings.rate);
    drop(client);
    verify(&postgres, &s3, &broker)?;
    if settings.dir.is_some() {
        say(&format!("kept: {}", dir.display()));
    }
    Ok(())
}

/// A folder for a new demo: the broker forgets everything at the end, so an older demo cannot go on.
fn fresh_folder(dir: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    let empty = std::fs::read_dir(dir)
        .with_context(|| format!("reading {}", dir.display()))?
        .next()
        .is_none();
    ensure!(
        empty,
        "--dir {} is not empty: a demo begins in a new folder",
        dir.display()
    );
    dir.canonicalize()
        .with_context(|| format!("resolving {}", dir.display()))
}

fn say(text: &str) {
    println!("demo: {text}");
}

fn watch_signals() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut terminate), Ok(mut interrupt)) =
                (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
            else {
                return;
            };
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if flag.swap(true, Ordering::SeqCst) {
                    std::process::exit(130);
                }
                say("stopping");
            }
        });
    })?;
    Ok(stop)
}

async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls)
        .await
        .context("connecting to PostgreSQL")?;
    tokio::spawn(connection);
    Ok(client)
}

/// The records of the demo: a history first, then a live stream that goes on where the history ended.
struct Stream {
    producer: BaseProducer,
    records: Box<dyn Iterator<Item = Record>>,
    next: [i64; 3],
}

impl Stream {
    fn new(broker: &Broker, seed: u64) -> Result<Stream> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap())
            .set("linger.ms", "1")
            .set("queue.buffering.max.messages", "100000")
            .create()
            .context("making a producer")?;
        let records = Generator::new(seed).duplicates(0.053).records();
        Ok(Stream {
            producer,
            records: Box::new(records),
            next: [0; 3],
        })
    }

    fn produced(&self) -> [i64; 3] {
        self.next
    }

    fn total(&self) -> i64 {
        self.next.iter().sum()
    }

    /// Produces the next record; returns its kind and bytes.
    fn send(&mut self) -> Result<(usize, Vec<u8>)> {
        let record = self.records.next().context("the generator has no end")?;
        let kind = record.kind as usize;
        let key = record.ind.to_string();
        let mut message = BaseRecord::to(TOPICS[kind])
            .partition(0)
            .key(&key)
            .payload(&record.json);
        loop {
            match self.producer.send(message) {
                Ok(()) => break,
                Err((error, back))
                    if error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull) =>
                {
                    self.producer.poll(Duration::from_millis(5));
                    message = back;
                }
                Err((error, _)) => return Err(error).context("producing to the embedded broker"),
            }
        }
        self.next[kind] += 1;
        Ok((kind, record.json))
    }

    /// Produces a history and archives it. The broker forgets the older part of it, as retention would.
    fn history(&mut self, posts: u64, runtime: &tokio::runtime::Runtime, s3: &S3Server) -> Result<()> {
        let url = LakeUrl::S3 {
            bucket: BUCKET.into(),
            prefix: PREFIX.into(),
        };
        let lake = runtime.block_on(Lake::open(url, lake_options(s3)))?;
        let mut objects: [(i64, usize, Vec<u8>); 3] = Default::default();
        let mut pins = 0;
        while pins < posts {
            let (kind, json) = self.send()?;
            let (start, count, bytes) = &mut objects[kind];
            bytes.extend_from_slice(&json);
            bytes.push(b'\n');
            *count += 1;
            if *count == RECORDS_PER_OBJECT {
                store(runtime, &lake, kind, *start, std::mem::take(bytes))?;
                (*start, *count) = (self.next[kind], 0);
            }
            // a user record is the last of a post's three
            pins += u64::from(kind == 2);
            if self.total() % 1000 == 0 {
                self.producer.poll(Duration::ZERO);
            }
        }
        for (kind, (start, count, bytes)) in objects.into_iter().enumerate() {
            if count > 0 {
                store(runtime, &lake, kind, start, bytes)?;
            }
        }
        self.producer.flush(PATIENCE).context("producing the history")
    }

    /// Produces at the wanted rate until the end is asked for. Returns how long records took to be visible.
    fn live(
        &mut self,
        settings: &DemoSettings,
        runtime: &tokio::runtime::Runtime,
        client: &Client,
        stop: &AtomicBool,
        engine: &mut Engine,
    ) -> Result<Vec<Duration>> {
        let lasts = settings
            .duration
            .map_or("until Ctrl-C".to_owned(), |duration| format!("for {duration:?}"));
        say(&format!("streaming {} records/s {lasts}", settings.rate));
        let probes: Arc<Probes> = Arc::default();
        let watcher = runtime.spawn(watch_frontier(
            runtime.block_on(connect(&engine.postgres_url))?,
            Arc::clone(&probes),
        ));
        let began = Instant::now();
        let mut sent = 0u64;
        let mut told = Instant::now();
        while !stop.load(Ordering::SeqCst) && settings.duration.is_none_or(|duration| began.elapsed() < duration) {
            let due = (began.elapsed().as_secs_f64() * settings.rate as f64) as u64;
            let mut probe = None;
            while sent < due {
                let (kind, _) = self.send()?;
                sent += 1;
                probe = Some((kind, self.next[kind], Instant::now()));
            }
            if let Some(probe) = probe {
                probes
                    .waiting
                    .lock()
                    .unwrap_or_else(|poisoned| poisoned.into_inner())
                    .push_back(probe);
            }
            self.producer.poll(Duration::from_millis(2));
            if told.elapsed() > Duration::from_secs(5) {
                told = Instant::now();
                let behind = self.total() - runtime.block_on(frontier(client))?.iter().sum::<i64>();
                say(&format!(
                    "{sent} live records sent, {behind} of them not in the tables yet"
                ));
                engine.check()?;
            }
        }
        self.producer.flush(PATIENCE).context("producing the live stream")?;
        let deadline = Instant::now() + PATIENCE;
        while !probes
            .waiting
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .is_empty()
        {
            engine.check()?;
            ensure!(
                Instant::now() < deadline,
                "the live records did not reach the tables within {PATIENCE:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        watcher.abort();
        let seen = std::mem::take(&mut *probes.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        let _ = client;
        Ok(seen)
    }
}

/// Records whose way into the tables is timed: kind, the offset behind them, when they were sent.
#[derive(Default)]
struct Probes {
    waiting: std::sync::Mutex<VecDeque<(usize, i64, Instant)>>,
    seen: std::sync::Mutex<Vec<Duration>>,
}

async fn watch_frontier(client: Client, probes: Arc<Probes>) {
    loop {
        let Ok(reached) = frontier(&client).await else { return };
        let now = Instant::now();
        {
            let mut waiting = probes.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let mut seen = probes.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            while waiting.front().is_some_and(|(kind, next, _)| reached[*kind] >= *next) {
                if let Some((_, _, sent)) = waiting.pop_front() {
                    seen.push(now - sent);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The committed frontier of the three topics; 0 before the first commit.
async fn frontier(client: &Client) -> Result<[i64; 3]> {
    let mut reached = [0; 3];
    let exists = client
        .query_one("SELECT to_regclass('pinflow.frontier') IS NOT NULL", &[])
        .await?;
    if exists.get::<_, bool>(0) {
        for row in client
            .query(
                "SELECT topic, next_offset FROM pinflow.frontier WHERE partition = 0",
                &[],
            )
            .await?
        {
            let topic: String = row.get(0);
            if let Some(kind) = TOPICS.iter().position(|name| *name == topic) {
                reached[kind] = row.get(1);
            }
        }
    }
    Ok(reached)
}

fn lake_options(s3: &S3Server) -> LakeOptions {
    let environment = s3.environment();
    let value = |name: &str| {
        environment
            .iter()
            .find(|(n, _)| *n == name)
            .map_or("", |(_, value)| value)
            .to_owned()
    };
    LakeOptions {
        s3_endpoint: Some(s3.endpoint()),
        region: Some("us-east-1".to_owned()),
        credentials: Some(S3Credentials {
            access_key: value("AWS_ACCESS_KEY_ID"),
            secret_key: value("AWS_SECRET_ACCESS_KEY"),
        }),
        ..LakeOptions::default()
    }
}

fn store(runtime: &tokio::runtime::Runtime, lake: &Lake, kind: usize, start: i64, bytes: Vec<u8>) -> Result<()> {
    let key = connect_key(TOPICS[kind], 0, start, Encoding::Plain);
    runtime
        .block_on(lake.put(&key, bytes, MetadataMap::new()))
        .context("archiving the history")
}

/// `pinflow run` as a process of its own.
struct Engine {
    server: Server,
    shown: String,
    postgres_url: String,
    log: PathBuf,
    /// Where the log goes; kept until the engine has ended.
    _folder: tempfile::TempDir,
}

impl Engine {
    fn start(settings: &DemoSettings, postgres: &Postgres, s3: &S3Server, broker: &Broker) -> Result<Engine> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("engine.log");
        let mut arguments = vec!["run".to_owned()];
        arguments.extend(common(postgres, s3, broker));
        if let Some(listen) = settings.listen {
            arguments.extend(["--listen".to_owned(), listen.to_string()]);
        }
        let output = std::fs::File::create(&log)?;
        let mut command = Command::new(std::env::current_exe().context("finding this program")?);
        command
            .args(&arguments)
            .envs(s3.environment())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output);
        let server = Server::spawn(&mut command, "TERM", None).context("starting `pinflow run`")?;
        let shown = format!("pinflow {}", arguments.join(" "));
        Ok(Engine {
            server,
            shown,
            postgres_url: postgres.url(),
            log,
            _folder: folder,
        })
    }

    /// Fails when the engine has ended by itself.
    fn check(&mut self) -> Result<()> {
        match self.server.exited()? {
            None => Ok(()),
            Some(status) => bail!("`pinflow run` ended with {status}:\n{}", tail(&self.log)),
        }
    }

    fn wait_for_frontier(
        &mut self,
        runtime: &tokio::runtime::Runtime,
        client: &Client,
        wanted: &[i64; 3],
        stop: &AtomicBool,
        patience: Duration,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            self.check()?;
            let reached = runtime.block_on(frontier(client))?;
            if reached.iter().zip(wanted).all(|(reached, wanted)| reached >= wanted) {
                return Ok(());
            }
            ensure!(!stop.load(Ordering::SeqCst), "stopped before history was in the tables");
            ensure!(
                Instant::now() < deadline,
                "the tables reached {reached:?} of {wanted:?} within {patience:?}:\n{}",
                tail(&self.log)
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn stop(&mut self) -> Result<()> {
        self.server.signal(Signal::TERM)?;
        match self.server.wait(PATIENCE)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("`pinflow run` ended with {status}:\n{}", tail(&self.log)),
            None => bail!("`pinflow run` did not end within {PATIENCE:?}"),
        }
    }
}

fn common(postgres: &Postgres, s3: &S3Server, broker: &Broker) -> Vec<String> {
    [
        ("--lake", format!("s3://{BUCKET}/{PREFIX}")),
        ("--s3-endpoint", s3.endpoint()),
        ("--kafka", broker.bootstrap().to_owned()),
        ("--postgres", postgres.url()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect()
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// `pinflow verify`, in both ways; its verdict is printed as it comes.
fn verify(postgres: &Postgres, s3: &S3Server, broker: &Broker) -> Result<()> {
    let ways: [(&str, &[&str]); 2] = [
        (
            "pinflow verify: every table against its SQL over the cleaned tables, in one snapshot",
            &[],
        ),
        (
            "pinflow verify --replay: every table against the log, read again by a plain evaluator",
            &["--replay"],
        ),
    ];
    for (what, flags) in ways {
        say(what);
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("verify")
            .args(flags)
            .args(common(postgres, s3, broker))
            .envs(s3.environment());
        let status = command.status().context("starting `pinflow verify`")?;
        ensure!(status.success(), "`pinflow verify` ended with {status}");
    }
    Ok(())
}

fn print_tables(runtime: &tokio::runtime::Runtime, client: &Client) -> Result<()> {
    let bold = std::io::stdout().is_terminal();
    for result in dataflows::RESULTS {
        let table = result.table;
        let count: i64 = runtime
            .block_on(client.query_one(&format!("SELECT count(*) FROM pinflow.{}", table.name), &[]))?
            .get(0);
        let order = (1..=table.key).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
        let columns: Vec<String> = table
            .columns
            .iter()
            .map(|column| format!("{}::text", column.name))
            .collect();
        let ranked = table.columns.iter().any(|column| column.name == "rank");
        let only = if ranked { " WHERE rank = 1" } else { "" };
        let sql = format!(
            "SELECT {} FROM pinflow.{}{only} ORDER BY {order} LIMIT {SHOWN_ROWS}",
            columns.join(", "),
            table.name
        );
        let rows = runtime.block_on(client.query(&sql, &[]))?;
        let name = if bold {
            format!("\x1b[1m{}\x1b[0m", table.name)
        } else {
            table.name.to_owned()
        };
        println!(
            "\n{name}: {count} rows{}",
            if ranked { ", the first leaders:" } else { ", the first:" }
        );
        let mut lines = vec![
            table
                .columns
                .iter()
                .map(|column| column.name.to_owned())
                .collect::<Vec<_>>(),
        ];
        for row in &rows {
            lines.push(
                (0..row.len())
                    .map(|n| row.get::<_, Option<String>>(n).unwrap_or_default())
                    .collect(),
            );
        }
        print_aligned(&lines);
    }
    println!();
    Ok(())
}

fn print_aligned(lines: &[Vec<String>]) {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines.first().map_or(0, Vec::len)).map(width).collect();
    for line in lines {
        let cells: Vec<String> = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}", width = *width))
            .collect();
        println!("  {}", cells.join("  ").trim_end());
    }
}

fn print_freshness(mut seen: Vec<Duration>, rate: u64) {
    if seen.is_empty() {
        return;
    }
    seen.sort_unstable();
    let at = |share: f64| seen[((seen.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    say(&format!(
        "freshness at {rate} records/s, from produce to visible in all tables: p50 {:.1} ms, p99 {:.1} ms, greatest {:.1} ms ({} probes)",
        at(0.5),
        at(0.99),
        at(1.0),
        seen.len()
    ));
}

/// Counts what a test may want to know of the limits.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_beyond_the_broker_is_refused_before_anything_is_started() {
        let settings = DemoSettings {
            posts: 1,
            seed: 1,
            rate: MAX_RATE + 1,
            duration: None,
            listen: None,
            dir: Some("/nonexistent/of/the/demo".into()),
        };
        let error = run(&settings).unwrap_err().to_string();
        assert!(error.contains("--rate 3001") && error.contains("3000"), "{error}");
    }
}
