//! Reads one shard, from a position to its end: a task, which hands over page after page in order.
//!
//! Before it asks for records it takes as much of the bridge's budget as an answer may need, and gives back what the
//! answer did not: what is read and not committed is bounded, whatever the number of shards.
//!
//! Kinesis does not say when it trimmed records that were never read: it continues with the oldest one that is left. So
//! the reader knows how far behind the tip it was, and stops where that, and the time since, is more than the stream
//! keeps.

use super::error::BridgeError;
use super::failure::Failure;
use super::kinesis::Kinesis;
use super::observer::Observer;
use super::patience::Patience;
use super::positions::{Position, now_ms, time};
use super::shard::{Record, ShardId, Start};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

/// The most that one answer holds: 10 MB, and one record more.
pub(crate) const MOST_PAGE_BYTES: usize = 20 << 20;
/// A shard may be asked five times a second, by all of its readers together.
const FASTEST: Duration = Duration::from_millis(200);

/// What all readers share.
pub(crate) struct Shared {
    pub(crate) kinesis: Kinesis,
    pub(crate) stream: String,
    pub(crate) observer: Arc<dyn Observer>,
    /// Bytes that may be read and not committed.
    pub(crate) budget: Arc<Semaphore>,
    /// How long the stream keeps its records, in milliseconds.
    pub(crate) retention_ms: AtomicU64,
    pub(crate) poll_interval: Duration,
    pub(crate) accept_trimmed: bool,
}

/// A page of a shard.
pub(crate) struct Read {
    pub(crate) shard: ShardId,
    pub(crate) records: Vec<Record>,
    /// Records that arrived until this time were read, in milliseconds since 1970.
    pub(crate) read_until_ms: i64,
    /// How far behind the tip this is.
    pub(crate) behind: Duration,
    /// Nothing follows: the shard is closed.
    pub(crate) ended: bool,
    /// What the records take of the budget.
    pub(crate) held: OwnedSemaphorePermit,
}

impl Read {
    /// The position behind it, where there was one before it.
    pub(crate) fn position(&self, before: Option<&Position>) -> Position {
        let last = self.records.last();
        let sequence = last.map(|last| last.sequence.clone());
        // a shard may have been closed long before its end was read, and the children's records begin there
        let closed_after = last
            .and_then(|last| last.arrival_ms)
            .or(before.map(|before| before.read_until_ms))
            .filter(|earlier| self.ended && *earlier < self.read_until_ms);
        Position {
            sequence: sequence.or_else(|| before.and_then(|before| before.sequence.clone())),
            read_until_ms: closed_after.unwrap_or(self.read_until_ms),
            ended: self.ended,
            followed: false,
        }
    }
}

