//! PostgreSQL from a synchronous test: rows as texts.

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A session; ended when dropped.
pub struct Database {
    runtime: Runtime,
    client: Client,
}

impl Database {
    /// Opens a session.
    pub fn connect(url: &str) -> Result<Database> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (client, connection) = runtime
            .block_on(tokio_postgres::connect(url, NoTls))
            .context("connecting")?;
        runtime.spawn(connection);
        Ok(Database { runtime, client })
    }

    /// Runs statements and returns the rows of the last one that has any, each column as text, null as `None`.
    pub fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let messages = self
            .runtime
            .block_on(self.client.simple_query(sql))
            .with_context(|| format!("running {sql}"))?;
        let mut rows = Vec::new();
        for message in messages {
            match message {
                SimpleQueryMessage::RowDescription(_) => rows.clear(),
                SimpleQueryMessage::Row(row) => {
                    rows.push(
                        (0..row.len())
                            .map(|column| row.get(column).map(str::to_owned))
                            .collect(),
                    );
                }
                _ => {}
            }
        }
        Ok(rows)
    }

    /// The one value that a query answers.
    pub fn value(&self, sql: &str) -> Result<Option<String>> {
        let rows = self.rows(sql)?;
        let row = rows.first().with_context(|| format!("no row from {sql}"))?;
        Ok(row.first().with_context(|| format!("no column from {sql}"))?.clone())
    }

    /// The one number that a query answers.
    pub fn number(&self, sql: &str) -> Result<i64> {
        let value = self.value(sql)?.with_context(|| format!("null from {sql}"))?;
        value
            .parse()
            .with_context(|| format!("{value} from {sql} is no number"))
    }

    /// Runs statements.
    pub fn run(&self, sql: &str) -> Result<()> {
        self.rows(sql).map(drop)
    }
}
