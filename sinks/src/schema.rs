//! The tables in Postgres: created once, compared at every start, never altered.
//!
//! | table | holds |
//! |---|---|
//! | one per result and per cleaned kind | as [`operators::Table`] describes them; cleaned ones with the winning position behind |
//! | `progress` | one row: fence, epoch, number of commits, definitions, options, counters |
//! | `frontier` | per partition the recorded log offsets that every other table answers for |
//! | `generations`, `gaps` | when partitions were added; accepted holes of the log |
//! | `rejects` | dead letters with provenance and raw bytes |
//! | `tombstones` | positions of deletes, so that a replayed older row stays dead |
//!
//! Key columns of type `text` are `COLLATE "C"`: byte order, the same on every machine and after every upgrade of the
//! C library. There is no DDL after the start, apart from temporary tables of the first commit.
//!
//! A role that only reads needs:
//!
//! ```sql
//! GRANT USAGE ON SCHEMA pinflow TO reader;
//! GRANT SELECT ON ALL TABLES IN SCHEMA pinflow TO reader;
//! ```

use crate::control;
use crate::encode::type_name;
use crate::error::SinkError;
use operators::{ColumnType, Table};
use std::fmt::Write;
use tokio_postgres::Client;

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
    fn of(table: &Table) -> TableSpec {
        let column = |(index, column): (usize, &operators::Column)| ColumnSpec {
            name: column.name.into(),
            ty: type_name(column.ty).into(),
            not_null: index < table.key,
            default: None,
            comment: column.comment.into(),
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
        };
        TableSpec {
            name: name.into(),
            comment: comment.into(),
            columns: columns.iter().map(column).collect(),
            key: columns[..key].iter().map(|column| column.0.into()).collect(),
            with,
        }
    }

    fn collated(&self, column: &ColumnSpec) -> bool {
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

    fn comments(&self, schema: &str) -> String {
        let table = format!("{}.{}", quoted(schema), quoted(&self.name));
        let mut sql = format!("COMMENT ON TABLE {table} IS {};\n", literal(&self.comment));
        for column in &self.columns {
            let name = quoted(&column.name);
            let _ = writeln!(sql, "COMMENT ON COLUMN {table}.{name} IS {};", literal(&column.comment));
        }
        sql
    }
}

/// Every table of the schema.
pub(crate) fn all_tables(definition: &Definition) -> Vec<TableSpec> {
    let mut specs = control::tables();
    specs.extend(definition.cleaned.iter().map(TableSpec::of_cleaned));
    specs.extend(definition.results.iter().map(|(table, _)| TableSpec::of(table)));
    specs
}

/// Creates what is absent and compares what is there, in one transaction that excludes other preparers.
pub(crate) async fn prepare(client: &Client, schema: &str, definition: &Definition) -> Result<(), SinkError> {
    check_definition(definition)?;
    let result = prepare_in_transaction(client, schema, definition).await;
    if result.is_err() {
        let _ = client.batch_execute("ROLLBACK").await;
    }
    result
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
    let mut names: Vec<String> = all_tables(definition).into_iter().map(|spec| spec.name).collect();
    names.sort();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(SinkError::Order(
            "two tables of one name, or a name that the sink keeps for itself",
        ));
    }
    Ok(())
}

async fn prepare_in_transaction(client: &Client, schema: &str, definition: &Definition) -> Result<(), SinkError> {
    let failed = |source| SinkError::postgres(format!("preparing schema {schema}"), source);
    client.batch_execute("BEGIN").await.map_err(failed)?;
    let key = crate::fence::lock_key(schema, "prepare");
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
    for spec in all_tables(definition) {
        let failed = |source| SinkError::postgres(format!("creating table {schema}.{}", spec.name), source);
        match found_columns(client, schema, &spec.name).await.map_err(failed)? {
            Some(found) => compare(client, schema, &spec, &found).await?,
            None => {
                let sql = spec.create(schema) + &spec.comments(schema);
                client.batch_execute(&sql).await.map_err(failed)?;
            }
        }
    }
    let sql = format!(
        "INSERT INTO {}.progress (id, fence, commits, epoch, definitions, legacy_count, legacy_hash, options, run_id, \
         counters) VALUES (1, 0, 0, 0, '', 0, '', '{{}}', '', '{{}}') ON CONFLICT DO NOTHING",
        quoted(schema)
    );
    client.batch_execute(&sql).await.map_err(failed)?;
    client.batch_execute("COMMIT").await.map_err(failed)
}

