//! S3 as it is on a bad day: answers that do not come, bodies that break, objects that are damaged, and a LIST that
//! does not know of a key yet. What can be mended by asking again is; what cannot is named.

use anyhow::{Result, ensure};
use pinflow_tests::answer::demand_answer;
use pinflow_tests::lake::gzip;
use pinflow_tests::workload::Workload;
use pinflow_tests::{Database, Fault, LakeFolder, Pinflow, Postgres, S3Server};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

/// A bucket with the whole of a log.
struct Bucket {
    server: S3Server,
    lake: LakeFolder,
    workload: Workload,
    postgres: Postgres,
    _folder: tempfile::TempDir,
}

impl Bucket {
    fn fill(seed: u64, records: usize, per_object: usize) -> Result<Bucket> {
        let folder = tempfile::tempdir()?;
        let server = S3Server::start(folder.path())?;
        let lake = LakeFolder::new(server.create_bucket("history")?);
        let mut workload = Workload::new(seed, 2);
        workload.take(records);
        workload.archive(&lake, 1.0, per_object)?;
        Ok(Bucket {
            server,
            lake,
            workload,
            postgres: pinflow_tests::postgres()?,
            _folder: folder,
        })
    }

    fn backfill(&self) -> Pinflow {
        Pinflow::new("backfill")
            .s3(&self.server, "history/topics")
            .postgres(&self.postgres)
    }

    fn demand(&self) -> Result<()> {
        demand_answer(&self.workload, &self.postgres.url(), "pinflow", 10, SOON)
    }
}

#[test]
fn what_fails_for_a_while_is_asked_again() -> Result<()> {
    let bucket = Bucket::fill(51, 4_000, 100)?;
    let (refused, broken) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (refusals, breaks) = (Arc::clone(&refused), Arc::clone(&broken));
    bucket.server.set_faults(move |seen| {
        let count = |counter: &AtomicU64, fault: Fault| {
            counter.fetch_add(1, Ordering::Relaxed);
            fault
        };
        match seen.before {
            // every first request is refused, every second one breaks somewhere
            0 if seen.is_list() => count(&refusals, Fault::Status(503)),
            0 if seen.is_get() => count(
                &refusals,
                Fault::Status(if seen.key.len() % 2 == 0 { 503 } else { 500 }),
            ),
            1 if seen.is_get() && seen.key.contains("geo") => count(&breaks, Fault::Reset),
            1 if seen.is_get() => count(&breaks, Fault::Cut(5_000)),
            2 if seen.is_get() && seen.key.contains("pin+0") => count(&breaks, Fault::Cut(1)),
            _ => Fault::None,
        }
    });
    bucket.backfill().succeed(SOON)?;
    bucket.demand()?;
    let (refused, broken) = (refused.load(Ordering::Relaxed), broken.load(Ordering::Relaxed));
    ensure!(
        refused > 40 && broken > 40,
        "the server refused {refused} and broke {broken} requests"
    );
    Ok(())
}

#[test]
fn a_body_that_stops_is_not_waited_for_for_ever() -> Result<()> {
    let bucket = Bucket::fill(52, 1_500, 200)?;
    bucket.server.set_faults(|seen| match seen.before {
        0 if seen.is_get() && seen.key.contains("user+1") => Fault::Stall(2_000),
        _ => Fault::None,
    });
    bucket.backfill().succeed(Duration::from_secs(100))?;
    bucket.demand()
}

#[test]
fn a_truncated_object_is_named_and_can_be_skipped() -> Result<()> {
    let bucket = Bucket::fill(53, 3_000, 50)?;
    let key = bucket.lake.key("pin", 1, 100, None);
    let whole = bucket.lake.get(&key)?;
    bucket.lake.remove(&key)?;
    let damaged = format!("{key}.gz");
    let packed = gzip(&[&whole])?;
    bucket.lake.put(&damaged, &packed[..packed.len() / 2])?;

    let mut stopped = bucket.backfill().start()?;
    stopped.expect(1, SOON)?;
    let said = stopped.stderr();
    ensure!(
        said.contains("pin+1+0000000100.json.gz") && said.contains("--skip-unreadable"),
        "{said}"
    );
    let database = Database::connect(&bucket.postgres.url())?;
    ensure!(
        database.number("SELECT commits FROM pinflow.progress")? == 0,
        "something was committed"
    );

    let mut skipping = bucket.backfill().args(["--skip-unreadable"]).start()?;
    skipping.expect(0, SOON)?;
    let said = skipping.stderr();
    let gap = said.lines().find(|line| line.starts_with("gap ")).unwrap_or_default();
    // what the object held before the place where it breaks is not lost
    ensure!(
        gap.starts_with("gap pin/1 1") && gap.ends_with("..150"),
        "the gap is {gap:?}: {said}"
    );
    let recorded = "SELECT 'gap ' || topic || '/' || partition || ' ' || from_offset || '..' || to_offset FROM pinflow.gaps \
                    WHERE reason = 'unreadable'";
    ensure!(
        database.value(recorded)?.as_deref() == Some(gap),
        "the gap is not recorded"
    );

    // readable again, it is taken in
    bucket.lake.put(&damaged, &packed)?;
    bucket.backfill().succeed(SOON)?;
    bucket.demand()?;
    ensure!(
        database.number("SELECT count(*) FROM pinflow.gaps")? == 0,
        "the gap is still recorded"
    );
    Ok(())
}

