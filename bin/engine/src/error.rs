//! Why a run ends, and with which exit code.

use super::epoch::Epoch;
use super::log::generations::TooManyGenerations;
use super::log::hand_over::LogShorter;
use ingest::Offset;
use ingest::coverage::{Gap, OrderConflict};
use ingest::kafka::KafkaError;
use ingest::lake::LakeError;
use serde::{Deserialize, Serialize};
use sinks::SinkError;

/// What a run that ended with an error can expect of a restart. Travels between processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Class {
    /// It was asked to stop.
    Stopped,
    /// A restart may help.
    Failed,
    /// What it was given cannot be used: a restart does not help.
    Usage,
    /// Another run holds the schema: it must not be started again.
    Fenced,
}

impl Class {
    /// What the sink's errors are.
    pub fn of_sink(error: &SinkError) -> Class {
        if error.is_fenced() {
            Class::Fenced
        } else if error.is_usage() {
            Class::Usage
        } else {
            Class::Failed
        }
    }
}

/// Why a run ended.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The lake could not be read or written.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// Kafka refused, or did not answer in time.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The tables could not be written.
    #[error(transparent)]
    Sink(SinkError),
    /// The coordinator, in another process, has ended the run.
    #[error("{text}")]
    Led {
        /// What a restart can do.
        class: Class,
        /// Why.
        text: String,
    },
    /// A reader, perhaps of another process, cannot go on.
    #[error(transparent)]
    Reader(ReaderError),
    /// A system call at the start failed.
    #[error("cannot start {what}")]
    Start {
        /// What was to be started.
        what: &'static str,
        /// Why it was not.
        #[source]
        source: std::io::Error,
    },
    /// A worker of the dataflow, or a task beside it, has panicked.
    #[error("{what} failed: {detail}")]
    Panicked {
        /// Which one.
        what: &'static str,
        /// What it said.
        detail: String,
    },
    /// Kafka's configuration cannot be used.
    #[error(transparent)]
    KafkaConfig(KafkaError),
    /// The address of this process cannot be listened on.
    #[error("cannot listen on {address} for the other processes of this run")]
    Listen {
        /// Its line of the host file.
        address: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Processes of one run that were started as if they were of different ones.
    #[error(
        "process {process} ({address}) was started with {} processes of {} threads, this one with {} of {}: start all with \
         the same numbers",
        theirs.0, theirs.1, ours.0, ours.1
    )]
    OtherWorkers {
        /// The other process.
        process: usize,
        /// Where it is.
        address: String,
        /// Its numbers of processes and threads.
        theirs: (u32, u32),
        /// Those of this process.
        ours: (usize, usize),
    },
    /// Processes of one run that do not compute the same.
    #[error(
        "the processes of this run have different definitions: {} differ; start all with the same files and options",
        names.join(", ")
    )]
    OtherResults {
        /// Results and limits.
        names: Vec<String>,
    },
    /// Topics that are not those of the tables.
    #[error("{0}")]
    Topics(TopicsChanged),
    /// A topic that was named does not exist.
    #[error("{0}")]
    TopicMissing(TopicMissing),
    /// An object that cannot be read.
    #[error("{error} (restore the object, or skip it with --skip-unreadable)")]
    Damaged {
        /// Why; it names the object.
        error: String,
    },
    /// Offsets that neither the lake nor Kafka has.
    #[error(
        "{count} {} missing from the log, first {first}: neither the lake nor Kafka has it (restore the objects, or \
         accept the gap with --accept-gap)",
        if *count == 1 { "range is" } else { "ranges are" }
    )]
    Gaps {
        /// How many ranges.
        count: usize,
        /// The first of them.
        first: Gap,
    },
    /// History shrank while it was read again.
    #[error("{what}: it was there when history was read first, and is gone now that it is read again: start again")]
    LessHistory {
        /// The gap, or the object.
        what: String,
    },
    /// An object was replaced between two looks at it.
    #[error("{key}: it was replaced while history was read: start again")]
    ObjectReplaced {
        /// The object.
        key: String,
    },
    /// Objects of unknown order.
    #[error(
        "{0}: objects interleave there, and Kafka no longer has their order (merge them into objects of consecutive \
         offsets)"
    )]
    Order(OrderConflict),
    /// The log ends before the tables do.
    #[error("{place}")]
    LogShorter {
        /// The partition.
        place: String,
        /// Where each ends.
        #[source]
        source: LogShorter,
    },
    /// The topic in Kafka is not the one that the tables or the lake were made of.
    #[error(
        "{place}: {why}: the topic was deleted and created again under its name (continue under a new name, with --topics)"
    )]
    TopicRemade {
        /// The partition, or the topic.
        place: String,
        /// What shows it.
        why: String,
    },
    /// A replay that ends before the tables do.
    #[error(
        "the tables hold {place} up to offset {recorded}, this replay ends at {offered}: a target never moves back (use \
         another --schema or --out)"
    )]
    MovesBack {
        /// The partition.
        place: String,
        /// The next offset of the tables.
        recorded: Offset,
        /// The next offset of the replay.
        offered: Offset,
    },
    /// A topic has grown too often.
    #[error("topic {topic} (copy it into a new topic, and name that with --topics)")]
    Generations {
        /// The topic.
        topic: String,
        /// The limit.
        #[source]
        source: TooManyGenerations,
    },
    /// Another run has found the growth of a topic first, and chosen a boundary that lies behind what we have read.
    #[error(
        "{place}: another run has recorded the growth of the topic first, with a boundary below what this run has read: \
         restart to use it"
    )]
    BoundaryPassed {
        /// The partition.
        place: String,
    },
    /// The sink has lost what was staged again and again.
    #[error("history was replayed {passes} times without reaching the tables; the last time: {reason}")]
    NeverStaged {
        /// How often.
        passes: u32,
        /// What happened last.
        reason: String,
    },
    /// Asked to end while history was replayed.
    #[error("stopped before history was committed")]
    Stopped,
    /// The dataflow is gone.
    #[error("the dataflow ended unexpectedly")]
    DataflowEnded,
    /// The dataflow closed epochs in another order than they were opened.
    #[error("epoch {epoch} closed out of order")]
    EpochOrder {
        /// The epoch.
        epoch: Epoch,
    },
}

