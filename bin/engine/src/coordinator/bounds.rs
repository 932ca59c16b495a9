//! Where a bounded replay ends: at the frontier that was asked for, or at the edge of the inexact object around it.
//!
//! Inside an inexact object it is unknown which record has which offset, so no frontier may lie there. Which objects are
//! inexact shows only when their lines are counted, and what has been read cannot be taken back; so the few objects that
//! may reach the bound are counted before anything is read. An object that only looks exact, because nothing comes after
//! it, is compared with Kafka where Kafka still spans it; without Kafka its lines are taken for consecutive offsets.

use super::flow::ReplayError;
use super::lake_read::log_place;
use super::phases::{Bounds, Surveyed};
use crate::log::holes;
use crate::options::Mode;
use crate::protocol::{Assigned, Command, Pass};
use ingest::coverage::{Counted, Coverage, RangeSet};
use ingest::lake::{Encoding, Object};
use ingest::{Offset, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Deflate makes a byte of at most so many.
const GZIP_RATIO: u64 = 1032;

impl Surveyed<'_> {
    /// The bounds of the replay; none of them lies inside an inexact object.
    pub(super) async fn bounds(&mut self) -> Result<Option<Bounds>, ReplayError> {
        let Some(asked) = self.asked() else { return Ok(None) };
        let counted = may_reach(self.read.objects(), &asked);
        if counted.is_empty() {
            return Ok(Some(asked));
        }
        self.count(counted).await?;
        let coverage = self.coverage_at(&asked);
        let refuted = self.refuted(&coverage, &asked).await?;
        self.read.begin_pass();
        Ok(Some(self.rounded(asked, &coverage, &refuted)))
    }

    /// Counts the lines of objects.
    pub(super) async fn count(&mut self, objects: Vec<Assigned>) -> Result<(), ReplayError> {
        let number = self.run.flow.next_pass();
        self.run.flow.broadcast(Command::Begin(Box::new(Pass {
            number,
            legacy_persisted: true,
            // nothing is wanted, so lines are counted and not looked into
            upto: Some(BTreeMap::new()),
            ..Pass::default()
        })));
        self.read.begin_pass();
        self.run.read_assigned(&mut self.read, objects, false).await
    }

    fn asked(&self) -> Option<Bounds> {
        let Mode::Backfill {
            upto: Some(frontier), ..
        } = &self.run.options.mode
        else {
            return None;
        };
        let mut bounds = Bounds::new();
        for (topic, name) in self.run.options.log.topics.named() {
            for (partition, next) in frontier.0.get(name).into_iter().flatten() {
                let partition = *partition;
                bounds.insert(TopicPartition { topic, partition }, *next);
            }
        }
        Some(bounds)
    }

    /// What the counted objects cover, with the beginnings of those behind the bounds.
    fn coverage_at(&self, bounds: &Bounds) -> BTreeMap<TopicPartition, Coverage> {
        let mut counted = Vec::new();
        counted.extend(self.read.of_log());
        let known: BTreeSet<u32> = counted.iter().map(|object| object.object).collect();
        for (id, object) in (1u32..).zip(self.read.objects()) {
            let Some((at, start)) = log_place(object) else { continue };
            // of what lies behind the bound only the beginning matters: it may end the object before it
            if !known.contains(&id) && bounds.get(&at).is_some_and(|bound| start >= *bound) {
                counted.extend(Counted::of(object, id, 1, None));
            }
        }
        let names: Vec<&str> = (0..3).map(|topic| self.run.topic_name(topic)).collect();
        ingest::coverage::coverage(&counted, &names)
    }

    /// Objects that only look exact: in Kafka, fewer of their records lie below the bound than their lines say. Where
    /// each begins.
    async fn refuted(
        &mut self,
        coverage: &BTreeMap<TopicPartition, Coverage>,
        bounds: &Bounds,
    ) -> Result<Bounds, ReplayError> {
        let watermarks = &self.watermarks;
        let mut doubted = BTreeMap::new();
        let last = last_below(self.read.objects(), bounds);
        for (at, bound) in bounds {
            let (Some(coverage), Some(marks)) = (coverage.get(at), watermarks.get(at)) else {
                continue;
            };
            // records of the last object below the bound may lie beyond it, unless Kafka ends there
            let taken = coverage.unproved.iter().map(|object| object.from..object.to);
            let taken = taken.filter(|taken| last.get(at) == Some(&taken.start) && *bound < marks.high);
            let spanned = |taken: &Range<Offset>| marks.low <= taken.start && taken.start < marks.stable;
            if let Some(taken) = taken.max_by_key(|taken| taken.end).filter(spanned) {
                doubted.insert(*at, taken.start..taken.end.min(*bound));
            }
        }
        let within = |at: &TopicPartition, from| holes::in_parts(from..bounds[at].min(watermarks[at].stable));
        let read_ranges = doubted.iter().map(|(at, taken)| (*at, within(at, taken.start)));
        let found = self.run.probe(read_ranges.collect()).await?;
        doubted.retain(|at, taken| {
            let records = found
                .get(at)
                .map_or(0, |found| holes::records(found, taken.start..bounds[at]));
            records < taken.start.abs_diff(taken.end)
        });
        Ok(doubted.into_iter().map(|(at, taken)| (at, taken.start)).collect())
    }

    fn rounded(&self, mut bounds: Bounds, coverage: &BTreeMap<TopicPartition, Coverage>, refuted: &Bounds) -> Bounds {
        for (at, bound) in &mut bounds {
            let Some(coverage) = coverage.get(at) else {
                continue;
            };
            let sound = refuted.get(at).copied().unwrap_or(*bound);
            let edge = coverage.frontier_at_or_below(sound);
            if edge < *bound {
                eprintln!(
                    "frontier {} {bound} is rounded to {edge}: the object there lacks records, so that the \
                     offsets of the others are unknown",
                    self.run.place(*at)
                );
                *bound = edge;
            }
        }
        bounds
    }
}

