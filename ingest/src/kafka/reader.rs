//! A reader of ranges of partitions: the caller's side.

use super::client::consumer;
use super::fetch::{Fetch, Inbox};
use super::output::{Input, queue};
use super::{KafkaConfig, KafkaError, Polled};
use std::sync::Arc;
use std::thread::JoinHandle;

/// Offsets of one partition to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The caller's number of the topic, handed back with its records.
    pub topic: u8,
    /// The topic's name in Kafka.
    pub name: String,
    /// The partition.
    pub partition: i32,
    /// The first offset that is wanted.
    pub from: i64,
    /// The first offset that is not wanted any more; `None` reads for ever.
    ///
    /// It is reached when a record at or past it, or the end of the partition at or past it, has been seen, so it
    /// should not lie beyond the high watermark; if it does the range ends when the partition has grown to it.
    pub until: Option<i64>,
}

impl Range {
    pub(super) fn same_partition(&self, other: &Range) -> bool {
        self.partition == other.partition && self.name == other.name
    }
}

/// How much a reader holds.
#[derive(Debug, Clone)]
pub struct ReaderOptions {
    /// Bytes that may wait for [`Reader::try_next`]; exceeded by one batch at most. What librdkafka has fetched ahead
    /// comes on top: `queued.max.messages.kbytes` a partition.
    pub queue_bytes: usize,
    /// A batch is handed over at this size, or earlier when no further record is there.
    pub batch_bytes: usize,
}

impl Default for ReaderOptions {
    fn default() -> Self {
        ReaderOptions {
            queue_bytes: 32 << 20,
            batch_bytes: 256 << 10,
        }
    }
}

/// Reads ranges of partitions on a thread of its own.
///
/// Within a partition records come in the order of their offsets and each once; between partitions there is no
/// order. While the caller does not take what is there the thread waits, and librdkafka stops fetching.
///
/// A broker that is away is waited for; [`Polled::Failed`] is for what waiting does not mend. A partition that
/// seems to be gone is given ten seconds to appear again, because a starting broker does not know all at once.
pub struct Reader {
    input: Input,
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts the thread, without waiting for a broker. `wake` is called, from that thread, after each thing that
    /// [`Reader::try_next`] will return.
    pub fn start(
        config: &KafkaConfig,
        options: ReaderOptions,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Reader, KafkaError> {
        let consumer = consumer(config)?;
        let (output, input) = queue(options.queue_bytes.max(1), wake);
        let inbox = Arc::new(Inbox::default());
        let fetch = Fetch::new(
            output,
            inbox.clone(),
            config.bootstrap.clone(),
            options.batch_bytes.max(1),
        );
        let thread = std::thread::Builder::new()
            .name("kafka-reader".into())
            .spawn(move || fetch.run(consumer))
            .expect("the system starts a thread");
        Ok(Reader {
            input,
            inbox,
            thread: Some(thread),
        })
    }

    /// Adds a range. Ranges of the same partition are read one after the other, in the order in which they were
    /// assigned; behind a live range none is ever begun.
    pub fn assign(&self, range: Range) {
        self.inbox.push(range);
        self.unpark();
    }

    /// The next thing, if there is one. Never waits.
    pub fn try_next(&self) -> Option<Polled> {
        self.input.pop(self.thread.as_ref()?.thread())
    }

    /// Bytes that wait for [`Reader::try_next`].
    pub fn queued_bytes(&self) -> usize {
        self.input.bytes()
    }

    fn unpark(&self) {
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.inbox.stop();
        self.unpark();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the Kafka reader's thread had panicked");
        }
    }
}
