//! The progress as Postgres holds it.

use super::{AcceptedGap, Generation, LastRecord, Legacy, PartitionProgress, Progress, missing_row};
use crate::error::SinkError;
use crate::quote::quoted;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use tokio_postgres::{Client, Row};

/// Reads the whole progress; several statements, so call it in a transaction when commits may go on.
///
/// Columns that came later are taken out of the row as JSON: a table that no start has upgraded lacks them, and they
/// are null then.
pub(crate) async fn read(client: &Client, schema: &str) -> Result<Progress, SinkError> {
    let failed = |source| SinkError::postgres(format!("reading progress of schema {schema}"), source);
    let s = quoted(schema);
    let row = format!(
        "SELECT fence, commits, epoch, definitions, legacy_count, legacy_hash, options, run_id, counters, \
         j -> 'topics', j -> 'partition_counts', (j ->> 'cleaned_legacy_count')::bigint, j ->> 'cleaned_legacy_hash' \
         FROM {s}.progress p CROSS JOIN LATERAL to_jsonb(p) AS j WHERE id = 1"
    );
    let row = client.query_opt(&row, &[]).await.map_err(failed)?;
    let Some(row) = row else {
        return Err(missing_row(schema));
    };
    let frontier = format!(
        "SELECT topic, partition, first_offset, next_offset, cleaned_next_offset, detail, \
         (j ->> 'last_offset')::bigint, (j ->> 'last_timestamp')::bigint, (j ->> 'last_hash')::bigint \
         FROM {s}.frontier f CROSS JOIN LATERAL to_jsonb(f) AS j"
    );
    let frontier = client.query(&frontier, &[]).await.map_err(failed)?;
    let generations = "SELECT topic, generation, partition, start_offset";
    let generations = format!("{generations} FROM {s}.generations ORDER BY topic, generation, partition");
    let generations = client.query(&generations, &[]).await.map_err(failed)?;
    let gaps = format!(
        "SELECT topic, partition, from_offset, to_offset, reason, to_jsonb(g) ->> 'object' FROM {s}.gaps g \
         ORDER BY topic, partition, from_offset, to_offset"
    );
    let gaps = client.query(&gaps, &[]).await.map_err(failed)?;

    let topics = object(schema, "topics", row.try_get(9).map_err(failed)?)?;
    let partition_counts = object(schema, "partition_counts", row.try_get(10).map_err(failed)?)?;
    let read = || -> Result<Progress, tokio_postgres::Error> {
        Ok(Progress {
            fence: row.try_get(0)?,
            commits: row.try_get(1)?,
            epoch: row.try_get::<_, i64>(2)? as u64,
            partitions: frontier.iter().map(partition).collect::<Result<_, _>>()?,
            legacy: legacy(row.try_get(4)?, row.try_get(5)?),
            cleaned_legacy: match (row.try_get(11)?, row.try_get(12)?) {
                (Some(count), Some(hash)) => Some(legacy(count, hash)),
                _ => None,
            },
            topics,
            partition_counts,
            definitions: hexadecimal(row.try_get(3)?),
            generations: generations.iter().map(generation).collect::<Result<_, _>>()?,
            gaps: gaps.iter().map(gap).collect::<Result<_, _>>()?,
            options: row.try_get(6)?,
            run_id: row.try_get(7)?,
            counters: row.try_get(8)?,
        })
    };
    read().map_err(failed)
}

/// A JSON object; null is an empty one.
fn object<T: DeserializeOwned + Default>(
    schema: &str,
    column: &str,
    found: Option<serde_json::Value>,
) -> Result<T, SinkError> {
    match found {
        None | Some(serde_json::Value::Null) => Ok(T::default()),
        Some(found) => serde_json::from_value(found).map_err(|error| SinkError::Progress {
            schema: schema.into(),
            what: format!("column {column} cannot be read: {error}"),
        }),
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

fn legacy(count: i64, hash: &str) -> Legacy {
    Legacy {
        count: count as u64,
        hash: hexadecimal(hash).unwrap_or_default(),
    }
}

fn partition(row: &Row) -> Result<((String, i32), PartitionProgress), tokio_postgres::Error> {
    let last = match (row.try_get(6)?, row.try_get(7)?, row.try_get::<_, Option<i64>>(8)?) {
        (Some(offset), Some(timestamp), Some(hash)) => Some(LastRecord {
            offset,
            timestamp,
            hash: hash as u64,
        }),
        _ => None,
    };
    let progress = PartitionProgress {
        first: row.try_get(2)?,
        next: row.try_get(3)?,
        cleaned_next: row.try_get(4)?,
        detail: Arc::new(row.try_get(5)?),
        last,
    };
    Ok(((row.try_get(0)?, row.try_get(1)?), progress))
}

fn generation(row: &Row) -> Result<Generation, tokio_postgres::Error> {
    Ok(Generation {
        topic: row.try_get(0)?,
        generation: row.try_get::<_, i16>(1)? as u8,
        partition: row.try_get(2)?,
        start: row.try_get(3)?,
    })
}

fn gap(row: &Row) -> Result<AcceptedGap, tokio_postgres::Error> {
    Ok(AcceptedGap {
        topic: row.try_get(0)?,
        partition: row.try_get(1)?,
        from: row.try_get(2)?,
        to: row.try_get(3)?,
        reason: row.try_get(4)?,
        object: row.try_get(5)?,
    })
}
