//! Places where a test may kill the process: `PINFLOW_FAILPOINT=name` aborts the first time that place is reached.
//!
//! A test hook, not a feature: without the variable a check is one load.

use std::sync::OnceLock;

/// After `BEGIN`, before anything is written.
pub const AFTER_BEGIN: &str = "after_begin";
/// After the deletes (and upserts, which travel with them) were answered.
pub const AFTER_DELETE: &str = "after_delete";
/// Everything is written and answered, `COMMIT` is not sent.
pub const BEFORE_COMMIT: &str = "before_commit";
/// Postgres has committed, its answer is not looked at.
pub const AFTER_COMMIT: &str = "after_commit";
/// History is being staged: after the first `COPY` of a stager.
pub const DURING_STAGING: &str = "during_staging";

static CHOSEN: OnceLock<Option<String>> = OnceLock::new();

fn chosen() -> Option<&'static str> {
    CHOSEN
        .get_or_init(|| std::env::var("PINFLOW_FAILPOINT").ok())
        .as_deref()
}

/// Whether any fail point is chosen: a commit is then sent in parts, so that there is something between them.
pub(crate) fn armed() -> bool {
    chosen().is_some()
}

/// Aborts the process when `name` is the chosen fail point.
pub(crate) fn reach(name: &str) {
    if chosen() == Some(name) {
        eprintln!("fail point {name} reached: aborting");
        std::process::abort();
    }
}
