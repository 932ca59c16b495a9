//! The bytes in flight: taken from clients, not yet acknowledged by Kafka.

use super::refusal::Refusal;
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

impl Budget {
    pub(super) fn new(total: usize) -> Budget {
        let total = total.min(Semaphore::MAX_PERMITS);
        let free = Arc::new(Semaphore::new(total));
        Budget { free, total }
    }

    /// So many bytes, if they are free.
    pub(super) fn take(&self, bytes: usize) -> Option<Permit> {
        let bytes = u32::try_from(bytes).ok()?;
        let permit = Arc::clone(&self.free).try_acquire_many_owned(bytes).ok()?;
        Some(Permit(permit))
    }

    /// So many bytes, as soon as they are free, at most after `patience`.
    pub(super) async fn wait(&self, bytes: usize, patience: Duration) -> Option<Permit> {
        if let Some(permit) = self.take(bytes) {
            return Some(permit);
        }
        let bytes = u32::try_from(bytes)
            .ok()
            .filter(|bytes| *bytes as usize <= self.total)?;
        let permit = tokio::time::timeout(patience, Arc::clone(&self.free).acquire_many_owned(bytes)).await;
        Some(Permit(permit.ok()?.ok()?))
    }

    /// What so many records of a body cost beside it, added to the body's bytes.
    pub(super) fn take_records(&self, body: &mut Permit, records: usize) -> Result<(), Refusal> {
        let overhead = records.saturating_mul(RECORD_OVERHEAD);
        let most = self.total.saturating_sub(body.0.num_permits());
        if overhead > most {
            // it would not fit either when nothing else is on its way
            return Err(Refusal::TooMany(most / RECORD_OVERHEAD));
        }
        body.add(self.take(overhead).ok_or(Refusal::Busy)?);
        Ok(())
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bytes_come_back_and_never_exceed_the_total() {
        let budget = Budget::new(100);
        let mut one = budget.take(60).unwrap();
        assert!(budget.take(41).is_none() && budget.has(40) && !budget.has(41));
        one.add(budget.take(40).unwrap());
        assert_eq!(budget.in_flight(), 100);
        assert!(budget.wait(1, Duration::from_millis(10)).await.is_none());
        drop(one);
        assert_eq!(budget.in_flight(), 0);
        assert!(
            budget.wait(101, Duration::from_secs(60)).await.is_none(),
            "it would never be free"
        );
        assert!(budget.wait(100, Duration::ZERO).await.is_some());
    }

    #[test]
    fn records_that_never_fit_are_told_apart_from_those_that_do_not_fit_now() {
        let budget = Budget::new(4 * RECORD_OVERHEAD);
        let body = || budget.take(RECORD_OVERHEAD).unwrap();
        assert!(budget.take_records(&mut body(), 3).is_ok());
        assert!(matches!(budget.take_records(&mut body(), 4), Err(Refusal::TooMany(3))));
        assert!(matches!(
            budget.take_records(&mut body(), usize::MAX),
            Err(Refusal::TooMany(3))
        ));
        let _other = budget.take(1).unwrap();
        assert!(matches!(budget.take_records(&mut body(), 3), Err(Refusal::Busy)));
    }
}
