//! Log lines on standard error, as text or as one JSON object each. Standard output is for results alone.

use crate::config::LogSettings;
use api::LoggedError;
use std::fmt;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::FilterFn;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt as lines};
use workload::progress::BarAwareStderr;

/// What the libraries say by themselves before they return the same as an error, with pages of their internals: our own
/// line says it in one sentence. A level that names the target brings them back.
const QUIET: &str = "aws_config=error";

/// The crates whose warnings are errors of Kafka, the lake or PostgreSQL that are waited out.
const SOURCES: [&str; 3] = ["engine", "ingest", "sinks"];

/// Characters kept of an error.
const ERROR_CHARS: usize = 500;

static LAST_ERROR: Mutex<Option<LoggedError>> = Mutex::new(None);

/// Starts logging; the second call in a process changes nothing.
pub fn start(settings: &LogSettings) {
    let level = EnvFilter::try_new(&settings.level).map_or("info", |_| &settings.level);
    let filter = EnvFilter::new(format!("{QUIET},{level}"));
    let lines = lines::layer().with_writer(BarAwareStderr::default);
    // what is remembered does not depend on what is printed
    let errors = RememberErrors.with_filter(FilterFn::new(is_error));
    let registry = tracing_subscriber::registry().with(errors);
    // a second start (tests, the demo) finds a subscriber in place, which is fine
    let _ = if settings.json {
        let lines = lines
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false);
        registry.with(lines.with_filter(filter)).try_init()
    } else {
        let lines = lines.with_ansi(std::io::stderr().is_terminal()).with_target(false);
        registry.with(lines.with_filter(filter)).try_init()
    };
}

/// The last error that was logged since the process began.
pub fn last_error() -> Option<LoggedError> {
    LAST_ERROR.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Errors, and the warnings of the crates that talk to servers.
fn is_error(metadata: &Metadata<'_>) -> bool {
    let source = metadata.target().split("::").next().unwrap_or_default();
    match *metadata.level() {
        Level::ERROR => true,
        Level::WARN => SOURCES.contains(&source),
        _ => false,
    }
}

/// Remembers the last error.
struct RememberErrors;

impl<S: Subscriber> Layer<S> for RememberErrors {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let error = LoggedError {
            at: SystemTime::now(),
            message: text.line(),
        };
        *LAST_ERROR.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// The message of a log line, and its fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn line(self) -> String {
        (self.message + &self.fields).chars().take(ERROR_CHARS).collect()
    }
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields += &format!(" {name}={value:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_warnings_about_servers_are_remembered() {
        let errors = RememberErrors.with_filter(FilterFn::new(is_error));
        let subscriber = tracing_subscriber::registry().with(errors);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "pinflow::command_line", "a password on the command line");
            assert_eq!(last_error(), None);
            tracing::warn!(target: "sinks::connect", attempt = 3, error = "refused", "cannot connect");
            assert_eq!(
                last_error().unwrap().message,
                "cannot connect attempt=3 error=\"refused\""
            );
            tracing::info!(target: "sinks::connect", "connected");
            tracing::error!("{}", "x".repeat(2 * ERROR_CHARS));
            assert_eq!(last_error().unwrap().message.len(), ERROR_CHARS);
        });
    }
}
