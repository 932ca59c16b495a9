//! `GET /api/rejects`: dead letters, counted by topic and reason, and one by one with where they come from.

use crate::answer::{Answer, json};
use crate::api::{Access, Api};
use crate::error::{ApiError, shown};
use crate::params::{once, only, whole};
use crate::postgres::{ReadError, Snapshot, unreadable};
use crate::routes::read::head_json;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures_util::TryStreamExt;
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use sinks::qualified;

/// Rows on a page, if the request does not say, and at most.
const LIMITS: (u64, u64) = (100, 1000);
/// Bytes of keys and values on a page; the row that goes beyond is the last one.
const MOST_BYTES: usize = 4 << 20;

/// What a request asks for.
struct Asked<'a> {
    topic: Option<&'a str>,
    reason: Option<&'a str>,
    after: Option<(String, i64)>,
    limit: i64,
    raw: bool,
}

/// `{"commit":…,"frontier":{…},"counts":[{"topic":…,"reason":…,"count":…}],"dropped":…,"rows":[…],"next":…}`
pub async fn answer(api: &Api, parameters: &[(String, String)], access: Access) -> Result<Answer, ApiError> {
    only(parameters, &["topic", "reason", "limit", "cursor", "raw"])?;
    let raw = match once(parameters, "raw")? {
        None => access.raw,
        Some("false") => false,
        Some("true") if access.raw => true,
        Some("true") => {
            let error = "the bytes of records need the scope raw";
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                error,
                "ask without raw=true, or with another token",
            ));
        }
        Some(other) => {
            let error = format!("invalid raw {}", shown(other));
            return Err(ApiError::bad(error, "expected true or false").with("parameter", "raw"));
        }
    };
    let limit = whole(parameters, "limit", 1..=LIMITS.1)?.unwrap_or(LIMITS.0);
    let after = once(parameters, "cursor")?.map(read_cursor).transpose()?;
    let asked = Asked {
        topic: once(parameters, "topic")?,
        reason: once(parameters, "reason")?,
        after,
        limit: i64::try_from(limit).unwrap_or(i64::MAX),
        raw,
    };
    let snapshot = api.pool.snapshot().await.map_err(unreadable)?;
    let read = read(&snapshot, api.pool.schema(), &asked).await;
    let (commit, frontier) = head_json(&snapshot.head);
    snapshot.finish().await;
    let mut body = read.map_err(unreadable)?;
    body.insert("commit".to_owned(), json!(commit));
    body.insert("frontier".to_owned(), frontier);
    Ok(json(&Value::Object(body)))
}

async fn read(snapshot: &Snapshot, schema: &str, asked: &Asked<'_>) -> Result<Map<String, Value>, ReadError> {
    let client = snapshot.client();
    let table = qualified(schema, "rejects");
    let filter = "($1::text IS NULL OR topic = $1) AND ($2::text IS NULL OR reason = $2)";
    let counts = format!(
        "SELECT topic, reason, count(*) FROM {table} WHERE {filter} GROUP BY topic, reason \
         ORDER BY topic COLLATE \"C\", reason COLLATE \"C\""
    );
    let mut counted = Vec::new();
    for row in client.query(&counts, &[&asked.topic, &asked.reason]).await? {
        let (topic, reason): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        let count: i64 = row.try_get(2)?;
        counted.push(json!({ "topic": topic, "reason": reason, "count": count }));
    }
    let bytes = if asked.raw {
        "key, value"
    } else {
        "NULL::bytea, NULL::bytea"
    };
    let rows = format!(
        "SELECT source, position, topic, partition, \"offset\", object, reason, \
         to_char(rejected_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), {bytes} FROM {table} \
         WHERE {filter} AND ($3::text IS NULL OR (source, position) > ($3::text COLLATE \"C\", $4::bigint)) \
         ORDER BY source COLLATE \"C\", position LIMIT $5"
    );
    // before the rows: while some of them are not taken, the connection gives no other answer
    let dropped = dropped(snapshot, schema).await?;
    let (source, position) = asked.after.clone().unzip();
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&asked.topic, &asked.reason, &source, &position, &(asked.limit + 1)];
    let stream = client.query_raw(&rows, parameters).await?;
    let mut stream = std::pin::pin!(stream);
    let (mut rows, mut next, mut last, mut bytes) = (Vec::new(), None, None, 0);
    while let Some(row) = stream.try_next().await? {
        if rows.len() as i64 == asked.limit || bytes > MOST_BYTES {
            next = last.map(write_cursor);
            break;
        }
        let (source, position): (String, i64) = (row.try_get(0)?, row.try_get(1)?);
        let mut reject = json!({
            "source": source,
            "position": position,
            "topic": row.try_get::<_, String>(2)?,
            "partition": row.try_get::<_, Option<i32>>(3)?,
            "offset": row.try_get::<_, Option<i64>>(4)?,
            "object": row.try_get::<_, Option<String>>(5)?,
            "reason": row.try_get::<_, String>(6)?,
            "rejected_at": row.try_get::<_, Option<String>>(7)?,
        });
        if asked.raw {
            for (name, column) in [("key", 8), ("value", 9)] {
                let raw: Option<Vec<u8>> = row.try_get(column)?;
                bytes += raw.as_ref().map_or(0, Vec::len);
                reject[name] = json!(raw.map(|raw| STANDARD.encode(raw)));
            }
            reject["encoding"] = json!("base64");
        }
        rows.push(reject);
        last = Some((source, position));
    }
    let mut body = Map::new();
    body.insert("counts".to_owned(), json!(counted));
    body.insert("rows".to_owned(), json!(rows));
    body.insert("next".to_owned(), json!(next));
    body.insert("dropped".to_owned(), json!(dropped));
    Ok(body)
}

/// Dead letters that the limits of the table left no room for.
async fn dropped(snapshot: &Snapshot, schema: &str) -> Result<i64, ReadError> {
    let table = qualified(schema, "rejects_dropped");
    let there = "SELECT to_regclass($1) IS NOT NULL";
    let there: bool = snapshot.client().query_one(there, &[&table]).await?.try_get(0)?;
    if !there {
        // tables of an earlier version
        return Ok(0);
    }
    let sum = format!("SELECT coalesce(sum(rows), 0)::bigint FROM {table}");
    Ok(snapshot.client().query_one(&sum, &[]).await?.try_get(0)?)
}

fn write_cursor((source, position): (String, i64)) -> String {
    URL_SAFE_NO_PAD.encode(format!("{position}:{source}"))
}

fn read_cursor(text: &str) -> Result<(String, i64), ApiError> {
    let parse = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))?;
        let (position, source) = text.split_once(':')?;
        Some((source.to_owned(), position.parse().ok()?))
    };
    parse().ok_or_else(|| {
        let error = format!("invalid cursor {}", shown(text));
        ApiError::bad(error, "give the `next` of an answer").with("parameter", "cursor")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back() {
        let place = ("pin/0".to_owned(), 17);
        assert_eq!(read_cursor(&write_cursor(place.clone())), Ok(place));
        for wrong in ["", "x", "eA", "!!"] {
            assert!(read_cursor(wrong).is_err(), "{wrong}");
        }
    }
}
