//! Log lines on standard error, as text or as one JSON object each. Standard output is for results alone.

use crate::config::LogSettings;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;
use workload::progress::BarAwareStderr;

/// What the libraries say by themselves before they return the same as an error, with pages of their internals: our own
/// line says it in one sentence. A level that names the target brings them back.
const QUIET: &str = "aws_config=error";

/// Starts logging; the second call in a process changes nothing.
pub fn start(settings: &LogSettings) {
    let level = EnvFilter::try_new(&settings.level).map_or("info", |_| &settings.level);
    let filter = EnvFilter::new(format!("{QUIET},{level}"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(BarAwareStderr::default);
    // a second start (tests, the demo) finds a subscriber in place, which is fine
    let _ = if settings.json {
        builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .try_init()
    } else {
        builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .try_init()
    };
}
