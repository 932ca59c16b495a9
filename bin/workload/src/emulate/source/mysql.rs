//! The three tables in MySQL or MariaDB, read as the users' scripts read them: by text, so that a FLOAT is the number
//! that the database shows.
//!
//! `--classic` asks `SELECT * FROM t LIMIT n, 1` of each table every round, as the classic emulator does; else the
//! tables are read side by side, in order of their keys.

use super::super::item::{Cell, Item, KEYS, TABLES, row};
use super::super::options::EmulateOptions;
use super::error::{InvalidMySqlUrl, SourceError, mysql};
use super::select::{classic_rows, kinds};
use mysql_async::consts::ColumnType;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, QueryResult, Row, TextProtocol, Value};
use tokio::sync::mpsc::Sender;

/// A slow sender may leave a result unread for long: the server shall not take that for a dead client.
const SESSION: &str = "SET SESSION net_write_timeout = 86400, SESSION wait_timeout = 86400";

/// The database that a URL names, if it names one; connects to nothing.
pub fn mysql_database(url: &str) -> Result<Option<String>, InvalidMySqlUrl> {
    Ok(Opts::from_url(url)?.db_name().map(str::to_owned))
}

/// Hands over rows of the three tables.
pub async fn run(options: &EmulateOptions, url: &str, out: &Sender<Item>) -> Result<(), SourceError> {
    let server = Opts::from_url(url).map_err(|error| SourceError::MySqlUrl(error.into()))?;
    let mut connections: [Option<Conn>; 3] = [None, None, None];
    for kind in kinds(options) {
        let mut connection = Conn::new(server.clone()).await.map_err(mysql("connecting to MySQL"))?;
        connection
            .query_drop(SESSION)
            .await
            .map_err(mysql("setting up MySQL's session"))?;
        connections[kind] = Some(connection);
    }
    if options.classic {
        classic(options, &mut connections, out).await
    } else {
        in_order(options, &mut connections, out).await
    }
}

async fn classic(
    options: &EmulateOptions,
    connections: &mut [Option<Conn>; 3],
    out: &Sender<Item>,
) -> Result<(), SourceError> {
    for number in classic_rows(options) {
        let choose = connections
            .iter_mut()
            .enumerate()
            .filter_map(|(kind, connection)| Some((kind, connection.as_mut()?)))
            .map(|(kind, connection)| async move {
                let sql = format!("SELECT * FROM {} LIMIT {number}, 1", TABLES[kind]);
                let chosen: Option<Row> = connection
                    .query_first(sql)
                    .await
                    .map_err(mysql(format!("choosing row {number} of {}", TABLES[kind])))?;
                Ok::<_, SourceError>(chosen.map(|chosen| item(kind, &chosen, options.iso_dates)))
            });
        // a table that is shorter has no such row, and nothing of it is sent
        for item in futures_util::future::try_join_all(choose).await?.into_iter().flatten() {
            if out.send(item).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

async fn in_order(
    options: &EmulateOptions,
    connections: &mut [Option<Conn>; 3],
    out: &Sender<Item>,
) -> Result<(), SourceError> {
    let mut tables: Vec<(usize, QueryResult<'_, 'static, TextProtocol>)> = Vec::new();
    for (kind, connection) in connections.iter_mut().enumerate() {
        if let Some(connection) = connection {
            let sql = format!("SELECT * FROM {} ORDER BY `{}`", TABLES[kind], KEYS[kind]);
            let rows = connection.query_iter(sql).await;
            tables.push((kind, rows.map_err(mysql(format!("reading {}", TABLES[kind])))?));
        }
    }
    for _ in 0..options.posts.unwrap_or(u64::MAX) {
        let mut found = false;
        for (kind, rows) in &mut tables {
            let next = rows.next().await;
            if let Some(next) = next.map_err(mysql(format!("reading {}", TABLES[*kind])))? {
                found = true;
                if out.send(item(*kind, &next, options.iso_dates)).await.is_err() {
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

fn item(kind: usize, chosen: &Row, iso_dates: bool) -> Item {
    let names: Vec<_> = chosen.columns_ref().iter().map(|column| column.name_str()).collect();
    let texts: Vec<_> = (0..chosen.len()).map(|at| text(chosen.as_ref(at))).collect();
    let cells = chosen.columns_ref().iter().zip(&names).zip(&texts);
    let cells = cells.map(|((column, name), text)| {
        let cell = match text {
            Some(text) => cell(column.column_type(), text),
            None => Cell::Null,
        };
        (name.as_ref(), cell)
    });
    row(kind as u8, cells, iso_dates)
}

/// The text protocol sends every value as bytes.
fn text(value: Option<&Value>) -> Option<String> {
    match value {
        None | Some(Value::NULL) => None,
        Some(Value::Bytes(bytes)) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Some(other) => Some(other.as_sql(true)),
    }
}

fn cell(column: ColumnType, text: &str) -> Cell<'_> {
    use ColumnType::*;
    match column {
        MYSQL_TYPE_TINY | MYSQL_TYPE_SHORT | MYSQL_TYPE_LONG | MYSQL_TYPE_LONGLONG | MYSQL_TYPE_INT24
        | MYSQL_TYPE_YEAR => Cell::Integer(text),
        MYSQL_TYPE_FLOAT | MYSQL_TYPE_DOUBLE => Cell::Float(text),
        MYSQL_TYPE_DATETIME | MYSQL_TYPE_DATETIME2 | MYSQL_TYPE_TIMESTAMP | MYSQL_TYPE_TIMESTAMP2 => Cell::Time(text),
        // a DECIMAL is no number to json.dumps: default=str
        _ => Cell::Text(text),
    }
}
