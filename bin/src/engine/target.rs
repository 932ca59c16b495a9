//! Where answers go: PostgreSQL, or one CSV file per result. What the coordinator knows as kinds, positions and
//! reaches becomes here what the sinks know as tables, rows and progress.

use super::coordinator::{Reach, Totals};
use super::protocol::{Generations, TopicPartition};
use super::{EngineError, is_backfill};
use crate::config::RunSettings;
use ingest::coverage::RangeSet;
use operators::Row;
use sinks::{AcceptedGap, Claim, CleanedRow, Generation, Legacy, PartitionProgress, Progress, Reject, SinkError};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

/// What the target answered for at its last commit.
#[derive(Default)]
pub struct Recorded {
    /// Per partition, the offsets covered.
    pub partitions: BTreeMap<TopicPartition, Reach>,
    /// Per partition, the offset below which cleaned rows are in the tables; absent where they are not kept.
    cleaned: BTreeMap<TopicPartition, i64>,
    /// Accepted gaps.
    gaps: Vec<(TopicPartition, Range<i64>)>,
    /// History without offsets.
    pub legacy: Option<(u64, u64)>,
    /// Boundaries of generations.
    pub generations: Generations,
    /// Holes that Kafka has proved to be natural.
    pub natural: BTreeMap<TopicPartition, RangeSet>,
    definitions: Option<u64>,
}

impl Recorded {
    fn of(progress: &Progress, topics: &[Option<String>; 3]) -> Recorded {
        let number = |name: &str| topics.iter().position(|topic| topic.as_deref() == Some(name));
        let at = |name: &str, partition| {
            number(name).map(|n| TopicPartition {
                topic: n as u8,
                partition,
            })
        };
        let mut recorded = Recorded {
            definitions: progress.definitions,
            ..Recorded::default()
        };
        if progress.legacy.count > 0 {
            recorded.legacy = Some((progress.legacy.count, progress.legacy.hash));
        }
        for ((topic, partition), known) in &progress.partitions {
            let Some(at) = at(topic, *partition) else { continue };
            recorded.partitions.insert(
                at,
                Reach {
                    first: known.first,
                    next: known.next,
                },
            );
            if let Some(holes) = natural_holes(&known.detail) {
                recorded.natural.insert(at, holes);
            }
            if let Some(next) = known.cleaned_next {
                recorded.cleaned.insert(at, next);
            }
        }
        for gap in &progress.gaps {
            let Some(at) = at(&gap.topic, gap.partition) else {
                continue;
            };
            recorded.gaps.push((at, gap.from..gap.to));
        }
        for generation in &progress.generations {
            let Some(at) = at(&generation.topic, generation.partition) else {
                continue;
            };
            recorded
                .generations
                .entry(at)
                .or_default()
                .push((generation.start, generation.generation));
        }
        for starts in recorded.generations.values_mut() {
            starts.sort_unstable();
            if starts.first().is_some_and(|(start, _)| *start > 0) {
                starts.insert(0, (0, 1));
            }
        }
        recorded
    }

    /// Whether cleaned tables must be compared in full: they have nothing yet, lack what results have, or were made
    /// by other definitions.
    pub fn full_reconcile(&self, hash: u64) -> bool {
        self.definitions.is_none_or(|definitions| definitions != hash)
            || self
                .partitions
                .iter()
                .any(|(at, reach)| self.cleaned.get(at) != Some(&reach.next))
    }

    /// Per partition, the offset below which nothing has to be staged.
    pub fn settled(&self) -> BTreeMap<TopicPartition, i64> {
        self.cleaned.clone()
    }

    /// Whether the log covers other offsets below the recorded frontier than it did at the last commit.
    pub fn coverage_differs(
        &self,
        now: &BTreeMap<TopicPartition, Reach>,
        gaps: &[(TopicPartition, Range<i64>, String)],
        legacy: Option<(u64, u64)>,
    ) -> bool {
        let below = |at: &TopicPartition, range: &Range<i64>| {
            let next = self.partitions.get(at).map_or(0, |reach| reach.next);
            (range.start < next).then(|| (*at, range.start, range.end.min(next)))
        };
        let mut then: Vec<_> = self.gaps.iter().filter_map(|(at, range)| below(at, range)).collect();
        let mut today: Vec<_> = gaps.iter().filter_map(|(at, range, _)| below(at, range)).collect();
        then.sort_unstable();
        today.sort_unstable();
        let earlier = |(at, reach): (&TopicPartition, &Reach)| {
            self.partitions
                .get(at)
                .is_some_and(|recorded| reach.first != recorded.first)
        };
        then != today || legacy != self.legacy || now.iter().any(earlier)
    }

