//! Where records come from: the partitions of a commit, and the positions of the records that a post's cleaned rows are
//! made of.

use crate::api::Api;
use crate::error::ApiError;
use crate::objects::Names;
use crate::postgres::{ReadError, Snapshot};
use dataflows::CLEANED;
use dataflows::sql::why::WhyQuery;
use engine::{KINDS, empty_offsets, lake_covered};
use hyper::StatusCode;
use ingest::{Offset, TopicPartition};
use operators::{Column, ColumnType};
use serde_json::{Map, Value, json};
use sinks::{qualified, quoted, read_value};
use std::collections::BTreeMap;
use tokio::sync::SemaphorePermit;
use tokio_postgres::types::{ToSql, Type};

/// A place among the requests that read cleaned tables as a whole.
///
/// # Errors
/// 503: there is none.
pub fn scan(api: &Api) -> Result<SemaphorePermit<'_>, ApiError> {
    let busy = || ApiError::unavailable("other requests of this kind are being answered", "try again");
    api.scans.try_acquire().map_err(|_| busy())
}

/// What a commit says of the log.
pub struct Log {
    /// The topic of each kind, by its number.
    topics: [Option<String>; CLEANED.len()],
    partitions: BTreeMap<(String, i32), Partition>,
    /// Whether the cleaned tables hold the same commit.
    is_cleaned: bool,
}

/// A partition of a commit.
pub struct Partition {
    /// The first offset that the tables cover.
    pub first: i64,
    /// The first offset that they do not contain.
    pub next: i64,
    detail: Value,
}

impl Partition {
    /// Whether an offset is known to hold no record: a mark of a transaction, or compacted.
    pub fn is_hole(&self, offset: i64) -> bool {
        empty_offsets(&self.detail).contains(Offset(offset))
    }
}

/// A record that a cleaned row is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The number of the kind.
    pub kind: usize,
    /// 0: a record of the lake without an offset.
    pub generation: i16,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

impl Log {
    /// Reads it.
    pub async fn read(snapshot: &Snapshot, schema: &str) -> Result<Log, ReadError> {
        let client = snapshot.client();
        let query = format!(
            "SELECT topics::text, coalesce((options ->> 'cleaned')::boolean, true) AND coalesce(cleaned_legacy_count, 0) = \
             legacy_count, legacy_count > 0, {} FROM {} WHERE id = 1",
            there(schema),
            qualified(schema, "progress")
        );
        let row = client.query_one(&query, &[]).await?;
        let names: Option<String> = row.try_get(0)?;
        let (kept, has_legacy, there): (bool, bool, bool) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let names: BTreeMap<String, String> = names
            .and_then(|names| serde_json::from_str(&names).ok())
            .unwrap_or_default();
        let query = format!(
            "SELECT topic, partition, first_offset, next_offset, cleaned_next_offset, detail::text FROM {}",
            qualified(schema, "frontier")
        );
        let mut partitions = BTreeMap::new();
        let mut is_cleaned = there && kept;
        for row in client.query(&query, &[]).await? {
            let (next, cleaned): (i64, Option<i64>) = (row.try_get(3)?, row.try_get(4)?);
            is_cleaned &= cleaned == Some(next);
            let detail: String = row.try_get(5)?;
            let partition = Partition {
                first: row.try_get(2)?,
                next,
                detail: serde_json::from_str(&detail).unwrap_or_default(),
            };
            partitions.insert((row.try_get(0)?, row.try_get(1)?), partition);
        }
        let is_cleaned = is_cleaned && (has_legacy || !partitions.is_empty());
        Ok(Log {
            topics: KINDS.map(|kind| names.get(kind).cloned()),
            partitions,
            is_cleaned,
        })
    }

    /// Refuses a question that needs the cleaned tables where they are not kept.
    pub fn cleaned(&self) -> Result<(), ApiError> {
        if self.is_cleaned {
            return Ok(());
        }
        let error = "the cleaned tables, which hold the posts, are not kept";
        Err(ApiError::new(
            StatusCode::CONFLICT,
            error,
            "run with --cleaned postgres",
        ))
    }

    /// The number of the kind with a topic.
    ///
    /// # Errors
    /// 404: no kind has it.
    pub fn kind(&self, topic: &str) -> Result<usize, ApiError> {
        let number = self.topics.iter().position(|name| name.as_deref() == Some(topic));
        number.ok_or_else(|| {
            let names: Vec<&str> = self.topics.iter().flatten().map(String::as_str).collect();
            let nearest = crate::error::nearest(topic, &names);
            let hint = match nearest {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => format!("the topics are {}", names.join(", ")),
            };
            let error = format!("topic {} is not read", crate::error::shown(topic));
            ApiError::new(StatusCode::NOT_FOUND, error, hint).with("nearest", nearest)
        })
    }

