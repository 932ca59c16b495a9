//! Where the log and the tables are: settings that several commands share.

use super::forms::{check_bootstrap, check_http_url, check_lake_url, check_topic, parse_duration, to_path};
use super::problem::{did_you_mean, nearest};
use super::reader::Reader;
use super::secret::with_password;
use causes::with_causes;
use engine::{KINDS, LakeSource};
use ingest::kafka::{KafkaConfig, KafkaConfigError};
use ingest::lake::{LakeOptions, Retries};
use sinks::{PostgresConfig, RejectLimits, SinkError};

/// The files of a connection to Postgres.
const TLS_FILES: [&str; 3] = ["postgres.sslrootcert", "postgres.sslcert", "postgres.sslkey"];

/// How long a command waits for a lake that cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LakeWait {
    /// As long as the user says; without end when nothing is said.
    AsConfigured,
    /// Without end: what waits loses nothing.
    Unbounded,
}

impl Reader<'_> {
    pub(super) fn lake(&mut self, wait: LakeWait) -> Option<LakeSource> {
        let options = self.lake_options(wait);
        let objects_in_flight = self.whole("lake.objects_in_flight", 1, 1024) as usize;
        let buffer_bytes = self.whole("lake.buffer_bytes", 1 << 20, 1 << 40) as usize;
        let url = self.optional("lake.url", check_lake_url)?;
        Some(LakeSource {
            url,
            options,
            objects_in_flight,
            buffer_bytes,
        })
    }

    /// How a lake is reached, or what else is written to a folder or a bucket.
    pub(super) fn lake_options(&mut self, wait: LakeWait) -> LakeOptions {
        let s3_endpoint = self.optional("lake.s3_endpoint", check_http_url);
        let timeout = self.optional("lake.timeout", parse_duration);
        LakeOptions {
            s3_endpoint,
            retries: Retries {
                retry_timeout: timeout.filter(|_| wait == LakeWait::AsConfigured),
                ..Retries::default()
            },
            ..LakeOptions::default()
        }
    }

    /// The lake of a command that cannot do without.
    pub(super) fn needed_lake(&mut self, command: &str, wait: LakeWait) -> Option<LakeSource> {
        let lake = self.lake(wait);
        self.need("lake.url", lake, format!("`{command}` needs --lake URL, the lake"))
    }

    pub(super) fn kafka(&mut self) -> Option<KafkaConfig> {
        let properties = self.map("kafka.properties", |value| Ok(value.to_owned()));
        let bootstrap = self.optional("kafka.bootstrap", check_bootstrap)?;
        let config = KafkaConfig {
            properties,
            ..KafkaConfig::new(&bootstrap)
        };
        if let Err(error) = config.check() {
            self.wrong_property(&error);
        }
        Some(config)
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
        match self.entry_of(&path) {
            Some(entry) => self.wrong(&path, entry, message),
            None => self.missing(message),
        }
    }

    pub(super) fn postgres(&mut self) -> Option<PostgresConfig> {
        let schema = self.optional("postgres.schema", |text| Ok(text.to_owned()));
        let ssl_mode = self.optional("postgres.sslmode", |text| {
            text.parse().map_err(|error: SinkError| with_causes(&error))
        });
        let [ssl_root_cert, ssl_cert, ssl_key] = TLS_FILES.map(|path| self.optional(path, to_path));
        let rejects = RejectLimits {
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
        let config = PostgresConfig {
            ssl_mode,
            ssl_root_cert,
            ssl_cert,
            ssl_key,
            rejects,
            ..PostgresConfig::new(url, schema.unwrap_or_default())
        };
        if let Err(error) = config.check() {
            let message = with_causes(&error);
            let file = self.tls_file_in(&message);
            let path = match error {
                SinkError::SchemaName { .. } => "postgres.schema",
                _ => file.unwrap_or("postgres.url"),
            };
            match self.entry(path).filter(|_| given || file.is_some()) {
                Some(entry) => self.wrong(path, entry, message),
                None if given => self.missing(message),
                None => {}
            }
        }
        given.then_some(config)
    }

    /// The tables of a command that cannot do without.
    pub(super) fn needed_postgres(&mut self, command: &str) -> Option<PostgresConfig> {
        let postgres = self.postgres();
        self.need(
            "postgres.url",
            postgres,
            format!("`{command}` needs --postgres URL, the database of the tables"),
        )
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
        for (kind, entry) in self.entries("kafka.topics") {
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

    /// Which kinds' topics are named, and do not merely have their default names.
    pub(super) fn topics_named(&self) -> [bool; 3] {
        KINDS.map(|kind| self.entries("kafka.topics").any(|(named, _)| named == kind))
    }
}
