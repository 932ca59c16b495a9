//! Checked settings: what the rest of the program sees of flags, environment and file.
//!
//! A [`RunSettings`] that exists is complete and consistent: what a command needs is there, numbers are in range,
//! names are names, files that are read at the start have been read. All problems are collected before any is
//! reported. Servers are not asked here.

use super::forms::{parse_duration, to_path};
use super::frontier::Frontier;
use super::layers::Effective;
use super::problem::ConfigError;
use super::reader::Reader;
use super::secret::{Secret, mask_value};
use super::serve::ServeSettings;
use dataflows::Results;
use ingest::lake::{LakeOptions, Retries};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The names of the three streams, in the order of their numbers.
pub const KINDS: [&str; 3] = ["pin", "geo", "user"];

/// Which command the settings are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// History, then live, for ever.
    Run,
    /// History alone.
    Backfill,
    /// Compare what the tables hold with what they should.
    Verify,
}

/// Where the lake is and how it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LakeSettings {
    /// `file:///dir` or `s3://bucket/prefix`, checked.
    pub url: String,
    /// An S3 server other than Amazon's.
    pub s3_endpoint: Option<String>,
    /// Objects read at the same time, at least 1.
    pub objects_in_flight: usize,
    /// Bytes of objects in memory at most.
    pub buffer_bytes: usize,
    /// How long a lake that cannot be reached is waited for; `None`: without end.
    pub patience: Option<Duration>,
}

impl LakeSettings {
    /// How the lake is reached.
    pub fn options(&self) -> LakeOptions {
        LakeOptions {
            s3_endpoint: self.s3_endpoint.clone(),
            retries: Retries {
                patience: self.patience,
                ..Retries::default()
            },
            ..LakeOptions::default()
        }
    }
}

/// Where Kafka is and how it is read.
#[derive(Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    /// Bootstrap servers.
    pub bootstrap: String,
    /// librdkafka properties by their own names, in order of name.
    pub properties: Vec<(String, String)>,
    /// Bytes of records in memory at most.
    pub buffer_bytes: usize,
}

/// Shows the properties with their secrets masked.
impl std::fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = |name: &str, value: &str| match super::secret::is_secret_name(name) {
            true => super::secret::MASK.to_owned(),
            false => mask_value(value),
        };
        let properties: Vec<_> = self
            .properties
            .iter()
            .map(|(name, value)| (name, shown(name, value)))
            .collect();
        f.debug_struct("KafkaSettings")
            .field("bootstrap", &self.bootstrap)
            .field("properties", &properties)
            .field("buffer_bytes", &self.buffer_bytes)
            .finish()
    }
}

impl KafkaSettings {
    /// The source's own form of these settings.
    pub fn source(&self) -> ingest::kafka::KafkaConfig {
        let mut config = ingest::kafka::KafkaConfig::new(&self.bootstrap);
        config.properties = self.properties.clone();
        config
    }
}

/// Where the tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresSettings {
    /// The connection string, the password in it.
    pub url: Secret,
    /// The schema of the tables.
    pub schema: String,
    /// What is checked of the server's certificate; `None`: what the URL says, or the default.
    pub sslmode: Option<sinks::SslMode>,
    /// Certificates to trust instead of the system's.
    pub sslrootcert: Option<PathBuf>,
    /// Our certificate.
    pub sslcert: Option<PathBuf>,
    /// Its key.
    pub sslkey: Option<PathBuf>,
    /// How much of dead letters is kept.
    pub rejects: sinks::RejectLimits,
}

impl PostgresSettings {
    /// The sink's own form of these settings.
    pub fn sink(&self) -> sinks::PostgresConfig {
        let mut config = sinks::PostgresConfig::new(self.url.expose(), &self.schema);
        config.ssl_mode = self.sslmode;
        config.ssl_root_cert = self.sslrootcert.clone();
        config.ssl_cert = self.sslcert.clone();
        config.ssl_key = self.sslkey.clone();
        config.rejects = self.rejects;
        config
    }
}

/// What makes a record a dead letter by its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Bytes of a record at most.
    pub record_bytes: usize,
    /// Nesting at most.
    pub depth: usize,
}

impl LimitSettings {
    /// The same as the decoder takes them.
    pub fn of_records(&self) -> dataflows::Limits {
        dataflows::Limits {
            record_bytes: self.record_bytes,
            depth: self.depth,
        }
    }
}

/// How the dataflow is spread over threads and processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// Worker threads in each process, at least 1.
    pub threads: usize,
    /// Processes in all, at least 1.
    pub processes: usize,
    /// Which of them this one is, from 0.
    pub process: usize,
    /// host:port of each process; as many as there are processes.
    pub addresses: Vec<String>,
}

impl WorkerSettings {
    /// Workers in all processes together.
    pub fn peers(&self) -> usize {
        self.threads * self.processes
    }
}

