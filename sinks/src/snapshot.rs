//! One commit of the sink, held open for reading: everything read through a [`Snapshot`] belongs together.
//!
//! What is large comes row by row, so that the reader decides what it keeps: the cleaned tables with the positions
//! their rows are from, and the dead letters.

use crate::definition::Definition;
use crate::error::SinkError;
use crate::progress::Progress;
use crate::quote::{list, qualified};
use crate::read::{Reader, TableCheck, read_value};
use crate::reject_cap::DroppedRejects;
use crate::shape;
use crate::sql::{key_names, names, names_with_position};
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio_postgres::types::ToSql;
use values::{Ind, Offset, Partition, Position, Row, Table};

/// A `REPEATABLE READ` transaction. It ends, and the connection with it, when it is dropped.
pub struct Snapshot {
    reader: Reader,
    progress: Progress,
}

/// A row of a cleaned table as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundRow {
    /// The key.
    pub ind: Ind,
    /// The position it is from; `None` when the columns hold none that can be.
    pub position: Option<Position>,
    /// Its own columns.
    pub row: Row,
}

/// A delete as it was found.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundTombstone {
    /// The cleaned table's name.
    pub table: String,
    /// The key.
    pub ind: Ind,
    /// The position of the delete; `None` when the columns hold none that can be.
    pub position: Option<Position>,
}

/// A result that the tables hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedResult {
    /// Its name, which is its table's.
    pub name: String,
    /// Its SQL over the cleaned tables.
    pub sql: String,
}

/// A dead letter as it was found, without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundReject {
    /// The topic; [`crate::UNKNOWN_TOPIC`] for an object in no topic's folder.
    pub topic: String,
    /// `topic/partition`, or the object's name.
    pub source: String,
    /// The offset, or the record's number in its object.
    pub position: i64,
    /// Why it was rejected.
    pub reason: String,
}

impl Reader {
    /// Begins a snapshot and reads the progress it belongs to.
    pub async fn snapshot(self) -> Result<Snapshot, SinkError> {
        self.begin().await?;
        let progress = self.progress_in_snapshot().await?;
        Ok(Snapshot { reader: self, progress })
    }
}

impl Snapshot {
    /// The progress of the commit that is seen.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Compares every result table with its SQL over the cleaned tables; shows at most `limit` rows of each side.
    pub async fn verify(&self, definition: &Definition, limit: u32) -> Result<Vec<TableCheck>, SinkError> {
        self.reader.compare(definition, limit).await
    }

    /// A whole table, sorted by its rows' order. One that is not there has no rows: a full snapshot makes it.
    pub async fn table(&self, table: &Table) -> Result<Vec<Row>, SinkError> {
        let (client, schema) = (&self.reader.session.client, &self.reader.schema);
        let failed = |source| SinkError::postgres(format!("reading {schema}.{}", table.name), source);
        if shape::is_there(client, schema, table.name).await.map_err(failed)? {
            self.reader.read_table(table).await
        } else {
            Ok(Vec::new())
        }
    }

    /// The rows of a cleaned table with its own columns alone, one by one, in the order of their keys. Postgres sends them
    /// as they are taken, so there are few in memory however many there are.
    pub async fn rows(
        &self,
        table: &'static Table,
    ) -> Result<impl Stream<Item = Result<Row, SinkError>> + Send + use<>, SinkError> {
        let target = qualified(&self.reader.schema, table.name);
        let context = format!("reading {target}");
        let query = format!(
            "SELECT {} FROM {target} ORDER BY {}",
            list("", names(table)),
            list("", key_names(table))
        );
        let none: [&str; 0] = [];
        let rows = self.reader.session.client.query_raw(&query, none).await;
        let rows = rows.map_err(|source| SinkError::postgres(context.clone(), source))?;
        Ok(rows.map(move |row| {
            let read = |row: tokio_postgres::Row| {
                let value = |(index, column): (usize, &values::Column)| read_value(&row, index, column.ty);
                table.columns.iter().enumerate().map(value).collect()
            };
            row.and_then(read)
                .map_err(|source| SinkError::postgres(context.clone(), source))
        }))
    }

    /// Every row of a cleaned table with its position, in no order.
    pub async fn cleaned(&self, table: &Table, each: impl FnMut(FoundRow)) -> Result<(), SinkError> {
        self.cleaned_where(table, "", &[], each).await
    }

    /// Some rows of a cleaned table, by key, in the order of the keys.
    pub async fn cleaned_of(&self, table: &Table, inds: &[Ind]) -> Result<Vec<FoundRow>, SinkError> {
        let mut rows = Vec::new();
        let inds: Vec<i64> = inds.iter().map(|ind| ind.0).collect();
        let key = crate::quote::quoted(table.columns[0].name);
        let filter = format!(" WHERE {key} = ANY($1) ORDER BY {key}");
        self.cleaned_where(table, &filter, &[&inds], |row| rows.push(row))
            .await?;
        Ok(rows)
    }

