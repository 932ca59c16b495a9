//! Processor time by stage: what fetching, the dataflow and committing cost, read from /proc when asked.
//!
//! Threads carry their stage in their names. A thread that ends takes its time with it, so the greatest sum that was
//! seen of a stage is kept: a counter never falls.

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use std::sync::{Mutex, PoisonError};

/// Stages, with how the names of their threads begin.
const STAGES: [(&str, &[&str]); 3] = [
    ("fetch", &["rdk:", "kafka-", "lake-"]),
    ("dataflow", &["timely:"]),
    ("commit", &["pinflow:io", "pinflow-stager"]),
];

/// Threads of no stage.
const OTHER: &str = "other";

/// A stage, as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: &'static str,
}

/// See the module's head.
#[derive(Debug, Default)]
pub struct StageTimes([Mutex<f64>; STAGES.len() + 1]);

impl Collector for StageTimes {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let mut family = encoder.encode_descriptor(
            "stage_cpu_seconds",
            "User and system time by stage: fetching from Kafka and the lake, decoding and the dataflow, committing",
            None,
            MetricType::Counter,
        )?;
        for ((stage, kept), now) in names().zip(&self.0).zip(now()) {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = kept.max(now);
            ConstCounter::new(*kept).encode(family.encode_family(&StageLabels { stage })?)?;
        }
        Ok(())
    }
}

fn names() -> impl Iterator<Item = &'static str> {
    STAGES.iter().map(|(stage, _)| *stage).chain([OTHER])
}

/// Seconds that the threads of each stage have used.
fn now() -> [f64; STAGES.len() + 1] {
    let mut seconds = [0.0; STAGES.len() + 1];
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return seconds;
    };
    for thread in threads.flatten() {
        let read = |file| std::fs::read_to_string(thread.path().join(file));
        // a thread may have ended meanwhile
        let (Ok(name), Ok(stat)) = (read("comm"), read("schedstat")) else {
            continue;
        };
        let spent: f64 = stat
            .split(' ')
            .next()
            .and_then(|spent| spent.parse().ok())
            .unwrap_or(0.0);
        seconds[stage_of(&name)] += spent / 1e9;
    }
    seconds
}

fn stage_of(thread: &str) -> usize {
    let begins = |(_, names): &(&str, &[&str])| names.iter().any(|name| thread.starts_with(name));
    STAGES.iter().position(begins).unwrap_or(STAGES.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;
    use std::time::{Duration, Instant};

    #[test]
    fn a_stage_costs_what_its_threads_use_and_keeps_it_when_they_end() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(StageTimes::default()));
        let of_dataflow = || -> f64 {
            let mut text = String::new();
            encode(&mut text, &registry).unwrap();
            let line = text
                .lines()
                .find_map(|line| line.strip_prefix("stage_cpu_seconds_total{stage=\"dataflow\"} "));
            line.unwrap_or_else(|| panic!("{text}")).parse().unwrap()
        };
        let (done, wait) = std::sync::mpsc::sync_channel::<()>(0);
        let (end, ended) = std::sync::mpsc::sync_channel::<()>(0);
        let worker = std::thread::Builder::new().name("timely:work-9".into()).spawn(move || {
            let began = Instant::now();
            while began.elapsed() < Duration::from_millis(100) {
                std::hint::spin_loop();
            }
            done.send(()).unwrap();
            ended.recv().unwrap();
        });
        wait.recv().unwrap();
        let busy = of_dataflow();
        assert!(busy > 0.001, "{busy}");
        end.send(()).unwrap();
        worker.unwrap().join().unwrap();
        assert_eq!(of_dataflow(), busy);
    }
}
