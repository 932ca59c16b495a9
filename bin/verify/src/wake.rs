//! Waiting for a background reader or stager on the thread that takes what it has.

use std::sync::Arc;
use std::time::Duration;

/// The longest wait: polling once more costs nothing.
const LONGEST: Duration = Duration::from_millis(100);

/// A callback that ends a [`wait`] of this thread, the one that is going on or else the next one.
pub fn waker() -> Arc<dyn Fn() + Send + Sync> {
    let thread = std::thread::current();
    Arc::new(move || thread.unpark())
}

/// Waits until a [`waker`] of this thread is called, at most 100 ms.
pub fn wait() {
    std::thread::park_timeout(LONGEST);
}
