//! The three tables in PostgreSQL, read as text beside the types of their columns.
//!
//! Rows of a Postgres table have no order of their own, so `--classic` counts rows in order of the key:
//! `ORDER BY key OFFSET n LIMIT 1`. Without it the tables are read side by side in that order.

use super::super::item::{Cell, Item, KEYS, TABLES, row};
use crate::config::EmulateSettings;
use anyhow::{Context, Result};
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
pub async fn run(settings: &EmulateSettings, url: &str, out: &Sender<Item>) -> Result<()> {
    let config = sinks::PostgresConfig::new(url, "public");
    let mut tables = Vec::new();
    for kind in super::kinds(settings) {
        let client = sinks::connect(&config).await.context("connecting to the source")?;
        let sql = format!("SELECT * FROM {}", TABLES[kind]);
        let described = client.prepare(&sql).await;
        let described = described.with_context(|| format!("reading {}", TABLES[kind]))?;
        let columns = described.columns().iter();
        let columns = columns.map(|column| (column.name().to_owned(), column.type_().clone()));
        tables.push(Table {
            kind,
            columns: columns.collect(),
            client,
        });
    }
    match settings.classic {
        true => classic(settings, &tables, out).await,
        false => in_order(settings, &tables, out).await,
    }
}

async fn classic(settings: &EmulateSettings, tables: &[Table], out: &Sender<Item>) -> Result<()> {
    for number in super::classic_rows(settings) {
        let choose = tables.iter().map(|table| async move {
            let sql = format!("{} OFFSET {number} LIMIT 1", table.sql());
            let messages = table.client.simple_query(&sql).await;
            let messages = messages.with_context(|| format!("choosing row {number} of {}", TABLES[table.kind]))?;
            let chosen = messages.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(chosen) => Some(table.item(chosen, settings.iso_dates)),
                _ => None,
            });
            anyhow::Ok(chosen)
        });
        for item in futures_util::future::try_join_all(choose).await?.into_iter().flatten() {
            if out.send(item).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn in_order(settings: &EmulateSettings, tables: &[Table], out: &Sender<Item>) -> Result<()> {
    let mut streams: Vec<(&Table, Pin<Box<SimpleQueryStream>>)> = Vec::new();
    for table in tables {
        let rows = table.client.simple_query_raw(&table.sql()).await;
        let rows = rows.with_context(|| format!("reading {}", TABLES[table.kind]))?;
        streams.push((table, Box::pin(rows)));
    }
    for _ in 0..settings.posts.unwrap_or(u64::MAX) {
        let mut found = false;
        for (table, rows) in &mut streams {
            let next = next_row(rows).await;
            if let Some(next) = next.with_context(|| format!("reading {}", TABLES[table.kind]))? {
                found = true;
                if out.send(table.item(&next, settings.iso_dates)).await.is_err() {
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
