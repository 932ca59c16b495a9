//! Checked settings of log lines.

use super::forms::check_level;
use super::layers::Effective;
use super::problem::ConfigError;
use super::reader::Reader;

/// How log lines look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// One JSON object a line instead of text.
    pub json: bool,
    /// Directives as `tracing_subscriber::EnvFilter` reads them.
    pub level: String,
}

impl LogSettings {
    /// Checks the settings of log lines.
    pub fn check(effective: &Effective) -> Result<LogSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let json = !reader.choice("log.format", ["text", "json"]);
        let level = reader.optional("log.level", check_level);
        let level = level.unwrap_or_else(|| "info".into());
        reader.done(LogSettings { json, level })
    }
}
