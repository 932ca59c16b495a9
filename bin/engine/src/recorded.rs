//! What the tables answered for at their last commit, in the numbers of this run's topics.

use super::answer::{Answer, Missing, OffsetRange};
use super::archived::ArchivedRange;
use super::error::TopicsChanged;
use super::log::generations::{Generations, Start};
use super::log::holes;
use super::log::sparse::{SparseObject, SparseObjects};
use super::protocol::LinesHash;
use super::recorded_detail::{HASH, LAKE, natural_are_empty, natural_holes, sparse_objects};
use super::topics::Topics;
use ingest::coverage::RangeSet;
use ingest::kafka::RecordId;
use ingest::{Offset, Partition, TopicPartition};
use sinks::{Legacy, Progress};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// See the module's head.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// Per partition, the offsets covered.
    pub partitions: BTreeMap<TopicPartition, OffsetRange>,
    /// Per partition, the offset below which cleaned rows are in the tables; absent where they are not kept.
    cleaned: BTreeMap<TopicPartition, Offset>,
    /// Accepted holes.
    missing: Vec<RecordedGap>,
    /// History without offsets: records, and the hash of its objects.
    pub legacy: Option<(u64, u64)>,
    /// The same, as far as the cleaned tables hold it.
    cleaned_legacy: Option<(u64, u64)>,
    /// Boundaries of generations.
    pub generations: Generations,
    /// How many partitions each topic had.
    pub counts: BTreeMap<u8, i32>,
    /// Holes that are proved to be natural.
    pub natural: BTreeMap<TopicPartition, RangeSet>,
    /// Objects with holes inside of which it is known where their lines stand.
    pub sparse: BTreeMap<TopicPartition, SparseObjects>,
    /// Partitions whose natural holes may hold the last records of the objects before them.
    pub untrusted: BTreeSet<TopicPartition>,
    /// What the lake covered.
    lake: BTreeMap<TopicPartition, RangeSet>,
    /// A hash of the lines there.
    lake_hash: BTreeMap<TopicPartition, u64>,
    /// Topics that are left out now: what the tables hold of them goes.
    pub forgotten: BTreeSet<String>,
    definitions: Option<u64>,
}

/// An accepted hole as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum RecordedGap {
    Offsets(TopicPartition, Offset, Offset),
    Object(String),
}

/// What differs between the topics of the tables and those that are named now.
pub fn topics_changed(progress: &Progress, topics: &Topics) -> Option<TopicsChanged> {
    let mut changes = Vec::new();
    for (kind, named) in topics.of_kinds() {
        match progress.topics.get(kind) {
            Some(recorded) if named != Some(recorded) => {
                changes.push((kind.to_owned(), recorded.clone(), named.map(str::to_owned)));
            }
            _ => {}
        }
    }
    // earlier versions recorded the topics of the frontier alone
    let of_frontier: BTreeSet<&String> = progress.partitions.keys().map(|(topic, _)| topic).collect();
    for topic in of_frontier {
        let known = topics.number(topic).is_some();
        let said = changes.iter().any(|(_, recorded, _)| recorded == topic);
        if !known && !said {
            changes.push(("a topic".to_owned(), topic.clone(), None));
        }
    }
    (!changes.is_empty()).then_some(TopicsChanged { changes })
}

