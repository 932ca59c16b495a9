//! Records of a stream that its client has not been told about.
//!
//! A client may wait for the report of one record before it sends the next. Until it has been given all of them it is
//! not waited for.

use super::budget_lease::BudgetLease;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Notify;

/// How many records of a stream are not reported.
#[derive(Default)]
pub(super) struct Unreported {
    count: AtomicUsize,
    none: Notify,
}

/// What a record takes of the budget until it is reported; dropped when the report is written.
pub(super) struct Reporting {
    pub(super) lease: BudgetLease,
    of: Arc<Unreported>,
}

impl Unreported {
    /// A record of which so much is held is not reported yet.
    pub(super) fn add(self: &Arc<Self>, lease: BudgetLease) -> Reporting {
        self.count.fetch_add(1, Ordering::Relaxed);
        let of = Arc::clone(self);
        Reporting { lease, of }
    }

    /// Resolves when all records are reported; for one who waits.
    pub(super) async fn none(&self) {
        while self.count.load(Ordering::Acquire) > 0 {
            self.none.notified().await;
        }
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        if self.of.count.fetch_sub(1, Ordering::Release) == 1 {
            self.of.none.notify_one();
        }
    }
}
