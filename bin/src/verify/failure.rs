//! How the command fails.

use crate::config::ConfigError;
use crate::exit::Failure;

/// The tables, the log or a server are at fault.
pub fn failed(text: impl std::fmt::Display) -> Failure {
    Failure::Failed(anyhow::anyhow!("{text}"))
}

/// What the command was given is at fault.
pub fn usage(text: impl Into<String>) -> Failure {
    ConfigError::one(text).into()
}
