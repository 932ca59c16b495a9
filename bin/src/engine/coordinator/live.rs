//! The closed loop after history: an epoch closes when the last one is committed and something has arrived.

use super::start::Ends;
use super::{Coordinator, Reach};
use crate::engine::collect::Event;
use crate::engine::plan::Plan;
use crate::engine::protocol::{Command, Consume, Note, TopicPartition};
use crate::engine::{EngineError, Outcome};
use ingest::kafka::KafkaError;
use std::time::{Duration, Instant};

/// An idle run commits an empty epoch this often: it is the fence's heartbeat.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often Kafka is asked for new partitions and for its ends, to a heartbeat.
const METADATA: Duration = Duration::from_secs(5);
/// A live step that takes longer is worth a line for those who look for it.
const SLOW: Duration = Duration::from_millis(50);
/// How often the group's offsets are committed to Kafka.
const ADVICE: Duration = Duration::from_secs(1);

impl Coordinator {
    pub(super) async fn follow(&mut self) -> Result<Outcome, EngineError> {
        let mut heartbeat = Instant::now() + HEARTBEAT;
        // Kafka is asked beside the loop: its answer may take a while, and commits must not wait for it
        let (mut look, mut asked) = (Instant::now(), None);
        let mut advise = Instant::now();
        // whether the open epoch holds a record
        let mut data = false;
        let mut stopping = false;
        loop {
            if asked.is_none() && Instant::now() >= look {
                asked = self.ask_ends();
                look = Instant::now() + METADATA;
            }
            if let Some(finished) = asked.take_if(|asked| asked.is_finished()) {
                self.watch_kafka(finished.await.map_err(EngineError::failed)?);
            }
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
                    () = tokio::time::sleep_until(heartbeat.into()) => {}
                }
                if !data && !stopping && Instant::now() < heartbeat {
                    continue;
                }
            }
            let began = Instant::now();
            let (closed, more, stop) = self.close_live().await?;
            stopping |= stop;
            let closing = began.elapsed();
            self.commit(&closed, None).await?;
            if began.elapsed() > SLOW {
                let committing = began.elapsed() - closing;
                tracing::debug!(epoch = closed.epoch, ?closing, ?committing, "a slow step");
            }
            data = more;
            heartbeat = Instant::now() + HEARTBEAT;
            if stopping || Instant::now() >= advise {
                self.advise_kafka();
                advise = Instant::now() + ADVICE;
            }
            if stopping {
                return Ok(Outcome::Stopped);
            }
        }
    }

    /// Takes in where Kafka ends: how far behind we are, and new partitions.
    fn watch_kafka(&mut self, ends: Result<Ends, KafkaError>) {
        let ends = match ends {
            Ok(ends) => ends,
            Err(error) => {
                tracing::warn!(%error, "Kafka does not answer");
                return;
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
    }
}
