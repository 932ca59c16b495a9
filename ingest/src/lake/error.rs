//! What can go wrong with a lake, each named with the object it concerns.

use super::name::Encoding;
use super::request_error::RequestError;
use std::error::Error;
use std::io;
use std::time::Duration;

/// Why a lake, or one object of it, could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// A URL that names no lake.
    #[error("invalid lake {url:?}: {why} (expected file:///folder or s3://bucket/prefix)")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is no such folder or bucket.
    #[error("cannot {action} {object}: it does not exist")]
    NoLake {
        /// What was being done.
        action: &'static str,
        /// The folder or the bucket.
        object: String,
    },
    /// The server has refused every request since the start.
    #[error("cannot use {lake} ({hint})")]
    NoAccess {
        /// The lake's URL.
        lake: String,
        /// What the server, or the search for credentials, said.
        #[source]
        source: RequestError,
        /// What helps.
        hint: &'static str,
    },
    /// The store does not know the object, and can be asked for others.
    #[error("cannot {action} {object}: it does not exist")]
    Missing {
        /// What was being done.
        action: &'static str,
        /// The object's key.
        object: String,
    },
    /// This object cannot be read, although the lake can be listed.
    #[error("cannot read {object}, although the lake can be listed")]
    Inaccessible {
        /// The object's key.
        object: String,
        /// What the store said.
        #[source]
        source: RequestError,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {object}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// The object's key or the folder.
        object: String,
        /// The operating system's answer.
        #[source]
        source: io::Error,
    },
    /// The S3 server refused, and would refuse again.
    #[error("cannot {action} {object} (check credentials, bucket policy and region)")]
    Refused {
        /// What was being done.
        action: &'static str,
        /// The object's key or the bucket.
        object: String,
        /// The server's answer, or why the request was never sent.
        #[source]
        source: RequestError,
    },
    /// The store could not be reached, or denied access, for as long as it was waited for.
    #[error("cannot {action} {object}: given up after {} of attempts", shown(*.waited))]
    Unavailable {
        /// What was being done.
        action: &'static str,
        /// The object's key, the folder or the bucket.
        object: String,
        /// How long it was waited for.
        waited: Duration,
        /// What the last attempt met.
        #[source]
        source: RequestError,
    },
    /// The object was replaced while it was being read, and some of the old one had been handed out.
    #[error("{object} was replaced while it was being read (is another archiver writing? start again)")]
    Changed {
        /// The object's key.
        object: String,
    },
    /// The object's bytes are not what was written.
    #[error("{object} is damaged")]
    Corrupt {
        /// The object's key.
        object: String,
        /// How it shows.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The object is larger than the limit.
    #[error("{object} is larger than {limit} bytes once read (raise the limit if that is meant)")]
    TooLarge {
        /// The object's key.
        object: String,
        /// The limit it passed, in bytes of its decoded content.
        limit: u64,
    },
    /// The object's metadata is not readable as ours.
    #[error("the metadata of {object} is not readable")]
    Metadata {
        /// The object's key.
        object: String,
        /// The item and what is wrong with it.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A key that may not be written.
    #[error("invalid key of a lake {object:?}: expected folders and a file name, without . and .. and a leading /")]
    Key {
        /// The key.
        object: String,
    },
    /// Our own code failed on the object, and has said where.
    #[error("reading {object} panicked")]
    Panicked {
        /// The object's key.
        object: String,
    },
    /// The fetcher was dropped while the object was being read.
    #[error("reading {object} was given up because the fetcher stopped")]
    Stopped {
        /// The object's key.
        object: String,
    },
}

/// What an error calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// An outage: the store, or the access to it, is away. Waiting helps; it was waited for as long as was allowed. No
    /// object may be left out because of it.
    Unavailable,
    /// This object is proved unreadable while the store answers: its content is damaged or beyond the limits, or it
    /// cannot be read although the lake can be listed. Others can be read.
    Damaged,
    /// Neither waiting nor leaving an object out helps: a wrong setting, a refused write, an object that was replaced
    /// while it was read.
    Fatal,
}

impl LakeError {
    /// What the error calls for.
    pub fn class(&self) -> Class {
        match self {
            LakeError::Unavailable { .. } => Class::Unavailable,
            LakeError::Missing { .. }
            | LakeError::Inaccessible { .. }
            | LakeError::Corrupt { .. }
            | LakeError::TooLarge { .. }
            | LakeError::Metadata { .. } => Class::Damaged,
            LakeError::Url { .. }
            | LakeError::NoLake { .. }
            | LakeError::NoAccess { .. }
            | LakeError::Io { .. }
            | LakeError::Refused { .. }
            | LakeError::Changed { .. }
            | LakeError::Key { .. }
            | LakeError::Panicked { .. }
            | LakeError::Stopped { .. } => Class::Fatal,
        }
    }

    /// Whether reading the object again from its start may end better.
    pub(crate) fn is_worth_another_read(&self) -> bool {
        matches!(self, LakeError::Changed { .. } | LakeError::Corrupt { .. })
    }
}

/// Carries a [`LakeError`] through `std::io::Read`; `from_io` takes it out again.
impl From<LakeError> for io::Error {
    fn from(error: LakeError) -> io::Error {
        io::Error::other(error)
    }
}

/// The [`LakeError`] inside an I/O error, or the I/O error itself with its object.
pub(crate) fn from_io(action: &'static str, object: &str, error: io::Error) -> LakeError {
    match error.downcast::<LakeError>() {
        Ok(error) => error,
        Err(source) if source.kind() == io::ErrorKind::NotFound => LakeError::Missing {
            action,
            object: object.to_string(),
        },
        Err(source) => LakeError::Io {
            action,
            object: object.to_string(),
            source,
        },
    }
}

/// Tells damage from failure.
pub(super) fn read_error(key: &str, encoding: Encoding, error: io::Error) -> LakeError {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    match (encoding, error.kind()) {
        (Encoding::Gzip, UnexpectedEof) => LakeError::Corrupt {
            object: key.to_string(),
            source: "the gzip stream is cut short".into(),
        },
        (Encoding::Gzip, InvalidData | InvalidInput) => LakeError::Corrupt {
            object: key.to_string(),
            source: error.into(),
        },
        _ => from_io("read", key, error),
    }
}

/// `45 s`, `3 min`
pub(crate) fn shown(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}
