//! Staged dead letters that there is no room for: of each only its place and its size are kept.
//!
//! A replay of history stages every dead letter, and the limits are applied by the first commit ([`crate::reject_cap`]).
//! Until then a lake of bad records would fill the disk. So a stager that has sent half of what the table may hold
//! moves those that are certain to be dropped out of the staging table: of a place, its size and the hash of its content
//! 12 to 24 bytes are left, whatever was sent. The commit adds them to what it drops, so that `rejects` and
//! `rejects_dropped` are what they would be if all had been inserted and limited then.
//!
//! A dead letter is certain to be dropped when the staged ones that rank above it fill the table by themselves. Others
//! of its partition rank above it when their offset is greater. Others of another partition do when they have a greater
//! offset **and** the table holds nothing at or above their offset in their partition: the time of the commit, which
//! comes before the offset, is then the newest that there is. Objects without offsets rank below all partitions.
//!
//! The commit leaves some staged dead letters out (`from_kafka`), and those may have been counted here. It checks its own
//! result and has history read again, with more room, where too much was moved.

use crate::access;
use crate::error::{Class, SinkError};
use crate::quote::qualified;
use crate::reject_limits::RejectLimits;
use crate::session::Session;
use crate::sql::{self, is_below, staging_name, was_dropped};
use causes::with_causes;
use tokio_postgres::Client;

/// Positions of one row of the table, at most; the places are counted once, row by row.
const CHUNK: i64 = 4096;

/// Below which place of each partition, and of objects without offsets, dead letters are surplus: columns topic,
/// partition, object and one past the position, as in `rejects_dropped`.
pub(crate) const MARKS: &str = "pg_temp.surplus_marks";

/// The names of the tables.
pub(crate) struct Surplus {
    schema: String,
    /// Dead letters as they were sent.
    pub(crate) staging: String,
    /// Places and sizes of those that are surplus.
    table: String,
    /// One row: how much has to rank above a dead letter that is moved.
    limits: String,
}

impl Surplus {
    pub(crate) fn of(schema: &str, fence: i64) -> Surplus {
        let name = |table: &str| qualified(schema, &staging_name(fence, table));
        Surplus {
            schema: schema.into(),
            staging: name("rejects"),
            table: name("rejects_surplus"),
            limits: name("reject_limits"),
        }
    }

    /// Creates the tables beside the staging table of dead letters.
    pub(crate) fn create(&self, fence: i64, limits: &RejectLimits, options: &str) -> String {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        format!(
            "CREATE UNLOGGED TABLE {} (source text COLLATE \"C\", topic text COLLATE \"C\", partition integer, \
             from_object boolean, was_dropped boolean, chunk bigint, positions bigint[], sizes bigint[], \
             contents bigint[]) {options}; \
             CREATE UNLOGGED TABLE {limits} (rows bigint, bytes bigint) {options}; \
             INSERT INTO {limits} VALUES ({}, {}); {}",
            self.table,
            number(limits.rows),
            number(limits.bytes),
            access::hide(&self.schema, &staging_name(fence, "rejects_surplus"), &[]),
            limits = self.limits,
        )
    }

    /// Counts the dead letters that were staged.
    pub(crate) fn count(&self) -> String {
        format!(
            "SELECT (SELECT count(*) FROM {}) + (SELECT coalesce(sum(cardinality(positions)), 0) FROM {})::bigint",
            self.staging, self.table
        )
    }

    /// Moves what is surplus out of the staging table. A failure for a passing reason changes nothing, and is tried
    /// again by the next call; false then.
    pub(crate) async fn move_out(&self, session: &Session) -> Result<bool, SinkError> {
        let failed = |source| SinkError::postgres(format!("limiting {}", self.staging), source);
        let result = self.try_move_out(&session.client).await.map_err(failed);
        let Err(error) = result else { return Ok(true) };
        if error.class() != Class::Retry {
            return Err(error);
        }
        tracing::warn!(error = %with_causes(&error), "staged dead letters stay for now");
        session.client.batch_execute("ROLLBACK").await.map_err(failed)?;
        Ok(false)
    }

