//! What a backfill cost and where it ended, as JSON: `--summary FILE`.

use anyhow::Context;
use engine::Report;
use ingest::{Offset, Partition};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The document. A summary is a frontier file too: `--upto` reads it.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    /// Records read, each arrival counted.
    records: u64,
    /// Records that no rule accepts.
    rejected: u64,
    /// Rejected records by reason.
    rejected_by_reason: &'a BTreeMap<String, u64>,
    /// Fields that could not be read and became null, by `kind.field`.
    unreadable_fields: &'a BTreeMap<String, u64>,
    /// Wall time from the start of the command.
    seconds: f64,
    /// User and system time of this process, all threads.
    cpu_seconds: f64,
    /// Records over wall time.
    records_per_second: f64,
    /// The process's largest resident set.
    peak_rss_bytes: u64,
    /// Topic → partition → the first offset that is not in the answer.
    frontier: &'a BTreeMap<String, BTreeMap<Partition, Offset>>,
}

impl<'a> Summary<'a> {
    /// The summary of a finished run of this process.
    pub fn new(report: &'a Report) -> Summary<'a> {
        let rate = report.totals.counts.records as f64 / report.seconds.max(f64::MIN_POSITIVE);
        Summary {
            records: report.totals.counts.records,
            rejected: report.totals.counts.rejected,
            rejected_by_reason: &report.totals.counts.reasons,
            unreadable_fields: &report.totals.counts.fields,
            seconds: report.seconds,
            cpu_seconds: cpu_seconds(),
            records_per_second: rate.round(),
            peak_rss_bytes: status_bytes("VmHWM:").unwrap_or(0),
            frontier: &report.frontier,
        }
    }

    /// Writes the document, under a temporary name first.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        let temporary = path.with_extension("json.tmp");
        std::fs::write(&temporary, text)
            .and_then(|()| std::fs::rename(&temporary, path))
            .with_context(|| format!("cannot write the summary {}", path.display()))
    }
}

/// User and system time that this process has used, all threads, in seconds.
pub fn cpu_seconds() -> f64 {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// A field of `/proc/self/status` that is given in kB.
pub fn status_bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_members_are_those_of_the_contract() {
        let mut report = Report {
            seconds: 2.0,
            ..Report::default()
        };
        report.totals.counts.records = 10;
        report
            .frontier
            .entry("pin".into())
            .or_default()
            .insert(Partition(0), Offset(7));
        let json = serde_json::to_value(Summary::new(&report)).unwrap();
        for member in [
            "records",
            "rejected",
            "seconds",
            "cpu_seconds",
            "records_per_second",
            "peak_rss_bytes",
        ] {
            assert!(json[member].is_number(), "{member} in {json}");
        }
        assert_eq!(json["records_per_second"], 5.0);
        assert!(json["peak_rss_bytes"].as_u64().unwrap() > 1 << 20);
        let frontier = engine::Frontier::parse(&json.to_string()).unwrap();
        assert_eq!(frontier.next("pin", Partition(0)), Some(Offset(7)));
    }
}
