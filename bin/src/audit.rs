//! `pinflow audit`: compares the offsets that the lake, Kafka and the tables cover.
//!
//! Offsets before the end of the lake that the lake lacks are a `gap` when Kafka no longer has them either, and
//! `missing` when Kafka still has them (an archiver will write them). Holes that Kafka spans without a record in them
//! are natural. Offsets after the end of the lake are waiting to be archived, as long as Kafka retains them. Gaps that the
//! tables record as accepted, and holes that a run has proved natural, are no faults beside these tables. The audit changes
//! nothing.

use crate::config::AuditSettings;
use crate::exit::{self, Failure};
use crate::lake::{failed, open, runtime};
use crate::output;
use anyhow::anyhow;
use ingest::archive::{AuditOptions, LakeAudit, PartitionAudit, Stretch, audit, first_records};
use ingest::coverage::{Gap, RangeSet};
use ingest::kafka::{Cluster, KafkaConfig, Watermarks, retention};
use ingest::{Offset, Partition, TopicPartition};
use serde::Serialize;
use sinks::{Progress, SinkError};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

/// Ranges shown in one line of text.
const SHOWN_RANGES: usize = 5;

/// The findings for all partitions.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether no offset is missing and every object agrees with its metadata.
    pub ok: bool,
    /// By topic and partition.
    pub partitions: Vec<Entry>,
    /// Objects of older layouts, which have no offsets.
    pub legacy_objects: u64,
    /// Keys of the lake that are no records.
    pub ignored_keys: u64,
}

/// The findings for one partition.
#[derive(Debug, Default, Serialize)]
pub struct Entry {
    /// What the lake has.
    #[serde(flatten)]
    pub lake: PartitionAudit,
    /// What Kafka has: the first offset, and the one after the last.
    pub kafka: Option<(Offset, Offset)>,
    /// What the tables answer for: the first offset, and the one after the last.
    pub tables: Option<(Offset, Offset)>,
    /// Offsets that neither the lake nor Kafka has, but for accepted ones.
    pub gaps: Vec<Gap>,
    /// Those of them that the tables record as accepted.
    pub accepted: Vec<Gap>,
    /// Offsets before the end of the lake that only Kafka has.
    pub missing: Vec<Gap>,
    /// Offsets in Kafka after the end of the lake.
    pub waiting: i64,
    /// `retention.ms` of the topic; -1 is unlimited.
    pub retention_ms: Option<i64>,
    /// Seconds until Kafka may drop the first record that the lake lacks.
    pub dropped_in_seconds: Option<i64>,
    /// Other problems.
    pub problems: Vec<String>,
    /// What the tables record as accepted.
    #[serde(skip)]
    recorded: RangeSet,
    /// What a run has proved to hold no record.
    #[serde(skip)]
    natural: RangeSet,
}

/// Audits, prints the report, and fails when it is not [`Report::ok`].
pub fn run(settings: &AuditSettings) -> Result<(), Failure> {
    let report = report(settings)?;
    if settings.json {
        let json = serde_json::to_string_pretty(&report).map_err(failed)?;
        output::print(format_args!("{json}\n"))?;
    } else {
        output::print(text(&report))?;
    }
    if report.ok {
        Ok(())
    } else {
        Err(Failure::Silent(exit::FAILED))
    }
}

/// What an audit finds.
pub fn report(settings: &AuditSettings) -> Result<Report, Failure> {
    let runtime = runtime()?;
    runtime.block_on(look(settings, open(&runtime, &settings.lake)?))
}