/// Reads a shard to its end, or until nobody takes its pages. `age` is how old what was read last is.
///
/// # Errors
/// Kinesis refuses to go on, or records were trimmed before they were read.
pub(crate) async fn read(
    shared: &Shared,
    shard: ShardId,
    mut start: Start,
    age: Option<Duration>,
    pages: &mpsc::Sender<Read>,
) -> Result<(), BridgeError> {
    let mut patience = Patience::new(&shared.stream, &*shared.observer);
    let mut last_read = age.map(|age| (age, Instant::now()));
    let (mut iterator, mut next_at) = (None, Instant::now());
    loop {
        let Some(current) = iterator.take() else {
            match shared.kinesis.iterator(&shard, &start).await {
                Ok(fresh) => iterator = Some(fresh),
                Err(failure) => patience.wait("an iterator", failure).await?,
            }
            continue;
        };
        tokio::time::sleep_until(next_at).await;
        let most = u32::try_from(MOST_PAGE_BYTES).unwrap_or(u32::MAX);
        // the budget is never closed
        let Ok(mut held) = Arc::clone(&shared.budget).acquire_many_owned(most).await else {
            return Ok(());
        };
        shared.check(&shard, &mut last_read)?;
        let (asked, asked_ms) = (Instant::now(), now_ms());
        let page = match shared.kinesis.records(&current).await {
            Ok(page) => page,
            Err(Failure::Expired) => {
                tracing::info!(
                    "the iterator of {}/{shard} has expired, asking for a new one",
                    shared.stream
                );
                continue;
            }
            Err(failure) => {
                iterator = Some(current);
                drop(held);
                patience.wait("the records", failure).await?;
                continue;
            }
        };
        patience.reset();
        // the answer may have taken its time
        shared.check(&shard, &mut last_read)?;
        let bytes: usize = page.records.iter().map(Record::cost).sum();
        let Some(kept) = held.split(bytes.min(MOST_PAGE_BYTES)) else {
            unreachable!("at most what is held is kept");
        };
        drop(held);
        if let Some(last) = page.records.last() {
            start = Start::After(last.sequence.clone());
        }
        last_read = Some((page.behind, asked));
        next_at = asked
            + if page.behind.is_zero() {
                shared.poll_interval
            } else {
                FASTEST
            };
        let ended = page.next.is_none();
        let behind_ms = i64::try_from(page.behind.as_millis()).unwrap_or(i64::MAX);
        let read = Read {
            shard: shard.clone(),
            records: page.records,
            read_until_ms: asked_ms.saturating_sub(behind_ms),
            behind: page.behind,
            ended,
            held: kept,
        };
        iterator = page.next;
        if pages.send(read).await.is_err() || ended {
            return Ok(());
        }
    }
}

impl Shared {
    /// Says a gap, once, where what was read last, and how far behind it was, is older than what the stream keeps.
    fn check(&self, shard: &ShardId, last_read: &mut Option<(Duration, Instant)>) -> Result<(), BridgeError> {
        if let Some((behind, since)) = *last_read
            && let Some(gap) = self.gap(shard, behind + since.elapsed())
        {
            self.accept(gap)?;
            *last_read = None;
        }
        Ok(())
    }

    /// What may have been trimmed before it was read, when what was read last is so old.
    fn gap(&self, shard: &ShardId, age: Duration) -> Option<BridgeError> {
        let retention = Duration::from_millis(self.retention_ms.load(Ordering::Relaxed));
        let ago = |age: Duration| time(now_ms().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)));
        (age > retention).then(|| BridgeError::Trimmed {
            stream: self.stream.clone(),
            shard: shard.to_string(),
            from: ago(age),
            to: ago(retention),
        })
    }

    /// A gap ends the bridge, unless gaps are accepted.
    pub(crate) fn accept(&self, gap: BridgeError) -> Result<(), BridgeError> {
        if !self.accept_trimmed {
            return Err(gap);
        }
        self.observer.trimmed();
        tracing::warn!("accepted: {gap}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(records: Vec<Record>, ended: bool) -> Read {
        Read {
            shard: ShardId::new("s"),
            records,
            read_until_ms: 1000,
            behind: Duration::ZERO,
            ended,
            held: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
        }
    }

    fn record(sequence: &str, arrival_ms: i64) -> Record {
        Record {
            sequence: sequence.to_owned(),
            partition_key: String::new(),
            data: Vec::new(),
            arrival_ms: Some(arrival_ms),
        }
    }

    fn position(sequence: &str, read_until_ms: i64, ended: bool) -> Position {
        Position {
            sequence: Some(sequence.to_owned()),
            read_until_ms,
            ended,
            followed: false,
        }
    }

    #[test]
    fn the_end_of_a_shard_is_no_later_than_its_children() {
        let before = position("1", 700, false);
        let then = |records, ended| page(records, ended).position(Some(&before));
        assert_eq!(then(vec![], false), position("1", 1000, false));
        assert_eq!(then(vec![record("2", 900)], false), position("2", 1000, false));
        // closed at any time since
        assert_eq!(then(vec![], true), position("1", 700, true));
        assert_eq!(then(vec![record("2", 900)], true), position("2", 900, true));
        // Kinesis says when, and before that it did not say that it was long ago
        let before = position("1", 5000, false);
        assert_eq!(page(vec![], true).position(Some(&before)), position("1", 1000, true));
    }
}
