//! The producer: idempotent, acknowledged by all replicas in sync, the result of every delivery reported.
//!
//! librdkafka gathers records and retries by itself until the time for a record is over. Nothing is answered before
//! its report; a report that fails says whether the same record may be sent again.

use super::budget::Permit;
use super::client_failure::{Cause, ClientFailure};
use super::properties;
use ingest::kafka::{KafkaConfig, KafkaError, Tokens, log_line};
use ingest::{Offset, Partition};
use rdkafka::ClientContext;
use rdkafka::client::{Client, OAuthToken};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult as NativeResult, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Where a record stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) partition: Partition,
    /// `None`: Kafka has the record and does not say where any more. A batch whose first acknowledgement was lost, and
    /// that it no longer remembers, is a duplicate to it.
    pub(super) offset: Option<Offset>,
    /// Milliseconds since 1970, the broker's or the producer's.
    pub(super) timestamp: Option<i64>,
}

/// Why a record was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DeliveryError {
    /// The same record may be taken later; it may even have been taken now.
    #[error("{0}")]
    Retry(String),
    /// The broker takes no record of this size.
    #[error("{0}")]
    TooLarge(String),
    /// There is no such topic (any more).
    #[error("Topic not found.")]
    NoTopic,
    /// The topic has no such partition.
    #[error("Partition {0} not found.")]
    NoPartition(Partition),
    /// Kafka does not let the gateway write to the topic.
    #[error("Not authorized to access topics.")]
    Denied,
    /// Kafka does not accept the gateway's credentials.
    #[error("Kafka does not accept the credentials of the gateway")]
    Unauthenticated,
    /// The record itself is wrong: its timestamp, or its form.
    #[error("{0}")]
    Invalid(String),
    /// It will not be taken later either.
    #[error("{0}")]
    Refused(String),
}

impl DeliveryError {
    /// Its label in metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            DeliveryError::Retry(_) => "unavailable",
            DeliveryError::TooLarge(_) => "too_large",
            DeliveryError::NoTopic => "no_topic",
            DeliveryError::NoPartition(_) => "no_partition",
            DeliveryError::Denied => "denied",
            DeliveryError::Unauthenticated => "unauthenticated",
            DeliveryError::Invalid(_) => "wrong",
            DeliveryError::Refused(_) => "refused",
        }
    }
}

/// Why a question to Kafka has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum AskError {
    Unreachable(String),
    Unauthenticated,
}

/// A producer that has just been made is not replaced.
const REPLACED: Duration = Duration::from_secs(1);

pub(super) type DeliveryResult = Result<Delivered, DeliveryError>;

/// A record on its way.
pub(super) struct Outgoing<'a> {
    pub(super) topic: &'a str,
    /// `None`: librdkafka chooses, which is for records without a key.
    pub(super) partition: Option<Partition>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: Option<OwnedHeaders>,
    pub(super) timestamp: Option<i64>,
}

/// Where the result of a delivery goes, and the bytes that the record holds until then, also when its client has gone.
pub(super) struct Pending {
    result: oneshot::Sender<DeliveryResult>,
    _bytes: Arc<Permit>,
}

/// What librdkafka tells us.
pub(super) struct Context {
    tokens: Tokens,
    failure: Arc<ClientFailure>,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.tokens.make()
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: Native, reason: &str) {
        self.failure.error(error.rdkafka_error_code(), reason);
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &NativeResult<'_>, pending: Box<Pending>) {
        let delivered = match result {
            Ok(message) => {
                self.failure.is_over();
                Ok(Delivered {
                    partition: Partition(message.partition()),
                    offset: Some(Offset(message.offset())).filter(|offset| *offset >= Offset::ZERO),
                    timestamp: message.timestamp().to_millis().filter(|time| *time >= 0),
                })
            }
            Err((error, message)) => Err(classify(error, Partition(message.partition()), &self.failure)),
        };
        // a client that has gone has no receiver
        let _ = pending.result.send(delivered);
    }
}

type NativeProducer = ThreadedProducer<Context>;

/// The producer of a gateway.
pub(super) struct Producer {
    config: ClientConfig,
    tokens: Tokens,
    failure: Arc<ClientFailure>,
    current: RwLock<Current>,
}

/// The producer in use.
struct Current {
    producer: Arc<NativeProducer>,
    since: Instant,
}

impl Producer {
    pub(super) fn new(kafka: &KafkaConfig, timeout: Duration, message_bytes: usize) -> Result<Producer, KafkaError> {
        kafka.check()?;
        properties::check(kafka)?;
        let mut config = properties::producer(kafka, timeout, message_bytes);
        let tokens = Tokens::of(&mut config)?;
        let failure = Arc::new(ClientFailure::default());
        let current = RwLock::new(Current {
            producer: Arc::new(create(&config, &tokens, &failure)?),
            since: Instant::now(),
        });
        Ok(Producer {
            config,
            tokens,
            failure,
            current,
        })
    }

