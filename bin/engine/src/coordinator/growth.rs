//! Partitions and topics that came, went or were created again while the run lasts.
//!
//! A growth is persisted while no reader reads. The readers hold as soon as it is seen, also while a commit blocks: what
//! they read before it is persisted would belong to the older generation. They say how far they have read, the boundary
//! of each older partition is its high watermark when the growth was found and never less than what was read, the lake
//! takes it or holds an earlier one, and only then do the readers go on. So no record is placed before its generation
//! is known.

use super::flow::check_report;
use super::live::Open;
use super::phases::Live;
use crate::answer::OffsetRange;
use crate::boundaries;
use crate::collect::{ClosedEpoch, Event};
use crate::error::EngineError;
use crate::log::generations::Generations;
use crate::log::growth::{Change, PartitionWatermarks};
use crate::protocol::{Command, Consume, Purpose, ReaderReport};
use crate::watch;
use ingest::{Offset, Partition, TopicPartition};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long the first try to settle a boundary in the lake may take; each further one may take twice as long as the one
/// before, up to the longest: a boundary is three requests, one after the other.
const TRY: Duration = Duration::from_secs(5);
const LONGEST_TRY: Duration = Duration::from_secs(60);
/// Pause before a growth that the lake did not take is tried again.
pub(super) const PAUSE: Duration = Duration::from_secs(2);
/// Looks that have to agree before an end that fell, or a number of partitions, is believed: a broker that starts may not
/// know all at once.
pub(super) const LOOKS: u32 = 3;

