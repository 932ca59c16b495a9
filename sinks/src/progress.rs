//! What the tables answer for: the recorded log offsets and what else a restart needs to know.
//!
//! `progress` is one row, `frontier` one row a partition; both are written by every commit in the transaction that
//! writes the tables, so a reader who reads them in one snapshot knows which records the tables hold.
//!
//! Only what differs from the last commit is sent: the frontier of most partitions stands still in most commits.

use crate::encode::Param;
use crate::error::SinkError;
use crate::schema::quoted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tokio_postgres::{Client, Statement};

/// The progress of a schema, as read at the start, and as every step carries it.
///
/// A step's progress is complete, not a difference. Partitions, generations and gaps that Postgres knows and a step
/// does not are left as they are; only a whole step, which has looked at all of the log, forgets gaps of its partitions
/// that it does not hold: they have been filled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The fence number in the row. Ignored in a step: a sink commits under its own.
    pub fence: i64,
    /// How many commits the schema has seen; 0: its tables are empty. Ignored in a step.
    pub commits: i64,
    /// The last closed epoch. In a step: [`crate::Step::epoch`] counts instead.
    pub epoch: u64,
    /// Per (topic, partition) what is covered.
    pub partitions: BTreeMap<(String, i32), PartitionProgress>,
    /// The history without offsets.
    pub legacy: Legacy,
    /// [`crate::Definition::hash`] of the last commit; `None` before the first. Ignored in a step.
    pub definitions: Option<u64>,
    /// When topics grew.
    pub generations: Vec<Generation>,
    /// Accepted holes.
    pub gaps: Vec<AcceptedGap>,
    /// The options that are part of the definitions, for people.
    pub options: serde_json::Value,
    /// The run that committed last, for people.
    pub run_id: String,
    /// Running counts, such as unreadable fields by name.
    pub counters: serde_json::Value,
}

/// What is covered of one partition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartitionProgress {
    /// The first offset covered.
    pub first: i64,
    /// One past the last offset covered: never moves back.
    pub next: i64,
    /// The same for the cleaned tables; `None` when they are not kept.
    pub cleaned_next: Option<i64>,
    /// Covered ranges, holes and skipped objects, as the caller likes to keep them. Compared as JSON; best left as it
    /// was found at the start, since a change costs a bigger row.
    pub detail: serde_json::Value,
}

/// History without offsets: how many records, and a hash over the objects that hold them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legacy {
    /// Records.
    pub count: u64,
    /// Hash over the objects' names and contents.
    pub hash: u64,
}

/// Where a generation of a topic starts in one partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Generation {
    /// Topic name.
    pub topic: String,
    /// 1, 2, … in the order of growth.
    pub generation: u8,
    /// The partition.
    pub partition: i32,
    /// Its first offset of this generation.
    pub start: i64,
}

/// A hole of the log that an operator accepted: the offsets `from..to` of a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AcceptedGap {
    /// Topic name.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first missing offset.
    pub from: i64,
    /// One past the last missing offset.
    pub to: i64,
    /// Why it is missing.
    pub reason: String,
}

/// Reads the whole progress; several statements, so call it in a transaction when commits may go on.
pub(crate) async fn read(client: &Client, schema: &str) -> Result<Progress, SinkError> {
    let failed = |source| SinkError::postgres(format!("reading progress of schema {schema}"), source);
    let s = quoted(schema);
    let row = "SELECT fence, commits, epoch, definitions, legacy_count, legacy_hash, options, run_id, counters";
    let row = client
        .query_opt(&format!("{row} FROM {s}.progress WHERE id = 1"), &[])
        .await
        .map_err(failed)?;
    let Some(row) = row else {
        return Err(missing_row(schema));
    };
    let frontier = "SELECT topic, partition, first_offset, next_offset, cleaned_next_offset, detail";
    let frontier = client
        .query(&format!("{frontier} FROM {s}.frontier"), &[])
        .await
        .map_err(failed)?;
    let generations = "SELECT topic, generation, partition, start_offset";
    let generations = format!("{generations} FROM {s}.generations ORDER BY topic, generation, partition");
    let generations = client.query(&generations, &[]).await.map_err(failed)?;
    let gaps = "SELECT topic, partition, from_offset, to_offset, reason";
    let gaps = format!("{gaps} FROM {s}.gaps ORDER BY topic, partition, from_offset, to_offset");
    let gaps = client.query(&gaps, &[]).await.map_err(failed)?;

    let partition = |row: &tokio_postgres::Row| {
        let progress = PartitionProgress {
            first: row.try_get(2)?,
            next: row.try_get(3)?,
            cleaned_next: row.try_get(4)?,
            detail: row.try_get(5)?,
        };
        Ok(((row.try_get(0)?, row.try_get(1)?), progress))
    };
    let generation = |row: &tokio_postgres::Row| {
        Ok(Generation {
            topic: row.try_get(0)?,
            generation: row.try_get::<_, i16>(1)? as u8,
            partition: row.try_get(2)?,
            start: row.try_get(3)?,
        })
    };
    let gap = |row: &tokio_postgres::Row| {
        Ok(AcceptedGap {
            topic: row.try_get(0)?,
            partition: row.try_get(1)?,
            from: row.try_get(2)?,
            to: row.try_get(3)?,
            reason: row.try_get(4)?,
        })
    };
    let hash = |text: &str| u64::from_str_radix(text, 16).ok();
    let read = || -> Result<Progress, tokio_postgres::Error> {
        Ok(Progress {
            fence: row.try_get(0)?,
            commits: row.try_get(1)?,
            epoch: row.try_get::<_, i64>(2)? as u64,
            partitions: frontier.iter().map(partition).collect::<Result<_, _>>()?,
            legacy: Legacy {
                count: row.try_get::<_, i64>(4)? as u64,
                hash: hash(row.try_get(5)?).unwrap_or_default(),
            },
            definitions: hash(row.try_get(3)?),
            generations: generations.iter().map(generation).collect::<Result<_, _>>()?,
            gaps: gaps.iter().map(gap).collect::<Result<_, _>>()?,
            options: row.try_get(6)?,
            run_id: row.try_get(7)?,
            counters: row.try_get(8)?,
        })
    };
    read().map_err(failed)
}

