//! What a verification is given, checked.

use engine::{LogOptions, TableOptions};
use sinks::PostgresConfig;

/// Everything that a verification needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the tables were made of.
    pub log: LogOptions,
    /// What the tables should be.
    pub tables: TableOptions,
    /// Where the tables are.
    pub postgres: PostgresConfig,
    /// What they are compared with.
    pub mode: Mode,
}

/// What the tables are compared with, and whether they are repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The results are compared with their SQL over the cleaned tables.
    Sql,
    /// All tables are compared with a replay of lake and Kafka.
    Replay,
    /// The same, and what differs is repaired.
    Repair {
        /// Take the schema from a live run.
        takeover: bool,
    },
}