async fn look(settings: &AuditSettings, lake: ingest::lake::Lake) -> Result<Report, Failure> {
    let topics: Vec<String> = settings.topics.iter().flatten().cloned().collect();
    let number = |name: &str| topics.iter().position(|topic| topic == name).map(|n| n as u8);
    let options = AuditOptions {
        topics: topics.clone(),
        deep: settings.deep,
        small_bytes: settings.small_bytes,
    };
    let LakeAudit {
        partitions,
        legacy,
        ignored,
    } = audit(&lake, &options).await.map_err(failed)?;
    let mut entries: BTreeMap<TopicPartition, Entry> = BTreeMap::new();
    for lake in partitions {
        if let Some(topic) = number(&lake.topic) {
            let partition = lake.partition;
            let at = TopicPartition { topic, partition };
            entries.entry(at).or_default().lake = lake;
        }
    }
    if let Some(postgres) = &settings.postgres {
        let mut reader = sinks::Reader::connect(postgres).await.map_err(failed)?;
        let progress = match reader.progress().await {
            // before the first run they answer for nothing
            Err(error @ SinkError::NoTables { .. }) => {
                tracing::warn!("{error}");
                Progress::default()
            }
            read => read.map_err(failed)?,
        };
        for ((topic, partition), known) in progress.partitions {
            if let Some(topic) = number(&topic) {
                let at = TopicPartition::new(topic, Partition(partition));
                let entry = entries.entry(at).or_default();
                entry.tables = Some((Offset(known.first), Offset(known.next)));
                entry.natural = engine::proved_holes(&known.detail);
            }
        }
        for gap in progress.gaps.iter().filter(|gap| gap.object.is_none()) {
            if let Some(topic) = number(&gap.topic) {
                let at = TopicPartition::new(topic, Partition(gap.partition));
                let recorded = &mut entries.entry(at).or_default().recorded;
                recorded.insert(Offset(gap.from)..Offset(gap.to));
            }
        }
    }
    if let Some(kafka) = &settings.kafka {
        let config = kafka.clone();
        for (at, marks) in watermarks(&config, &topics).await? {
            entries.entry(at).or_default().kafka = Some((marks.low, marks.stable));
        }
        ask_kafka(&config, &topics, &mut entries).await?;
    }
    for (at, entry) in &mut entries {
        entry.lake.topic.clone_from(&topics[usize::from(at.topic)]);
        entry.lake.partition = at.partition;
        entry.draw_conclusions(settings.kafka.is_some());
    }
    let partitions: Vec<Entry> = entries.into_values().collect();
    Ok(Report {
        ok: partitions.iter().all(Entry::is_ok) && (legacy > 0 || !partitions.is_empty()),
        partitions,
        legacy_objects: legacy,
        ignored_keys: ignored,
    })
}

async fn watermarks(config: &KafkaConfig, topics: &[String]) -> Result<BTreeMap<TopicPartition, Watermarks>, Failure> {
    let (config, topics) = (config.clone(), topics.to_vec());
    let ask = move || {
        let cluster = Cluster::connect(&config)?;
        cluster.spans((0..).zip(topics.iter().map(String::as_str)))
    };
    let asked = tokio::task::spawn_blocking(ask).await;
    asked.map_err(|_| anyhow!("a task panicked"))?.map_err(failed)
}