impl Live<'_> {
    /// Deals with what has changed in Kafka. Says whether the open epoch has received a record meanwhile, and whether
    /// the process was asked to stop.
    pub(super) async fn take_changes(
        &mut self,
        changes: Vec<Change>,
        watermarks: &PartitionWatermarks,
    ) -> Result<Open, EngineError> {
        let mut open = Open::Idle;
        let mut doubtful = Vec::new();
        let mut growths = Vec::new();
        for change in changes {
            match change {
                Change::Grown { added, boundaries } => growths.push((added, boundaries)),
                Change::Appeared { topic } => {
                    tracing::info!(topic = self.run.topic_name(topic), "the topic exists");
                    doubtful.push(topic);
                    let partitions = watermarks.keys().filter(|at| at.topic == topic);
                    let count = partitions.map(|at| at.partition.0 + 1).max().unwrap_or(0);
                    self.answer.counts.entry(topic).or_insert(count);
                }
                Change::Shorter { at } => doubtful.push(at.topic),
                Change::Vanished { topic } => {
                    tracing::warn!(topic = self.run.topic_name(topic), "the topic does not exist any more");
                }
                Change::Fewer { topic, known, .. } => self.run.check_fewer(topic, known).await?,
            }
        }
        if !doubtful.is_empty() {
            self.check_doubtful(&doubtful).await?;
        }
        if !growths.is_empty() {
            open = self.settle_growths(&growths).await?;
        }
        let absent = self.run.absent_topics(&self.known, &self.answer, watermarks);
        self.missing.set(self.run, absent.required);
        self.follow_new(watermarks)?;
        Ok(open)
    }

    /// Compares what was read with topics that appeared or whose watermarks fell.
    async fn check_doubtful(&self, topics: &[u8]) -> Result<(), EngineError> {
        let Some(cluster) = &self.run.sources.cluster else {
            return Ok(());
        };
        for look in 1.. {
            let watermarks = watch::watermarks(cluster, &self.run.options.log.topics).await?;
            // a topic that is away again has nothing to compare with; it appears once more
            let there =
                |at: TopicPartition| topics.contains(&at.topic) && watermarks.keys().any(|end| end.topic == at.topic);
            match self.run.check_answer(&self.answer, &watermarks, there).await {
                Err(EngineError::TopicRemade { place, why }) if look < LOOKS => {
                    tracing::warn!(place, why, "the topic may have been created again, checking again");
                    tokio::time::sleep(PAUSE).await;
                }
                checked => return checked,
            }
        }
        Ok(())
    }

    /// Persists the boundaries of added partitions: all of them, or the run ends.
    async fn settle_growths(
        &mut self,
        growths: &[(TopicPartition, BTreeMap<Partition, Offset>)],
    ) -> Result<Open, EngineError> {
        let mut open = Open::Idle;
        let mut try_timeout = TRY;
        loop {
            self.run.flow.hold();
            let (places, seen) = self.places().await?;
            open = if seen == Open::Idle { open } else { seen };
            let mut grown = self.answer.generations.clone();
            for (added, highs) in growths {
                let read = |partition: Partition| {
                    let topic = added.topic;
                    places.get(&TopicPartition { topic, partition }).copied()
                };
                let boundary = |(partition, high): (&Partition, &Offset)| {
                    (*partition, read(*partition).unwrap_or_default().max(*high))
                };
                self.run
                    .begin_generation(&mut grown, *added, &highs.iter().map(boundary).collect())?;
            }
            let persisted = match &self.run.sources.lake {
                None => Some(Ok(grown)),
                Some(lake) => {
                    let settling = boundaries::settle(lake, &self.run.options.log.topics, &grown);
                    tokio::time::timeout(try_timeout, settling).await.ok()
                }
            };
            match persisted {
                Some(Ok(persisted)) => {
                    self.take_generations(persisted, &places)?;
                    for (added, _) in growths {
                        let count = self.answer.counts.entry(added.topic).or_default();
                        *count = (added.partition.0 + 1).max(*count);
                        // everything of it is wanted
                        self.answer.frontier.entry(*added).or_default();
                    }
                    return Ok(open);
                }
                Some(Err(error)) => return Err(error),
                None => {
                    tracing::warn!("cannot write the boundary of a generation to the lake: reading is paused, retrying")
                }
            }
            // the readers hold on: what they read before the boundary is persisted would be of the older generation
            if open == Open::Last {
                return Ok(open);
            }
            tokio::time::sleep(PAUSE).await;
            try_timeout = LONGEST_TRY.min(try_timeout * 2);
        }
    }

    /// Where every reader holds.
    async fn places(&mut self) -> Result<(BTreeMap<TopicPartition, Offset>, Open), EngineError> {
        let mut open = Open::Idle;
        loop {
            if let Some(places) = self.run.flow.held() {
                return Ok((places.clone(), open));
            }
            match self.run.flow.event().await? {
                Event::Report(epoch, ReaderReport::Data) if epoch == self.run.flow.epoch() => open = Open::Data,
                Event::Report(_, ReaderReport::Stop) => open = Open::Last,
                Event::Report(_, report) => drop(check_report(report)?),
                Event::Closed(ClosedEpoch { epoch, .. }) => return Err(EngineError::EpochOrder { epoch }),
            }
        }
    }

    /// Places what is read from now on by these generations, unless they concern what was read already.
    fn take_generations(
        &mut self,
        persisted: Generations,
        places: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<(), EngineError> {
        for (at, next) in places {
            if persisted.differs_below(&self.answer.generations, *at, *next) {
                let place = self.run.place(*at);
                return Err(EngineError::BoundaryPassed { place });
            }
        }
        self.answer.generations = persisted.clone();
        self.run.flow.broadcast(Command::Resume(persisted));
        Ok(())
    }

    /// Reads the partitions that are new, from where the answer reaches.
    fn follow_new(&mut self, watermarks: &PartitionWatermarks) -> Result<(), EngineError> {
        for (at, marks) in watermarks {
            // one that was added after the changes that were taken in waits for its generation
            let persisted = self
                .answer
                .counts
                .get(&at.topic)
                .is_none_or(|count| at.partition.0 < *count);
            if self.partitions.contains(at) || !persisted {
                continue;
            }
            let reach = self.answer.frontier.get(at).copied();
            let from = reach.map_or(marks.low, |reach| reach.next);
            if from < marks.low {
                let (count, first) = (1, self.run.gap(*at, &(from..marks.low)));
                eprintln!("{first}");
                return Err(EngineError::Gaps { count, first });
            }
            tracing::info!(
                topic = self.run.topic_name(at.topic),
                partition = at.partition.0,
                "found a new partition"
            );
            let first = from;
            self.partitions.insert(*at);
            self.answer.frontier.entry(*at).or_insert(OffsetRange {
                first,
                next: from,
                last: None,
            });
            self.run.flow.consume(Consume {
                at: *at,
                from,
                until: None,
                bound: from,
                purpose: Purpose::Take,
                after: reach.and_then(|reach| reach.last),
            });
        }
        Ok(())
    }
}
