//! Which results a schema holds: recorded in the table `results`, so that none of its tables goes stale unseen.
//!
//! A start compares what is recorded with its definition before it writes anything, and each full snapshot does so again
//! under the fence. A result that the definition lacks, or whose table has another shape, is refused unless it is named
//! in [`Definition::drop`]; the full snapshot then drops the table, makes it anew when it is still defined, fills it and
//! changes the records, all in its one transaction. Results that are new get their tables there too, unless nothing was
//! committed yet. Other SQL with the same columns needs no more than the reconciling that a full snapshot does anyway.
//!
//! What was dropped is remembered in `results_dropped`: a command line that goes on naming it asks for nothing then.

use crate::access::DEAD_LETTERS;
use crate::config::PostgresConfig;
use crate::control;
use crate::definition::Definition;
use crate::error::{ResultProblem, SinkError};
use crate::failpoint;
use crate::hash::fnv1a;
use crate::quote::qualified;
use crate::quote::quoted;
use crate::session::{Purpose, Session};
use crate::shape;
use crate::table_spec::TableSpec;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Client;
use values::Table;

/// What a full snapshot has to change besides rows.
#[derive(Default)]
pub(crate) struct Changes {
    /// Results to be dropped, recorded ones all.
    pub(crate) drop: Vec<String>,
    /// Tables of the definition that are not there, or are among those to be dropped.
    pub(crate) make: Vec<TableSpec>,
}

/// Compares what is recorded and what stands with what is defined, and says what is to be done; an error with
/// everything that must not be done without being asked for.
pub(crate) async fn changes(client: &Client, schema: &str, definition: &Definition) -> Result<Changes, SinkError> {
    let recorded = names(client, schema, "results").await?;
    let dropped = names(client, schema, "results_dropped").await?;
    let asked: BTreeSet<&str> = definition.drop.iter().map(String::as_str).collect();
    let (mut changes, mut problems) = (Changes::default(), Vec::new());
    for (table, _) in &definition.results {
        let spec = TableSpec::of(table);
        let failed = |source| SinkError::postgres(format!("comparing table {schema}.{}", table.name), source);
        let Some(found) = shape::found_columns(client, schema, table.name).await.map_err(failed)? else {
            changes.make.push(spec);
            continue;
        };
        match shape::compare(client, schema, &spec, &found).await {
            Ok(_) => {}
            Err(SinkError::SchemaMismatch {
                object, found, wanted, ..
            }) if recorded.contains(table.name) => {
                if asked.contains(table.name) {
                    changes.drop.push(table.name.into());
                    changes.make.push(spec);
                } else {
                    problems.push(ResultProblem::Reshaped {
                        table: table.name.into(),
                        object,
                        found,
                        wanted,
                    });
                }
            }
            Err(error) => return Err(error),
        }
    }
    let defined = |name: &str| definition.results.iter().any(|(table, _)| table.name == name);
    for name in recorded.iter().filter(|name| !defined(name)) {
        if asked.contains(name.as_str()) {
            changes.drop.push(name.clone())
        } else {
            problems.push(ResultProblem::Gone { table: name.clone() })
        }
    }
    for name in asked {
        let refused = if is_reserved(definition, name) {
            Some("reserved table name".to_owned())
        } else if changes.drop.iter().any(|drop| drop == name) {
            drop_blocker(client, schema, name).await?
        } else if dropped.contains(name) || changes.make.iter().any(|spec| spec.name == name) {
            // its table is gone already
            None
        } else if defined(name) {
            Some("it is a result of this run with the columns that its table has".into())
        } else {
            Some(format!("schema {schema} has never had a result of this name"))
        };
        problems.extend(refused.map(|reason| ResultProblem::NotDroppable {
            table: name.into(),
            reason,
        }));
    }
    if !problems.is_empty() {
        return Err(SinkError::Results {
            schema: schema.into(),
            problems,
        });
    }
    Ok(changes)
}

/// Whether no result can have this name: a table of every schema has it, or one of a run that stages history.
pub fn is_reserved_name(name: &str) -> bool {
    // indexes share the names of tables: that of a primary key is its table's with `_pkey`
    name.starts_with("staging_")
        || name.ends_with("_pkey")
        || name == DEAD_LETTERS
        || control::tables().iter().any(|spec| spec.name == name)
}

