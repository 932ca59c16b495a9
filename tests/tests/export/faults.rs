//! Whatever happens to an export, readers have the one before or the new one, whole.

use super::{Target, another_commit, commits, more_than_a_part, small_case};
use anyhow::{Result, ensure};
use pinflow_tests::case::SOON;
use pinflow_tests::uploads::{Step, step, unfinished_uploads};
use pinflow_tests::{Fault, S3Server, Seen, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Requests that wait until they are let go; then they are made again.
struct Hold(Arc<(AtomicBool, AtomicU64)>);

impl Hold {
    /// Holds the requests for which this is true.
    fn new(server: &S3Server, which: impl Fn(&Seen<'_>) -> bool + Send + Sync + 'static) -> Hold {
        let state = Arc::new((AtomicBool::new(true), AtomicU64::new(0)));
        let hold = Arc::clone(&state);
        server.set_faults(move |seen| {
            if !hold.0.load(Ordering::Relaxed) || !which(seen) {
                return Fault::None;
            }
            hold.1.fetch_add(1, Ordering::Relaxed);
            Fault::After(Duration::from_millis(50), Box::new(Fault::Status(503)))
        });
        Hold(state)
    }

    /// Waits until a request is held.
    fn reached(&self) -> Result<()> {
        eventually("a request that is held", SOON, || {
            Ok(self.0.1.load(Ordering::Relaxed) > 0)
        })
    }

    fn release(&self) {
        self.0.0.store(false, Ordering::Relaxed);
    }
}

fn writes_manifest(seen: &Seen<'_>) -> bool {
    seen.is_put() && seen.key.ends_with("manifest.json")
}

/// The last table's file, which is small.
fn writes_last_file(seen: &Seen<'_>) -> bool {
    seen.is_put() && seen.key.ends_with("user_table.parquet")
}

#[test]
fn an_export_that_fails_leaves_the_one_before() -> Result<()> {
    let case = small_case("export_dies")?;
    let (schema, database) = (case.name.as_str(), case.database()?);
    let server = S3Server::start(case.folder().join("s3"))?;
    let uploads = case.folder().join("s3");
    let target = Target::bucket(&server, "exports")?;
    let export = || target.export(&case, schema).args(["--s3-part-size", "5242880"]);
    export().succeed(SOON)?;
    let first = target.exported()?;
    more_than_a_part(&case)?;
    let unchanged = |left: usize| -> Result<()> {
        ensure!(target.exported()? == first, "another export stands there");
        ensure!(target.folders()?.len() == 1 + left, "{:?}", target.folders()?);
        Ok(())
    };

    // killed between two parts, before the last file, before the manifest
    let hold = Hold::new(&server, |seen| step(seen) == Some(Step::Part(2)));
    let mut killed = export().start()?;
    hold.reached()?;
    killed.kill()?;
    unchanged(0)?;
    ensure!(unfinished_uploads(&uploads)? == 1, "nothing was under way");
    for (left, held) in [(1, writes_last_file as fn(&Seen<'_>) -> bool), (2, writes_manifest)] {
        let hold = Hold::new(&server, held);
        let mut killed = export().start()?;
        hold.reached()?;
        killed.kill()?;
        unchanged(left)?;
    }

    // told to stop, refused by the server, left by the database: what was written is gone
    let hold = Hold::new(&server, |seen| step(seen) == Some(Step::Complete));
    let mut stopped = export().start()?;
    hold.reached()?;
    stopped.terminate()?;
    stopped.wait_for("stopping", SOON)?;
    hold.release();
    stopped.expect(1, SOON)?;
    ensure!(stopped.stderr().contains("nothing was published"), "{}", stopped.tail());
    unchanged(2)?;
    server.set_faults(|seen| match step(seen) {
        Some(Step::Part(2)) => Fault::Refused(403, "AccessDenied"),
        _ => Fault::None,
    });
    let mut refused = export().start()?;
    refused.expect(1, SOON)?;
    ensure!(refused.stderr().contains("AccessDenied"), "{}", refused.tail());
    unchanged(2)?;
    let hold = Hold::new(&server, |seen| step(seen) == Some(Step::Complete));
    let mut left = export().start()?;
    hold.reached()?;
    let ended = database.number(&format!(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() \
         AND query LIKE '%\"{schema}\".\"pin_table\" ORDER BY%'"
    ))?;
    ensure!(ended == 1, "{ended} sessions were reading");
    hold.release();
    left.expect(1, SOON)?;
    unchanged(2)?;
    ensure!(unfinished_uploads(&uploads)? == 1, "an upload was left behind");

    // answers are lost, of the manifest's as well: it is published all the same
    server.set_faults(|seen| match (step(seen), seen.before) {
        (Some(Step::Complete), 1) => Fault::LoseAnswer,
        (None, 0) if writes_manifest(seen) || writes_last_file(seen) => Fault::LoseAnswer,
        _ => Fault::None,
    });
    export().args(["--keep", "0s"]).succeed(SOON)?;
    server.clear_faults();
    let last = target.exported()?;
    last.demand(&database, schema)?;
    // what was replaced is removed; what may be another one's that is under way is not
    let folders = target.folders()?;
    ensure!(
        folders.len() == 3 && folders.contains(&last.folder()) && !folders.contains(&first.folder()),
        "{folders:?}"
    );

    // the answer to the manifest's write is lost until the export gives up: the manifest stands, and so do its files
    server.set_faults(|seen| match (writes_manifest(seen), seen.before) {
        (true, 0) => Fault::LoseAnswer,
        (true, _) => Fault::Status(503),
        (false, _) => Fault::None,
    });
    let mut unanswered = export().args(["--lake-timeout", "1s"]).start()?;
    unanswered.expect(1, SOON)?;
    server.clear_faults();
    let standing = target.exported()?;
    ensure!(standing.folder() != last.folder(), "nothing was published");
    standing.demand(&database, schema)
}

#[test]
fn of_two_exports_at_once_the_later_commit_stays() -> Result<()> {
    let case = small_case("export_twice")?;
    let (schema, database) = (case.name.as_str(), case.database()?);
    let server = S3Server::start(case.folder().join("s3"))?;
    let target = Target::bucket(&server, "exports")?;
    let export = || target.export(&case, schema);
    let earlier = commits(&case)?;
    let of = |commit: i64| format!("commit-{commit:012}-");

    // the earlier one is slow: it was first, and nothing stood there
    let slow = of(earlier);
    let hold = Hold::new(&server, move |seen| writes_last_file(seen) && seen.key.contains(&slow));
    let mut overtaken = export().start()?;
    hold.reached()?;
    another_commit(&case, 2)?;
    export().succeed(SOON)?;
    let published = target.exported()?;
    ensure!(published.commit() > earlier, "{:#}", published.manifest);
    hold.release();
    overtaken.expect(0, SOON)?;
    let said = overtaken.stdout();
    let superseded = format!("another export has published commit {} meanwhile", published.commit());
    ensure!(said.starts_with(&superseded), "{said}");
    ensure!(
        target.exported()? == published && target.folders()? == [published.folder()].into(),
        "{:?}",
        target.folders()?
    );

    // the later one is slow: it replaces what the earlier one has published meanwhile
    let slow = of(published.commit());
    let hold = Hold::new(&server, move |seen| writes_last_file(seen) && seen.key.contains(&slow));
    let mut before = export().start()?;
    hold.reached()?;
    another_commit(&case, 3)?;
    let later = commits(&case)?;
    let hold_later = Hold::new(&server, writes_last_file);
    let mut behind = export().start()?;
    eventually("the later one's first file", SOON, || Ok(target.folders()?.len() == 3))?;
    hold_later.reached()?;
    let slow = of(later);
    let hold_later = Hold::new(&server, move |seen| writes_last_file(seen) && seen.key.contains(&slow));
    before.expect(0, SOON)?;
    ensure!(
        target.exported()?.commit() == published.commit(),
        "the earlier one was not published"
    );
    hold_later.release();
    behind.expect(0, SOON)?;
    let last = target.exported()?;
    ensure!(last.commit() == later, "{:#}", last.manifest);
    last.demand(&database, schema)
}
