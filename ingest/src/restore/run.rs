//! Drives a restore: everything that can be refused is refused before the first record is written, and nothing is said to
//! be restored that has not been read back.

use super::claim::Claim;
use super::compare::Comparison;
use super::error::RestoreError;
use super::options::{Observer, Pass, RestoreOptions, RestoreTopic};
use super::plan::{PartitionPlan, plan};
use super::report::{PartitionReport, RestoreReport};
use super::stream::StreamSource;
use super::target::{Restored, prepare, restored};
use super::timeouts::Timeouts;
use super::write::Writing;
use crate::kafka::Cluster;
use crate::lake::Lake;
use crate::topic_partition::TopicPartition;
use futures_util::future::try_join_all;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Writes the records of a lake into topics that are empty, or that an earlier restore has begun to fill, and compares
/// what they hold then. Ends with [`RestoreError::Stopped`] when it is told to stop before.
///
/// # Errors
/// [`RestoreError`]. What was written stays, and another start goes on behind it.
pub async fn restore(
    lake: Lake,
    options: RestoreOptions,
    observer: Arc<dyn Observer>,
    mut stop: watch::Receiver<bool>,
) -> Result<RestoreReport, RestoreError> {
    let plans = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return Err(RestoreError::Stopped),
        plans = plan(&lake, &options, &*observer) => plans?,
    };
    let kafka = options.kafka.clone();
    let cluster = Arc::new(blocking(move || Cluster::connect(&kafka)).await??);
    let mut run = Run {
        timeouts: Timeouts::of(&options.kafka),
        lake,
        options,
        observer,
        cluster,
        plans,
        batches: BTreeMap::new(),
    };
    run.batches = run.prepare().await?;
    // what is refused is refused before the group is joined; what counts is looked at afterwards
    run.look(false).await?;
    let claims = run.claim(&stop).await?;
    let found = run.look(true).await?;
    let written = run.write(&claims, &found, &mut stop).await?;
    let report = run.compare(&written, &mut stop).await?;
    // their ends wait for the group
    blocking(move || drop(claims)).await?;
    Ok(report)
}

async fn blocking<O: Send + 'static>(work: impl FnOnce() -> O + Send + 'static) -> Result<O, RestoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| RestoreError::Panicked)
}

struct Run {
    timeouts: Timeouts,
    lake: Lake,
    options: RestoreOptions,
    observer: Arc<dyn Observer>,
    cluster: Arc<Cluster>,
    plans: Vec<PartitionPlan>,
    /// The bytes that each topic takes in one batch, as far as known.
    batches: BTreeMap<String, u64>,
}

/// By the number of the topic.
type Claims = BTreeMap<u8, Claim>;

impl Run {
    /// The topics that have records, with their plans, by number.
    fn topics(&self) -> impl Iterator<Item = (u8, &RestoreTopic, &[PartitionPlan])> {
        let of_topics = self.plans.chunk_by(|a, b| a.at.topic == b.at.topic);
        of_topics.map(|plans| (plans[0].at.topic, self.topic(plans[0].at), plans))
    }

    fn topic(&self, at: TopicPartition) -> &RestoreTopic {
        &self.options.topics[usize::from(at.topic)]
    }

    async fn prepare(&self) -> Result<BTreeMap<String, u64>, RestoreError> {
        let needed = |plans: &[PartitionPlan]| plans.iter().map(|plan| plan.at.partition.0 + 1).max().unwrap_or(1);
        let topics: Vec<(&RestoreTopic, i32)> = self.topics().map(|(_, topic, plans)| (topic, needed(plans))).collect();
        prepare(&self.options.kafka, &self.cluster, &topics, self.options.create_topics).await
    }