impl Recorded {
    /// Reads a progress; what it holds of topics that are left out is not of this run.
    pub fn of(progress: &Progress, topics: &Topics) -> Recorded {
        let changed = topics_changed(progress, topics).map_or_else(Vec::new, |changed| changed.changes);
        let forgotten: BTreeSet<String> = changed.into_iter().map(|(_, recorded, _)| recorded).collect();
        let at = |name: &str, partition| {
            let topic = topics.number(name)?;
            Some(TopicPartition { topic, partition })
        };
        let legacy = |legacy: &Legacy| (legacy.count > 0 || legacy.hash != 0).then_some((legacy.count, legacy.hash));
        let mut recorded = Recorded {
            definitions: progress.definitions,
            legacy: legacy(&progress.legacy),
            cleaned_legacy: progress.cleaned_legacy.as_ref().and_then(legacy),
            ..Recorded::default()
        };
        for ((topic, partition), known) in &progress.partitions {
            let Some(at) = at(topic, Partition(*partition)).filter(|_| !forgotten.contains(topic)) else {
                continue;
            };
            let reach = OffsetRange {
                first: Offset(known.first),
                next: Offset(known.next),
                last: known.last.map(|last| RecordId {
                    offset: Offset(last.offset),
                    timestamp: last.timestamp,
                    hash: last.hash,
                }),
            };
            recorded.partitions.insert(at, reach);
            if let Some(holes) = natural_holes(&known.detail) {
                recorded.natural.insert(at, holes);
            }
            recorded.sparse.insert(at, sparse_objects(&known.detail));
            if !natural_are_empty(&known.detail) {
                recorded.untrusted.insert(at);
            }
            let lake = known.detail.get(LAKE).and_then(|lake| lake.as_str()?.parse().ok());
            recorded.lake.insert(at, lake.unwrap_or_default());
            let hash = known.detail.get(HASH).and_then(|hash| hash.as_str());
            if let Some(hash) = hash.and_then(|hash| u64::from_str_radix(hash, 16).ok()) {
                recorded.lake_hash.insert(at, hash);
            }
            if let Some(next) = known.cleaned_next {
                recorded.cleaned.insert(at, Offset(next));
            }
        }
        for gap in &progress.gaps {
            match (&gap.object, at(&gap.topic, Partition(gap.partition))) {
                (Some(object), _) => recorded.missing.push(RecordedGap::Object(object.clone())),
                (None, Some(at)) => recorded
                    .missing
                    .push(RecordedGap::Offsets(at, Offset(gap.from), Offset(gap.to))),
                (None, None) => {}
            }
        }
        for generation in &progress.generations {
            if let Some(at) = at(&generation.topic, Partition(generation.partition)) {
                let (offset, generation) = (Offset(generation.start), generation.generation);
                recorded.generations.insert(at, Start { offset, generation });
            }
        }
        for (topic, count) in &progress.partition_counts {
            if let Some(topic) = topics.number(topic) {
                recorded.counts.insert(topic, *count);
            }
        }
        recorded.forgotten = forgotten;
        recorded
    }

    /// Whether cleaned tables must be compared in full: they have nothing yet, lack what results have, hold topics that
    /// are left out now, or were made by other definitions or under other generations.
    pub fn full_reconcile(&self, definitions: u64, generations: &Generations) -> bool {
        let lacks = |(at, reach): (&TopicPartition, &OffsetRange)| self.cleaned.get(at) != Some(&reach.next);
        let moved = |(at, reach): (&TopicPartition, &OffsetRange)| {
            generations.differs_below(&self.generations, *at, reach.next)
        };
        self.definitions != Some(definitions)
            || !self.forgotten.is_empty()
            || self.cleaned_legacy != self.legacy
            || self.partitions.iter().any(lacks)
            || self.partitions.iter().any(moved)
    }

    /// What is known of the object that starts here.
    pub fn sparse_object(&self, at: TopicPartition, start: Offset) -> Option<&SparseObject> {
        self.sparse.get(&at)?.get(start)
    }

    /// Offsets of a partition that are known to hold no record.
    pub fn empty(&self, at: TopicPartition) -> RangeSet {
        let natural = self.natural.get(&at).into_iter().flat_map(RangeSet::iter);
        let holes = self.sparse.get(&at).into_iter().flat_map(SparseObjects::holes);
        natural.chain(holes).collect()
    }

    /// Whether a partition has grown since the tables were made: then everything of it is wanted.
    pub fn is_added(&self, at: TopicPartition) -> bool {
        let counted = self.counts.get(&at.topic);
        counted.is_some_and(|count| at.partition.0 >= *count)
    }

    /// Per partition, the offset below which nothing has to be staged.
    pub fn persisted(&self) -> BTreeMap<TopicPartition, Offset> {
        self.cleaned.clone()
    }

