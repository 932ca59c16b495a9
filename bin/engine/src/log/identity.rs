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

#[cfg(test)]
mod tests {
    use super::*;
    use ingest::kafka::Sample;

    fn sample(value: &str) -> Sampled {
        Sampled::Record(Sample {
            key: None,
            value: Some(value.into()),
            timestamp: 7,
            headers: Vec::new(),
        })
    }

    fn check(next: i64, last: Option<(i64, &str)>, high: i64, found: Option<&str>) -> TopicCheck {
        let id = |(offset, value)| match sample(value) {
            Sampled::Record(sample) => sample.id(Offset(offset)),
            _ => unreachable!(),
        };
        let place = Place {
            next: Offset(next),
            last: last.map(id),
        };
        let marks = Watermarks {
            low: Offset(0),
            stable: Offset(high),
            high: Offset(high),
        };
        compare_last_record(place, marks, found.map(sample).as_ref())
    }

    #[test]
    fn the_last_record_tells_whether_the_topic_is_the_same() {
        let other = TopicCheck::OtherRecord { offset: Offset(4) };
        assert_eq!(check(5, Some((4, "a")), 9, Some("a")), TopicCheck::Same);
        assert_eq!(check(5, Some((4, "a")), 9, Some("b")), other);
        // retention or compaction has removed it, or nothing was read from Kafka
        assert_eq!(check(5, Some((4, "a")), 9, None), TopicCheck::Unproved);
        assert_eq!(check(5, None, 9, Some("a")), TopicCheck::Unproved);
    }

    #[test]
    fn a_topic_that_ends_below_what_was_read_is_another() {
        assert_eq!(
            check(5, Some((3, "a")), 4, Some("a")),
            TopicCheck::Shorter { end: Offset(4) }
        );
        // all of it was read
        assert_eq!(check(5, Some((4, "a")), 5, Some("a")), TopicCheck::Same);
    }
}
