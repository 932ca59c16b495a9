//! The command line of pinflow: configuration, wiring, and everything around the engine.
//!
//! The way of a command: [`cli`] reads raw flags, [`config`] lays them over environment and file and checks them,
//! and only then does the command start. [`exit`] says what the exit codes mean.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod exit;
pub mod logging;

use cli::{CliError, Invocation, Verb};
use config::{ConfigError, Effective, LogSettings, Mode, RunSettings};
use exit::Failure;
use std::process::ExitCode;

/// Runs the command line of this process and returns its exit code.
pub fn main() -> ExitCode {
    let invocation = match cli::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(CliError::Clap(error)) => error.exit(),
        Err(CliError::Values(error)) => return report(error.into()),
    };
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
        Failure::Child(_) => {}
        other => eprintln!("error: {other}"),
    }
    failure.into()
}

/// The configuration of all sources together.
pub fn configuration(invocation: &Invocation) -> Result<Effective, ConfigError> {
    let environment = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Effective::load(invocation.config.as_deref(), environment, invocation.flags.clone())
}

fn execute(invocation: Invocation) -> Result<(), Failure> {
    let effective = configuration(&invocation)?;
    let log = LogSettings::check(&effective)?;
    match invocation.verb {
        Verb::ConfigCheck => {
            config::settings::check_all(&effective)?;
            println!("ok");
            Ok(())
        }
        Verb::ConfigPrint => {
            print!("{}", effective.print());
            Ok(())
        }
        Verb::Run => {
            let _settings = RunSettings::check(&effective, Mode::Run)?;
            logging::start(&log);
            // engine::run(_settings)
            Ok(())
        }
        _ => Ok(()),
    }
}