    /// A partition of the commit.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.partitions.get(&(topic.to_owned(), partition))
    }

    /// `{"topic":…,"partition":…,"offset":…,"source":…,"object":…}`. A record of the lake without an offset has neither
    /// partition nor offset. The source is `lake` for what the lake covered at the last start, else `kafka`; null where
    /// that was not recorded. The object is the one that holds the offset now, if its name is known.
    pub fn record(&self, place: Place, names: &Names) -> Value {
        let topic = self.topics[place.kind].as_deref();
        if place.generation == 0 {
            return json!({ "topic": topic, "partition": null, "offset": null, "source": "lake", "object": null });
        }
        let partition = topic.and_then(|topic| self.partition(topic, place.partition));
        let covered = partition.and_then(|partition| lake_covered(&partition.detail, Offset(place.offset)));
        let source = covered.map(|covered| if covered { "lake" } else { "kafka" });
        let at = u8::try_from(place.kind).map(|topic| TopicPartition::new(topic, ingest::Partition(place.partition)));
        let in_lake = at.ok().filter(|_| covered == Some(true));
        let object = in_lake.and_then(|at| names.of_offset(at, place.offset));
        json!({
            "topic": topic,
            "partition": place.partition,
            "offset": place.offset,
            "source": source,
            "object": object,
        })
    }
}

/// The records of posts in cleaned tables: key and place, in the order of keys and kinds.
pub async fn places(
    snapshot: &Snapshot,
    schema: &str,
    tables: &[&str],
    inds: &[i64],
) -> Result<Vec<(i64, Place)>, ReadError> {
    let mut places = Vec::new();
    for (kind, table) in CLEANED
        .iter()
        .enumerate()
        .filter(|(_, table)| tables.contains(&table.name))
    {
        let query = format!(
            "SELECT {key}, log_generation, log_partition, log_offset FROM {} WHERE {key} = ANY($1)",
            qualified(schema, table.name),
            key = quoted(table.columns[0].name)
        );
        for row in snapshot.client().query(&query, &[&inds]).await? {
            let place = Place {
                kind,
                generation: row.try_get(1)?,
                partition: row.try_get(2)?,
                offset: row.try_get(3)?,
            };
            places.push((row.try_get(0)?, place));
        }
    }
    places.sort_by_key(|(ind, place)| (*ind, place.kind));
    Ok(places)
}

/// A value as JSON, as rows of results show it.
pub fn value_json(value: &operators::Value, ty: ColumnType) -> Value {
    let mut text = Vec::new();
    crate::cell::json(&mut text, value, ty);
    serde_json::from_slice(&text).unwrap_or_default()
}

/// A row as JSON.
pub fn row_json(columns: &[Column], row: &[operators::Value]) -> Value {
    let columns = columns.iter().zip(row);
    let members = columns.map(|(column, value)| (column.name.to_owned(), value_json(value, column.ty)));
    Value::Object(members.collect())
}

/// The rows of a query whose parameters are texts, as JSON.
pub async fn query_json(snapshot: &Snapshot, query: &WhyQuery, values: &[String]) -> Result<Vec<Value>, ReadError> {
    let mut rows = Vec::new();
    for row in run(snapshot, query, values).await? {
        let mut members = Map::new();
        for (place, column) in row.columns().iter().enumerate() {
            let ty = column_type(column.type_());
            let value = ty.map(|ty| Ok::<_, ReadError>(value_json(&read_value(&row, place, ty)?, ty)));
            members.insert(column.name().to_owned(), value.transpose()?.unwrap_or_default());
        }
        rows.push(Value::Object(members));
    }
    Ok(rows)
}

/// Runs a query whose parameters are texts.
pub async fn run(
    snapshot: &Snapshot,
    query: &WhyQuery,
    values: &[String],
) -> Result<Vec<tokio_postgres::Row>, ReadError> {
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
    Ok(snapshot.client().query(&query.sql, &values).await?)
}

/// The type of a column of a query over results.
fn column_type(ty: &Type) -> Option<ColumnType> {
    let types = [
        (Type::BOOL, ColumnType::Bool),
        (Type::INT4, ColumnType::Int4),
        (Type::INT8, ColumnType::Int8),
        (Type::NUMERIC, ColumnType::Numeric),
        (Type::TEXT, ColumnType::Text),
        (Type::DATE, ColumnType::Date),
        (Type::TIMESTAMP, ColumnType::Timestamp),
        (Type::FLOAT8, ColumnType::Float8),
    ];
    types.into_iter().find(|(known, _)| known == ty).map(|(_, ty)| ty)
}

/// Whether all cleaned tables are there, as SQL.
fn there(schema: &str) -> String {
    let there = |table: &operators::Table| format!("to_regclass({}) IS NOT NULL", text(&qualified(schema, table.name)));
    CLEANED.iter().map(there).collect::<Vec<_>>().join(" AND ")
}

/// A text literal, whatever `standard_conforming_strings` is.
fn text(value: &str) -> String {
    format!("E'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}
