//! What Prometheus sees of a gateway. The names stand here, and a test pins them.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The content type of [`Metrics::text`].
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    interface: &'static str,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InterfaceLabels {
    interface: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// The metrics of one gateway.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<InterfaceLabels, Histogram, fn() -> Histogram>,
    records: Family<InterfaceLabels, Counter>,
    produce_errors: Family<ReasonLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
    shed: Counter,
    in_flight: Gauge,
    connections: Gauge,
    dropped_lines: DroppedLines,
}

fn histogram() -> Histogram {
    Histogram::new([
        0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0,
    ])
}

impl Metrics {
    pub(super) fn new() -> Metrics {
        let mut metrics = Metrics {
            registry: Registry::with_prefix("pinflow_gateway"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(histogram as fn() -> Histogram),
            records: Family::default(),
            produce_errors: Family::default(),
            refused: Family::default(),
            shed: Counter::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            dropped_lines: DroppedLines::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "requests",
            "Requests answered, by interface and status",
            metrics.requests.clone(),
        );
        registry.register(
            "request_seconds",
            "From a request's head to its answer",
            metrics.seconds.clone(),
        );
        registry.register(
            "records",
            "Records that Kafka has acknowledged",
            metrics.records.clone(),
        );
        registry.register(
            "produce_errors",
            "Records that Kafka has not taken, by reason",
            metrics.produce_errors.clone(),
        );
        registry.register(
            "refused",
            "Requests refused for who sends them or where they are sent to, by reason",
            metrics.refused.clone(),
        );
        registry.register(
            "shed",
            "Requests refused because too much was in flight or waited for Kafka",
            metrics.shed.clone(),
        );
        registry.register(
            "in_flight_bytes",
            "Bytes taken and not yet acknowledged",
            metrics.in_flight.clone(),
        );
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register_collector(Box::new(metrics.dropped_lines.clone()));
        metrics
    }

    /// A request was answered.
    pub(super) fn answered(&self, interface: &'static str, status: u16, records: u64, took: Duration) {
        self.requests.get_or_create(&RequestLabels { interface, status }).inc();
        let labels = InterfaceLabels { interface };
        self.seconds.get_or_create(&labels).observe(took.as_secs_f64());
        if records > 0 {
            self.records.get_or_create(&labels).inc_by(records);
        }
    }

    /// A record was not taken.
    pub(super) fn failed(&self, reason: &'static str) {
        self.produce_errors.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// A request was refused for who sends it, or where it was sent to.
    pub(super) fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// A request was refused since too much is in flight, or waits for Kafka.
    pub(super) fn shed(&self) {
        self.shed.inc();
    }

    /// Everything in the OpenMetrics text format, with the process's own metrics and what is asked for only now.
    pub(super) fn text(&self, process: &Registry, in_flight: usize, connections: usize, dropped: u64) -> String {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.in_flight.set(gauge(in_flight as u64));
        self.connections.set(gauge(connections as u64));
        self.dropped_lines.0.store(dropped, Ordering::Relaxed);
        let mut text = String::with_capacity(8192);
        encode_registry(&mut text, &self.registry)
            .and_then(|()| encode_registry(&mut text, process))
            .and_then(|()| encode_eof(&mut text))
            .expect("writing to a String");
        text
    }
}

/// Lines that the access log has dropped, as it counts them.
#[derive(Clone, Debug, Default)]
struct DroppedLines(Arc<AtomicU64>);

impl Collector for DroppedLines {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let counter = ConstCounter::new(self.0.load(Ordering::Relaxed));
        counter.encode(encoder.encode_descriptor(
            "access_log_dropped_lines",
            "Access log lines dropped because the consumer was too slow",
            None,
            counter.metric_type(),
        )?)
    }
}

/// Everything that a gateway writes, with a value each, for the documentation.
pub fn example_metrics() -> String {
    let metrics = Metrics::new();
    metrics.answered("rest_v2", 200, 3, Duration::from_millis(4));
    metrics.failed("timed_out");
    metrics.refused("origin");
    metrics.shed();
    metrics.text(&Registry::default(), 70, 2, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_pinned() {
        let text = example_metrics();
        for line in [
            "pinflow_gateway_requests_total{interface=\"rest_v2\",status=\"200\"} 1",
            "pinflow_gateway_request_seconds_bucket{le=\"0.005\",interface=\"rest_v2\"} 1",
            "pinflow_gateway_records_total{interface=\"rest_v2\"} 3",
            "pinflow_gateway_produce_errors_total{reason=\"timed_out\"} 1",
            "pinflow_gateway_refused_total{reason=\"origin\"} 1",
            "pinflow_gateway_shed_total 1",
            "pinflow_gateway_in_flight_bytes 70",
            "pinflow_gateway_connections 2",
            "pinflow_gateway_access_log_dropped_lines_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }
}
