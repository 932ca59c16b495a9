//! Why the emulator failed.

use super::interface::DestinationError;
use super::source::SourceError;
use std::io;
use std::path::PathBuf;

/// Why `emulate::run` failed.
#[derive(Debug, thiserror::Error)]
pub enum EmulateError {
    /// The emulator's threads did not start.
    #[error("starting the emulator's threads")]
    Runtime(#[source] io::Error),
    /// The receiver cannot be addressed as the options say.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// No more records could be read or made.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No record will be taken, or one was not within the patience.
    #[error("{0}")]
    Delivery(String),
    /// Records were refused that should have been taken.
    #[error("{count} records were refused, the first with {first}")]
    Refused {
        /// How many.
        count: u64,
        /// The answer to the first of them.
        first: String,
    },
    /// The final counts could not be written.
    #[error("cannot write the summary {}", path.display())]
    Summary {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}