/// Where the last object below the bound begins.
fn last_below(objects: &[Object], bounds: &Bounds) -> Bounds {
    let mut last = Bounds::new();
    for (at, start) in objects.iter().filter_map(log_place) {
        if bounds.get(&at).is_some_and(|bound| start < *bound) {
            let last = last.entry(at).or_insert(start);
            *last = start.max(*last);
        }
    }
    last
}

/// The objects that may hold the record at their partition's bound, or may be the last ones before it, by number.
fn may_reach(objects: &[Object], bounds: &Bounds) -> Vec<Assigned> {
    let last = last_below(objects, bounds);
    let reaches = |object: &Object| {
        let Some((at, start)) = log_place(object) else {
            return false;
        };
        // a line is a byte at least
        let lines = match object.encoding {
            Encoding::Plain => object.size,
            Encoding::Gzip => object.size.saturating_mul(GZIP_RATIO),
        };
        let end = start.plus(lines);
        last.get(&at)
            .is_some_and(|last| start == *last || start < *last && end > *last)
    };
    (1u32..)
        .zip(objects)
        .filter(|(_, object)| reaches(object))
        .map(|(id, object)| Assigned {
            id,
            object: object.clone(),
            persisted: false,
            holes: RangeSet::default(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::Partition;
    use ingest::lake::Place;

    fn object(start: i64, size: u64, encoding: Encoding) -> Object {
        Object {
            key: format!("pin+0+{start}"),
            size,
            etag: None,
            topic: Some(0),
            place: Place::Log {
                partition: Partition(0),
                start: Offset(start),
            },
            encoding,
            deletes: false,
            sidecar: false,
        }
    }

    #[test]
    fn only_objects_that_may_reach_the_bound_are_counted() {
        let at = TopicPartition {
            topic: 0,
            partition: Partition(0),
        };
        let plain = |start| object(start, 30, Encoding::Plain);
        let objects = [plain(0), plain(10), plain(40), plain(50), plain(60), plain(100)];
        let counted = |bound| -> Vec<u32> {
            let bounds = [(at, bound)].into();
            may_reach(&objects, &bounds).into_iter().map(|one| one.id).collect()
        };
        // 10..40 ends at the latest where 40 starts
        assert_eq!(counted(Offset(55)), [3, 4]);
        assert_eq!(counted(Offset(60)), [3, 4]);
        assert_eq!(counted(Offset(61)), [3, 4, 5]);
        assert!(counted(Offset(0)).is_empty());
        // a compressed object may hold any number of lines
        let objects = [object(0, 30, Encoding::Gzip), plain(10_000)];
        let bounds = [(at, Offset(20_000))].into();
        assert_eq!(may_reach(&objects, &bounds).len(), 2);
    }
}
