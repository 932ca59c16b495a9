//! Bytes of the budget that a connection holds while its client is waited for.

use super::budget::{Budget, OverBudget, Permit};
use http_server::Entry;
use std::sync::Arc;

/// Bytes that come back when the connection is closed; its entry knows how many.
pub(super) struct BudgetLease {
    permit: Permit,
    entry: Arc<Entry>,
}

impl BudgetLease {
    /// Nothing yet.
    pub(super) fn none(budget: &Budget, entry: &Arc<Entry>) -> BudgetLease {
        BudgetLease {
            permit: budget.none(),
            entry: Arc::clone(entry),
        }
    }

    /// Takes so many bytes more, if they are free.
    pub(super) fn take(&mut self, budget: &Budget, bytes: usize) -> Result<(), OverBudget> {
        self.add(budget.take(bytes)?);
        Ok(())
    }

    /// Adds bytes.
    pub(super) fn add(&mut self, permit: Permit) {
        self.entry.hold(permit.bytes());
        self.permit.add(permit);
    }

    /// The connection that holds them.
    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// How many they are.
    pub(super) fn bytes(&self) -> usize {
        self.permit.bytes()
    }

    /// Takes so many of them out.
    pub(super) fn split(&mut self, bytes: usize) -> BudgetLease {
        BudgetLease {
            permit: self.permit.split(bytes),
            entry: Arc::clone(&self.entry),
        }
    }

    /// Gives back all but so many.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let before = self.permit.bytes();
        if before > bytes {
            self.permit.shrink(bytes);
            self.entry.release(before - bytes);
        }
    }

    /// So many of the bytes stay taken whatever becomes of the connection: they are on their way to Kafka.
    pub(super) fn hand_over(&mut self, bytes: usize) -> Permit {
        let permit = self.permit.split(bytes);
        self.entry.release(permit.bytes());
        permit
    }

    /// All of them.
    pub(super) fn hand_over_all(mut self) -> Permit {
        self.hand_over(usize::MAX)
    }
}

impl Drop for BudgetLease {
    fn drop(&mut self) {
        self.entry.release(self.permit.bytes());
    }
}
