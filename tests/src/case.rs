//! A test's own topics, schema and lake, on one Kafka and one PostgreSQL that all tests of a file share.
//!
//! The records are the smallest that show which of two records of a key counts: a place with its country, a post with
//! its category, a person. Every place is in the cleaned tables and in a result.

use crate::{
    Database, Kafka, LakeFolder, Message, Pinflow, Postgres, Producer, Program, S3Server, eventually, watchdog,
};
use anyhow::{Context, Result, anyhow, ensure};
use serde_json::json;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

/// How long anything may take that is expected.
pub const SOON: Duration = Duration::from_secs(60);
/// Kinds of records, by the names that `--topics` gives them.
pub const KINDS: [&str; 3] = ["pin", "geo", "user"];

/// Where a case keeps its history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Nowhere: Kafka is all there is.
    Nowhere,
    /// In a folder.
    Folder,
    /// On an S3 server.
    S3,
}

struct Servers {
    kafka: Kafka,
    postgres: Postgres,
}

/// The servers of this test program; they end with it.
fn servers() -> Result<&'static Servers> {
    static SERVERS: OnceLock<Result<Servers, String>> = OnceLock::new();
    let start = || -> Result<Servers> {
        Ok(Servers {
            kafka: Kafka::start()?,
            postgres: crate::postgres()?,
        })
    };
    let started = SERVERS.get_or_init(|| start().map_err(|error| format!("{error:#}")));
    started.as_ref().map_err(|error| anyhow!("{error}"))
}

/// See the module's head.
pub struct Case {
    /// The schema, and what its topics are named after.
    pub name: String,
    /// Kafka, shared with other cases.
    pub kafka: &'static Kafka,
    /// PostgreSQL, shared with other cases.
    pub postgres: &'static Postgres,
    /// The topic of each kind that is given to the engine.
    pub topics: [Option<String>; 3],
    /// The lake, if there is one.
    pub lake: Option<LakeFolder>,
    /// The server that serves it.
    pub s3: Option<S3Server>,
    folder: TempDir,
}

impl Case {
    /// A case with topics `NAME.pin`, `NAME.geo` and `NAME.user` of so many partitions; none are made for 0.
    pub fn new(name: &str, partitions: i32, history: History) -> Result<Case> {
        watchdog::watch();
        let servers = servers()?;
        Case::on(&servers.kafka, &servers.postgres, name, partitions, history)
    }

    /// The same on other servers.
    pub fn on(
        kafka: &'static Kafka,
        postgres: &'static Postgres,
        name: &str,
        partitions: i32,
        history: History,
    ) -> Result<Case> {
        let folder = tempfile::tempdir()?;
        let (s3, root) = match history {
            History::Nowhere => (None, None),
            History::Folder => (None, Some(folder.path().join("lake"))),
            History::S3 => {
                let server = S3Server::start(folder.path().join("s3"))?;
                let root = server.create_bucket(&bucket(name))?.join("lake");
                (Some(server), Some(root))
            }
        };
        if let Some(root) = &root {
            std::fs::create_dir_all(root)?;
        }
        let case = Case {
            name: name.to_owned(),
            kafka,
            postgres,
            topics: KINDS.map(|kind| Some(format!("{name}.{kind}"))),
            lake: root.map(|root| LakeFolder::new(root).topics_dir("")),
            s3,
            folder,
        };
        if partitions > 0 {
            for topic in case.topics.iter().flatten() {
                case.kafka.create_topic(topic, partitions, &[])?;
            }
        }
        Ok(case)
    }

    /// The topic of a kind.
    pub fn topic(&self, kind: &str) -> String {
        format!("{}.{kind}", self.name)
    }

    /// A command with everything: Postgres, the schema, topics, lake and Kafka.
    pub fn command(&self, command: &str) -> Pinflow {
        self.command_in(&self.name, command)
    }

    /// The same for another schema: another engine on the same topics and lake.
    pub fn command_in(&self, schema: &str, command: &str) -> Pinflow {
        self.with_topics(self.without_topics(schema, command)).kafka(self.kafka)
    }

    /// A command without Kafka.
    pub fn offline(&self, command: &str) -> Pinflow {
        self.with_topics(self.without_topics(&self.name, command))
    }

    /// A command without Kafka and `--topics`.
    pub fn without_topics(&self, schema: &str, command: &str) -> Pinflow {
        self.at(&self.postgres.url(), schema, command)
    }

    /// A command with everything, which finds PostgreSQL at this URL.
    pub fn command_at(&self, url: &str, command: &str) -> Pinflow {
        self.with_topics(self.at(url, &self.name, command)).kafka(self.kafka)
    }

    fn at(&self, url: &str, schema: &str, command: &str) -> Pinflow {
        let command = Pinflow::new(command).args(["--postgres", url, "--schema", schema]);
        match (&self.s3, &self.lake) {
            (Some(server), _) => command.s3(server, &format!("{}/lake", bucket(&self.name))),
            (None, Some(lake)) => command.lake(lake),
            (None, None) => command,
        }
    }

