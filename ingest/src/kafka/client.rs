//! The librdkafka client under [`super::Cluster`] and [`super::Reader`]: its log lines become ours, and its errors
//! are sorted into those that pass and those that do not.

use super::message::normalize_message;
use super::throttle::THROTTLE;
use super::{KafkaConfig, KafkaError, Tokens};
use rdkafka::TopicPartitionList;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError as Native, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use values::Offset;

/// How long authentication may keep failing once it has worked: a broker that restarts may not know its users yet.
const AUTHENTICATION_PATIENCE: Duration = Duration::from_secs(30);

/// What librdkafka tells us beside records.
#[derive(Default)]
pub(super) struct Context {
    /// Number of events served, to see whether a poll that returned nothing did something.
    served: AtomicU64,
    said: Mutex<Said>,
    tokens: Tokens,
    /// Whether the user asked for librdkafka's debug lines.
    debug: bool,
    /// How often topics were found to be others than before, over all topics.
    changes: AtomicU64,
    ids: Mutex<HashMap<String, TopicId>>,
}

/// Which topic of its name it is.
struct TopicId {
    current: String,
    /// How often it was another one than before.
    changes: u64,
}

thread_local! {
    /// The text of the error event that this thread served last. Several threads serve the queues of one client.
    static REASON: RefCell<String> = const { RefCell::new(String::new()) };
}

#[derive(Default)]
struct Said {
    /// The last error of a connection, in one sentence.
    connection_error: String,
    authentication: Authentication,
}

/// Whether authentication fails for good.
#[derive(Default)]
pub struct Authentication {
    worked: bool,
    /// The first and the last failure of an unbroken row.
    failing: Option<(Instant, Instant)>,
    detail: String,
}

impl Authentication {
    /// A broker has answered something that only the authenticated get.
    pub fn worked(&mut self) {
        self.worked = true;
        self.failing = None;
    }

    /// A broker has refused to authenticate us, in these words.
    pub fn failed(&mut self, now: Instant, detail: &str) {
        self.detail = detail.to_owned();
        self.failing = match self.failing {
            Some((first, last)) if now - last < AUTHENTICATION_PATIENCE => Some((first, now)),
            _ => Some((now, now)),
        };
    }

    /// Whether this will not pass by itself.
    pub fn is_final(&self) -> bool {
        self.failing
            .is_some_and(|(first, last)| !self.worked || last - first >= AUTHENTICATION_PATIENCE)
    }
}

impl Context {
    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What librdkafka last said about a connection that failed.
    pub(super) fn connection_error(&self) -> String {
        self.said().connection_error.clone()
    }

    /// A broker has answered something that only the authenticated get.
    pub(super) fn authenticated(&self) {
        let mut said = self.said();
        said.authentication.worked();
        said.connection_error.clear();
    }

    /// How often the topic of this name was found to be another one than before: deleted and created again. Counts what
    /// was [`serve`]d.
    pub(super) fn changes(&self, topic: &str) -> u64 {
        if self.changes_of_all() == 0 {
            return 0;
        }
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.get(topic).map_or(0, |id| id.changes)
    }

    /// The same over all topics: as long as it stays none has changed.
    pub(super) fn changes_of_all(&self) -> u64 {
        self.changes.load(SeqCst)
    }

    /// A topic has one id after another.
    fn identify(&self, topic: &str, ids: [&str; 2]) {
        let mut known = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids.into_iter().filter(|id| !is_zero(id)) {
            match known.get_mut(topic) {
                Some(known) if known.current == id => {}
                Some(known) => {
                    known.current = id.to_owned();
                    known.changes += 1;
                    self.changes.fetch_add(1, SeqCst);
                }
                None => {
                    let current = id.to_owned();
                    known.insert(topic.to_owned(), TopicId { current, changes: 0 });
                }
            }
        }
    }

    /// The words of the authentication failure, once it is certain that it will not pass.
    pub(super) fn authentication_failure(&self) -> Option<String> {
        let said = self.said();
        said.authentication
            .is_final()
            .then(|| said.authentication.detail.clone())
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.served.fetch_add(1, Relaxed);
        self.tokens.make()
    }

