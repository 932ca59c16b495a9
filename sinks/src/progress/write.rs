//! What of the progress a commit writes: the row, and of the rest only what differs from the last commit.

use super::{LastRecord, PartitionProgress, Progress};
use crate::encode::Param;
use crate::error::SinkError;
use crate::quote::quoted;
use tokio_postgres::{Client, Statement};

/// The prepared statements of a commit's last part. The checked ones fail when they change another number of rows than
/// they are meant to.
pub(crate) struct Statements {
    pub(crate) row: Statement,
    pub(crate) checked_row: Statement,
    /// Columns of the row that most commits leave alone.
    pub(crate) facts: Statement,
    pub(crate) checked_facts: Statement,
    /// Forgets the partitions of topics.
    pub(crate) forget: Statement,
    /// Moves partitions whose coverage is otherwise as it was.
    pub(crate) advance: Statement,
    pub(crate) checked_advance: Statement,
    /// Writes partitions in full.
    pub(crate) write: Statement,
    pub(crate) generations: Statement,
    pub(crate) filled: Statement,
    pub(crate) gaps: Statement,
}

impl Statements {
    pub(crate) async fn prepare(client: &Client, schema: &str) -> Result<Statements, tokio_postgres::Error> {
        let s = quoted(schema);
        let row = format!(
            "UPDATE {s}.progress SET commits = commits + 1, epoch = $2, definitions = $3, legacy_count = $4, \
             legacy_hash = $5, options = $6, run_id = $7, counters = $8, committed_at = now() \
             WHERE id = 1 AND fence = $1"
        );
        let facts = format!(
            "UPDATE {s}.progress SET topics = $1, partition_counts = $2, cleaned_legacy_count = $3, \
             cleaned_legacy_hash = $4 WHERE id = 1"
        );
        // a topic of this name that is named again may be another one
        let forget = format!(
            "WITH marks AS (DELETE FROM {s}.rejects_dropped WHERE topic = ANY($1::text[])) \
             DELETE FROM {s}.frontier WHERE topic = ANY($1::text[])"
        );
        // exactly where the last commit left it: anything else is not what this step's changes are changes of
        let advance = format!(
            "UPDATE {s}.frontier f SET next_offset = k.next, cleaned_next_offset = k.cleaned, \
             last_offset = k.last_offset, last_timestamp = k.last_timestamp, last_hash = k.last_hash \
             FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], \
             $7::bigint[], $8::bigint[]) \
             AS k(topic, partition, next, cleaned, last_offset, last_timestamp, last_hash, was) \
             WHERE f.topic = k.topic AND f.partition = k.partition AND f.next_offset = k.was"
        );
        let checked = |update: &str, rows: &str| {
            format!("WITH moved AS ({update} RETURNING 1) SELECT 1 / (count(*) = {rows})::integer FROM moved")
        };
        let write = format!(
            "WITH k AS MATERIALIZED (SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], \
             $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::jsonb[]) AS k(topic, partition, \
             next, cleaned, last_offset, last_timestamp, last_hash, was, first, detail)) \
             INSERT INTO {s}.frontier AS f (topic, partition, next_offset, cleaned_next_offset, last_offset, \
             last_timestamp, last_hash, first_offset, detail) \
             SELECT topic, partition, next, cleaned, last_offset, last_timestamp, last_hash, first, detail FROM k \
             ON CONFLICT (topic, partition) DO UPDATE SET first_offset = excluded.first_offset, \
             next_offset = excluded.next_offset, cleaned_next_offset = excluded.cleaned_next_offset, \
             last_offset = excluded.last_offset, last_timestamp = excluded.last_timestamp, \
             last_hash = excluded.last_hash, detail = excluded.detail \
             WHERE f.next_offset <= excluded.next_offset AND f.next_offset >= (SELECT coalesce(k.was, 0) FROM k \
             WHERE k.topic = excluded.topic AND k.partition = excluded.partition)"
        );
        let generations = format!(
            "INSERT INTO {s}.generations (topic, generation, partition, start_offset) \
             SELECT * FROM unnest($1::text[], $2::smallint[], $3::integer[], $4::bigint[]) ON CONFLICT DO NOTHING"
        );
        let gaps = format!(
            "INSERT INTO {s}.gaps (topic, partition, from_offset, to_offset, reason, object) \
             SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::text[], $6::text[]) \
             ON CONFLICT DO NOTHING"
        );
        let filled = format!(
            "DELETE FROM {s}.gaps g USING unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) \
             AS k(topic, partition, first, past) \
             WHERE (g.topic, g.partition, g.from_offset, g.to_offset) = (k.topic, k.partition, k.first, k.past)"
        );
        Ok(Statements {
            row: client.prepare(&row).await?,
            checked_row: client.prepare(&checked(&row, "1")).await?,
            facts: client.prepare(&facts).await?,
            checked_facts: client.prepare(&checked(&facts, "1")).await?,
            forget: client.prepare(&forget).await?,
            advance: client.prepare(&advance).await?,
            checked_advance: client.prepare(&checked(&advance, "cardinality($1)")).await?,
            write: client.prepare(&write).await?,
            generations: client.prepare(&generations).await?,
            filled: client.prepare(&filled).await?,
            gaps: client.prepare(&gaps).await?,
        })
    }
}