/// An object of several members and many chunks whose last member is damaged: by then most of it has been read. When such
/// objects are skipped nothing of it is in the answer, so that the recorded gap is all of what is missing.
#[test]
fn nothing_of_a_large_object_that_fails_late_is_taken_in() -> Result<()> {
    let bucket = Bucket::fill(57, 9_000, 3_000)?;
    let key = bucket.lake.key("pin", 1, 0, None);
    let whole = bucket.lake.get(&key)?;
    let records = whole.iter().filter(|byte| **byte == b'\n').count();
    ensure!(
        whole.len() > 2 * (256 << 10),
        "{} bytes are no three chunks",
        whole.len()
    );
    bucket.lake.remove(&key)?;
    let (first, rest) = whole.split_at(whole.len() / 2);
    let mut packed = gzip(&[first, rest])?;
    // the checksum of the last member
    let at = packed.len() - 6;
    packed[at] ^= 0x40;
    bucket.lake.put(&format!("{key}.gz"), &packed)?;

    let mut stopped = bucket.backfill().start()?;
    stopped.expect(1, SOON)?;
    ensure!(
        stopped.stderr().contains("pin+1+0000000000.json.gz"),
        "{}",
        stopped.stderr()
    );

    // the rest of the partition is behind the object, or there is no hole to be seen
    let mut workload = Workload::new(58, 2);
    workload.take(3 * records);
    let more = &workload.log[&(0, 1)];
    let mut lines = Vec::new();
    for (_, value) in more {
        lines.extend_from_slice(value.as_deref().unwrap_or_default());
        lines.push(b'\n');
    }
    bucket
        .lake
        .put(&bucket.lake.key("pin", 1, records as i64, None), &lines)?;

    bucket.backfill().args(["--skip-unreadable"]).succeed(SOON)?;
    let database = Database::connect(&bucket.postgres.url())?;
    let recorded = "SELECT topic || '/' || partition || ' ' || from_offset || '..' || to_offset || ' ' || reason FROM pinflow.gaps";
    let gap = database.value(recorded)?;
    ensure!(
        gap == Some(format!("pin/1 0..{records} unreadable")),
        "the gap is {gap:?}"
    );
    let taken = format!("SELECT count(*) FROM pinflow.pin_table WHERE log_partition = 1 AND log_offset < {records}");
    ensure!(
        database.number(&taken)? == 0,
        "records of the damaged object are in the tables"
    );
    Ok(())
}

#[test]
fn a_key_that_may_not_be_read_is_named() -> Result<()> {
    let bucket = Bucket::fill(54, 900, 50)?;
    bucket.server.set_faults(|seen| {
        if seen.is_get() && seen.key.ends_with("geo+0+0000000050.json") {
            Fault::Status(403)
        } else {
            Fault::None
        }
    });
    let mut stopped = bucket.backfill().start()?;
    stopped.expect(1, SOON)?;
    let said = stopped.stderr();
    ensure!(said.contains("geo+0+0000000050.json"), "{said}");
    bucket.server.clear_faults();
    bucket.backfill().succeed(SOON)?;
    bucket.demand()
}

#[test]
fn a_list_that_misses_a_key_is_asked_again_and_believed_in_the_end() -> Result<()> {
    let bucket = Bucket::fill(55, 3_000, 50)?;
    let hidden = |key: &str| key.ends_with("pin+0+0000000100.json") || key.ends_with("user+1+0000000000.json");
    let read = Arc::new(AtomicBool::new(false));
    let reading = Arc::clone(&read);
    // the keys appear once the first objects are read
    bucket.server.set_faults(move |seen| {
        if seen.is_get() && seen.key.contains("+0000") {
            reading.store(true, Ordering::Relaxed);
        }
        if seen.is_list() && !reading.load(Ordering::Relaxed) {
            Fault::hide(hidden)
        } else {
            Fault::None
        }
    });
    bucket.backfill().succeed(SOON)?;
    bucket.demand()?;
    ensure!(read.load(Ordering::Relaxed), "no object was read");

    // a key that does not appear is a gap; one at the end cannot be missed
    bucket.server.set_faults(|seen| {
        if seen.is_list() {
            Fault::hide(|key| key.ends_with("pin+0+0000000100.json"))
        } else {
            Fault::None
        }
    });
    let mut stopped = bucket.backfill().args(["--schema", "missing"]).start()?;
    stopped.expect(1, SOON)?;
    ensure!(
        stopped.stderr().lines().any(|line| line == "gap pin/0 100..150"),
        "{}",
        stopped.stderr()
    );

    // every key twice is every key once
    bucket
        .server
        .set_faults(|seen| if seen.is_list() { Fault::Repeat } else { Fault::None });
    bucket.backfill().args(["--schema", "twice"]).succeed(SOON)?;
    demand_answer(&bucket.workload, &bucket.postgres.url(), "twice", 10, SOON)
}

#[test]
fn more_than_a_thousand_keys_are_listed_to_the_end() -> Result<()> {
    let bucket = Bucket::fill(56, 5_000, 2)?;
    bucket.backfill().args(["-w", "2"]).succeed(SOON)?;
    bucket.demand()
}
