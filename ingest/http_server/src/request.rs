//! A request as a handler sees it: its head, and who sends it.

use super::caller::Caller;
use super::entry::Entry;
use super::refusal::Refusal;
use super::scope::Need;
use super::streams::{StreamPlace, Streams};
use hyper::Method;
use hyper::http::request::Parts;
use std::net::SocketAddr;
use std::sync::Arc;

/// A request, without its body.
pub struct Request {
    /// Method, target and headers.
    pub head: Parts,
    /// The address it comes from.
    pub peer: SocketAddr,
    /// Who sends it; `None`: a token is required, and it has none that is valid.
    pub caller: Option<Caller>,
    pub(crate) entry: Arc<Entry>,
    pub(crate) streams: Arc<Streams>,
}

impl Request {
    /// Takes the request from the rate of its token, and says who sends it if that may do this.
    ///
    /// # Errors
    ///
    /// Where there is no valid token, its rate is used up, or its scopes do not cover the need.
    pub fn permit(&self, need: Need<'_>) -> Result<&Caller, Refusal> {
        let caller = self.caller.as_ref().ok_or(Refusal::Unauthenticated)?;
        caller.take()?;
        if caller.may(need) {
            Ok(caller)
        } else {
            Err(Refusal::Scope(need.to_string()))
        }
    }

    /// Whether the request reads, as all that a small server answers do.
    ///
    /// # Errors
    ///
    /// For methods other than `GET` and `HEAD`.
    pub fn reads(&self) -> Result<(), Refusal> {
        match self.head.method {
            Method::GET | Method::HEAD => Ok(()),
            _ => Err(Refusal::Method),
        }
    }

    /// Room for an answer that lasts until its client or the server ends it. It belongs to the body of the answer: see
    /// [`StreamPlace::body`].
    ///
    /// # Errors
    ///
    /// Where as many streams are open as there may be.
    pub fn stream(&self) -> Result<StreamPlace, Refusal> {
        let caller = self.caller.clone().unwrap_or(Caller::Anyone);
        self.streams.place(&self.entry, caller).ok_or(Refusal::Streams)
    }
}
