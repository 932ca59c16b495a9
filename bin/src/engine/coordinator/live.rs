//! The closed loop after history: an epoch closes when the last one is committed and something has arrived.

use super::{Coordinator, Reach};
use crate::engine::collect::Event;
use crate::engine::plan::Plan;
use crate::engine::protocol::{Command, Consume, Note, TopicPartition};
use crate::engine::{EngineError, Outcome};
use std::time::{Duration, Instant};

/// An idle run commits an empty epoch this often: it is the fence's heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often Kafka is asked for new partitions and for its ends.
const METADATA: Duration = Duration::from_secs(5);

impl Coordinator {
    pub(super) async fn follow(&mut self) -> Result<Outcome, EngineError> {
        let mut heartbeat = Instant::now() + HEARTBEAT;
        let mut metadata = tokio::time::interval(METADATA);
        metadata.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        // whether the open epoch holds a record
        let mut data = false;
        let mut stopping = false;
        loop {
            if !data && !stopping {
                tokio::select! {
                    event = self.events.recv() => match event.ok_or(EngineError::Gone)? {
                        Event::Note(epoch, Note::Data) if epoch == self.epoch => data = true,
                        Event::Note(_, Note::Stop) => stopping = true,
                        Event::Note(_, other) => self.unexpected(other)?,
                        Event::Closed(closed) => return Err(EngineError::failed(format!(
                            "epoch {} closed by itself", closed.epoch
                        ))),
                    },
                    _ = tokio::time::sleep_until(heartbeat.into()) => {}
                    _ = metadata.tick() => { self.watch_kafka().await?; continue }
                }
                if !data && !stopping && Instant::now() < heartbeat {
                    continue;
                }
            }
            let (closed, more, stop) = self.close_live().await?;
            stopping |= stop;
            self.commit(&closed, None).await?;
            data = more;
            heartbeat = Instant::now() + HEARTBEAT;
            if stopping {
                return Ok(Outcome::Stopped);
            }
        }
    }

    /// Looks for new partitions and how far behind we are.
    async fn watch_kafka(&mut self) -> Result<(), EngineError> {
        let ends = match self.ends().await {
            Ok(ends) => ends,
            Err(error) => {
                tracing::warn!(%error, "Kafka does not answer");
                return Ok(());
            }
        };
        for (at, span) in &ends {
            let next = self.frontier.get(at).map_or(span.start, |reach| reach.next);
            let topic = self.topic_name(at.topic).to_owned();
            self.process
                .observer
                .lag(&topic, at.partition, (span.end - next).max(0));
        }
        let added: Vec<TopicPartition> = ends.keys().filter(|at| !self.live.contains(at)).copied().collect();
        for topic in 0..3u8 {
            let added: Vec<TopicPartition> = added.iter().filter(|at| at.topic == topic).copied().collect();
            if added.is_empty() {
                continue;
            }
            if self.live.iter().any(|at| at.topic == topic) {
                let generation = self.next_generation(topic);
                self.planner.send(Plan::All(Command::Generation(topic, generation)));
            }
            for at in added {
                let low = ends[&at].start;
                tracing::info!(
                    topic = self.topic_name(topic),
                    partition = at.partition,
                    "found a new partition"
                );
                self.live.insert(at);
                self.frontier.entry(at).or_insert(Reach { first: low, next: low });
                let range = Consume {
                    at,
                    from: low,
                    until: None,
                    bound: low,
                    probe: false,
                };
                self.planner
                    .send(Plan::To(self.owner(at), Command::Consume(vec![range])));
            }
        }
        Ok(())
    }
}