    /// Keeps other restores away from all topics.
    async fn claim(&self, stop: &watch::Receiver<bool>) -> Result<Claims, RestoreError> {
        let take = |(number, topic, _): (u8, &RestoreTopic, &[PartitionPlan])| {
            let (kafka, into) = (self.options.kafka.clone(), topic.into.clone());
            let (timeouts, stop) = (self.timeouts, stop.clone());
            let take = move || Claim::take(&kafka, &into, timeouts, &|| *stop.borrow());
            async move { Ok::<_, RestoreError>((number, blocking(take).await??)) }
        };
        // a group waits some seconds for more members: all of them at once
        let claims = try_join_all(self.topics().map(take)).await?;
        Ok(claims.into_iter().collect())
    }

    /// How far every partition is restored.
    async fn look(&self, claimed: bool) -> Result<BTreeMap<TopicPartition, Restored>, RestoreError> {
        let mut found = BTreeMap::new();
        for (number, topic, plans) in self.topics() {
            let begins = |plan: &PartitionPlan| Some((plan.at.partition, plan.span()?.0));
            let partitions = plans.iter().filter_map(begins).collect();
            let (cluster, topic) = (Arc::clone(&self.cluster), topic.clone());
            let of_topic = blocking(move || restored(&cluster, &topic, &partitions, claimed)).await??;
            let at = |(partition, restored)| (TopicPartition::new(number, partition), restored);
            found.extend(of_topic.into_iter().map(at));
        }
        Ok(found)
    }

    /// Writes what is missing; how many records of each partition that were.
    async fn write(
        &self,
        claims: &Claims,
        found: &BTreeMap<TopicPartition, Restored>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<BTreeMap<TopicPartition, u64>, RestoreError> {
        self.begins(Pass::Write);
        let mut written = BTreeMap::new();
        for plan in &self.plans {
            let topic = self.topic(plan.at);
            // a partition that has vanished since it was counted
            let gone = || RestoreError::NoTopic {
                topic: topic.into.clone(),
            };
            let (Some(claim), Some(restored)) = (claims.get(&plan.at.topic), found.get(&plan.at)) else {
                return Err(gone());
            };
            let source = self.source(plan);
            let writing = Writing {
                kafka: &self.options.kafka,
                cluster: &self.cluster,
                topic,
                partition: plan.at.partition,
                source: &source,
                claim,
                timeouts: self.timeouts,
                batch_bytes: self.batches.get(&topic.into).copied(),
            };
            written.insert(plan.at, writing.write(restored.clone(), stop).await?);
        }
        self.observer.ends(Pass::Write);
        Ok(written)
    }

    /// Reads everything back.
    async fn compare(
        &self,
        written: &BTreeMap<TopicPartition, u64>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<RestoreReport, RestoreError> {
        self.begins(Pass::Compare);
        let mut report = RestoreReport::default();
        for plan in &self.plans {
            let topic = self.topic(plan.at);
            let source = self.source(plan);
            let comparison = Comparison {
                kafka: &self.options.kafka,
                cluster: &self.cluster,
                topic,
                partition: plan.at.partition,
                source: &source,
            };
            let compared = comparison.compare(stop).await?;
            report.partitions.push(PartitionReport {
                topic: topic.name.clone(),
                into: topic.into.clone(),
                partition: plan.at.partition,
                records: compared.records,
                written: written.get(&plan.at).copied().unwrap_or(0),
                lake: plan.span(),
                kafka: compared.held,
                offsets_kept: compared.offsets_kept,
                gaps: plan.gaps.clone(),
                inexact_objects: plan.inexact,
            });
        }
        self.observer.ends(Pass::Compare);
        Ok(report)
    }

    fn begins(&self, pass: Pass) {
        let objects = self.plans.iter().map(|plan| plan.objects.len() as u64).sum();
        self.observer
            .begins(pass, objects, self.plans.iter().map(PartitionPlan::bytes).sum());
    }

    fn source<'a>(&'a self, plan: &'a PartitionPlan) -> StreamSource<'a> {
        StreamSource {
            lake: &self.lake,
            plan,
            topic: &self.topic(plan.at).name,
            meaning: &*self.options.meaning,
            observer: &*self.observer,
            objects_in_flight: self.options.objects_in_flight,
        }
    }
}
