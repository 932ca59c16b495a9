//! What the coordinator knows, and what all phases of a run ask of it.

use super::flow::Flow;
use super::lake_read::LakeRead;
use crate::answer::Answer;
use crate::error::EngineError;
use crate::options::Options;
use crate::process::ProcessState;
use crate::recorded::Recorded;
use crate::report::{Report, Totals};
use crate::target::Target;
use crate::topic_partition::TopicPartition;
use ingest::coverage::Gap;
use ingest::kafka::Cluster;
use ingest::lake::Lake;
use std::collections::BTreeSet;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the log comes from.
pub struct Sources {
    /// History, if there is a lake.
    pub lake: Option<Lake>,
    /// Kafka, if there is one.
    pub cluster: Option<Arc<Cluster>>,
}

/// The one place that decides what is read, when an epoch closes, and what is committed.
pub struct Coordinator {
    pub(super) options: Arc<Options>,
    pub(super) sources: Sources,
    pub(super) target: Target,
    pub(super) flow: Flow,
    pub(super) process: Arc<ProcessState>,
    /// What the tables answered for when the run began.
    pub(super) recorded: Recorded,
    /// What this run has read of the lake.
    pub(super) read: LakeRead,
    /// What the next commit answers for.
    pub(super) answer: Answer,
    /// The partitions that are read without an end.
    pub(super) live: BTreeSet<TopicPartition>,
    /// Topics that have to exist and do not: the run is not ready.
    pub(super) missing_required: Vec<u8>,
    /// Names that exist and look like theirs.
    pub(super) nearest: Vec<String>,
    pub(super) totals: Totals,
    pub(super) began: Instant,
}

impl Coordinator {
    /// A coordinator that has done nothing yet.
    pub fn new(
        options: Arc<Options>,
        sources: Sources,
        target: Target,
        flow: Flow,
        process: Arc<ProcessState>,
    ) -> Coordinator {
        Coordinator {
            options,
            sources,
            target,
            flow,
            process,
            recorded: Recorded::default(),
            read: LakeRead::default(),
            answer: Answer::default(),
            live: BTreeSet::new(),
            missing_required: Vec::new(),
            nearest: Vec::new(),
            totals: Totals::default(),
            began: Instant::now(),
        }
    }

    /// What is left of the run.
    pub(super) fn report(&self) -> Report {
        let mut report = Report {
            totals: self.totals.clone(),
            ..Report::default()
        };
        for (at, reach) in &self.answer.frontier {
            let partitions = report.frontier.entry(self.topic_name(at.topic).to_owned()).or_default();
            partitions.insert(at.partition, reach.next);
        }
        report
    }

    /// What comes of a future, unless the process is asked to stop first: for what takes its time before anything is
    /// committed.
    pub(super) async fn unless_stopped<T>(
        process: &ProcessState,
        work: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        tokio::select! {
            done = work => done,
            () = process.stopped_for(Duration::ZERO) => Err(EngineError::Stopped),
        }
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
    pub(super) fn gap(&self, at: TopicPartition, range: &Range<i64>) -> Gap {
        Gap {
            topic: self.topic_name(at.topic).to_owned(),
            partition: at.partition,
            from: range.start,
            to: range.end,
        }
    }
}
