//! The live half of `make bench`: a backlog is drained, then records come at a steady rate, on Apache Kafka and
//! PostgreSQL on this machine.
//!
//! What is measured is what a reader sees: the time from the moment a record was sent until another connection has
//! read a frontier above the record. All ten results are in that transaction. On a *quiet* machine producer and reader
//! are light and in this process; on a *busy* one they are plain Python programs as users have them, which with the
//! broker take most of the two processors. The floors show what the machine does without the engine: the broker's
//! acknowledgements while a plain librdkafka consumer with the same fetch settings reads everything, and while nobody
//! does.
//!
//! Prints one JSON object a scenario and line. Usage: `live [--posts N] [--seconds S] [--warm-up S] [SCENARIO…]`; the
//! engine is `$PINFLOW_BINARY` or the binary beside this program, `$LIVE_PYTHON` a Python with confluent-kafka and
//! psycopg. `live consume BOOTSTRAP` is the plain consumer.
//!
//! `live http` measures the HTTP API of the engine instead: what a thousand clients of its event stream cost, and how many
//! requests it answers a second.

mod bench;
mod clients;
mod http;
mod machine;

use anyhow::{Context, Result};
use bench::{Bench, Clients, Consumer, Scenario, Settings};
use clients::{PARTITIONS, Wake};
use machine::NoAutogroups;
use pinflow_tests::workload::TOPICS;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;

const SCENARIOS: [Scenario; 8] = {
    const fn scenario(name: &'static str, consumer: Consumer, clients: Clients, rate: f64) -> Scenario {
        Scenario {
            name,
            consumer,
            clients,
            rate,
        }
    }
    const POLLING: Clients = Clients::Python(Wake::Poll);
    [
        scenario("quiet", Consumer::Engine("off"), Clients::Light, 10_000.0),
        scenario("busy", Consumer::Engine("off"), POLLING, 10_000.0),
        scenario(
            "busy-notify",
            Consumer::Engine("off"),
            Clients::Python(Wake::Notify),
            10_000.0,
        ),
        scenario("busy-3000", Consumer::Engine("off"), POLLING, 3_000.0),
        scenario("busy-3000-cleaned", Consumer::Engine("postgres"), POLLING, 3_000.0),
        scenario("busy-consumer", Consumer::Librdkafka, POLLING, 10_000.0),
        scenario("busy-nobody", Consumer::Nobody, POLLING, 10_000.0),
        scenario("idle", Consumer::Engine("off"), Clients::Light, 0.0),
    ]
};

fn settings(arguments: impl Iterator<Item = String>) -> Result<Settings> {
    let mut settings = Settings {
        posts: 1_000_000,
        seconds: 40,
        warm_up: 20,
        scenarios: Vec::new(),
    };
    let mut arguments = arguments;
    while let Some(argument) = arguments.next() {
        let mut number = || -> Result<u64> {
            let value = arguments.next().with_context(|| format!("{argument} needs a value"))?;
            Ok(value.parse()?)
        };
        match argument.as_str() {
            "--posts" => settings.posts = number()?,
            "--seconds" => settings.seconds = number()?,
            "--warm-up" => settings.warm_up = number()?,
            name => {
                let scenario = SCENARIOS.iter().find(|scenario| scenario.name == name);
                settings
                    .scenarios
                    .push(scenario.with_context(|| format!("unknown scenario {name}"))?);
            }
        }
    }
    if settings.scenarios.is_empty() {
        settings.scenarios = SCENARIOS.iter().collect();
    }
    Ok(settings)
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if_eq("consume").is_some() {
        return consume(&arguments.next().context("consume needs bootstrap servers")?);
    }
    if arguments.next_if_eq("http-client").is_some() {
        return http::client(arguments);
    }
    let http = arguments.next_if_eq("http").is_some();
    let settings = settings(arguments)?;
    let autogroups = NoAutogroups::new();
    let bench = Bench::start(settings)?;
    if http {
        let mut figures = http::measure(&bench)?;
        figures["autogroups_off"] = autogroups.are_off().into();
        println!("{figures}");
        return Ok(());
    }
    for (number, scenario) in (1..).zip(&bench.settings.scenarios) {
        let mut figures = bench.play(number, scenario)?;
        figures["autogroups_off"] = autogroups.are_off().into();
        println!("{figures}");
    }
    Ok(())
}

/// Reads everything that comes from now on and drops it, with the engine's fetch settings.
fn consume(bootstrap: &str) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "live-floor")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "5")
        .set("fetch.min.bytes", "100000")
        .create()?;
    let mut all = TopicPartitionList::new();
    for topic in TOPICS {
        for partition in 0..PARTITIONS {
            all.add_partition_offset(topic, partition, Offset::End)?;
        }
    }
    consumer.assign(&all)?;
    loop {
        if let Some(message) = consumer.poll(Duration::from_secs(1)) {
            message?;
        }
    }
}
