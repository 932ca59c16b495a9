//! What the HTTP API costs: a thousand clients of the event stream beside 10,000 records a second, and requests a second
//! on an engine that has nothing else to do.
//!
//! The clients are a process of their own, so that the engine's processor time is its own. What a thousand streams do to
//! commits is measured with clients that run only when a processor has nothing else to do, as if they were on other
//! machines, and with clients of ordinary priority, whose own work then delays commits, too.

use super::bench::{Bench, Clients, quantiles};
use super::machine::cpu_seconds;
use anyhow::{Context, Result, bail, ensure};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use pinflow_tests::{Database, Program};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Records a second while streams are open.
const RATE: f64 = 10_000.0;
/// How often live records are measured without streams, and with them: each second round in the opposite order.
const ROUNDS: usize = 5;
/// What is measured in a round: its name, and the clients of the event stream.
const CASES: [(&str, Option<Priority>); 3] = [
    ("alone", None),
    ("elsewhere", Some(Priority::Idle)),
    ("beside", Some(Priority::Ordinary)),
];
/// Clients of the event stream.
const STREAMS: usize = 1_000;
/// How long the clients sleep between two looks at their connections.
const BETWEEN_READS: Duration = Duration::from_millis(50);
/// Where an event has its numbers of commits.
const FIRST_MEMBERS: usize = 100;
/// Connections that send requests.
const CONNECTIONS: usize = 64;
/// How long requests are sent.
const REQUESTS: Duration = Duration::from_secs(10);
/// The table that is asked for: with five rows a country it has about a thousand.
const TABLE: &str = "top_poster_by_country";
/// A histogram of the engine.
const COMMIT_SECONDS: &str = "pinflow_sink_commit_seconds";

/// Everything about the API, as one object.
pub fn measure(bench: &Bench) -> Result<Value> {
    let mut figures = json!({ "scenario": "http", "posts": bench.settings.posts, "streams": STREAMS });
    Database::connect(&bench.postgres.url())?.run("DROP SCHEMA IF EXISTS pinflow CASCADE")?;
    let listen = "127.0.0.1:0";
    let records = bench.ends()?.values().sum();
    let mut engine = bench.drain(
        &["--cleaned", "off", "--top", "5", "--listen", listen],
        records,
        &mut figures,
    )?;
    let line = engine.wait_for("http://", Duration::from_secs(5))?;
    let address = line.split("http://").nth(1).context("an address")?;
    let address = address
        .split(['/', ' '])
        .next()
        .context("an address")?
        .trim()
        .to_owned();

    let mut loads = 1..;
    let mut rounds = vec![json!({}); ROUNDS];
    for (number, round) in rounds.iter_mut().enumerate() {
        let mut cases = CASES;
        if number % 2 == 1 {
            cases.reverse();
        }
        for ((name, clients), load) in cases.into_iter().zip(&mut loads) {
            round[name] = streamed(bench, &engine, &address, load, clients)?;
        }
    }
    figures["rounds"] = rounds.into();
    for (name, revalidates) in [("rows", false), ("not_modified", true)] {
        let before = cpu_seconds(engine.pid())?;
        let mut got = ClientProcess::start(&requests(&address, revalidates), Priority::Ordinary)?.figures()?;
        let share = (cpu_seconds(engine.pid())? - before) / REQUESTS.as_secs_f64();
        got["engine_cores"] = share.into();
        figures[name] = got;
    }
    engine.terminate()?;
    engine.expect(0, Duration::from_secs(60))?;
    Ok(figures)
}

/// What the engine takes while clients follow all changes, if there are any.
fn streamed(bench: &Bench, engine: &Program, address: &str, number: u64, clients: Option<Priority>) -> Result<Value> {
    let load = bench.load(number, Clients::Light, RATE)?;
    let before = engine.memory()?.0;
    let streams = STREAMS.to_string();
    let follow = |priority| ClientProcess::start(&["streams", address, &streams], priority);
    let followers = clients.map(follow).transpose()?;
    let seconds = Duration::from_secs(bench.settings.seconds.saturating_sub(1));
    let warm_up = Duration::from_secs(bench.settings.warm_up);
    let mut figures = std::thread::scope(|scope| {
        let meter = scope.spawn(|| -> Result<Value> {
            std::thread::sleep(warm_up);
            let (first, cpu) = (Histogram::read(address)?, cpu_seconds(engine.pid())?);
            std::thread::sleep(seconds);
            let (last, used) = (Histogram::read(address)?, cpu_seconds(engine.pid())? - cpu);
            Ok(json!({
                "engine_cores": used / seconds.as_secs_f64(),
                "commit_ms": { "p50": last.since(&first, 0.5) * 1e3, "p99": last.since(&first, 0.99) * 1e3 },
            }))
        });
        load.run()?;
        meter.join().map_err(|_| anyhow::anyhow!("the meter panicked"))?
    })?;
    figures["resident_bytes"] = engine.memory()?.0.into();
    figures["resident_bytes_before"] = before.into();
    if let Some(followers) = followers {
        figures["clients"] = followers.figures()?;
    }
    Ok(figures)
}

