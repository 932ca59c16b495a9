//! Where partitions stand, as of the moment that it is asked.

use api::{PartitionStatus, Status};
use engine::Wait;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::sync::Arc;

/// A partition, as labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PartitionLabels {
    pub(crate) topic: String,
    pub(crate) partition: i32,
}

/// What is waited for, as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WaitLabels {
    on: &'static str,
}

/// See the module's head.
#[derive(Debug)]
pub(super) struct PartitionsCollector(pub(super) Arc<Status>);

/// A figure of a partition: its name, what it means, and how it is read; none where it is not known.
type Figure = (&'static str, &'static str, fn(&PartitionStatus) -> Option<f64>);

const FIGURES: [Figure; 5] = [
    (
        "frontier_offset",
        "First offset of the partition that the tables do not contain",
        |of| of.frontier.map(|offset| offset as f64),
    ),
    (
        "kafka_start_offset",
        "First offset of the partition that Kafka holds, looked at every 5 s",
        |of| of.start.map(|offset| offset as f64),
    ),
    (
        "kafka_end_offset",
        "Offset after the last record that is known to be in Kafka, looked at every 5 s",
        |of| Some(of.end as f64),
    ),
    (
        "kafka_lag_records",
        "Records in Kafka beyond the committed frontier",
        |of| Some(of.lag_records as f64),
    ),
    (
        "kafka_lag_seconds",
        "How long the first record beyond the committed frontier has waited at most; 0 when there is none; before the first commit, since the run saw the partition",
        |of| Some(of.lag_seconds),
    ),
];

impl Collector for PartitionsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let partitions: Vec<(PartitionLabels, PartitionStatus)> = (self.0.partitions().into_iter())
            .map(|of| {
                let (topic, partition) = (of.topic.clone(), of.partition);
                (PartitionLabels { topic, partition }, of)
            })
            .collect();
        for (name, help, value) in FIGURES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, of) in &partitions {
                if let Some(value) = value(of) {
                    ConstGauge::new(value).encode(family.encode_family(labels)?)?;
                }
            }
        }
        let mut family = encoder.encode_descriptor(
            "reader_wait_seconds",
            "How long the readers of this process waited during the replay, for bytes of the lake or room in staging",
            None,
            MetricType::Counter,
        )?;
        for (on, waited) in [(Wait::Lake, "lake"), (Wait::Staging, "staging")] {
            let seconds = self.0.waited(on).as_secs_f64();
            ConstCounter::new(seconds).encode(family.encode_family(&WaitLabels { on: waited })?)?;
        }
        Ok(())
    }
}
