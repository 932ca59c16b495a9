//! The producer of transactions. Everything here blocks.
//!
//! A transaction is written whole or not at all. What prevents it is one of three things: another producer has taken
//! over the transactional id, Kafka will never take a record, or the attempt is over and the same may succeed with a new
//! producer. librdkafka's own retries have happened by then.

use super::error::BridgeError;
use super::properties::{self, TRANSACTION};
use super::shard::ShardId;
use ingest::Partition;
use ingest::kafka::{KafkaConfig, KafkaError, Tokens, log_line};
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long one call to librdkafka may wait.
const CALL: Duration = Duration::from_secs(10);
/// How long opening transactions may take: those of an earlier producer are ended first.
const OPEN: Duration = Duration::from_secs(60);
const FULL_PAUSE: Duration = Duration::from_millis(2);

const SIZE_HINT: &str = "raise max.message.bytes of the topic";

/// Why a transaction was not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Another producer has the transactional id now, or Kafka ended a transaction that took too long.
    Fenced,
    /// A new producer may write it.
    Over(KafkaError),
    /// It will never be written.
    Refused(BridgeError),
}

/// A record on its way.
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: Partition,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Option<OwnedHeaders>,
    pub(crate) origin: Origin,
}

/// What a record was made of.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// A record of a shard.
    Record { shard: ShardId, sequence: String },
    /// A position.
    Position,
}

/// The first record that Kafka did not take.
#[derive(Debug, Clone)]
struct Refusal {
    origin: Origin,
    topic: String,
    code: Option<Code>,
    reason: String,
}

struct Context {
    tokens: Tokens,
    refusal: Arc<Mutex<Option<Refusal>>>,
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
        tracing::debug!(target: "librdkafka", "{error}: {reason}");
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Origin>;

    fn delivery(&self, result: &DeliveryResult<'_>, origin: Box<Origin>) {
        let Err((error, message)) = result else { return };
        let code = error.rdkafka_error_code();
        // an aborted transaction takes its records with it
        if matches!(code, Some(Code::PurgeQueue | Code::PurgeInflight)) {
            return;
        }
        let reason = code.map_or_else(|| error.to_string(), |code| code.to_string());
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        refusal.get_or_insert_with(|| Refusal {
            origin: *origin,
            topic: message.topic().to_owned(),
            code,
            reason,
        });
    }
}

/// A producer whose transactions nobody else can write.
pub(crate) struct Producer {
    native: ThreadedProducer<Context>,
    refusal: Arc<Mutex<Option<Refusal>>>,
    id: String,
}

impl Producer {
    /// Takes over a transactional id: an open transaction of an earlier producer is ended, and its owner is fenced.
    pub(crate) fn open(kafka: &KafkaConfig, id: &str) -> Result<Producer, WriteError> {
        let failed = |error: KafkaError| WriteError::Refused(error.into());
        let mut config = properties::producer(kafka, id);
        let tokens = Tokens::of(&mut config).map_err(|error| failed(error.into()))?;
        let refusal = Arc::new(Mutex::new(None));
        let context = Context {
            tokens,
            refusal: Arc::clone(&refusal),
        };
        let native = config.create_with_context(context);
        let native: ThreadedProducer<Context> =
            native.map_err(|error| failed(KafkaError::client("create a producer", error)))?;
        let id = id.to_owned();
        let producer = Producer { native, refusal, id };
        producer.call("open transactions", OPEN, |native| native.init_transactions(CALL))?;
        Ok(producer)
    }

    /// Begins a transaction.
    pub(crate) fn begin(&self) -> Result<(), WriteError> {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let begun = self.native.begin_transaction();
        begun.map_err(|error| self.classify("begin a transaction", error))
    }

