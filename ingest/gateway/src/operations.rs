//! What the gateway says of itself: `/healthz`, `/readyz`, `/metrics`, `/version`.

use super::api_error::ApiError;
use super::metrics::CONTENT_TYPE;
use super::reply::{Reply, TEXT};
use super::state::State;
use http_server::quote::shortened;
use hyper::StatusCode;

/// The process lives.
pub(super) fn health() -> Reply {
    Reply::new(StatusCode::OK, TEXT, "ok\n")
}

/// Kafka can be reached, and the gateway is not ending.
pub(super) fn ready(state: &State) -> Reply {
    match state.readiness.unready_reason() {
        None => Reply::new(StatusCode::OK, TEXT, "ready\n"),
        Some(text) => Reply::new(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("not ready: {text}\n")),
    }
}

pub(super) fn metrics(state: &State) -> Reply {
    let process = (state.process_metrics)();
    let (in_flight, connections) = (state.budget.in_flight(), state.connections.count());
    let dropped = state.access_log.dropped();
    let text = state.metrics.text(&process, in_flight, connections, dropped);
    Reply::new(StatusCode::OK, CONTENT_TYPE, text)
}

pub(super) fn version(state: &State) -> Reply {
    Reply::json(serde_json::json!({ "name": "pinflow", "version": state.version }).to_string())
}

/// An error in plain text.
pub(super) fn error(error: &ApiError) -> Reply {
    error.with_headers(Reply::new(
        error.status(),
        TEXT,
        format!("{}\n", shortened(&error.to_string())),
    ))
}