impl Progress {
    /// Whether a recorded gap of a partition of this progress is none any more.
    pub(crate) fn fills(&self, gap: &AcceptedGap) -> bool {
        self.partitions.contains_key(&(gap.topic.clone(), gap.partition)) && !self.gaps.contains(gap)
    }
}

pub(crate) fn missing_row(schema: &str) -> SinkError {
    SinkError::Progress {
        schema: schema.into(),
        what: "its row is missing".into(),
    }
}

/// The prepared statements of a commit's last part.
pub(crate) struct Statements {
    pub(crate) row: Statement,
    /// Moves partitions whose coverage is otherwise as it was.
    pub(crate) advance: Statement,
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
        let advance = format!(
            "UPDATE {s}.frontier f SET next_offset = k.next, cleaned_next_offset = k.cleaned \
             FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) AS k(topic, partition, next, cleaned) \
             WHERE f.topic = k.topic AND f.partition = k.partition AND f.next_offset <= k.next"
        );
        let write = format!(
            "INSERT INTO {s}.frontier AS f (topic, partition, next_offset, cleaned_next_offset, first_offset, detail) \
             SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::bigint[], $6::jsonb[]) \
             ON CONFLICT (topic, partition) DO UPDATE SET first_offset = excluded.first_offset, \
             next_offset = excluded.next_offset, cleaned_next_offset = excluded.cleaned_next_offset, \
             detail = excluded.detail WHERE f.next_offset <= excluded.next_offset"
        );
        let generations = format!(
            "INSERT INTO {s}.generations (topic, generation, partition, start_offset) \
             SELECT * FROM unnest($1::text[], $2::smallint[], $3::integer[], $4::bigint[]) ON CONFLICT DO NOTHING"
        );
        let gaps = format!(
            "INSERT INTO {s}.gaps (topic, partition, from_offset, to_offset, reason) \
             SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[], $5::text[]) \
             ON CONFLICT DO NOTHING"
        );
        let filled = format!(
            "DELETE FROM {s}.gaps g USING unnest($1::text[], $2::integer[], $3::bigint[], $4::bigint[]) \
             AS k(topic, partition, first, past) \
             WHERE (g.topic, g.partition, g.from_offset, g.to_offset) = (k.topic, k.partition, k.first, k.past)"
        );
        Ok(Statements {
            row: client.prepare(&row).await?,
            advance: client.prepare(&advance).await?,
            write: client.prepare(&write).await?,
            generations: client.prepare(&generations).await?,
            filled: client.prepare(&filled).await?,
            gaps: client.prepare(&gaps).await?,
        })
    }
}

/// The partitions of a step that moved or changed since the last commit.
pub(crate) struct Moves<'a> {
    pub(crate) advance: Vec<(&'a (String, i32), &'a PartitionProgress)>,
    pub(crate) write: Vec<(&'a (String, i32), &'a PartitionProgress)>,
}

impl<'a> Moves<'a> {
    /// What differs, or the first partition that would move back.
    pub(crate) fn between(known: &Progress, step: &'a Progress) -> Result<Moves<'a>, SinkError> {
        let mut moves = Moves {
            advance: Vec::new(),
            write: Vec::new(),
        };
        for (key, new) in &step.partitions {
            match known.partitions.get(key) {
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
                Some(old) if old.first == new.first && old.detail == new.detail => moves.advance.push((key, new)),
                _ => moves.write.push((key, new)),
            }
        }
        Ok(moves)
    }

    pub(crate) fn params(of: &[(&'a (String, i32), &'a PartitionProgress)], in_full: bool) -> Vec<Param<'a>> {
        let mut params = vec![
            Param::Texts(of.iter().map(|(key, _)| Some(key.0.as_str())).collect()),
            Param::Int4s(of.iter().map(|(key, _)| Some(key.1)).collect()),
            Param::Int8s(of.iter().map(|(_, new)| Some(new.next)).collect()),
            Param::Int8s(of.iter().map(|(_, new)| new.cleaned_next).collect()),
        ];
        if in_full {
            params.push(Param::Int8s(of.iter().map(|(_, new)| Some(new.first)).collect()));
            params.push(Param::Jsons(of.iter().map(|(_, new)| &new.detail).collect()));
        }
        params
    }
}
