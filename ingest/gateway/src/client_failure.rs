//! What librdkafka says about its connections, and that explains why a record or a question fails: by itself a failure
//! is only late.

use ingest::kafka::Authentication;
use rdkafka::error::RDKafkaErrorCode as Code;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The failure of one client.
#[derive(Default)]
pub(super) struct ClientFailure {
    /// Whether there is any, so that what succeeds takes no lock.
    any: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    authentication: Authentication,
    denied: bool,
}

/// Why nothing succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// Kafka does not accept our credentials.
    Unauthenticated,
    /// Kafka does not let us produce.
    Denied,
}

impl ClientFailure {
    /// An error of the client as a whole.
    pub(super) fn error(&self, code: Option<Code>, reason: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match code {
            Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism) => {
                known.authentication.failed(Instant::now(), reason);
            }
            Some(Code::ClusterAuthorizationFailed | Code::TopicAuthorizationFailed) => known.denied = true,
            _ => return,
        }
        self.any.store(true, Ordering::Relaxed);
    }

    /// Kafka has answered a question: it accepts our credentials, and may refuse records all the same.
    pub(super) fn is_known(&self) {
        if self.any.load(Ordering::Relaxed) {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.authentication.worked();
            self.any.store(known.denied, Ordering::Relaxed);
        }
    }

    /// A record was taken.
    pub(super) fn is_over(&self) {
        if self.any.load(Ordering::Relaxed) {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.authentication.worked();
            known.denied = false;
            self.any.store(false, Ordering::Relaxed);
        }
    }

    /// The cause of what fails now, where it is known and will not pass by itself.
    pub(super) fn cause(&self) -> Option<Cause> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match () {
            () if known.authentication.is_final() => Some(Cause::Unauthenticated),
            () if known.denied => Some(Cause::Denied),
            () => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_stands_until_something_succeeds() {
        let failure = ClientFailure::default();
        failure.error(Some(Code::BrokerTransportFailure), "away");
        assert_eq!(failure.cause(), None);
        failure.error(Some(Code::ClusterAuthorizationFailed), "no");
        assert_eq!(failure.cause(), Some(Cause::Denied));
        failure.error(Some(Code::Authentication), "who are you");
        assert_eq!(failure.cause(), Some(Cause::Unauthenticated));
        failure.is_known();
        assert_eq!(failure.cause(), Some(Cause::Denied), "a question is no record");
        failure.is_over();
        assert_eq!(failure.cause(), None);
        // it has worked, so that a broker that restarts may not know its users yet
        failure.error(Some(Code::Authentication), "who are you");
        assert_eq!(failure.cause(), None);
    }
}
