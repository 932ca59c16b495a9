//! Who may commit: a number in the progress row, and an advisory lock that says who is there.
//!
//! The **number** is what makes an older run harmless: each run raises it once and each commit compares it under a row
//! lock. The **lock** (a session advisory lock of the sink's connection) says whether somebody works in the schema
//! right now, so that a `backfill` can be refused; and since it is held until the server has really ended a session,
//! who gets it knows that no earlier transaction of ours is still on its way.
//!
//! Postgres itself may go back: a failover to an asynchronous replica loses the last commits, among them perhaps the
//! one that raised the number. Then the number is smaller than ours, or another run has taken the same one after the
//! failover, which the run's id beside it shows; or the number of commits is smaller than what was answered to us.
//!
//! A pooler that hands out sessions by transaction (PgBouncer's transaction mode) cannot carry either.

use crate::backoff::Backoff;
use crate::error::SinkError;
use crate::hash::fnv1a;
use crate::postgres_error::PostgresError;
use crate::quote::quoted;
use crate::session::{BEGIN_TO_WRITE, Pending, Session, pipeline};
use std::cmp::Ordering;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Statement;
use tokio_postgres::error::SqlState;

/// What a run does when somebody else works in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A `run` takes over: the older one is fenced.
    Run,
    /// A `backfill` is refused, unless told to take over.
    Backfill {
        /// Take over as a run does.
        takeover: bool,
    },
}

impl Claim {
    fn takes_over(self) -> bool {
        matches!(self, Claim::Run | Claim::Backfill { takeover: true })
    }
}

/// How long taking the lock is tried again after its holder was told to end.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// The claim of a run: its number, and its id.
#[derive(Clone, Debug)]
pub(crate) struct Fence {
    pub(crate) number: i64,
    pub(crate) run_id: String,
}

/// Who holds the fence by the progress row.
pub(crate) struct Claimed {
    number: i64,
    /// Absent when a version without it has taken the fence.
    run_id: Option<String>,
}

impl Claimed {
    /// From the columns `fence, fence_run_id` that a row begins with.
    pub(crate) fn of(row: &tokio_postgres::Row) -> Claimed {
        Claimed {
            number: row.get(0),
            run_id: row.get(1),
        }
    }
}

impl Fence {
    /// Whether the fence is still ours.
    pub(crate) fn check(&self, schema: &str, theirs: &Claimed) -> Result<(), SinkError> {
        let by_us = theirs.run_id.as_ref() == Some(&self.run_id);
        match theirs.number.cmp(&self.number) {
            Ordering::Equal if by_us => Ok(()),
            Ordering::Less => Err(SinkError::FenceLost {
                schema: schema.into(),
                what: format!("its fence is {}, this run had taken {}", theirs.number, self.number),
            }),
            // the same number taken by another run: after a failover that lost ours, so it came later
            Ordering::Equal | Ordering::Greater => Err(SinkError::Fenced {
                ours: self.number,
                theirs: theirs.number,
                by: theirs.run_id.clone().unwrap_or_else(|| "of an earlier version".into()),
            }),
        }
    }

    /// Whether the tables are at the commit where this run left them.
    pub(crate) fn check_commits(&self, schema: &str, found: i64, left: i64) -> Result<(), SinkError> {
        match found.cmp(&left) {
            Ordering::Equal => Ok(()),
            Ordering::Less => Err(SinkError::FenceLost {
                schema: schema.into(),
                what: format!("its tables are at commit {found}, this run had committed {left}"),
            }),
            Ordering::Greater => Err(SinkError::Progress {
                schema: schema.into(),
                what: format!("commit {found} found where {left} was left"),
            }),
        }
    }
}

/// The key of an advisory lock of a schema: FNV-1a of `pinflow/{schema}/{purpose}`.
pub(crate) fn lock_key(schema: &str, purpose: &str) -> i64 {
    fnv1a(format!("pinflow/{schema}/{purpose}").as_bytes()) as i64
}