    /// Per partition, the offset up to which the lake's lines are hashed.
    pub fn hashed(&self) -> BTreeMap<TopicPartition, Offset> {
        let end = |at: &TopicPartition| Some((*at, self.lake.get(at)?.iter().next_back()?.end));
        self.lake_hash.keys().filter_map(end).collect()
    }

    /// Whether the log covers other records below the recorded frontier than it did at the last commit.
    pub fn coverage_differs(&self, now: &Answer, archived: &[ArchivedRange]) -> bool {
        let next = |at: &TopicPartition| self.partitions.get(at).map_or(Offset::ZERO, |reach| reach.next);
        let below = |gone: RecordedGap| match gone {
            RecordedGap::Offsets(at, from, to) => {
                (from < next(&at)).then(|| RecordedGap::Offsets(at, from, to.min(next(&at))))
            }
            object => Some(object),
        };
        let mut then: Vec<RecordedGap> = self.missing.iter().cloned().filter_map(below).collect();
        let gone = now.missing.iter().map(|missing| match missing {
            Missing::Offsets { at, range, .. } => RecordedGap::Offsets(*at, range.start, range.end),
            Missing::Object { key, .. } => RecordedGap::Object(key.clone()),
        });
        let mut today: Vec<RecordedGap> = gone.filter_map(below).collect();
        then.sort_unstable();
        today.sort_unstable();
        let begins_elsewhere = |(at, reach): (&TopicPartition, &OffsetRange)| {
            let recorded = self.partitions.get(at);
            recorded.is_some_and(|recorded| reach.first != recorded.first)
        };
        // objects of the log are not to be rewritten, but someone may have to remove a person's data from them
        let rewritten = |(at, hash): (&TopicPartition, &LinesHash)| {
            self.lake_hash.get(at).is_some_and(|known| *known != hash.known)
        };
        let vanished = |(at, empty): (&TopicPartition, &RangeSet)| self.has_vanished(*at, empty);
        then != today
            || now.legacy != self.legacy
            || now.frontier.iter().any(begins_elsewhere)
            || now.empty.iter().any(vanished)
            || now.hashes.iter().any(rewritten)
            || archived
                .iter()
                .any(|object| self.is_mixed(object, now) || self.is_other(object))
    }

    /// Whether the tables may hold records of an object with holes inside at their true offsets, as Kafka gave them or as its
    /// lines were placed once, while they are not placed so now: results would be made of other places than the tables
    /// hold. Objects may overlap, so any hole of the partition may lie inside.
    fn is_mixed(&self, object: &ArchivedRange, now: &Answer) -> bool {
        let persisted = self.cleaned.get(&object.at).copied().unwrap_or(Offset::ZERO);
        let natural = self
            .natural
            .get(&object.at)
            .into_iter()
            .chain(now.natural.get(&object.at));
        let has_holes = natural.into_iter().any(|natural| !natural.is_empty());
        let was_placed = self.sparse_object(object.at, object.reach.start).is_some();
        !object.exact && object.reach.start < persisted && (has_holes || was_placed)
    }

    /// Whether an object that was written since the last start has other records than were read from Kafka at its
    /// offsets: compaction has come before the archiver, or before the reader.
    fn is_other(&self, object: &ArchivedRange) -> bool {
        let next = self.partitions.get(&object.at).map_or(Offset::ZERO, |reach| reach.next);
        let below = object.reach.start..object.reach.end.min(next);
        let lake = self.lake.get(&object.at);
        if below.is_empty() || lake.is_some_and(|lake| lake.covers(below.clone())) {
            return false;
        }
        let then: RangeSet = self.empty(object.at).within(below.clone()).into_iter().collect();
        let now: RangeSet = object.records.missing(below).into_iter().collect();
        if object.exact {
            now != then
        } else {
            now.count() != then.count()
        }
    }

