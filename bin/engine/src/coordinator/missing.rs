//! Topics that do not exist: those that have to stop a backfill, and a run is not ready without them.

use super::lake_read::LakeRead;
use super::run::Run;
use crate::answer::Answer;
use crate::error::{EngineError, TopicMissing, panicked};
use crate::log::growth::PartitionWatermarks;
use crate::recorded::Recorded;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names that are shown beside one that does not exist.
const NEAREST: usize = 3;

/// Topics that exist whether Kafka has them or not.
pub(super) struct KnownTopics {
    /// Those of the lake's objects; none for an object that is in no topic's folder.
    lake: BTreeSet<Option<u8>>,
    /// Those that the tables answered for when the run began.
    tables: BTreeSet<u8>,
}

impl KnownTopics {
    /// The topics of the lake and of the tables.
    pub(super) fn of(read: &LakeRead, recorded: &Recorded) -> KnownTopics {
        KnownTopics {
            lake: read.objects().iter().map(|object| object.topic).collect(),
            tables: recorded.partitions.keys().map(|at| at.topic).collect(),
        }
    }
}

/// Topics that have to exist and do not: the run is not ready.
pub(super) struct MissingTopics {
    /// Their numbers.
    pub(super) required: Vec<u8>,
    /// Names that exist and look like theirs.
    nearest: Vec<String>,
}

impl MissingTopics {
    /// What is to be said of them, if there are any.
    pub(super) fn error(&self, run: &Run) -> Option<TopicMissing> {
        (!self.required.is_empty()).then(|| TopicMissing {
            missing: run.names(&self.required),
            nearest: self.nearest.clone(),
            places: match (&run.sources.lake, &run.sources.cluster) {
                (Some(_), Some(_)) => "the lake and Kafka",
                (Some(_), None) => "the lake",
                _ => "Kafka",
            },
        })
    }

    /// These are missing now.
    pub(super) fn set(&mut self, run: &Run, required: Vec<u8>) {
        run.process.observer.absent(required.len());
        self.required = required;
    }
}

/// Topics that do not exist.
pub(super) struct AbsentTopics {
    /// All of them.
    all: Vec<u8>,
    /// Those that have to exist: they were named, or nothing else is there.
    pub(super) required: Vec<u8>,
}

impl Run {
    /// Looks for all topics at the start.
    pub(super) async fn find_missing_topics(
        &self,
        known: &KnownTopics,
        answer: &Answer,
        read: &LakeRead,
        watermarks: &PartitionWatermarks,
    ) -> Result<MissingTopics, EngineError> {
        let AbsentTopics { all, required } = self.absent_topics(known, answer, watermarks);
        let others = all.iter().filter(|topic| !required.contains(topic));
        let others: Vec<&str> = others.map(|topic| self.topic_name(*topic)).collect();
        let nearest = match required.as_slice() {
            [] => Vec::new(),
            required => self.nearest(required, read).await?,
        };
        if !others.is_empty() {
            tracing::info!(topics = others.join(", "), "topics that do not exist (yet)");
        }
        let missing = MissingTopics { required, nearest };
        match missing.error(self) {
            Some(error) if self.options.is_backfill() => return Err(EngineError::TopicMissing(error)),
            Some(error) => tracing::warn!("{error}"),
            None => {}
        }
        self.process.observer.absent(missing.required.len());
        Ok(missing)
    }

    /// The topics that neither Kafka nor lake, tables or answer have.
    pub(super) fn absent_topics(
        &self,
        known: &KnownTopics,
        answer: &Answer,
        watermarks: &PartitionWatermarks,
    ) -> AbsentTopics {
        let is_there = |topic: u8| {
            let of_kafka = watermarks.keys().any(|at| at.topic == topic);
            let of_answer = answer.frontier.keys().any(|at| at.topic == topic);
            known.lake.contains(&Some(topic)) || of_kafka || known.tables.contains(&topic) || of_answer
        };
        let given = self.options.log.topics.named();
        let (there, all): (Vec<u8>, Vec<u8>) = given.map(|(topic, _)| topic).partition(|topic| is_there(*topic));
        // objects in no topic's folder may hold records of every kind
        let nothing = there.is_empty() && !known.lake.contains(&None);
        let has_to_exist = |topic: &u8| nothing || self.options.topics_named[usize::from(*topic)];
        let required = if self.options.allow_missing_topic {
            Vec::new()
        } else {
            all.iter().copied().filter(has_to_exist).collect()
        };
        AbsentTopics { all, required }
    }

    fn names(&self, topics: &[u8]) -> Vec<String> {
        topics.iter().map(|topic| self.topic_name(*topic).to_owned()).collect()
    }

    /// Existing names that look like the missing ones.
    async fn nearest(&self, missing: &[u8], read: &LakeRead) -> Result<Vec<String>, EngineError> {
        let missing = self.names(missing);
        let mut exist = read.other_topics.clone();
        if let Some(cluster) = self.sources.cluster.as_ref().map(Arc::clone) {
            let asked = tokio::task::spawn_blocking(move || cluster.topics());
            let asked = async { Ok(asked.await.map_err(panicked("asking Kafka for its topics"))??) };
            exist.extend(self.process.unless_stopped(asked).await?);
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
