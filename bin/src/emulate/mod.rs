//! `pinflow emulate`: sends what the users' emulators send, to a gateway or to Kafka.
//!
//! The way of a record: a [`source`] makes or reads it, the [`sender`] waits for its time and keeps at it until it is
//! taken, a [`target`] puts it into the words of one interface, [`counts`] says what became of it. The command knows
//! the interfaces from outside alone: it shares no code with the gateway.

pub mod counts;
pub mod item;
pub mod python;
pub mod sender;
pub mod source;
pub mod target;

use crate::config::EmulateSettings;
use crate::progress::Manner;
use anyhow::{Context, Result, bail};
use counts::{Counts, Outcome};
use sender::{Halt, Switch};
use std::path::Path;
use std::sync::Arc;
use target::Target;
use tokio::signal::unix::{SignalKind, signal};

/// Records between the source and the senders.
const AHEAD: usize = 256;

/// Sends until the source ends, the time is over, or a signal asks for the end; prints the counts in any case.
pub fn run(settings: &EmulateSettings) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("starting the emulator's threads")?;
    let outcome = runtime.block_on(send(settings));
    // a source may wait in a thread of its own for an answer that nobody needs any more
    runtime.shutdown_background();
    outcome
}

async fn send(settings: &EmulateSettings) -> Result<()> {
    let targets: Vec<_> = Target::open(settings)?.into_iter().map(Arc::new).collect();
    let counts = Arc::new(Counts::default());
    let switch = Switch::default();
    let (out, items) = tokio::sync::mpsc::channel(AHEAD);
    let shown = tokio::spawn(counts::show(Arc::clone(&counts), Manner::of_terminal(), settings.posts));
    // a source that still reads when sending has ended is left; one that has ended closes the channel
    let source = async {
        if let Err(error) = source::run(settings, out).await {
            switch.halt(Halt::Failed(format!("{error:#}")));
        }
        std::future::pending::<()>().await
    };
    let sending = sender::run(settings, items, &targets, Arc::clone(&counts), switch.clone());
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let signals = async {
        for _ in 0..2 {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            // a second one does not wait for what is on its way
            switch.halt(Halt::Asked);
        }
    };
    tokio::select! {
        () = source => {}
        () = sending => {}
        () = signals => {}
    }
    shown.abort();
    let _ = shown.await;
    let outcome = counts.outcome();
    report(&outcome, settings.summary.as_deref())?;
    if let Some(Halt::Failed(why)) = switch.halted() {
        bail!(why);
    }
    match counts.refusals() {
        // dirty records are sent to be refused
        Some((refused, first)) if settings.dirty == 0.0 => {
            bail!("{refused} records were refused, the first with {first}")
        }
        _ => Ok(()),
    }
}

/// The counts as JSON: on standard output, and into a file.
fn report(outcome: &Outcome, file: Option<&Path>) -> Result<()> {
    let mut text = serde_json::to_string_pretty(outcome)?;
    println!("{text}");
    if let Some(file) = file {
        text.push('\n');
        let temporary = file.with_extension("json.tmp");
        std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, file))
            .with_context(|| format!("cannot write the summary {}", file.display()))?;
    }
    Ok(())
}
