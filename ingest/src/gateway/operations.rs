//! What the gateway says of itself: `/healthz`, `/readyz`, `/metrics`, `/version`.

use super::metrics::CONTENT_TYPE;
use super::reply::Reply;
use super::service::Shared;
use hyper::StatusCode;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

const TEXT: &str = "text/plain; charset=utf-8";

/// The process lives.
pub(super) fn health() -> Reply {
    Reply::new(StatusCode::OK, TEXT, "ok\n")
}

/// Kafka can be reached, and the gateway is not ending.
pub(super) fn ready(shared: &Shared) -> Reply {
    let obstacle = match shared.ending.load(Ordering::Relaxed) {
        true => Some("the gateway is ending".to_owned()),
        false => shared.obstacle.read().unwrap_or_else(PoisonError::into_inner).clone(),
    };
    match obstacle {
        None => Reply::new(StatusCode::OK, TEXT, "ready\n"),
        Some(text) => Reply::new(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {text}\n")),
    }
}

pub(super) fn metrics(shared: &Shared) -> Reply {
    let process = (shared.process_metrics)();
    let in_flight = shared.budget.in_flight();
    let text = shared
        .metrics
        .text(&process, in_flight, shared.connections.count(), shared.access.dropped());
    Reply::new(StatusCode::OK, CONTENT_TYPE, text)
}

pub(super) fn version(shared: &Shared) -> Reply {
    Reply::json(serde_json::json!({ "name": "pinflow", "version": shared.version }).to_string())
}
