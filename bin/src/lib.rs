//! The command line of pinflow: configuration, and the commands around the engine.
//!
//! ```text
//!  flags ───────┐
//!  environment ─┼─▶ layers ──▶ settings of one command ──▶ engine::run, gateway, archive, verify, …
//!  file ────────┘      (config)          (checked)                     │
//!                                               metrics, health, progress ◀─ observe
//! ```
//!
//! [`cli`] parses raw flags, [`config`] lays them over environment and file and checks them, and only then does a command
//! start. [`exit`] defines the exit codes.

#![forbid(unsafe_code)]

pub mod archive;
pub mod audit;
pub mod cli;
pub mod command_line;
pub mod compact;
pub mod config;
pub mod demo;
pub mod exit;
pub mod explain;
pub mod gateway;
pub mod health;
mod lake;
pub mod launch;
pub mod logging;
pub mod metrics;
pub mod observe;
mod open_files;
pub mod panics;
pub mod results;
pub mod serve;
pub mod signals;
pub mod stages;
pub mod summary;
pub mod verify;

use anyhow::Context;
use cli::{CliError, Invocation, Verb};
use config::{
    ArchiveSettings, AuditSettings, BackfillSettings, CompactSettings, ConfigError, DemoSettings, GatewaySettings,
    LaunchSettings, LogSettings, PlanSettings, RunSettings, VerifySettings,
};
use engine::{Class, EngineError};
use exit::Failure;
use observe::Shown;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use summary::Summary;

/// Runs the command line of this process and returns its exit code.
pub fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(CliError::Clap(error)) => return ExitCode::from(cli::print(&error)),
        Err(CliError::Values(error)) => return report(error.into()),
    };
    panics::install();
    match std::panic::catch_unwind(|| execute(invocation)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => report(failure),
        // the panic hook has already said what happened and where
        Err(_) => ExitCode::from(exit::FAILED),
    }
}

fn report(failure: Failure) -> ExitCode {
    match &failure {
        Failure::Usage(ConfigError(problems)) => problems.iter().for_each(|problem| eprintln!("error: {problem}")),
        Failure::Silent(_) => {}
        other => eprintln!("error: {other}"),
    }
    failure.into()
}

fn execute(invocation: Invocation) -> Result<(), Failure> {
    launch::follow_supervisor();
    let effective = config::load(invocation.config.as_deref(), invocation.flags.clone())?;
    let log = LogSettings::check(&effective)?;
    let start_logging = || {
        logging::start(&log);
        command_line::warn_of_secrets(&invocation.flags);
    };
    // settings are checked before logging starts, and logging starts before any work does
    match invocation.verb {
        Verb::ConfigCheck => {
            config::check_all(&effective)?;
            println!("ok");
        }
        Verb::ConfigPrint => print!("{}", effective.print()),
        Verb::ResultsCheck { results } => results::check(results.as_deref())?,
        Verb::ResultsExplain { name, results, top } => {
            let options = dataflows::Options { top };
            explain::explain(&name, results.as_deref(), &options)?;
        }
        Verb::ResultsPlan => {
            let settings = PlanSettings::check(&effective)?;
            start_logging();
            results::plan(&settings)?;
        }
        Verb::ResultsPrint { out } => results::print(&out)?,
        Verb::Run => {
            let settings = RunSettings::check(&effective)?;
            start_logging();
            run(settings)?;
        }
        Verb::Backfill => {
            let settings = BackfillSettings::check(&effective)?;
            start_logging();
            backfill(settings)?;
        }
        Verb::Verify => {
            let settings = VerifySettings::check(&effective)?;
            start_logging();
            verify::run(&settings)?;
        }
        Verb::Generate => {
            let options = config::generate_options(&effective)?;
            start_logging();
            let began = Instant::now();
            let written = workload::generate::write(&options)?;
            let (records, objects, bytes) = (written.records, written.objects, written.bytes);
            let seconds = began.elapsed().as_secs_f64();
            println!("wrote {records} records in {objects} objects, {bytes} bytes, in {seconds:.1} s");
        }
        Verb::Demo => {
            let settings = DemoSettings::check(&effective)?;
            start_logging();
            demo::run(&settings)?;
        }
        Verb::Emulate => {
            let options = config::emulate_options(&effective)?;
            start_logging();
            let signals = signals::watch_signals(&signals::STOP, |_, _| {}).map_err(anyhow::Error::from)?;
            workload::emulate::run(&options, signals)?;
        }
        Verb::Gateway => {
            let settings = GatewaySettings::check(&effective)?;
            start_logging();
            gateway::run(settings)?;
        }
        Verb::Archive => {
            let settings = ArchiveSettings::check(&effective)?;
            start_logging();
            archive::run(&settings)?;
        }
        Verb::Compact => {
            let settings = CompactSettings::check(&effective)?;
            start_logging();
            compact::run(&settings)?;
        }
        Verb::Audit => {
            let settings = AuditSettings::check(&effective)?;
            start_logging();
            audit::run(&settings)?;
        }
        Verb::Launch { command } => {
            let settings = LaunchSettings::check(&effective)?;
            start_logging();
            launch::run(&command, settings.processes, settings.threads)?;
        }
    }
    Ok(())
}

/// `run`: the engine with everything that shows what it does.
fn run(settings: RunSettings) -> Result<(), Failure> {
    let api = serve::api_of(&settings).context("cannot start the API")?;
    let shown = Arc::new(Shown::of_run(&settings, api.clone()));
    let server = match &settings.serve {
        Some(serve) => {
            let api = api.ok_or("this process serves no results: process 0 of the run does");
            let parts = (Arc::clone(&shown.metrics), Arc::clone(&shown.health), api);
            Some(serve::start(serve, parts)?)
        }
        None => None,
    };
    let ended = engine::run(settings.engine, Arc::clone(&shown) as Arc<dyn engine::Observer>);
    drop((server, shown));
    unless_stopped(ended).map(drop)
}

/// `backfill`: the engine up to the end of history.
fn backfill(settings: BackfillSettings) -> Result<(), Failure> {
    let shown = Arc::new(Shown::of_backfill(&settings));
    let ended = engine::run(settings.engine, shown);
    match (unless_stopped(ended)?, settings.summary) {
        (Some(report), Some(path)) => Ok(Summary::new(&report).write(&path)?),
        _ => Ok(()),
    }
}

/// A run that was asked to stop has not failed.
fn unless_stopped(ended: Result<Option<engine::Report>, EngineError>) -> Result<Option<engine::Report>, Failure> {
    match ended {
        Err(error) if error.class() == Class::Stopped => {
            tracing::info!("{error}");
            Ok(None)
        }
        ended => Ok(ended?),
    }
}