    /// Whether a gap lies within one that was accepted before.
    pub fn accepted(&self, at: TopicPartition, range: &Range<i64>) -> bool {
        self.gaps
            .iter()
            .any(|(place, gap)| *place == at && gap.start <= range.start && range.end <= gap.end)
    }

    /// A target never moves back.
    pub fn refuse_to_go_back(
        &self,
        now: &BTreeMap<TopicPartition, Reach>,
        place: impl Fn(TopicPartition) -> String,
    ) -> Result<(), EngineError> {
        for (at, recorded) in &self.partitions {
            let next = now.get(at).map_or(0, |reach| reach.next);
            if next < recorded.next {
                return Err(EngineError::failed(format!(
                    "the tables hold {} up to offset {}, this replay ends at {next}: a target never moves back \
                     (use another --schema or --out)",
                    place(*at),
                    recorded.next,
                )));
            }
        }
        Ok(())
    }
}

/// The natural holes in a partition's detail.
pub(crate) fn natural_holes(detail: &serde_json::Value) -> Option<RangeSet> {
    detail.get(super::NATURAL)?.as_str()?.parse().ok()
}

/// What the replay of history has put into staging.
#[derive(Clone, Copy, Debug)]
pub struct History {
    /// Rows per cleaned table and rejects last; none when nothing was staged.
    pub staged: Option<[u64; 4]>,
    /// Whether cleaned tables are reconciled in full.
    pub full: bool,
}

/// One step to commit.
#[derive(Default)]
pub struct Commit<'a> {
    /// The last epoch it holds.
    pub epoch: u64,
    /// Net changes of each result; the whole contents when `history` is given.
    pub results: Vec<Vec<(Row, isize)>>,
    /// Given for the commit that ends the replay.
    pub history: Option<History>,
    /// Cleaned rows and deletes.
    pub rows: Vec<&'a CleanedRow>,
    /// Rejects.
    pub rejects: Vec<&'a Reject>,
}

/// What a commit records beside its rows.
pub struct State<'a> {
    /// Topic names by number.
    pub topics: &'a [Option<String>; 3],
    /// How far each partition's answer reaches.
    pub frontier: &'a BTreeMap<TopicPartition, Reach>,
    /// Accepted gaps with their reasons.
    pub gaps: &'a [(TopicPartition, Range<i64>, String)],
    /// History without offsets: records and hash.
    pub legacy: Option<(u64, u64)>,
    /// Boundaries of generations.
    pub generations: &'a Generations,
    /// What is recorded of a partition beside its frontier.
    pub details: &'a BTreeMap<TopicPartition, serde_json::Value>,
    /// Counts of the run.
    pub totals: &'a Totals,
}

impl State<'_> {
    fn name(&self, topic: u8) -> String {
        self.topics
            .get(topic as usize)
            .cloned()
            .flatten()
            .unwrap_or_else(|| "unknown".to_owned())
    }

    fn progress(&self, epoch: u64, cleaned: bool, options: &serde_json::Value, run_id: &str) -> Progress {
        let partition = |(at, reach): (&TopicPartition, &Reach)| {
            let progress = PartitionProgress {
                first: reach.first,
                next: reach.next,
                cleaned_next: cleaned.then_some(reach.next),
                detail: self.details.get(at).cloned().unwrap_or_default(),
                last: None,
            };
            ((self.name(at.topic), at.partition), progress)
        };
        let generation = |(at, starts): (&TopicPartition, &Vec<(i64, u8)>)| {
            let (topic, partition) = (self.name(at.topic), at.partition);
            let starts = starts.clone().into_iter();
            starts.map(move |(start, generation)| Generation {
                topic: topic.clone(),
                generation,
                partition,
                start,
            })
        };
        let (count, hash) = self.legacy.unwrap_or_default();
        Progress {
            epoch,
            partitions: self.frontier.iter().map(partition).collect(),
            legacy: Legacy { count, hash },
            generations: self.generations.iter().flat_map(generation).collect(),
            gaps: self
                .gaps
                .iter()
                .map(|(at, range, reason)| AcceptedGap {
                    topic: self.name(at.topic),
                    partition: at.partition,
                    from: range.start,
                    to: range.end,
                    reason: reason.clone(),
                    object: None,
                })
                .collect(),
            options: options.clone(),
            run_id: run_id.to_owned(),
            counters: serde_json::json!({
                "records": self.totals.records,
                "rejected": self.totals.rejected,
                "unreadable_fields": self.totals.fields,
            }),
            ..Progress::default()
        }
    }
}

