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
//! made by a whole step alone. The others are made by a start.
//!
//! Key columns of type `text` are `COLLATE "C"`: byte order, the same on every machine and after every upgrade of the
//! C library. There is no DDL after the first commit of a run.
//!
//! A start adds missing columns with `ALTER TABLE … ADD COLUMN`, which only the owner of a table may do. Until then the
//! read side reads them as null. While another session holds the schema that waits until the fence is taken.
//!
//! The rights that a role needs which only reads are in docs/security.md.

use crate::access;
use crate::control;
use crate::error::{Backoff, Class, SinkError};
use crate::fence;
use crate::results;
use crate::session::{BEGIN_TO_WRITE, Session};
use crate::shape;
use std::fmt::Write;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Client;
use values::{ColumnType, Table};

/// Everything of ours that Postgres shall hold.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The result tables in the order of [`crate::Step::results`], each with its SQL over the cleaned tables.
    pub results: Vec<(Table, String)>,
    /// The cleaned tables in the order of [`crate::CleanedRow::table`]; the first column is the only key, a bigint.
    pub cleaned: Vec<Table>,
    /// A hash over everything that decides what the results are.
    pub hash: u64,
    /// Whether the cleaned tables are kept; the first commit empties them otherwise.
    pub keep_cleaned: bool,
    /// Results that the schema holds and shall hold no more, or not with the columns that their tables have: the next
    /// whole step drops their tables. Naming one that was dropped before asks for nothing.
    pub drop: Vec<String>,
}

/// Provenance columns behind those of a cleaned table: name, type, comment.
pub(crate) const PROVENANCE: [(&str, &str, &str); 3] = [
    (
        "log_generation",
        "smallint",
        "generation of the record's topic; 0: an object without offsets",
    ),
    (
        "log_partition",
        "integer",
        "partition of the record that this row is from",
    ),
    ("log_offset", "bigint", "offset of the record that this row is from"),
];

pub(crate) struct ColumnSpec {
    pub(crate) name: String,
    pub(crate) ty: String,
    pub(crate) not_null: bool,
    pub(crate) default: Option<&'static str>,
    pub(crate) comment: String,
    /// Whether tables of earlier versions lack it.
    pub(crate) later: bool,
}

impl ColumnSpec {
    /// Its comment as a statement; `table` is qualified.
    pub(crate) fn describe(&self, table: &str) -> String {
        let comment = literal(&self.comment);
        format!("COMMENT ON COLUMN {table}.{} IS {comment};\n", quoted(&self.name))
    }
}

pub(crate) struct TableSpec {
    pub(crate) name: String,
    pub(crate) comment: String,
    pub(crate) columns: Vec<ColumnSpec>,
    /// Names of the key columns, in order.
    pub(crate) key: Vec<String>,
    /// Storage parameters and checks of ours.
    with: &'static str,
}

/// An identifier in double quotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    // standard_conforming_strings is on in our sessions
    format!("'{}'", text.replace('\'', "''"))
}

impl TableSpec {
    pub(crate) fn of(table: &Table) -> TableSpec {
        let column = |(index, column): (usize, &values::Column)| ColumnSpec {
            name: column.name.into(),
            ty: column.ty.name().into(),
            not_null: index < table.key,
            default: None,
            comment: column.comment.into(),
            later: false,
        };
        TableSpec {
            name: table.name.into(),
            comment: table.comment.into(),
            columns: table.columns.iter().enumerate().map(column).collect(),
            key: table.columns[..table.key]
                .iter()
                .map(|column| column.name.into())
                .collect(),
            with: "",
        }
    }

    fn of_cleaned(table: &Table) -> TableSpec {
        let mut spec = TableSpec::of(table);
        spec.columns
            .extend(PROVENANCE.iter().map(|(name, ty, comment)| ColumnSpec {
                name: (*name).into(),
                ty: (*ty).into(),
                not_null: true,
                default: None,
                comment: (*comment).into(),
                later: false,
            }));
        spec
    }

    /// `columns` are (name, type, default, comment); a type that ends in `?` may be null.
    pub(crate) fn control(
        name: &str,
        comment: &str,
        key: usize,
        with: &'static str,
        columns: &[(&str, &str, &'static str, &str)],
    ) -> TableSpec {
        let column = |(name, ty, default, comment): &(&str, &str, &'static str, &str)| ColumnSpec {
            name: (*name).into(),
            ty: ty.trim_end_matches('?').into(),
            not_null: !ty.ends_with('?'),
            default: (!default.is_empty()).then_some(*default),
            comment: (*comment).into(),
            later: false,
        };
        TableSpec {
            name: name.into(),
            comment: comment.into(),
            columns: columns.iter().map(column).collect(),
            key: columns[..key].iter().map(|column| column.0.into()).collect(),
            with,
        }
    }

    /// Nullable columns that came after the first version: (name, type, comment).
    pub(crate) fn later(mut self, columns: &[(&str, &str, &str)]) -> TableSpec {
        self.columns
            .extend(columns.iter().map(|(name, ty, comment)| ColumnSpec {
                name: (*name).into(),
                ty: (*ty).into(),
                not_null: false,
                default: None,
                comment: (*comment).into(),
                later: true,
            }));
        self
    }

    pub(crate) fn collated(&self, column: &ColumnSpec) -> bool {
        column.ty == "text" && self.key.contains(&column.name)
    }

    fn create(&self, schema: &str) -> String {
        let mut sql = format!("CREATE TABLE IF NOT EXISTS {}.{} (", quoted(schema), quoted(&self.name));
        for column in &self.columns {
            let collate = if self.collated(column) { " COLLATE \"C\"" } else { "" };
            let not_null = if column.not_null { " NOT NULL" } else { "" };
            let default = column
                .default
                .map_or(String::new(), |default| format!(" DEFAULT {default}"));
            let _ = write!(
                sql,
                "\n  {} {}{collate}{not_null}{default},",
                quoted(&column.name),
                column.ty
            );
        }
        let key: Vec<String> = self.key.iter().map(|name| quoted(name)).collect();
        let _ = write!(sql, "\n  PRIMARY KEY ({})\n) {};\n", key.join(", "), self.with);
        sql
    }

    /// The statements that make it and describe it.
    pub(crate) fn create_with_comments(&self, schema: &str) -> String {
        self.create(schema) + &self.comments(schema)
    }

    fn comments(&self, schema: &str) -> String {
        let table = format!("{}.{}", quoted(schema), quoted(&self.name));
        let table_comment = format!("COMMENT ON TABLE {table} IS {};\n", literal(&self.comment));
        let columns = self.columns.iter();
        table_comment + &columns.map(|column| column.describe(&table)).collect::<String>()
    }
}

/// Every table of the schema but those of results.
fn lasting_tables(definition: &Definition) -> Vec<TableSpec> {
    let mut specs = control::tables();
    specs.extend(definition.cleaned.iter().map(TableSpec::of_cleaned));
    specs
}

/// How long another session may keep a table locked that has to be altered.
const PATIENCE: Duration = Duration::from_secs(60);

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
        let (locked, late) = (shape::is_locked(&error), started.elapsed() > PATIENCE);
        if error.class() != Class::Retry || late {
            let named = if locked {
                shape::locked(&session.client, schema).await
            } else {
                None
            };
            return Err(named.unwrap_or(error));
        }
        tracing::warn!(%error, "preparing the tables failed, trying again");
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
    // PostgreSQL cuts names at 63 bytes, and ours get `staging_{fence}_`, `winners_` or `whole_` before them
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

/// Says before the history is read what the commit after it would stumble over: tables of results are made then.
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