    /// Puts a record into it, as soon as librdkafka has room for one.
    pub(crate) fn send(&self, record: Outgoing<'_>) -> Result<(), WriteError> {
        let origin = Box::new(record.origin);
        let mut message = BaseRecord::<[u8], [u8], Box<Origin>>::with_opaque_to(record.topic, origin);
        message.partition = Some(record.partition.0);
        message.key = record.key;
        message.payload = record.value;
        message.headers = record.headers;
        let deadline = Instant::now() + TRANSACTION;
        loop {
            match self.native.send(message) {
                Ok(()) => return Ok(()),
                Err((Native::MessageProduction(Code::QueueFull), back)) if Instant::now() < deadline => {
                    message = back;
                    std::thread::sleep(FULL_PAUSE);
                }
                Err((Native::MessageProduction(code @ Code::MessageSizeTooLarge), back)) => {
                    return Err(WriteError::Refused(of_record(Refusal {
                        origin: *back.delivery_opaque,
                        topic: record.topic.to_owned(),
                        code: Some(code),
                        reason: code.to_string(),
                    })));
                }
                Err((error, _)) => return Err(self.classify("send a record", error)),
            }
        }
    }

    /// Waits until Kafka has the transaction's records, or has refused one.
    pub(crate) fn flush(&self) -> Result<(), WriteError> {
        self.call("write records", TRANSACTION + CALL, |native| native.flush(CALL))
    }

    /// Writes the transaction: afterwards readers of committed records have all of its records.
    pub(crate) fn commit(&self) -> Result<(), WriteError> {
        self.call("commit a transaction", TRANSACTION + CALL, |native| {
            native.commit_transaction(CALL)
        })
    }

    /// Gives the transaction up. When that fails, Kafka does it a while later, or the next producer at once.
    pub(crate) fn abort(&self) {
        if let Err(error) = self.native.abort_transaction(CALL) {
            tracing::debug!("a transaction was not aborted: {error}");
        }
    }

    /// Repeats a call that may be repeated.
    fn call(
        &self,
        action: &'static str,
        limit: Duration,
        call: impl Fn(&ThreadedProducer<Context>) -> Result<(), Native>,
    ) -> Result<(), WriteError> {
        let deadline = Instant::now() + limit;
        loop {
            match call(&self.native) {
                Ok(()) => return Ok(()),
                Err(Native::Transaction(error)) if error.is_retriable() && Instant::now() < deadline => {}
                Err(Native::Flush(Code::OperationTimedOut)) if Instant::now() < deadline => {}
                Err(error) => return Err(self.classify(action, error)),
            }
        }
    }

    fn classify(&self, action: &'static str, error: Native) -> WriteError {
        let refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take();
        let code = error.rdkafka_error_code();
        let fatal = self.native.client().fatal_error().map(|(code, _)| code);
        let fenced = |code: Code| matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch);
        if code.is_some_and(fenced) || fatal.is_some_and(fenced) {
            return WriteError::Fenced;
        }
        match refusal {
            Some(refusal) if refusal.code.is_some_and(never) => return WriteError::Refused(of_record(refusal)),
            _ => {}
        }
        let source = KafkaError::client(action, error);
        let denied = |code: Code| {
            matches!(
                code,
                Code::TransactionalIdAuthorizationFailed
                    | Code::TopicAuthorizationFailed
                    | Code::ClusterAuthorizationFailed
            )
        };
        if code.is_some_and(denied) {
            let (id, source) = (self.id.clone(), Box::new(source));
            return WriteError::Refused(BridgeError::Denied { action, id, source });
        }
        WriteError::Over(source)
    }
}

/// Whether a record with this error would have it again.
fn never(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge
            | Code::InvalidMessage
            | Code::InvalidRecord
            | Code::InvalidTimestamp
            | Code::PolicyViolation
            | Code::UnknownPartition
            | Code::TopicAuthorizationFailed
            | Code::UnsupportedForMessageFormat
    )
}

fn of_record(refusal: Refusal) -> BridgeError {
    let (shard, sequence) = match refusal.origin {
        Origin::Record { shard, sequence } => (shard.to_string(), sequence),
        Origin::Position => ("-".to_owned(), "-".to_owned()),
    };
    let reason = match refusal.code {
        Some(Code::MessageSizeTooLarge) => format!("{} ({SIZE_HINT})", refusal.reason),
        _ => refusal.reason,
    };
    BridgeError::Record {
        shard,
        sequence,
        topic: refusal.topic,
        reason,
    }
}