    /// When librdkafka hears that a topic has another id it continues at the same offset of the new topic, and the only
    /// thing that it says is a debug line, before it fetches from the new topic. The line waits on the consumer's own
    /// queue, so that who serves that queue between taking a record and handing it over knows of it in time.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.served.fetch_add(1, Relaxed);
        // a connection that the broker closes is no error event
        if facility == "FAIL" {
            self.said().connection_error = normalize_message(message);
        }
        if let Some((topic, ids)) = changed_id(message) {
            self.identify(topic, ids);
        }
        if self.debug || !matches!(level, RDKafkaLogLevel::Debug) {
            log_line(level, facility, message);
        }
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.served.fetch_add(1, Relaxed);
        tracing::debug!(target: "librdkafka", "{}", String::from_utf8_lossy(statistics));
    }

    /// Called for every error event, also for ends of partitions, right before the poll that serves it returns.
    fn error(&self, error: Native, reason: &str) {
        self.served.fetch_add(1, Relaxed);
        REASON.set(reason.to_owned());
        let mut said = self.said();
        match error.rdkafka_error_code() {
            Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::UnsupportedSASLMechanism) => {
                let message = normalize_message(reason);
                said.authentication.failed(Instant::now(), &message);
                said.connection_error = message;
            }
            Some(Code::BrokerTransportFailure | Code::Resolve | Code::SSL | Code::OperationTimedOut) => {
                said.connection_error = normalize_message(reason);
            }
            _ => {}
        }
    }
}

/// A line of librdkafka's log becomes one of ours.
pub fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    if let RDKafkaLogLevel::Debug = level {
        tracing::debug!(target: "librdkafka", facility, "{message}");
        return;
    }
    let Some(message) = THROTTLE.pass(&normalize_message(message)) else {
        return;
    };
    // what librdkafka calls an error is mostly a connection that it makes anew by itself
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{message}")
        }
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => {
            tracing::warn!(target: "librdkafka", facility, "{message}")
        }
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            tracing::info!(target: "librdkafka", facility, "{message}")
        }
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        self.served.fetch_add(1, Relaxed);
        if let Err(error) = result {
            warn_of_commit(&error);
        }
    }
}

/// What a consumer is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reads {
    /// All committed records.
    Committed,
    /// Single committed records, here and there, and besides answers questions.
    Samples,
    /// None: it is asked how far records reach that are not committed yet.
    Uncommitted,
}

/// A consumer under a configuration that was checked, with some of our own properties on top.
pub(super) fn consumer(config: &KafkaConfig, reads: Reads) -> Result<BaseConsumer<Context>, KafkaError> {
    config.check()?;
    let mut client = config.client_config();
    match reads {
        Reads::Committed => {
            // see `Context::log`
            let debug = client.get("debug").map(|debug| format!("{debug},metadata"));
            client.set("debug", debug.unwrap_or_else(|| "metadata".into()));
            client.set_log_level(RDKafkaLogLevel::Debug);
        }
        Reads::Samples => {
            // of each of many partitions one fetch is held, and that is one of a few records
            client.set("fetch.message.max.bytes", "65536");
            client.set("queued.min.messages", "1");
        }
        Reads::Uncommitted => {
            client.set("isolation.level", "read_uncommitted");
        }
    }
    let context = Context {
        tokens: Tokens::of(&mut client)?,
        debug: config.properties.iter().any(|(name, _)| name == "debug"),
        ..Context::default()
    };
    let created = client.create_with_context(context);
    created.map_err(|error| KafkaError::client("create a consumer", error))
}

/// Serves everything that waits on the consumer's own queue: log lines, connection errors, results of commits.
///
/// Returns the first record that came here although its partition has a queue of its own.
pub(super) fn serve(consumer: &BaseConsumer<Context>) -> Option<BorrowedMessage<'_>> {
    use rdkafka::consumer::Consumer;
    let context = consumer.context();
    loop {
        let before = context.served.load(Relaxed);
        match consumer.poll(Duration::ZERO) {
            Some(Ok(message)) => return Some(message),
            Some(Err(error)) => log_general(&error, context),
            // a log line or a commit's result was served, or the queue is empty
            None if context.served.load(Relaxed) == before => return None,
            None => {}
        }
    }
}

/// Group offsets are left with every commit of the tables, so a broker that is away refuses many a second.
pub(super) fn warn_of_commit(error: &Native) {
    let said = format!("group offsets were not committed, lag tools will show old ones: {error}");
    if let Some(said) = THROTTLE.pass(&said) {
        tracing::warn!("{said}");
    }
}

/// The words of the error that the last poll of this thread returned.
pub(super) fn reason() -> String {
    REASON.with_borrow(String::clone)
}

