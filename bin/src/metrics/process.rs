//! What every Prometheus client tells of its process, under the names that they all give it, and which program it is.

use crate::summary::{cpu_seconds, status_bytes};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use std::time::{SystemTime, UNIX_EPOCH};

/// What every Prometheus client tells of its process, and which program it is.
pub fn of_process() -> Registry {
    let mut process = Registry::default();
    process.register_collector(Box::new(ProcessCollector));
    let build = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("os", std::env::consts::OS),
        ("arch", std::env::consts::ARCH),
    ];
    process.sub_registry_with_prefix("pinflow").register(
        "build",
        "The program: its version, and the system that it was built for",
        Info::new(build.to_vec()),
    );
    process
}

/// What every Prometheus client tells of its process, read from /proc when asked.
#[derive(Debug)]
struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let cpu = ConstCounter::new(cpu_seconds());
        cpu.encode(encoder.encode_descriptor(
            "process_cpu_seconds",
            "User and system time",
            None,
            cpu.metric_type(),
        )?)?;
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Resident memory",
                status_bytes("VmRSS:").map(|bytes| bytes as f64),
            ),
            (
                "process_virtual_memory_bytes",
                "Virtual memory",
                status_bytes("VmSize:").map(|bytes| bytes as f64),
            ),
            ("process_threads", "Threads", count("/proc/self/task")),
            ("process_open_fds", "Open file descriptors", count("/proc/self/fd")),
            ("process_max_fds", "File descriptors at most", max_fds()),
            (
                "process_start_time_seconds",
                "Start of the process since 1970",
                start_time(),
            ),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

fn count(folder: &str) -> Option<f64> {
    Some(std::fs::read_dir(folder).ok()?.count() as f64)
}

fn max_fds() -> Option<f64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile)
        .current
        .map(|limit| limit as f64)
}

/// Boot time is what remains of now after the uptime; a process knows its start in clock ticks after boot.
fn start_time() -> Option<f64> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // the name in parentheses may contain anything, so count from its end: field 22 is the 20th after it
    let ticks: f64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    Some(now - uptime + ticks / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_started_a_moment_ago() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let started = start_time().unwrap();
        assert!((0.0..3600.0).contains(&(now - started + 1.0)), "{started} {now}");
    }
}
