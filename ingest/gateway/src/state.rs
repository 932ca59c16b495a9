//! What all requests share. It stands below the dialects, which know nothing of each other.

use super::access_log::AccessLogWriter;
use super::budget::{Budget, OverBudget, Permit};
use super::budget_lease::BudgetLease;
use super::config::{Limits, Stream};
use super::metrics::Metrics;
use super::readiness::Readiness;
use super::route::Router;
use super::sequence::SequenceClock;
use super::topics::Topics;
use bytes::Bytes;
use http_server::{Connections, RequestIds, SLOW, SignatureScope, Sites, Tokens};
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::Duration;

/// What all requests share.
pub(super) struct State {
    pub(super) router: Router,
    pub(super) streams: Vec<Stream>,
    pub(super) key_fields: Vec<String>,
    pub(super) limits: Limits,
    pub(super) topics: Arc<Topics>,
    pub(super) tokens: Tokens,
    /// Which signatures of AWS's clients are accepted.
    pub(super) signatures: SignatureScope,
    pub(super) sites: Sites,
    /// Whether clients speak TLS with the gateway.
    pub(super) is_encrypted: bool,
    pub(super) budget: Budget,
    /// What the budget has for requests before it is known who sends them, all together.
    pub(super) unknown: Budget,
    pub(super) metrics: Metrics,
    pub(super) access_log: AccessLogWriter,
    pub(super) connections: Arc<Connections>,
    pub(super) readiness: Readiness,
    pub(super) create_topics: bool,
    pub(super) delete_topics: bool,
    pub(super) version: &'static str,
    pub(super) process_metrics: fn() -> Registry,
    pub(super) openapi: Bytes,
    pub(super) ids: RequestIds,
    pub(super) sequence_clock: SequenceClock,
}

/// So much of the budget, as a divisor, is taken back from slow clients when none is free.
const ROOM: usize = 8;
/// So much of the budget, as a divisor, is for requests before it is known who sends them.
pub(super) const UNKNOWN: usize = 2;

impl State {
    /// The budget is exhausted: connections of slow clients that hold some of it are closed.
    pub(super) fn evict_slow_clients(&self) {
        let total = self.budget.total();
        self.connections.evict_slow_clients(total / ROOM, total);
    }

    /// So many bytes of the budget, as soon as they are free, for a connection that holds these already.
    pub(super) async fn take(&self, lease: &mut BudgetLease, bytes: usize) -> Result<(), OverBudget> {
        self.take_within(lease, bytes, self.limits.body_timeout).await
    }

    /// The same with a time of its own.
    pub(super) async fn take_within(
        &self,
        lease: &mut BudgetLease,
        bytes: usize,
        timeout: Duration,
    ) -> Result<(), OverBudget> {
        if lease.take(&self.budget, bytes).is_ok() {
            return Ok(());
        }
        lease.add(self.room(&self.budget, lease, bytes, timeout).await?);
        Ok(())
    }

    /// So many bytes, as soon as they are free, for what holds these already. Slow clients make room meanwhile.
    pub(super) async fn room(
        &self,
        budget: &Budget,
        lease: &BudgetLease,
        bytes: usize,
        timeout: Duration,
    ) -> Result<Permit, OverBudget> {
        if let Ok(permit) = budget.take(bytes) {
            return Ok(permit);
        }
        let entry = Arc::clone(lease.entry());
        let _waits = entry.waits_for_room(lease.bytes());
        // before any search: this one may find itself
        let mut given_up = std::pin::pin!(entry.given_up());
        self.evict_slow_clients();
        let mut room = std::pin::pin!(budget.wait(bytes, timeout));
        loop {
            tokio::select! {
                permit = &mut room => return permit,
                () = &mut given_up => return Err(OverBudget::Now),
                // who was at work a moment ago may be slow by now
                () = tokio::time::sleep(SLOW) => self.evict_slow_clients(),
            }
        }
    }
}
