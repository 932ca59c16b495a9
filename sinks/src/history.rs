//! History on its way into the cleaned tables: staged beside them in unlogged tables, settled by the first commit.
//!
//! While millions of records are replayed, only the newest of each key will stay, and which one that is, is known at
//! the end. So every process copies all of its rows, with their positions, into `staging_{fence}_{table}`; the first
//! commit picks the winners there and writes what differs. An unlogged table is empty after a crash of the server:
//! the rows are counted before they are used.

use crate::access;
use crate::definition::Definition;
use crate::error::SinkError;
use crate::postgres_error::PostgresError;
use crate::quote::{list, qualified, quoted};
use crate::reject_limits::RejectLimits;
use crate::reject_surplus::Surplus;
use crate::rejects;
use crate::session::to_write;
use crate::sql::{self, REJECT_COLUMNS, STAGED, names_with_position, newest_first, position, staging_name};
use crate::step::StagedHistory;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use values::Table;

/// Drops the staging tables of this run and of older ones. A stager of an older run that was stopped in the middle of
/// a `COPY` keeps its table locked: its session is ended, since the fence is ours.
pub(crate) async fn drop_up_to(client: &Client, schema: &str, fence: i64) -> Result<(), SinkError> {
    let failed = |source| SinkError::postgres(format!("dropping staging tables of schema {schema}"), source);
    let sql = "SELECT c.oid, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relkind = 'r' AND c.relpersistence = 'u' \
               AND substring(c.relname::text FROM '^staging_([0-9]{1,18})_')::bigint <= $2";
    for row in client.query(sql, &[&schema, &fence]).await.map_err(failed)? {
        let (oid, name): (u32, String) = (row.get(0), row.get(1));
        let drop = to_write(&format!(
            "SET lock_timeout = '1s'; DROP TABLE IF EXISTS {}",
            qualified(schema, &name)
        ));
        let mut dropped = client.batch_execute(&drop).await;
        for _ in 0..5 {
            if !matches!(&dropped, Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)) {
                break;
            }
            let end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'relation' AND relation = $1 \
                       AND granted AND pid <> pg_backend_pid()";
            client.execute(end, &[&oid]).await.map_err(failed)?;
            dropped = client.batch_execute(&drop).await;
        }
        client.batch_execute("SET lock_timeout = '30s'").await.map_err(failed)?;
        if let Err(error) = dropped {
            if name.starts_with(&staging_name(fence, "")) {
                // the next pass makes it anew
                return Err(failed(error));
            }
            // its name carries its fence: it is in nobody's way
            tracing::warn!(error = %PostgresError::from(error), table = %name, "an old staging table stays until the next start");
        }
    }
    Ok(())
}

/// Creates the staging tables of this run; `limits` say how many dead letters have to be kept as they are.
pub(crate) async fn create(
    client: &Client,
    schema: &str,
    fence: i64,
    definition: &Definition,
    limits: &RejectLimits,
) -> Result<(), SinkError> {
    let mut sql = String::new();
    let options = "WITH (autovacuum_enabled = off)";
    for table in &definition.cleaned {
        let columns = table
            .columns
            .iter()
            .map(|c| format!("{} {}", quoted(c.name), c.ty.name()));
        let columns = columns.chain(STAGED.iter().map(|(name, ty)| format!("{name} {ty}")));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let name = qualified(schema, &staging_name(fence, table.name));
        sql.push_str(&format!("CREATE UNLOGGED TABLE {name} ({columns}) {options};"));
    }
    let columns = REJECT_COLUMNS
        .iter()
        .map(|(name, ty)| format!("{} {ty}", quoted(name)))
        .collect::<Vec<_>>();
    let name = qualified(schema, &staging_name(fence, "rejects"));
    sql.push_str(&format!(
        "CREATE UNLOGGED TABLE {name} ({}) {options};",
        columns.join(", ")
    ));
    sql.push_str(&access::hide(schema, &staging_name(fence, "rejects"), &[]));
    sql.push_str(&Surplus::of(schema, fence).create(fence, limits, options));
    let failed = |source| SinkError::postgres(format!("creating staging tables in schema {schema}"), source);
    client.batch_execute(&to_write(&sql)).await.map_err(failed)
}

/// Checks the counts and settles all staged tables, within the caller's transaction; `reject_topics` as in
/// [`crate::Step`]. Returns rows changed.
pub(crate) async fn settle(
    client: &Client,
    schema: &str,
    fence: i64,
    definition: &Definition,
    staged: &StagedHistory,
    reject_topics: &[String],
) -> Result<u64, SinkError> {
    let mut changed = 0;
    if definition.keep_cleaned {
        for (index, table) in definition.cleaned.iter().enumerate() {
            let expected = staged.rows.cleaned.get(index).copied().unwrap_or_default();
            let staging = qualified(schema, &staging_name(fence, table.name));
            let counting = format!("SELECT count(*) FROM {staging}");
            count(client, &counting, &staging, table.name, expected).await?;
            if expected > 0 || staged.full {
                changed += settle_table(client, schema, table, &staging, staged.full).await?;
            }
        }
    }
    let surplus = Surplus::of(schema, fence);
    let expected = staged.rows.rejects;
    count(client, &surplus.count(), &surplus.staging, "rejects", expected).await?;
    Ok(changed + rejects::settle(client, schema, &surplus, staged, reject_topics).await?)
}

