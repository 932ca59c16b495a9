//! What the tables say they answer for: the part of the log that a replay has to read.

use super::error::VerifyError;
use dataflows::{Limits, Results};
use engine::{SparseObject, SparseObjects, TableOptions, Topics};
use ingest::coverage::RangeSet;
use ingest::{Offset, Partition, TopicPartition};
use operators::{Position, PositionError};
use sinks::{Legacy, Progress, RecordedResult};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// The progress of a commit in the numbers of this command's topics.
#[derive(Debug, Default)]
pub struct Recorded {
    /// Per partition, the offsets that the tables answer for.
    pub partitions: BTreeMap<TopicPartition, Range<Offset>>,
    /// Accepted gaps: their records are in no table.
    pub gaps: BTreeMap<TopicPartition, RangeSet>,
    /// Offsets that are known to hold no record. Tables of earlier versions call some of them so whose record is the last
    /// one of the object before them.
    pub natural: BTreeMap<TopicPartition, RangeSet>,
    /// Objects with holes inside of which it is known where their lines stand.
    sparse: BTreeMap<TopicPartition, SparseObjects>,
    /// Per partition (first offset, generation).
    generations: BTreeMap<TopicPartition, Vec<(Offset, u8)>>,
    /// The history without offsets.
    pub legacy: Legacy,
    /// Whether the cleaned tables are kept.
    pub kept: bool,
    /// Topics in the frontier that this command does not name.
    unnamed: Vec<String>,
    commits: i64,
    definitions: Option<u64>,
    /// What the definitions depend on: `top` and the limits of a record.
    options: serde_json::Value,
}

impl Recorded {
    /// Reads a progress with the names of this command's topics.
    pub fn of(progress: &Progress, topics: &Topics) -> Recorded {
        let number = |name: &str| topics.number(name);
        let mut recorded = Recorded {
            legacy: progress.legacy,
            commits: progress.commits,
            definitions: progress.definitions,
            options: progress.options.clone(),
            ..Recorded::default()
        };
        for ((topic, partition), known) in &progress.partitions {
            match number(topic) {
                Some(topic) => {
                    let at = TopicPartition::new(topic, Partition(*partition));
                    recorded.partitions.insert(at, Offset(known.first)..Offset(known.next));
                    recorded.natural.insert(at, engine::empty_offsets(&known.detail));
                    recorded.sparse.insert(at, engine::sparse_objects(&known.detail));
                }
                None if !recorded.unnamed.contains(topic) => recorded.unnamed.push(topic.clone()),
                None => {}
            }
        }
        for gap in &progress.gaps {
            if let Some(topic) = number(&gap.topic) {
                recorded
                    .gaps
                    .entry(TopicPartition::new(topic, Partition(gap.partition)))
                    .or_default()
                    .insert(Offset(gap.from)..Offset(gap.to));
            }
        }
        for generation in &progress.generations {
            if let Some(topic) = number(&generation.topic) {
                let at = TopicPartition::new(topic, Partition(generation.partition));
                let starts = recorded.generations.entry(at).or_default();
                starts.push((Offset(generation.start), generation.generation));
            }
        }
        recorded.kept = progress.keeps_cleaned();
        recorded
    }

    /// What the tables recorded of an object of the lake: where its lines stand, and how far it reaches.
    pub fn sparse(&self, at: TopicPartition, start: Offset) -> Option<&SparseObject> {
        self.sparse.get(&at)?.get(start)
    }

