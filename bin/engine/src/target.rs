//! Where answers go: PostgreSQL, or one CSV file per result. What the coordinator knows as kinds, positions and
//! reaches becomes here what the sinks know as tables, rows and progress.

use super::answer::{Answer, Missing, OffsetRange};
use super::collect::ClosedEpoch;
use super::epoch::Epoch;
use super::error::EngineError;
use super::log::generations::Generations;
use super::options::{Mode, Options, SinkOptions};
use super::recorded::{Recorded, topics_changed};
use super::report::Totals;
use super::topics::Topics;
use ingest::{Offset, TopicPartition};
use operators::{Row, Table};
use sinks::{AcceptedGap, Claim, Generation, LastRecord, Legacy, PartitionProgress, Progress, SharedSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// What the replay of history has put into staging.
#[derive(Clone, Debug, Default)]
pub struct Staged {
    /// Rows per cleaned table, and rejects last.
    pub rows: [u64; 4],
    /// Offsets whose rejects are replaced by the staged ones.
    pub replaced: Vec<(TopicPartition, Range<Offset>)>,
    /// Offsets that were read from Kafka although the lake has them: its rejects count.
    pub from_kafka: Vec<(TopicPartition, Range<Offset>)>,
}

/// How history is persisted.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What was staged, if anything.
    pub staged: Option<Staged>,
    /// Whether cleaned tables are reconciled in full.
    pub full: bool,
}

/// What a commit records beside its rows.
pub struct State<'a> {
    /// Topic names by number.
    pub topics: &'a Topics,
    /// What the answer reaches over.
    pub answer: &'a Answer,
    /// Counts of the run.
    pub totals: &'a Totals,
}

impl State<'_> {
    fn name(&self, topic: u8) -> String {
        self.topics.name(topic).to_owned()
    }

    /// What is recorded with an epoch; `seldom` is of the last one.
    pub(super) fn progress(
        &self,
        epoch: Epoch,
        cleaned: bool,
        options: &serde_json::Value,
        run_id: &str,
        seldom: &mut Seldom,
    ) -> Progress {
        seldom.follow(self);
        let partition = |(at, reach): (&TopicPartition, &OffsetRange)| {
            let progress = PartitionProgress {
                first: reach.first.0,
                next: reach.next.0,
                cleaned_next: cleaned.then_some(reach.next.0),
                last: reach.last.map(|last| LastRecord {
                    offset: last.offset.0,
                    timestamp: last.timestamp,
                    hash: last.hash,
                }),
                detail: self.answer.details.get(at).cloned().unwrap_or_default(),
            };
            ((self.name(at.topic), at.partition.0), progress)
        };
        let (count, hash) = self.answer.legacy.unwrap_or_default();
        let legacy = Legacy { count, hash };
        Progress {
            epoch: epoch.0,
            partitions: self.answer.frontier.iter().map(partition).collect(),
            legacy,
            cleaned_legacy: cleaned.then_some(legacy),
            generations: seldom.generations.clone(),
            gaps: seldom.gaps.clone(),
            topics: self
                .topics
                .of_kinds()
                .filter_map(|(kind, topic)| Some((kind.to_owned(), topic?.to_owned())))
                .collect(),
            partition_counts: self
                .answer
                .counts
                .iter()
                .map(|(topic, count)| (self.name(*topic), *count))
                .collect(),
            options: options.clone(),
            run_id: run_id.to_owned(),
            counters: serde_json::json!({
                "records": self.totals.counts.records,
                "rejected": self.totals.counts.rejected,
                "unreadable_fields": self.totals.counts.fields,
                "replay": self.totals.replay.map(|replay| serde_json::json!({
                    "records": replay.records,
                    "seconds": (replay.seconds * 1e3).round() / 1e3,
                    "workers": replay.workers,
                })),
            }),
            ..Progress::default()
        }
    }
}

/// What is recorded and stays the same in most commits, in the names of the sink, and what it was made of: as long as
/// that is the same, a commit makes and compares none of it.
#[derive(Default)]
pub struct Seldom {
    missing: Arc<[Missing]>,
    gaps: SharedSet<AcceptedGap>,
    starts: Generations,
    generations: SharedSet<Generation>,
}