/// Raises the number and takes the lock, as the run called `run_id`.
pub(crate) async fn take(session: &Session, schema: &str, claim: Claim, run_id: &str) -> Result<Fence, SinkError> {
    if !claim.takes_over() && !try_lock(session, schema).await? {
        let holder = holder(session, schema).await?;
        return Err(held(schema, holder));
    }
    let fence = Fence {
        number: raise(session, schema, claim, run_id).await?,
        run_id: run_id.into(),
    };
    if claim.takes_over() {
        lock_as(session, schema, &fence).await?;
    }
    Ok(fence)
}

/// Takes the lock for the run that holds `fence`, ending whoever has it: an older run, or our own lost connection.
pub(crate) async fn lock_as(session: &Session, schema: &str, fence: &Fence) -> Result<(), SinkError> {
    let (started, mut backoff) = (
        Instant::now(),
        Backoff::new(Duration::from_millis(10), Duration::from_secs(1)),
    );
    loop {
        let locked = try_lock(session, schema).await?;
        // under the lock too: of two runs that start at once only the later number may stay
        if let Err(error) = fence.check(schema, &current(session, schema).await?) {
            if locked {
                unlock(session, schema).await?;
            }
            return Err(error);
        }
        if locked {
            return Ok(());
        }
        let holder = holder(session, schema).await?;
        if started.elapsed() > RETRY_TIMEOUT {
            return Err(SinkError::LockKept {
                schema: schema.into(),
                holder: name(holder),
            });
        }
        if let Some(holder) = holder {
            tracing::warn!(holder = %holder.text, fence = fence.number, "ending the session that holds the schema");
            holder.end(session).await;
        }
        backoff.wait().await;
    }
}

/// Who holds the fence now.
pub(crate) async fn current(session: &Session, schema: &str) -> Result<Claimed, SinkError> {
    let sql = format!(
        "SELECT fence, fence_run_id FROM {}.progress WHERE id = 1",
        quoted(schema)
    );
    let rows = session.client.query(&sql, &[]).await;
    let rows = rows.map_err(|source| failed(schema, source))?;
    Ok(Claimed::of(crate::progress::one_row(schema, &rows)?))
}

