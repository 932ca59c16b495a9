//! Natural holes: offsets between two objects where the log has no record, or none that the object before them lacks.
//!
//! Compaction, transaction markers and aborted records use up offsets. The lake does not show where: an object says where
//! it starts and how many records it has, so a marker in its middle looks like a hole at its end. While Kafka spans such
//! a hole it can tell: either there is no record in it, or Kafka holds exactly as many records from the object's first
//! offset to the hole's end as the object has lines. What Kafka has told is kept in the progress row, because retention
//! passes the hole one day, and nobody could tell then.
//!
//! Records are counted here, not taken in: the hand-over reads holes that are not natural, together with the object
//! before them when it lacks records that Kafka has, since they may be missing anywhere in it.

use super::Coordinator;
use super::bounds::Bounds;
use crate::engine::EngineError;
use crate::engine::plan::Plan;
use crate::engine::protocol::{Command, Consume, Note, TopicPartition};
use ingest::coverage::{Coverage, RangeSet};
use std::collections::BTreeMap;
use std::ops::Range;

/// The key under which natural holes stand in a partition's detail.
pub(crate) const DETAIL: &str = "natural";
/// Natural holes that are kept of a partition: they are written with its frontier.
const MOST: usize = 4096;
/// Suspects that lie closer together than this are counted in one stretch.
const NEAR: i64 = 4096;
/// The longest stretch: the places of its records are held in memory.
const LONGEST: i64 = 1 << 20;

/// A hole that may be natural.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Suspect {
    hole: Range<i64>,
    /// The first offset and the lines of the object before it, when Kafka spans all of that object.
    object: Option<(i64, u64)>,
}

impl Suspect {
    fn stretch(&self) -> Range<i64> {
        self.object.map_or(self.hole.start, |(start, _)| start)..self.hole.end
    }

    fn is_natural(&self, arrived: &RangeSet) -> bool {
        let same = |(_, lines)| records(arrived, self.stretch()) == lines;
        records(arrived, self.hole.clone()) == 0 || self.object.is_some_and(same)
    }

    /// Whether the object lacks a record that Kafka has, perhaps not at its end.
    fn is_short(&self, arrived: &RangeSet) -> bool {
        self.object
            .is_some_and(|(_, lines)| records(arrived, self.stretch()) > lines)
    }
}

fn records(arrived: &RangeSet, range: Range<i64>) -> u64 {
    let parts = arrived.within(range).into_iter();
    parts.map(|part| part.end.abs_diff(part.start)).sum()
}

