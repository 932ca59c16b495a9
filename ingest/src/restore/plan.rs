//! What the lake has of each partition, and whether that can be restored: every offset between the first and the last
//! once, in a known order.
//!
//! The audit of the lake decides, on the same listing that is read afterwards. What would be restored wrongly is refused
//! before anything is written; what the audit takes on trust is checked while it is read (`stream`).

use super::error::RestoreError;
use super::options::{Observer, RestoreOptions};
use crate::archive::{AuditOptions, LakeAudit, PartitionAudit, audit_listed, list};
use crate::coverage::{Accepted, Gap, RangeSet};
use crate::lake::{Lake, Listing, Object, Place};
use crate::topic_partition::TopicPartition;
use std::collections::BTreeMap;
use values::Offset;

/// What is restored of one partition.
#[derive(Debug)]
pub(super) struct PartitionPlan {
    /// The number of the topic in the options, and the partition.
    pub(super) at: TopicPartition,
    /// Its objects by start.
    pub(super) objects: Vec<Object>,
    /// The offsets that they cover.
    pub(super) covered: RangeSet,
    /// The accepted gaps between these.
    pub(super) gaps: Vec<Gap>,
    /// Whether objects share offsets.
    pub(super) overlaps: bool,
    /// Objects in which the offset of a line is not certain.
    pub(super) inexact: u64,
}

impl PartitionPlan {
    /// The first covered offset, and the one after the last.
    pub(super) fn span(&self) -> Option<(Offset, Offset)> {
        let first = self.covered.iter().next()?.start;
        let last = self.covered.iter().next_back()?.end;
        Some((first, last))
    }

    /// Its stored bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.objects.iter().map(|object| object.size).sum()
    }
}

/// Lists the lake and judges it. The plans are in the order of topics and partitions.
pub(super) async fn plan(
    lake: &Lake,
    options: &RestoreOptions,
    observer: &dyn Observer,
) -> Result<Vec<PartitionPlan>, RestoreError> {
    let topics: Vec<String> = options.topics.iter().map(|topic| topic.name.clone()).collect();
    let listing = list(lake, &topics).await?;
    let mut audit_options = AuditOptions {
        topics: topics.clone(),
        deep: false,
        small_bytes: 0,
    };
    let mut audit = audit_listed(lake, &audit_options, &listing).await?;
    if audit.partitions.iter().any(is_doubtful) {
        audit_options.deep = true;
        audit = audit_listed(lake, &audit_options, &listing).await?;
    }
    check_legacy(options, &listing)?;
    check_topics(lake, options, &audit)?;
    audit.partitions.iter().try_for_each(check_objects)?;
    check_order(&audit, observer)?;
    check_gaps(options, &audit, observer)?;

    let mut objects: BTreeMap<TopicPartition, Vec<Object>> = BTreeMap::new();
    for object in listing.objects {
        if let Some((topic, partition, _)) = object.log_place() {
            objects
                .entry(TopicPartition { topic, partition })
                .or_default()
                .push(object);
        }
    }
    let number = |name: &str| topics.iter().position(|topic| topic == name).map(|number| number as u8);
    let plan = |found: PartitionAudit| {
        let partition = found.partition;
        let at = TopicPartition {
            topic: number(&found.topic)?,
            partition,
        };
        Some(PartitionPlan {
            at,
            objects: objects.remove(&at).unwrap_or_default(),
            covered: found.covered,
            gaps: found.holes,
            overlaps: found.overlapping > 0,
            inexact: found.inexact,
        })
    };
    let mut plans: Vec<PartitionPlan> = audit.partitions.into_iter().filter_map(plan).collect();
    plans.sort_by_key(|plan| plan.at);
    plans.iter().try_for_each(|plan| check_deletes(&topics, plan))?;
    Ok(plans)
}

/// Where objects share offsets, one that was taken at its name and holds more would not be noticed while it is read.
fn is_doubtful(found: &PartitionAudit) -> bool {
    found.overlapping > 0 && found.examined < found.objects
}

/// Whether the offsets of deletes are known that stand in objects of their own: Connect leaves holes for them in the
/// objects of values, which names alone do not show.
fn check_deletes(topics: &[String], plan: &PartitionPlan) -> Result<(), RestoreError> {
    if plan.overlaps && plan.objects.iter().any(|object| object.deletes) {
        return Err(RestoreError::Deletes {
            topic: topics[usize::from(plan.at.topic)].clone(),
            partition: plan.at.partition,
        });
    }
    Ok(())
}

/// Whether the topics are there that were named, and at least one of the others.
fn check_topics(lake: &Lake, options: &RestoreOptions, audit: &LakeAudit) -> Result<(), RestoreError> {
    let has = |name: &str| audit.partitions.iter().any(|found| found.topic == name);
    if let Some(absent) = options.topics.iter().find(|topic| topic.required && !has(&topic.name)) {
        return Err(RestoreError::NoRecords {
            topic: absent.name.clone(),
        });
    }
    if audit.partitions.is_empty() {
        let names: Vec<&str> = options.topics.iter().map(|topic| topic.name.as_str()).collect();
        return Err(RestoreError::NothingThere {
            url: lake.url().to_string(),
            topics: names.join(", "),
        });
    }
    for absent in options.topics.iter().filter(|topic| !has(&topic.name)) {
        tracing::info!("the lake holds no records of topic {}", absent.name);
    }
    Ok(())
}

/// Whether there are records without offsets that nobody has agreed to leave out.
fn check_legacy(options: &RestoreOptions, listing: &Listing) -> Result<(), RestoreError> {
    let mut legacy = listing.objects.iter().filter(|object| object.place == Place::Legacy);
    let Some(first) = legacy.next() else {
        return Ok(());
    };
    let count = 1 + legacy.count() as u64;
    if !options.skip_legacy {
        return Err(RestoreError::OlderLayouts {
            count,
            first: first.key.clone(),
        });
    }
    tracing::warn!("{count} objects of older layouts are not restored");
    Ok(())
}

/// Whether objects are what their writers recorded, and copies of a record are the same.
fn check_objects(found: &PartitionAudit) -> Result<(), RestoreError> {
    if let Some(first) = found.faults.first() {
        return Err(RestoreError::Damaged {
            count: found.faulty,
            object: first.object.clone(),
            what: first.what.clone(),
        });
    }
    if !found.differing.is_empty() {
        return Err(RestoreError::Differ {
            topic: found.topic.clone(),
            partition: found.partition,
            offsets: found.differing.clone(),
        });
    }
    Ok(())
}

/// Whether the order of all records is known.
fn check_order(audit: &LakeAudit, observer: &dyn Observer) -> Result<(), RestoreError> {
    let mut conflicts = audit.partitions.iter().flat_map(|found| &found.conflicts).peekable();
    let first = conflicts.peek().map(|first| (*first).clone());
    conflicts.for_each(|conflict| observer.order(conflict));
    first.map_or(Ok(()), |first| Err(RestoreError::Order(first)))
}

/// Whether all records are there that nobody has agreed to do without.
fn check_gaps(options: &RestoreOptions, audit: &LakeAudit, observer: &dyn Observer) -> Result<(), RestoreError> {
    let accepted = Accepted::new(&options.accept_gaps, []);
    let gaps = audit.partitions.iter().flat_map(|found| &found.holes);
    let refused: Vec<&Gap> = gaps
        .inspect(|gap| observer.gap(gap))
        .filter(|gap| !accepted.covers(gap))
        .collect();
    match refused.first() {
        None => Ok(()),
        Some(first) => Err(RestoreError::Gaps {
            count: refused.len(),
            first: (*first).clone(),
        }),
    }
}