    async fn cleaned_where(
        &self,
        table: &Table,
        filter: &str,
        params: &[&(dyn ToSql + Sync)],
        mut each: impl FnMut(FoundRow),
    ) -> Result<(), SinkError> {
        let query = format!(
            "SELECT {} FROM {}{filter}",
            list("", names_with_position(table)),
            qualified(&self.reader.schema, table.name)
        );
        let width = table.columns.len();
        let found = |row: &tokio_postgres::Row| -> Result<FoundRow, tokio_postgres::Error> {
            let value = |(index, column): (usize, &values::Column)| read_value(row, index, column.ty);
            let values: Row = table.columns.iter().enumerate().map(value).collect::<Result<_, _>>()?;
            Ok(FoundRow {
                ind: Ind(row.try_get(0)?),
                position: position(row, width)?,
                row: values,
            })
        };
        self.stream(table.name, &query, params, |row| {
            each(found(row)?);
            Ok(())
        })
        .await
    }

    /// Every delete that is remembered, in no order.
    pub async fn tombstones(&self) -> Result<Vec<FoundTombstone>, SinkError> {
        let query = format!(
            "SELECT \"table\", ind, log_generation, log_partition, log_offset FROM {}",
            qualified(&self.reader.schema, "tombstones")
        );
        let mut tombstones = Vec::new();
        let each = |row: &tokio_postgres::Row| {
            let (table, ind) = (row.try_get(0)?, row.try_get(1)?);
            tombstones.push(FoundTombstone {
                table,
                ind: Ind(ind),
                position: position(row, 2)?,
            });
            Ok(())
        };
        self.stream("tombstones", &query, &[], each).await?;
        Ok(tombstones)
    }

    /// Every dead letter, in no order.
    pub async fn rejects(&self, mut each: impl FnMut(FoundReject)) -> Result<(), SinkError> {
        let query = format!(
            "SELECT source, position, reason, topic FROM {}",
            qualified(&self.reader.schema, "rejects")
        );
        let each = |row: &tokio_postgres::Row| {
            let (source, position, reason) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            each(FoundReject {
                topic: row.try_get(3)?,
                source,
                position,
                reason,
            });
            Ok(())
        };
        self.stream("rejects", &query, &[], each).await
    }

    /// How many dead letters there are of each reason, in order of the reasons.
    pub async fn reject_counts(&self) -> Result<Vec<(String, u64)>, SinkError> {
        let query = format!(
            "SELECT reason, count(*) FROM {} GROUP BY reason ORDER BY reason COLLATE \"C\"",
            qualified(&self.reader.schema, "rejects")
        );
        let mut counts = Vec::new();
        let each = |row: &tokio_postgres::Row| {
            counts.push((row.try_get(0)?, row.try_get::<_, i64>(1)? as u64));
            Ok(())
        };
        self.stream("rejects", &query, &[], each).await?;
        Ok(counts)
    }

    /// The results that the tables hold, by name; none in tables of an earlier version.
    pub async fn results(&self) -> Result<Vec<RecordedResult>, SinkError> {
        let (client, schema) = (&self.reader.session.client, &self.reader.schema);
        let failed = |source| SinkError::postgres(format!("reading {schema}.results"), source);
        if !shape::is_there(client, schema, "results").await.map_err(failed)? {
            return Ok(Vec::new());
        }
        let query = format!(
            "SELECT name, sql FROM {} ORDER BY name COLLATE \"C\"",
            qualified(schema, "results")
        );
        let mut results = Vec::new();
        let each = |row: &tokio_postgres::Row| {
            results.push(RecordedResult {
                name: row.try_get(0)?,
                sql: row.try_get(1)?,
            });
            Ok(())
        };
        self.stream("results", &query, &[], each).await?;
        Ok(results)
    }

    /// Which dead letters were dropped; none in tables of an earlier version.
    pub async fn dropped_rejects(&self) -> Result<Vec<DroppedRejects>, SinkError> {
        let schema = &self.reader.schema;
        let failed = |source| SinkError::postgres(format!("reading {schema}.rejects_dropped"), source);
        let client = &self.reader.session.client;
        if !shape::is_there(client, schema, "rejects_dropped")
            .await
            .map_err(failed)?
        {
            return Ok(Vec::new());
        }
        let mut dropped = Vec::new();
        let each = |row: &tokio_postgres::Row| {
            dropped.push(DroppedRejects::of(row)?);
            Ok(())
        };
        self.stream("rejects_dropped", &DroppedRejects::query(schema), &[], each)
            .await?;
        Ok(dropped)
    }

    async fn stream(
        &self,
        table: &str,
        query: &str,
        params: &[&(dyn ToSql + Sync)],
        mut each: impl FnMut(&tokio_postgres::Row) -> Result<(), tokio_postgres::Error>,
    ) -> Result<(), SinkError> {
        let failed = |source| SinkError::postgres(format!("reading {}.{table}", self.reader.schema), source);
        let params = params.iter().map(|param| *param as &dyn ToSql);
        let params: Vec<&dyn ToSql> = params.collect();
        let rows = self
            .reader
            .session
            .client
            .query_raw(query, params)
            .await
            .map_err(failed)?;
        let mut rows = std::pin::pin!(rows);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            each(&row).map_err(failed)?;
        }
        Ok(())
    }
}

/// The position in the three columns from `first` on.
fn position(row: &tokio_postgres::Row, first: usize) -> Result<Option<Position>, tokio_postgres::Error> {
    let (generation, partition): (i16, i32) = (row.try_get(first)?, row.try_get(first + 1)?);
    let offset: i64 = row.try_get(first + 2)?;
    let position = |generation| Position::new(generation, Offset(offset), Partition(partition)).ok();
    Ok(u8::try_from(generation).ok().and_then(position))
}
