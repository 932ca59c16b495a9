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
pub mod bridge;
pub mod cli;
pub mod command_line;
pub mod compact;
pub mod config;
mod delete_line;
pub mod demo;
pub mod exit;
pub mod explain;
pub mod export;
pub mod gateway;
pub mod health;
mod lake;
pub mod launch;
pub mod logging;
pub mod metrics;
pub mod observe;
mod open_files;
mod output;
pub mod panics;
pub mod restore;
pub mod results;
pub mod run;
pub mod serve;
pub mod signals;
pub mod stages;
pub mod status;
pub mod summary;

use cli::{CliError, Invocation, Verb};
use config::{
    ArchiveSettings, AuditSettings, BackfillSettings, BridgeSettings, CompactSettings, ConfigError, DemoSettings,
    ExportSettings, GatewaySettings, LaunchSettings, LogSettings, PlanSettings, RestoreSettings, RunSettings,
    StatusSettings,
};
use exit::Failure;
use std::process::ExitCode;
use std::time::Instant;
use verify::Finding;

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
        other => eprintln!("error: {}", causes::with_causes(other)),
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
            output::print("ok\n")?;
        }
        Verb::ConfigPrint => output::print(effective.print())?,
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
            run::run(settings)?;
        }
        Verb::Backfill => {
            let settings = BackfillSettings::check(&effective)?;
            start_logging();
            run::backfill(settings)?;
        }
        Verb::Verify => {
            let options = config::verify_options(&effective)?;
            start_logging();
            verify(&options)?;
        }
        Verb::Generate => {
            let options = config::generate_options(&effective)?;
            start_logging();
            let began = Instant::now();
            let written = workload::generate::write(&options)?;
            let (records, objects, bytes) = (written.records, written.objects, written.bytes);
            let seconds = began.elapsed().as_secs_f64();
            output::print(format_args!(
                "wrote {records} records in {objects} objects, {bytes} bytes, in {seconds:.1} s\n"
            ))?;
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
        Verb::Bridge => {
            let settings = BridgeSettings::check(&effective)?;
            start_logging();
            bridge::run(settings)?;
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
        Verb::Export => {
            let settings = ExportSettings::check(&effective)?;
            start_logging();
            export::run(settings)?;
        }
        Verb::Restore => {
            let settings = RestoreSettings::check(&effective)?;
            start_logging();
            restore::run(&settings)?;
        }
        Verb::Status => {
            let settings = StatusSettings::check(&effective)?;
            start_logging();
            status::run(&settings)?;
        }
        Verb::Launch { command } => {
            let settings = LaunchSettings::check(&effective)?;
            start_logging();
            launch::run(&command, settings.processes, settings.threads)?;
        }
    }
    Ok(())
}

/// `verify`: what is found is printed at once, the log's gaps where errors go.
fn verify(options: &verify::Options) -> Result<(), Failure> {
    let mut printed = Ok(());
    let report = verify::run(options, &mut |finding| match finding {
        Finding::Gap(_) => eprint!("{finding}"),
        _ if printed.is_ok() => printed = output::print(finding),
        _ => {}
    })?;
    printed?;
    output::print(&report)?;
    Ok(report.check()?)
}
