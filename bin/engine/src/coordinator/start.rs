//! A start, up to the first byte that is read: list the lake, take the fence, look at Kafka, settle generations.

use super::state::Coordinator;
use crate::error::{EngineError, TopicMissing, panicked};
use crate::log::generations::Generations;
use crate::log::growth::{Change, PartitionWatermarks, Seen};
use crate::topic_partition::TopicPartition;
use crate::{boundaries, watch};
use ingest::lake::Listing;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names that are shown beside one that does not exist.
const NEAREST: usize = 3;

impl Coordinator {
    /// Lists the lake.
    pub(super) async fn list(&mut self) -> Result<(), EngineError> {
        if let Some(listing) = self.listing().await? {
            self.read.other_topics = listing.other_topics;
            self.read.begin(listing.objects);
            tracing::info!(objects = self.read.objects().len(), "listed the lake");
        }
        Ok(())
    }

    pub(super) async fn listing(&self) -> Result<Option<Listing>, EngineError> {
        let Some(lake) = &self.sources.lake else {
            return Ok(None);
        };
        let names = self.options.log.topics.to_list();
        let listing = async { Ok(lake.list(&names).await?) };
        Self::unless_stopped(&self.process, listing).await.map(Some)
    }

    /// Takes the fence, and reads what the tables answer for under it.
    pub(super) async fn claim(&mut self) -> Result<(), EngineError> {
        let process = Arc::clone(&self.process);
        let claimed = self.target.claim(&self.options);
        self.recorded = Self::unless_stopped(&process, claimed).await?;
        self.answer.natural = self.recorded.natural.clone();
        if let Some((fence, commit)) = self.target.claimed() {
            process.observer.claimed(fence, commit);
        }
        for (at, reach) in &self.recorded.partitions {
            process
                .observer
                .frontier(self.topic_name(at.topic), at.partition, reach.shown());
        }
        Ok(())
    }

    /// Looks at Kafka for the first time. What is found now is what epoch 0 reaches over; what changes after it is
    /// growth.
    pub(super) async fn first_look(&mut self) -> Result<(Seen, PartitionWatermarks), EngineError> {
        let mut seen = Seen::recorded(self.recorded.counts.clone());
        let mut grown = self.recorded.generations.clone();
        let mut watermarks = PartitionWatermarks::new();
        if let Some(cluster) = self.sources.cluster.clone() {
            let process = Arc::clone(&self.process);
            watermarks = Self::unless_stopped(&process, watch::watermarks(&cluster, &self.options.log.topics)).await?;
            watch::show(&*self.process.observer, &self.options.log.topics, &watermarks);
            for change in seen.look(watermarks.clone()) {
                match change {
                    Change::Grown { added, mut boundaries } => {
                        for (partition, boundary) in &mut boundaries {
                            let (topic, partition) = (added.topic, *partition);
                            let reach = self.recorded.partitions.get(&TopicPartition { topic, partition });
                            *boundary = reach.map_or(*boundary, |reach| reach.next.max(*boundary));
                        }
                        self.begin_generation(&mut grown, added, &boundaries)?;
                    }
                    Change::Fewer { topic, known, found } => return Err(self.fewer(topic, known, found)),
                    // every topic appears at the first look
                    Change::Appeared { .. } | Change::Vanished { .. } | Change::Shorter { .. } => {}
                }
            }
        }
        self.answer.counts = seen.counts().clone();
        // the partitions of a topic that was created again are no growth, and no boundary of them may reach the lake
        self.check_recorded(&watermarks, |_| true).await?;
        let process = Arc::clone(&self.process);
        let lake = self.sources.lake.clone();
        let persisted = async {
            match lake {
                Some(lake) => boundaries::settle(&lake, &self.options.log.topics, &grown).await,
                None => Ok(grown),
            }
        };
        self.answer.generations = Self::unless_stopped(&process, persisted).await?;
        Ok((seen, watermarks))
    }

    /// Adds the generation of a partition that was added, unless it is known.
    pub(super) fn begin_generation(
        &self,
        generations: &mut Generations,
        added: TopicPartition,
        boundaries: &std::collections::BTreeMap<i32, i64>,
    ) -> Result<(), EngineError> {
        if generations.knows(added) {
            return Ok(());
        }
        let topic = self.topic_name(added.topic);
        let begun = generations.begin(added, boundaries);
        let generation = begun.map_err(|source| EngineError::Generations {
            topic: topic.to_owned(),
            source,
        })?;
        let partition = added.partition;
        tracing::info!(
            topic,
            partition,
            generation,
            "a partition was added: a generation begins"
        );
        Ok(())
    }