impl Seldom {
    fn follow(&mut self, state: &State<'_>) {
        let answer = state.answer;
        if !Arc::ptr_eq(&self.missing, &answer.missing) {
            self.missing = Arc::clone(&answer.missing);
            self.gaps = answer.missing.iter().map(|missing| gap(missing, state)).collect();
        }
        if self.starts != answer.generations {
            self.starts = answer.generations.clone();
            let named = answer.generations.iter().flat_map(|(at, starts)| {
                let (topic, partition) = (state.name(at.topic), at.partition);
                starts.iter().map(move |start| Generation {
                    topic: topic.clone(),
                    generation: start.generation,
                    partition: partition.0,
                    start: start.offset.0,
                })
            });
            self.generations = named.collect();
        }
    }
}

fn gap(missing: &Missing, state: &State<'_>) -> AcceptedGap {
    match missing {
        Missing::Offsets { at, range, reason } => AcceptedGap {
            topic: state.name(at.topic),
            partition: at.partition.0,
            from: range.start.0,
            to: range.end.0,
            reason: (*reason).to_owned(),
            object: None,
        },
        Missing::Object { topic, key } => {
            let topic = topic.map_or_else(|| sinks::UNKNOWN_TOPIC.to_owned(), |topic| state.name(topic));
            AcceptedGap::of_object(&topic, key, "unreadable")
        }
    }
}

/// What a commit has written.
#[derive(Debug, Default)]
pub struct Persisted {
    /// Its number, counted over the life of the schema; 0 for files.
    pub number: i64,
    /// How many dead letters there was no room for.
    pub dropped_rejects: u64,
    /// Per result, the rows that it took out (-1) and put in (+1), or for a full snapshot all rows; none for files.
    pub results: Vec<Vec<(Row, isize)>>,
}

/// Where answers go.
pub enum Target {
    /// Tables in PostgreSQL.
    Postgres {
        /// The dedicated connection; taken when it is closed.
        sink: Option<Box<sinks::Sink>>,
        /// What the tables are.
        definition: sinks::Definition,
        /// The options that are part of the definitions, for people.
        options: serde_json::Value,
        /// This run, for people.
        run_id: String,
        /// Topics of the tables that are left out now.
        forgotten: Vec<String>,
        /// What the last commit recorded.
        seldom: Box<Seldom>,
    },
    /// One CSV file per result.
    Files {
        /// The folder.
        dir: PathBuf,
        /// The results.
        tables: Vec<Table>,
    },
}

impl Target {
    /// Connects, and creates or compares the tables.
    pub async fn open(options: &Options) -> Result<Target, EngineError> {
        let postgres = match &options.sink {
            SinkOptions::Postgres(postgres) => postgres,
            SinkOptions::Files(dir) => {
                let tables = options.tables.results.definitions().iter();
                return Ok(Target::Files {
                    dir: dir.clone(),
                    tables: tables.map(|result| result.table).collect(),
                });
            }
        };
        let limits = options.log.limits;
        let definition = options.tables.definition(&limits);
        let mut sink = sinks::Sink::connect(postgres.clone()).await?;
        sink.prepare(&definition).await?;
        let shown = serde_json::json!({
            "top": options.tables.top,
            "cleaned": options.tables.cleaned,
            "record_bytes": limits.record_bytes,
            "depth": limits.depth,
        });
        let run_id = format!("{}-{}", std::process::id(), jiff::Timestamp::now().as_millisecond());
        Ok(Target::Postgres {
            sink: Some(Box::new(sink)),
            definition,
            options: shown,
            run_id,
            forgotten: Vec::new(),
            seldom: Box::default(),
        })
    }

    /// Takes the fence and reads what the tables answer for. Tables of other topics are refused before it is taken, so
    /// that a run with a wrong name ends no other.
    pub async fn claim(&mut self, options: &Options) -> Result<Recorded, EngineError> {
        let Target::Postgres {
            sink: Some(sink),
            forgotten,
            run_id,
            ..
        } = self
        else {
            return Ok(Recorded::default());
        };
        let check = |progress: &Progress| match topics_changed(progress, &options.log.topics) {
            Some(changed) if !options.replace_topics => Err(EngineError::Topics(changed)),
            _ => Ok(()),
        };
        check(&sink.read_progress().await?)?;
        let claim = match options.mode {
            Mode::Backfill { takeover, .. } => Claim::Backfill { takeover },
            Mode::Run { .. } => Claim::Run,
        };
        sink.take_fence(claim, run_id).await?;
        check(sink.progress())?;
        let recorded = Recorded::of(sink.progress(), &options.log.topics);
        *forgotten = recorded.forgotten.iter().cloned().collect();
        Ok(recorded)
    }

    /// The hash of the definitions that this run computes.
    pub fn definitions(&self) -> u64 {
        match self {
            Target::Postgres { definition, .. } => definition.hash,
            Target::Files { .. } => 0,
        }
    }

