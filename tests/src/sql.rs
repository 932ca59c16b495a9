//! PostgreSQL from a synchronous test: rows as texts.

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// Rows of columns as text, null as `None`.
pub type Rows = Vec<Vec<Option<String>>>;

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
    pub fn rows(&self, sql: &str) -> Result<Rows> {
        Ok(self.all_rows(sql)?.pop().unwrap_or_default())
    }

    /// Runs statements and returns the rows of each one that can have any.
    pub fn all_rows(&self, sql: &str) -> Result<Vec<Rows>> {
        let messages = self
            .runtime
            .block_on(self.client.simple_query(sql))
            .with_context(|| format!("running {sql}"))?;
        let mut all: Vec<Rows> = Vec::new();
        for message in messages {
            match (message, all.last_mut()) {
                (SimpleQueryMessage::RowDescription(_), _) => all.push(Vec::new()),
                (SimpleQueryMessage::Row(row), Some(rows)) => {
                    let columns = 0..row.len();
                    rows.push(columns.map(|column| row.get(column).map(str::to_owned)).collect());
                }
                _ => {}
            }
        }
        Ok(all)
    }

    /// The names and the types' identifiers of a query's columns.
    pub fn columns(&self, sql: &str) -> Result<Vec<(String, u32)>> {
        let prepared = self.runtime.block_on(self.client.prepare(sql));
        let prepared = prepared.with_context(|| format!("preparing {sql}"))?;
        let columns = prepared.columns().iter();
        Ok(columns
            .map(|column| (column.name().to_owned(), column.type_().oid()))
            .collect())
    }

    /// The identifiers of the types of a query's parameters.
    pub fn parameters(&self, sql: &str) -> Result<Vec<u32>> {
        let prepared = self.runtime.block_on(self.client.prepare(sql));
        let prepared = prepared.with_context(|| format!("preparing {sql}"))?;
        Ok(prepared.params().iter().map(|ty| ty.oid()).collect())
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
