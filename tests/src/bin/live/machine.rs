//! What is asked of the machine: processor time of processes, and no autogroups.

use anyhow::{Context, Result};
use std::fs;

/// Turns the kernel's autogroups off while it lives, where we may.
///
/// A backend of PostgreSQL is a session, and so an autogroup, of its own: on a busy machine such a small group waits
/// for hundreds of milliseconds for a processor. Services of an init system with control groups know nothing of that.
pub struct NoAutogroups(Option<String>);

const AUTOGROUPS: &str = "/proc/sys/kernel/sched_autogroup_enabled";

impl NoAutogroups {
    pub fn new() -> NoAutogroups {
        let before = fs::read_to_string(AUTOGROUPS).ok();
        let changed = before.filter(|_| fs::write(AUTOGROUPS, "0").is_ok());
        if changed.is_none() {
            eprintln!("{AUTOGROUPS} cannot be set: PostgreSQL may wait long for a processor");
        }
        NoAutogroups(changed)
    }

    /// Whether they are off.
    pub fn are_off(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for NoAutogroups {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = fs::write(AUTOGROUPS, before);
        }
    }
}

/// The fields of `/proc/PID/stat` behind the name: the state comes first.
fn stat(pid: u32) -> Result<Vec<i64>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = stat.rsplit(')').next().context("a stat without a name")?;
    Ok(fields
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect())
}

const PARENT: usize = 1;
/// User and system time.
const OWN: [usize; 2] = [11, 12];
/// The same of children that have ended.
const ENDED_CHILDREN: [usize; 2] = [13, 14];

fn seconds(fields: &[i64], of: &[usize]) -> f64 {
    let ticks: i64 = of.iter().map(|field| fields[*field]).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// CPU seconds of a process so far.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    Ok(seconds(&stat(pid)?, &OWN))
}

/// CPU seconds of a process and of its children, also of those that have ended.
pub fn cpu_seconds_with_children(pid: u32) -> Result<f64> {
    let fields = stat(pid)?;
    let mut sum = seconds(&fields, &OWN) + seconds(&fields, &ENDED_CHILDREN);
    for process in fs::read_dir("/proc")?.flatten() {
        let Some(child) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // a process may have ended meanwhile
        let Ok(fields) = stat(child) else { continue };
        if fields[PARENT] == i64::from(pid) {
            sum += seconds(&fields, &OWN);
        }
    }
    Ok(sum)
}

/// The process that has started this one.
pub fn parent(pid: u32) -> Result<u32> {
    Ok(u32::try_from(stat(pid)?[PARENT])?)
}
