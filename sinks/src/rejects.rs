//! Staged dead letters, settled with the history they were found in.
//!
//! A dead letter is identified by its place. Which of those in the table have to go is not said by the staged ones
//! alone: a run knows only the topics that it reads, and a record of an object that lacks offsets may have been
//! rejected under another offset before.

use crate::error::SinkError;
use crate::progress::UNKNOWN_TOPIC;
use crate::quote::{list, qualified};
use crate::reject_surplus::{Surplus, content};
use crate::sql::{self, REJECT_COLUMNS};
use crate::step::StagedHistory;
use std::collections::BTreeMap;
use std::ops::Range;
use tokio_postgres::Client;

/// The narrow table of the staged dead letters that count.
const WINNERS: &str = "pg_temp.winners_rejects";

/// Settles what is staged, within the caller's transaction; what is surplus is settled when the table is limited.
/// Returns rows changed.
pub(crate) async fn settle(
    client: &Client,
    schema: &str,
    surplus: &Surplus,
    staged: &StagedHistory,
    topics: &[String],
) -> Result<u64, SinkError> {
    let staging = surplus.staging.as_str();
    let target = qualified(schema, "rejects");
    let failed = |source| SinkError::postgres(format!("settling history into {target}"), source);
    if let Some(ranges) = Ranges::of(&staged.from_kafka) {
        let sql = format!(
            "DELETE FROM {staging} s USING ({RANGES}) k WHERE s.object IS NOT NULL AND {}",
            inside("s")
        );
        ranges.execute(client, &sql).await.map_err(failed)?;
        let sql = surplus.leave_out(RANGES);
        ranges.execute(client, &sql).await.map_err(failed)?;
    }
    surplus.gather(client).await.map_err(failed)?;
    let has_dropped = begin_count(client, schema, surplus).await.map_err(failed)?;
    // Those that were dropped before are not there to be compared with. Of two at one place the one from Kafka counts:
    // its offset is the record's own.
    let make = format!(
        "CREATE TEMP TABLE winners_rejects ON COMMIT DROP AS SELECT DISTINCT ON (s.source, s.position) s.source, \
         s.position, s.ctid AS place FROM {staging} s WHERE NOT {} \
         ORDER BY s.source, s.position, s.object NULLS FIRST; ANALYZE {WINNERS}",
        sql::was_dropped(schema, "s")
    );
    client.batch_execute(&make).await.map_err(failed)?;
    let mut changed = 0;
    if staged.full {
        let sql = format!(
            "DELETE FROM {target} r WHERE r.topic = ANY($1::text[]) AND NOT EXISTS \
             (SELECT 1 FROM {WINNERS} w WHERE w.source = r.source AND w.position = r.position)"
        );
        let named: Vec<&str> = topics.iter().map(String::as_str).chain([UNKNOWN_TOPIC]).collect();
        changed += client.execute(&sql, &[&named]).await.map_err(failed)?;
    } else if let Some(ranges) = Ranges::of(&staged.replaced_rejects) {
        let sql = format!(
            "DELETE FROM {target} r USING ({RANGES}) k WHERE {} AND NOT EXISTS \
             (SELECT 1 FROM {WINNERS} w JOIN {staging} s ON s.ctid = w.place \
             WHERE w.source = r.source AND w.position = r.position \
             AND (s.reason, s.key, s.value) IS NOT DISTINCT FROM (r.reason, r.key, r.value))",
            inside("r")
        );
        changed += ranges.execute(client, &sql).await.map_err(failed)?;
    }
    // a key that only Kafka gives, and the object, are of the same reading; another object alone is no reason to write
    let update = if staged.full {
        "(source, position) DO UPDATE SET topic = excluded.topic, partition = excluded.partition, \
         \"offset\" = excluded.\"offset\", reason = excluded.reason, key = excluded.key, value = excluded.value, \
         object = excluded.object WHERE (r.topic, r.reason, r.key, r.value) IS DISTINCT FROM \
         (excluded.topic, excluded.reason, excluded.key, excluded.value)"
    } else {
        "DO NOTHING"
    };
    let names = || REJECT_COLUMNS.iter().map(|column| column.0);
    let sql = format!(
        "INSERT INTO {target} AS r ({}) SELECT {} FROM {WINNERS} w JOIN {staging} s ON s.ctid = w.place \
         ON CONFLICT {update}",
        list("", names()),
        list("s.", names()),
    );
    changed += client.execute(&sql, &[]).await.map_err(failed)?;
    if has_dropped {
        count_moved(client, schema, surplus).await.map_err(failed)?;
    }
    Ok(changed)
}