    pub(super) fn fewer(&self, topic: u8, known: i32, found: i32) -> EngineError {
        EngineError::TopicRemade {
            place: self.topic_name(topic).to_owned(),
            why: format!("it has {found} partitions, and had {known}"),
        }
    }

    /// Whether a partition has grown since the tables were made: then everything of it is wanted.
    pub(super) fn is_added(&self, at: TopicPartition) -> bool {
        let counted = self.recorded.counts.get(&at.topic);
        counted.is_some_and(|count| at.partition >= *count)
    }

    /// Topics that do not exist: those that were named stop a backfill, and a run is not ready without them.
    pub(super) async fn find_missing_topics(&mut self, watermarks: &PartitionWatermarks) -> Result<(), EngineError> {
        let missing = self.missing_topics(watermarks);
        if !missing.missing_required.is_empty() {
            self.nearest = self.nearest(&missing.missing_required).await?;
        }
        let others = missing
            .absent
            .iter()
            .filter(|topic| !missing.missing_required.contains(topic));
        let others: Vec<&str> = others.map(|topic| self.topic_name(*topic)).collect();
        if !others.is_empty() {
            tracing::info!(topics = others.join(", "), "topics that do not exist (yet)");
        }
        match self.missing_topics_error(&missing.missing_required) {
            Some(error) if self.options.is_backfill() => return Err(EngineError::TopicMissing(error)),
            Some(error) => tracing::warn!("{error}"),
            None => {}
        }
        self.set_missing_required(missing.missing_required);
        Ok(())
    }

    /// The topics that a run waits for.
    pub(super) fn set_missing_required(&mut self, topics: Vec<u8>) {
        self.process.observer.absent(topics.len());
        self.missing_required = topics;
    }

    /// What is to be said of topics that have to exist and do not.
    pub(super) fn missing_topics_error(&self, missing_required: &[u8]) -> Option<TopicMissing> {
        (!missing_required.is_empty()).then(|| TopicMissing {
            missing: self.names(missing_required),
            nearest: self.nearest.clone(),
            places: match (&self.sources.lake, &self.sources.cluster) {
                (Some(_), Some(_)) => "the lake and Kafka",
                (Some(_), None) => "the lake",
                _ => "Kafka",
            },
        })
    }

    fn names(&self, topics: &[u8]) -> Vec<String> {
        topics.iter().map(|topic| self.topic_name(*topic).to_owned()).collect()
    }

    pub(super) fn missing_topics(&self, watermarks: &PartitionWatermarks) -> MissingTopics {
        let of_lake: BTreeSet<Option<u8>> = self.read.objects().iter().map(|object| object.topic).collect();
        let is_there = |topic: u8| {
            let of_kafka = watermarks.keys().any(|at| at.topic == topic);
            let known = self.recorded.partitions.keys().chain(self.answer.frontier.keys());
            of_lake.contains(&Some(topic)) || of_kafka || known.into_iter().any(|at| at.topic == topic)
        };
        let given = self.options.log.topics.named();
        let (there, absent): (Vec<u8>, Vec<u8>) = given.map(|(topic, _)| topic).partition(|topic| is_there(*topic));
        // objects in no topic's folder may hold records of every kind
        let nothing = there.is_empty() && !of_lake.contains(&None);
        let has_to_exist = |topic: &u8| nothing || self.options.topics_named[usize::from(*topic)];
        let missing_required = if self.options.allow_missing_topic {
            Vec::new()
        } else {
            absent.iter().copied().filter(has_to_exist).collect()
        };
        MissingTopics {
            absent,
            missing_required,
        }
    }

    /// Existing names that look like the missing ones.
    async fn nearest(&self, missing: &[u8]) -> Result<Vec<String>, EngineError> {
        let missing = self.names(missing);
        let mut exist = self.read.other_topics.clone();
        if let Some(cluster) = self.sources.cluster.clone() {
            let asked = tokio::task::spawn_blocking(move || cluster.topics());
            let asked = async { Ok(asked.await.map_err(panicked("asking Kafka for its topics"))??) };
            exist.extend(Self::unless_stopped(&self.process, asked).await?);
        }
        exist.retain(|name| self.options.log.topics.number(name).is_none());
        let distance = |name: &String| {
            let distances = missing.iter().map(|missing| strsim::osa_distance(missing, name));
            distances.min().unwrap_or(usize::MAX)
        };
        exist.sort_by_cached_key(|name| (distance(name), name.clone()));
        exist.dedup();
        exist.truncate(NEAREST);
        Ok(exist)
    }
}

/// Topics that do not exist.
pub(super) struct MissingTopics {
    /// All of them.
    absent: Vec<u8>,
    /// Those that have to exist: they were named, or nothing else is there.
    pub missing_required: Vec<u8>,
}
