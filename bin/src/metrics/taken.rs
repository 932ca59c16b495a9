//! What results and operators take, as of the moment that it is asked.

use engine::{OperatorTaken, Profile, Taken};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::Arc;

/// A result, as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ResultLabels {
    pub(super) result: String,
}

/// An operator on a worker, as labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperatorLabels {
    operator: String,
    worker: u64,
}

/// Who knows what is taken.
pub(super) trait Takes: Send + Sync + 'static {
    /// By result.
    fn results(&self) -> Vec<(String, Taken)>;
    /// By worker and operator.
    fn operators(&self) -> Vec<OperatorTaken>;
}

impl Takes for Arc<Profile> {
    fn results(&self) -> Vec<(String, Taken)> {
        Profile::results(self)
    }

    fn operators(&self) -> Vec<OperatorTaken> {
        Profile::operators(self)
    }
}

/// See the module's head.
pub(super) struct TakenCollector<T>(pub(super) T);

impl<T> fmt::Debug for TakenCollector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakenCollector").finish_non_exhaustive()
    }
}

/// Writes how long was run, and what is kept, of everything that has labels.
fn encode<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    taken: &[(L, Taken)],
    busy: (&str, &str),
    bytes: (&str, &str),
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(busy.0, busy.1, None, MetricType::Counter)?;
    for (labels, taken) in taken {
        ConstCounter::new(taken.busy.as_secs_f64()).encode(family.encode_family(labels)?)?;
    }
    let mut family = encoder.encode_descriptor(bytes.0, bytes.1, None, MetricType::Gauge)?;
    for (labels, taken) in taken {
        ConstGauge::new(taken.bytes as f64).encode(family.encode_family(labels)?)?;
    }
    Ok(())
}

impl<T: Takes> Collector for TakenCollector<T> {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let results = self.0.results().into_iter();
        let results: Vec<_> = results
            .map(|(result, taken)| (ResultLabels { result }, taken))
            .collect();
        encode(
            &mut encoder,
            &results,
            (
                "result_busy_seconds",
                "How long the operators of a result ran in this process; of operators that results share, each has its part",
            ),
            (
                "result_state_bytes",
                "What the operators of a result keep in this process; of operators that results share, each has its part",
            ),
        )?;
        let labels = |of: OperatorTaken| {
            let (operator, worker) = (of.name, of.worker as u64);
            (OperatorLabels { operator, worker }, of.taken)
        };
        let operators: Vec<_> = self.0.operators().into_iter().map(labels).collect();
        encode(
            &mut encoder,
            &operators,
            (
                "operator_busy_seconds",
                "How long an operator ran on a worker; all operators of a worker together are how long it was busy",
            ),
            ("operator_state_bytes", "What an operator keeps on a worker"),
        )
    }
}
