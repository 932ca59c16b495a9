//! Reads all result tables at one commit from PostgreSQL.

use crate::cell::Shape;
use crate::postgres::{Head, ReadError, begin, connect};
use crate::rows::{Rows, row_bytes};
use crate::state::{Bounds, Content};
use futures_util::TryStreamExt;
use operators::{Row, Table};
use sinks::{PostgresConfig, qualified, quoted, read_value};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_postgres::Client;

/// A commit with the contents of the tables and their numbers of rows.
pub struct Loaded {
    /// The commit.
    pub head: Head,
    /// Of each table.
    pub contents: Vec<(Content, u64)>,
}

/// A connection of its own, made again when it is lost.
pub struct Loader {
    config: PostgresConfig,
    client: Option<Client>,
}

impl Loader {
    /// Connects when it is asked for.
    pub fn new(config: PostgresConfig) -> Loader {
        Loader { config, client: None }
    }

    /// Reads the tables, unless the newest commit is `known`.
    pub async fn load(
        &mut self,
        shapes: &[Shape],
        bounds: &Bounds,
        known: Option<i64>,
    ) -> Result<Option<Loaded>, ReadError> {
        let client = match self.client.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => connect(&self.config).await?,
        };
        let loaded = load(&client, &self.config.schema, shapes, bounds, known).await;
        if client.batch_execute("ROLLBACK").await.is_ok() {
            self.client = Some(client);
        }
        loaded
    }
}

async fn load(
    client: &Client,
    schema: &str,
    shapes: &[Shape],
    bounds: &Bounds,
    known: Option<i64>,
) -> Result<Option<Loaded>, ReadError> {
    let head = begin(client, schema).await?;
    if known == Some(head.commit) {
        return Ok(None);
    }
    let found = columns(client, schema, shapes).await?;
    let mut contents = Vec::with_capacity(shapes.len());
    for shape in shapes {
        let columns = shape.table.columns.iter();
        let columns: Vec<(String, String)> = columns
            .map(|column| (column.name.to_owned(), column.ty.name().to_owned()))
            .collect();
        contents.push(if found.get(shape.table.name) == Some(&columns) {
            content(client, schema, &shape.table, bounds).await?
        } else {
            (Content::Absent, 0)
        });
    }
    Ok(Some(Loaded { head, contents }))
}

/// The columns of the tables that there are: name and type, in order.
async fn columns(
    client: &Client,
    schema: &str,
    shapes: &[Shape],
) -> Result<BTreeMap<String, Vec<(String, String)>>, ReadError> {
    let names: Vec<&str> = shapes.iter().map(|shape| shape.table.name).collect();
    let query = "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod) \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid \
                 WHERE n.nspname = $1 AND c.relname = ANY($2) AND a.attnum > 0 AND NOT a.attisdropped \
                 ORDER BY 1, a.attnum";
    let mut tables: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for row in client.query(query, &[&schema, &names]).await? {
        let columns = tables.entry(row.try_get(0)?).or_default();
        columns.push((row.try_get(1)?, row.try_get(2)?));
    }
    Ok(tables)
}

/// The rows of a table and their number; no rows when they are too many.
async fn content(client: &Client, schema: &str, table: &Table, bounds: &Bounds) -> Result<(Content, u64), ReadError> {
    let from = qualified(schema, table.name);
    let columns: Vec<String> = table.columns.iter().map(|column| quoted(column.name)).collect();
    let query = format!(
        "SELECT {} FROM {from} LIMIT {}",
        columns.join(", "),
        bounds.table_rows + 1
    );
    let none: [&str; 0] = [];
    let mut stream = std::pin::pin!(client.query_raw(&query, none).await?);
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while let Some(row) = stream.try_next().await? {
        let row = read_row(table, &row)?;
        bytes += row_bytes(&row);
        if bytes <= bounds.table_bytes {
            rows.push(Arc::new(row));
        } else {
            rows.clear();
        }
    }
    if bytes <= bounds.table_bytes && rows.len() <= bounds.table_rows {
        let count = rows.len() as u64;
        return Ok((Content::Held(Rows::of(table, rows)), count));
    }
    let count = client.query_one(&format!("SELECT count(*) FROM {from}"), &[]).await?;
    let count: i64 = count.try_get(0)?;
    Ok((Content::Large, count as u64))
}

/// A row of all columns of a table, in order.
pub fn read_row(table: &Table, row: &tokio_postgres::Row) -> Result<Row, tokio_postgres::Error> {
    let columns = table.columns.iter().enumerate();
    columns
        .map(|(index, column)| read_value(row, index, column.ty))
        .collect()
}
