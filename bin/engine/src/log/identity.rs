//! Whether a topic is still the one that the tables were made of.
//!
//! A topic that was deleted and created again under its old name has other records at the same offsets. With each
//! frontier the last record below it is kept: offset, timestamp and hash. While Kafka holds that offset, a topic that was
//! created again shows: by another record there, or by an end below it. An offset that retention or compaction has
//! removed proves nothing.

use ingest::Offset;
use ingest::kafka::{RecordId, Sampled, Watermarks};

/// What is known of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Everything below has been read.
    pub next: Offset,
    /// The last record that came from Kafka.
    pub last: Option<RecordId>,
}

/// What Kafka says to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopicCheck {
    /// The record is there.
    Same,
    /// Nothing can be said.
    Unproved,
    /// Another record has its offset.
    OtherRecord {
        /// The offset.
        offset: Offset,
    },
    /// The partition ends before what was read of it.
    Shorter {
        /// Its high watermark.
        end: Offset,
    },
}

/// Compares; `found` is what Kafka has at the last record's offset.
pub fn compare_last_record(place: Place, marks: Watermarks, found: Option<&Sampled>) -> TopicCheck {
    if marks.high < place.next {
        return TopicCheck::Shorter { end: marks.high };
    }
    match (place.last, found) {
        (Some(last), Some(Sampled::Record(sample))) if sample.id(last.offset) == last => TopicCheck::Same,
        (Some(last), Some(Sampled::Record(_))) => TopicCheck::OtherRecord { offset: last.offset },
        _ => TopicCheck::Unproved,
    }
}