/// What a start with a definition makes of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultChange {
    /// Its table is made and filled.
    Made,
    /// It is as it was.
    Kept,
    /// Its SQL is another one, or was never recorded: rows that differ are written.
    Reconciled,
    /// Its table has another shape.
    Reshaped {
        /// The column, or `primary key`.
        object: String,
        /// What stands there.
        found: String,
        /// What it would have to be.
        wanted: String,
    },
    /// It is defined no more.
    Gone,
}

/// What a start would do.
#[derive(Debug)]
pub struct ResultsPlan {
    /// What it would make of each result, in the order of the definition and those that are gone last.
    pub changes: Vec<(String, ResultChange)>,
    /// Why it would end before it writes anything, if it would.
    pub refusal: Option<SinkError>,
    /// The counters of the last commit.
    pub counters: serde_json::Value,
}

/// What a start with this definition would do. Nothing is written.
pub async fn plan_results(config: &PostgresConfig, definition: &Definition) -> Result<ResultsPlan, SinkError> {
    let session = Session::open(config, Purpose::Read).await?;
    let (client, schema) = (&session.client, &config.schema);
    let failed = |table: &str| {
        let context = format!("reading {schema}.{table}");
        move |source| SinkError::postgres(context, source)
    };
    let mut recorded: BTreeMap<String, String> = BTreeMap::new();
    if shape::is_there(client, schema, "results")
        .await
        .map_err(failed("results"))?
    {
        let query = format!("SELECT name, hash FROM {}", qualified(schema, "results"));
        let rows = client.query(&query, &[]).await.map_err(failed("results"))?;
        recorded.extend(rows.iter().map(|row| (row.get(0), row.get(1))));
    }
    let mut counters = serde_json::Value::Null;
    if shape::is_there(client, schema, "progress")
        .await
        .map_err(failed("progress"))?
    {
        let query = format!("SELECT counters FROM {} WHERE id = 1", qualified(schema, "progress"));
        let row = client.query_opt(&query, &[]).await.map_err(failed("progress"))?;
        counters = row.map_or(counters, |row| row.get(0));
    }
    let mut planned = Vec::with_capacity(definition.results.len());
    for (table, sql) in &definition.results {
        let known = recorded.remove(table.name);
        let found = shape::found_columns(client, schema, table.name).await;
        let change = match found.map_err(failed(table.name))? {
            None => ResultChange::Made,
            Some(found) => match shape::compare(client, schema, &TableSpec::of(table), &found).await {
                Ok(_) if known == Some(format!("{:016x}", hash(table, sql))) => ResultChange::Kept,
                Ok(_) => ResultChange::Reconciled,
                Err(SinkError::SchemaMismatch {
                    object, found, wanted, ..
                }) => ResultChange::Reshaped { object, found, wanted },
                Err(error) => return Err(error),
            },
        };
        planned.push((table.name.to_owned(), change));
    }
    planned.extend(recorded.into_keys().map(|name| (name, ResultChange::Gone)));
    let refusal = changes(client, schema, definition).await.err();
    Ok(ResultsPlan {
        changes: planned,
        refusal,
        counters,
    })
}

fn is_reserved(definition: &Definition, name: &str) -> bool {
    is_reserved_name(name) || definition.cleaned.iter().any(|table| table.name == name)
}

/// Names in a table of ours; none in a schema of an earlier version, which lacks the table.
async fn names(client: &Client, schema: &str, table: &str) -> Result<BTreeSet<String>, SinkError> {
    let target = qualified(schema, table);
    let failed = |source| SinkError::postgres(format!("reading {schema}.{table}"), source);
    if !shape::is_there(client, schema, table).await.map_err(failed)? {
        return Ok(BTreeSet::new());
    }
    let rows = client.query(&format!("SELECT name FROM {target}"), &[]).await;
    Ok(rows.map_err(failed)?.iter().map(|row| row.get(0)).collect())
}