/// What the table holds before it is settled, of partitions of which dead letters were dropped.
const BEFORE: &str = "pg_temp.before_rejects";

/// Notes what the table holds, where dead letters that stand below a mark are staged; whether there are such.
async fn begin_count(client: &Client, schema: &str, surplus: &Surplus) -> Result<bool, tokio_postgres::Error> {
    let sql = format!(
        "SELECT EXISTS (SELECT 1 FROM {} s WHERE s.partition IS NOT NULL AND {}) OR EXISTS ({})",
        surplus.staging,
        sql::was_dropped(schema, "s"),
        surplus.dropped_before()
    );
    if !client.query_one(&sql, &[]).await?.get::<_, bool>(0) {
        return Ok(false);
    }
    let sql = format!(
        "CREATE TEMP TABLE before_rejects ON COMMIT DROP AS SELECT r.source, {} AS content, count(*) AS rows \
         FROM {} r WHERE r.partition IS NOT NULL AND EXISTS (SELECT 1 FROM {} d \
         WHERE d.topic = r.topic AND d.partition = r.partition) GROUP BY 1, 2; ANALYZE {BEFORE}",
        content("r"),
        qualified(schema, "rejects"),
        qualified(schema, "rejects_dropped"),
    );
    client.batch_execute(&sql).await?;
    Ok(true)
}

/// Counts dead letters that the table held and that are staged below a mark now: those of an object that was read again
/// under other offsets. They are dropped like their neighbours, and were not counted with them.
async fn count_moved(client: &Client, schema: &str, surplus: &Surplus) -> Result<u64, tokio_postgres::Error> {
    let staged = format!(
        "SELECT s.source, s.topic, s.partition, s.position, {} AS bytes, {} AS content FROM {} s \
         WHERE s.partition IS NOT NULL AND {}",
        sql::reject_bytes("s"),
        content("s"),
        surplus.staging,
        sql::was_dropped(schema, "s"),
    );
    // those that are surplus are about to be dropped and counted: until then they are in the table
    let sql = format!(
        "WITH kept AS (SELECT r.source, {content_now} AS content FROM {rejects} r \
         WHERE r.source IN (SELECT source FROM {BEFORE}) \
         UNION ALL SELECT w.source, w.content FROM ({winners}) w WHERE w.source IN (SELECT source FROM {BEFORE}) \
         AND NOT EXISTS (SELECT 1 FROM {rejects} r WHERE r.source = w.source AND r.position = w.position)), \
         now AS (SELECT source, content, count(*) AS rows FROM kept GROUP BY 1, 2), \
         gone AS MATERIALIZED (SELECT b.source, b.content, b.rows - coalesce(n.rows, 0) AS rows FROM {BEFORE} b \
         LEFT JOIN now n USING (source, content) WHERE b.rows > coalesce(n.rows, 0)), \
         staged AS ({staged} UNION ALL {dropped_before}), \
         below AS (SELECT s.source, s.topic, s.partition, s.content, count(DISTINCT s.position) AS rows, \
         min(s.position) AS first, max(s.bytes) AS bytes FROM staged s \
         WHERE s.source IN (SELECT source FROM gone) GROUP BY 1, 2, 3, 4), \
         moved AS (SELECT b.topic, b.partition, sum(least(g.rows, b.rows))::bigint AS rows, \
         sum(least(g.rows, b.rows) * b.bytes)::bigint AS bytes FROM gone g JOIN below b USING (source, content) \
         GROUP BY 1, 2) \
         UPDATE {marks} d SET rows = d.rows + m.rows, bytes = d.bytes + m.bytes, \
         from_position = least(d.from_position, \
         (SELECT min(b.first) FROM below b WHERE b.topic = m.topic AND b.partition = m.partition)) FROM moved m \
         WHERE d.topic = m.topic AND d.partition = m.partition",
        content_now = content("r"),
        rejects = qualified(schema, "rejects"),
        winners = surplus.winners(),
        dropped_before = surplus.dropped_before(),
        marks = qualified(schema, "rejects_dropped"),
    );
    client.execute(&sql, &[]).await
}