struct FoundColumn {
    name: String,
    ty: String,
    collation: Option<String>,
    not_null: bool,
}

async fn found_columns(
    client: &Client,
    schema: &str,
    table: &str,
) -> Result<Option<Vec<FoundColumn>>, tokio_postgres::Error> {
    let relation = "SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                    WHERE n.nspname = $1 AND c.relname = $2";
    let Some(row) = client.query_opt(relation, &[&schema, &table]).await? else {
        return Ok(None);
    };
    let oid: u32 = row.get(0);
    let columns = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), l.collname::text, a.attnotnull \
                   FROM pg_attribute a LEFT JOIN pg_collation l ON l.oid = a.attcollation \
                   WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = client.query(columns, &[&oid]).await?;
    let column = |row: &tokio_postgres::Row| FoundColumn {
        name: row.get(0),
        ty: row.get(1),
        collation: row.get(2),
        not_null: row.get(3),
    };
    Ok(Some(rows.iter().map(column).collect()))
}

async fn compare(client: &Client, schema: &str, spec: &TableSpec, found: &[FoundColumn]) -> Result<(), SinkError> {
    let table = format!("{schema}.{}", spec.name);
    let mismatch = |object: String, found: &str, wanted: &str| {
        Err(SinkError::SchemaMismatch {
            table: table.clone(),
            object,
            found: found.into(),
            wanted: wanted.into(),
        })
    };
    for (index, wanted) in spec.columns.iter().enumerate() {
        let object = format!("column {}", wanted.name);
        let Some(column) = found.iter().find(|column| column.name == wanted.name) else {
            return mismatch(object, "missing", &wanted.ty);
        };
        if found[index].name != wanted.name {
            let place = found
                .iter()
                .position(|column| column.name == wanted.name)
                .unwrap_or_default()
                + 1;
            return mismatch(
                object,
                &format!("column number {place}"),
                &format!("number {}", index + 1),
            );
        }
        if column.ty != wanted.ty {
            return mismatch(object, &column.ty, &wanted.ty);
        }
        if spec.collated(wanted) && column.collation.as_deref() != Some("C") {
            let found = format!("collated {:?}", column.collation.as_deref().unwrap_or("default"));
            return mismatch(object, &found, "collated \"C\"");
        }
        // a stricter table would refuse rows of ours; a laxer one holds them all
        if column.not_null && !wanted.not_null {
            return mismatch(object, "not null", "nullable");
        }
    }
    if let Some(surplus) = found.get(spec.columns.len()) {
        return mismatch(format!("column {}", surplus.name), &surplus.ty, "no such column");
    }
    let sql = "SELECT a.attname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid \
               JOIN pg_namespace n ON n.oid = c.relnamespace \
               CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place) \
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum \
               WHERE i.indisprimary AND n.nspname = $1 AND c.relname = $2 ORDER BY k.place";
    let rows = client.query(sql, &[&schema, &spec.name]).await;
    let rows = rows.map_err(|source| SinkError::postgres(format!("comparing table {table}"), source))?;
    let key: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    if key != spec.key {
        let found = if key.is_empty() {
            "absent".into()
        } else {
            format!("({})", key.join(", "))
        };
        return mismatch("primary key".into(), &found, &format!("({})", spec.key.join(", ")));
    }
    Ok(())
}
