//! The bytes in flight: taken from clients, not yet acknowledged by Kafka, or not yet reported in a streamed answer.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a record costs beside its bytes, in the gateway and in librdkafka.
pub const RECORD_OVERHEAD: usize = 256;

/// The budget of bytes in flight.
pub(super) struct Budget {
    free: Arc<Semaphore>,
    total: usize,
}

/// Bytes of the budget, given back when dropped.
pub(super) struct Permit(OwnedSemaphorePermit);

/// Why bytes are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum OverBudget {
    /// Too much is in flight now.
    #[error("Too much is on its way to Kafka, try again")]
    Now,
    /// They would not fit either when nothing else is on its way.
    #[error("The body has more than {most} records")]
    Always {
        /// So many records would fit beside the body.
        most: usize,
    },
}

impl Budget {
    pub(super) fn new(total: usize) -> Budget {
        let total = total.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(total));
        Budget { free, total }
    }

    /// So many bytes, if they are free.
    pub(super) fn take(&self, bytes: usize) -> Result<Permit, OverBudget> {
        let bytes = u32::try_from(bytes).map_err(|_| OverBudget::Now)?;
        let permit = Arc::clone(&self.free).try_acquire_many_owned(bytes);
        permit.map(Permit).map_err(|_| OverBudget::Now)
    }

    /// So many bytes, as soon as they are free, at most after `timeout`.
    pub(super) async fn wait(&self, bytes: usize, timeout: Duration) -> Result<Permit, OverBudget> {
        if let Ok(permit) = self.take(bytes) {
            return Ok(permit);
        }
        let bytes = u32::try_from(bytes).ok().filter(|bytes| *bytes as usize <= self.total);
        let bytes = bytes.ok_or(OverBudget::Now)?;
        let permit = tokio::time::timeout(timeout, Arc::clone(&self.free).acquire_many_owned(bytes)).await;
        permit.ok().and_then(Result::ok).map(Permit).ok_or(OverBudget::Now)
    }

    /// No bytes yet.
    pub(super) fn none(&self) -> Permit {
        let none = Arc::clone(&self.free).try_acquire_many_owned(0);
        Permit(none.expect("the semaphore is never closed, and none is always free"))
    }

    /// What so many records of a body cost beside it, added to the body's bytes.
    pub(super) fn take_records(&self, body: &mut Permit, records: usize) -> Result<(), OverBudget> {
        let overhead = records.saturating_mul(RECORD_OVERHEAD);
        let most = self.total.saturating_sub(body.0.num_permits());
        if overhead > most {
            return Err(OverBudget::Always {
                most: most / RECORD_OVERHEAD,
            });
        }
        body.add(self.take(overhead)?);
        Ok(())
    }

    /// All bytes, free or not.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Whether so many bytes are free now.
    pub(super) fn has(&self, bytes: usize) -> bool {
        self.free.available_permits() >= bytes
    }

    /// Bytes in flight now.
    pub(super) fn in_flight(&self) -> usize {
        self.total - self.free.available_permits().min(self.total)
    }
}

impl Permit {
    /// Adds another's bytes to this one's.
    pub(super) fn add(&mut self, other: Permit) {
        self.0.merge(other.0);
    }

    /// How many they are.
    pub(super) fn bytes(&self) -> usize {
        self.0.num_permits()
    }

    /// Takes so many of them out; all when there are fewer.
    pub(super) fn split(&mut self, bytes: usize) -> Permit {
        let bytes = bytes.min(self.bytes());
        Permit(self.0.split(bytes).expect("no more than there are"))
    }

    /// Gives back all but so many.
    pub(super) fn shrink(&mut self, bytes: usize) {
        drop(self.split(self.bytes().saturating_sub(bytes)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_back_and_never_exceed_the_total() {
        let budget = Budget::new(100);
        let mut one = budget.take(60).unwrap();
        assert!(budget.take(41).is_err() && budget.has(40) && !budget.has(41));
        one.add(budget.take(40).unwrap());
        assert_eq!(budget.in_flight(), 100);
        assert!(budget.wait(1, Duration::from_millis(10)).await.is_err());
        drop(one);
        assert_eq!(budget.in_flight(), 0);
        assert!(
            budget.wait(101, Duration::from_secs(60)).await.is_err(),
            "it would never be free"
        );
        assert!(budget.wait(100, Duration::ZERO).await.is_ok());
    }

    #[test]
    fn a_permit_is_split_and_shrunk_and_loses_nothing() {
        let budget = Budget::new(100);
        let mut all = budget.none();
        all.add(budget.take(70).unwrap());
        let part = all.split(20);
        assert_eq!((part.bytes(), all.bytes(), budget.in_flight()), (20, 50, 70));
        all.shrink(60);
        assert_eq!(all.bytes(), 50);
        all.shrink(10);
        assert_eq!(budget.in_flight(), 30);
        assert_eq!(all.split(usize::MAX).bytes(), 10);
        assert_eq!((all.bytes(), budget.in_flight()), (0, 20));
        drop(part);
        assert_eq!(budget.in_flight(), 0);
    }

    #[test]
    fn records_that_never_fit_are_told_apart_from_those_that_do_not_fit_now() {
        let budget = Budget::new(4 * RECORD_OVERHEAD);
        let body = || budget.take(RECORD_OVERHEAD).unwrap();
        assert_eq!(budget.take_records(&mut body(), 3), Ok(()));
        let never = Err(OverBudget::Always { most: 3 });
        assert_eq!(budget.take_records(&mut body(), 4), never);
        assert_eq!(budget.take_records(&mut body(), usize::MAX), never);
        let _other = budget.take(1).unwrap();
        assert_eq!(budget.take_records(&mut body(), 3), Err(OverBudget::Now));
    }
}