impl Coordinator {
    /// Asks Kafka about the holes of history that it spans, and remembers those that are natural.
    pub(super) async fn prove_holes(
        &mut self,
        coverage: &BTreeMap<(u8, i32), Coverage>,
        ends: &BTreeMap<TopicPartition, Range<i64>>,
        upto: &Option<Bounds>,
    ) -> Result<(), EngineError> {
        self.short.clear();
        let mut suspects: BTreeMap<TopicPartition, Vec<Suspect>> = BTreeMap::new();
        for ((topic, partition), coverage) in coverage {
            let (topic, partition) = (*topic, *partition);
            let at = TopicPartition { topic, partition };
            let known = self.natural.entry(at).or_default();
            // what history covers by now needs no proof
            *known = known.iter().flat_map(|hole| coverage.ranges.missing(hole)).collect();
            let Some(span) = ends.get(&at) else { continue };
            let bound = upto
                .as_ref()
                .map_or(i64::MAX, |upto| upto.get(&at).copied().unwrap_or(0));
            let lines = |id: u32| self.counted.get(&id).map_or(0, |(lines, _)| *lines);
            let found = suspects_of(coverage, known, span, bound, lines);
            if !found.is_empty() {
                suspects.insert(at, found);
            }
        }
        let mut queues: BTreeMap<TopicPartition, std::vec::IntoIter<Range<i64>>> = BTreeMap::new();
        for (at, suspects) in &suspects {
            let mut queue = stretches(suspects).into_iter();
            self.probe_next(*at, &mut queue);
            queues.insert(*at, queue);
        }
        let mut waiting = queues.len();
        let mut arrived: BTreeMap<TopicPartition, RangeSet> = BTreeMap::new();
        while waiting > 0 {
            match self.note().await? {
                Note::Probed { pass, at, records } if pass == self.pass => {
                    let arrived = arrived.entry(at).or_default();
                    records.into_iter().for_each(|(from, to)| arrived.insert(from..to));
                    if !queues.get_mut(&at).is_some_and(|queue| self.probe_next(at, queue)) {
                        waiting -= 1;
                    }
                }
                other => self.unexpected(other)?,
            }
        }
        for (at, suspects) in suspects {
            let (arrived, natural) = (
                arrived.remove(&at).unwrap_or_default(),
                self.natural.entry(at).or_default(),
            );
            let room = MOST.saturating_sub(natural.iter().count());
            let (proved, losses): (Vec<Suspect>, Vec<Suspect>) =
                suspects.into_iter().partition(|hole| hole.is_natural(&arrived));
            let short = losses.iter().filter(|hole| hole.is_short(&arrived));
            self.short.insert(at, short.map(Suspect::stretch).collect());
            let topic = self.settings.topics[at.topic as usize].as_deref().unwrap_or("unknown");
            if proved.len() > room {
                tracing::warn!(
                    topic,
                    partition = at.partition,
                    "more natural holes than are kept: those of late will be gaps when retention has passed them"
                );
            }
            if !proved.is_empty() {
                tracing::info!(
                    topic,
                    partition = at.partition,
                    holes = proved.len(),
                    "holes are natural"
                );
            }
            proved
                .into_iter()
                .take(room)
                .for_each(|suspect| natural.insert(suspect.hole));
        }
        self.natural.retain(|_, holes| !holes.is_empty());
        Ok(())
    }

    fn probe_next(&self, at: TopicPartition, queue: &mut std::vec::IntoIter<Range<i64>>) -> bool {
        let Some(Range {
            start: from,
            end: until,
        }) = queue.next()
        else {
            return false;
        };
        let range = Consume {
            at,
            from,
            until: Some(until),
            bound: until,
            probe: true,
        };
        let command = Command::Consume(vec![range]);
        self.planner.send(Plan::To(self.owner(at), command));
        true
    }

    /// What is recorded of each partition beside its frontier.
    pub(super) fn details(&self) -> BTreeMap<TopicPartition, serde_json::Value> {
        let detail =
            |(at, holes): (&TopicPartition, &RangeSet)| (*at, serde_json::json!({ DETAIL: holes.to_string() }));
        self.natural.iter().map(detail).collect()
    }
}

/// The holes of a partition's history that Kafka spans and nobody has judged yet, in order.
fn suspects_of(
    coverage: &Coverage,
    known: &RangeSet,
    span: &Range<i64>,
    bound: i64,
    lines: impl Fn(u32) -> u64,
) -> Vec<Suspect> {
    let conflicts: RangeSet = coverage
        .conflicts
        .iter()
        .map(|conflict| conflict.from..conflict.to)
        .collect();
    let open = |hole: &Range<i64>| {
        let spanned = span.start <= hole.start && hole.end <= span.end;
        // where objects interleave Kafka is read in any case
        spanned && hole.start < bound && !known.covers(hole.clone()) && conflicts.within(hole.clone()).is_empty()
    };
    let suspect = |hole: Range<i64>| {
        // they stand in the order of their beginnings
        let before = coverage.inexact.partition_point(|object| object.from < hole.start);
        let before = coverage.inexact[..before].last().filter(|object| {
            let end = object.from.saturating_add_unsigned(lines(object.object));
            end == hole.start && object.to == hole.end && object.from >= span.start
        });
        Suspect {
            object: before.map(|object| (object.from, lines(object.object))),
            hole,
        }
    };
    coverage.ranges.holes().filter(open).map(suspect).collect()
}

