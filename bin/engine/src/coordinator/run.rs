//! What every phase of a run has.

use super::flow::Flow;
use crate::answer::Answer;
use crate::error::EngineError;
use crate::options::Options;
use crate::process::ProcessState;
use crate::report::{Report, Totals};
use crate::target::Target;
use ingest::coverage::Gap;
use ingest::kafka::{Cluster, compaction};
use ingest::lake::Lake;
use ingest::{Offset, TopicPartition};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

/// Where the log comes from.
pub struct Sources {
    /// History, if there is a lake.
    pub lake: Option<Lake>,
    /// Kafka, if there is one.
    pub cluster: Option<Arc<Cluster>>,
}

/// See the module's head. What is known only from a phase on is in [`super::phases`].
pub struct Run {
    pub(super) options: Arc<Options>,
    pub(super) sources: Sources,
    pub(super) target: Target,
    pub(super) flow: Flow,
    pub(super) process: Arc<ProcessState>,
    pub(super) totals: Totals,
    pub(super) began: Instant,
    /// Which topics Kafka compacts and which it does not, if it gave an answer; nothing before it was asked.
    compacted: Option<Option<BTreeMap<String, bool>>>,
}

impl Run {
    /// A run of which nothing has been done yet.
    pub fn new(options: Arc<Options>, sources: Sources, target: Target, flow: Flow, process: Arc<ProcessState>) -> Run {
        Run {
            options,
            sources,
            target,
            flow,
            process,
            totals: Totals::default(),
            began: Instant::now(),
            compacted: None,
        }
    }

    /// Whether Kafka compacts a topic; none without Kafka, and where it gives no answer. One whose settings this
    /// user may not read is taken for one that is not compacted.
    pub(super) async fn is_compacted(&mut self, topic: u8) -> Result<Option<bool>, EngineError> {
        let Some(kafka) = &self.options.log.kafka else {
            return Ok(None);
        };
        if self.compacted.is_none() {
            let names = self.options.log.topics.named();
            let names: Vec<String> = names.map(|(_, name)| name.to_owned()).collect();
            let asked = async { Ok(compaction(&kafka.config, &names).await) };
            let known = self.process.unless_stopped(asked).await?;
            if let Err(error) = &known {
                tracing::warn!(error = %causes::with_causes(error), "whether Kafka compacts topics is not known");
            }
            self.compacted = Some(known.ok());
        }
        let name = self.options.log.topics.name(topic);
        let known = self.compacted.as_ref().and_then(Option::as_ref);
        Ok(known.map(|known| known.get(name).copied().unwrap_or(false)))
    }

    /// What is left of the run after its last commit.
    pub(super) fn report(&self, answer: &Answer) -> Report {
        let mut report = Report {
            totals: self.totals.clone(),
            ..Report::default()
        };
        for (at, reach) in &answer.frontier {
            let partitions = report.frontier.entry(self.topic_name(at.topic).to_owned()).or_default();
            partitions.insert(at.partition, reach.next);
        }
        report
    }

    /// The name of a topic that records have come from.
    pub(super) fn topic_name(&self, topic: u8) -> &str {
        self.options.log.topics.name(topic)
    }

    /// `topic/partition`.
    pub(super) fn place(&self, at: TopicPartition) -> String {
        format!("{}/{}", self.topic_name(at.topic), at.partition)
    }

    /// A range of offsets that is missing.
    pub(super) fn gap(&self, at: TopicPartition, range: &Range<Offset>) -> Gap {
        Gap {
            topic: self.topic_name(at.topic).to_owned(),
            partition: at.partition,
            from: range.start,
            to: range.end,
        }
    }
}
