//! A reader of ranges of partitions: the caller's side.

use super::client::{Reads, consumer};
use super::error::panic_text;
use super::fetch::{Fetch, Inbox};
use super::output::{Input, queue};
use super::range::Range;
use super::reader_options::ReaderOptions;
use super::{KafkaConfig, KafkaError, Polled};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

/// The thread's name.
const THREAD: &str = "kafka-reader";

/// The partitions of one answer of a broker arrive one after the other, within less than this part of the pace.
const GATHER_DIVISOR: u32 = 16;

/// Reads ranges of partitions on a thread of its own.
///
/// Within a partition records come in the order of their offsets and each once; between partitions there is no
/// order. While the caller does not take what is there the thread waits, and librdkafka stops fetching.
///
/// A broker that is away is waited for; [`Polled::Failed`] is for what waiting does not mend. A partition that
/// seems to be gone is given ten seconds to appear again, because a starting broker does not know all at once. A topic
/// that was deleted and created again is not read: what is handed over comes from the topic that was there first.
pub struct Reader {
    input: Input,
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts the thread, without waiting for a broker. `wake` is called, from that thread, when there is something new
    /// for [`Reader::try_next`]: once for all that arrived together.
    pub fn start(
        config: &KafkaConfig,
        options: ReaderOptions,
        wake: Arc<dyn Fn() + Send + Sync>,
    ) -> Result<Reader, KafkaError> {
        let consumer = consumer(config, Reads::Committed)?;
        let (output, input) = queue(options.queue_bytes.max(1), wake);
        let last_words = output.clone();
        let inbox = Arc::new(Inbox::default());
        let options = ReaderOptions {
            batch_bytes: options.batch_bytes.max(1),
            ..options
        };
        let fetch = Fetch::new(
            output,
            inbox.clone(),
            config.bootstrap.clone(),
            options,
            config.pace / GATHER_DIVISOR,
        );
        let thread = std::thread::Builder::new()
            .name(THREAD.into())
            .spawn(move || {
                if let Err(panic) = catch_unwind(AssertUnwindSafe(|| fetch.run(consumer))) {
                    let message = panic_text(&*panic);
                    let thread = THREAD;
                    let failed = Polled::Failed(KafkaError::Panicked { thread, message });
                    // the caller's own `wake` may be what panics
                    let _ = catch_unwind(AssertUnwindSafe(|| {
                        last_words.push(failed);
                        last_words.announce();
                    }));
                }
            })
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
        if let Some(thread) = self.thread.take() {
            // a panic was caught and handed over
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};
    use values::{Offset, Partition};

    /// The caller's `wake` runs on the thread, so that its panic is the thread's.
    #[test]
    fn a_panic_of_the_thread_is_handed_over_once() {
        let config = KafkaConfig::new("127.0.0.1:1");
        let wake = Arc::new(|| panic!("injected"));
        let reader = Reader::start(&config, ReaderOptions::default(), wake).unwrap();
        // at its end at once, without a broker
        reader.assign(Range {
            topic: 3,
            name: "any".into(),
            partition: Partition(0),
            from: Offset(7),
            until: Some(Offset(7)),
            after: None,
        });
        let mut seen = Vec::new();
        let start = Instant::now();
        while seen.len() < 2 {
            assert!(start.elapsed() < Duration::from_secs(20), "{seen:?}");
            seen.extend(reader.try_next());
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(
            matches!(
                &seen[..],
                [
                    Polled::Reached { topic: 3, next: Offset(7), .. },
                    Polled::Failed(KafkaError::Panicked { thread: "kafka-reader", message }),
                ] if message == "injected"
            ),
            "{seen:?}"
        );
        assert!(reader.try_next().is_none());
    }
}
