//! Checked settings of `launch`.

use super::layers::Effective;
use super::problem::ConfigError;
use super::reader::Reader;

/// What `launch` needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchSettings {
    /// Processes to start.
    pub processes: usize,
    /// Worker threads in each.
    pub threads: usize,
}

impl LaunchSettings {
    /// Checks the settings of `launch`.
    pub fn check(effective: &Effective) -> Result<LaunchSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let settings = LaunchSettings {
            processes: reader.optional_whole("workers.processes", 1, 256).unwrap_or(1) as usize,
            threads: reader.whole("workers.threads", 1, 1024) as usize,
        };
        reader.done(settings)
    }
}