/// A partition that a step moves or changes.
pub(crate) struct FrontierMove<'a> {
    key: &'a (String, i32),
    new: &'a PartitionProgress,
    /// Where the last commit left it.
    was: Option<i64>,
}

/// The partitions of a step that moved or changed since the last commit.
pub(crate) struct FrontierMoves<'a> {
    pub(crate) advance: Vec<FrontierMove<'a>>,
    pub(crate) write: Vec<FrontierMove<'a>>,
}

impl<'a> FrontierMoves<'a> {
    /// What differs, or the first partition that would move back.
    pub(crate) fn between(known: &Progress, step: &'a Progress) -> Result<FrontierMoves<'a>, SinkError> {
        let mut moves = FrontierMoves {
            advance: Vec::new(),
            write: Vec::new(),
        };
        for (key, new) in &step.partitions {
            let old = known.partitions.get(key);
            let to = FrontierMove {
                key,
                new,
                was: old.map(|old| old.next),
            };
            match old {
                Some(old) if old.next > new.next => {
                    let (topic, partition) = key.clone();
                    return Err(SinkError::MovesBack {
                        topic,
                        partition,
                        committed: old.next,
                        offered: new.next,
                    });
                }
                Some(old) if old == new => {}
                Some(old) if old.first == new.first && old.detail == new.detail => moves.advance.push(to),
                _ => moves.write.push(to),
            }
        }
        let forward = |to: &FrontierMove<'_>| to.was.is_none_or(|was| was <= to.new.next);
        debug_assert!(
            moves.advance.iter().chain(&moves.write).all(forward),
            "a planned frontier never moves back"
        );
        Ok(moves)
    }

    /// The parameters of [`Statements::advance`].
    pub(crate) fn advance_params(&self) -> Vec<Param<'a>> {
        common(&self.advance)
    }

    /// The parameters of [`Statements::write`].
    pub(crate) fn write_params(&self) -> Vec<Param<'a>> {
        let mut params = common(&self.write);
        params.push(Param::Int8s(self.write.iter().map(|to| Some(to.new.first)).collect()));
        params.push(Param::Jsons(self.write.iter().map(|to| &*to.new.detail).collect()));
        params
    }
}

fn common<'a>(of: &[FrontierMove<'a>]) -> Vec<Param<'a>> {
    let last = |field: fn(&LastRecord) -> i64| {
        let values = of.iter().map(|to| to.new.last.as_ref().map(field));
        Param::Int8s(values.collect())
    };
    vec![
        Param::Texts(of.iter().map(|to| Some(to.key.0.as_str())).collect()),
        Param::Int4s(of.iter().map(|to| Some(to.key.1)).collect()),
        Param::Int8s(of.iter().map(|to| Some(to.new.next)).collect()),
        Param::Int8s(of.iter().map(|to| to.new.cleaned_next).collect()),
        last(|last| last.offset),
        last(|last| last.timestamp),
        last(|last| last.hash as i64),
        Param::Int8s(of.iter().map(|to| to.was).collect()),
    ]
}