    /// librdkafka's configuration, for clients of other kinds; none where they could not authenticate.
    pub(super) fn config(&self) -> Option<&ClientConfig> {
        (!self.tokens.are_made()).then_some(&self.config)
    }

    /// What is known about why nothing succeeds.
    pub(super) fn client_failure(&self) -> Arc<ClientFailure> {
        Arc::clone(&self.failure)
    }

    fn current(&self) -> Arc<NativeProducer> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).producer)
    }

    /// Asks the client something.
    pub(super) fn ask<T>(&self, question: impl FnOnce(&Client<Context>) -> Result<T, Native>) -> Result<T, AskError> {
        let answer = question(self.current().client());
        match (answer, self.failure.cause()) {
            (Ok(answer), _) => {
                self.failure.is_known();
                Ok(answer)
            }
            (Err(_), Some(Cause::Unauthenticated)) => Err(AskError::Unauthenticated),
            (Err(error), _) => Err(AskError::Unreachable(error.to_string())),
        }
    }

    /// Hands a record over; the result comes later.
    pub(super) fn send(
        &self,
        record: &Outgoing<'_>,
        bytes: &Arc<Permit>,
    ) -> Result<oneshot::Receiver<DeliveryResult>, DeliveryError> {
        let (result, receiver) = oneshot::channel();
        let pending = Box::new(Pending {
            result,
            _bytes: Arc::clone(bytes),
        });
        let mut message = BaseRecord::<[u8], [u8], Box<Pending>>::with_opaque_to(record.topic, pending);
        message.partition = record.partition.map(|partition| partition.0);
        message.key = record.key;
        message.payload = record.value;
        message.headers = record.headers.clone();
        message.timestamp = record.timestamp;
        let producer = self.current();
        match producer.send(message) {
            Ok(()) => Ok(receiver),
            Err((Native::MessageProduction(Code::Fatal), _)) => {
                self.replace(&producer);
                Err(classify(
                    &Native::MessageProduction(Code::Fatal),
                    Partition(-1),
                    &self.failure,
                ))
            }
            Err((error, _)) => Err(classify(
                &error,
                record.partition.unwrap_or(Partition(-1)),
                &self.failure,
            )),
        }
    }

    /// A producer that lost its sequence for good is replaced; what it held is reported as failed. Where the cause stays,
    /// so does the failure: a new one is not made with every record.
    fn replace(&self, failed: &Arc<NativeProducer>) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&current.producer, failed) || current.since.elapsed() < REPLACED {
            return;
        }
        let (code, reason) = failed.client().fatal_error().unzip();
        let reason = reason.unwrap_or_default();
        self.failure.error(code, &reason);
        match create(&self.config, &self.tokens, &self.failure) {
            Ok(fresh) => {
                tracing::error!("Kafka producer failed fatally; recreating it: {reason}");
                current.since = Instant::now();
                let old = std::mem::replace(&mut current.producer, Arc::new(fresh));
                // its end waits for its threads
                std::thread::spawn(move || drop(old));
            }
            Err(error) => {
                let error = causes::with_causes(&error);
                tracing::error!("Kafka producer failed fatally ({reason}), and creating a new one failed: {error}")
            }
        }
    }

    /// Waits until every record is delivered or has failed.
    pub(super) fn flush(&self, timeout: Duration) {
        if let Err(error) = self.current().flush(timeout) {
            tracing::warn!("records were still on their way to Kafka: {error}");
        }
    }
}

fn create(config: &ClientConfig, tokens: &Tokens, failure: &Arc<ClientFailure>) -> Result<NativeProducer, KafkaError> {
    let failed = |error| KafkaError::client("create a producer", error);
    let context = Context {
        tokens: tokens.clone(),
        failure: Arc::clone(failure),
    };
    config.create_with_context(context).map_err(failed)
}

fn classify(error: &Native, partition: Partition, failure: &ClientFailure) -> DeliveryError {
    let text = || {
        error
            .rdkafka_error_code()
            .map_or_else(|| error.to_string(), |code| code.to_string())
    };
    match error.rdkafka_error_code() {
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => DeliveryError::TooLarge(text()),
        Some(Code::UnknownTopic | Code::UnknownTopicOrPartition) => DeliveryError::NoTopic,
        Some(Code::UnknownPartition) => DeliveryError::NoPartition(partition),
        Some(Code::InvalidMessage | Code::InvalidRecord | Code::InvalidTimestamp) => DeliveryError::Invalid(text()),
        Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => DeliveryError::Denied,
        Some(
            Code::InvalidTopic | Code::PolicyViolation | Code::InvalidArgument | Code::UnsupportedForMessageFormat,
        ) => DeliveryError::Refused(text()),
        _ => match failure.cause() {
            Some(Cause::Unauthenticated) => DeliveryError::Unauthenticated,
            Some(Cause::Denied) => DeliveryError::Denied,
            None => DeliveryError::Retry(text()),
        },
    }
}