    /// Whether tables that were `made_of` these results can be compared with what is given: `tables`, computed from
    /// records within `limits`.
    pub fn check(
        &self,
        tables: &TableOptions,
        limits: &Limits,
        made_of: &[RecordedResult],
        schema: &str,
    ) -> Result<(), VerifyError> {
        let (results, schema) = (&tables.results, schema.to_owned());
        if self.commits == 0 {
            return Err(VerifyError::NoCommit { schema });
        }
        if self.definitions != Some(results.hash(limits)) {
            let settings = [
                ("--top", "top", tables.top),
                ("limits.record_bytes", "record_bytes", limits.record_bytes),
                ("limits.depth", "depth", limits.depth),
            ];
            for (setting, option, given) in settings {
                let recorded = self.options.get(option).and_then(serde_json::Value::as_u64);
                let given = given as u64;
                if let Some(recorded) = recorded.filter(|recorded| *recorded != given) {
                    return Err(VerifyError::OtherSetting {
                        setting,
                        recorded,
                        given,
                    });
                }
            }
            let names = other_results(made_of, results);
            // tables of an earlier version do not say what they were made of, and are compared with what is given
            if !made_of.is_empty() {
                return Err(match names.as_slice() {
                    [] => VerifyError::OtherProgram { schema },
                    _ => VerifyError::OtherResults { schema, names },
                });
            }
        }
        let topics = self.unnamed.clone();
        match topics.as_slice() {
            [] => Ok(()),
            _ => Err(VerifyError::Topics { topics }),
        }
    }

    /// Whether the record at this offset is in the tables' answer.
    pub fn holds(&self, at: TopicPartition, offset: Offset) -> bool {
        self.partitions.get(&at).is_some_and(|span| span.contains(&offset))
            && !self.gaps.get(&at).is_some_and(|gaps| gaps.contains(offset))
    }

    /// The place of the record at this offset in the order of its topic.
    pub fn position(&self, at: TopicPartition, offset: Offset) -> Result<Position, PositionError> {
        let begun = self
            .generations
            .get(&at)
            .into_iter()
            .flatten()
            .filter(|(start, _)| *start <= offset);
        Position::new(
            begun.map(|(_, generation)| *generation).max().unwrap_or(1),
            offset,
            at.partition,
        )
    }
}