/// How log lines look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// One JSON object a line instead of text.
    pub json: bool,
    /// Directives as `tracing_subscriber::EnvFilter` reads them.
    pub level: String,
}

/// What `run`, `backfill` and `verify` need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSettings {
    /// The command.
    pub mode: Mode,
    /// History; always there for `backfill`.
    pub lake: Option<LakeSettings>,
    /// Live; always there for `run`.
    pub kafka: Option<KafkaSettings>,
    /// The tables; always there for `run` and `verify`.
    pub postgres: Option<PostgresSettings>,
    /// `backfill` writes CSV files here instead; never together with `postgres`.
    pub out: Option<PathBuf>,
    /// The topic of each kind (0 = pin, 1 = geo, 2 = user); at least one is there.
    pub topics: [Option<String>; 3],
    /// Which of them were named, and do not merely have their default names.
    pub topics_named: [bool; 3],
    /// Topics that were named need not exist.
    pub allow_missing_topic: bool,
    /// Tables of other topics are made those of the topics that are named now.
    pub replace_topics: bool,
    /// Rows kept of each ranked group; 0 = all.
    pub top: usize,
    /// The results, compiled.
    pub results: Arc<Results>,
    /// Results whose tables are dropped, when the schema holds them and they are not as defined.
    pub drop: Vec<String>,
    /// Whether the cleaned tables are kept in Postgres.
    pub cleaned: bool,
    /// Threads and processes.
    pub workers: WorkerSettings,
    /// When a record is too large or too deep.
    pub limits: LimitSettings,
    /// `TOPIC/P:FROM..TO` or `all`, each checked.
    pub accept_gaps: Vec<String>,
    /// An object that stays unreadable becomes a gap.
    pub skip_unreadable: bool,
    /// Stop here (`backfill`).
    pub upto: Option<Frontier>,
    /// Take the schema from a live run (`backfill`, `verify --repair`).
    pub takeover: bool,
    /// Write the figures of the run here (`backfill`).
    pub summary: Option<PathBuf>,
    /// Serve metrics and health so (`run`).
    pub serve: Option<ServeSettings>,
    /// `/readyz` says no above this many waiting records.
    pub ready_lag_records: u64,
    /// The least time between two live commits (`run`).
    pub pace: Duration,
}

/// What `results plan` needs.
#[derive(Clone, Debug)]
pub struct PlanSettings {
    /// Where the tables are.
    pub postgres: PostgresSettings,
    /// The results, compiled.
    pub results: Arc<Results>,
    /// Results that the start would be told to drop.
    pub drop: Vec<String>,
}

/// What `verify` needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifySettings {
    /// Lake, Kafka, Postgres, topics and limits.
    pub engine: RunSettings,
    /// Mend what differs; implies a replay first.
    pub repair: bool,
    /// Compare with a replay of lake and Kafka instead of with SQL over the cleaned tables.
    pub replay: bool,
}

/// What `generate` needs.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateSettings {
    /// Where to write.
    pub lake: LakeSettings,
    /// The topic of each kind.
    pub topics: [Option<String>; 3],
    /// Posts to write.
    pub posts: u64,
    /// The same seed gives the same bytes.
    pub seed: u64,
    /// Records in each object, at least 1.
    pub records_per_object: u64,
    /// Partitions of each topic, at least 1.
    pub partitions: i32,
    /// Compress the objects.
    pub gzip: bool,
    /// Records sent again per record.
    pub duplicates: f64,
    /// Share of records in odd forms.
    pub dirty: f64,
    /// Deletes per record.
    pub deletes: f64,
}

/// What `launch` needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaunchSettings {
    /// Processes to start.
    pub processes: usize,
    /// Worker threads in each.
    pub threads: usize,
}

/// What `demo` needs.
#[derive(Clone, Debug, PartialEq)]
pub struct DemoSettings {
    /// Posts of the generated history.
    pub posts: u64,
    /// The generator's seed.
    pub seed: u64,
    /// Live records a second.
    pub rate: u64,
    /// How long to go on; `None`: until Ctrl-C.
    pub duration: Option<Duration>,
    /// Serve metrics and health here.
    pub listen: Option<SocketAddr>,
    /// Keep everything here instead of in a temporary folder.
    pub dir: Option<PathBuf>,
}

impl LogSettings {
    /// Checks the settings of log lines.
    pub fn check(effective: &Effective) -> Result<LogSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let settings = reader.log();
        reader.done(settings)
    }
}

impl RunSettings {
    /// Checks the settings of `run` or `backfill`.
    pub fn check(effective: &Effective, mode: Mode) -> Result<RunSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let settings = reader.run(mode);
        reader.done(settings)
    }
}

