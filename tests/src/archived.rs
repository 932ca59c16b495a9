//! A lake that an archiver has written, read as plainly as possible: every line at its offset.

use crate::workload::{TOPICS, Workload};
use crate::{Pinflow, files};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// What `audit` says, as JSON, with its exit code.
pub fn audit(of: Pinflow) -> Result<(i32, Value)> {
    let mut audit = of.args(["--json"]).start()?;
    let code = audit.wait(SOON)?.unwrap_or(-1);
    let report: Value = serde_json::from_str(&audit.stdout()).with_context(|| audit.tail())?;
    ensure!(report["ok"] == (code == 0), "exit code {code} of {report:#}");
    Ok((code, report))
}

/// Demands a whole lake: nothing missing, nothing altered, nothing that differs.
pub fn demand_whole(of: Pinflow) -> Result<Value> {
    let (code, report) = audit(of)?;
    ensure!(code == 0, "audit: {code} {report:#}");
    for partition in report["partitions"].as_array().into_iter().flatten() {
        ensure!(partition["waiting"] == 0 && partition["inexact"] == 0, "{partition:#}");
    }
    Ok(report)
}

/// The lines of every object of a topic, each at start + line; copies of an offset must be the same.
pub fn lines(root: &Path, topic: &str, partition: i32) -> Result<BTreeMap<i64, String>> {
    let mut found = BTreeMap::new();
    for path in files(root)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let start = name.strip_prefix(&format!("{topic}+{partition}+"));
        let Some(start) = start.filter(|_| !name.ends_with(".meta.json")) else {
            continue;
        };
        let bytes = std::fs::read(&path)?;
        let (start, text) = match start.strip_suffix(".json.gz") {
            Some(start) => (start, gunzip(&bytes)?),
            None => match start.strip_suffix(".json") {
                Some(start) => (start, String::from_utf8(bytes)?),
                None => continue,
            },
        };
        ensure!(text.is_empty() || text.ends_with('\n'), "{name} ends without a newline");
        for (line, offset) in text.lines().zip(start.parse::<i64>()?..) {
            let before = found.insert(offset, line.to_owned());
            ensure!(
                before.is_none_or(|before| before == line),
                "two different records at {offset} of {topic}"
            );
        }
    }
    Ok(found)
}

/// The bytes of a value that is not JSON.
fn unwrapped(line: &str) -> Result<Vec<u8>> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let wrapping: BTreeMap<String, String> = serde_json::from_str(line)?;
    match wrapping.first_key_value().context("no member")? {
        (name, text) if name == "__pinflow_raw" => Ok(text.clone().into_bytes()),
        (name, text) if name == "__pinflow_raw_base64" => Ok(BASE64_STANDARD.decode(text)?),
        (name, _) => bail!("{name} is no value"),
    }
}

#[expect(clippy::disallowed_methods, reason = "our own small objects")]
fn gunzip(bytes: &[u8]) -> Result<String> {
    use std::io::Read;
    let mut text = String::new();
    flate2::read::MultiGzDecoder::new(bytes).read_to_string(&mut text)?;
    Ok(text)
}

/// Demands that each line is the record that was produced at its offset.
pub fn demand_archived(workload: &Workload, root: &Path) -> Result<()> {
    for ((kind, partition), entries) in &workload.log {
        let topic = TOPICS[*kind as usize];
        let found = lines(root, topic, *partition)?;
        ensure!(
            found.len() == entries.len(),
            "{topic}/{partition}: {} lines of {} records",
            found.len(),
            entries.len()
        );
        for ((offset, line), (ind, value)) in found.iter().zip(entries) {
            let same = match value {
                None => *line == format!("{{\"ind\":{ind},\"__deleted\":true}}"),
                Some(value) if line.starts_with("{\"__pinflow_raw") => {
                    serde_json::from_slice::<Value>(value).is_err() && unwrapped(line)? == *value
                }
                Some(value) => line.as_bytes() == value.as_slice(),
            };
            ensure!(same, "{topic}/{partition} {offset}: {line}");
        }
    }
    Ok(())
}
