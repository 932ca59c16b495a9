//! Reads the part of the log that the tables answer for: objects of the lake, and from Kafka what the lake lacks.

use super::error::VerifyError;
use super::kafka;
use super::lake::{LakeRead, LakeReader};
use super::ranges;
use super::recorded::Recorded;
use super::records::{Replayed, TakeRejects};
use super::report::Finding;
use dataflows::{Limits, Results, State};
use engine::{LogOptions, Topics};
use ingest::TopicPartition;
use ingest::kafka::KafkaConfig;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::runtime::Runtime;

/// Lake and Kafka, as far as they are configured.
pub struct Log {
    lake: Option<LakeReader>,
    kafka: Option<KafkaConfig>,
    topics: Topics,
    limits: Limits,
    results: Arc<Results>,
}

impl Log {
    /// Opens the lake; Kafka is not contacted before the lake turns out to lack something.
    pub fn open(options: &LogOptions, results: &Arc<Results>, runtime: &Runtime) -> Result<Log, VerifyError> {
        let lake = match &options.lake {
            None => None,
            Some(lake) => Some(LakeReader {
                lake: runtime.block_on(lake.open(None))?,
                fetch: options.fetch(),
                topics: options.topics.to_list(),
            }),
        };
        Ok(Log {
            lake,
            kafka: options.kafka.as_ref().map(|kafka| kafka.config.clone()),
            topics: options.topics.clone(),
            limits: options.limits,
            results: Arc::clone(results),
        })
    }

    /// Reads everything that the tables answer for, each record once or, where objects overlap, several times. Gaps are
    /// shown before they fail the replay.
    pub fn replay(
        &self,
        recorded: &Recorded,
        runtime: &Runtime,
        rejects: TakeRejects<'_>,
        found: &mut dyn FnMut(&Finding<'_>),
    ) -> Result<Replayed, VerifyError> {
        // whole rows where they are compared, else what results are made of
        let state = if recorded.kept {
            State::new()
        } else {
            State::for_results(&self.results)
        };
        let mut replayed = Replayed::new(self.limits, self.topics.clone(), state);
        let read = match &self.lake {
            Some(lake) => lake.read(recorded, runtime, &mut replayed, rejects)?,
            None => LakeRead::default(),
        };
        read.check_legacy(recorded.legacy)?;
        let names: Vec<&str> = (0..3).map(|topic| self.topics.name(topic)).collect();
        let mut coverage = ingest::coverage::coverage(&read.counted, &names);
        ranges::reach_of_sparse(&mut coverage, &read.counted, recorded);
        replayed.inexact = ranges::inexact(&coverage, &read.counted, &recorded.natural);
        let mut wanted = ranges::wanted(recorded, &coverage);
        let unplaced = ranges::unplaced(&read.counted, recorded);
        let partitions: BTreeSet<TopicPartition> = wanted.keys().chain(unplaced.keys()).copied().collect();
        if partitions.is_empty() {
            return Ok(replayed);
        }
        let spans = match &self.kafka {
            Some(config) => kafka::spans(config, &self.topics, partitions.into_iter())?,
            None => kafka::Spans::new(),
        };
        let lost = ranges::lost(&wanted, &spans, &names);
        if let Some(first) = lost.first() {
            lost.iter().for_each(|gap| found(&Finding::Gap(gap)));
            return Err(VerifyError::Lost {
                first: first.clone(),
                missing_from: match (&self.lake, &self.kafka) {
                    (Some(_), Some(_)) => "neither the lake nor Kafka has it",
                    (Some(_), None) => "the lake does not have it, and no --kafka is given",
                    _ => "Kafka does not have it, and no --lake is given",
                },
                unreadable: read.unreadable,
            });
        }
        if let Some(config) = &self.kafka {
            ranges::add_inexact(&mut wanted, &replayed.inexact, &spans);
            ranges::add_spanned(&mut wanted, unplaced, &spans);
            kafka::read(config, &self.topics, wanted, recorded, &mut replayed, rejects)?;
        }
        Ok(replayed)
    }
}
