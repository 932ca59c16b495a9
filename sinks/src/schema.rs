//! The tables in Postgres: created once, compared at every start, and never altered but for nullable columns that a
//! later version adds to the control tables.
//!
//! | table | holds |
//! |---|---|
//! | one per result and per cleaned kind | as [`values::Table`] describes them; cleaned ones with the winning position behind |
//! | `progress` | one row: fence, epoch, number of commits, definitions, options, counters |
//! | `frontier` | per partition the recorded log offsets that every other table answers for |
//! | `generations`, `gaps` | when partitions were added; accepted holes of the log |
//! | `results`, `results_dropped` | which results the tables hold, by hash and SQL; which were dropped |
//! | `rejects` | dead letters with provenance and raw bytes |
//! | `rejects_dropped` | which dead letters the limits left no room for |
//! | `dead_letters` | a view: how many there are by reason, without their bytes |
//! | `tombstones` | positions of deletes, so that a replayed older row stays dead |
//!
//! The tables of results are compared by `crate::results`, and in a schema that was committed to they are dropped and
//! made by a full snapshot alone. The others are made by a start.
//!
//! Key columns of type `text` are `COLLATE "C"`: byte order, the same on every machine and after every upgrade of the
//! C library. There is no DDL after the first commit of a run.
//!
//! A start adds missing columns with `ALTER TABLE … ADD COLUMN`, which only the owner of a table may do. Until then the
//! read side reads them as null. While another session holds the schema that waits until the fence is taken.
//!
//! The rights that a role needs which only reads are in docs/security.md.

use crate::access;
use crate::backoff::Backoff;
use crate::control;
use crate::definition::Definition;
use crate::error::{Class, SinkError};
use crate::fence;
use crate::quote::quoted;
use crate::results;
use crate::session::{BEGIN_TO_WRITE, Session};
use crate::shape;
use crate::table_spec::TableSpec;
use causes::with_causes;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Client;
use values::ColumnType;

/// Every table of the schema but those of results.
fn lasting_tables(definition: &Definition) -> Vec<TableSpec> {
    let mut specs = control::tables();
    specs.extend(definition.cleaned.iter().map(TableSpec::of_cleaned));
    specs
}

/// How long preparing is tried again while another session keeps a table locked that has to be altered.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// When missing columns are added to tables of an earlier version.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// Not while another session holds the schema: a run of the earlier version may go on there, and would not start
    /// again with the columns of this one.
    UnlessHeld,
    /// In any case: the fence is about to be taken. A session that holds the schema and is in the way is ended.
    Now,
}

/// Creates what is absent, compares what is there and adds columns of this version, in one transaction that excludes
/// other preparers. False when columns are still missing.
pub(crate) async fn prepare(
    session: &Session,
    schema: &str,
    definition: &Definition,
    upgrade: Upgrade,
) -> Result<bool, SinkError> {
    check_definition(definition)?;
    let started = Instant::now();
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(2));
    loop {
        let error = match prepare_in_transaction(session, schema, definition, upgrade).await {
            Ok(complete) => return Ok(complete),
            Err(error) => error,
        };
        let _ = session.client.batch_execute("ROLLBACK").await;
        let (locked, late) = (shape::is_locked(&error), started.elapsed() > RETRY_TIMEOUT);
        if error.class() != Class::Retry || late {
            let named = if locked {
                shape::locked(&session.client, schema).await
            } else {
                None
            };
            return Err(named.unwrap_or(error));
        }
        tracing::warn!(error = %with_causes(&error), "preparing the tables failed, trying again");
        if locked && upgrade == Upgrade::Now {
            fence::end_holder(session, schema).await?;
        }
        backoff.wait().await;
    }
}

fn check_definition(definition: &Definition) -> Result<(), SinkError> {
    for table in &definition.cleaned {
        if table.key != 1 || table.columns[0].ty != ColumnType::Int8 {
            return Err(SinkError::Order(
                "a cleaned table is keyed by its first column alone, a bigint",
            ));
        }
    }
    if definition
        .results
        .iter()
        .any(|(table, _)| table.key == 0 || table.key > table.columns.len())
    {
        return Err(SinkError::Order("a result table needs a primary key"));
    }
    // PostgreSQL cuts names at 63 bytes, and ours get `staging_{fence}_`, `winners_` or `full_` before them
    let long = definition.cleaned.iter().any(|table| table.name.len() > 32);
    if long || definition.results.iter().any(|(table, _)| table.name.len() > 56) {
        return Err(SinkError::Order(
            "a table's name is longer than 32 (cleaned) or 56 (result) bytes",
        ));
    }
    let mut names: Vec<String> = lasting_tables(definition).into_iter().map(|spec| spec.name).collect();
    names.extend(definition.results.iter().map(|(table, _)| table.name.into()));
    names.sort();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(SinkError::Order(
            "two tables of one name, or a name that the sink keeps for itself",
        ));
    }
    Ok(())
}

