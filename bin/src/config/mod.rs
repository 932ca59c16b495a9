//! From raw flags, environment and file to checked settings, before any work starts.
//!
//! [`keys`] names every setting once; [`layers`] lays the sources over one another; a file for each command checks the
//! result, and its settings are all that the rest of the program sees. Every error names the key, where it stands, and the nearest name
//! that exists. Nothing here opens a connection.

mod archive;
mod bridge;
mod check_all;
mod demo;
pub mod emulate;
mod engine_options;
mod export;
mod forms;
mod gateway;
mod generate;
pub mod keys;
mod launch;
pub mod layers;
mod log_lines;
pub mod problem;
mod reader;
mod restore;
mod run;
pub mod secret;
mod serve;
mod sources;
pub mod sql_files;
mod status;
mod verify;

pub use self::verify::{PlanSettings, verify_options};
pub use archive::{ArchiveSettings, AuditSettings, CompactSettings};
pub use bridge::{Beginning, BridgeSettings};
pub use check_all::check_all;
pub use demo::DemoSettings;
pub use emulate::emulate_options;
pub use export::ExportSettings;
pub use gateway::GatewaySettings;
pub use generate::generate_options;
pub use launch::LaunchSettings;
pub use layers::Effective;
pub use log_lines::LogSettings;
pub use problem::{ConfigError, Origin, Problem};
pub use restore::RestoreSettings;
pub use run::{BackfillSettings, RunSettings};
pub use secret::Secret;
pub use serve::ServeSettings;
pub use status::StatusSettings;

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
