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

    /// [`Request::permit`] for what is not for everybody: where no token is required, it is for this machine alone.
    ///
    /// # Errors
    ///
    /// Those of [`Request::permit`]; and for requests of other machines where no token is required.
    pub fn permit_private(&self, need: Need<'_>) -> Result<&Caller, Refusal> {
        let caller = self.permit(need)?;
        match caller {
            Caller::Anyone if !self.peer.ip().to_canonical().is_loopback() => Err(Refusal::Remote),
            Caller::Anyone | Caller::Token(_) => Ok(caller),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn from(peer: &str, caller: Option<Caller>) -> Request {
        Request {
            head: hyper::Request::new(()).into_parts().0,
            peer: peer.parse().unwrap(),
            caller,
            entry: Arc::new(Entry::new(1, Instant::now())),
            streams: Streams::new(1),
        }
    }

    #[test]
    fn without_tokens_what_is_private_is_for_this_machine_alone() {
        let here = ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"];
        let elsewhere = ["10.0.0.7:1", "0.0.0.0:1", "[::ffff:10.0.0.7]:1", "[2001:db8::1]:1"];
        for peer in here {
            assert!(
                from(peer, Some(Caller::Anyone)).permit_private(Need::Read).is_ok(),
                "{peer}"
            );
        }
        for peer in elsewhere {
            let request = from(peer, Some(Caller::Anyone));
            assert_eq!(
                request.permit_private(Need::Read).unwrap_err(),
                Refusal::Remote,
                "{peer}"
            );
            assert!(request.permit(Need::Metrics).is_ok(), "{peer}");
        }
        for peer in here.iter().chain(&elsewhere) {
            let refusal = from(peer, None).permit_private(Need::Read).unwrap_err();
            assert_eq!(refusal, Refusal::Unauthenticated, "{peer}");
        }
    }
}
