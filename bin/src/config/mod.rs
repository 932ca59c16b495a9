//! From raw flags, environment and file to checked settings, before any work starts.
//!
//! [`keys`] names every setting once; [`layers`] lays the sources over one another; [`settings`] checks the result
//! and is all that the rest of the program sees. Every error names the key, where it stands, and the nearest name
//! that exists. Nothing here opens a connection.

mod archive;
pub mod emulate;
mod forms;
pub mod frontier;
mod gateway;
pub mod keys;
pub mod layers;
pub mod problem;
mod reader;
pub mod secret;
mod serve;
pub mod settings;
pub mod sql_files;

pub use archive::{ArchiveSettings, AuditSettings, CompactSettings};
pub use emulate::EmulateSettings;
pub use frontier::Frontier;
pub use gateway::GatewaySettings;
pub use layers::Effective;
pub use problem::{ConfigError, Origin, Problem};
pub use secret::Secret;
pub use serve::ServeSettings;
pub use settings::{
    DemoSettings, GenerateSettings, KINDS, KafkaSettings, LakeSettings, LaunchSettings, LimitSettings, LogSettings,
    Mode, PlanSettings, PostgresSettings, RunSettings, VerifySettings, WorkerSettings,
};

use layers::Entries;
use std::path::Path;

/// The configuration of all sources together: flags over environment over file over defaults.
pub fn load(file: Option<&Path>, flags: Entries) -> Result<Effective, ConfigError> {
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Effective::load(file, environment, flags)
}

#[cfg(test)]
mod tests;
