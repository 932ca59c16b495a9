//! Sends what the users' emulators send, to a gateway or to Kafka.
//!
//! The way of a record: a [`source`] makes or reads it, the [`sender`] waits for its time and keeps at it until it is
//! taken, an [`interface`] puts it into its own words, [`counts`] says what became of it. The emulator knows the
//! interfaces from outside alone: it shares no code with the gateway.

pub mod counts;
mod error;
pub mod interface;
pub mod item;
mod options;
pub mod python;
pub mod sender;
pub mod source;
pub mod stop;

pub use error::EmulateError;
pub use options::{Api, EmulateOptions, Source};

use crate::progress::ProgressStyle;
use counts::{Counts, Totals};
use interface::Destination;
use std::path::Path;
use std::sync::Arc;
use stop::{StopReason, StopSignal};
use tokio::sync::watch;

/// Records between the source and the senders.
const AHEAD: usize = 256;

/// Sends until the source ends, the time is over, or `signals` says that the end was asked for; prints the counts in
/// any case. The first signal lets records on their way be answered, the second one does not wait for them.
pub fn run(options: &EmulateOptions, signals: watch::Receiver<usize>) -> Result<(), EmulateError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(EmulateError::Runtime)?;
    let ended = runtime.block_on(send(options, signals));
    // a source may wait in a thread of its own for an answer that is not needed any more
    runtime.shutdown_background();
    ended
}

async fn send(options: &EmulateOptions, mut signals: watch::Receiver<usize>) -> Result<(), EmulateError> {
    let destinations: Vec<_> = Destination::open(options)?.into_iter().map(Arc::new).collect();
    let counts = Arc::new(Counts::default());
    let stop = StopSignal::default();
    let mut source_error = None;
    let (out, items) = tokio::sync::mpsc::channel(AHEAD);
    let display = counts::show(Arc::clone(&counts), ProgressStyle::for_terminal(), options.posts);
    let shown = tokio::spawn(display);
    // a source that still reads when sending has ended is left; one that has ended closes the channel
    let source = async {
        if let Err(error) = source::run(options, out).await {
            source_error = Some(error);
            stop.stop(StopReason::SourceFailed);
        }
        std::future::pending::<()>().await
    };
    let sending = sender::run(options, items, &destinations, Arc::clone(&counts), stop.clone());
    let second_signal = async {
        for count in 1..=2 {
            if signals.wait_for(|signals| *signals >= count).await.is_err() {
                // no signal can come any more
                std::future::pending::<()>().await;
            }
            stop.stop(StopReason::Requested);
        }
    };
    tokio::select! {
        () = source => {}
        () = sending => {}
        () = second_signal => {}
    }
    shown.abort();
    let _ = shown.await;
    report(&counts.totals(), options.summary.as_deref())?;
    match (stop.reason(), source_error) {
        (Some(StopReason::SourceFailed), Some(error)) => return Err(error.into()),
        (Some(StopReason::DeliveryFailed(why)), _) => return Err(EmulateError::Delivery(why)),
        _ => {}
    }
    match counts.refusals() {
        // dirty records are sent to be refused
        Some((count, first)) if options.dirty == 0.0 => Err(EmulateError::Refused { count, first }),
        _ => Ok(()),
    }
}

/// The counts as JSON: on standard output, and into a file.
fn report(totals: &Totals, file: Option<&Path>) -> Result<(), EmulateError> {
    let mut text = serde_json::to_string_pretty(totals).expect("counts are JSON");
    println!("{text}");
    if let Some(file) = file {
        text.push('\n');
        let temporary = file.with_extension("json.tmp");
        std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, file))
            .map_err(|source| EmulateError::Summary {
                path: file.to_owned(),
                source,
            })?;
    }
    Ok(())
}
