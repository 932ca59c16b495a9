//! `pinflow status`: asks a run for `/api/status` and prints the answer, once or every second.

mod ask;
mod table;

pub(crate) use ask::Run;
pub(crate) use table::{duration, grouped};

use crate::config::StatusSettings;
use crate::exit::Failure;
use crate::signals;
use anyhow::Context;
use api::StatusBody;
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::sync::watch;

/// How often the status is printed again.
const EVERY: Duration = Duration::from_secs(1);
/// Moves the cursor to the first line and clears what is below.
const HOME: &str = "\x1b[H\x1b[J";

/// Prints the status, again and again with `--watch`, until Ctrl-C.
pub fn run(settings: &StatusSettings) -> Result<(), Failure> {
    let token = settings
        .token_file
        .as_deref()
        .map(workload::emulate::interface::http::bearer);
    let token = token.transpose().map_err(anyhow::Error::from)?;
    let run = Run::new(settings.address, token);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting a runtime")?;
    let (json, terminal) = (settings.json, std::io::stdout().is_terminal());
    if !settings.watch {
        let answer = runtime.block_on(run.ask())?;
        // the reader of standard output may be gone
        let _ = print(&text(&answer, json)?);
        return Ok(());
    }
    let stop = signals::watch_signals(&signals::STOP, |_, _| {}).context("cannot wait for signals")?;
    let clear = if terminal && !json { HOME } else { "" };
    Ok(runtime.block_on(watch_run(&run, stop, json, clear))?)
}

async fn watch_run(run: &Run, mut stop: watch::Receiver<usize>, json: bool, clear: &str) -> anyhow::Result<()> {
    loop {
        let answer = tokio::select! {
            answer = run.ask() => answer?,
            _ = stop.changed() => return Ok(()),
        };
        if print(&format!("{clear}{}", text(&answer, json)?)).is_err() {
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            _ = stop.changed() => return Ok(()),
        }
    }
}

/// What is printed of an answer.
fn text(answer: &[u8], json: bool) -> anyhow::Result<String> {
    if json {
        return Ok(format!("{}\n", String::from_utf8_lossy(answer).trim_end()));
    }
    let body: StatusBody = serde_json::from_slice(answer).context("the answer of the run is no status")?;
    Ok(table::of(&body))
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
