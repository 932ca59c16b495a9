//! What the lake has of the log, audited when it is asked for.
//!
//! An audit lists the whole lake and asks for objects whose names do not tell where they end. So it is made for a request,
//! one at a time, and its answer is kept for a minute; who comes meanwhile waits for the same one. It goes on where its
//! client does not wait for its end.

use crate::error::{ApiError, shown};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long an answer is given again.
const KEPT: Duration = Duration::from_secs(60);
/// How long a request waits.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes an audit and says what it found, or why it could not be made; may block.
type Make = dyn Fn() -> Result<Value, String> + Send + Sync;

/// Who makes audits.
#[derive(Clone)]
pub struct Auditor(Arc<Make>);

impl Auditor {
    /// An auditor; `make` runs on a thread that may block.
    pub fn new(make: impl Fn() -> Result<Value, String> + Send + Sync + 'static) -> Auditor {
        Auditor(Arc::new(make))
    }
}

impl fmt::Debug for Auditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auditor").finish_non_exhaustive()
    }
}

type Found = Result<Value, String>;

/// See the module's head.
#[derive(Debug)]
pub struct Audits {
    auditor: Option<Auditor>,
    last: Arc<Mutex<Option<(Instant, Found)>>>,
}

impl Audits {
    /// None without an auditor.
    pub fn new(auditor: Option<Auditor>) -> Audits {
        let last = Arc::default();
        Audits { auditor, last }
    }

    /// What an audit finds that is a minute old at most.
    ///
    /// # Errors
    /// 404 where the run reads no lake; 503 where the audit fails or takes longer.
    pub async fn newest(&self) -> Result<Value, ApiError> {
        let Some(Auditor(make)) = self.auditor.clone() else {
            let hint = "run with --lake, or audit another lake with `pinflow audit --lake URL`";
            let error = "this run reads no lake";
            return Err(ApiError::new(hyper::StatusCode::NOT_FOUND, error, hint));
        };
        let last = Arc::clone(&self.last);
        let audit = tokio::spawn(async move {
            let mut last = last.lock_owned().await;
            if let Some((at, found)) = &*last
                && at.elapsed() < KEPT
            {
                return found.clone();
            }
            let made = tokio::task::spawn_blocking(move || make()).await;
            let found = made.unwrap_or_else(|_| Err("the audit panicked".to_owned()));
            *last = Some((Instant::now(), found.clone()));
            found
        });
        match tokio::time::timeout(PATIENCE, audit).await {
            Ok(Ok(Ok(found))) => Ok(found),
            Ok(Ok(Err(error))) => {
                tracing::warn!(%error, "the lake cannot be audited");
                Err(ApiError::unavailable(
                    shown(&error).trim_matches('`'),
                    "try again in a minute",
                ))
            }
            Ok(Err(_)) | Err(_) => {
                let error = format!("the audit takes longer than {} s", PATIENCE.as_secs());
                Err(ApiError::unavailable(error, "it goes on: ask again"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn who_comes_together_gets_one_audit() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let audits = Arc::new(Audits::new(Some(Auditor::new(move || {
            std::thread::sleep(Duration::from_millis(50));
            Ok(serde_json::json!({ "number": count.fetch_add(1, Ordering::SeqCst) }))
        }))));
        let first = {
            let audits = Arc::clone(&audits);
            tokio::spawn(async move { audits.newest().await })
        };
        // this one leaves before the end of the audit, which goes on
        let left = tokio::time::timeout(Duration::from_millis(10), audits.newest()).await;
        assert!(left.is_err());
        let second = audits.newest().await.unwrap();
        assert_eq!(first.await.unwrap().unwrap(), second);
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_fails_is_said_and_not_tried_again_at_once() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&made);
        let audits = Audits::new(Some(Auditor::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
            Err("the lake is away".to_owned())
        })));
        for _ in 0..2 {
            let error = audits.newest().await.unwrap_err();
            assert_eq!((error.status.as_u16(), error.error.as_str()), (503, "the lake is away"));
        }
        assert_eq!(made.load(Ordering::SeqCst), 1);
        assert_eq!(Audits::new(None).newest().await.unwrap_err().status, 404);
    }
}
