//! Checked settings of `run` and `backfill`.

use super::engine_options::port_of_process;
use super::forms::{check_pace, to_path};
use super::keys::Commands;
use super::layers::Effective;
use super::problem::{ConfigError, Origin};
use super::reader::Reader;
use super::serve::ServeSettings;
use super::sources::LakeWait;
use api::Setting;
use engine::{Frontier, Mode, Options, SinkOptions};
use std::path::PathBuf;

/// What `run` needs.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// What the engine is given.
    pub engine: Options,
    /// Serve metrics and health so.
    pub serve: Option<ServeSettings>,
    /// `/readyz` says no above this many waiting records.
    pub ready_lag_records: u64,
    /// The settings as they may be shown.
    pub shown: Vec<Setting>,
}

/// What `backfill` needs.
#[derive(Clone, Debug)]
pub struct BackfillSettings {
    /// What the engine is given.
    pub engine: Options,
    /// Write the figures of the run here.
    pub summary: Option<PathBuf>,
}

impl RunSettings {
    /// Checks the settings of `run`.
    pub fn check(effective: &Effective) -> Result<RunSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let pace = reader.optional("engine.pace", check_pace).unwrap_or_default();
        // readers of the tables wait meanwhile, and lose nothing
        let log = reader.log_options(LakeWait::Unbounded);
        let tables = reader.table_options();
        let workers = reader.workers();
        let serve = reader.serve().map(|serve| ServeSettings {
            listen: port_of_process(serve.listen, &workers),
            ..serve
        });
        let ready_lag_records = reader.whole("serve.ready_lag_records", 0, i64::MAX) as u64;
        if log.kafka.is_none() && reader.entry("kafka.bootstrap").is_none() {
            reader.missing("`run` needs --kafka HOST:PORT, the source of live records".into());
        }
        let postgres = reader.needed_postgres("run");
        let accept_gaps = reader.accept_gaps();
        let Some(postgres) = postgres else {
            return reader.refuse();
        };
        let engine = Options {
            mode: Mode::Run { pace },
            log,
            tables,
            sink: SinkOptions::Postgres(postgres),
            topics_named: reader.topics_named(),
            allow_missing_topic: reader.switch("kafka.allow_missing_topic"),
            replace_topics: reader.switch("kafka.replace_topics"),
            accept_gaps,
            workers,
        };
        reader.done(RunSettings {
            engine,
            serve,
            ready_lag_records,
            shown: shown(effective),
        })
    }
}

/// The settings of `run` without secrets.
fn shown(effective: &Effective) -> Vec<Setting> {
    let setting = |(key, value, origin): (&str, String, &Origin)| Setting {
        key: key.to_owned(),
        value,
        source: origin.kind().to_owned(),
        origin: origin.to_string(),
    };
    effective.shown(Commands::RUN).map(setting).collect()
}

impl BackfillSettings {
    /// Checks the settings of `backfill`.
    pub fn check(effective: &Effective) -> Result<BackfillSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let log = reader.log_options(LakeWait::AsConfigured);
        let tables = reader.table_options();
        let workers = reader.workers();
        if log.lake.is_none() && reader.entry("lake.url").is_none() {
            reader.missing("`backfill` needs --lake URL, the source of history".into());
        }
        let (takeover, drops) = (reader.switch("postgres.takeover"), !tables.drop.is_empty());
        let sink = reader.one_sink(takeover, drops);
        let upto = reader.optional("backfill.upto", |text| Frontier::read(text.as_ref()));
        let summary = reader.optional("backfill.summary", to_path);
        let accept_gaps = reader.accept_gaps();
        let Some(sink) = sink else {
            return reader.refuse();
        };
        let engine = Options {
            mode: Mode::Backfill { upto, takeover },
            log,
            tables,
            sink,
            topics_named: reader.topics_named(),
            allow_missing_topic: reader.switch("kafka.allow_missing_topic"),
            replace_topics: reader.switch("kafka.replace_topics"),
            accept_gaps,
            workers,
        };
        reader.done(BackfillSettings { engine, summary })
    }
}

impl Reader<'_> {
    /// `--out` or `--postgres`: both at once are refused, unless one is a flag and the other is not.
    fn one_sink(&mut self, takeover: bool, drops: bool) -> Option<SinkOptions> {
        let folder = self.optional("backfill.out", to_path);
        let postgres = self.postgres();
        let (out, url) = (self.entry("backfill.out"), self.entry("postgres.url"));
        let sink = match (out, url) {
            (None, None) => {
                self.missing("`backfill` needs a sink: --postgres URL for tables, or --out DIR for CSV files".into());
                None
            }
            (Some(out), Some(url)) => match (out.origin.is_flag(), url.origin.is_flag()) {
                (true, false) => folder.map(SinkOptions::Files),
                (false, true) => postgres.map(SinkOptions::Postgres),
                _ => {
                    self.missing("--out and --postgres are mutually exclusive".into());
                    None
                }
            },
            (Some(_), None) => folder.map(SinkOptions::Files),
            (None, Some(_)) => postgres.map(SinkOptions::Postgres),
        };
        if let (Some(SinkOptions::Files(_)), Some(entry)) = (&sink, out) {
            let about_a_schema = [("--takeover", takeover), ("--drop", drops)];
            for (flag, _) in about_a_schema.into_iter().filter(|(_, given)| *given) {
                let message = format!("{flag} requires --postgres and cannot be used with --out");
                self.wrong("backfill.out", entry, message);
            }
        }
        sink
    }
}
