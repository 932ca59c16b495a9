//! Checked settings of `verify` and `results plan`.

use super::layers::Effective;
use super::problem::ConfigError;
use super::reader::Reader;
use super::sources::LakeWait;
use engine::TableOptions;
use sinks::PostgresConfig;
use verify::{Mode, Options};

/// What `results plan` needs.
#[derive(Clone, Debug)]
pub struct PlanSettings {
    /// Where the tables are.
    pub postgres: PostgresConfig,
    /// What the tables would be.
    pub tables: TableOptions,
}

/// Checks what `verify` is given.
pub fn verify_options(effective: &Effective) -> Result<Options, ConfigError> {
    let mut reader = Reader::new(effective);
    let log = reader.log_options(LakeWait::AsConfigured);
    let tables = reader.table_options();
    let (repair, replay) = (reader.switch("verify.repair"), reader.switch("verify.replay"));
    let takeover = reader.switch("postgres.takeover");
    let mode = match (repair, replay) {
        (true, _) => Mode::Repair { takeover },
        (false, true) => Mode::Replay,
        (false, false) => Mode::Sql,
    };
    let postgres = reader.needed_postgres("verify");
    let flag = if repair { "--repair" } else { "--replay" };
    match mode {
        Mode::Sql if !tables.cleaned => {
            reader.missing("with --cleaned off there are no cleaned tables to compare with: use --replay".into());
        }
        Mode::Replay | Mode::Repair { .. } if log.lake.is_none() && log.kafka.is_none() => {
            reader.missing(format!("{flag} replays the log: give --lake, --kafka or both"));
        }
        _ => {}
    }
    let Some(postgres) = postgres else {
        return reader.refuse();
    };
    reader.done(Options {
        log,
        tables,
        postgres,
        mode,
    })
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
