//! Memory is bounded by the posts, not by their history: eight times the records of the same posts cost no more of it,
//! also while Postgres stands still.

use anyhow::{Context, Result, ensure};
use pinflow_tests::{Database, LakeFolder, Pinflow, eventually, files};
use rustix::process::{Pid, Signal, kill_process};
use std::path::Path;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(120);
const POSTS: &str = "30000";
const TIMES: i64 = 8;
/// What a longer history may cost: buffers that were not all filled by the shorter one.
const SLACK: u64 = 40 << 20;

/// A lake whose producers sent everything of `once` so many times, one after the other. Returns its bytes.
fn again_and_again(once: &LakeFolder, many: &LakeFolder, times: i64) -> Result<u64> {
    let objects = files(once.root())?;
    // pin+3+0000012345.json → (pin+3, 12345)
    let parse = |path: &Path| -> Option<(String, i64)> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".json")?;
        let (place, start) = stem.rsplit_once('+')?;
        Some((place.to_owned(), start.parse().ok()?))
    };
    let mut ends: std::collections::BTreeMap<String, i64> = Default::default();
    for path in &objects {
        let Some((place, start)) = parse(path) else { continue };
        let lines = std::fs::read(path)?.iter().filter(|byte| **byte == b'\n').count() as i64;
        let end = ends.entry(place).or_default();
        *end = (start + lines).max(*end);
    }
    let mut bytes = 0;
    for path in &objects {
        let Some((place, start)) = parse(path) else { continue };
        let (topic, partition) = place.rsplit_once('+').context("a partition")?;
        for time in 0..times {
            let key = many.key(topic, partition.parse()?, start + time * ends[&place], None);
            let to = many.root().join(key);
            std::fs::create_dir_all(to.parent().context("a folder")?)?;
            std::fs::hard_link(path, &to)?;
            bytes += std::fs::metadata(&to)?.len();
        }
    }
    Ok(bytes)
}

/// Records and the greatest resident memory of a replay into files.
fn replay(lake: &LakeFolder, folder: &Path) -> Result<(u64, u64)> {
    let summary = folder.join("summary.json");
    let out = folder.join("out");
    Pinflow::new("backfill")
        .lake(lake)
        .args([
            "--out".as_ref(),
            out.as_os_str(),
            "--summary".as_ref(),
            summary.as_os_str(),
        ])
        .succeed(SOON)?;
    let summary: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(summary)?)?;
    let number = |name: &str| summary[name].as_u64().with_context(|| format!("{name} in {summary}"));
    Ok((number("records")?, number("peak_rss_bytes")?))
}

#[test]
fn eight_times_the_history_of_the_same_posts_costs_no_more_memory() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let once = LakeFolder::new(folder.path().join("once")).topics_dir("");
    std::fs::create_dir_all(once.root())?;
    let many = LakeFolder::new(folder.path().join("many")).topics_dir("");
    Pinflow::new("generate")
        .lake(&once)
        .args(["--posts", POSTS, "--seed", "7"])
        .succeed(SOON)?;
    let bytes = again_and_again(&once, &many, TIMES)?;

    let (records, small) = replay(&once, folder.path())?;
    let (more, large) = replay(&many, folder.path())?;
    eprintln!(
        "{records} records: {} MiB; {more} records, {} MiB of lake: {} MiB",
        small >> 20,
        bytes >> 20,
        large >> 20
    );
    ensure!(
        more == records * TIMES as u64,
        "{more} records instead of {records} times {TIMES}"
    );
    ensure!(bytes > 100 << 20, "{bytes} bytes are no large lake");
    ensure!(large < small + SLACK, "{small} bytes became {large}");

    // the same while its rows go to Postgres, and Postgres stands still
    let postgres = pinflow_tests::postgres()?;
    let summary = folder.path().join("staged.json");
    Pinflow::new("backfill")
        .lake(&once)
        .postgres(&postgres)
        .args(["--schema", "once", "--summary"])
        .args([&summary])
        .succeed(SOON)?;
    let summary: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(summary)?)?;
    let small = summary["peak_rss_bytes"].as_u64().context("a peak")?;
    let mut backfill = Pinflow::new("backfill").lake(&many).postgres(&postgres).start()?;
    let database = Database::connect(&postgres.url())?;
    let staged = "SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace \
                  WHERE nspname = 'pinflow' AND relname LIKE 'staging_%_pin_table'";
    eventually("staging", SOON, || Ok(database.number(staged)? > 0))?;
    std::thread::sleep(Duration::from_secs(1));
    let backends = database.rows("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'pinflow%'")?;
    let backends: Vec<Pid> = backends
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        .collect();
    ensure!(backends.len() > 1, "{} connections stage and commit", backends.len());
    for pid in &backends {
        kill_process(*pid, Signal::STOP)?;
    }
    std::thread::sleep(Duration::from_secs(5));
    let stalled = backfill.memory();
    let running = backfill.is_running()?;
    for pid in &backends {
        kill_process(*pid, Signal::CONT)?;
    }
    let (_, peak) = stalled?;
    ensure!(running, "the backfill ended: {}", backfill.tail());
    eprintln!(
        "into Postgres: {} MiB; while it stood still: {} MiB",
        small >> 20,
        peak >> 20
    );
    ensure!(
        peak < small + SLACK,
        "{small} bytes became {peak} while Postgres stood still"
    );
    // it had not read everything by then, so it was Postgres that it waited for
    ensure!(
        database.number("SELECT max(commits) FROM pinflow.progress")? == 0,
        "history was committed before Postgres stood still"
    );
    backfill.kill()
}
