//! The first event of a stream with tables that are not held in memory: all rows out of PostgreSQL, in one transaction,
//! as the client takes them.
//!
//! Streams have connections of their own, few, so that clients which take their rows slowly leave the others alone.

use crate::error::ApiError;
use crate::events;
use crate::load::read_row;
use crate::postgres::{Pool, Snapshot, unreadable};
use crate::shared::Shared;
use crate::state::{Content, State};
use crate::wait::absent;
use bytes::Bytes;
use futures_util::TryStreamExt;
use sinks::{PostgresConfig, qualified, quoted};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_postgres::RowStream;

/// Clients with tables that are not held, at most.
const CLIENTS: usize = 32;
/// Snapshots that are read at the same time.
const SNAPSHOTS: usize = 2;
/// Bytes of a piece.
const PIECE: usize = 32 << 10;

/// What streams of large tables share.
#[derive(Debug)]
pub(super) struct Stores {
    pool: Arc<Pool>,
    places: Arc<Semaphore>,
}

impl Stores {
    pub(super) fn new(config: PostgresConfig) -> Stores {
        Stores {
            pool: Arc::new(Pool::new(config, SNAPSHOTS)),
            places: Arc::new(Semaphore::new(CLIENTS)),
        }
    }

    /// A place for a client, for as long as it is there.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| {
            let error = format!("{CLIENTS} clients already follow tables that are not held in memory");
            ApiError::unavailable(error, "try again later")
        })
    }

    /// The rows of the tables at the newest commit.
    pub(super) async fn snapshot(
        &self,
        shared: &Arc<Shared>,
        state: &State,
        tables: &[usize],
    ) -> Result<StoredSnapshot, ApiError> {
        let is_absent = |number: &&usize| matches!(state.tables[**number].content, Content::Absent);
        if let Some(number) = tables.iter().find(is_absent) {
            return Err(absent(shared.shapes[*number].table.name));
        }
        let snapshot = self.pool.snapshot().await.map_err(unreadable)?;
        snapshot.be_patient().await.map_err(unreadable)?;
        let mut head = events::snapshot_head(snapshot.head.commit);
        head.push_str(&snapshot.head.frontier.json());
        head.push_str(",\"tables\":{");
        Ok(StoredSnapshot {
            snapshot,
            shared: Arc::clone(shared),
            schema: self.pool.schema().to_owned(),
            left: tables.iter().copied().collect(),
            table: None,
            out: head.into_bytes(),
        })
    }
}

/// What has not been read yet of a snapshot.
pub(super) struct StoredSnapshot {
    snapshot: Snapshot,
    shared: Arc<Shared>,
    schema: String,
    /// The tables that come after the present one.
    left: VecDeque<usize>,
    /// The present table.
    table: Option<Reading>,
    /// What the next piece begins with.
    out: Vec<u8>,
}

/// The rows of a table on their way.
struct Reading {
    number: usize,
    rows: Pin<Box<RowStream>>,
    is_first: bool,
}

impl StoredSnapshot {
    /// The commit that the rows belong to.
    pub(super) fn commit(&self) -> i64 {
        self.snapshot.head.commit
    }

    /// The next piece, and what is left after it.
    pub(super) async fn next(mut self) -> Result<(Bytes, Option<StoredSnapshot>), tokio_postgres::Error> {
        while self.out.len() < PIECE {
            match &mut self.table {
                Some(reading) => {
                    let shape = &self.shared.shapes[reading.number];
                    match reading.rows.try_next().await? {
                        Some(row) => {
                            let row = read_row(&shape.table, &row)?;
                            if !std::mem::take(&mut reading.is_first) {
                                self.out.push(b',');
                            }
                            shape.json_row(&mut self.out, &row, &shape.all());
                        }
                        None => {
                            self.out.extend_from_slice(b"]}");
                            self.table = None;
                        }
                    }
                }
                None => match self.left.pop_front() {
                    Some(number) => self.open(number).await?,
                    None => {
                        self.out.extend_from_slice(b"}}\n\n");
                        self.snapshot.finish().await;
                        return Ok((self.out.into(), None));
                    }
                },
            }
        }
        Ok((std::mem::take(&mut self.out).into(), Some(self)))
    }

    /// Begins to read a table.
    async fn open(&mut self, number: usize) -> Result<(), tokio_postgres::Error> {
        let table = &self.shared.shapes[number].table;
        let columns: Vec<String> = table.columns.iter().map(|column| quoted(column.name)).collect();
        let query = format!(
            "SELECT {} FROM {}",
            columns.join(", "),
            qualified(&self.schema, table.name)
        );
        let none: [&str; 0] = [];
        let rows = self.snapshot.client().query_raw(&query, none).await?;
        if !self.out.ends_with(b"{") {
            self.out.push(b',');
        }
        self.out
            .extend_from_slice(format!("\"{}\":{{\"rows\":[", table.name).as_bytes());
        self.table = Some(Reading {
            number,
            rows: Box::pin(rows),
            is_first: true,
        });
        Ok(())
    }
}