fn requests(address: &str, revalidates: bool) -> [&str; 3] {
    ["requests", address, if revalidates { "revalidate" } else { "rows" }]
}

/// Cumulated counts by upper bounds.
struct Histogram(Vec<(f64, f64)>);

impl Histogram {
    fn read(address: &str) -> Result<Histogram> {
        let text = pinflow_tests::get(address, "/metrics")?;
        let bucket = format!("{COMMIT_SECONDS}_bucket{{le=\"");
        let buckets = text.lines().filter_map(|line| {
            let (bound, rest) = line.strip_prefix(&bucket)?.split_once("\"}")?;
            let bound = bound.parse().unwrap_or(f64::INFINITY);
            Some((bound, rest.trim().parse().ok()?))
        });
        let buckets: Vec<(f64, f64)> = buckets.collect();
        ensure!(!buckets.is_empty(), "there is no {COMMIT_SECONDS}");
        Ok(Histogram(buckets))
    }

    /// A quantile of what came since `before`, evenly within a bucket.
    fn since(&self, before: &Histogram, share: f64) -> f64 {
        let counts: Vec<(f64, f64)> = std::iter::zip(&self.0, &before.0)
            .map(|((bound, count), (_, earlier))| (*bound, count - earlier))
            .collect();
        let wanted = counts.last().map_or(0.0, |(_, all)| all * share);
        let (mut low, mut below) = (0.0, 0.0);
        for (bound, count) in counts {
            if count >= wanted && count > below {
                let bound = if bound.is_finite() { bound } else { low };
                return low + (bound - low) * (wanted - below) / (count - below);
            }
            (low, below) = (bound, count);
        }
        low
    }
}

/// When clients run.
#[derive(Clone, Copy)]
enum Priority {
    /// As all others.
    Ordinary,
    /// When a processor has nothing else to do.
    Idle,
}

/// This program once more, as the clients. They go on until their standard input ends.
struct ClientProcess(Child);

impl ClientProcess {
    fn start(arguments: &[&str], priority: Priority) -> Result<ClientProcess> {
        let this = std::env::current_exe()?;
        let mut command = match priority {
            Priority::Ordinary => Command::new(this),
            Priority::Idle => {
                let mut command = Command::new("chrt");
                command.args(["--idle", "0"]).arg(this);
                command
            }
        };
        command.arg("http-client").args(arguments);
        Ok(ClientProcess(
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?,
        ))
    }

    /// Ends it. What it has counted.
    fn figures(mut self) -> Result<Value> {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output()?;
        ensure!(output.status.success(), "the clients failed: {}", output.status);
        Ok(serde_json::from_slice(&output.stdout)?)
    }
}

/// `http-client streams ADDRESS N`, `http-client requests ADDRESS rows|revalidate`.
pub fn client(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let mut next = || arguments.next().context("http-client: an argument is missing");
    let (what, address, argument) = (next()?, next()?, next()?);
    let figures = match what.as_str() {
        "streams" => streams(&address, argument.parse()?)?,
        "requests" => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(send_requests(&address, argument == "revalidate"))?
        }
        other => bail!("http-client: unknown part {other}"),
    };
    println!("{figures}");
    Ok(())
}

