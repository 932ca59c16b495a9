//! How much of dead letters is kept: bytes of a record, and rows and bytes of the table.
//!
//! Where the table is over its limits the oldest dead letters go, within the transaction that wrote the new ones:
//! records without offsets first, by object and number, then by the time of their commit. What goes of a partition is
//! everything below an offset, which `rejects_dropped` remembers: dead letters below it do not come back when the log
//! is read again, and `verify` does not ask for them. Neither results nor cleaned tables know of any of this.

use crate::error::SinkError;
use crate::quote::qualified;
use crate::reject_limits::{Held, RejectLimits};
use crate::reject_surplus::{self, Surplus};
use crate::rows::Reject;
use crate::session::Session;
use crate::sql::{self, is_below};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

/// What was dropped, and what the table holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trimmed {
    pub(crate) dropped: u64,
    pub(crate) held: Held,
}

/// How much there is with these too, at most.
pub(crate) fn held_with(held: Held, rejects: &[Reject], limits: &RejectLimits) -> Held {
    let size_of = |reject: &Reject| {
        let parts = [&reject.key, &reject.value].into_iter();
        parts
            .filter_map(|bytes| limits.cut(bytes))
            .map(|bytes| bytes.len() as u64)
            .sum::<u64>()
    };
    Held {
        rows: held.rows + rejects.len() as u64,
        bytes: held.bytes + rejects.iter().map(size_of).sum::<u64>(),
    }
}

/// Drops the oldest dead letters within the caller's transaction when there are too many. A hundredth more than has to
/// go goes, so that the next ones find room: every look reads the table.
pub(crate) async fn trim(
    session: &Session,
    schema: &str,
    limits: &RejectLimits,
    staged: Option<&StagedRejects<'_>>,
) -> Result<Trimmed, SinkError> {
    let failed = |source| SinkError::postgres(format!("limiting {schema}.rejects"), source);
    let client = &session.client;
    // the table is read as a whole, which is what live statements are kept from
    let plans = "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on";
    client.batch_execute(plans).await.map_err(failed)?;
    let surplus = match staged {
        Some(staged) if begin_surplus(client, schema, limits, staged).await? => SURPLUS,
        _ => NO_SURPLUS,
    };
    let low = |limit: u64| limit - limit / 100;
    let numbers = [limits.rows, low(limits.rows), limits.bytes, low(limits.bytes)].map(number);
    let params: Vec<&(dyn ToSql + Sync)> = numbers.iter().map(|number| number as &(dyn ToSql + Sync)).collect();
    let row = client
        .query_one(&trim_sql(schema, surplus), &params)
        .await
        .map_err(failed)?;
    let number = |index: usize| row.get::<_, i64>(index) as u64;
    // both counts are of one statement, which drops what it has found: see `trim_sql`
    debug_assert!(
        number(2) <= number(0),
        "no more dead letters are dropped than there are"
    );
    Ok(Trimmed {
        dropped: number(2),
        held: Held {
            rows: number(0).saturating_sub(number(2)),
            bytes: number(1).saturating_sub(number(3)),
        },
    })
}

fn number(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Staged dead letters that this transaction has settled, but for the surplus ones.
pub(crate) struct StagedRejects<'a> {
    pub(crate) surplus: &'a Surplus,
    /// Whether they replace what the table held, see [`crate::StagedHistory::full`].
    pub(crate) full: bool,
}

/// What is surplus, by mark: as [`reject_surplus::MARKS`], with the first position, rows and bytes.
const SURPLUS: &str = "SELECT topic, partition, object, past, first, rows, bytes FROM pg_temp.surplus_rejects";
const NO_SURPLUS: &str = "SELECT '' AS topic, 0 AS partition, '' AS object, 0::bigint AS past, 0::bigint AS first, \
                          0::bigint AS rows, 0::bigint AS bytes WHERE false";