async fn raise(session: &Session, schema: &str, claim: Claim, run_id: &str) -> Result<i64, SinkError> {
    let sql = format!(
        "UPDATE {}.progress SET fence = fence + 1, fence_run_id = $1, started_at = now() WHERE id = 1 RETURNING fence",
        quoted(schema)
    );
    let client = &session.client;
    let raise = client.prepare(&sql).await.map_err(|source| failed(schema, source))?;
    let set_lock_timeout = async |timeout: &str| {
        let set = client.batch_execute(&format!("SET lock_timeout = '{timeout}'")).await;
        set.map_err(|source| failed(schema, source))
    };
    let started = Instant::now();
    loop {
        // a stopped process may hold the row in the middle of a commit
        set_lock_timeout("1s").await?;
        let raised = raise_once(session, schema, &raise, run_id).await;
        let is_locked = |error: &PostgresError| error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE);
        match raised {
            Ok(number) => {
                set_lock_timeout("30s").await?;
                return number.ok_or_else(|| crate::progress::missing_row(schema));
            }
            Err(SinkError::Postgres { source, .. }) if is_locked(&source) && started.elapsed() < RETRY_TIMEOUT => {
                if let (true, Some(holder)) = (claim.takes_over(), holder(session, schema).await?) {
                    tracing::warn!(holder = %holder.text, "ending the session that locks the progress row");
                    holder.end(session).await;
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// Raises the number in a transaction of its own and in one round trip, so that a run which is stopped in between does
/// not keep the row from others. Where the BEGIN fails, the session refuses what follows.
async fn raise_once(
    session: &Session,
    schema: &str,
    raise: &Statement,
    run_id: &str,
) -> Result<Option<i64>, SinkError> {
    let client = &session.client;
    let begin: Pending<'_, Option<i64>> = Box::pin(async { client.batch_execute(BEGIN_TO_WRITE).await.map(|()| None) });
    let raised = Box::pin(async {
        let rows = client.query(raise, &[&run_id]).await?;
        Ok(rows.first().map(|row| row.get(0)))
    });
    let commit = Box::pin(async { client.batch_execute("COMMIT").await.map(|()| None) });
    let answers = pipeline(vec![
        (taking(schema), begin),
        (taking(schema), raised),
        (taking(schema), commit),
    ]);
    Ok(answers.await?[1])
}

fn held(schema: &str, holder: Option<Holder>) -> SinkError {
    SinkError::Held {
        schema: schema.into(),
        holder: name(holder),
    }
}

fn name(holder: Option<Holder>) -> String {
    holder.map_or("another session".into(), |holder| holder.text)
}

/// Whether another session works in the schema.
pub(crate) async fn is_held(session: &Session, schema: &str) -> Result<bool, SinkError> {
    Ok(holder(session, schema).await?.is_some())
}

/// Refuses a claim that does not take over while another session works in the schema.
pub(crate) async fn refuse_while_held(session: &Session, schema: &str, claim: Claim) -> Result<(), SinkError> {
    match holder(session, schema).await? {
        Some(holder) if !claim.takes_over() => Err(held(schema, Some(holder))),
        _ => Ok(()),
    }
}

/// Ends the session that works in the schema, if there is one.
pub(crate) async fn end_holder(session: &Session, schema: &str) -> Result<(), SinkError> {
    if let Some(holder) = holder(session, schema).await? {
        tracing::warn!(holder = %holder.text, "ending the session that keeps the tables locked");
        holder.end(session).await;
    }
    Ok(())
}

async fn try_lock(session: &Session, schema: &str) -> Result<bool, SinkError> {
    let key = lock_key(schema, "sink");
    let row = session
        .client
        .query_one("SELECT pg_try_advisory_lock($1)", &[&key])
        .await;
    Ok(row.map_err(|source| failed(schema, source))?.get(0))
}

pub(crate) async fn unlock(session: &Session, schema: &str) -> Result<(), SinkError> {
    let key = lock_key(schema, "sink");
    let row = session.client.query_one("SELECT pg_advisory_unlock($1)", &[&key]).await;
    row.map(|_| ()).map_err(|source| failed(schema, source))
}

struct Holder {
    pid: i32,
    text: String,
}

impl Holder {
    /// Asks the server to end it. Without the right to do so its next commit finds the number raised, and it ends too.
    async fn end(&self, session: &Session) {
        if let Err(error) = session
            .client
            .execute("SELECT pg_terminate_backend($1)", &[&self.pid])
            .await
        {
            tracing::warn!(error = %PostgresError::from(error), holder = %self.text, "may not end the session; waiting until it ends itself");
        }
    }
}

async fn holder(session: &Session, schema: &str) -> Result<Option<Holder>, SinkError> {
    let key = lock_key(schema, "sink");
    let (high, low) = ((key as u64 >> 32) as u32, key as u32);
    let sql = "SELECT l.pid, a.application_name, coalesce(host(a.client_addr), 'local'), \
               coalesce(to_char(a.backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'), 'unknown') \
               FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid \
               WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid = $1 AND l.objid = $2 \
               AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND l.pid <> $3";
    let row = session.client.query_opt(sql, &[&high, &low, &session.pid]).await;
    Ok(row.map_err(|source| failed(schema, source))?.map(|row| {
        let (pid, name): (i32, Option<String>) = (row.get(0), row.get(1));
        let (address, since): (String, String) = (row.get(2), row.get(3));
        let name = name
            .filter(|name| !name.is_empty())
            .unwrap_or("a session without name".into());
        Holder {
            pid,
            text: format!("{name} (server process {pid}, from {address}, connected since {since} UTC)"),
        }
    }))
}

fn failed(schema: &str, source: tokio_postgres::Error) -> SinkError {
    SinkError::postgres(taking(schema), source)
}

fn taking(schema: &str) -> String {
    format!("taking the fence of schema {schema}")
}
