//! `pinflow bridge`: the wiring around the bridge: settings, kinds of records, signals, metrics. Without the feature
//! `kinesis` it says that it is not there.

use crate::config::BridgeSettings;
use crate::exit::Failure;

/// Copies until a signal ends it, or with `--once` to the tip of the stream.
#[cfg(not(feature = "kinesis"))]
pub fn run(_: BridgeSettings) -> Result<(), Failure> {
    let message = "this pinflow was built without Kinesis: build it with --features kinesis";
    Err(crate::config::ConfigError::one(message.to_owned()).into())
}

/// Everything that a bridge writes, with a value each, for the documentation.
#[cfg(not(feature = "kinesis"))]
pub fn example_metrics() -> String {
    String::new()
}

#[cfg(feature = "kinesis")]
pub use kinesis::{example_metrics, run};

#[cfg(feature = "kinesis")]
mod kinesis {
    use super::{BridgeSettings, Failure};
    use crate::config::{Beginning, ConfigError};
    use crate::health::Health;
    use crate::lake::{failed, runtime};
    use crate::metrics::Metrics;
    use crate::{gateway, output, serve, signals};
    use bridge::{BridgeConfig, BridgeError, Copied, KinesisConfig, Observer, bridge};
    use jiff::Timestamp;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::registry::Registry;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU64;
    use std::time::{Duration, Instant};

    /// What requests for results are told.
    const NO_RESULTS: &str = "`pinflow bridge` serves no results: `pinflow run` does";
    /// How long the program waits for threads that wait for servers, at its end.
    const GRACE: Duration = Duration::from_secs(2);

    /// Copies until a signal ends it, or with `--once` to the tip of the stream.
    pub fn run(settings: BridgeSettings) -> Result<(), Failure> {
        if let Err(error) = bridge::check_properties(&settings.kafka) {
            return Err(ConfigError::one(error.to_string()).into());
        }
        let runtime = runtime()?;
        let shown = Arc::new(Shown::new());
        let server = match &settings.serve {
            Some(serve) => {
                let parts = (Arc::clone(&shown.metrics), Arc::clone(&shown.health), Err(NO_RESULTS));
                Some(serve::start(serve, parts)?)
            }
            None => None,
        };
        let stop = signals::stop("what was read is committed").map_err(failed)?;
        let began = Instant::now();
        let observer = Arc::clone(&shown) as Arc<dyn Observer>;
        let ended = runtime.block_on(bridge(config(settings), observer, stop));
        runtime.shutdown_timeout(GRACE);
        drop(server);
        let Copied {
            records,
            bytes,
            transactions,
        } = ended.map_err(|error| match error {
            BridgeError::Fenced { .. } => Failure::Fenced(error.to_string()),
            error => failed(error),
        })?;
        let seconds = began.elapsed().as_secs_f64();
        output::print(format_args!(
            "copied {records} records in {transactions} transactions, {bytes} bytes, in {seconds:.1} s\n"
        ))
    }

    /// The bridge's own form of these settings.
    fn config(settings: BridgeSettings) -> BridgeConfig {
        BridgeConfig {
            kinesis: KinesisConfig {
                stream: settings.stream,
                endpoint: settings.endpoint,
            },
            kafka: settings.kafka,
            streams: gateway::streams(settings.topics),
            key_fields: gateway::key_fields(),
            aliases: settings.aliases,
            pins: settings.pins,
            other_topic: settings.other_topic,
            positions: settings.positions,
            from: match settings.from {
                Beginning::TrimHorizon => bridge::Beginning::TrimHorizon,
                Beginning::Latest => bridge::Beginning::AtMs(Timestamp::now().as_millisecond()),
                Beginning::At(time) => bridge::Beginning::AtMs(time.as_millisecond()),
            },
            commit_interval: settings.commit_interval,
            poll_interval: settings.poll_interval,
            buffer_bytes: settings.buffer_bytes,
            accept_trimmed: settings.accept_trimmed,
            once: settings.once,
        }
    }

    /// What a bridge shows of itself.
    struct Shown {
        health: Arc<Health>,
        metrics: Arc<Metrics>,
        records: Counter,
        bytes: Counter,
        transactions: Counter,
        throttled: Counter,
        trimmed: Counter,
        shards: Gauge,
        behind: Gauge<f64, AtomicU64>,
    }

    impl Shown {
        fn new() -> Shown {
            let mut registry = Registry::with_prefix("pinflow");
            let mut counter = |name: &str, help: &str| {
                let counter = Counter::default();
                registry.register(name, help, counter.clone());
                counter
            };
            let records = counter("bridge_records", "Records copied from Kinesis, committed in Kafka");
            let bytes = counter("bridge_bytes", "Bytes of the records copied");
            let transactions = counter("bridge_transactions", "Transactions that contained records");
            let throttled = counter("bridge_throttled", "Answers of Kinesis that it is asked too often");
            let trimmed = counter(
                "bridge_trimmed",
                "Gaps that were accepted: records of a shard may have been trimmed before they were read",
            );
            let (shards, behind) = (Gauge::default(), Gauge::<f64, AtomicU64>::default());
            registry.register("bridge_shards", "Shards that are being read", shards.clone());
            registry.register(
                "bridge_behind_seconds",
                "How far the shard that is furthest behind is behind the tip of the stream",
                behind.clone(),
            );
            Shown {
                health: Arc::new(Health::new(0, 0)),
                metrics: Arc::new(Metrics::of(registry)),
                records,
                bytes,
                transactions,
                throttled,
                trimmed,
                shards,
                behind,
            }
        }
    }

    impl Observer for Shown {
        fn ready(&self) {
            self.health.hydrated();
        }

        fn committed(&self, copied: Copied) {
            self.records.inc_by(copied.records);
            self.bytes.inc_by(copied.bytes);
            self.transactions.inc_by(copied.transactions);
        }

        fn progress(&self, shards: usize, behind: Duration) {
            self.shards.set(i64::try_from(shards).unwrap_or(i64::MAX));
            self.behind.set(behind.as_secs_f64());
        }

        fn throttled(&self) {
            self.throttled.inc();
        }

        fn trimmed(&self) {
            self.trimmed.inc();
        }
    }

    /// Everything that a bridge writes, with a value each, for the documentation.
    pub fn example_metrics() -> String {
        let shown = Shown::new();
        shown.committed(Copied {
            records: 1,
            bytes: 2,
            transactions: 3,
        });
        shown.progress(4, Duration::from_millis(500));
        shown.throttled();
        shown.trimmed();
        shown.metrics.text()
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn names_are_pinned() {
            let text = example_metrics();
            for line in [
                "pinflow_bridge_records_total 1",
                "pinflow_bridge_bytes_total 2",
                "pinflow_bridge_transactions_total 3",
                "pinflow_bridge_throttled_total 1",
                "pinflow_bridge_trimmed_total 1",
                "pinflow_bridge_shards 4",
                "pinflow_bridge_behind_seconds 0.5",
            ] {
                assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
            }
        }
    }
}