/// Counts what is surplus into `pg_temp.surplus_rejects`; whether there is any.
async fn begin_surplus(
    client: &Client,
    schema: &str,
    limits: &RejectLimits,
    staged: &StagedRejects<'_>,
) -> Result<bool, SinkError> {
    let failed = |source| SinkError::postgres(format!("limiting {schema}.rejects"), source);
    let marks = reject_surplus::MARKS;
    let any = format!("SELECT EXISTS (SELECT 1 FROM {marks})");
    if !client.query_one(&any, &[]).await.map_err(failed)?.get::<_, bool>(0) {
        return Ok(false);
    }
    let fits = client
        .query_one(&fits_sql(schema), &[&number(limits.rows), &number(limits.bytes)])
        .await
        .map_err(failed)?;
    if !fits.get::<_, bool>(0) {
        return Err(SinkError::Restage { schema: schema.into() });
    }
    let rejects = qualified(schema, "rejects");
    let winners = staged.surplus.winners();
    // those that this step brings besides would have found the staged ones there, and so would all in a full reconcile
    let replaced = if staged.full { "true" } else { "r.rejected_at = now()" };
    let sql = format!(
        "DELETE FROM {rejects} r WHERE {} AND {replaced} \
         AND (r.source, r.position) IN (SELECT source, position FROM ({winners}) w)",
        reject_surplus::below_marks("r")
    );
    client.execute(&sql, &[]).await.map_err(failed)?;
    // those that the table holds stay as they are, and are dropped from there
    let sql = format!(
        "CREATE TEMP TABLE surplus_rejects ON COMMIT DROP AS SELECT m.topic, m.partition, m.object, m.past, c.first, \
         coalesce(c.rows, 0) AS rows, coalesce(c.bytes, 0) AS bytes FROM {marks} m LEFT JOIN (SELECT \
         CASE WHEN w.partition IS NULL THEN '' ELSE w.topic END AS topic, coalesce(w.partition, -1) AS partition, \
         min(w.position) AS first, count(*) AS rows, sum(w.bytes)::bigint AS bytes FROM ({winners}) w \
         WHERE NOT EXISTS (SELECT 1 FROM {rejects} r WHERE r.source = w.source AND r.position = w.position) \
         GROUP BY 1, 2) c USING (topic, partition)"
    );
    client.batch_execute(&sql).await.map_err(failed)?;
    Ok(true)
}

/// The rows of `rows` as `sized`, from the newest to the oldest: `nth` and `running` count a row and those above it.
fn sized(rows: &str) -> String {
    // One that was found late, in a partition that went on meanwhile, is as old as those behind it: what goes of a
    // partition is then always its beginning.
    let since = "min(r.rejected_at) OVER (PARTITION BY r.source ORDER BY r.position \
                 ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING)";
    // the first is the newest; a mark comes before a dead letter at its place
    let order = "ORDER BY (a.partition IS NULL), CASE WHEN a.partition IS NOT NULL THEN a.since END DESC, \
                 CASE WHEN a.partition IS NOT NULL THEN a.position END DESC, a.source DESC, a.position DESC, \
                 a.is_mark DESC ROWS UNBOUNDED PRECEDING";
    format!(
        "aged AS (SELECT r.topic, r.partition, r.source, r.position, r.bytes, r.is_mark, {since} AS since \
         FROM ({rows}) r), \
         sized AS MATERIALIZED (SELECT a.topic, a.partition, a.source, a.position, a.bytes, a.is_mark, \
         count(*) FILTER (WHERE NOT a.is_mark) OVER newest AS nth, (sum(a.bytes) OVER newest)::bigint AS running \
         FROM aged a WINDOW newest AS ({order}))"
    )
}

/// The rows of the table for [`sized`].
fn held(schema: &str) -> String {
    format!(
        "SELECT r.topic, r.partition, r.source, r.position, {} AS bytes, false AS is_mark, r.rejected_at FROM {} r",
        sql::reject_bytes("r"),
        qualified(schema, "rejects")
    )
}

/// Whether dead letters right below the marks, the newest surplus ones, would find the table full of others that rank
/// above them. Parameters: rows and bytes at most.
fn fits_sql(schema: &str) -> String {
    let rows = format!(
        "{} UNION ALL SELECT m.topic, nullif(m.partition, -1), coalesce(m.object, m.topic || '/' || m.partition), \
         m.past - 1, 0, true, now() FROM {} m",
        held(schema),
        reject_surplus::MARKS
    );
    format!(
        "WITH {} SELECT coalesce(bool_and(s.nth >= $1 OR s.running > $2), true) FROM sized s WHERE s.is_mark",
        sized(&rows)
    )
}

