//! Ids of requests: the client's own, or one that differs between servers and restarts.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

/// The header that carries it, both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Makes ids.
pub struct RequestIds {
    prefix: u64,
    next: AtomicU64,
}

impl Default for RequestIds {
    fn default() -> RequestIds {
        RequestIds::new()
    }
}

impl RequestIds {
    /// Ids that begin with a number of this process.
    pub fn new() -> RequestIds {
        // the standard library's hashers are seeded by the system's randomness
        let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
        hasher.write_u32(std::process::id());
        RequestIds {
            prefix: hasher.finish(),
            next: AtomicU64::new(0),
        }
    }

    /// The client's own id when it is a sensible one, else a new one.
    pub fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let sensible = |bytes: &&[u8]| (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic);
        let given = headers.get(REQUEST_ID).map(HeaderValue::as_bytes).filter(sensible);
        // a copy: the header itself would keep all of the request's head
        let given = given.and_then(|bytes| HeaderValue::from_bytes(bytes).ok());
        given.unwrap_or_else(|| self.next())
    }

    /// A new one.
    pub fn next(&self) -> HeaderValue {
        let id = format!("{:016x}-{:x}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed));
        HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}