async fn connect(address: &str) -> Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn get(
    sender: &mut SendRequest<Empty<Bytes>>,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Response<Incoming>> {
    let mut request = Request::get(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    sender.ready().await?;
    Ok(sender.send_request(request.body(Empty::new())?).await?)
}

/// Follows all changes on so many connections until standard input ends.
///
/// One thread reads from each of them in turn, and sleeps in between: nothing waits for a single event, so that what an
/// event costs is that of the engine, as far as that can be on one machine.
fn streams(address: &str, count: usize) -> Result<Value> {
    let stop = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        ended.store(true, Ordering::Relaxed);
    });
    let request = format!(
        "GET /api/changes?tables={TABLE},popular_category_by_country HTTP/1.1\r\nhost: localhost\r\n\
         accept: text/event-stream\r\n\r\n"
    );
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.write_all(request.as_bytes())?;
        stream.set_nonblocking(true)?;
        clients.push((stream, Events::new()));
    }
    let mut buffer = vec![0; 1 << 16];
    while !stop.load(Ordering::Relaxed) {
        for (stream, events) in &mut clients {
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => bail!("the stream has ended"),
                    Ok(length) => events.take_in(&buffer[..length])?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        std::thread::sleep(BETWEEN_READS);
    }
    let rates = clients.iter().map(|(_, events)| events.rate()).collect();
    let sum = |of: fn(&Events) -> u64| clients.iter().map(|(_, events)| of(events)).sum::<u64>();
    Ok(json!({
        "events_per_second": quantiles(rates),
        "bytes": sum(|events| events.bytes),
        "snapshots": sum(|events| events.snapshots),
    }))
}

/// Counts events, and checks that each one continues the one before.
struct Events {
    began: Instant,
    bytes: u64,
    line: Vec<u8>,
    event: String,
    commit: Option<i64>,
    count: u64,
    snapshots: u64,
}

impl Events {
    fn new() -> Events {
        Events {
            began: Instant::now(),
            bytes: 0,
            line: Vec::new(),
            event: String::new(),
            commit: None,
            count: 0,
            snapshots: 0,
        }
    }

    /// Events each second so far.
    fn rate(&self) -> f64 {
        self.count as f64 / self.began.elapsed().as_secs_f64()
    }

    fn take_in(&mut self, data: &[u8]) -> Result<()> {
        self.bytes += data.len() as u64;
        for part in data.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.ends_with(b"\n") {
                let mut line = std::mem::take(&mut self.line);
                self.take_line(&line)?;
                line.clear();
                self.line = line;
            }
        }
        Ok(())
    }

    /// A line of an event, of the head of the answer, or the length of a chunk: each event is sent as one.
    fn take_line(&mut self, line: &[u8]) -> Result<()> {
        if let Some(event) = line.strip_prefix(b"event: ") {
            std::str::from_utf8(event)?.trim_end().clone_into(&mut self.event);
        } else if let Some(data) = line.strip_prefix(b"data: ") {
            // the first members alone: parsing a thousand streams would take more than serving them
            let start = String::from_utf8_lossy(&data[..data.len().min(FIRST_MEMBERS)]);
            let number = |name: &str| -> Option<i64> {
                let rest = start.split_once(&format!("\"{name}\":"))?.1;
                rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
            };
            let commit = number("commit").context("an event without a commit")?;
            match self.event.as_str() {
                "snapshot" => self.snapshots += 1,
                "commit" => ensure!(number("from") == self.commit, "a commit is missing before {commit}"),
                other => bail!("unknown event {other}"),
            }
            self.commit = Some(commit);
            self.count += 1;
        } else if line.starts_with(b"HTTP/") {
            ensure!(line.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(line));
        }
        Ok(())
    }
}

/// Asks for a table again and again on every connection.
async fn send_requests(address: &str, revalidates: bool) -> Result<Value> {
    let path = format!("/api/results/{TABLE}");
    let first = get(&mut connect(address).await?, &path, &[]).await?;
    let tag = first.headers().get("etag").context("no ETag")?.to_str()?.to_owned();
    let body: Value = serde_json::from_slice(&first.into_body().collect().await?.to_bytes())?;
    let rows = body["rows"].as_array().context("no rows")?.len();
    let until = Instant::now() + REQUESTS;
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (address, path, tag) = (address.to_owned(), path.clone(), tag.clone());
        clients.spawn(async move {
            let mut sender = connect(&address).await?;
            let mut answers = BTreeMap::<u16, u64>::new();
            while Instant::now() < until {
                let headers = [("if-none-match", tag.as_str())];
                let headers: &[_] = if revalidates { &headers } else { &[] };
                let response = get(&mut sender, &path, headers).await?;
                *answers.entry(response.status().as_u16()).or_default() += 1;
                response.into_body().collect().await?;
            }
            anyhow::Ok(answers)
        });
    }
    let mut answers = BTreeMap::<u16, u64>::new();
    while let Some(client) = clients.join_next().await {
        for (status, count) in client?? {
            *answers.entry(status).or_default() += count;
        }
    }
    let expected = if revalidates { 304 } else { 200 };
    let good = answers.get(&expected).copied().unwrap_or_default();
    ensure!(answers.len() == 1 && good > 0, "unexpected answers: {answers:?}");
    Ok(json!({ "rows": rows, "per_second": good as f64 / REQUESTS.as_secs_f64() }))
}