/// Ranges of offsets by source, as sorted arrays: each row then finds its range by bisection. Joined as rows, some
/// thousands of ranges of one partition would be compared with each of its dead letters.
const RANGES: &str = "SELECT u.source, array_agg(u.first ORDER BY u.first) AS firsts, \
                      array_agg(u.past ORDER BY u.first) AS pasts \
                      FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS u(source, first, past) GROUP BY u.source";

/// Whether a row of `of` that has an offset lies in one of `k`'s ranges; before the first one the bucket is 0, and the
/// element null.
fn inside(of: &str) -> String {
    format!(
        "{of}.source = k.source AND {of}.partition IS NOT NULL \
         AND k.pasts[width_bucket({of}.position, k.firsts)] > {of}.position"
    )
}

/// The parameters of [`RANGES`]: disjoint within a source.
#[derive(Debug, Default, PartialEq)]
struct Ranges {
    sources: Vec<String>,
    firsts: Vec<i64>,
    pasts: Vec<i64>,
}

impl Ranges {
    /// None when no range holds an offset.
    fn of(ranges: &[(String, i32, Range<i64>)]) -> Option<Ranges> {
        let mut by_source: BTreeMap<String, Vec<&Range<i64>>> = BTreeMap::new();
        for (topic, partition, range) in ranges.iter().filter(|(_, _, range)| !range.is_empty()) {
            by_source.entry(format!("{topic}/{partition}")).or_default().push(range);
        }
        let mut merged = Ranges::default();
        for (source, mut ranges) in by_source {
            ranges.sort_by_key(|range| range.start);
            for range in ranges {
                match merged.pasts.last_mut() {
                    Some(past) if merged.sources.last() == Some(&source) && range.start <= *past => {
                        *past = range.end.max(*past);
                    }
                    _ => {
                        merged.sources.push(source.clone());
                        merged.firsts.push(range.start);
                        merged.pasts.push(range.end);
                    }
                }
            }
        }
        debug_assert!(
            merged.are_disjoint(),
            "bisection needs ranges in order that do not touch"
        );
        (!merged.sources.is_empty()).then_some(merged)
    }

    /// Whether the ranges of each source are in order and apart from each other.
    fn are_disjoint(&self) -> bool {
        let at = |index: usize| (&self.sources[index], self.firsts[index], self.pasts[index]);
        (1..self.sources.len()).all(|index| {
            let ((source, _, past), (next, first, _)) = (at(index - 1), at(index));
            source < next || source == next && past < first
        })
    }

    async fn execute(&self, client: &Client, sql: &str) -> Result<u64, tokio_postgres::Error> {
        client.execute(sql, &[&self.sources, &self.firsts, &self.pasts]).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_sorted_and_disjoint() {
        let range = |topic: &str, partition, range: Range<i64>| (topic.to_owned(), partition, range);
        let ranges = Ranges::of(&[
            range("pin", 1, 5..9),
            range("pin", 0, 20..30),
            range("pin", 0, 7..7),
            range("pin", 0, 1..4),
            range("pin", 0, 2..3),
            range("pin", 0, 4..6),
        ]);
        let expected = Ranges {
            sources: vec!["pin/0".into(), "pin/0".into(), "pin/1".into()],
            firsts: vec![1, 20, 5],
            pasts: vec![6, 30, 9],
        };
        assert_eq!(ranges, Some(expected));
        assert_eq!(Ranges::of(&[range("pin", 0, 3..3)]), None);
    }
}