    /// Whether cleaned rows are wanted.
    pub fn keeps_cleaned(&self) -> bool {
        matches!(self, Target::Postgres { definition, .. } if definition.keep_cleaned)
    }

    /// Whether hashes of what was read are recorded, to be compared at the next start.
    pub fn keeps_hashes(&self) -> bool {
        matches!(self, Target::Postgres { .. })
    }

    /// Creates empty staging tables for a pass, and says under which fence; none when nothing is staged.
    pub async fn create_staging(&mut self) -> Result<Option<i64>, EngineError> {
        let Target::Postgres { sink: Some(sink), .. } = self else {
            return Ok(None);
        };
        // a repeated pass begins with empty ones
        sink.create_staging().await?;
        Ok(sink.fence())
    }

    /// The fence that this run holds, and the number of the last commit; none before [`Target::claim`], and none for
    /// files.
    pub fn claimed(&self) -> Option<(i64, i64)> {
        match self {
            Target::Postgres { sink: Some(sink), .. } => Some((sink.fence()?, sink.progress().commits)),
            Target::Postgres { sink: None, .. } | Target::Files { .. } => None,
        }
    }

    /// Commits an epoch, and history with the one that ends its replay: all of it or nothing.
    pub async fn commit(
        &mut self,
        closed: ClosedEpoch,
        history: Option<History>,
        state: &State<'_>,
    ) -> Result<Persisted, EngineError> {
        match self {
            Target::Postgres {
                sink,
                definition,
                options,
                run_id,
                forgotten,
                seldom,
            } => {
                let sink = sink.as_mut().ok_or(EngineError::DataflowEnded)?;
                let progress = state.progress(closed.epoch, definition.keep_cleaned, options, run_id, seldom);
                let step = step(closed, history, progress, state, forgotten);
                let committed = sink.commit(&step).await?;
                if committed.missing > 0 {
                    tracing::warn!(
                        rows = committed.missing,
                        "rows to delete were missing: a table was modified outside pinflow"
                    );
                }
                Ok(Persisted {
                    number: committed.commits,
                    dropped_rejects: committed.dropped_rejects,
                    results: step.results,
                })
            }
            Target::Files { dir, tables } => {
                let tables: Vec<_> = tables
                    .iter()
                    .zip(closed.results)
                    .map(|(table, rows)| (*table, rows.into_iter().map(|(row, _)| row).collect()))
                    .collect();
                sinks::csv::write_tables(dir, &tables)?;
                Ok(Persisted::default())
            }
        }
    }

    /// Gives the schema back.
    pub async fn close(&mut self) {
        if let Target::Postgres { sink, .. } = self
            && let Some(sink) = sink.take()
        {
            sink.close().await;
        }
    }
}

/// The topics that are left out. One that is named for another kind now keeps its frontier: its offsets are the same.
fn gone(forgotten: &[String], progress: &Progress) -> Vec<String> {
    let named = |topic: &String| progress.partitions.keys().any(|(of, _)| of == topic);
    forgotten.iter().filter(|topic| !named(topic)).cloned().collect()
}

/// An epoch in the names of the sink.
fn step(
    closed: ClosedEpoch,
    history: Option<History>,
    progress: Progress,
    state: &State<'_>,
    forgotten: &[String],
) -> sinks::Step {
    let named = |ranges: Vec<(TopicPartition, Range<Offset>)>| {
        let named = |(at, range): (TopicPartition, Range<Offset>)| {
            (state.name(at.topic), at.partition.0, range.start.0..range.end.0)
        };
        ranges.into_iter().map(named).collect()
    };
    let staged = |staged: Staged, full| {
        let [pin, geo, user, rejects] = staged.rows;
        sinks::StagedHistory {
            rows: sinks::Staged {
                cleaned: vec![pin, geo, user],
                rejects,
            },
            full,
            replaced_rejects: named(staged.replaced),
            from_kafka: named(staged.from_kafka),
        }
    };
    let full_snapshot = history.is_some();
    let history = history.unwrap_or_default();
    sinks::Step {
        epoch: closed.epoch.0,
        full_snapshot,
        results: closed.results,
        staged: history.staged.map(|rows| staged(rows, history.full)),
        cleaned: closed.rows,
        rejects: closed.rejects,
        forget_topics: if full_snapshot {
            gone(forgotten, &progress)
        } else {
            Vec::new()
        },
        reject_topics: if full_snapshot {
            state.topics.names().map(str::to_owned).collect()
        } else {
            Vec::new()
        },
        progress,
    }
}
