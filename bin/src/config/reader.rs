//! Reads values of the effective configuration, and collects what is wrong with them instead of stopping at the first.

use super::forms::{
    check_bootstrap, check_gap, check_http_url, check_lake_url, check_level, check_pace, check_topic, parse_duration,
    read_hosts, to_path, with_causes,
};
use super::frontier::Frontier;
use super::keys;
use super::layers::{Effective, Entry, without_secrets};
use super::problem::{ConfigError, Problem, did_you_mean, nearest};
use super::secret::{Secret, with_password};
use super::serve::ServeSettings;
use super::settings::{
    KINDS, KafkaSettings, LakeSettings, LimitSettings, LogSettings, Mode, PostgresSettings, RunSettings, WorkerSettings,
};
use super::sql_files;
use dataflows::{Options, Results};
use ingest::kafka::KafkaConfigError;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use toml::Value;

/// The files of a connection to Postgres.
const TLS_FILES: [&str; 3] = ["postgres.sslrootcert", "postgres.sslcert", "postgres.sslkey"];

/// Reads values of the effective configuration and collects what is wrong with them.
pub(super) struct Reader<'a> {
    effective: &'a Effective,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(effective: &'a Effective) -> Self {
        Reader {
            effective,
            problems: Vec::new(),
        }
    }

    pub(super) fn done<T>(self, settings: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() {
            Ok(settings)
        } else {
            Err(ConfigError(self.problems))
        }
    }

    /// A value is wrong: names its key and its origin.
    pub(super) fn wrong(&mut self, path: &str, entry: &Entry, message: String) {
        let at = if entry.origin.is_flag() {
            entry.origin.to_string()
        } else {
            format!("{}: {path}", entry.origin)
        };
        let message = without_secrets(message, path, &entry.value);
        self.problems.push(Problem { at, message });
    }

    /// Something is missing, or two values do not go together.
    pub(super) fn missing(&mut self, message: String) {
        self.problems.push(Problem {
            at: String::new(),
            message,
        });
    }

    pub(super) fn entry(&self, path: &str) -> Option<&'a Entry> {
        debug_assert!(keys::find(path).is_some(), "{path} is not a key");
        self.effective.get(path)
    }

    pub(super) fn optional<T>(&mut self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let entry = self.entry(path)?;
        match parse(entry.value.as_str().unwrap_or_default()) {
            Ok(value) => Some(value),
            Err(message) => {
                self.wrong(path, entry, message);
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice(&mut self, path: &str, words: [&str; 2]) -> bool {
        let chosen = self.optional(path, |text| match words.iter().position(|word| *word == text) {
            Some(index) => Ok(index == 0),
            None => Err(format!(
                "invalid value `{text}`: expected {} or {}{}",
                words[0],
                words[1],
                did_you_mean(nearest(text, words))
            )),
        });
        chosen.unwrap_or(true)
    }

    pub(super) fn switch(&mut self, path: &str) -> bool {
        self.entry(path)
            .and_then(|entry| entry.value.as_bool())
            .unwrap_or(false)
    }

    pub(super) fn optional_whole(&mut self, path: &str, least: i64, most: i64) -> Option<i64> {
        let entry = self.entry(path)?;
        let number = entry.value.as_integer().unwrap_or(least);
        if !(least..=most).contains(&number) {
            self.wrong(
                path,
                entry,
                format!("{number} is out of range: expected {least} to {most}"),
            );
        }
        Some(number.clamp(least, most))
    }

    pub(super) fn whole(&mut self, path: &str, least: i64, most: i64) -> i64 {
        self.optional_whole(path, least, most).unwrap_or(least)
    }

    /// The items of a list.
    pub(super) fn list<T>(&mut self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let Some(entry) = self.entry(path) else {
            return Vec::new();
        };
        let mut items = Vec::new();
        for item in entry.value.as_array().into_iter().flatten() {
            match parse(item.as_str().unwrap_or_default()) {
                Ok(item) => items.push(item),
                Err(message) => self.wrong(path, entry, message),
            }
        }
        items
    }

    /// The names of a map with their values.
    pub(super) fn map<T>(&mut self, path: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<(String, T)> {
        let mut items = Vec::new();
        for (name, entry) in self.effective.map(path) {
            match parse(entry.value.as_str().unwrap_or_default()) {
                Ok(value) => items.push((name.to_owned(), value)),
                Err(message) => self.wrong(&format!("{path}.{name}"), entry, message),
            }
        }
        items
    }

    pub(super) fn fraction(&mut self, path: &str) -> f64 {
        let Some(entry) = self.entry(path) else { return 0.0 };
        let number = entry.value.as_float().unwrap_or(0.0);
        if !(0.0..=1.0).contains(&number) {
            self.wrong(path, entry, format!("{number} is out of range: expected 0 to 1"));
        }
        number
    }

    pub(super) fn log(&mut self) -> LogSettings {
        let json = !self.choice("log.format", ["text", "json"]);
        let level = self.optional("log.level", check_level).unwrap_or_else(|| "info".into());
        LogSettings { json, level }
    }

    pub(super) fn lake(&mut self) -> Option<LakeSettings> {
        let s3_endpoint = self.optional("lake.s3_endpoint", check_http_url);
        let objects_in_flight = self.whole("lake.objects_in_flight", 1, 1024) as usize;
        let buffer_bytes = self.whole("lake.buffer_bytes", 1 << 20, 1 << 40) as usize;
        let patience = self.optional("lake.timeout", parse_duration);
        let url = self.optional("lake.url", check_lake_url)?;
        Some(LakeSettings {
            url,
            s3_endpoint,
            objects_in_flight,
            buffer_bytes,
            patience,
        })
    }

    pub(super) fn kafka(&mut self) -> Option<KafkaSettings> {
        let properties: Vec<(String, String)> = self
            .effective
            .map("kafka.properties")
            .map(|(name, entry)| (name.to_owned(), entry.value.as_str().unwrap_or_default().to_owned()))
            .collect();
        let buffer_bytes = self.whole("kafka.buffer_bytes", 1 << 20, 1 << 40) as usize;
        let bootstrap = self.optional("kafka.bootstrap", check_bootstrap)?;
        let settings = KafkaSettings {
            bootstrap,
            properties,
            buffer_bytes,
        };
        if let Err(error) = settings.source().check() {
            self.wrong_property(&error);
        }
        Some(settings)
    }

    /// Some librdkafka property is refused: by us, or by librdkafka itself.
    pub(super) fn wrong_property(&mut self, error: &KafkaConfigError) {
        let message = with_causes(error);
        let path = match error {
            KafkaConfigError::Owned { name, .. }
            | KafkaConfigError::Unknown { name }
            | KafkaConfigError::Value { name, .. } => format!("kafka.properties.{name}"),
            _ => "kafka.bootstrap".to_owned(),
        };
        match self.effective.get(&path) {
            Some(entry) => self.wrong(&path, entry, message),
            None => self.missing(message),
        }
    }

    pub(super) fn postgres(&mut self) -> Option<PostgresSettings> {
        let schema = self
            .optional("postgres.schema", |text| Ok(text.to_owned()))
            .unwrap_or_default();
        let sslmode = self.optional("postgres.sslmode", |text| {
            text.parse().map_err(|error: sinks::SinkError| error.to_string())
        });
        let files = TLS_FILES.map(|path| self.optional(path, to_path));
        let rejects = sinks::RejectLimits {
            record_bytes: self.whole("postgres.reject_bytes", 0, 8 << 20) as usize,
            rows: self.whole("postgres.reject_rows", 0, 1 << 40) as u64,
            bytes: self.whole("postgres.reject_table_bytes", 0, 1 << 50) as u64,
        };
        let password = self.optional("postgres.password", |text| Ok(text.to_owned()));
        let url = self.optional("postgres.url", |text| Ok(text.to_owned()));
        let given = url.is_some();
        // files that are named are read, also where no database is
        let url = url.unwrap_or_else(|| "host=localhost".into());
        let url = password.map_or(url.clone(), |password| with_password(&url, &password));
        let [sslrootcert, sslcert, sslkey] = files;
        let settings = PostgresSettings {
            url: Secret::new(url),
            schema,
            sslmode,
            sslrootcert,
            sslcert,
            sslkey,
            rejects,
        };
        if let Err(error) = settings.sink().check() {
            let message = with_causes(&error);
            let file = self.tls_file_in(&message);
            let path = match error {
                sinks::SinkError::SchemaName { .. } => "postgres.schema",
                _ => file.unwrap_or("postgres.url"),
            };
            match self.entry(path).filter(|_| given || file.is_some()) {
                Some(entry) => self.wrong(path, entry, message),
                None if given => self.missing(message),
                None => {}
            }
        }
        given.then_some(settings)
    }

    /// The key of the file that a message is about.
    fn tls_file_in(&self, message: &str) -> Option<&'static str> {
        let names = |path: &&str| {
            let file = self.entry(path).and_then(|entry| entry.value.as_str());
            file.is_some_and(|file| !file.is_empty() && message.contains(file))
        };
        TLS_FILES.into_iter().find(names)
    }

    /// The default names if none is given, otherwise only the given kinds.
    pub(super) fn topics(&mut self) -> [Option<String>; 3] {
        let mut topics = [None, None, None];
        let mut named = false;
        for (kind, entry) in self.effective.map("kafka.topics") {
            named = true;
            let path = format!("kafka.topics.{kind}");
            let Some(index) = KINDS.iter().position(|known| *known == kind) else {
                let hint = did_you_mean(nearest(kind, KINDS));
                self.wrong(
                    &path,
                    entry,
                    format!("unknown kind of record `{kind}`: expected pin, geo or user{hint}"),
                );
                continue;
            };
            match check_topic(entry.value.as_str().unwrap_or_default()) {
                Ok(name) if topics.contains(&Some(name.clone())) => {
                    self.wrong(&path, entry, format!("topic `{name}` is given for two kinds"));
                }
                Ok(name) => topics[index] = Some(name),
                Err(message) => self.wrong(&path, entry, message),
            }
        }
        if named {
            topics
        } else {
            KINDS.map(|kind| Some(kind.to_owned()))
        }
    }

    fn workers(&mut self) -> WorkerSettings {
        let threads = self.whole("workers.threads", 1, 1024) as usize;
        let process = self.whole("workers.process", 0, 4095) as usize;
        let asked = self
            .optional_whole("workers.processes", 1, 4096)
            .map(|count| count as usize);
        let hosts = self.optional("workers.hostfile", read_hosts);
        let has_hostfile = hosts.is_some();
        let processes = asked.unwrap_or_else(|| hosts.as_ref().map_or(1, Vec::len));
        let mut addresses =
            hosts.unwrap_or_else(|| (0..processes).map(|p| format!("localhost:{}", 2101 + p)).collect());
        if has_hostfile && addresses.len() < processes {
            let entry = self.entry("workers.hostfile").expect("the host file was read");
            let found = addresses.len();
            self.wrong(
                "workers.hostfile",
                entry,
                format!("{found} lines do not suffice for {processes} processes"),
            );
        }
        addresses.truncate(processes);
        if process >= processes {
            let entry = self.entry("workers.process").expect("the key has a default");
            self.wrong(
                "workers.process",
                entry,
                format!("{process} is out of range: expected 0 to {}", processes - 1),
            );
        }
        WorkerSettings {
            threads,
            processes,
            process,
            addresses,
        }
    }

    /// Everything that `run`, `backfill` and `verify` share, without asking what the command needs.
    pub(super) fn engine(&mut self, mode: Mode) -> RunSettings {
        let accept_gaps = self.accept_gaps();
        let top = self.top();
        let workers = self.workers();
        let serve = self.serve().map(|serve| ServeSettings {
            listen: port_of_process(serve.listen, &workers),
            ..serve
        });
        RunSettings {
            mode,
            lake: self.lake().map(|lake| LakeSettings {
                patience: lake.patience.filter(|_| mode != Mode::Run),
                ..lake
            }),
            kafka: self.kafka(),
            postgres: self.postgres(),
            out: self.optional("backfill.out", to_path),
            topics: self.topics(),
            topics_named: KINDS.map(|kind| self.effective.map("kafka.topics").any(|(named, _)| named == kind)),
            allow_missing_topic: self.switch("kafka.allow_missing_topic"),
            replace_topics: self.switch("kafka.replace_topics"),
            top,
            results: self.results(top),
            drop: self.dropped(),
            cleaned: self.choice("postgres.cleaned", ["postgres", "off"]),
            workers,
            limits: LimitSettings {
                record_bytes: self.whole("limits.record_bytes", 1 << 10, 1 << 30) as usize,
                depth: self.whole("limits.depth", 4, 512) as usize,
            },
            accept_gaps,
            skip_unreadable: self.switch("lake.skip_unreadable"),
            upto: self.optional("backfill.upto", |text| Frontier::read(text.as_ref())),
            takeover: self.switch("postgres.takeover"),
            summary: self.optional("backfill.summary", to_path),
            serve,
            ready_lag_records: self.whole("serve.ready_lag_records", 0, i64::MAX) as u64,
            pace: self.optional("engine.pace", check_pace).unwrap_or_default(),
        }
    }

    pub(super) fn top(&mut self) -> usize {
        self.whole("results.top", 0, i64::from(u32::MAX)) as usize
    }

    pub(super) fn dropped(&self) -> Vec<String> {
        self.texts("results.drop").map(str::to_owned).collect()
    }

    /// The results of a folder, or the built-in ones; every error of every file is a problem.
    pub(super) fn results(&mut self, top: usize) -> Arc<Results> {
        let options = Options { top };
        let built_in = || Arc::new(Results::built_in(&options));
        let Some(entry) = self.entry("results.folder") else {
            return built_in();
        };
        let folder = Path::new(entry.value.as_str().unwrap_or_default());
        let files = match sql_files::read(folder) {
            Ok(files) => files,
            Err(problems) => {
                let wrong = problems.into_iter();
                wrong.for_each(|problem| self.wrong("results.folder", entry, problem));
                return built_in();
            }
        };
        match sql_files::compile(&files, &options) {
            Ok(results) => Arc::new(results),
            Err(errors) => {
                errors.iter().for_each(|error| self.missing(error.to_string()));
                built_in()
            }
        }
    }

    /// What one command needs, and only that.
    pub(super) fn run(&mut self, mode: Mode) -> RunSettings {
        let mut settings = self.engine(mode);
        match mode {
            Mode::Run => {
                if self.entry("kafka.bootstrap").is_none() {
                    self.missing("`run` needs --kafka HOST:PORT, the source of live records".into());
                }
                if self.entry("postgres.url").is_none() {
                    self.missing("`run` needs --postgres URL, the database of the tables".into());
                }
            }
            Mode::Backfill => {
                if self.entry("lake.url").is_none() {
                    self.missing("`backfill` needs --lake URL, the source of history".into());
                }
                self.one_sink(&mut settings);
            }
            Mode::Verify => {
                if self.entry("postgres.url").is_none() {
                    self.missing("`verify` needs --postgres URL, the database of the tables".into());
                }
            }
        }
        if mode != Mode::Backfill {
            (settings.out, settings.upto, settings.summary) = (None, None, None);
        }
        if mode != Mode::Run {
            settings.serve = None;
        }
        settings
    }

    /// `--out` or `--postgres`: both at once are refused, unless one is a flag and the other is not.
    fn one_sink(&mut self, settings: &mut RunSettings) {
        match (self.entry("backfill.out"), self.entry("postgres.url")) {
            (None, None) => {
                self.missing("`backfill` needs a sink: --postgres URL for tables, or --out DIR for CSV files".into());
            }
            (Some(out), Some(postgres)) => match (out.origin.is_flag(), postgres.origin.is_flag()) {
                (true, false) => settings.postgres = None,
                (false, true) => settings.out = None,
                _ => self.missing("--out and --postgres are mutually exclusive".into()),
            },
            _ => {}
        }
        let about_a_schema = [("--takeover", settings.takeover), ("--drop", !settings.drop.is_empty())];
        for (flag, _) in about_a_schema.into_iter().filter(|(_, given)| *given) {
            if let (Some(entry), true) = (self.entry("backfill.out"), settings.out.is_some()) {
                let message = format!("{flag} requires --postgres and cannot be used with --out");
                self.wrong("backfill.out", entry, message);
            }
        }
    }

    /// The texts of a list.
    fn texts(&self, path: &str) -> impl Iterator<Item = &str> {
        let array = self.entry(path).and_then(|entry| entry.value.as_array());
        array.into_iter().flatten().filter_map(Value::as_str)
    }

    fn accept_gaps(&mut self) -> Vec<String> {
        let Some(entry) = self.entry("lake.accept_gap") else {
            return Vec::new();
        };
        let texts: Vec<String> = self.texts("lake.accept_gap").map(str::to_owned).collect();
        let mut gaps = Vec::new();
        for text in texts {
            match check_gap(&text) {
                Ok(gap) => gaps.push(gap),
                Err(message) => self.wrong("lake.accept_gap", entry, message),
            }
        }
        gaps
    }
}

/// Processes of one host serve on ports of their own: the port given, and one more for each process before this
/// one on the same host.
fn port_of_process(address: SocketAddr, workers: &WorkerSettings) -> SocketAddr {
    let host_of = |address: &String| address.rsplit_once(':').map(|(host, _)| host.to_owned());
    let own = workers.addresses.get(workers.process).and_then(host_of);
    let before = workers
        .addresses
        .iter()
        .take(workers.process)
        .filter(|other| host_of(other) == own)
        .count();
    match address.port() {
        0 => address,
        port => SocketAddr::new(address.ip(), port.saturating_add(before as u16)),
    }
}
