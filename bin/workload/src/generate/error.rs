//! Why a synthetic lake was not written.

use ingest::lake::{LakeError, LakeUrl};
use std::io;
use std::path::PathBuf;

/// Why a synthetic lake was not written.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// Two histories would mix.
    #[error("{lake} holds objects of topic {topic} already: give an empty place")]
    Used {
        /// The lake.
        lake: LakeUrl,
        /// A topic that it holds already.
        topic: String,
    },
    /// The lake was not reached, or refused an object.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// A file of the lake's folder could not be used.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was being done: `list`, `make` or `write`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The threads of an S3 client did not start.
    #[error("cannot start the threads of the upload")]
    Runtime(#[source] io::Error),
    /// An object could not be compressed.
    #[error("cannot compress an object")]
    Compress(#[source] io::Error),
}

impl GenerateError {
    /// The error of a file operation.
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> GenerateError {
        let path = path.into();
        move |source| GenerateError::File { action, path, source }
    }
}
