//! What can go wrong with Kafka, and whether it can pass.
//!
//! A broker that is away is not here: librdkafka finds it again by itself, and the log says so.

use super::KafkaConfigError;
use super::message::{CLOSED, normalize_message};
use std::any::Any;
use std::time::Duration;
use values::{Offset, Partition};

/// A failure that waiting does not mend, or that has lasted too long.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KafkaError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] KafkaConfigError),
    /// librdkafka refused to make a client, or to do what its own documentation promises.
    #[error("librdkafka failed to {action}")]
    Client {
        /// What was asked of it.
        action: &'static str,
        /// Its answer.
        #[source]
        source: LibrdkafkaError,
    },
    /// No broker answered in time.
    #[error(
        "no answer from Kafka at {bootstrap} within {waited:?} to the question for {question}{}",
        because(.bootstrap, .detail)
    )]
    Unreachable {
        /// The brokers that were asked.
        bootstrap: String,
        /// For how long.
        waited: Duration,
        /// What was asked.
        question: String,
        /// The last error of a connection, if any.
        detail: String,
    },
    /// Kafka does not accept our credentials.
    #[error("Kafka at {bootstrap} refuses to authenticate us{} (check sasl.* and security.protocol)", because(.bootstrap, .detail))]
    Authentication {
        /// The brokers that were asked.
        bootstrap: String,
        /// The broker's reason.
        detail: String,
    },
    /// Kafka knows us, but does not let us read the topic.
    #[error("not authorised to read topic {topic}: grant READ and DESCRIBE to this user")]
    NotAuthorized {
        /// The topic.
        topic: String,
    },
    /// The partition was there and is no more.
    #[error("partition {topic}/{partition} does not exist (any more): was the topic deleted or created again?")]
    TopicGone {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
    },
    /// The topic was deleted and created again under its name: its records are not those that were read before.
    #[error(
        "topic {topic} was deleted and created again: {found}, record {topic}/{partition} {offset} was read before; \
         continue under a new name with --topics"
    )]
    TopicRemade {
        /// The topic.
        topic: String,
        /// The partition in which it was noticed.
        partition: Partition,
        /// The offset of the last record that was read, or the one before the position where none is known.
        offset: Offset,
        /// What stands there now.
        found: Remade,
    },
    /// The same, noticed in a partition that had held nothing, while others may be read elsewhere.
    #[error(
        "topic {topic} was deleted and created again: {topic}/{partition} held nothing before, and it is not known here \
         whether other partitions did (start again to find out)"
    )]
    EmptyTopicRemade {
        /// The topic.
        topic: String,
        /// The partition in which it was noticed.
        partition: Partition,
    },
    /// The broker does not hold the offset: retention has passed it, or the topic was created again.
    #[error(
        "offset {offset} of {topic}/{partition} is not in Kafka{}: retention has passed it, or the topic was created again ({detail})",
        holds(.held)
    )]
    OffsetOutOfRange {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// The offset from which on records were still wanted.
        offset: Offset,
        /// What the broker holds, low to high exclusive, if it could be asked.
        held: Option<(Offset, Offset)>,
        /// librdkafka's own words.
        detail: String,
    },
    /// Bytes at or after the offset cannot be read: a wrong checksum, an unknown format, a failed decompression.
    #[error("a record of {topic}/{partition} at or after offset {offset} cannot be read: {detail}")]
    Unreadable {
        /// The topic.
        topic: String,
        /// The partition.
        partition: Partition,
        /// The offset from which on records were still wanted.
        offset: Offset,
        /// librdkafka's own words.
        detail: String,
    },
    /// A thread has ended in a panic: a defect of this program.
    #[error("thread {thread} has panicked: {message}")]
    Panicked {
        /// The thread.
        thread: &'static str,
        /// What it said.
        message: String,
    },
    /// The broker answered a question with an error.
    #[error("Kafka answered the question for {question} with an error")]
    Refused {
        /// What was asked.
        question: String,
        /// The answer.
        #[source]
        source: LibrdkafkaError,
    },
}

/// An error of librdkafka, with its text as this crate prints it: the broker and the reason, in one line. It has no
/// `source`: the text contains it.
#[derive(Debug, Clone)]
pub struct LibrdkafkaError(rdkafka::error::KafkaError);

impl LibrdkafkaError {
    pub(super) fn code(&self) -> Option<rdkafka::types::RDKafkaErrorCode> {
        self.0.rdkafka_error_code()
    }
}

impl From<rdkafka::error::KafkaError> for LibrdkafkaError {
    fn from(error: rdkafka::error::KafkaError) -> LibrdkafkaError {
        LibrdkafkaError(error)
    }
}

impl std::error::Error for LibrdkafkaError {}

impl std::fmt::Display for LibrdkafkaError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&normalize_message(&self.0.to_string()))
    }
}

/// By what a topic is known to be another one than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Remade {
    /// At the offset of a record that was read stands another one.
    #[error("another record stands at its offset")]
    OtherRecord,
    /// The log ends at or below a record that was read.
    #[error("its log ends at {0}")]
    Ends(Offset),
    /// Kafka has given the name to a topic with another id.
    #[error("it has another id")]
    OtherId,
}

impl KafkaError {
    /// librdkafka failed to do this.
    pub fn client(action: &'static str, error: rdkafka::error::KafkaError) -> KafkaError {
        KafkaError::Client {
            action,
            source: error.into(),
        }
    }

    /// Whether the same question may succeed later without intervention.
    pub fn can_pass(&self) -> bool {
        matches!(self, KafkaError::Unreachable { .. } | KafkaError::Refused { .. })
    }
}

/// The cause, without the broker's address where that is the only one, and a hint.
fn because(bootstrap: &str, detail: &str) -> String {
    let named = detail.strip_prefix(bootstrap).and_then(|rest| rest.strip_prefix(": "));
    let detail = named.unwrap_or(detail);
    match detail {
        "" => String::new(),
        CLOSED => format!(": {CLOSED} (check security.protocol)"),
        detail => format!(": {detail}"),
    }
}

fn holds(held: &Option<(Offset, Offset)>) -> String {
    held.map(|(low, high)| format!(", which holds {low}..{high}"))
        .unwrap_or_default()
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_object_and_the_hint() {
        let error = KafkaError::OffsetOutOfRange {
            topic: "pin".into(),
            partition: Partition(3),
            offset: Offset(1200),
            held: Some((Offset(3000), Offset(9000))),
            detail: "Broker: Offset out of range".into(),
        };
        assert_eq!(
            error.to_string(),
            "offset 1200 of pin/3 is not in Kafka, which holds 3000..9000: retention has passed it, \
             or the topic was created again (Broker: Offset out of range)"
        );
        assert!(!error.can_pass());
        let error = KafkaError::Unreachable {
            bootstrap: "b:1".into(),
            waited: Duration::from_secs(30),
            question: "the cluster".into(),
            detail: String::new(),
        };
        assert_eq!(
            error.to_string(),
            "no answer from Kafka at b:1 within 30s to the question for the cluster"
        );
        assert!(error.can_pass());
    }
}
