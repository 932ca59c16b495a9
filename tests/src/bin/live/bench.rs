//! The servers with a backlog in the log, and the measurement of one scenario on them.

use super::clients::{self, Load, PARTITIONS, Place, Python, Reader, Seen, Sent, Wake};
use super::machine::{self, cpu_seconds, cpu_seconds_with_children};
use anyhow::{Context, Result, ensure};
use pinflow_tests::workload::TOPICS;
use pinflow_tests::{Database, Kafka, Message, Pinflow, Postgres, Producer, Program, eventually, postgres, root};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use workload::generate::{Generator, partition_of};

const SEED: u64 = 7;

/// Who consumes what is produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consumer {
    /// The engine, with this `--cleaned`.
    Engine(&'static str),
    /// A plain librdkafka consumer.
    Librdkafka,
    /// No consumer.
    Nobody,
}

/// Who produces and reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Threads of this process.
    Light,
    /// Python programs.
    Python(Wake),
}

/// What is measured.
pub struct Scenario {
    pub name: &'static str,
    pub consumer: Consumer,
    pub clients: Clients,
    /// Records a second.
    pub rate: f64,
}

/// How much and how long.
pub struct Settings {
    pub posts: u64,
    pub seconds: u64,
    /// What the first seconds show is not counted: caches are cold, the consumer has just caught up, and the broker's
    /// JVM is still compiling what it does, on the processors that everything shares.
    pub warm_up: u64,
    pub scenarios: Vec<&'static Scenario>,
}

/// Ends its process when dropped.
struct Floor(Child);

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The servers, with the backlog in the log.
pub struct Bench {
    pub settings: Settings,
    kafka: Kafka,
    pub postgres: Postgres,
    python: Python,
    _folder: tempfile::TempDir,
}

impl Bench {
    pub fn start(settings: Settings) -> Result<Bench> {
        let kafka = Kafka::start_measured(&[("log.segment.bytes", "268435456")])?;
        let postgres = postgres()?;
        for topic in TOPICS {
            kafka.create_topic(topic, PARTITIONS, &[])?;
        }
        eprintln!("producing the backlog");
        let backlog = Producer::with(&kafka.bootstrap(), &[("linger.ms", "20"), ("batch.size", "1000000")])?;
        let generator = Generator::new(SEED).posts(settings.posts).duplicates(0.05);
        for record in generator.records() {
            let key = record.ind.to_string();
            let message = Message {
                partition: Some(partition_of(record.ind, PARTITIONS)),
                key: Some(key.as_bytes()),
                value: Some(&record.json),
            };
            backlog.send(TOPICS[record.kind as usize], message)?;
        }
        backlog.flush()?;
        let folder = tempfile::tempdir()?;
        let python = Python {
            python: std::env::var_os("LIVE_PYTHON").map_or_else(|| root().join(".cache/venv/bin/python"), Into::into),
            script: root().join("tests/bench/live_clients.py"),
            folder: folder.path().to_owned(),
        };
        Ok(Bench {
            settings,
            kafka,
            postgres,
            python,
            _folder: folder,
        })
    }

    /// The next offset of every partition.
    pub fn ends(&self) -> Result<BTreeMap<Place, i64>> {
        let mut ends = BTreeMap::new();
        for topic in TOPICS {
            for partition in 0..PARTITIONS {
                let (_, high) = self.kafka.watermarks(topic, partition)?;
                ends.insert(format!("{topic}/{partition}"), high);
            }
        }
        Ok(ends)
    }

    pub fn play(&self, number: u64, scenario: &Scenario) -> Result<Value> {
        let before = self.ends()?;
        let mut figures = json!({
            "scenario": scenario.name,
            "rate": scenario.rate,
            "posts": self.settings.posts,
            "seconds": self.settings.seconds,
            "warm_up_seconds": self.settings.warm_up,
        });
        let database = Database::connect(&self.postgres.url())?;
        database.run("DROP SCHEMA IF EXISTS pinflow CASCADE")?;
        let (mut engine, mut floor) = (None, None);
        match scenario.consumer {
            Consumer::Engine(cleaned) => {
                let records = before.values().sum();
                engine = Some(self.drain(&["--cleaned", cleaned], records, &mut figures)?);
            }
            Consumer::Librdkafka => {
                let mut command = Command::new(std::env::current_exe()?);
                command.args(["consume", &self.kafka.bootstrap()]).stdin(Stdio::null());
                floor = Some(Floor(command.spawn()?));
            }
            Consumer::Nobody => {}
        }
        let load = self.load(number, scenario.clients, scenario.rate)?;
        // what was written is written back now, and not in the middle of what is measured
        rustix::fs::sync();
        std::thread::sleep(Duration::from_secs(2));

        let consumer = engine
            .as_ref()
            .map(Program::pid)
            .or(floor.as_ref().map(|floor| floor.0.id()));
        let reader = match (&engine, scenario.clients) {
            (None, _) => None,
            (Some(_), Clients::Light) => Some(Reader::light(&self.postgres.url())?),
            (Some(_), Clients::Python(wake)) => Some(self.python.read(&self.postgres.url(), wake)?),
        };
        eprintln!("{}: {} records/s", scenario.name, scenario.rate);
        let (sent, used) = std::thread::scope(|scope| {
            let meter = scope.spawn(|| self.meter(consumer, engine.is_some()));
            let sent = load.run()?;
            let used = meter.join().map_err(|_| anyhow::anyhow!("the meter panicked"))??;
            anyhow::Ok((sent, used))
        })?;
        figures["cores"] = used.cores;
        figures["commits_per_second"] = used.commits.into();

        let from = used.from;
        let counted = |at: f64| at >= from;
        let acks = sent.acks.iter().filter(|(at, _)| counted(*at));
        figures["ack_ms"] = quantiles(acks.map(|(_, took)| took * 1e3).collect());
        if let Some(reader) = reader {
            let total: i64 = self.ends()?.values().sum();
            self.wait_for_frontier(&mut engine, total)?;
            std::thread::sleep(Duration::from_millis(500));
            let seen = reader.seen()?;
            figures["visible_ms"] = quantiles(visible(&sent, &before, &seen, counted)?);
        }
        if let Some(mut engine) = engine {
            engine.terminate()?;
            engine.expect(0, Duration::from_secs(60))?;
        }
        Ok(figures)
    }

