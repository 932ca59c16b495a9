//! Why a verification came to no result.

use engine::Class;
use ingest::coverage::Gap;
use ingest::kafka::KafkaError;
use ingest::lake::LakeError;
use sinks::{Legacy, SinkError};
use std::fmt::{self, Display, Formatter};

/// Why a verification, or a repair, came to no result.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The lake could not be read.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// Kafka refused, or did not answer in time.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The tables could not be read or repaired.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// A system call at the start failed.
    #[error("cannot start the I/O threads")]
    Start {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The schema holds no tables of ours yet.
    #[error("nothing to verify: schema {schema} has no commit yet")]
    NoCommit {
        /// The schema.
        schema: String,
    },
    /// The tables were computed with another value of a setting.
    #[error("the tables were computed with {setting} {recorded}, not {given}: give {setting} {recorded}")]
    OtherSetting {
        /// The flag or the key.
        setting: &'static str,
        /// The value that the tables were computed with.
        recorded: u64,
        /// The value that was given.
        given: u64,
    },
    /// The tables were computed from other result files.
    #[error(
        "schema {schema} and the given results differ ({}): give the files that the tables were computed with as \
         --results DIR",
        names.join(", ")
    )]
    OtherResults {
        /// The schema.
        schema: String,
        /// Results that only one side has, or whose SQL differs.
        names: Vec<String>,
    },
    /// The tables were computed by another version, to which the same files mean something else.
    #[error(
        "the tables of schema {schema} were computed with other definitions than those of this program: start it on \
         them once, or verify them with the program that wrote them"
    )]
    OtherProgram {
        /// The schema.
        schema: String,
    },
    /// The tables hold records of topics that were not named.
    #[error("the tables hold records of {}, which --topics does not name", topics.join(", "))]
    Topics {
        /// The topics.
        topics: Vec<String>,
    },
    /// Results cannot be compared with cleaned tables that are not kept.
    #[error(
        "the tables were computed with --cleaned off, so the results cannot be compared with cleaned tables: use --replay"
    )]
    NotKept,
    /// History without offsets is not what it was: it has no range that could be compared.
    #[error(
        "the history without offsets differs from the history that the tables were computed from: {} records in \
         {objects} objects now, {} records then{unreadable} (start the engine once to apply the change)",
        found.count, recorded.count
    )]
    LegacyDiffers {
        /// The history that the lake holds.
        found: Legacy,
        /// In so many objects.
        objects: u64,
        /// The history that the tables were computed from.
        recorded: Legacy,
        /// Objects that may explain it.
        unreadable: Unreadable,
    },
    /// Offsets that the tables answer for and the log has no longer.
    #[error(
        "the log no longer contains all records that the tables were computed from, first {first}: \
         {missing_from}{unreadable}; a replay would report false differences"
    )]
    Lost {
        /// The first of the gaps.
        first: Gap,
        /// Where it was looked for.
        missing_from: &'static str,
        /// Objects that may explain it.
        unreadable: Unreadable,
    },
    /// The thread that stages a repair is gone.
    #[error("the staging thread has ended")]
    StagingEnded,
    /// The verification came to a result: tables differ.
    #[error("{} of {tables} tables differ: {}", names.len(), names.join(", "))]
    Differ {
        /// How many tables were compared.
        tables: usize,
        /// Those that differ.
        names: Vec<&'static str>,
    },
}

impl VerifyError {
    /// What another attempt can do.
    pub fn class(&self) -> Class {
        match self {
            VerifyError::Sink(error) => Class::of_sink(error),
            VerifyError::OtherSetting { .. }
            | VerifyError::OtherResults { .. }
            | VerifyError::OtherProgram { .. }
            | VerifyError::Topics { .. }
            | VerifyError::NotKept => Class::Usage,
            _ => Class::Failed,
        }
    }
}

/// The keys of objects that could not be read to their end, as the end of an error's text; no text where there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unreadable(pub Vec<String>);

impl Display for Unreadable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => Ok(()),
            [one] => write!(f, "; 1 object of the lake is unreadable, first {one}"),
            [first, ..] => {
                let count = self.0.len();
                write!(f, "; {count} objects of the lake are unreadable, first {first}")
            }
        }
    }
}
