//! Places where a test may kill the process: `PINFLOW_FAILPOINT=name` aborts the first time that place is reached,
//! `name=N` the N-th time. A test hook, not a feature: without the variable a check is one load.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// An object is about to be written.
pub(crate) const ARCHIVE_BEFORE_PUT: &str = "archive_before_put";
/// An object is durable and not recorded yet.
pub(crate) const ARCHIVE_AFTER_PUT: &str = "archive_after_put";
/// Objects are durable, the group's offsets are not committed.
pub(crate) const ARCHIVE_BEFORE_COMMIT: &str = "archive_before_commit";
/// A merged object is about to be written.
pub(crate) const COMPACT_BEFORE_PUT: &str = "compact_before_put";
/// A merged object is durable and not verified yet.
pub(crate) const COMPACT_AFTER_PUT: &str = "compact_after_put";
/// Merged objects are verified, what they replace is there too.
pub(crate) const COMPACT_BEFORE_DELETE: &str = "compact_before_delete";
/// One of the replaced objects is about to be removed.
pub(crate) const COMPACT_DURING_DELETE: &str = "compact_during_delete";
/// A record has been handed to the producer, and the window that it is in has not been acknowledged.
pub(crate) const RESTORE_IN_WINDOW: &str = "restore_in_window";

static CHOSEN: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();

/// Aborts the process when `name` is the chosen fail point and its time has come.
pub fn reach(name: &str) {
    let read = || {
        let text = std::env::var("PINFLOW_FAILPOINT").ok()?;
        let (name, times) = text.split_once('=').unwrap_or((&text, "1"));
        Some((name.to_owned(), AtomicU64::new(times.parse().unwrap_or(1))))
    };
    let Some((chosen, left)) = CHOSEN.get_or_init(read) else {
        return;
    };
    if chosen == name && left.fetch_sub(1, Ordering::Relaxed) == 1 {
        eprintln!("fail point {name} reached: aborting");
        std::process::abort();
    }
}
