//! One connection to Postgres: its settings, its prepared statements, and how statements are sent together.

use crate::config::PostgresConfig;
use crate::error::SinkError;
use crate::schema::quoted;
use crate::target::Target;
use crate::tls;
use std::future::Future;
use std::pin::Pin;
use std::task::Poll;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// A live connection. Its driver ends with it.
pub(crate) struct Session {
    pub(crate) client: Client,
    driver: JoinHandle<()>,
    /// Server process, to tell our own old connection from somebody else's.
    pub(crate) pid: i32,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// What a connection is for: decides its settings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Commits.
    Sink,
    /// Copies history into unlogged tables: may be lost, so nothing waits for the disk.
    Stage,
    /// Reads.
    Read,
}

impl Session {
    /// Connects once.
    pub(crate) async fn open(config: &PostgresConfig, purpose: Purpose) -> Result<Session, SinkError> {
        let target = config.target()?;
        let connector = tls::connector(&target)?;
        let failed = |source| SinkError::postgres(target.cannot_connect(), source);
        let (client, connection) = target.pg.connect(connector).await.map_err(failed)?;
        check_encoding(connection.parameter("server_encoding"), &target)?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to postgres ended");
            }
        });
        let mut session = Session { client, driver, pid: 0 };
        session
            .client
            .batch_execute(&settings(config, purpose))
            .await
            .map_err(failed)?;
        session.pid = session
            .client
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .map_err(failed)?
            .get(0);
        Ok(session)
    }
}

/// A plain connection under the same rules for TLS, to read tables that are not the sink's. Times are shown in UTC.
/// Its driver ends when the client is dropped.
pub async fn connect(config: &PostgresConfig) -> Result<Client, SinkError> {
    let target = config.target()?;
    let connector = tls::connector(&target)?;
    let failed = |source| SinkError::postgres(target.cannot_connect(), source);
    let (client, connection) = target.pg.connect(connector).await.map_err(failed)?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to postgres ended");
        }
    });
    let settings = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET extra_float_digits = 1";
    client.batch_execute(settings).await.map_err(failed)?;
    Ok(client)
}

/// Text of records is UTF-8, whatever the characters: other encodings have no place for most of them, and none at all
/// makes functions of text count bytes.
fn check_encoding(encoding: Option<&str>, target: &Target) -> Result<(), SinkError> {
    match encoding {
        Some(encoding) if encoding != "UTF8" => Err(SinkError::Encoding {
            database: target.database().to_owned(),
            encoding: encoding.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn settings(config: &PostgresConfig, purpose: Purpose) -> String {
    let timeout = match purpose {
        Purpose::Sink => config.statement_timeout.as_millis(),
        Purpose::Stage | Purpose::Read => 0,
    };
    let mut sql = format!(
        "SET search_path TO {}; SET statement_timeout = {timeout}; SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; \
         SET standard_conforming_strings = on; SET client_min_messages = warning; SET jit = off; \
         SET extra_float_digits = 1; SET bytea_output = 'hex'; SET default_transaction_isolation = 'read committed'; \
         SET default_transaction_read_only = off;",
        quoted(&config.schema)
    );
    match purpose {
        // Live statements join a handful of rows with a table by its key, whatever the statistics say: one generic
        // plan by index, made once, is always right for them. The first commit turns this back on for itself.
        Purpose::Sink => sql.push_str(
            "SET synchronous_commit = on; SET work_mem = '64MB'; SET plan_cache_mode = force_generic_plan; \
             SET lock_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s';",
        ),
        Purpose::Stage => sql.push_str("SET synchronous_commit = off;"),
        Purpose::Read => sql.push_str("SET work_mem = '128MB';"),
    }
    if purpose == Purpose::Sink {
        sql.push_str(BY_INDEX);
    }
    sql
}

/// Plans for a few rows.
pub(crate) const BY_INDEX: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;";

/// Plans for whole tables, until the end of the transaction.
pub(crate) const IN_BULK: &str = "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; \
     SET LOCAL enable_mergejoin = on; SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL work_mem = '256MB'; \
     SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0;";

/// A statement on its way.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, tokio_postgres::Error>> + Send + 'a>>;

/// Sends all statements before waiting for any answer, in order, and waits for every answer.
///
/// tokio-postgres sends a statement when its future is first polled, so one round of polls puts them all on the wire:
/// a commit of 25 statements takes the time of one round trip. Statements after a failed one are answered with
/// "transaction is aborted"; the error returned is the first in order, which is the cause.
pub(crate) async fn pipeline<T>(mut pending: Vec<(String, Pending<'_, T>)>) -> Result<Vec<T>, SinkError> {
    let mut answers: Vec<Option<Result<T, tokio_postgres::Error>>> = pending.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        let mut waiting = false;
        for ((_, pending), answer) in pending.iter_mut().zip(&mut answers) {
            if answer.is_none() {
                match pending.as_mut().poll(cx) {
                    Poll::Ready(result) => *answer = Some(result),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    let mut values = Vec::with_capacity(answers.len());
    for (answer, (context, _)) in answers.into_iter().zip(pending) {
        // every answer is there once poll_fn has ended
        match answer.expect("an answer for each statement") {
            Ok(value) => values.push(value),
            Err(source) => return Err(SinkError::postgres(context, source)),
        }
    }
    Ok(values)
}
