//! The producer of a restore: idempotent, acknowledged by all replicas in sync, one window of records at a time.
//!
//! Every record of a window is expected at a certain offset, behind the one before. It is an error when one comes to
//! stand elsewhere: then somebody else writes to the partition. The next window begins when the last one is acknowledged
//! as a whole, so that a failure leaves the beginning of one window behind and nothing after it.
//!
//! A record that is not acknowledged in time is dropped by librdkafka before it is sent again ([`Timeouts`]), so a
//! process that was frozen meanwhile sends nothing when it wakes.

use super::timeouts::{SESSION_TIMEOUT, Timeouts};
use crate::kafka::{KafkaConfig, KafkaConfigError, KafkaError, LibrdkafkaError, Tokens, log_level, log_line};
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use values::{Offset, Partition};

const PROMISE: &str = "each record is written once, in its place, to every replica in sync";
const WINDOW: &str = "it follows from session.timeout.ms";
const REPORTS: &str = "delivery reports are required to find the place of each record";

/// The properties that are ours, with the reason a user is told.
const OWNED: [(&str, &str); 11] = [
    ("acks", PROMISE),
    ("request.required.acks", PROMISE),
    ("enable.idempotence", PROMISE),
    ("enable.gapless.guarantee", PROMISE),
    (
        "transactional.id",
        "transactions take offsets, so that none could be kept",
    ),
    ("delivery.timeout.ms", WINDOW),
    ("message.timeout.ms", WINDOW),
    ("heartbeat.interval.ms", WINDOW),
    ("delivery.report.only.error", REPORTS),
    ("produce.offset.report", REPORTS),
    ("queue.buffering.overflow.strategy", REPORTS),
];

/// More than a line of the lake may have.
const MESSAGE_BYTES: &str = "100000000";
/// What librdkafka says of the guarantee that nothing is written behind a refused record: that it is experimental, for
/// which all records are compared in the end, and that it holds, for which there is an error that names the record.
const KNOWN: [&str; 2] = [
    "property enable.gapless.guarantee is experimental",
    "unable to satisfy gap-less guarantee",
];
/// A batch, unless the topic takes less: Kafka refuses a batch as a whole, so that a larger record must be alone.
const BATCH_BYTES: u64 = 1_000_000;
/// A batch where it is not known what the topic takes.
const BATCH_BYTES_UNKNOWN: u64 = 128 << 10;

/// Refuses properties that are ours; what [`KafkaConfig::check`] says is not repeated.
///
/// # Errors
/// [`KafkaConfigError::Owned`], which names the property.
pub fn check_properties(config: &KafkaConfig) -> Result<(), KafkaConfigError> {
    config.refuse_owned(&OWNED)
}

/// A record on its way.
pub(super) struct Outgoing<'a> {
    pub(super) topic: &'a str,
    pub(super) partition: Partition,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: OwnedHeaders,
    /// Where it must come to stand.
    pub(super) place: Offset,
    /// Its offset in the lake, for messages.
    pub(super) original: Offset,
}

/// Why a window was not written as a whole.
#[derive(Debug, Clone)]
pub(super) enum WindowError {
    /// Kafka did not acknowledge it in time; it may have some of it.
    Unacknowledged(LibrdkafkaError),
    /// Kafka does not take this record.
    Refused {
        original: Offset,
        bytes: usize,
        source: LibrdkafkaError,
    },
    /// A record stands elsewhere than it must.
    Displaced { found: Offset },
}

/// What the delivery report of a record says back.
pub(super) struct Pending {
    place: Offset,
    original: Offset,
    bytes: usize,
}

#[derive(Default)]
struct Window {
    /// Records that have no report yet.
    open: usize,
    /// That of the first record that has one.
    failure: Option<(Offset, WindowError)>,
}

impl Window {
    /// Reports a record. The failure of the first record is the cause of the others, which may be heard of before.
    fn report(&mut self, place: Offset, failure: Option<WindowError>) {
        self.open -= 1;
        if let Some(failure) = failure
            && self.failure.as_ref().is_none_or(|(first, _)| place < *first)
        {
            self.failure = Some((place, failure));
        }
    }
}

#[derive(Default)]
struct Shared {
    window: Mutex<Window>,
    settled: Notify,
}

impl Shared {
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What librdkafka tells us.
pub(super) struct Context {
    tokens: Tokens,
    shared: Arc<Shared>,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.tokens.make()
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if !KNOWN.iter().any(|known| message.contains(known)) {
            log_line(level, facility, message);
        }
    }

    fn error(&self, error: Native, reason: &str) {
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        let failure = match result {
            // of a batch that Kafka had already it may not say where it stands
            Ok(message) if message.offset() < 0 || Offset(message.offset()) == pending.place => None,
            Ok(message) => Some(WindowError::Displaced {
                found: Offset(message.offset()),
            }),
            Err((error, _)) => Some(classify(error, pending.original, pending.bytes)),
        };
        let mut window = self.shared.window();
        window.report(pending.place, failure);
        if window.open == 0 {
            self.shared.settled.notify_one();
        }
    }
}

/// Writes windows of records.
pub(super) struct Producer {
    inner: ThreadedProducer<Context>,
    shared: Arc<Shared>,
}

