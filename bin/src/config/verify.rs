//! Checked settings of `verify` and `results plan`.

use super::layers::Effective;
use super::problem::ConfigError;
use super::reader::Reader;
use super::sources::LakeWait;
use engine::{LogOptions, TableOptions};
use sinks::PostgresConfig;

/// What `verify` needs.
#[derive(Clone, Debug)]
pub struct VerifySettings {
    /// What the tables were made of.
    pub log: LogOptions,
    /// What the tables should be.
    pub tables: TableOptions,
    /// Where the tables are.
    pub postgres: PostgresConfig,
    /// Take the schema from a live run to repair it.
    pub takeover: bool,
    /// Repair what differs; implies a replay first.
    pub repair: bool,
    /// Compare with a replay of lake and Kafka instead of with SQL over the cleaned tables.
    pub replay: bool,
}

/// What `results plan` needs.
#[derive(Clone, Debug)]
pub struct PlanSettings {
    /// Where the tables are.
    pub postgres: PostgresConfig,
    /// What the tables would be.
    pub tables: TableOptions,
}

impl VerifySettings {
    /// Checks the settings of `verify`.
    pub fn check(effective: &Effective) -> Result<VerifySettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let log = reader.log_options(LakeWait::AsConfigured);
        let tables = reader.table_options();
        let (repair, replay) = (reader.switch("verify.repair"), reader.switch("verify.replay"));
        let takeover = reader.switch("postgres.takeover");
        let postgres = reader.needed_postgres("verify");
        if (repair || replay) && log.lake.is_none() && log.kafka.is_none() {
            let flag = if repair { "--repair" } else { "--replay" };
            reader.missing(format!("{flag} replays the log: give --lake, --kafka or both"));
        }
        if !tables.cleaned && !repair && !replay {
            reader.missing("with --cleaned off there are no cleaned tables to compare with: use --replay".into());
        }
        let Some(postgres) = postgres else {
            return reader.refuse();
        };
        reader.done(VerifySettings {
            log,
            tables,
            postgres,
            takeover,
            repair,
            replay,
        })
    }
}

impl PlanSettings {
    /// Checks the settings of `results plan`.
    pub fn check(effective: &Effective) -> Result<PlanSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let tables = reader.table_options();
        match reader.needed_postgres("results plan") {
            Some(postgres) => reader.done(PlanSettings { postgres, tables }),
            None => reader.refuse(),
        }
    }
}
