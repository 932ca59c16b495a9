//! The topic in which positions are kept: one partition, compacted, so that the last record of each key stays.
//!
//! Offsets of a consumer group would be the usual place, and Kafka forgets those of a group without members after seven
//! days (`offsets.retention.minutes`): a bridge that was stopped for a week would begin again.

use super::error::BridgeError;
use super::positions::Positions;
use ingest::Partition;
use ingest::kafka::{
    Cluster, KafkaConfig, KafkaError, Polled, Range, Reader, ReaderOptions, create_topic_with, topic_settings,
};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// How long a new topic may take until the broker that was asked knows it.
const APPEAR: Duration = Duration::from_secs(15);
/// How long the positions may take to be read.
const LOAD: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);
const ALONE: Partition = Partition(0);
const POLICY: &str = "cleanup.policy";
const COMPACT: &str = "compact";

/// The topic by its name, on a cluster.
pub(crate) struct PositionsTopic<'a> {
    pub(crate) kafka: &'a KafkaConfig,
    pub(crate) cluster: &'a Cluster,
    pub(crate) name: &'a str,
}

impl PositionsTopic<'_> {
    /// Creates the topic where it does not exist, and refuses one that would lose positions.
    pub(crate) async fn ensure(&self) -> Result<(), BridgeError> {
        match block_in_place(|| self.cluster.partitions(self.name))? {
            Some(partitions) if partitions.len() == 1 => {}
            Some(partitions) => {
                let held = partitions.len();
                return Err(self.unfit(format!("it has {held} partitions, and must have one")));
            }
            None => self.create().await?,
        }
        let names = [self.name.to_owned()];
        let settings = topic_settings(self.kafka, &names).await?.unwrap_or_default();
        match settings.get(self.name).and_then(|settings| settings.get(POLICY)) {
            Some(policy) if policy == COMPACT => {}
            Some(policy) => return Err(self.unfit(format!("its {POLICY} is {policy}, and must be {COMPACT}"))),
            None => tracing::info!(
                "the settings of topic {} may not be seen: its {POLICY} must be {COMPACT}",
                self.name
            ),
        }
        Ok(())
    }

    async fn create(&self) -> Result<(), BridgeError> {
        let created = create_topic_with(self.kafka, self.name, 1, &[(POLICY, COMPACT)]).await;
        let created = created.map_err(|error| {
            let error = causes::with_causes(&error);
            let how = format!("create it with one partition and {POLICY}={COMPACT}");
            self.unfit(format!("it does not exist and cannot be created, {how} ({error})"))
        })?;
        if created {
            tracing::info!("topic {} was created, for the positions", self.name);
        }
        let deadline = Instant::now() + APPEAR;
        while block_in_place(|| self.cluster.partitions(self.name))?.is_none() {
            if Instant::now() >= deadline {
                return Err(self.unfit("it was created and does not appear".to_owned()));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Reads the topic to its end, as a reader of committed records.
    pub(crate) async fn load(&self) -> Result<Positions, BridgeError> {
        let marks = block_in_place(|| self.cluster.watermarks(self.name, ALONE))?;
        let reader = Reader::start(self.kafka, ReaderOptions::default(), Arc::new(|| ()))?;
        reader.assign(Range {
            topic: 0,
            name: self.name.to_owned(),
            partition: ALONE,
            from: marks.low,
            until: Some(marks.high),
            after: None,
        });
        let (began, mut positions) = (Instant::now(), Positions::default());
        loop {
            match reader.try_next() {
                Some(Polled::Batch(batch)) => {
                    for (_, key, value) in batch.iter() {
                        positions.take(key, value).map_err(|reason| self.unfit(reason))?;
                    }
                }
                Some(Polled::Reached { .. }) => break,
                Some(Polled::Failed(error)) => return Err(error.into()),
                None if began.elapsed() >= LOAD => {
                    return Err(BridgeError::Kafka(KafkaError::Unreachable {
                        bootstrap: self.kafka.bootstrap.clone(),
                        waited: LOAD,
                        question: format!("the positions in topic {}", self.name),
                        detail: String::new(),
                    }));
                }
                None => tokio::time::sleep(PAUSE).await,
            }
        }
        // its end waits for its thread
        block_in_place(|| drop(reader));
        Ok(positions)
    }

    fn unfit(&self, reason: String) -> BridgeError {
        let topic = self.name.to_owned();
        BridgeError::PositionsTopic { topic, reason }
    }
}