/// The stretches to count for some suspects: near ones together, so that a partition is not begun again for each.
fn stretches(suspects: &[Suspect]) -> Vec<Range<i64>> {
    let mut stretches: Vec<Range<i64>> = Vec::new();
    for suspect in suspects {
        let stretch = suspect.stretch();
        match stretches.last_mut() {
            Some(last) if stretch.start - last.end < NEAR && stretch.end - last.start <= LONGEST => {
                last.end = stretch.end
            }
            _ => stretches.push(stretch),
        }
    }
    stretches
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // a list of one range is meant
mod tests {
    use super::*;
    use ingest::coverage::Counted;

    fn coverage(objects: &[(i64, u64)]) -> Coverage {
        let counted: Vec<Counted> = (1..)
            .zip(objects)
            .map(|(object, (start, lines))| Counted {
                topic: 0,
                partition: 0,
                start: *start,
                lines: *lines,
                covers: None,
                object,
            })
            .collect();
        let mut coverage = ingest::coverage::coverage(&counted, &["pin"]);
        coverage.remove(&(0, 0)).unwrap_or_default()
    }

    fn suspects(objects: &[(i64, u64)], known: &[Range<i64>], span: Range<i64>) -> Vec<Suspect> {
        let known = known.iter().cloned().collect();
        let lines = |id: u32| objects[id as usize - 1].1;
        suspects_of(&coverage(objects), &known, &span, i64::MAX, lines)
    }

    #[test]
    fn holes_that_kafka_spans_are_suspects_with_the_object_before_them() {
        let objects = [(0, 9), (10, 18), (30, 10), (40, 5)];
        let found = suspects(&objects, &[], 0..100);
        let holes: Vec<_> = found.iter().map(|suspect| suspect.hole.clone()).collect();
        assert_eq!(holes, [9..10, 28..30]);
        assert_eq!((found[0].object, found[1].object), (Some((0, 9)), Some((10, 18))));
        // of an object that retention has reached only the hole is counted
        assert_eq!(suspects(&objects, &[], 15..100)[0].object, None);
        assert!(suspects(&objects, &[9..10], 0..29).is_empty());
    }

    #[test]
    fn a_hole_is_natural_when_it_is_empty_or_the_object_has_everything() {
        let suspect = Suspect {
            hole: 28..30,
            object: Some((10, 18)),
        };
        let arrived = |ranges: &[Range<i64>]| ranges.iter().cloned().collect::<RangeSet>();
        assert!(suspect.is_natural(&arrived(&[10..28])));
        // two markers inside the object
        assert!(suspect.is_natural(&arrived(&[10..15, 16..20, 21..30])));
        // one marker only: the lake lacks a record
        let more = arrived(&[10..15, 16..30]);
        assert!(!suspect.is_natural(&more) && suspect.is_short(&more));
        // compacted since: nobody knows, and Kafka has nothing that the lake lacks
        let fewer = arrived(&[10..15, 28..30]);
        assert!(!suspect.is_natural(&fewer) && !suspect.is_short(&fewer));
        let alone = Suspect {
            object: None,
            ..suspect
        };
        assert!(!alone.is_natural(&arrived(&[28..29])));
        assert!(alone.is_natural(&arrived(&[])));
    }

    #[test]
    fn near_stretches_are_counted_together() {
        let suspect = |hole: Range<i64>| Suspect { hole, object: None };
        let near = [suspect(10..12), suspect(100..101), suspect(9_000..9_001)];
        assert_eq!(stretches(&near), [10..101, 9_000..9_001]);
        let long: Vec<Suspect> = (0..1_000).map(|n| suspect(n * 4_000..n * 4_000 + 1)).collect();
        assert!(
            stretches(&long)
                .iter()
                .all(|stretch| stretch.end - stretch.start <= LONGEST)
        );
    }
}