    async fn try_move_out(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let look = format!(
            "SELECT count(*) > l.rows OR sum({})::bigint > l.bytes FROM {} s, {} l GROUP BY l.rows, l.bytes",
            sql::reject_bytes("s"),
            self.staging,
            self.limits
        );
        let over = client.query_opt(&look, &[]).await?;
        if !over.is_some_and(|row| row.get::<_, bool>(0)) {
            return Ok(());
        }
        // A reader of the staging table, such as a dump, must not keep the other stagers waiting behind this lock. The
        // table is emptied and filled again: deleted rows would take up room for as long as any transaction is older.
        let begin = format!(
            "BEGIN; SET LOCAL lock_timeout = '1s'; SET LOCAL work_mem = '64MB'; \
             LOCK TABLE {} IN ACCESS EXCLUSIVE MODE; CREATE TEMP TABLE surplus_marks ON COMMIT DROP AS {}",
            self.staging,
            self.certain()
        );
        client.batch_execute(&begin).await?;
        let marks = format!("SELECT EXISTS (SELECT 1 FROM {MARKS})");
        if !client.query_one(&marks, &[]).await?.get::<_, bool>(0) {
            return client.batch_execute("ROLLBACK").await;
        }
        let gone = format!("({} OR {})", below_marks("s"), was_dropped(&self.schema, "s"));
        let rows = format!("{} WHERE {gone}", self.staged(&format!("{} s", self.staging)));
        let keep = format!(
            "CREATE TEMP TABLE kept_rejects ON COMMIT DROP AS SELECT s.* FROM {staging} s WHERE NOT {gone}; {insert}; \
             TRUNCATE {staging}; INSERT INTO {staging} SELECT * FROM pg_temp.kept_rejects; COMMIT",
            staging = self.staging,
            insert = self.insert(&rows),
        );
        client.batch_execute(&keep).await
    }

    /// The marks below which all staged dead letters are certain to be dropped.
    fn certain(&self) -> String {
        let rejects = qualified(&self.schema, "rejects");
        // Bytes of one that the table holds may not be those that are staged: they are not relied on.
        let above = |filter: &str, window: &str| {
            format!(
                "count(*) {filter} OVER {window} AS {window}_rows, \
                 coalesce(sum(CASE WHEN is_known THEN 0 ELSE bytes END) {filter} OVER {window}, 0) AS {window}_bytes"
            )
        };
        format!(
            "WITH tops AS (SELECT source, max(position) AS top FROM {rejects} WHERE partition IS NOT NULL \
             GROUP BY source), \
             places AS (SELECT s.source COLLATE \"C\" AS source, s.position, min(s.topic) AS topic, \
             min(s.partition) AS partition, min({size}) AS bytes FROM {staging} s WHERE NOT {dropped} GROUP BY 1, 2), \
             known AS (SELECT p.*, r.source IS NOT NULL AS is_known, \
             p.partition IS NOT NULL AND p.position > coalesce(t.top, -1) AS is_newest FROM places p \
             LEFT JOIN tops t ON t.source = p.source \
             LEFT JOIN {rejects} r ON r.source = p.source AND r.position = p.position), \
             ranked AS (SELECT source, topic, partition, position, is_known, {own}, {newest}, {all_of} FROM known \
             WINDOW own AS (PARTITION BY source ORDER BY position DESC {frame}), \
             newest AS ({order} {frame}), all_of AS ({order} {frame})), \
             surplus AS (SELECT r.* FROM ranked r, {limits} l WHERE own_rows >= l.rows OR own_bytes > l.bytes \
             OR CASE WHEN partition IS NULL THEN all_of_rows >= l.rows OR all_of_bytes > l.bytes \
             ELSE NOT is_known AND (newest_rows >= l.rows OR newest_bytes > l.bytes) END) \
             SELECT topic COLLATE \"C\" AS topic, partition, NULL::text COLLATE \"C\" AS object, \
             max(position) + 1 AS past FROM surplus WHERE partition IS NOT NULL GROUP BY 1, 2 \
             UNION ALL (SELECT '', -1, source, position + 1 FROM surplus WHERE partition IS NULL \
             ORDER BY source DESC, position DESC LIMIT 1)",
            size = sql::reject_bytes("s"),
            staging = self.staging,
            dropped = was_dropped(&self.schema, "s"),
            own = above("", "own"),
            newest = above("FILTER (WHERE is_newest)", "newest"),
            all_of = above("", "all_of"),
            limits = self.limits,
            frame = "ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING",
            order = "ORDER BY (partition IS NULL), CASE WHEN partition IS NOT NULL THEN position END DESC, \
                     source DESC, position DESC",
        )
    }

    /// Staged dead letters of `from`, whose rows are called `s`, as [`Surplus::insert`] takes them. The hash of a
    /// content is wanted where some were dropped before, see [`crate::rejects`].
    pub(crate) fn staged(&self, from: &str) -> String {
        format!(
            "SELECT s.source, s.topic, s.partition, s.object IS NOT NULL AS from_object, {before} AS was_dropped, \
             s.position, {size} AS bytes, CASE WHEN s.partition IS NOT NULL AND EXISTS (SELECT 1 FROM {dropped} d \
             WHERE d.topic = s.topic COLLATE \"C\" AND d.partition = s.partition) THEN {content} END AS content, \
             s.ctid::text AS place FROM {from}",
            before = was_dropped(&self.schema, "s"),
            size = sql::reject_bytes("s"),
            dropped = qualified(&self.schema, "rejects_dropped"),
            content = content("s"),
        )
    }