async fn prepare_in_transaction(
    session: &Session,
    schema: &str,
    definition: &Definition,
    upgrade: Upgrade,
) -> Result<bool, SinkError> {
    let client = &session.client;
    let failed = |source| SinkError::postgres(format!("preparing schema {schema}"), source);
    client.batch_execute(BEGIN_TO_WRITE).await.map_err(failed)?;
    let key = fence::lock_key(schema, "prepare");
    client
        .execute("SELECT pg_advisory_xact_lock($1)", &[&key])
        .await
        .map_err(failed)?;
    let exists = client
        .query_opt("SELECT 1 FROM pg_namespace WHERE nspname = $1", &[&schema])
        .await
        .map_err(failed)?;
    if exists.is_none() {
        // asked first, so that a role that may not create schemas can use one made for it
        client
            .batch_execute(&format!("CREATE SCHEMA {}", quoted(schema)))
            .await
            .map_err(failed)?;
    }
    let mut missing = Vec::new();
    for spec in lasting_tables(definition) {
        let failed = |source| SinkError::postgres(format!("creating table {schema}.{}", spec.name), source);
        match shape::found_columns(client, schema, &spec.name).await.map_err(failed)? {
            Some(found) => missing.extend(shape::compare(client, schema, &spec, &found).await?),
            None => {
                let mut sql = spec.create_with_comments(schema);
                if spec.name == "rejects" {
                    sql.push_str(&access::hide(schema, &spec.name, &access::REJECT_COLUMNS_WITHOUT_BYTES));
                }
                client.batch_execute(&sql).await.map_err(failed)?;
            }
        }
    }
    let view = shape::found_columns(client, schema, access::DEAD_LETTERS)
        .await
        .map_err(failed)?;
    if view.is_none() {
        client
            .batch_execute(&access::dead_letters(schema))
            .await
            .map_err(failed)?;
    }
    let sql = format!(
        "INSERT INTO {}.progress (id, fence, commits, epoch, definitions, legacy_count, legacy_hash, options, run_id, \
         counters) VALUES (1, 0, 0, 0, '', 0, '', '{{}}', '', '{{}}') ON CONFLICT DO NOTHING",
        quoted(schema)
    );
    client.batch_execute(&sql).await.map_err(failed)?;
    let changes = results::changes(client, schema, definition).await?;
    if !is_filled(client, schema).await? {
        // before the first commit the tables are there and empty, for whoever reads already
        results::apply(client, schema, &changes).await?;
    } else if !changes.make.is_empty() {
        may_create(client, schema).await?;
    }
    let complete = missing.is_empty() || upgrade == Upgrade::Now || !fence::is_held(session, schema).await?;
    if complete {
        // last, so that the locks are held for as short as can be
        shape::add_columns(client, schema, &missing).await?;
    }
    client.batch_execute("COMMIT").await.map_err(failed)?;
    Ok(complete)
}

/// Whether anything was committed yet.
async fn is_filled(client: &Client, schema: &str) -> Result<bool, SinkError> {
    let sql = format!("SELECT commits > 0 FROM {}.progress WHERE id = 1", quoted(schema));
    let row = client.query_opt(&sql, &[]).await;
    let row = row.map_err(|source| SinkError::postgres(format!("reading the progress of schema {schema}"), source))?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Says before the history is read what the commit after it would fail on: tables of results are made then.
async fn may_create(client: &Client, schema: &str) -> Result<(), SinkError> {
    let sql = "SELECT has_schema_privilege($1, 'CREATE'), current_user::text";
    let row = client.query_one(sql, &[&schema]).await;
    let row = row.map_err(|source| SinkError::postgres(format!("preparing schema {schema}"), source))?;
    if row.get(0) {
        return Ok(());
    }
    let role: String = row.get(1);
    Err(SinkError::MayNotCreate {
        schema: schema.into(),
        role: quoted(&role),
    })
}