    /// What the load of this number, from 1, produces, ready to go.
    pub fn load(&self, number: u64, clients: Clients, rate: f64) -> Result<Load> {
        let seconds = self.settings.seconds + self.settings.warm_up;
        let count = (rate * seconds as f64) as usize;
        if count == 0 {
            return Ok(Load::Nothing(Duration::from_secs(seconds)));
        }
        // new posts, and of some a second copy; a record is one post at most
        let first = self.settings.posts + number * 1_000_000;
        let generator = Generator::new(SEED).starting_at(first).duplicates(0.05);
        let (bootstrap, records) = (self.kafka.bootstrap(), generator.records().take(count));
        match clients {
            Clients::Light => Ok(Load::Light(bootstrap, Box::new(records), rate)),
            Clients::Python(_) => self.python.load(&bootstrap, records, rate),
        }
    }

    /// Starts the engine and waits until it has read this many records.
    pub fn drain(&self, arguments: &[&str], records: i64, figures: &mut Value) -> Result<Program> {
        let began = Instant::now();
        let run = Pinflow::new("run").kafka(&self.kafka).postgres(&self.postgres);
        let mut engine = Some(run.args(arguments).start()?);
        self.wait_for_frontier(&mut engine, records)?;
        let engine = engine.context("it was started")?;
        let (took, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds(engine.pid())?);
        figures["backlog_records"] = records.into();
        figures["drain_records_per_second"] = (records as f64 / took).into();
        figures["drain_records_per_cpu_second"] = (records as f64 / cpu).into();
        figures["resident_bytes"] = engine.memory()?.0.into();
        Ok(engine)
    }

    fn wait_for_frontier(&self, engine: &mut Option<Program>, records: i64) -> Result<()> {
        let database = Database::connect(&self.postgres.url())?;
        let total = "SELECT coalesce(sum(next_offset), 0)::bigint FROM pinflow.frontier";
        eventually("the end of the log", Duration::from_secs(1_200), || {
            if let Some(engine) = engine {
                ensure!(engine.is_running()?, "the run has ended:\n{}", engine.tail());
            }
            let there = database.value("SELECT to_regclass('pinflow.frontier')")?.is_some();
            Ok(there && database.number(total)? >= records)
        })
    }

    /// What is used from the end of the warm-up to shortly before the end.
    fn meter(&self, consumer: Option<u32>, engine: bool) -> Result<Used> {
        let database = Database::connect(&self.postgres.url())?;
        let backend = u32::try_from(database.number("SELECT pg_backend_pid()::bigint")?)?;
        let postmaster = machine::parent(backend)?;
        let broker = self.kafka.pid().context("Kafka runs")?;
        let read = || -> Result<[f64; 3]> {
            let consumer = consumer.map(cpu_seconds).transpose()?.unwrap_or_default();
            Ok([consumer, cpu_seconds(broker)?, cpu_seconds_with_children(postmaster)?])
        };
        let commits = || {
            if engine {
                database.number("SELECT commits FROM pinflow.progress")
            } else {
                Ok(0)
            }
        };
        std::thread::sleep(Duration::from_secs(self.settings.warm_up));
        let (began, from, first, before) = (Instant::now(), clients::now(), commits()?, read()?);
        std::thread::sleep(Duration::from_secs(self.settings.seconds.saturating_sub(1)));
        let (after, last, took) = (read()?, commits()?, began.elapsed().as_secs_f64());
        let cores = |of: usize| (after[of] - before[of]) / took;
        Ok(Used {
            from,
            cores: json!({"consumer": cores(0), "kafka": cores(1), "postgres": cores(2)}),
            commits: (last - first) as f64 / took,
        })
    }
}

struct Used {
    /// When counting began.
    from: f64,
    cores: Value,
    commits: f64,
}

/// Milliseconds from sending until a reader had read a frontier above the record.
fn visible(sent: &Sent, before: &BTreeMap<Place, i64>, seen: &Seen, counted: impl Fn(f64) -> bool) -> Result<Vec<f64>> {
    let mut visible = Vec::new();
    for (place, times) in &sent.times {
        let first = before[place];
        for (offset, at) in (first..).zip(times).filter(|(_, at)| counted(**at)) {
            // frontiers only grow: the first that has passed the record
            let passed = seen.partition_point(|(_, frontier)| frontier.get(place).is_none_or(|next| *next <= offset));
            let (when, _) = seen.get(passed).context("a record was never visible")?;
            visible.push((when - at) * 1e3);
        }
    }
    Ok(visible)
}

/// `{"p50": …, "p95": …, "p99": …, "max": …, "curve": [[share, value]…]}`; null of nothing.
pub fn quantiles(mut values: Vec<f64>) -> Value {
    if values.is_empty() {
        return Value::Null;
    }
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    // evenly on the scale of nines, which is how the tail is drawn
    let shares = (0..=90).map(|step| 1.0 - 10f64.powf(-f64::from(step) / 30.0));
    let curve: Vec<[f64; 2]> = shares.map(|share| [share, at(share)]).collect();
    json!({"p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": at(1.0), "curve": curve})
}
