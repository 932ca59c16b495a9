//! The headers of a restored record: which record of the lake it is.
//!
//! | header | value |
//! |---|---|
//! | `pinflow.offset` | the record's original offset |
//! | `pinflow.restored` | `TOPIC/PARTITION INDEX`: topic and partition in the lake, and how many records of it come before |
//!
//! Every record has both, whether its offset could be kept or not. The index tells from the last record alone where in
//! Kafka the first one must be, so that a record too many or too few shows.

use rdkafka::message::{Header, OwnedHeaders};
use values::{Offset, Partition};

/// The header of the original offset.
pub const OFFSET_HEADER: &str = "pinflow.offset";
/// The header of the place in the lake.
pub const RESTORED_HEADER: &str = "pinflow.restored";

/// Which record of a partition of the lake it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// How many records of the partition come before.
    pub(super) index: u64,
    /// The original offset.
    pub(super) offset: Offset,
}

impl Origin {
    /// The headers of the record, of this topic and partition of the lake.
    pub(super) fn to_headers(self, topic: &str, partition: Partition) -> OwnedHeaders {
        let offset = self.offset.to_string();
        let restored = format!("{topic}/{partition} {}", self.index);
        let header = |key, value| Header {
            key,
            value: Some(value),
        };
        OwnedHeaders::new_with_capacity(2)
            .insert(header(OFFSET_HEADER, &offset))
            .insert(header(RESTORED_HEADER, &restored))
    }

    /// What the headers of a record say; `None` when no restore of this topic and partition has written it.
    pub(super) fn of_headers(
        headers: &[(String, Option<Vec<u8>>)],
        topic: &str,
        partition: Partition,
    ) -> Option<Origin> {
        let text = |name: &str| {
            let (_, value) = headers.iter().find(|(found, _)| found == name)?;
            std::str::from_utf8(value.as_deref()?).ok()
        };
        let (place, index) = text(RESTORED_HEADER)?.rsplit_once(' ')?;
        let same = place == format!("{topic}/{partition}");
        let index = index.parse().ok().filter(|_| same)?;
        let offset = text(OFFSET_HEADER)?.parse().ok()?;
        Some(Origin { index, offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::message::Headers;

    #[test]
    fn headers_are_pinned_and_read_as_they_are_written() {
        let origin = Origin {
            index: 7,
            offset: Offset(1200),
        };
        let owned = origin.to_headers("0a.pin", Partition(3));
        let read: Vec<(String, Option<Vec<u8>>)> = owned
            .iter()
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect();
        let text = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(
            read,
            [
                ("pinflow.offset".to_owned(), text("1200")),
                ("pinflow.restored".to_owned(), text("0a.pin/3 7")),
            ]
        );
        assert_eq!(Origin::of_headers(&read, "0a.pin", Partition(3)), Some(origin));
        for (topic, partition) in [("0a.pin", 4), ("a.pin", 3), ("0a.pin/3", 3)] {
            assert_eq!(Origin::of_headers(&read, topic, Partition(partition)), None);
        }
        assert_eq!(Origin::of_headers(&read[..1], "0a.pin", Partition(3)), None);
        let broken = [
            (OFFSET_HEADER.to_owned(), text("-1")),
            (RESTORED_HEADER.to_owned(), text("0a.pin/3 7")),
        ];
        assert_eq!(Origin::of_headers(&broken, "0a.pin", Partition(3)), None);
        assert_eq!(Origin::of_headers(&[], "0a.pin", Partition(3)), None);
    }
}