/// Which of the lake's holes Kafka has records in, and how old the first record is that the lake lacks.
async fn ask_kafka(
    config: &KafkaConfig,
    topics: &[String],
    entries: &mut BTreeMap<TopicPartition, Entry>,
) -> Result<(), Failure> {
    let mut stretches = Vec::new();
    for (at, entry) in entries.iter() {
        let Some((low, high)) = entry.kafka else { continue };
        let of = |range: Range<Offset>| Stretch {
            topic: at.topic,
            partition: at.partition,
            from: range.start.max(low),
            to: range.end.min(high),
        };
        let holes = entry.lake.holes.iter().map(|hole| of(hole.from..hole.to));
        let tail = of(entry.end().unwrap_or(low)..high);
        stretches.extend(holes.chain([tail]).filter(|stretch| stretch.from < stretch.to));
    }
    let found = first_records(config, topics, &stretches).await.map_err(failed)?;
    let keeps = match retention(config, topics).await {
        Ok(keeps) => keeps,
        Err(error) => {
            tracing::warn!(
                "cannot read the retention of the topics: {}",
                causes::with_causes(&error)
            );
            BTreeMap::new()
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    for (at, entry) in entries {
        entry.retention_ms = keeps.get(&topics[usize::from(at.topic)]).copied();
        let lacked: Vec<(&Stretch, i64)> = found
            .iter()
            .filter(|(stretch, _)| (stretch.topic, stretch.partition) == (at.topic, at.partition))
            .map(|(stretch, timestamp)| (stretch, *timestamp))
            .collect();
        let end = entry.end();
        let oldest = lacked
            .iter()
            .map(|(_, timestamp)| *timestamp)
            .filter(|time| *time >= 0)
            .min();
        entry.dropped_in_seconds = match (oldest, entry.retention_ms) {
            (Some(oldest), Some(keeps)) if keeps >= 0 => Some((oldest + keeps - now) / 1000),
            _ => None,
        };
        let topic = &topics[usize::from(at.topic)];
        let inside = lacked
            .iter()
            .filter(|(stretch, _)| end.is_some_and(|end| stretch.to <= end));
        entry.missing = inside
            .map(|(stretch, _)| gap(topic, at.partition, stretch.from..stretch.to))
            .collect();
        // what Kafka spans is missing as just said, or natural
        let spanned = entry.kafka.map_or(Offset::ZERO..Offset::ZERO, |(low, high)| low..high);
        let holes = entry.lake.holes.iter();
        let lost = holes.flat_map(|hole| {
            [
                hole.from..hole.to.min(spanned.start),
                hole.from.max(spanned.end)..hole.to,
            ]
        });
        entry.gaps = lost
            .filter(|range| !range.is_empty())
            .map(|range| gap(topic, at.partition, range))
            .collect();
    }
    Ok(())
}

fn gap(topic: &str, partition: Partition, range: Range<Offset>) -> Gap {
    Gap {
        topic: topic.to_owned(),
        partition,
        from: range.start,
        to: range.end,
    }
}

impl Entry {
    fn end(&self) -> Option<Offset> {
        self.lake.covered.iter().next_back().map(|range| range.end)
    }

    /// Compares the lake, Kafka (if it was asked) and the tables.
    fn draw_conclusions(&mut self, asked: bool) {
        let (topic, partition) = (self.lake.topic.clone(), self.lake.partition);
        let first = self.lake.covered.iter().next().map(|range| range.start);
        let end = self.end();
        match self.kafka {
            None => self.gaps = self.lake.holes.clone(),
            Some((low, high)) => {
                self.waiting = (high - end.unwrap_or(low).max(low)).max(0);
                if let Some(end) = end.filter(|end| *end < low) {
                    self.gaps.push(gap(&topic, partition, end..low));
                }
                if let Some(end) = end.filter(|end| *end > high) {
                    self.problems.push(format!(
                        "the lake ends at {end}, Kafka at {high}: was the topic deleted and created again?"
                    ));
                }
            }
        }
        self.take_out_known();
        if let Some((from, next)) = self.tables {
            let mut held: RangeSet = self.lake.covered.iter().collect();
            self.kafka.into_iter().for_each(|(low, high)| held.insert(low..high));
            let natural = self.lake.holes.iter().map(|hole| hole.from..hole.to);
            natural.for_each(|hole| held.insert(hole));
            self.gaps.iter().for_each(|gap| held.insert(gap.from..gap.to));
            self.recorded
                .iter()
                .chain(self.natural.iter())
                .for_each(|known| held.insert(known));
            let missing_from = if asked {
                "neither the lake nor Kafka has"
            } else {
                "the lake lacks (Kafka was not asked)"
            };
            for lost in held.missing(from..next) {
                self.problems
                    .push(format!("the tables answer for {lost:?}, which {missing_from}"));
            }
        }
        let differing = self.lake.differing.count();
        if differing > 0 {
            let at = ranges(&self.lake.differing);
            self.problems
                .push(format!("objects hold different records at {differing} offsets: {at}"));
        }
        for conflict in &self.lake.conflicts {
            self.problems
                .push(format!("{conflict}: overlapping objects of unknown order"));
        }
        if first.is_none() && self.lake.objects > 0 {
            self.problems.push("none of its objects covers an offset".to_owned());
        }
    }

    /// Takes gaps out that are natural or were accepted.
    fn take_out_known(&mut self) {
        let known: RangeSet = self.recorded.iter().chain(self.natural.iter()).collect();
        let gaps = std::mem::take(&mut self.gaps);
        let part = |of: &Gap, range| gap(&of.topic, of.partition, range);
        for of in &gaps {
            let (accepted, unknown) = (self.recorded.within(of.from..of.to), known.missing(of.from..of.to));
            self.accepted.extend(accepted.into_iter().map(|range| part(of, range)));
            self.gaps.extend(unknown.into_iter().map(|range| part(of, range)));
        }
    }

    fn is_ok(&self) -> bool {
        self.gaps.is_empty() && self.missing.is_empty() && self.problems.is_empty() && self.lake.faulty == 0
    }
}

/// The report as text. Scripts may rely on the lines that begin with `gap` and `missing`.
fn text(report: &Report) -> String {
    let mut text = String::new();
    for entry in &report.partitions {
        let lake = &entry.lake;
        let _ = write!(
            text,
            "{}/{}: lake {} in {} objects of {} bytes, {} of them small",
            lake.topic,
            lake.partition,
            ranges(&lake.covered),
            lake.objects,
            lake.bytes,
            lake.small
        );
        if let Some((low, high)) = entry.kafka {
            let _ = write!(text, "; kafka {low}..{high}");
        }
        if let Some((first, next)) = entry.tables {
            let _ = write!(text, "; tables {first}..{next}");
        }
        text.push('\n');
        if lake.overlapping > 0 {
            let _ = writeln!(text, "  {} offsets are in more than one object", lake.overlapping);
        }
        if lake.inexact > 0 {
            let _ = writeln!(
                text,
                "  {} objects lack records within or after their range",
                lake.inexact
            );
        }
        if entry.waiting > 0 {
            let _ = writeln!(text, "  {} offsets are waiting to be archived", entry.waiting);
        }
        match entry.dropped_in_seconds {
            Some(seconds) if seconds <= 0 => {
                text.push_str("  Kafka may now delete the first record that the lake lacks\n")
            }
            Some(seconds) => {
                let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
                let _ = writeln!(
                    text,
                    "  Kafka deletes the first record that the lake lacks in {days}d {hours}h {minutes}m at the earliest"
                );
            }
            None => {}
        }
        for gap in &entry.gaps {
            let _ = writeln!(text, "{gap}");
        }
        for (word, gaps) in [("missing", &entry.missing), ("accepted", &entry.accepted)] {
            for gap in gaps {
                let _ = writeln!(text, "{word} {}/{} {}..{}", gap.topic, gap.partition, gap.from, gap.to);
            }
        }
        for problem in &entry.problems {
            let _ = writeln!(text, "  {problem}");
        }
        for fault in &lake.faults {
            let _ = writeln!(text, "  {}: {}", fault.object, fault.what);
        }
        if lake.faulty > lake.faults.len() as u64 {
            let _ = writeln!(text, "  and {} more objects", lake.faulty - lake.faults.len() as u64);
        }
    }
    if report.legacy_objects > 0 {
        let _ = writeln!(
            text,
            "{} objects of older layouts, without offsets",
            report.legacy_objects
        );
    }
    let verdict = match (report.ok, report.partitions.is_empty()) {
        (true, _) => "nothing is missing\n",
        (false, true) => "nothing was found: neither records nor a topic of these names\n",
        (false, false) => "the lake is incomplete\n",
    };
    text.push_str(verdict);
    text
}

fn ranges(set: &RangeSet) -> String {
    let mut ranges: Vec<String> = set
        .iter()
        .take(SHOWN_RANGES)
        .map(|range| format!("{range:?}"))
        .collect();
    let more = set.iter().count() - ranges.len();
    if more > 0 {
        ranges.push(format!("and {more} more"));
    }
    if ranges.is_empty() {
        "nothing".to_owned()
    } else {
        ranges.join(", ")
    }
}