    fn with_topics(&self, command: Pinflow) -> Pinflow {
        let named = KINDS.iter().zip(&self.topics);
        let named = named.filter_map(|(kind, topic)| Some(format!("{kind}={}", topic.as_ref()?)));
        let named: Vec<String> = named.collect();
        command.args(["--topics", &named.join(",")])
    }

    /// Writes values into a partition and waits until the broker has them. The producer is a new one, which knows
    /// partitions added since.
    pub fn send(&self, kind: &str, partition: i32, values: &[String]) -> Result<()> {
        self.send_to(&self.topic(kind), partition, values)
    }

    /// The same into any topic.
    pub fn send_to(&self, topic: &str, partition: i32, values: &[String]) -> Result<()> {
        send_through(&Producer::new(&self.kafka.bootstrap())?, topic, partition, values)
    }

    /// Waits until the recorded frontier of a partition has reached `next`. Fails as soon as the program has ended.
    pub fn reaches(&self, run: &mut Program, kind: &str, partition: i32, next: i64) -> Result<()> {
        self.reaches_in(run, &self.name, &self.topic(kind), partition, next)
    }

    /// The same in any schema, of any topic.
    pub fn reaches_in(&self, run: &mut Program, schema: &str, topic: &str, partition: i32, next: i64) -> Result<()> {
        let database = self.database()?;
        let sql = format!(
            "SELECT coalesce(max(next_offset), -1) FROM {schema}.frontier WHERE topic = '{topic}' AND partition = \
             {partition}"
        );
        eventually(&format!("{topic}/{partition} at {next}"), SOON, || {
            let reached = database.number(&sql).unwrap_or(-1);
            ensure!(reached >= next || run.is_running()?, "it ended: {}", run.tail());
            Ok(reached >= next)
        })
        .with_context(|| run.tail())
    }

    /// A session.
    pub fn database(&self) -> Result<Database> {
        Database::connect(&self.postgres.url())
    }

    /// The country of a place in the schema's cleaned table.
    pub fn country(&self, ind: i64) -> Result<Option<String>> {
        self.country_in(&self.name, ind)
    }

    /// The same in any schema.
    pub fn country_in(&self, schema: &str, ind: i64) -> Result<Option<String>> {
        let rows = self
            .database()?
            .rows(&format!("SELECT country FROM {schema}.geo_table WHERE ind = {ind}"))?;
        Ok(rows.into_iter().flatten().next().flatten())
    }

    /// Demands the country of a place.
    pub fn demand_country(&self, ind: i64, country: &str) -> Result<()> {
        let found = self.country(ind)?;
        ensure!(
            found.as_deref() == Some(country),
            "place {ind} is in {found:?}, not in {country}"
        );
        Ok(())
    }

    /// The recorded boundaries of the schema as `GENERATION:PARTITION:START`, of one topic.
    pub fn generations(&self, schema: &str, kind: &str) -> Result<Vec<String>> {
        let sql = format!(
            "SELECT generation || ':' || partition || ':' || start_offset FROM {schema}.generations WHERE topic = '{}' \
             ORDER BY generation, partition",
            self.topic(kind)
        );
        Ok(self.database()?.rows(&sql)?.into_iter().flatten().flatten().collect())
    }

    /// The file of the lake's boundaries.
    pub fn boundaries(&self) -> Result<PathBuf> {
        let lake = self.lake.as_ref().context("the case has no lake")?;
        Ok(lake.root().join("_pinflow/generations.json"))
    }

    /// Writes lines as they are, as the object of these offsets.
    pub fn archive(&self, kind: &str, start: i64, lines: &[String]) -> Result<()> {
        let lake = self.lake.as_ref().context("the case has no lake")?;
        let bytes: String = lines.iter().map(|line| format!("{line}\n")).collect();
        lake.put(&lake.key(&self.topic(kind), 0, start, None), bytes.as_bytes())
    }

    /// A folder for whatever else the case needs.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Demands that `verify` and `verify --replay` find nothing in the schema.
    pub fn verify_tables(&self) -> Result<()> {
        self.verify_tables_in(&self.name)
    }

    /// The same of any schema.
    pub fn verify_tables_in(&self, schema: &str) -> Result<()> {
        let verify = self.command_in(schema, "verify").args(["--replay"]);
        verify.succeed(SOON).map(drop)
    }

