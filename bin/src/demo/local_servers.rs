//! What the demo starts around the program: a broker, an S3 server and PostgreSQL.

use super::common::{BUCKET, PREFIX, TOPICS, flags, say};
use crate::config::DemoSettings;
use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use servers::{Broker, Postgres, PostgresOptions, S3Server};
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What is started around the program, and kept until the end.
pub(super) struct Servers {
    pub(super) postgres: Postgres,
    pub(super) s3: S3Server,
    pub(super) broker: Broker,
}

impl Servers {
    /// Starts them; PostgreSQL keeps its files in `dir` when the demo does.
    pub(super) fn start(settings: &DemoSettings, dir: &Path) -> Result<Servers> {
        let postgres = Postgres::start(PostgresOptions {
            dir: settings.dir.as_ref().map(|_| dir.join("postgres")),
            ..PostgresOptions::default()
        })?;
        let s3_root = dir.join("s3");
        std::fs::create_dir_all(&s3_root)?;
        let s3 = S3Server::start(&s3_root)?;
        s3.create_bucket(BUCKET)?;
        let broker = Broker::start()?;
        for topic in TOPICS {
            broker.create_topic(topic, 1)?;
        }
        Ok(Servers { postgres, s3, broker })
    }

    /// The flag for the broker.
    pub(super) fn kafka(&self) -> (&'static str, String) {
        ("--kafka", self.broker.bootstrap().to_owned())
    }

    /// The flags for the lake.
    pub(super) fn lake(&self) -> [(&'static str, String); 2] {
        [
            ("--lake", format!("s3://{BUCKET}/{PREFIX}")),
            ("--s3-endpoint", self.s3.endpoint()),
        ]
    }

    /// The flags for everything. The database's password is not among them: it comes by the environment.
    pub(super) fn all(&self) -> Vec<String> {
        let [lake, endpoint] = self.lake();
        let postgres = ("--postgres", self.postgres.url_without_password());
        flags([lake, endpoint, self.kafka(), postgres])
    }

    /// The variables for the lake.
    pub(super) fn keys(&self) -> Vec<(&'static str, OsString)> {
        let keys = self.s3.environment().into_iter();
        keys.map(|(name, value)| (name, OsString::from(value))).collect()
    }

    /// The variables for everything: the lake's keys, and where the database's password stands.
    pub(super) fn environment(&self) -> Vec<(&'static str, OsString)> {
        let mut variables = self.keys();
        variables.push(("PINFLOW__POSTGRES__PASSWORD_FILE", self.postgres.password_file().into()));
        variables
    }

    /// Where the three topics end.
    pub(super) fn log_end(&self) -> Result<[i64; 3]> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.broker.bootstrap())
            .create()
            .context("creating a consumer")?;
        let mut end = [0; 3];
        for (end, topic) in end.iter_mut().zip(TOPICS) {
            let marks = consumer.fetch_watermarks(topic, 0, Duration::from_secs(10));
            *end = marks.with_context(|| format!("reading the end of {topic}"))?.1;
        }
        Ok(end)
    }

    /// Runs `pinflow audit`, `pinflow verify` and `pinflow verify --replay`; their output is printed.
    pub(super) fn prove(&self) -> Result<()> {
        let ways: [(&str, &[&str]); 3] = [
            (
                "pinflow audit: the offsets covered by the lake, Kafka and the tables",
                &["audit"],
            ),
            (
                "pinflow verify: every table against its SQL over the cleaned tables, in one snapshot",
                &["verify"],
            ),
            (
                "pinflow verify --replay: every table against the log, replayed by an independent evaluator",
                &["verify", "--replay"],
            ),
        ];
        for (what, command) in ways {
            say(what);
            let status = Command::new(std::env::current_exe()?)
                .args(command)
                .args(self.all())
                .envs(self.environment())
                .status()
                .with_context(|| format!("starting `pinflow {}`", command[0]))?;
            ensure!(status.success(), "`pinflow {}` ended with {status}", command.join(" "));
        }
        Ok(())
    }
}
