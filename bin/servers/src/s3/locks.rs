//! One write at a time for each object, and no read meanwhile.
//!
//! s3s-fs writes an object's content and its metadata one after the other, and looks at the conditions of a write before
//! both. A reader in between would see a new object without its metadata, which S3 never shows, and of two writers that
//! ask for a new object both might be told that they made it.

use hyper::{Method, Request};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// The objects that requests are at work on.
#[derive(Debug, Default)]
pub(super) struct ObjectLocks {
    held: Mutex<HashMap<String, Arc<RwLock<()>>>>,
}

/// Held while a request is carried out.
#[expect(dead_code, reason = "held for what dropping it does")]
pub(super) enum Guard {
    Shared(OwnedRwLockReadGuard<()>),
    Exclusive(OwnedRwLockWriteGuard<()>),
}

impl ObjectLocks {
    /// Waits until the request may be carried out.
    pub(super) async fn enter<B>(&self, request: &Request<B>) -> Guard {
        let lock = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            // those that no request holds or waits for
            held.retain(|_, lock| Arc::strong_count(lock) > 1);
            Arc::clone(held.entry(request.uri().path().to_owned()).or_default())
        };
        if [Method::GET, Method::HEAD].contains(request.method()) {
            Guard::Shared(lock.read_owned().await)
        } else {
            Guard::Exclusive(lock.write_owned().await)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_write_waits_for_reads_of_its_object_alone() {
        let locks = ObjectLocks::default();
        let request = |method: &Method, path: &str| {
            let request = Request::builder().method(method).uri(path);
            request.body(()).unwrap()
        };
        let soon = Duration::from_millis(20);
        let (get, put) = (request(&Method::GET, "/b/a"), request(&Method::PUT, "/b/a"));
        let reads = [locks.enter(&get).await, locks.enter(&get).await];
        assert!(timeout(soon, locks.enter(&put)).await.is_err());
        assert!(
            timeout(soon, locks.enter(&request(&Method::PUT, "/b/other")))
                .await
                .is_ok()
        );
        drop(reads);
        let write = timeout(soon, locks.enter(&put)).await.unwrap();
        assert!(timeout(soon, locks.enter(&get)).await.is_err());
        drop(write);
        drop(timeout(soon, locks.enter(&get)).await.unwrap());
        drop(locks.enter(&request(&Method::GET, "/b/last")).await);
        assert_eq!(locks.held.lock().unwrap().len(), 1);
    }
}
