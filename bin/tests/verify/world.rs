//! A lake and a schema of the test's own, and the program that works on them.

use super::program;
use servers::{Postgres, PostgresOptions};
use std::path::PathBuf;
use std::sync::LazyLock;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

/// One server for all tests; a schema each.
pub static POSTGRES: LazyLock<Postgres> =
    LazyLock::new(|| Postgres::start(PostgresOptions::default()).expect("PostgreSQL is installed"));

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Lines of the standard output that begin so.
    pub fn lines(&self, beginning: &str) -> Vec<&str> {
        self.stdout.lines().filter(|line| line.starts_with(beginning)).collect()
    }

    /// The tables that were said to differ, with their counts.
    pub fn differing(&self) -> Vec<String> {
        let counted = self
            .stdout
            .lines()
            .filter(|line| line.ends_with(" surplus") && !line.starts_with("repaired "));
        let name = |line: &str| {
            let (name, rest) = line.split_once(" (").unwrap();
            format!("{name}: {}", rest.rsplit_once("): ").unwrap().1)
        };
        counted.map(name).collect()
    }
}

/// A lake and a schema.
pub struct World {
    pub lake: TempDir,
    pub schema: String,
    pub runtime: Runtime,
    pub client: Client,
}

impl World {
    pub fn new(schema: &str) -> World {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&POSTGRES.url(), NoTls).await.unwrap();
            tokio::spawn(connection);
            client
                .batch_execute(&format!("SET search_path TO {schema}"))
                .await
                .unwrap();
            client
        });
        World {
            lake: TempDir::new().unwrap(),
            schema: schema.to_owned(),
            runtime,
            client,
        }
    }

    /// Generates the lake: odd records, records sent again and deletes among them.
    pub fn generate(&self, posts: u32, partitions: u32, more: &[&str]) {
        let (posts, partitions) = (posts.to_string(), partitions.to_string());
        let lake = self.lake_url();
        let mut arguments = vec![
            "generate",
            "--lake",
            &lake,
            "--posts",
            &posts,
            "--seed",
            "11",
            "--partitions",
            &partitions,
            "--records-per-object",
            "50",
        ];
        arguments.extend(more);
        let generated = pinflow(&arguments);
        assert_eq!(generated.code, 0, "{generated:?}");
    }

    pub fn lake_url(&self) -> String {
        format!("file://{}", self.lake.path().display())
    }

    /// Runs a command against this lake and schema.
    pub fn run(&self, command: &[&str]) -> Ended {
        let (lake, url) = (self.lake_url(), POSTGRES.url());
        pinflow(
            &[
                command,
                &["--lake", &lake, "--postgres", &url, "--schema", &self.schema],
            ]
            .concat(),
        )
    }

    pub fn backfill(&self, more: &[&str]) {
        let ended = self.run(&[&["backfill"], more].concat());
        assert_eq!(ended.code, 0, "{ended:?}");
    }

    pub fn verify(&self, more: &[&str]) -> Ended {
        self.run(&[&["verify"], more].concat())
    }

    /// Verifies well, plainly and by replay.
    pub fn is_clean(&self, tables: usize, more: &[&str]) {
        let replayed = self.verify(&[&["--replay"], more].concat());
        assert_eq!(replayed.code, 0, "{replayed:?}");
        assert!(
            replayed
                .stdout
                .contains(&format!("\nok: {tables} tables agree at frontier ")),
            "{replayed:?}"
        );
    }

    /// Does one statement that has to change `rows` rows.
    pub fn edit(&self, rows: u64, sql: &str) {
        let changed = self.runtime.block_on(self.client.execute(sql, &[])).unwrap();
        assert_eq!(changed, rows, "{sql}");
    }

    pub fn one<T: for<'a> tokio_postgres::types::FromSql<'a>>(&self, sql: &str) -> T {
        self.runtime.block_on(self.client.query_one(sql, &[])).unwrap().get(0)
    }

    /// The objects of a topic, in the order of their offsets.
    pub fn objects(&self, topic: &str) -> Vec<PathBuf> {
        let folder = self.lake.path().join(topic).join("partition=0");
        let mut objects: Vec<PathBuf> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        objects.sort();
        objects
    }
}

/// Runs a command to its end.
pub fn pinflow(arguments: &[&str]) -> Ended {
    let output = program::pinflow(arguments);
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Odd records, records sent again, and deletes.
pub const ODD: [&str; 6] = ["--dirty", "0.05", "--duplicates", "0.05", "--deletes", "0.02"];
