//! What a reader hands over: records of one partition in one buffer.

use super::{KafkaError, RecordId, RecordRef};
use crate::topic_partition::TopicPartition;
use std::ops::Range;
use std::time::Duration;
use values::{Offset, Partition};

/// Records of one partition in the order of their offsets, all bytes in one buffer.
///
/// Offsets grow but are not dense. A batch is never empty.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The caller's number of the topic.
    pub topic: u8,
    /// The partition.
    pub partition: Partition,
    /// The offset after the last record: everything below it has been handed over.
    pub next: Offset,
    /// Keys and values of all records.
    pub bytes: Vec<u8>,
    /// One span a record.
    pub records: Vec<Span>,
    /// The least and the greatest of the records' timestamps, in milliseconds since 1970; `None` when none has one.
    pub stamps: Option<(i64, i64)>,
    /// How long it took to take the records out of the Kafka client, without the wait for them.
    pub took: Duration,
}

/// Where one record stands in its batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The record's offset in its partition.
    pub offset: Offset,
    /// The record's timestamp in milliseconds since 1970, as its producer or the broker set it; -1 when it has none.
    pub timestamp: i64,
    /// The key's bytes in [`Batch::bytes`]; a null key is `None`, an empty one is not.
    pub key: Option<Range<u32>>,
    /// The value's bytes in [`Batch::bytes`]; a null value, a tombstone, is `None`.
    pub value: Option<Range<u32>>,
}

impl Batch {
    /// The partition that the records are of.
    pub fn at(&self) -> TopicPartition {
        TopicPartition {
            topic: self.topic,
            partition: self.partition,
        }
    }

    pub(super) fn new(topic: u8, partition: Partition, next: Offset) -> Batch {
        Batch {
            topic,
            partition,
            next,
            bytes: Vec::new(),
            records: Vec::new(),
            stamps: None,
            took: Duration::ZERO,
        }
    }

    /// Adds a record, whose offset is at or above [`Batch::next`].
    pub(super) fn push(&mut self, record: RecordRef<'_>) {
        let RecordRef { offset, timestamp, .. } = record;
        debug_assert!(
            offset >= self.next,
            "offset {offset} of partition {} came twice",
            self.partition
        );
        let mut append = |part: Option<&[u8]>| {
            part.map(|part| {
                let start = self.bytes.len() as u32;
                self.bytes.extend_from_slice(part);
                start..self.bytes.len() as u32
            })
        };
        let (key, value) = (append(record.key), append(record.value));
        if timestamp >= 0 {
            let (oldest, newest) = self.stamps.unwrap_or((timestamp, timestamp));
            self.stamps = Some((oldest.min(timestamp), newest.max(timestamp)));
        }
        self.records.push(Span {
            offset,
            timestamp,
            key,
            value,
        });
        self.next = offset.next();
    }

    /// What the batch holds of memory, as the queue counts it.
    pub(super) fn cost(&self) -> usize {
        self.bytes.capacity() + self.records.capacity() * size_of::<Span>() + size_of::<Batch>()
    }

    /// The key of a record of this batch.
    pub fn key(&self, span: &Span) -> Option<&[u8]> {
        span.key
            .clone()
            .map(|at| &self.bytes[at.start as usize..at.end as usize])
    }

    /// The value of a record of this batch; `None` is a tombstone.
    pub fn value(&self, span: &Span) -> Option<&[u8]> {
        span.value
            .clone()
            .map(|at| &self.bytes[at.start as usize..at.end as usize])
    }

    /// The identity of the last record.
    pub fn last_id(&self) -> Option<RecordId> {
        let last = self.records.last()?;
        let record = RecordRef {
            offset: last.offset,
            timestamp: last.timestamp,
            key: self.key(last),
            value: self.value(last),
        };
        Some(record.id())
    }

    /// Offset, key and value of each record.
    pub fn iter(&self) -> impl Iterator<Item = (Offset, Option<&[u8]>, Option<&[u8]>)> {
        self.records
            .iter()
            .map(|span| (span.offset, self.key(span), self.value(span)))
    }
}

/// What a reader has for its caller.
#[derive(Debug, Clone)]
pub enum Polled {
    /// Records.
    Batch(Batch),
    /// Everything below `next` has been handed over.
    ///
    /// For a range with an end this comes once, with `next` = that end, and the range is over. For a live range it
    /// comes when the end of the partition lies behind the last record, that is after transaction markers, aborted
    /// records or compacted ones.
    Reached {
        /// The caller's number of the topic.
        topic: u8,
        /// The partition.
        partition: Partition,
        /// The offset below which nothing is missing.
        next: Offset,
    },
    /// Something that does not pass by waiting. The partition that the error names is read no further; after an
    /// error that names none nothing is.
    Failed(KafkaError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_stay_apart() {
        let mut batch = Batch::new(1, Partition(0), Offset(5));
        let none = RecordRef {
            offset: Offset(5),
            timestamp: -1,
            key: None,
            value: None,
        };
        batch.push(RecordRef {
            value: Some(b"v"),
            ..none
        });
        batch.push(RecordRef {
            offset: Offset(9),
            key: Some(b""),
            ..none
        });
        let last = RecordRef {
            offset: Offset(12),
            key: Some(b"key"),
            value: Some(b""),
            ..none
        };
        batch.push(last);
        assert_eq!(batch.next, Offset(13));
        let seen: Vec<_> = batch.iter().collect();
        assert_eq!(
            seen,
            vec![
                (Offset(5), None, Some(&b"v"[..])),
                (Offset(9), Some(&b""[..]), None),
                (Offset(12), Some(&b"key"[..]), Some(&b""[..])),
            ]
        );
        assert_eq!(batch.stamps, None);
        assert_eq!(batch.last_id(), Some(last.id()));
        for (offset, timestamp) in [(20, 5), (21, 3), (22, 9)] {
            batch.push(RecordRef {
                offset: Offset(offset),
                timestamp,
                ..none
            });
        }
        assert_eq!(batch.stamps, Some((3, 9)));
        assert!(batch.cost() >= batch.bytes.len() + 3 * size_of::<Span>());
    }
}