impl PlanSettings {
    /// Checks the settings of `results plan`.
    pub fn check(effective: &Effective) -> Result<PlanSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let top = reader.top();
        let (results, drop) = (reader.results(top), reader.dropped());
        match reader.postgres() {
            Some(postgres) => reader.done(PlanSettings {
                postgres,
                results,
                drop,
            }),
            None => {
                if reader.entry("postgres.url").is_none() {
                    reader.missing("`results plan` needs --postgres URL: where the tables are".into());
                }
                Err(ConfigError(reader.problems))
            }
        }
    }
}

impl VerifySettings {
    /// Checks the settings of `verify`.
    pub fn check(effective: &Effective) -> Result<VerifySettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let engine = reader.run(Mode::Verify);
        let (repair, replay) = (reader.switch("verify.repair"), reader.switch("verify.replay"));
        if (repair || replay) && engine.lake.is_none() && engine.kafka.is_none() {
            let flag = if repair { "--repair" } else { "--replay" };
            reader.missing(format!("{flag} reads the log again: give --lake, --kafka or both"));
        }
        if !engine.cleaned && !repair && !replay {
            reader.missing("without cleaned tables there is nothing to compare with: use --replay".into());
        }
        reader.done(VerifySettings { engine, repair, replay })
    }
}

impl GenerateSettings {
    /// The generator's own form of these settings.
    pub fn options(&self) -> Result<workload::generate::GenerateOptions, workload::generate::GenerateError> {
        Ok(workload::generate::GenerateOptions {
            lake: self.lake.url.parse()?,
            lake_options: self.lake.options(),
            topics: self.topics.clone(),
            posts: self.posts,
            seed: self.seed,
            records_per_object: self.records_per_object,
            partitions: self.partitions,
            gzip: self.gzip,
            duplicates: self.duplicates,
            dirty: self.dirty,
            deletes: self.deletes,
        })
    }

    /// Checks the settings of `generate`.
    pub fn check(effective: &Effective) -> Result<GenerateSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let lake = reader.lake();
        if lake.is_none() {
            reader.missing("`generate` needs --lake URL: where to write".into());
        }
        let posts = reader.optional_whole("generate.posts", 0, 1 << 40);
        if posts.is_none() {
            reader.missing("`generate` needs --posts N: how many posts to write".into());
        }
        let settings = GenerateSettings {
            lake: lake.unwrap_or(LakeSettings {
                url: String::new(),
                s3_endpoint: None,
                objects_in_flight: 1,
                buffer_bytes: 1,
                patience: None,
            }),
            topics: reader.topics(),
            posts: posts.unwrap_or(0) as u64,
            seed: reader.whole("generate.seed", 0, i64::MAX) as u64,
            records_per_object: reader.whole("generate.records_per_object", 1, 1_000_000) as u64,
            partitions: reader.whole("generate.partitions", 1, 4096) as i32,
            gzip: reader.switch("generate.gzip"),
            duplicates: reader.fraction("generate.duplicates"),
            dirty: reader.fraction("generate.dirty"),
            deletes: reader.fraction("generate.deletes"),
        };
        reader.done(settings)
    }
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

impl DemoSettings {
    /// Checks the settings of `demo`.
    pub fn check(effective: &Effective) -> Result<DemoSettings, ConfigError> {
        let mut reader = Reader::new(effective);
        let duration = reader.optional("demo.duration", parse_duration);
        let settings = DemoSettings {
            posts: reader.optional_whole("generate.posts", 0, 1 << 32).unwrap_or(10_000) as u64,
            seed: reader.whole("generate.seed", 0, i64::MAX) as u64,
            rate: reader.whole("demo.rate", 0, 10_000_000) as u64,
            duration,
            listen: reader.listen(),
            dir: reader.optional("demo.dir", to_path),
        };
        reader.done(settings)
    }
}

/// Checks every value that is given, whatever the command: `config check`.
pub fn check_all(effective: &Effective) -> Result<(), ConfigError> {
    let mut reader = Reader::new(effective);
    reader.log();
    reader.engine(Mode::Run);
    let mut problems = reader.problems;
    let demo = DemoSettings::check(effective);
    let generate = GenerateSettings::check(effective);
    let emulate = super::EmulateSettings::check(effective);
    let gateway = super::GatewaySettings::check(effective);
    let archive = super::ArchiveSettings::check(effective);
    let compact = super::CompactSettings::check(effective);
    let audit = super::AuditSettings::check(effective);
    for other in [
        demo.err(),
        generate.err(),
        archive.err(),
        compact.err(),
        audit.err(),
        gateway.err(),
        emulate.err(),
    ]
    .into_iter()
    .flatten()
    {
        // what a command would miss is no fault of the configuration
        problems.extend(other.0.into_iter().filter(|problem| !problem.at.is_empty()));
    }
    problems.sort_by(|a, b| a.at.cmp(&b.at));
    problems.dedup();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ConfigError(problems))
    }
}