/// What the tables are, for the sinks: results with their SQL, and the cleaned tables.
pub fn definition(settings: &RunSettings) -> sinks::Definition {
    let options = dataflows::Options { top: settings.top };
    sinks::Definition {
        results: dataflows::RESULTS
            .iter()
            .map(|result| (result.table, result.sql(&options)))
            .collect(),
        cleaned: dataflows::CLEANED.to_vec(),
        hash: dataflows::definitions_hash(&options, &settings.limits.of_records()),
        keep_cleaned: settings.cleaned,
    }
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
    },
    /// One CSV file per result.
    Files {
        /// The folder.
        dir: PathBuf,
    },
}

impl From<SinkError> for EngineError {
    fn from(error: SinkError) -> EngineError {
        match error {
            SinkError::Fenced { .. } => EngineError::Fenced(error.to_string()),
            SinkError::Rehydrate { .. } => EngineError::Again {
                full: false,
                reason: error.to_string(),
            },
            other => EngineError::Failed(other.to_string()),
        }
    }
}

impl Target {
    /// Connects, and creates or compares the tables.
    pub async fn open(settings: &RunSettings) -> Result<Target, EngineError> {
        if let Some(dir) = &settings.out {
            return Ok(Target::Files { dir: dir.clone() });
        }
        let postgres = settings
            .postgres
            .as_ref()
            .ok_or_else(|| EngineError::Usage("no sink is given".to_owned()))?;
        let definition = definition(settings);
        let mut sink = sinks::Sink::connect(postgres.sink()).await?;
        sink.prepare(&definition).await?;
        let limits = settings.limits.of_records();
        let options = serde_json::json!({
            "top": settings.top,
            "cleaned": settings.cleaned,
            "record_bytes": limits.record_bytes,
            "depth": limits.depth,
        });
        let run_id = format!("{}-{}", std::process::id(), jiff::Timestamp::now().as_millisecond());
        Ok(Target::Postgres {
            sink: Some(Box::new(sink)),
            definition,
            options,
            run_id,
        })
    }

    /// Takes the fence and reads what the tables answer for.
    pub async fn claim(&mut self, settings: &RunSettings) -> Result<(Option<i64>, Recorded), EngineError> {
        let Target::Postgres {
            sink: Some(sink),
            run_id,
            ..
        } = self
        else {
            return Ok((None, Recorded::default()));
        };
        let claim = match is_backfill(settings) {
            true => Claim::Backfill {
                takeover: settings.takeover,
            },
            false => Claim::Run,
        };
        let fence = sink.take_fence(claim, run_id).await?;
        Ok((Some(fence), Recorded::of(sink.progress(), &settings.topics)))
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

    /// Creates empty staging tables for a pass; false when nothing is staged.
    pub async fn create_staging(&mut self) -> Result<bool, EngineError> {
        let Target::Postgres { sink: Some(sink), .. } = self else {
            return Ok(false);
        };
        // a repeated pass begins with empty ones
        sink.create_staging().await?;
        Ok(true)
    }

    /// Commits one step: all of it or nothing.
    pub async fn commit(&mut self, commit: Commit<'_>, state: &State<'_>) -> Result<(), EngineError> {
        match self {
            Target::Postgres {
                sink,
                definition,
                options,
                run_id,
            } => {
                let sink = sink.as_mut().ok_or(EngineError::Gone)?;
                let progress = state.progress(commit.epoch, definition.keep_cleaned, options, run_id);
                let step = commit.step(progress, state.topics);
                let committed = sink.commit(&step).await?;
                if committed.missing > 0 {
                    tracing::warn!(
                        rows = committed.missing,
                        "rows to delete were not there: somebody edited a table"
                    );
                }
                Ok(())
            }
            Target::Files { dir } => {
                let tables: Vec<_> = dataflows::RESULTS
                    .iter()
                    .zip(commit.results)
                    .map(|(result, rows)| (result.table, rows.into_iter().map(|(row, _)| row).collect()))
                    .collect();
                Ok(sinks::csv::write_tables(dir, &tables)?)
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

impl Commit<'_> {
    fn step(self, progress: Progress, topics: &[Option<String>; 3]) -> sinks::Step {
        let staged = self.history.and_then(|history| Some((history.staged?, history.full)));
        sinks::Step {
            epoch: self.epoch,
            whole: self.history.is_some(),
            results: self.results,
            staged: staged.map(|([pin, geo, user, rejects], full)| sinks::StagedHistory {
                rows: sinks::Staged {
                    cleaned: vec![pin, geo, user],
                    rejects,
                },
                full,
                ..sinks::StagedHistory::default()
            }),
            cleaned: self.rows.into_iter().cloned().collect(),
            rejects: self.rejects.into_iter().cloned().collect(),
            reject_topics: topics.iter().flatten().cloned().collect(),
            forget_topics: Vec::new(),
            progress,
        }
    }
}