async fn count(client: &Client, counting: &str, staging: &str, table: &str, expected: u64) -> Result<(), SinkError> {
    let row = client.query_one(counting, &[]).await;
    let found: i64 = row
        .map_err(|source| SinkError::postgres(format!("counting {staging}"), source))?
        .get(0);
    if found as u64 != expected {
        return Err(SinkError::Rehydrate {
            table: table.into(),
            found: found.to_string(),
            expected,
        });
    }
    Ok(())
}

async fn settle_table(
    client: &Client,
    schema: &str,
    table: &Table,
    staging: &str,
    full: bool,
) -> Result<u64, SinkError> {
    let target = qualified(schema, table.name);
    let tombstones = qualified(schema, "tombstones");
    let winners = format!("pg_temp.{}", quoted(&format!("winners_{}", table.name)));
    let key = quoted(table.columns[0].name);
    let kind = sql::kind(table);
    let columns = list_columns("", table);
    let failed = |source| SinkError::postgres(format!("settling history into {target}"), source);
    // the winners are narrow and are sorted; the wide rows are fetched by their place afterwards
    let make = format!(
        "CREATE TEMP TABLE {name} ON COMMIT DROP AS SELECT DISTINCT ON (s.{key}) s.{key} AS ind, s.log_generation, \
         s.log_partition, s.log_offset, s.log_deleted, s.ctid AS place FROM {staging} s {order}; ANALYZE {winners};",
        name = quoted(&format!("winners_{}", table.name)),
        order = newest_first(&key),
    );
    client.batch_execute(&make).await.map_err(failed)?;
    let (ours, theirs, dead) = (position("w"), position("t"), position("d"));
    let mut statements = Vec::new();
    if full {
        let alive = format!("SELECT 1 FROM {winners} w WHERE w.ind = t.{key} AND NOT w.log_deleted");
        statements.push(format!("DELETE FROM {target} t WHERE NOT EXISTS ({alive})"));
        let buried = format!("SELECT 1 FROM {winners} w WHERE w.ind = d.ind AND w.log_deleted");
        statements.push(format!(
            "DELETE FROM {tombstones} d WHERE d.\"table\" = {kind} AND NOT EXISTS ({buried})"
        ));
    } else {
        let older = |relation: &str, alias: &str, key: &str, position: &str, also: &str| {
            format!(
                "DELETE FROM {winners} w USING {relation} {alias} WHERE {alias}.{key} = w.ind AND {position} >= {ours}{also}"
            )
        };
        statements.push(older(&target, "t", &key, &theirs, ""));
        statements.push(older(
            &tombstones,
            "d",
            "ind",
            &dead,
            &format!(" AND d.\"table\" = {kind}"),
        ));
        statements.push(format!(
            "DELETE FROM {target} t USING {winners} w WHERE t.{key} = w.ind AND w.log_deleted"
        ));
        statements.push(format!(
            "DELETE FROM {tombstones} d USING {winners} w WHERE d.\"table\" = {kind} AND d.ind = w.ind AND NOT w.log_deleted"
        ));
    }
    statements.push(format!(
        "INSERT INTO {tombstones} AS d (\"table\", ind, log_generation, log_partition, log_offset) \
         SELECT {kind}, w.ind, w.log_generation, w.log_partition, w.log_offset FROM {winners} w WHERE w.log_deleted \
         ON CONFLICT (\"table\", ind) DO UPDATE SET log_generation = excluded.log_generation, \
         log_partition = excluded.log_partition, log_offset = excluded.log_offset \
         WHERE {dead} IS DISTINCT FROM (excluded.log_generation, excluded.log_offset, excluded.log_partition)"
    ));
    statements.push(format!(
        "INSERT INTO {target} AS t ({columns}) SELECT {theirs} FROM {winners} w JOIN {staging} s ON s.ctid = w.place \
         LEFT JOIN {target} h ON h.{key} = w.ind WHERE NOT w.log_deleted \
         AND (h.{key} IS NULL OR ({ours}) IS DISTINCT FROM ({theirs})) {replace}",
        ours = list_columns("h.", table),
        theirs = list_columns("s.", table),
        replace = sql::replace(table),
    ));
    let mut changed = 0;
    for (index, statement) in statements.iter().enumerate() {
        let rows = client.execute(statement, &[]).await.map_err(failed)?;
        // the first two of an incremental settling only thin out the winners
        changed += if !full && index < 2 { 0 } else { rows };
    }
    Ok(changed)
}

fn list_columns(prefix: &str, table: &Table) -> String {
    list(prefix, names_with_position(table))
}

/// Empties the cleaned tables when they are not kept, so that no partition is covered by them any more. Not by TRUNCATE,
/// which readers with an older snapshot would see.
pub(crate) async fn empty(client: &Client, schema: &str, definition: &Definition) -> Result<u64, SinkError> {
    let mut changed = 0;
    for name in definition.cleaned.iter().map(|table| table.name).chain(["tombstones"]) {
        let target = qualified(schema, name);
        let rows = client.execute(&format!("DELETE FROM {target}"), &[]).await;
        changed += rows.map_err(|source| SinkError::postgres(format!("emptying {target}"), source))?;
    }
    let uncovered = format!(
        "UPDATE {}.frontier SET cleaned_next_offset = NULL WHERE cleaned_next_offset IS NOT NULL",
        quoted(schema)
    );
    let uncovered = client.execute(&uncovered, &[]).await;
    uncovered.map_err(|source| SinkError::postgres(format!("emptying the cleaned tables of {schema}"), source))?;
    Ok(changed)
}
