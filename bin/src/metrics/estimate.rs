//! How many records history will have, from the bytes read so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// The latest whole numbers behind an estimate of how many records history has.
#[derive(Debug, Default)]
pub struct HydrationEstimate {
    records: AtomicU64,
    bytes: AtomicU64,
    bytes_total: AtomicU64,
}

impl HydrationEstimate {
    /// History has so many bytes.
    pub fn total(&self, bytes: u64) {
        self.bytes_total.store(bytes, Ordering::Relaxed);
    }

    /// So many more records in so many more bytes have been read; returns how many records there will be in all.
    pub fn read(&self, records: u64, bytes: u64) -> u64 {
        let records = self.records.fetch_add(records, Ordering::Relaxed) + records;
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let total = self.bytes_total.load(Ordering::Relaxed).max(bytes);
        if bytes == 0 {
            records
        } else {
            (u128::from(records) * u128::from(total) / u128::from(bytes)) as u64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_records_follow_the_bytes() {
        let estimate = HydrationEstimate::default();
        estimate.total(1000);
        assert_eq!(estimate.read(10, 100), 100);
        assert_eq!(estimate.read(10, 900), 20);
        assert_eq!(estimate.read(5, 500), 25);
    }
}
