//! `run` and `backfill`: the engine, with what its process does for it: signals, panics, and everything that shows what
//! it does.

use crate::config::{BackfillSettings, RunSettings};
use crate::exit::Failure;
use crate::observe::Shown;
use crate::serve;
use crate::summary::Summary;
use crate::{panics, signals};
use anyhow::Context;
use engine::{Class, Handle, Observer, Options, Report, StopRequest};
use std::sync::Arc;

/// `run`: until it is stopped.
pub fn run(settings: RunSettings) -> Result<(), Failure> {
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
    let ended = execute(settings.engine, Arc::clone(&shown) as Arc<dyn Observer>);
    drop((server, shown));
    ended.map(drop)
}

/// `backfill`: up to the end of history.
pub fn backfill(settings: BackfillSettings) -> Result<(), Failure> {
    let shown = Arc::new(Shown::of_backfill(&settings));
    match (execute(settings.engine, shown)?, settings.summary) {
        (Some(report), Some(path)) => Ok(Summary::new(&report).write(&path)?),
        _ => Ok(()),
    }
}

/// The engine, to its end. A run that was asked to stop has not failed, and leaves no report.
fn execute(options: Options, observer: Arc<dyn Observer>) -> Result<Option<Report>, Failure> {
    let handle = Handle::default();
    panics::watch_run(handle.clone(), options.workers.addresses.clone());
    stop_on_signals(handle.clone());
    match engine::run(options, observer, handle) {
        Err(error) if error.class() == Class::Stopped => {
            tracing::info!("{}", causes::with_causes(&error));
            Ok(None)
        }
        ended => Ok(ended?),
    }
}

/// SIGTERM and Ctrl-C stop the run after a last commit, or at once while it waits for its other processes; a second
/// signal ends the process at once.
fn stop_on_signals(run: Handle) {
    let watched = signals::watch_signals(&signals::STOP, move |_, count| {
        if count > 1 {
            std::process::exit(signals::INTERRUPTED);
        }
        tracing::info!("stopping after a last commit");
        if run.stop() == StopRequest::NothingBegun {
            std::process::exit(crate::exit::DONE.into());
        }
    });
    if let Err(error) = watched {
        tracing::warn!(%error, "cannot watch for signals: the process will end without a last commit");
    }
}