impl Producer {
    /// A producer under a configuration that was checked, for a topic that takes batches of so many bytes, if that is
    /// known. Waits for no broker.
    pub(super) fn new(
        config: &KafkaConfig,
        timeouts: Timeouts,
        batch_bytes: Option<u64>,
    ) -> Result<Producer, KafkaError> {
        let batch_bytes = batch_bytes.map_or(BATCH_BYTES_UNKNOWN, |bytes| bytes.clamp(1, BATCH_BYTES));
        let mut client = ClientConfig::new();
        // of the claim's consumer, and a producer would warn of it
        let ours = config.properties.iter().filter(|(name, _)| name != SESSION_TIMEOUT);
        client
            .set("client.id", "pinflow-restore")
            .set("queue.buffering.max.messages", "1000000")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.keepalive.enable", "true")
            // the broker has its own limit and the last word
            .set("message.max.bytes", MESSAGE_BYTES)
            .set("batch.size", batch_bytes.to_string())
            .extend(ours.cloned());
        client
            .set("bootstrap.servers", &config.bootstrap)
            .set("acks", "all")
            .set("enable.idempotence", "true")
            // behind a record that is refused nothing may be written
            .set("enable.gapless.guarantee", "true")
            .set("message.timeout.ms", timeouts.delivery.as_millis().to_string())
            .set("allow.auto.create.topics", "false")
            .set_log_level(log_level());
        let tokens = Tokens::of(&mut client)?;
        let shared = Arc::new(Shared::default());
        let context = Context {
            tokens,
            shared: Arc::clone(&shared),
        };
        let created = client.create_with_context(context);
        let inner = created.map_err(|error| KafkaError::client("create a producer", error))?;
        Ok(Producer { inner, shared })
    }

    /// Adds a record to the window.
    pub(super) fn send(&self, record: Outgoing<'_>) -> Result<(), WindowError> {
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let pending = Pending {
            place: record.place,
            original: record.original,
            bytes,
        };
        let mut message = BaseRecord::<[u8], [u8], Box<Pending>>::with_opaque_to(record.topic, Box::new(pending));
        message.partition = Some(record.partition.0);
        message.key = record.key;
        message.payload = record.value;
        message.headers = Some(record.headers);
        // counted first: the report may come before the call returns
        self.shared.window().open += 1;
        self.inner.send(message).map_err(|(error, _)| {
            self.shared.window().open -= 1;
            classify(&error, record.original, bytes)
        })
    }

    /// Waits until every record of the window has been reported, which takes no longer than the delivery may take.
    pub(super) async fn settle(&self) -> Result<(), WindowError> {
        loop {
            let settled = self.shared.settled.notified();
            let (open, failure) = self.state();
            match failure {
                Some(failure) if open == 0 => return Err(failure),
                // what is behind it must not be written
                Some(_) => self.inner.purge(PurgeConfig::default().queue().inflight()),
                None if open == 0 => return Ok(()),
                None => {}
            }
            // a failure among many is seen within this time
            let _ = tokio::time::timeout(Duration::from_millis(100), settled).await;
        }
    }

    /// The records without a report, and the first failure.
    fn state(&self) -> (usize, Option<WindowError>) {
        let window = self.shared.window();
        (window.open, window.failure.as_ref().map(|(_, failure)| failure.clone()))
    }
}

fn classify(error: &Native, original: Offset, bytes: usize) -> WindowError {
    let source = LibrdkafkaError::from(error.clone());
    match error.rdkafka_error_code() {
        Some(
            Code::MessageTimedOut
            | Code::PurgeQueue
            | Code::PurgeInflight
            | Code::QueueFull
            | Code::BrokerTransportFailure
            | Code::RequestTimedOut
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::Fatal
            | Code::UnknownPartition
            | Code::UnknownTopicOrPartition
            | Code::NotLeaderForPartition
            | Code::LeaderNotAvailable,
        ) => WindowError::Unacknowledged(source),
        _ => WindowError::Refused {
            original,
            bytes,
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> KafkaConfig {
        let mut config = KafkaConfig::new("127.0.0.1:9092");
        config.properties.push((name.into(), value.into()));
        config
    }

    #[test]
    fn of_failures_the_first_record_s_counts_in_whatever_order_they_come() {
        let (original, bytes) = (Offset(4), 9);
        let refused = |code| classify(&Native::MessageProduction(code), original, bytes);
        let mut window = Window { open: 4, failure: None };
        window.report(Offset(9), Some(refused(Code::PurgeQueue)));
        window.report(Offset(4), Some(refused(Code::MessageSizeTooLarge)));
        window.report(Offset(6), Some(refused(Code::OutOfOrderSequenceNumber)));
        window.report(Offset(1), None);
        let (first, failure) = window.failure.unwrap();
        assert_eq!((window.open, first), (0, Offset(4)));
        assert!(matches!(failure, WindowError::Refused { .. }), "{failure:?}");
    }

    #[test]
    fn what_carries_the_promise_is_refused_and_the_rest_is_taken() {
        for (name, reason) in OWNED {
            let error = check_properties(&with(name, "1")).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(reason), "{error}");
        }
        let config = with("session.timeout.ms", "6000");
        assert_eq!(check_properties(&config), Ok(()));
        assert!(Producer::new(&config, Timeouts::of(&config), Some(100)).is_ok());
    }
}
