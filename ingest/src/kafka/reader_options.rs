//! The options of a reader of ranges of partitions.

/// How much a reader holds, and whether it is the only one.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// Bytes that may wait for [`Reader::try_next`](super::Reader::try_next); exceeded by one batch at most. What librdkafka has fetched ahead
    /// comes on top: `queued.max.messages.kbytes` a partition.
    pub queue_bytes: usize,
    /// A batch is handed over at this size, or earlier when no further record is there.
    pub batch_bytes: usize,
    /// Whether other readers read other partitions of the same topics. Then a topic that is created again is not followed
    /// from a partition that held nothing either: records of the old one may have been read elsewhere.
    pub shared_topics: bool,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        ReaderOptions {
            queue_bytes: 32 << 20,
            batch_bytes: 256 << 10,
            shared_topics: false,
        }
    }
}
