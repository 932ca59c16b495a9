//! The gateway as its clients see it, before a real Kafka: every interface to the byte, users' own scripts, its
//! bounds, and what stays true when something breaks.

mod aws;
mod basic;
mod budget;
mod calls;
mod clients;
mod crowd;
mod drain;
mod faults;
mod gzip;
mod http;
mod kinesis_api;
mod limits;
mod names;
mod paths;
mod pressure;
mod refusals;
mod sites;
mod tokens;
mod waiting;
mod wire;

use anyhow::{Context, Result};
use pinflow_tests::{Kafka, Pinflow, Program, eventually};
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(60);

/// A broker for all tests that leave it alone; its guard ends it with this process.
fn kafka() -> Result<&'static Kafka> {
    static STARTING: Mutex<()> = Mutex::new(());
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    let _one = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(kafka) = KAFKA.get() {
        return Ok(kafka);
    }
    let started = Kafka::start()?;
    Ok(KAFKA.get_or_init(|| started))
}

/// A gateway that runs.
struct Gateway {
    program: Program,
    at: SocketAddr,
}

impl Gateway {
    fn start(kafka: &Kafka, arguments: &[&str]) -> Result<Gateway> {
        let gateway = Pinflow::new("gateway")
            .kafka(kafka)
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments);
        Gateway::launch(&gateway)
    }

    /// Starts one with this topic of geo records and these lines in `[gateway]`; the folder holds its file.
    fn configured(kafka: &Kafka, topic: &str, settings: &str, arguments: &[&str]) -> Result<(Gateway, TempDir)> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("gateway.toml");
        let text = format!("[kafka.topics]\ngeo = \"{topic}\"\n[gateway]\n{settings}");
        std::fs::write(&file, text)?;
        let file = ["--config", file.to_str().context("a path")?];
        Ok((Gateway::start(kafka, &[&file, arguments].concat())?, folder))
    }

    /// Starts it and waits until it is ready.
    fn launch(command: &Pinflow) -> Result<Gateway> {
        let gateway = Gateway::launch_unready(command)?;
        eventually("the gateway's readiness", SOON, || {
            Ok(http::ask(gateway.at, "GET /readyz", &[], "")?.status == 200)
        })?;
        Ok(gateway)
    }

    fn launch_unready(command: &Pinflow) -> Result<Gateway> {
        let mut program = command.start()?;
        let line = program.wait_for("listening on http", SOON)?;
        let at = line.rsplit_once("://").context("an address")?.1.trim().parse()?;
        Ok(Gateway { program, at })
    }

    fn ask(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Result<http::Answer> {
        http::ask(self.at, line, headers, body)
    }

    /// SIGTERM, and exit code 0.
    fn end(mut self) -> Result<String> {
        self.program.terminate()?;
        self.program.expect(0, SOON)?;
        Ok(self.program.stdout())
    }

    fn metric(&self, name: &str) -> Result<f64> {
        self.metric_with(&[], name)
    }

    /// The same where a token is needed.
    fn metric_as(&self, token: &str, name: &str) -> Result<f64> {
        self.metric_with(&[("x-api-key", token)], name)
    }

    fn metric_with(&self, headers: &[(&str, &str)], name: &str) -> Result<f64> {
        let text = self.ask("GET /metrics", headers, "")?.body;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .with_context(|| format!("{name} in {text}"))?;
        Ok(line.trim().parse()?)
    }
}