/// Parameters: rows at most and rows to keep, bytes at most and bytes to keep. Answers rows and bytes found, and rows
/// and bytes dropped.
fn trim_sql(schema: &str, surplus: &str) -> String {
    format!(
        "WITH {sized}, surplus AS ({surplus}), \
         found AS (SELECT count(*) + (SELECT coalesce(sum(rows), 0)::bigint FROM surplus) AS rows, \
         coalesce(max(running), 0) + (SELECT coalesce(sum(bytes), 0)::bigint FROM surplus) AS bytes FROM sized), \
         victims AS MATERIALIZED (SELECT s.* FROM sized s, found f \
         WHERE (f.rows > $1 OR f.bytes > $3) AND (s.nth > $2 OR s.running > $4)), \
         marks AS MATERIALIZED (SELECT topic, partition, NULL::text AS object, max(past) AS past \
         FROM (SELECT topic, partition, position + 1 AS past FROM victims WHERE partition IS NOT NULL \
         UNION ALL SELECT topic, partition, past FROM surplus WHERE partition >= 0) v GROUP BY topic, partition \
         UNION ALL (SELECT '', -1, object, past \
         FROM (SELECT source AS object, position + 1 AS past FROM victims WHERE partition IS NULL \
         UNION ALL SELECT object, past FROM surplus WHERE partition = -1) v \
         ORDER BY object COLLATE \"C\" DESC, past DESC LIMIT 1)), \
         gone AS (DELETE FROM {rejects} r USING marks m WHERE {below} \
         RETURNING m.topic, m.partition, r.position, {size} AS bytes), \
         counted AS (SELECT topic, partition, min(first) AS first, sum(rows)::bigint AS rows, \
         sum(bytes)::bigint AS bytes FROM (SELECT topic, partition, position AS first, 1 AS rows, bytes FROM gone \
         UNION ALL SELECT topic, partition, first, rows, bytes FROM surplus) g GROUP BY topic, partition), \
         noted AS (INSERT INTO {dropped} AS d (topic, partition, from_position, to_position, object, rows, bytes) \
         SELECT m.topic, m.partition, c.first, m.past, m.object, c.rows, c.bytes \
         FROM marks m JOIN counted c USING (topic, partition) ON CONFLICT (topic, partition) DO UPDATE \
         SET from_position = least(d.from_position, excluded.from_position), to_position = excluded.to_position, \
         object = excluded.object, rows = d.rows + excluded.rows, bytes = d.bytes + excluded.bytes, \
         dropped_at = excluded.dropped_at) \
         SELECT f.rows, f.bytes::bigint, coalesce((SELECT sum(rows) FROM counted), 0)::bigint, \
         coalesce((SELECT sum(bytes) FROM counted), 0)::bigint FROM found f",
        sized = sized(&held(schema)),
        rejects = qualified(schema, "rejects"),
        dropped = qualified(schema, "rejects_dropped"),
        below = is_below("r", "m.topic, m.partition, m.object, m.past"),
        size = sql::reject_bytes("r"),
    )
}

/// Dead letters that were dropped: those of a partition below an offset, or of objects without offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedRejects {
    /// `topic/partition`; `None`: of objects without offsets.
    pub source: Option<String>,
    /// One past the last position that was dropped, in `object` if there is one.
    pub past: i64,
    /// Of objects without offsets: the last one, by the order of its name's bytes.
    pub object: Option<String>,
    /// How many there were.
    pub rows: u64,
}

impl DroppedRejects {
    /// The query for all of them.
    pub(crate) fn query(schema: &str) -> String {
        format!(
            "SELECT topic, partition, to_position, object, rows FROM {} ORDER BY topic COLLATE \"C\", partition",
            qualified(schema, "rejects_dropped")
        )
    }

    pub(crate) fn of(row: &Row) -> Result<DroppedRejects, tokio_postgres::Error> {
        let (topic, partition): (String, i32) = (row.try_get(0)?, row.try_get(1)?);
        Ok(DroppedRejects {
            source: (partition >= 0).then(|| format!("{topic}/{partition}")),
            past: row.try_get(2)?,
            object: row.try_get(3)?,
            rows: row.try_get::<_, i64>(4)? as u64,
        })
    }

    /// Whether a dead letter at this place was among them; `is_log` says that its source is a partition.
    pub fn covers(&self, source: &str, position: i64, is_log: bool) -> bool {
        match (&self.source, &self.object) {
            (Some(of), _) => is_log && of == source && position < self.past,
            (None, Some(object)) => !is_log && (source.as_bytes(), position) < (object.as_bytes(), self.past),
            (None, None) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_dropped_is_told_by_its_place() {
        let of_log = DroppedRejects {
            source: Some("pin/0".into()),
            past: 7,
            object: None,
            rows: 1,
        };
        assert!(of_log.covers("pin/0", 6, true) && !of_log.covers("pin/0", 7, true));
        assert!(!of_log.covers("pin/1", 6, true) && !of_log.covers("pin/0", 6, false));
        let of_objects = DroppedRejects {
            source: None,
            past: 3,
            object: Some("b".into()),
            rows: 1,
        };
        assert!(of_objects.covers("a", 9, false) && of_objects.covers("b", 2, false));
        assert!(
            !of_objects.covers("b", 3, false) && !of_objects.covers("c", 0, false) && !of_objects.covers("a", 0, true)
        );
    }
}
