//! What all requests share. It stands below the dialects, which know nothing of each other.

use super::access_log::AccessLogWriter;
use super::auth::Tokens;
use super::budget::{Budget, OverBudget};
use super::config::{Limits, Stream};
use super::connections::Connections;
use super::held::Held;
use super::metrics::Metrics;
use super::readiness::Readiness;
use super::request_id::RequestIds;
use super::route::Router;
use super::sequence::Moments;
use super::sites::Sites;
use super::topics::Topics;
use bytes::Bytes;
use prometheus_client::registry::Registry;
use std::sync::Arc;

/// What all requests share.
pub(super) struct State {
    pub(super) router: Router,
    pub(super) streams: Vec<Stream>,
    pub(super) key_fields: Vec<String>,
    pub(super) limits: Limits,
    pub(super) topics: Arc<Topics>,
    pub(super) tokens: Tokens,
    pub(super) sites: Sites,
    pub(super) budget: Budget,
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
    pub(super) moments: Moments,
}

/// So much of the budget, as a divisor, is taken back from slow clients when none is free.
const ROOM: usize = 8;

impl State {
    /// The budget is exhausted: connections of slow clients that hold some of it are closed.
    pub(super) fn make_room(&self) {
        self.connections.close_slow_holders(self.budget.total() / ROOM);
    }

    /// So many bytes of the budget, as soon as they are free, for a connection that holds these already.
    pub(super) async fn take(&self, held: &mut Held, bytes: usize) -> Result<(), OverBudget> {
        if held.take(&self.budget, bytes).is_ok() {
            return Ok(());
        }
        self.make_room();
        held.add(self.budget.wait(bytes, self.limits.body_timeout).await?);
        Ok(())
    }
}
