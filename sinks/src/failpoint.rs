//! Places where a test may kill the process: `PINFLOW_FAILPOINT=name` aborts the first time that place is reached,
//! `name=N` the N-th time, `name@FILE` once that file exists.
//!
//! A test hook, not a feature: without the variable a check is one load.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// After `BEGIN`, before anything is written.
pub const AFTER_BEGIN: &str = "after_begin";
/// After the deletes (and upserts, which travel with them) were answered.
pub const AFTER_DELETE: &str = "after_delete";
/// After the first table of a result was dropped, before it is made anew.
pub const AFTER_DROP: &str = "after_drop";
/// Everything is written and answered, `COMMIT` is not sent.
pub const BEFORE_COMMIT: &str = "before_commit";
/// Postgres has committed, its answer is not looked at.
pub const AFTER_COMMIT: &str = "after_commit";
/// History is being staged: after the first `COPY` of a stager.
pub const DURING_STAGING: &str = "during_staging";

static CHOSEN: OnceLock<Option<Chosen>> = OnceLock::new();

struct Chosen {
    name: String,
    when: When,
}

enum When {
    /// Times that the place is still passed unharmed, and the one that is not.
    Left(AtomicU64),
    /// As soon as this file exists.
    Exists(PathBuf),
}

impl Chosen {
    fn read(text: &str) -> Chosen {
        if let Some((name, file)) = text.split_once('@') {
            return Chosen {
                name: name.to_owned(),
                when: When::Exists(file.into()),
            };
        }
        let (name, times) = text.split_once('=').unwrap_or((text, "1"));
        Chosen {
            name: name.to_owned(),
            when: When::Left(AtomicU64::new(times.parse().unwrap_or(1))),
        }
    }

    /// Whether this is the time to fail.
    fn fails_at(&self, name: &str) -> bool {
        self.name == name
            && match &self.when {
                When::Left(left) => left.fetch_sub(1, Ordering::Relaxed) == 1,
                When::Exists(file) => file.exists(),
            }
    }
}

fn chosen() -> Option<&'static Chosen> {
    CHOSEN
        .get_or_init(|| std::env::var("PINFLOW_FAILPOINT").ok().map(|text| Chosen::read(&text)))
        .as_ref()
}

/// Whether any fail point is chosen: a commit is then sent in parts, so that there is something between them.
pub(crate) fn armed() -> bool {
    chosen().is_some()
}

/// Aborts the process when `name` is the chosen fail point and its time has come.
pub(crate) fn reach(name: &str) {
    if chosen().is_some_and(|chosen| chosen.fails_at(name)) {
        eprintln!("fail point {name} reached: aborting");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_fail_point_can_be_chosen() {
        let fails = |text: &str| {
            let chosen = Chosen::read(text);
            (1..=4).filter(|_| chosen.fails_at(BEFORE_COMMIT)).count()
        };
        assert_eq!(
            (fails("before_commit"), fails("before_commit=3"), fails("after_commit")),
            (1, 1, 0)
        );
        let third = Chosen::read("before_commit=3");
        assert_eq!(
            [third.fails_at(BEFORE_COMMIT), third.fails_at(BEFORE_COMMIT)],
            [false, false]
        );
        assert!(third.fails_at(BEFORE_COMMIT));
        assert!(Chosen::read("before_commit@/").fails_at(BEFORE_COMMIT));
        assert!(!Chosen::read("before_commit@/no/such/file").fails_at(BEFORE_COMMIT));
    }
}