/// The names of results that are recorded and not defined, or the reverse, or whose SQL is another one.
fn other_results(made_of: &[RecordedResult], results: &Results) -> Vec<String> {
    let theirs = made_of.iter().map(|result| (&*result.name, &*result.sql));
    let ours = results
        .definitions()
        .iter()
        .map(|result| (result.table.name, &*result.sql));
    let (theirs, ours): (BTreeSet<_>, BTreeSet<_>) = (theirs.collect(), ours.collect());
    let names: BTreeSet<&str> = theirs.symmetric_difference(&ours).map(|(name, _)| *name).collect();
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::Class;
    use sinks::{AcceptedGap, Generation, PartitionProgress};
    use std::cell::RefCell;
    use std::sync::Arc;

    fn topics() -> Topics {
        Topics::new([Some("a.pin".to_owned()), Some("a.geo".to_owned()), None])
    }

    fn results(top: usize) -> Results {
        Results::built_in(&dataflows::Options { top })
    }

    fn progress() -> Progress {
        let partition = |first, next| PartitionProgress {
            first,
            next,
            cleaned_next: Some(next),
            ..Default::default()
        };
        let generation = |partition, generation, start| Generation {
            topic: "a.pin".into(),
            generation,
            partition,
            start,
        };
        Progress {
            commits: 1,
            partitions: [
                (("a.pin".to_owned(), 0), partition(5, 100)),
                (("a.pin".to_owned(), 1), partition(0, 30)),
                (("a.geo".to_owned(), 0), partition(0, 40)),
            ]
            .into(),
            generations: [generation(0, 1, 0), generation(0, 2, 60), generation(1, 2, 0)].into(),
            gaps: [AcceptedGap {
                topic: "a.pin".into(),
                partition: 0,
                from: 10,
                to: 12,
                reason: "accepted".into(),
                object: None,
            }]
            .into(),
            definitions: Some(results(10).hash(&Limits::default())),
            options: serde_json::json!({ "top": 10, "cleaned": true, "record_bytes": 8_388_608, "depth": 64 }),
            ..Progress::default()
        }
    }

    #[test]
    fn the_answer_is_what_lies_between_first_and_next_without_accepted_gaps() {
        let recorded = Recorded::of(&progress(), &topics());
        let held: Vec<i64> = (0..120)
            .filter(|offset| recorded.holds(TopicPartition::new(0, Partition(0)), Offset(*offset)))
            .collect();
        let expected: Vec<i64> = (5..10).chain(12..100).collect();
        assert_eq!(held, expected);
        assert!(
            !recorded.holds(TopicPartition::new(2, Partition(0)), Offset(0)),
            "a topic without a recorded frontier"
        );
    }

    #[test]
    fn a_later_generation_is_newer_whatever_its_offset() {
        let recorded = Recorded::of(&progress(), &topics());
        let position = |topic, partition, offset| {
            recorded
                .position(TopicPartition::new(topic, partition), offset)
                .unwrap()
        };
        let generation = |topic, partition, offset| position(topic, partition, offset).generation();
        assert_eq!(
            (
                generation(0, Partition(0), Offset(59)),
                generation(0, Partition(0), Offset(60))
            ),
            (1, 2)
        );
        assert_eq!(generation(0, Partition(1), Offset(0)), 2);
        assert_eq!(generation(1, Partition(0), Offset(7)), 1);
        assert!(position(0, Partition(1), Offset(0)) > position(0, Partition(0), Offset(59)));
    }

    #[test]
    fn cleaned_tables_are_kept_when_the_progress_says_so() {
        assert!(Recorded::of(&progress(), &topics()).kept);
        let mut off = progress();
        off.partitions
            .values_mut()
            .for_each(|partition| partition.cleaned_next = None);
        assert!(!Recorded::of(&off, &topics()).kept);
        // history without offsets has no partitions
        let legacy = Progress {
            partitions: BTreeMap::new(),
            ..progress()
        };
        assert!(Recorded::of(&legacy, &topics()).kept);
        let options = serde_json::json!({ "top": 10, "cleaned": false });
        assert!(!Recorded::of(&Progress { options, ..legacy }, &topics()).kept);
    }

    #[test]
    fn other_definitions_and_topics_are_usage_errors_that_say_what_to_give() {
        let made_of = RefCell::new(Vec::new());
        let checked = |progress: &Progress, top, depth| {
            let limits = Limits {
                depth,
                ..Limits::default()
            };
            let tables = TableOptions {
                results: Arc::new(results(top)),
                top,
                cleaned: true,
                drop: Vec::new(),
            };
            let checked = Recorded::of(progress, &topics()).check(&tables, &limits, &made_of.borrow(), "s");
            checked.map_err(|error| (error.class(), error.to_string()))
        };
        let error = |progress: &Progress, top| checked(progress, top, 64);
        assert_eq!(error(&progress(), 10), Ok(()));
        let (class, text) = checked(&progress(), 10, 8).unwrap_err();
        assert_eq!(class, Class::Usage);
        assert!(text.contains("give limits.depth 64"), "{text}");
        let (class, text) = error(&progress(), 3).unwrap_err();
        assert_eq!(class, Class::Usage);
        assert!(text.contains("give --top 10"), "{text}");
        let other = Progress {
            definitions: Some(1),
            ..progress()
        };
        assert_eq!(error(&other, 10), Ok(()), "an earlier version recorded no results");
        let built_in = results(10);
        let recorded = |result: &dataflows::Definition| RecordedResult {
            name: result.table.name.to_owned(),
            sql: result.sql.clone(),
        };
        made_of.replace(built_in.definitions().iter().map(recorded).collect());
        made_of.borrow_mut()[0].sql.push(' ');
        made_of.borrow_mut()[1].name.push('2');
        let (class, text) = error(&other, 10).unwrap_err();
        assert_eq!(class, Class::Usage);
        let [first, second] = [0, 1].map(|n: usize| built_in.definitions()[n].table.name);
        let names = format!("{first}, {second}, {second}2");
        assert!(text.contains(&format!("the given results differ ({names})")), "{text}");
        assert!(text.contains("--results DIR"), "{text}");
        let mut more = progress();
        more.partitions
            .insert(("b.user".into(), 0), PartitionProgress::default());
        let (class, text) = error(&more, 10).unwrap_err();
        assert_eq!(class, Class::Usage);
        assert!(text.contains("b.user"), "{text}");
        let empty = Progress {
            commits: 0,
            ..progress()
        };
        assert_eq!(error(&empty, 10).unwrap_err().0, Class::Failed);
    }
}
