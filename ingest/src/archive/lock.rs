//! One archiver of a topic at a time, as far as the lake has locks.

use super::error::ArchiveError;
use super::options::Observer;
use crate::lake::{Lake, LakeLock};
use std::time::Duration;
use tokio::sync::watch;

/// How often another archiver's lock is asked for.
const LOCK_EVERY: Duration = Duration::from_millis(250);

/// The lock of each topic, as soon as no other archiver of this machine has it; `None` when told to stop first.
pub(super) async fn lock(
    lake: &Lake,
    topics: &[String],
    observer: &dyn Observer,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<Vec<LakeLock>>, ArchiveError> {
    let mut locks = Vec::new();
    let mut names: Vec<&String> = topics.iter().collect();
    // all archivers lock in the same order, so that no two wait for each other
    names.sort();
    for topic in names {
        let mut told = false;
        loop {
            if let Some(lock) = lake.lock(&format!("archive-{topic}"))? {
                locks.push(lock);
                break;
            }
            if !std::mem::replace(&mut told, true) {
                tracing::info!(topic, "{} is locked by another archiver, waiting", lake.url());
                observer.waiting_for(topic);
            }
            tokio::select! {
                () = tokio::time::sleep(LOCK_EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return Ok(None),
            }
        }
    }
    Ok(Some(locks))
}
