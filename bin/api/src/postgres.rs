//! Reading PostgreSQL: a small pool of connections, and snapshots of one commit.
//!
//! A snapshot is a `REPEATABLE READ` transaction that has read the commit's number and frontier first: whatever is read
//! through it belongs to that commit. A connection whose snapshot was not finished is closed, not used again.

use crate::error::{ApiError, shown};
use crate::frontier::Frontier;
use crate::wait::nothing;
use sinks::{PostgresConfig, SinkError, qualified, quoted};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// How long a request waits for one of them.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a statement may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a statement may take whose rows a client takes slowly.
const SLOW_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a transaction may wait for its client.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no schema yet, or no commit in it.
    #[error("schema {schema} holds no results yet: the first commit of this run makes them")]
    NoResults {
        /// The schema.
        schema: String,
    },
    /// All connections are in use.
    #[error("all {0} connections to postgres are in use")]
    Busy(usize),
    /// Too many answers are taken slowly by their clients.
    #[error("{0} answers that are longer than a mebibyte are on their way already")]
    LongAnswers(usize),
    /// A connection cannot be made.
    #[error(transparent)]
    Connect(#[from] SinkError),
    /// A statement failed.
    #[error("reading postgres: {0}")]
    Statement(#[from] tokio_postgres::Error),
}

impl ReadError {
    fn of(schema: &str, error: tokio_postgres::Error) -> ReadError {
        let missing = [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME];
        match error.code() {
            Some(code) if missing.contains(code) => ReadError::NoResults {
                schema: schema.to_owned(),
            },
            _ => ReadError::Statement(error),
        }
    }
}

/// What a failure of PostgreSQL answers.
pub fn unreadable(error: ReadError) -> ApiError {
    match &error {
        ReadError::NoResults { .. } => nothing(&error.to_string()),
        ReadError::Statement(cause) if cause.code() == Some(&SqlState::QUERY_CANCELED) => ApiError::unavailable(
            "the query took too long",
            "ask for less, by the columns of the primary key",
        ),
        ReadError::Busy(_) | ReadError::LongAnswers(_) | ReadError::Connect(_) | ReadError::Statement(_) => {
            tracing::warn!(%error, "a request cannot be answered");
            let text = error.to_string();
            ApiError::unavailable(shown(&text).trim_matches('`'), "try again")
        }
    }
}

/// Connects for reading.
pub async fn connect(config: &PostgresConfig) -> Result<Client, ReadError> {
    let client = sinks::connect(config).await?;
    let settings = format!(
        "SET search_path TO {}; SET statement_timeout = {}; SET idle_in_transaction_session_timeout = {}; \
         SET default_transaction_read_only = on; SET jit = off",
        quoted(&config.schema),
        STATEMENT_TIMEOUT.as_millis(),
        IDLE_TIMEOUT.as_millis()
    );
    client.batch_execute(&settings).await?;
    Ok(client)
}

/// Which commit a snapshot is of.
#[derive(Clone, Debug)]
pub struct Head {
    /// The commit.
    pub commit: i64,
    /// Its frontier.
    pub frontier: Frontier,
}

/// Begins a snapshot and reads which commit it is of.
pub async fn begin(client: &Client, schema: &str) -> Result<Head, ReadError> {
    client
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .await?;
    let query = format!(
        "SELECT p.commits, f.topic, f.partition, f.next_offset FROM {} AS p LEFT JOIN {} AS f ON true \
         WHERE p.id = 1 ORDER BY f.topic COLLATE \"C\", f.partition",
        qualified(schema, "progress"),
        qualified(schema, "frontier")
    );
    let rows = client
        .query(&query, &[])
        .await
        .map_err(|error| ReadError::of(schema, error))?;
    let commit: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    if commit == 0 {
        return Err(ReadError::NoResults {
            schema: schema.to_owned(),
        });
    }
    let mut entries: Vec<(&str, i32, i64)> = Vec::with_capacity(rows.len());
    for row in &rows {
        if let Some(topic) = row.try_get(1)? {
            entries.push((topic, row.try_get(2)?, row.try_get(3)?));
        }
    }
    let frontier = Frontier::of(Frontier::default().places(), &entries);
    Ok(Head { commit, frontier })
}

/// Connections that requests share.
#[derive(Debug)]
pub struct Pool {
    config: PostgresConfig,
    connections: usize,
    free: Arc<Semaphore>,
    /// One connection is left for answers that take no client's time.
    long: Arc<Semaphore>,
    idle: Mutex<Vec<Client>>,
}

/// One commit, held open for reading.
pub struct Snapshot {
    client: Option<Client>,
    /// The commit.
    pub head: Head,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("head", &self.head)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// So many connections at most, made when they are needed.
    pub fn new(config: PostgresConfig, connections: usize) -> Pool {
        Pool {
            config,
            connections,
            free: Arc::new(Semaphore::new(connections)),
            long: Arc::new(Semaphore::new(connections - 1)),
            idle: Mutex::default(),
        }
    }

    /// The schema.
    pub fn schema(&self) -> &str {
        &self.config.schema
    }

    /// Begins a snapshot of the newest commit.
    ///
    /// # Errors
    /// No connection is free in time or can be made, or there is nothing to read.
    pub async fn snapshot(self: &Arc<Self>) -> Result<Snapshot, ReadError> {
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.free).acquire_owned()).await;
        let permit = permit
            .ok()
            .and_then(Result::ok)
            .ok_or(ReadError::Busy(self.connections))?;
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let (client, is_new) = match idle {
                Some(client) => (client, false),
                None => (connect(&self.config).await?, true),
            };
            match begin(&client, self.schema()).await {
                Ok(head) => {
                    return Ok(Snapshot {
                        client: Some(client),
                        head,
                        pool: Arc::clone(self),
                        _permit: permit,
                    });
                }
                // the server may have ended it meanwhile
                Err(_) if !is_new && client.is_closed() => {}
                Err(error) => {
                    self.give_back(client).await;
                    return Err(error);
                }
            }
        }
    }

    /// A place for an answer that keeps its snapshot as long as its client takes it.
    pub fn begin_long_answer(&self) -> Result<OwnedSemaphorePermit, ReadError> {
        let place = Arc::clone(&self.long).try_acquire_owned();
        place.map_err(|_| ReadError::LongAnswers(self.connections - 1))
    }

    async fn give_back(&self, client: Client) {
        if client.batch_execute("ROLLBACK").await.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        }
    }
}

impl Snapshot {
    /// The connection, in its transaction.
    pub fn client(&self) -> &Client {
        self.client
            .as_ref()
            .expect("it is there until the snapshot is finished")
    }

    /// Allows for a client that takes its rows slowly.
    ///
    /// # Errors
    /// The connection is lost.
    pub async fn be_patient(&self) -> Result<(), ReadError> {
        let timeout = format!("SET LOCAL statement_timeout = {}", SLOW_TIMEOUT.as_millis());
        Ok(self.client().batch_execute(&timeout).await?)
    }

    /// Ends the transaction and gives the connection back.
    pub async fn finish(mut self) {
        if let Some(client) = self.client.take() {
            self.pool.give_back(client).await;
        }
    }
}
