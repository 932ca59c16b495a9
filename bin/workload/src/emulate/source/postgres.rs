//! The three tables in PostgreSQL, read as text beside the types of their columns.
//!
//! Rows of a Postgres table have no order of their own, so `--classic` counts rows in order of the key:
//! `ORDER BY key OFFSET n LIMIT 1`. Without it the tables are read side by side in that order.

use super::super::item::{Cell, Item, KEYS, TABLES, row};
use super::super::options::EmulateOptions;
use super::error::{SourceError, postgres};
use super::select::{classic_rows, kinds};
use futures_util::StreamExt;
use std::pin::Pin;
use tokio::sync::mpsc::Sender;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow, SimpleQueryStream};

/// A table with the names and types of its columns.
struct Table {
    kind: usize,
    client: Client,
    columns: Vec<(String, Type)>,
}

/// Hands over rows of the three tables.
pub async fn run(options: &EmulateOptions, url: &str, out: &Sender<Item>) -> Result<(), SourceError> {
    let config = sinks::PostgresConfig::new(url, "public");
    let mut tables = Vec::new();
    for kind in kinds(options) {
        let client = sinks::connect(&config).await.map_err(SourceError::Connect)?;
        let sql = format!("SELECT * FROM {}", TABLES[kind]);
        let described = client.prepare(&sql).await;
        let described = described.map_err(postgres(format!("reading {}", TABLES[kind])))?;
        let columns = described.columns().iter();
        let columns = columns.map(|column| (column.name().to_owned(), column.type_().clone()));
        tables.push(Table {
            kind,
            columns: columns.collect(),
            client,
        });
    }
    if options.classic {
        classic(options, &tables, out).await
    } else {
        in_order(options, &tables, out).await
    }
}

async fn classic(options: &EmulateOptions, tables: &[Table], out: &Sender<Item>) -> Result<(), SourceError> {
    for number in classic_rows(options) {
        let choose = tables.iter().map(|table| async move {
            let sql = format!("{} OFFSET {number} LIMIT 1", table.sql());
            let messages = table.client.simple_query(&sql).await;
            let messages = messages.map_err(postgres(format!("choosing row {number} of {}", TABLES[table.kind])))?;
            let chosen = messages.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(chosen) => Some(table.item(chosen, options.iso_dates)),
                _ => None,
            });
            Ok::<_, SourceError>(chosen)
        });
        for item in futures_util::future::try_join_all(choose).await?.into_iter().flatten() {
            if out.send(item).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn in_order(options: &EmulateOptions, tables: &[Table], out: &Sender<Item>) -> Result<(), SourceError> {
    let mut streams: Vec<(&Table, Pin<Box<SimpleQueryStream>>)> = Vec::new();
    for table in tables {
        let rows = table.client.simple_query_raw(&table.sql()).await;
        let rows = rows.map_err(postgres(format!("reading {}", TABLES[table.kind])))?;
        streams.push((table, Box::pin(rows)));
    }
    for _ in 0..options.posts.unwrap_or(u64::MAX) {
        let mut found = false;
        for (table, rows) in &mut streams {
            let next = next_row(rows).await;
            if let Some(next) = next.map_err(postgres(format!("reading {}", TABLES[table.kind])))? {
                found = true;
                if out.send(table.item(&next, options.iso_dates)).await.is_err() {
                    return Ok(());
                }
            }
        }
        if !found {
            break;
        }
    }
    Ok(())
}

async fn next_row(rows: &mut Pin<Box<SimpleQueryStream>>) -> Result<Option<SimpleQueryRow>, tokio_postgres::Error> {
    while let Some(message) = rows.next().await {
        if let SimpleQueryMessage::Row(next) = message? {
            return Ok(Some(next));
        }
    }
    Ok(None)
}

impl Table {
    fn sql(&self) -> String {
        format!("SELECT * FROM {} ORDER BY \"{}\"", TABLES[self.kind], KEYS[self.kind])
    }

    fn item(&self, values: &SimpleQueryRow, iso_dates: bool) -> Item {
        let cells = self.columns.iter().enumerate().map(|(at, (name, of))| {
            let cell = match values.get(at) {
                Some(text) => cell(of, text),
                None => Cell::Null,
            };
            (name.as_str(), cell)
        });
        row(self.kind as u8, cells, iso_dates)
    }
}

fn cell<'a>(of: &Type, text: &'a str) -> Cell<'a> {
    match *of {
        Type::INT2 | Type::INT4 | Type::INT8 | Type::OID => Cell::Integer(text),
        Type::FLOAT4 | Type::FLOAT8 => Cell::Float(text),
        Type::BOOL => Cell::Bool(text == "t"),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => Cell::Time(text),
        // a NUMERIC is no number to json.dumps: default=str
        _ => Cell::Text(text),
    }
}
