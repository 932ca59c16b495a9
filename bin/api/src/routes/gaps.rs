//! `GET /api/gaps`: holes of the log that were accepted, whose records are in no table.

use crate::answer::{Answer, json};
use crate::api::Api;
use crate::error::ApiError;
use crate::params::only;
use crate::postgres::{ReadError, Snapshot, unreadable};
use crate::routes::read::head_json;
use serde_json::{Value, json};
use sinks::qualified;

/// Gaps in an answer at most.
const MOST: i64 = 10_000;

/// `{"commit":…,"frontier":{…},"gaps":[{"topic":…,"partition":…,"from":…,"to":…,"reason":…,…}]}`
pub async fn answer(api: &Api, parameters: &[(String, String)]) -> Result<Answer, ApiError> {
    only(parameters, &[])?;
    let snapshot = api.pool.snapshot().await.map_err(unreadable)?;
    let gaps = read(&snapshot, api.pool.schema()).await;
    let (commit, frontier) = head_json(&snapshot.head);
    snapshot.finish().await;
    let gaps = gaps.map_err(unreadable)?;
    Ok(json(&json!({ "commit": commit, "frontier": frontier, "gaps": gaps })))
}

async fn read(snapshot: &Snapshot, schema: &str) -> Result<Vec<Value>, ReadError> {
    // a table of an earlier version has no column for objects
    let query = format!(
        "SELECT topic, partition, from_offset, to_offset, reason, to_jsonb(g) ->> 'object', \
         to_char(accepted_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') \
         FROM {} AS g ORDER BY topic COLLATE \"C\", partition, from_offset, to_offset LIMIT {MOST}",
        qualified(schema, "gaps")
    );
    let mut gaps = Vec::new();
    for row in snapshot.client().query(&query, &[]).await? {
        let object: Option<String> = row.try_get(5)?;
        let (partition, from, to): (i32, i64, i64) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let of_log = object.is_none();
        gaps.push(json!({
            "topic": row.try_get::<_, String>(0)?,
            "partition": of_log.then_some(partition),
            "from": of_log.then_some(from),
            "to": of_log.then_some(to),
            "offsets": of_log.then_some(to - from),
            "reason": row.try_get::<_, String>(4)?,
            "object": object,
            "accepted_at": row.try_get::<_, Option<String>>(6)?,
        }));
    }
    Ok(gaps)
}
