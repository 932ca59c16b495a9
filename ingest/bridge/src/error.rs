//! Why a bridge ends without being told to.

use ingest::kafka::KafkaError;
use std::error::Error;
use std::time::Duration;

/// An answer of Kinesis that is none, or the lack of one.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// Kinesis answered with an error.
    #[error("{code}{}", in_parentheses(.message))]
    Answered {
        /// The name of the error.
        code: String,
        /// What Kinesis says about it.
        message: String,
    },
    /// There was no answer that could be read, or no request.
    #[error("the request failed")]
    Unanswered(#[source] Box<dyn Error + Send + Sync>),
    /// An answer lacks what it must have.
    #[error("the answer has no {0}")]
    Incomplete(&'static str),
}

/// Why a bridge ends.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Kinesis will not answer this.
    #[error("Kinesis refuses {asked} of stream {stream}{}", in_parentheses(.hint))]
    Refused {
        /// What was asked.
        asked: &'static str,
        /// The stream.
        stream: String,
        /// What may help.
        hint: &'static str,
        /// The answer.
        #[source]
        source: RequestError,
    },
    /// Kinesis has not answered for long.
    #[error("Kinesis has not answered for {} s, asked for {asked} of stream {stream}", .waited.as_secs())]
    Unavailable {
        /// What was asked.
        asked: &'static str,
        /// The stream.
        stream: String,
        /// For how long.
        waited: Duration,
        /// The last failure.
        #[source]
        source: RequestError,
    },
    /// The positions are those of another stream.
    #[error(
        "the positions in topic {positions} are those of {recorded}, and stream {stream} is {found}: was it deleted and \
         created again? copy it under positions of its own with --positions"
    )]
    OtherStream {
        /// The stream.
        stream: String,
        /// The topic.
        positions: String,
        /// ARN and time of creation when the positions began.
        recorded: String,
        /// The same now.
        found: String,
    },
    /// Retention has passed what was read.
    #[error(
        "gap {stream}/{shard} {from}..{to}: records that arrived between these times may have been trimmed before they \
         were read; go on behind them with --accept-trimmed"
    )]
    Trimmed {
        /// The stream.
        stream: String,
        /// The shard.
        shard: String,
        /// Until when the shard was read.
        from: String,
        /// The beginning of what the stream still has.
        to: String,
    },
    /// Nothing says which topic a record belongs to.
    #[error(
        "record {sequence} of {stream}/{shard} is of no known kind: neither the stream's name nor its partition key \
         `{key}` ends in one; give the stream a topic with --alias {stream}=TOPIC, or such records with --other-topic"
    )]
    NoKind {
        /// The stream.
        stream: String,
        /// The shard.
        shard: String,
        /// Its sequence number.
        sequence: String,
        /// Its partition key.
        key: String,
    },
    /// A topic does not exist.
    #[error("topic {topic} does not exist: create it")]
    NoTopic {
        /// The topic.
        topic: String,
    },
    /// A topic has fewer partitions than its keys are spread over.
    #[error("the keys of topic {topic} are pinned to {pinned} partitions, and it has {held}")]
    Pinned {
        /// The topic.
        topic: String,
        /// So many.
        pinned: i32,
        /// So many.
        held: usize,
    },
    /// Kafka does not take a record.
    #[error("Kafka does not take record {sequence} of shard {shard} in topic {topic}: {reason}")]
    Record {
        /// The shard.
        shard: String,
        /// The sequence number.
        sequence: String,
        /// The topic.
        topic: String,
        /// What Kafka says, and what may help.
        reason: String,
    },
    /// Kafka does not let us write.
    #[error(
        "Kafka does not let us {action}: grant this user WRITE and DESCRIBE on the topics and on transactional id {id}"
    )]
    Denied {
        /// What was asked.
        action: &'static str,
        /// The transactional id.
        id: String,
        /// Kafka's answer.
        #[source]
        source: Box<KafkaError>,
    },
    /// Another bridge copies the same stream under the same positions.
    #[error("another bridge has taken over the positions in topic {positions}: {by}")]
    Fenced {
        /// The topic.
        positions: String,
        /// Who.
        by: String,
    },
    /// Kafka has ended a transaction that was open for too long: this process, or Kafka, stood still.
    #[error("Kafka ended a transaction that was open for more than {} s", super::properties::TRANSACTION.as_secs())]
    TooLong,
    /// The topic of positions cannot be used.
    #[error("topic {topic} cannot keep positions: {reason}")]
    PositionsTopic {
        /// The topic.
        topic: String,
        /// Why.
        reason: String,
    },
    /// Something is wrong with Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A task has panicked: a defect of this program.
    #[error("the reader of a shard has panicked")]
    Panicked(#[source] tokio::task::JoinError),
}

impl BridgeError {
    /// Whether the same may succeed later without intervention.
    pub(crate) fn can_pass(&self) -> bool {
        matches!(self, BridgeError::Kafka(error) if error.can_pass() || matches!(error, KafkaError::Client { .. }))
    }
}

fn in_parentheses(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!(" ({text})"),
    }
}