/// Errors that concern no partition. librdkafka has logged what it knows about a connection already.
fn log_general(error: &Native, context: &Context) {
    let reason = normalize_message(&reason());
    let said = match error.rdkafka_error_code() {
        // librdkafka's text is the number of brokers
        Some(Code::AllBrokersDown) => match context.connection_error().as_str() {
            "" => "no Kafka broker answers, waiting for one".to_owned(),
            connection_error => format!("no Kafka broker answers, waiting for one: {connection_error}"),
        },
        Some(Code::BrokerTransportFailure | Code::Resolve | Code::OperationTimedOut) => {
            tracing::debug!("{reason}");
            return;
        }
        _ => format!("Kafka: {reason}"),
    };
    if let Some(said) = THROTTLE.pass(&said) {
        tracing::warn!("{said}");
    }
}

/// The topic and both ids in librdkafka's words for a topic whose id changes.
fn changed_id(message: &str) -> Option<(&str, [&str; 2])> {
    let (topic, ids) = message.split_once(" changed id from ")?;
    let (_, topic) = topic.rsplit_once("Topic ")?;
    let (old, new) = ids.split_once(" to ")?;
    Some((topic, [old, new]))
}

/// Whether an id says that the broker knows none: it is old, or the client is new to the topic.
fn is_zero(id: &str) -> bool {
    id.bytes().all(|byte| byte == b'A')
}

/// The offset in librdkafka's words for the end of a partition, the only place where rust-rdkafka lets it through.
pub(super) fn end_offset(reason: &str) -> Option<Offset> {
    let (_, rest) = reason.split_once("end of partition at offset ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_partition_is_read_from_its_message() {
        let reason = "Fetch from broker 1 reached end of partition at offset 14549241101 (HighwaterMark 14549241105)";
        assert_eq!(end_offset(reason), Some(Offset(14_549_241_101)));
        assert_eq!(end_offset("reached end of partition at offset 7"), Some(Offset(7)));
        assert_eq!(end_offset("Broker: No more messages"), None);
    }

    #[test]
    fn the_words_of_an_error_are_those_of_the_own_poll() {
        let (context, words) = (Context::default(), "reached end of partition at offset 7");
        context.error(Native::PartitionEOF(0), words);
        std::thread::scope(|scope| {
            scope.spawn(|| context.error(Native::Global(Code::AllBrokersDown), "1/1 brokers are down"));
        });
        assert_eq!(reason(), words);
    }

    #[test]
    fn a_topic_that_changes_its_id_is_another_one() {
        let context = Context::default();
        let says = |old: &str, new: &str| {
            let line = format!("[thrd:main]: Topic topic.1-x changed id from {old} to {new}");
            context.log(RDKafkaLogLevel::Debug, "METADATA", &line);
            (context.changes("topic.1-x"), context.changes_of_all())
        };
        let (zero, first, second) = (
            "AAAAAAAAAAAAAAAAAAAAAA",
            "3GmZjO9dRdmcVzLl1cLkDg",
            "W3-bq_k1QDuPSJDIYRWYKA",
        );
        assert_eq!(says(zero, first), (0, 0), "it was not known before");
        assert_eq!(says(first, zero), (0, 0), "an old broker knows no ids");
        assert_eq!(says(zero, first), (0, 0));
        assert_eq!(says(first, second), (1, 1));
        assert_eq!(says(second, zero), (1, 1));
        assert_eq!(says(zero, first), (2, 2), "another one, whatever was said in between");
        assert_eq!(context.changes("topic.1"), 0);
    }

    #[test]
    fn authentication_is_final_at_once_until_it_has_worked() {
        let start = Instant::now();
        let mut fresh = Authentication::default();
        assert!(!fresh.is_final());
        fresh.failed(start, "no such user");
        assert!(fresh.is_final());

        let mut worked = Authentication {
            worked: true,
            ..Default::default()
        };
        worked.failed(start, "no such user");
        worked.failed(start + Duration::from_secs(29), "no such user");
        assert!(!worked.is_final());
        worked.failed(start + Duration::from_secs(31), "no such user");
        assert!(worked.is_final());
    }

    #[test]
    fn single_authentication_failures_far_apart_are_forgiven() {
        let start = Instant::now();
        let mut worked = Authentication {
            worked: true,
            ..Default::default()
        };
        for minute in 0..5 {
            worked.failed(start + Duration::from_secs(60 * minute), "broker is starting");
            assert!(!worked.is_final());
        }
    }
}