/// Why `DROP TABLE` would fail, as far as that can be known before.
async fn drop_blocker(client: &Client, schema: &str, name: &str) -> Result<Option<String>, SinkError> {
    let sql = "SELECT c.relkind IN ('r', 'p'), pg_has_role(c.relowner, 'USAGE'), pg_get_userbyid(c.relowner)::text, \
               (SELECT string_agg(DISTINCT v.oid::regclass::text, ', ') FROM pg_depend d \
               JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class \
               WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass \
               AND d.refobjid = c.oid AND v.oid <> c.oid) \
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";
    let failed = |source| SinkError::postgres(format!("looking at table {schema}.{name}"), source);
    let Some(row) = client.query_opt(sql, &[&schema, &name]).await.map_err(failed)? else {
        return Ok(None);
    };
    let (is_table, may, owner, views): (bool, bool, String, Option<String>) =
        (row.get(0), row.get(1), row.get(2), row.get(3));
    Ok(match views {
        _ if !is_table => Some(format!("{name} is not a table")),
        _ if !may => Some(format!(
            "owned by {}, of which this role is not a member",
            quoted(&owner)
        )),
        Some(views) => Some(format!("views read it, drop them first: {views}")),
        None => None,
    })
}

/// Drops and makes tables, within the caller's transaction.
pub(crate) async fn apply(client: &Client, schema: &str, changes: &Changes) -> Result<(), SinkError> {
    for name in &changes.drop {
        // whoever reads the table queues behind a waiting DROP: rather try all again than keep them waiting
        let drop = format!(
            "SET LOCAL lock_timeout = '2s'; DROP TABLE IF EXISTS {}; SET LOCAL lock_timeout = '30s'",
            qualified(schema, name)
        );
        let dropped = client.batch_execute(&drop).await;
        dropped.map_err(|source| SinkError::postgres(format!("dropping table {schema}.{name}"), source))?;
        failpoint::reach(failpoint::AFTER_DROP);
    }
    for spec in &changes.make {
        let made = client.batch_execute(&spec.create_with_comments(schema)).await;
        made.map_err(|source| SinkError::postgres(format!("creating table {schema}.{}", spec.name), source))?;
    }
    Ok(())
}

/// Records which results the tables hold as of `commit`, within the caller's transaction.
pub(crate) async fn record(
    client: &Client,
    schema: &str,
    definition: &Definition,
    changes: &Changes,
    commit: i64,
) -> Result<(), SinkError> {
    let failed = |source| SinkError::postgres(format!("writing {schema}.results"), source);
    let (results, dropped) = (qualified(schema, "results"), qualified(schema, "results_dropped"));
    if !changes.drop.is_empty() {
        let remember = format!(
            "INSERT INTO {dropped} AS d (name, hash, sql, since_commit, dropped_commit) \
             SELECT name, hash, sql, since_commit, $2 FROM {results} WHERE name = ANY($1) ON CONFLICT (name) \
             DO UPDATE SET hash = excluded.hash, sql = excluded.sql, since_commit = excluded.since_commit, \
             dropped_commit = excluded.dropped_commit, dropped_at = now()"
        );
        client
            .execute(&remember, &[&changes.drop, &commit])
            .await
            .map_err(failed)?;
        let forget = format!("DELETE FROM {results} WHERE name = ANY($1)");
        client.execute(&forget, &[&changes.drop]).await.map_err(failed)?;
    }
    let (mut names, mut hashes, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for (table, sql) in &definition.results {
        names.push(table.name);
        hashes.push(format!("{:016x}", hash(table, sql)));
        texts.push(sql.as_str());
    }
    let upsert = format!(
        "INSERT INTO {results} AS r (name, hash, sql, since_commit) \
         SELECT n.name, n.hash, n.sql, $4 FROM unnest($1::text[], $2::text[], $3::text[]) n(name, hash, sql) \
         ON CONFLICT (name) DO UPDATE SET hash = excluded.hash, sql = excluded.sql, \
         since_commit = excluded.since_commit WHERE r.hash <> excluded.hash"
    );
    client
        .execute(&upsert, &[&names, &hashes, &texts, &commit])
        .await
        .map_err(failed)?;
    Ok(())
}

/// FNV-1a over everything that says what a result is: its name, key, columns with their types, and SQL. Equal in every
/// process and build.
fn hash(table: &Table, sql: &str) -> u64 {
    let mut text = format!("{}\0{}\0", table.name, table.key);
    for column in table.columns {
        text.push_str(&format!("{} {}\0", column.name, column.ty.name()));
    }
    text.push('\0');
    text.push_str(sql);
    fnv1a(text.as_bytes())
}
