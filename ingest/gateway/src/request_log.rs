//! Metrics and the access log line of a request, written when its answer is complete.

use super::access_log::Line;
use super::state::State;
use super::target::Interface;
use http_server::Caller;
use http_server::quote::shortened;
use hyper::Method;
use hyper::header::HeaderValue;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

/// A request as the log describes it.
pub(super) struct RequestLog {
    pub(super) state: Arc<State>,
    /// `None`: no valid token.
    pub(super) caller: Option<Caller>,
    pub(super) interface: Interface,
    pub(super) began: Instant,
    pub(super) peer: IpAddr,
    pub(super) id: HeaderValue,
    pub(super) method: Method,
    pub(super) path: Arc<str>,
}

impl RequestLog {
    /// The answer is complete.
    pub(super) fn done(&self, status: u16, records: u64, bytes: u64) {
        let took = self.began.elapsed();
        let interface = self.interface.name();
        self.state.metrics.answered(interface, status, records, took);
        self.state.access_log.line(&Line {
            id: self.id.to_str().unwrap_or_default(),
            peer: self.peer,
            method: shortened(self.method.as_str()),
            path: shortened(&self.path),
            token: self.caller.as_ref().and_then(Caller::name),
            interface,
            status,
            records,
            bytes,
            took,
        });
    }
}