    /// Everything that the tables show, results and cleaned tables, each as its sorted rows.
    pub fn shown(&self, schema: &str) -> Result<Vec<(String, Vec<String>)>> {
        let database = self.database()?;
        let cleaned = ["pin_table", "geo_table", "user_table"].map(str::to_owned);
        let results = crate::plain::definitions()
            .iter()
            .map(|result| result.table.name.to_owned());
        let rows = |table: String| -> Result<(String, Vec<String>)> {
            let sql = format!("SELECT t::text FROM {schema}.{table} t ORDER BY 1");
            let rows = database.rows(&sql)?.into_iter().flatten().flatten();
            Ok((table, rows.collect()))
        };
        results.chain(cleaned).map(rows).collect()
    }

    /// Waits until a run has read everything that Kafka holds of the topics.
    pub fn catches_up(&self, run: &mut Program, schema: &str) -> Result<()> {
        for topic in self.topics.iter().flatten() {
            for partition in 0..self.kafka.partitions(topic)? {
                let (_, end) = self.kafka.watermarks(topic, partition)?;
                if end > 0 {
                    self.reaches_in(run, schema, topic, partition, end)?;
                }
            }
        }
        Ok(())
    }

    /// A start that commits and reads everything, and the end of the run.
    pub fn update(&self, schema: &str, args: &[&str]) -> Result<()> {
        let database = self.database()?;
        let commits = || {
            let counted = database.number(&format!("SELECT commits FROM {schema}.progress"));
            counted.unwrap_or(0)
        };
        let before = commits();
        let mut run = self.command_in(schema, "run").args(args).start()?;
        // the tables may have reached the end of the log before it starts
        eventually("a commit", SOON, || {
            ensure!(run.is_running()?, "it ended: {}", run.tail());
            Ok(commits() > before)
        })
        .with_context(|| run.tail())?;
        self.catches_up(&mut run, schema)?;
        stop(run)
    }

    /// Demands that a schema made anew from the same topics and lake shows the same. What was recorded with the tables
    /// must make no difference.
    pub fn demand_as_new(&self) -> Result<()> {
        let fresh = format!("{}_new", self.name);
        self.update(&fresh, &["--allow-missing-topic"])?;
        let (shown, wanted) = (self.shown(&self.name)?, self.shown(&fresh)?);
        self.database()?.run(&format!("DROP SCHEMA {fresh} CASCADE"))?;
        for ((table, shown), (_, wanted)) in shown.iter().zip(&wanted) {
            ensure!(shown == wanted, "{table} holds {shown:?}, and made anew {wanted:?}");
        }
        Ok(())
    }
}

/// Writes values without keys and waits until the broker has them.
pub fn send_through(producer: &Producer, topic: &str, partition: i32, values: &[String]) -> Result<()> {
    for value in values {
        let message = Message {
            partition: Some(partition),
            key: None,
            value: Some(value.as_bytes()),
        };
        producer.send(topic, message)?;
    }
    producer.flush()
}

/// A bucket's name may hold no underscore.
fn bucket(name: &str) -> String {
    name.replace('_', "-")
}

/// Plays all variants of a scenario at once: most of their time is waiting.
pub fn each<T: Send>(variants: Vec<T>, play: impl Fn(T) -> Result<()> + Sync) -> Result<()> {
    watchdog::watch();
    std::thread::scope(|scope| {
        let play = &play;
        let threads = variants.into_iter().map(|variant| scope.spawn(move || play(variant)));
        let threads: Vec<_> = threads.collect();
        let ended = threads.into_iter().map(|thread| thread.join());
        let ended: Vec<_> = ended.collect();
        ended
            .into_iter()
            .try_for_each(|ended| ended.map_err(|_| anyhow!("a variant panicked"))?)
    })
}

/// SIGTERM, and the end with 0.
pub fn stop(mut run: Program) -> Result<()> {
    run.terminate()?;
    run.expect(0, SOON)
}

/// A place.
pub fn geo(ind: i64, country: &str) -> String {
    json!({"ind": ind, "timestamp": "2020-08-28 03:52:47", "latitude": 1.5, "longitude": 2.5, "country": country})
        .to_string()
}

/// Places in the same country.
pub fn geos(inds: std::ops::Range<i64>, country: &str) -> Vec<String> {
    inds.map(|ind| geo(ind, country)).collect()
}

/// A post.
pub fn pin(ind: i64, category: &str) -> String {
    json!({
        "index": ind, "unique_id": format!("u{ind}"), "title": "t", "description": "d",
        "poster_name": format!("p{ind}"), "follower_count": "12k", "tag_list": "a", "is_image_or_video": "image",
        "image_src": "s", "downloaded": 1, "save_location": format!("Local save in /data/{category}"),
        "category": category
    })
    .to_string()
}

/// Posts of the same category.
pub fn pins(inds: std::ops::Range<i64>, category: &str) -> Vec<String> {
    inds.map(|ind| pin(ind, category)).collect()
}

/// A person.
pub fn user(ind: i64) -> String {
    json!({"ind": ind, "first_name": "A", "last_name": "B", "age": 20, "date_joined": "2015-10-24 11:23:51"})
        .to_string()
}
