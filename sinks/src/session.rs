//! One connection to Postgres: its settings, its prepared statements, and how statements are sent together.

use crate::config::PostgresConfig;
use crate::error::SinkError;
use crate::postgres_error::PostgresError;
use crate::quote::quoted;
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
                tracing::debug!(error = %PostgresError::from(error), "connection to postgres ended");
            }
        });
        let mut session = Session { client, driver, pid: 0 };
        session
            .client
            .batch_execute(&settings(config, purpose))
            .await
            .map_err(failed)?;
        let who = "SELECT pg_backend_pid(), pg_is_in_recovery()";
        let row = session.client.query_one(who, &[]).await.map_err(failed)?;
        if purpose != Purpose::Read && row.get(1) {
            let server = target.places();
            return Err(SinkError::Standby { server });
        }
        session.pid = row.get(0);
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
            tracing::debug!(error = %PostgresError::from(error), "connection to postgres ended");
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
        // What a step sends behind a BEGIN that fails, because it was cancelled, must not be written statement by
        // statement: whoever writes in such a session says so.
        //
        // Live statements join a handful of rows with a table by its key, whatever the statistics say: one generic
        // plan by index, made once, is always right for them. The first commit turns this back on for itself.
        Purpose::Sink => sql.push_str(
            "SET default_transaction_read_only = on; SET synchronous_commit = on; SET work_mem = '64MB'; \
             SET plan_cache_mode = force_generic_plan; SET lock_timeout = '30s'; SET idle_in_transaction_session_timeout = '60s';",
        ),
        Purpose::Stage => sql.push_str("SET synchronous_commit = off;"),
        // a transaction is idle while what was read is uploaded or computed on
        Purpose::Read => sql.push_str("SET work_mem = '128MB'; SET idle_in_transaction_session_timeout = 0;"),
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

/// Begins a transaction that writes, in a session that commits.
pub(crate) const BEGIN_TO_WRITE: &str = "BEGIN READ WRITE";

/// Statements that write in a session that commits, all of them or none.
pub(crate) fn to_write(statements: &str) -> String {
    format!("SET TRANSACTION READ WRITE; {statements}")
}

/// A statement on its way.
pub(crate) type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, tokio_postgres::Error>> + Send + 'a>>;

/// Sends all statements before waiting for any answer, in order, and waits for every answer.
///
/// tokio-postgres sends a statement when its future is first polled, so one round of polls puts them all on the wire:
/// a commit of 25 statements takes the time of one round trip. Statements after a failed one are answered with
/// "transaction is aborted"; the error returned is the first in order, which is the cause. What cannot be sent, such as a
/// value that is no value of the parameter's type, ends the round: nothing that comes behind it is sent, a COMMIT least
/// of all.
pub(crate) async fn pipeline<T>(pending: Vec<(String, Pending<'_, T>)>) -> Result<Vec<T>, SinkError> {
    let (contexts, mut pending): (Vec<String>, Vec<Pending<'_, T>>) = pending.into_iter().unzip();
    let mut answers: Vec<Option<Result<T, tokio_postgres::Error>>> = Vec::with_capacity(pending.len());
    let mut unsent = false;
    std::future::poll_fn(|cx| {
        for (pending, answer) in pending.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let Poll::Ready(result) = pending.as_mut().poll(cx)
            {
                *answer = Some(result);
            }
        }
        while !unsent && answers.len() < pending.len() {
            let first = pending[answers.len()].as_mut().poll(cx);
            unsent = matches!(first, Poll::Ready(Err(_)));
            answers.push(match first {
                Poll::Ready(result) => Some(result),
                Poll::Pending => None,
            });
        }
        if answers.iter().all(Option::is_some) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    let mut values = Vec::with_capacity(answers.len());
    for (answer, context) in answers.into_iter().zip(contexts) {
        // every answer is there once poll_fn has ended
        match answer.expect("an answer for each statement") {
            Ok(value) => values.push(value),
            Err(source) => return Err(SinkError::postgres(context, source)),
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Answers when it is polled for the second time, as what was sent does; counts how often it is polled.
    fn sent(polled: &AtomicUsize) -> Pending<'_, usize> {
        Box::pin(std::future::poll_fn(|cx| {
            cx.waker().wake_by_ref();
            match polled.fetch_add(1, Ordering::Relaxed) {
                0 => Poll::Pending,
                times => Poll::Ready(Ok(times)),
            }
        }))
    }

    fn of(pending: Vec<Pending<'_, usize>>) -> Vec<(String, Pending<'_, usize>)> {
        let number = |(number, pending)| (format!("statement {number}"), pending);
        pending.into_iter().enumerate().map(number).collect()
    }

    #[tokio::test]
    async fn what_cannot_be_sent_keeps_back_what_follows() {
        let [first, second] = [AtomicUsize::new(0), AtomicUsize::new(0)];
        let both = pipeline(of(vec![sent(&first), sent(&second)])).await;
        assert_eq!(both.unwrap(), [1, 1]);

        let [first, last] = [AtomicUsize::new(0), AtomicUsize::new(0)];
        let error = "nonsense=1"
            .parse::<tokio_postgres::Config>()
            .expect_err("no such option");
        let unsent: Pending<'_, usize> = Box::pin(async { Err(error) });
        let failed = pipeline(of(vec![sent(&first), unsent, sent(&last)])).await;
        let said = failed.expect_err("one was not sent").to_string();
        assert!(said.starts_with("statement 1"), "{said}");
        let polled = [&first, &last].map(|polled| polled.load(Ordering::Relaxed));
        assert_eq!(polled, [2, 0], "what was sent is waited for, what follows is not sent");
    }
}