impl EngineError {
    /// What a restart can do.
    pub fn class(&self) -> Class {
        match self {
            EngineError::Stopped => Class::Stopped,
            EngineError::Led { class, .. } => *class,
            EngineError::Sink(error) => Class::of_sink(error),
            EngineError::KafkaConfig(_)
            | EngineError::OtherResults { .. }
            | EngineError::OtherWorkers { .. }
            | EngineError::Topics(_) => Class::Usage,
            _ => Class::Failed,
        }
    }
}

impl From<SinkError> for EngineError {
    fn from(error: SinkError) -> EngineError {
        EngineError::Sink(error)
    }
}

/// A task of the runtime that did not return.
pub fn panicked(what: &'static str) -> impl Fn(tokio::task::JoinError) -> EngineError {
    move |error| EngineError::Panicked {
        what,
        detail: error.to_string(),
    }
}

/// What stops a reader. Travels between processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ReaderError {
    /// Kafka cannot go on with a partition.
    #[error("{0}")]
    Kafka(String),
    /// The lake refuses to give an object.
    #[error("{0}")]
    Lake(String),
}

/// The tables were made of other topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicsChanged {
    /// Kind, the topic of the tables, and the topic that is named now, if any.
    pub changes: Vec<(String, String, Option<String>)>,
}

impl std::fmt::Display for TopicsChanged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the tables hold other topics than are named now: ")?;
        for (number, (kind, recorded, named)) in self.changes.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            match named {
                Some(named) => write!(f, "{comma}{kind} was {recorded} and is {named}")?,
                None => write!(f, "{comma}{kind} was {recorded} and is not named")?,
            }
        }
        f.write_str(
            " (name the recorded topics with --topics, or give --replace-topics to rebuild the tables from the topics \
             given now)",
        )
    }
}

/// A topic that was named and that the lake, or the lake and Kafka, do not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicMissing {
    /// The topics.
    pub missing: Vec<String>,
    /// Names that exist and look like them.
    pub nearest: Vec<String>,
    /// Where they were looked for.
    pub places: &'static str,
}

impl std::fmt::Display for TopicMissing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (topics, has) = match self.missing.len() {
            1 => ("topic", "does"),
            _ => ("topics", "do"),
        };
        let missing = self.missing.join(", ");
        write!(f, "{topics} {missing} {has} not exist in {}", self.places)?;
        match self.nearest.as_slice() {
            [] => {}
            nearest => write!(f, "; there is {}", nearest.join(", "))?,
        }
        f.write_str(" (name another topic with --topics, or give --allow-missing-topic)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sinks::ResultProblem;

    #[test]
    fn exit_codes_tell_usage_fence_and_failure_apart() {
        let topics = EngineError::Topics(TopicsChanged {
            changes: vec![
                ("pin".into(), "a.pin".into(), Some("b.pin".into())),
                ("geo".into(), "a.geo".into(), None),
            ],
        });
        assert_eq!(topics.class(), Class::Usage);
        assert!(
            topics
                .to_string()
                .contains("pin was a.pin and is b.pin, geo was a.geo and is not named"),
            "{topics}"
        );
        let fenced = EngineError::from(SinkError::Fenced {
            ours: 1,
            theirs: 2,
            by: String::new(),
        });
        assert_eq!(fenced.class(), Class::Fenced);
        let held = EngineError::from(SinkError::Held {
            schema: "s".into(),
            holder: String::new(),
        });
        assert_eq!(held.class(), Class::Fenced);
        assert_eq!(EngineError::DataflowEnded.class(), Class::Failed);
        let gone = ["a", "b"].map(|table| ResultProblem::Gone { table: table.into() });
        let results = EngineError::from(SinkError::Results {
            schema: "s".into(),
            problems: gone.into(),
        });
        assert_eq!(results.class(), Class::Usage);
        assert_eq!(
            results.to_string(),
            "schema s: result a is no longer defined: use --drop a or restore its file; result b is no longer defined: \
             use --drop b or restore its file"
        );
        assert_eq!(EngineError::Stopped.class(), Class::Stopped);
    }

    #[test]
    fn a_missing_topic_is_named_with_those_that_look_like_it() {
        let missing = TopicMissing {
            missing: vec!["pn".into()],
            nearest: vec!["pin".into()],
            places: "the lake",
        };
        assert_eq!(
            missing.to_string(),
            "topic pn does not exist in the lake; there is pin (name another topic with --topics, or give \
             --allow-missing-topic)"
        );
    }
}
