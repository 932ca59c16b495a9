//! A start, up to the first byte that is read: list the lake, take the fence, look at Kafka, settle generations.

use super::growth::{LOOKS, PAUSE};
use super::lake_read::LakeRead;
use super::missing::KnownTopics;
use super::phases::{Claimed, Listed, Surveyed};
use super::run::Run;
use crate::answer::Answer;
use crate::error::EngineError;
use crate::log::generations::Generations;
use crate::log::growth::{Change, PartitionWatermarks, Seen, partitions};
use crate::recorded::Recorded;
use crate::watch::Watch;
use crate::{boundaries, watch};
use ingest::lake::Listing;
use ingest::{Offset, Partition, TopicPartition};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often Kafka's partitions are looked at.
const METADATA: Duration = Duration::from_secs(5);

impl<'a> Listed<'a> {
    /// Lists the lake.
    pub(super) async fn list(run: &'a mut Run) -> Result<Listed<'a>, EngineError> {
        let read = match run.listing().await? {
            Some(listing) => {
                let read = LakeRead::of(listing);
                tracing::info!(objects = read.objects().len(), "listed the lake");
                read
            }
            None => LakeRead::default(),
        };
        Ok(Listed { run, read })
    }

    /// Takes the fence, and reads what the tables answer for under it.
    pub(super) async fn claim(self) -> Result<Claimed<'a>, EngineError> {
        let Listed { run, read } = self;
        let claimed = run.target.claim(&run.options);
        let recorded = run.process.unless_stopped(claimed).await?;
        if let Some((fence, commit)) = run.target.claimed() {
            run.process.observer.claimed(fence, commit);
        }
        for (at, reach) in &recorded.partitions {
            let topic = run.topic_name(at.topic);
            run.process.observer.frontier(topic, at.partition, reach.shown());
        }
        Ok(Claimed { run, read, recorded })
    }
}

impl<'a> Claimed<'a> {
    /// Looks at Kafka for the first time.
    pub(super) async fn survey(self) -> Result<Surveyed<'a>, EngineError> {
        let Claimed { run, read, recorded } = self;
        let (seen, watermarks, grown) = run.first_look(&recorded).await?;
        // the partitions of a topic that was created again are no growth, and no boundary of them may reach the lake
        run.check_recorded(&recorded, &watermarks).await?;
        let settled = async {
            match &run.sources.lake {
                Some(lake) => boundaries::settle(lake, &run.options.log.topics, &grown).await,
                None => Ok(grown),
            }
        };
        let generations = run.process.unless_stopped(settled).await?;
        // what is placed by its holes needs them no more, and whatever else may be there does
        let natural = recorded.partitions.keys().map(|at| (*at, recorded.empty(*at)));
        let natural = natural.collect();
        let answer = Answer::new(natural, seen.counts().clone(), generations);
        let known = KnownTopics::of(&read, &recorded);
        let missing = run.find_missing_topics(&known, &answer, &read, &watermarks).await?;
        let watch = run.watch(seen);
        Ok(Surveyed {
            run,
            read,
            recorded,
            answer,
            watermarks,
            missing,
            watch,
        })
    }
}

impl Run {
    pub(super) async fn listing(&self) -> Result<Option<Listing>, EngineError> {
        let Some(lake) = &self.sources.lake else {
            return Ok(None);
        };
        let names = self.options.log.topics.to_list();
        let listing = async { Ok(lake.list(&names).await?) };
        self.process.unless_stopped(listing).await.map(Some)
    }

    /// What Kafka holds, and the generations of what has grown since the last commit.
    async fn first_look(&self, recorded: &Recorded) -> Result<(Seen, PartitionWatermarks, Generations), EngineError> {
        let mut grown = recorded.generations.clone();
        let Some(cluster) = &self.sources.cluster else {
            return Ok((
                Seen::recorded(recorded.counts.clone()),
                PartitionWatermarks::new(),
                grown,
            ));
        };
        let (seen, watermarks, changes) = loop {
            let mut seen = Seen::recorded(recorded.counts.clone());
            let looked = watch::watermarks(cluster, &self.options.log.topics);
            let watermarks = self.process.unless_stopped(looked).await?;
            watch::show(&*self.process.observer, &self.options.log.topics, &watermarks);
            let changes = seen.look(watermarks.clone());
            let fewer = changes.iter().find_map(|change| match change {
                Change::Fewer { topic, known, .. } => Some((*topic, *known)),
                _ => None,
            });
            let Some((topic, known)) = fewer else {
                break (seen, watermarks, changes);
            };
            self.process.unless_stopped(self.check_fewer(topic, known)).await?;
        };
        for change in changes {
            if let Change::Grown { added, mut boundaries } = change {
                for (partition, boundary) in &mut boundaries {
                    let (topic, partition) = (added.topic, *partition);
                    let reach = recorded.partitions.get(&TopicPartition { topic, partition });
                    *boundary = reach.map_or(*boundary, |reach| reach.next.max(*boundary));
                }
                self.begin_generation(&mut grown, added, &boundaries)?;
            }
        }
        Ok((seen, watermarks, grown))
    }

    /// Adds the generation of a partition that was added, unless it is known.
    pub(super) fn begin_generation(
        &self,
        generations: &mut Generations,
        added: TopicPartition,
        boundaries: &BTreeMap<Partition, Offset>,
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
        let partition = added.partition.0;
        tracing::info!(
            topic,
            partition,
            generation,
            "a partition was added: a generation begins"
        );
        Ok(())
    }

    /// A topic that seems to have fewer partitions than it had was created again, unless the next looks find them: a
    /// broker that lags behind may not know those that were added.
    pub(super) async fn check_fewer(&self, topic: u8, known: i32) -> Result<(), EngineError> {
        let Some(cluster) = &self.sources.cluster else {
            return Ok(());
        };
        for look in 1.. {
            let watermarks = watch::watermarks(cluster, &self.options.log.topics).await?;
            let found = partitions(&watermarks, topic);
            if found == 0 || found >= known {
                return Ok(());
            }
            let remade = EngineError::TopicRemade {
                place: self.topic_name(topic).to_owned(),
                why: format!("it has {found} partitions, and had {known}"),
            };
            if look >= LOOKS {
                return Err(remade);
            }
            tracing::warn!("{}, checking again", causes::with_causes(&remade));
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    fn watch(&self, seen: Seen) -> Option<Watch> {
        let cluster = self.sources.cluster.as_ref().filter(|_| !self.options.is_backfill())?;
        let topics = self.options.log.topics.clone();
        let observer = Arc::clone(&self.process.observer);
        Some(Watch::start(Arc::clone(cluster), topics, seen, METADATA, observer))
    }
}