    /// Adds these rows to the surplus ones.
    fn insert(&self, rows: &str) -> String {
        let all = |column: &str| format!("array_agg(g.{column} ORDER BY g.position, g.place)");
        format!(
            "INSERT INTO {} (source, topic, partition, from_object, was_dropped, chunk, positions, sizes, contents) \
             SELECT g.source, g.topic, g.partition, g.from_object, g.was_dropped, g.position / {CHUNK}, {}, {}, \
             CASE WHEN count(g.content) > 0 THEN {} END FROM ({rows}) g GROUP BY 1, 2, 3, 4, 5, 6",
            self.table,
            all("position"),
            all("bytes"),
            all("content"),
        )
    }

    /// Leaves those of objects out that stand in `ranges`, a query for sources with arrays `firsts` and `pasts`.
    pub(crate) fn leave_out(&self, ranges: &str) -> String {
        let rows = "SELECT o.source, o.topic, o.partition, o.from_object, o.was_dropped, u.position, u.bytes, \
                    u.content, u.place FROM gone o, unnest(o.positions, o.sizes, o.contents) WITH ORDINALITY \
                    AS u(position, bytes, content, place) \
                    WHERE NOT coalesce(o.pasts[width_bucket(u.position, o.firsts)] > u.position, false)";
        format!(
            "WITH k AS ({ranges}), gone AS (DELETE FROM {} s USING k WHERE s.source = k.source \
             AND s.partition IS NOT NULL AND s.from_object RETURNING s.*, k.firsts, k.pasts) {}",
            self.table,
            self.insert(rows)
        )
    }

    /// Moves what was staged below the marks after them, within the transaction of the first commit, and makes
    /// [`MARKS`] for the rest of it.
    pub(crate) async fn gather(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        let last = "s.positions[cardinality(s.positions)] + 1";
        let make = format!(
            "CREATE TEMP TABLE surplus_marks ON COMMIT DROP AS SELECT s.topic, s.partition, \
             NULL::text COLLATE \"C\" AS object, max({last}) AS past FROM {table} s \
             WHERE NOT s.was_dropped AND s.partition IS NOT NULL GROUP BY 1, 2 \
             UNION ALL (SELECT '', -1, s.source, {last} AS past FROM {table} s \
             WHERE NOT s.was_dropped AND s.partition IS NULL ORDER BY s.source DESC, past DESC LIMIT 1)",
            table = self.table,
        );
        client.batch_execute(&make).await?;
        let rows = self.staged("gone s");
        let gone = format!(
            "WITH gone AS (DELETE FROM {} s WHERE {} AND NOT {} RETURNING s.*, s.ctid) {}",
            self.staging,
            below_marks("s"),
            was_dropped(&self.schema, "s"),
            self.insert(&rows)
        );
        client.batch_execute(&gone).await
    }

    /// Of each place the one that counts, if it was not dropped before: source, topic, partition, position, bytes and
    /// content. Of two at one place that is the one from Kafka, as among the staged ones.
    pub(crate) fn winners(&self) -> String {
        format!(
            "SELECT c.source, c.topic, c.partition, w.position, w.bytes, w.content FROM (SELECT source, partition, \
             min(topic) AS topic, chunk, array_agg(ctid) AS places FROM {table} WHERE NOT was_dropped \
             GROUP BY source, partition, chunk) c, \
             LATERAL (SELECT DISTINCT ON (u.position) u.position, u.bytes, u.content FROM {table} s, \
             unnest(s.positions, s.sizes, s.contents) AS u(position, bytes, content) WHERE s.ctid = ANY(c.places) \
             ORDER BY u.position, s.from_object) w",
            table = self.table,
        )
    }

    /// Those of partitions that were dropped before: source, topic, partition, position, bytes and content.
    pub(crate) fn dropped_before(&self) -> String {
        format!(
            "SELECT s.source, s.topic, s.partition, u.position, u.bytes, u.content FROM {} s, \
             unnest(s.positions, s.sizes, s.contents) AS u(position, bytes, content) \
             WHERE s.was_dropped AND s.partition IS NOT NULL",
            self.table
        )
    }
}

/// What a dead letter holds, of those that have an offset; the place is not a part of it.
pub(crate) fn content(of: &str) -> String {
    format!("hashtextextended(ROW({of}.reason, {of}.key, {of}.value)::text, 0)")
}

/// Whether the dead letter `of` lies below one of [`MARKS`].
pub(crate) fn below_marks(of: &str) -> String {
    let below = is_below(of, "m.topic, m.partition, m.object, m.past");
    format!("EXISTS (SELECT 1 FROM {MARKS} m WHERE {below})")
}
