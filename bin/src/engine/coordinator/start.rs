//! A start, up to the first byte that is read: list the lake, take the fence, ask Kafka for its ends, find generations.

use super::Coordinator;
use crate::engine::EngineError;
use crate::engine::protocol::TopicPartition;
use ingest::kafka::{KafkaError, Watermarks};
use ingest::lake::{Object, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use tokio::task::JoinHandle;

/// What Kafka spans of each partition.
pub(super) type Ends = BTreeMap<TopicPartition, Range<i64>>;

impl Coordinator {
    pub(super) async fn list(&mut self) -> Result<(), EngineError> {
        let Some(lake) = &self.lake else { return Ok(()) };
        let names: Vec<String> = self
            .settings
            .topics
            .iter()
            .map(|name| name.clone().unwrap_or_default())
            .collect();
        let listing = lake.list(&names).await.map_err(EngineError::failed)?;
        let known: BTreeSet<String> = self.objects.iter().map(|object| object.key.clone()).collect();
        // legacy objects first: their number is their rank, and it shares bits with the records' indexes
        // a legacy object that a second look finds has no rank among those that were read: the next start takes it in
        let late = |object: &Object| !known.is_empty() && matches!(object.place, Place::Legacy);
        let fresh = |object: &Object| !known.contains(&object.key) && !late(object);
        let mut fresh: Vec<Object> = listing.objects.into_iter().filter(fresh).collect();
        fresh.sort_by_key(|object| !matches!(object.place, Place::Legacy));
        self.objects.extend(fresh);
        tracing::info!(objects = self.objects.len(), "listed the lake");
        Ok(())
    }

    pub(super) async fn claim(&mut self) -> Result<(), EngineError> {
        let (fence, recorded) = self.target.claim(&self.settings).await?;
        self.fence = fence;
        self.recorded = recorded;
        self.natural = self.recorded.natural.clone();
        Ok(())
    }

    /// What Kafka spans of each partition of our topics.
    pub(super) async fn ends(&self) -> Result<Ends, EngineError> {
        match self.ask_ends() {
            Some(asked) => asked.await.map_err(EngineError::failed)?.map_err(EngineError::failed),
            None => Ok(Ends::new()),
        }
    }

    /// Asks Kafka for the same on a thread of its own; `None` without Kafka.
    pub(super) fn ask_ends(&self) -> Option<JoinHandle<Result<Ends, KafkaError>>> {
        let cluster = self.cluster.clone()?;
        let topics = self.settings.topics.clone();
        Some(tokio::task::spawn_blocking(move || {
            let named = (0..).zip(&topics).filter_map(|(n, name)| Some((n, name.as_deref()?)));
            let named: Vec<(u8, &str)> = named.collect();
            let spans = cluster.spans(named.iter().copied())?;
            for (number, topic) in named {
                if !spans.keys().any(|(of, _)| *of == number) {
                    tracing::warn!(topic, "the topic does not exist in Kafka yet");
                }
            }
            let end = |((topic, partition), marks): (_, Watermarks)| {
                (TopicPartition { topic, partition }, marks.low..marks.stable)
            };
            Ok(spans.into_iter().map(end).collect())
        }))
    }

    /// Partitions that were added while nobody watched begin a new generation of their topic.
    pub(super) async fn find_generations(
        &mut self,
        ends: &BTreeMap<TopicPartition, Range<i64>>,
    ) -> Result<(), EngineError> {
        if let Some(lake) = &self.lake {
            let of_lake = crate::engine::generations::read(lake, &self.settings.topics).await;
            self.generations = of_lake.map_err(EngineError::failed)?;
        }
        // the tables know best: what they were made with stands
        self.generations.extend(self.recorded.generations.clone());
        for topic in 0..3u8 {
            let known: BTreeSet<i32> = self
                .recorded
                .partitions
                .keys()
                .filter(|at| at.topic == topic)
                .map(|at| at.partition)
                .collect();
            let added = ends
                .keys()
                .any(|at| at.topic == topic && !known.contains(&at.partition));
            if known.is_empty() || !added {
                continue;
            }
            let generation = self.next_generation(topic);
            for (at, span) in ends.iter().filter(|(at, _)| at.topic == topic) {
                let committed = self.recorded.partitions.get(at).map_or(0, |reach| reach.next);
                let start = if known.contains(&at.partition) {
                    span.end.max(committed)
                } else {
                    0
                };
                self.add_boundary(*at, generation, start);
            }
        }
        Ok(())
    }

    pub(super) fn add_boundary(&mut self, at: TopicPartition, generation: u8, start: i64) {
        let starts = self.generations.entry(at).or_default();
        if starts.is_empty() && start > 0 {
            starts.push((0, 1));
        }
        if starts.contains(&(start, generation)) {
            return;
        }
        starts.push((start, generation));
        self.fresh_boundaries = true;
        let topic = self.topic_name(at.topic).to_owned();
        tracing::info!(
            topic,
            partition = at.partition,
            generation,
            start,
            "a generation begins"
        );
    }
}