    /// Whether offsets that are empty in Kafka now held a record when the tables were made: compaction has removed it,
    /// and the record that replaced it may be one that is rejected. Too many empty offsets to be kept may be any.
    fn has_vanished(&self, at: TopicPartition, empty: &RangeSet) -> bool {
        let next = self.partitions.get(&at).map_or(Offset::ZERO, |reach| reach.next);
        let known = self.natural.get(&at);
        let below = empty.within(Offset::ZERO..next);
        let unknown = |range: Range<Offset>| !known.is_some_and(|known| known.covers(range));
        below.len() >= holes::MOST || below.into_iter().any(unknown)
    }

    /// Whether a gap lies within one that was accepted before.
    pub fn accepted(&self, at: TopicPartition, range: &Range<Offset>) -> bool {
        let covers = |gone: &RecordedGap| matches!(gone, RecordedGap::Offsets(of, from, to) if *of == at && *from <= range.start && range.end <= *to);
        self.missing.iter().any(covers)
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // a list of one range is meant
mod tests {
    use super::super::recorded_detail::detail;
    use super::*;
    use sinks::PartitionProgress;

    fn topics(names: [&str; 3]) -> Topics {
        Topics::new(names.map(|name| (!name.is_empty()).then(|| name.to_owned())))
    }

    fn progress() -> Progress {
        let partition = |next| PartitionProgress {
            next,
            cleaned_next: Some(next),
            ..PartitionProgress::default()
        };
        Progress {
            definitions: Some(7),
            topics: [
                ("pin".to_owned(), "a.pin".to_owned()),
                ("geo".to_owned(), "a.geo".to_owned()),
            ]
            .into(),
            partitions: [
                (("a.pin".to_owned(), 0), partition(10)),
                (("a.geo".to_owned(), 0), partition(5)),
            ]
            .into(),
            legacy: Legacy { count: 3, hash: 9 },
            cleaned_legacy: Some(Legacy { count: 3, hash: 9 }),
            partition_counts: [("a.pin".to_owned(), 1)].into(),
            ..Progress::default()
        }
    }

    /// What tables of one partition of pins have recorded.
    fn of_partition(partition: PartitionProgress) -> Recorded {
        let progress = Progress {
            partitions: [(("a.pin".to_owned(), 0), partition)].into(),
            legacy: Legacy::default(),
            cleaned_legacy: None,
            ..progress()
        };
        Recorded::of(&progress, &topics(["a.pin", "a.geo", ""]))
    }

    #[test]
    fn another_topic_of_a_kind_and_one_that_is_not_named_are_changes_and_a_new_kind_is_none() {
        let changes = |names| topics_changed(&progress(), &topics(names)).map(|changed| changed.changes);
        assert_eq!(changes(["a.pin", "a.geo", ""]), None);
        assert_eq!(changes(["a.pin", "a.geo", "a.user"]), None);
        let pin = ("pin".to_owned(), "a.pin".to_owned(), Some("b.pin".to_owned()));
        let geo = ("geo".to_owned(), "a.geo".to_owned(), None);
        assert_eq!(changes(["b.pin", "", ""]), Some(vec![pin, geo]));
        // topics that change places hold records of other kinds
        assert_eq!(changes(["a.geo", "a.pin", ""]).map(|changes| changes.len()), Some(2));
        // tables of earlier versions
        let earlier = Progress {
            topics: BTreeMap::new(),
            ..progress()
        };
        let changed = topics_changed(&earlier, &topics(["a.pin", "", ""])).unwrap();
        assert_eq!(changed.changes, [("a topic".to_owned(), "a.geo".to_owned(), None)]);
    }

    #[test]
    fn what_is_recorded_of_a_topic_that_is_left_out_is_not_of_this_run() {
        let recorded = Recorded::of(&progress(), &topics(["b.pin", "a.geo", ""]));
        assert_eq!(recorded.partitions.len(), 1);
        assert!(recorded.forgotten.contains("a.pin"));
        assert!(recorded.counts.is_empty());
        assert!(recorded.full_reconcile(7, &Generations::default()));
        let kept = Recorded::of(&progress(), &topics(["a.pin", "a.geo", ""]));
        assert!(!kept.full_reconcile(7, &Generations::default()));
        assert_eq!(kept.counts, [(0, 1)].into());
    }

    #[test]
    fn a_record_that_compaction_has_removed_since_makes_another_answer() {
        let natural = [3..4].map(Offset::range).into_iter().collect();
        let recorded = of_partition(PartitionProgress {
            next: 10,
            cleaned_next: Some(10),
            detail: detail(&natural, &RangeSet::default(), None, &SparseObjects::default()).into(),
            ..PartitionProgress::default()
        });
        let at = TopicPartition {
            topic: 0,
            partition: Partition(0),
        };
        let differs = |empty: Range<i64>| {
            let answer = Answer {
                empty: [(at, [Offset::range(empty)].into_iter().collect())].into(),
                ..Answer::default()
            };
            recorded.coverage_differs(&answer, &[])
        };
        assert!(!differs(3..4) && !differs(10..12));
        assert!(differs(3..5));
        let archived = |reach: Range<i64>, assigned: Range<i64>, exact| {
            let object = ArchivedRange {
                at,
                reach: Offset::range(reach),
                records: [Offset::range(assigned)].into_iter().collect(),
                exact,
            };
            recorded.coverage_differs(&Answer::default(), &[object])
        };
        assert!(!archived(0..4, 0..3, true), "the hole at 3 was there before");
        assert!(archived(0..4, 0..2, true) && archived(0..4, 0..4, true));
        assert!(!archived(10..15, 10..11, true), "nothing of it was read before");
        assert!(
            archived(4..15, 4..14, false),
            "the record at 9 may seem newer than one after it"
        );
        assert!(archived(0..5, 0..4, false), "the hole at 3 may be anywhere in it");
    }

    #[test]
    fn an_object_that_was_placed_and_no_longer_is_makes_another_answer() {
        let mut sparse = SparseObjects::default();
        let holes = [Offset::range(2..3)].into_iter().collect();
        let object = SparseObject::prove(Offset::range(0..5), 4, None, &holes).unwrap();
        sparse.insert(Offset(0), object);
        let nothing = RangeSet::default();
        let partition = PartitionProgress {
            next: 10,
            cleaned_next: Some(10),
            detail: detail(&nothing, &[Offset::range(0..10)].into_iter().collect(), None, &sparse).into(),
            ..PartitionProgress::default()
        };
        let recorded = of_partition(partition);
        let differs = |exact| {
            let object = ArchivedRange {
                at: TopicPartition {
                    topic: 0,
                    partition: Partition(0),
                },
                reach: Offset::range(0..5),
                records: [Offset::range(0..4)].into_iter().collect(),
                exact,
            };
            recorded.coverage_differs(&Answer::default(), &[object])
        };
        assert!(!differs(true) && differs(false));
    }

    #[test]
    fn an_object_of_the_log_that_was_rewritten_makes_another_answer() {
        let lake: RangeSet = [0..8].map(Offset::range).into_iter().collect();
        let partition = PartitionProgress {
            next: 10,
            detail: detail(&RangeSet::default(), &lake, Some(5), &SparseObjects::default()).into(),
            ..PartitionProgress::default()
        };
        let recorded = of_partition(partition);
        let at = TopicPartition {
            topic: 0,
            partition: Partition(0),
        };
        assert_eq!(recorded.hashed(), [(at, Offset(8))].into());
        let differs = |known| {
            let answer = Answer {
                hashes: [(at, LinesHash { known, all: 77 })].into(),
                ..Answer::default()
            };
            recorded.coverage_differs(&answer, &[])
        };
        assert!(!differs(5) && differs(6));
    }

    #[test]
    fn cleaned_tables_that_lack_history_without_offsets_are_compared_in_full() {
        let off = Progress {
            cleaned_legacy: None,
            partitions: BTreeMap::new(),
            ..progress()
        };
        let recorded = Recorded::of(&off, &topics(["a.pin", "a.geo", ""]));
        assert!(recorded.full_reconcile(7, &Generations::default()));
    }
}
