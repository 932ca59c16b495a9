//! What can go wrong with a lake, each named with the object it concerns.

use std::io;

/// Why a lake, or one object of it, could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// A URL that names no lake.
    #[error("{url:?} is no lake: {why} (expected file:///folder or s3://bucket/prefix)")]
    Url {
        /// The URL as given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The store does not know the folder, bucket or object.
    #[error("cannot {action} {object}: it does not exist")]
    Missing {
        /// What was being done.
        action: &'static str,
        /// The object's key, the folder or the bucket.
        object: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {object}: {source}")]
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
    #[error(
        "cannot {action} {object}: the server answered {status} {code} (check credentials, bucket policy and region)"
    )]
    Refused {
        /// What was being done.
        action: &'static str,
        /// The object's key or the bucket.
        object: String,
        /// The HTTP status; 0 when the request was never sent.
        status: u16,
        /// The server's error code and message.
        code: String,
    },
    /// The S3 server could not be reached or failed, again and again.
    #[error("cannot {action} {object}: given up after {attempts} attempts, the last one: {cause}")]
    Unavailable {
        /// What was being done.
        action: &'static str,
        /// The object's key or the bucket.
        object: String,
        /// Attempts without progress.
        attempts: u32,
        /// What the last attempt met.
        cause: String,
    },
    /// The object was replaced while it was being read, and some of the old one had been handed out.
    #[error("{object} was replaced while it was being read (is another archiver writing? start again)")]
    Changed {
        /// The object's key.
        object: String,
    },
    /// The object's bytes are not what was written.
    #[error("{object} is damaged: {why}")]
    Corrupt {
        /// The object's key.
        object: String,
        /// How it shows.
        why: String,
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
    #[error("the metadata of {object} is not readable: {why}")]
    Metadata {
        /// The object's key.
        object: String,
        /// The item and what is wrong with it.
        why: String,
    },
    /// A key that may not be written.
    #[error("{object:?} is no key of this lake: folders and a file name, without . and .. and a leading /")]
    Key {
        /// The key.
        object: String,
    },
    /// The fetcher was dropped while the object was being read.
    #[error("reading {object} was given up because the fetcher stopped")]
    Stopped {
        /// The object's key.
        object: String,
    },
}

impl LakeError {
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
