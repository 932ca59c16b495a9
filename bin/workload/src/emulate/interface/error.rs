//! Why a receiver cannot be addressed as the options say.

use std::io;
use std::path::{Path, PathBuf};

/// Why a receiver cannot be addressed as the options say.
#[derive(Debug, thiserror::Error)]
pub enum DestinationError {
    /// The token's file cannot be read.
    #[error("reading the token {}", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The token's file has no token.
    #[error("{} holds no token", path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
    },
    /// The token has characters that no header may have.
    #[error("the token in {} is not valid in a header", path.display())]
    InvalidToken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: hyper::header::InvalidHeaderValue,
    },
    /// TLS cannot be set up.
    #[error("setting up TLS")]
    Tls(#[source] rustls::Error),
    /// There is no certificate to check the server's with.
    #[error("the system has no root certificates; name them with --ca-file")]
    NoSystemRoots,
    /// The file of certificates cannot be read.
    #[error("reading the certificates {}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// The system's answer, or what is wrong with the file.
        #[source]
        source: io::Error,
    },
    /// A certificate is not one of an authority.
    #[error("a certificate of {} is of no use", path.display())]
    InvalidCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
    /// The file of certificates is empty.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The properties of the producer do not fit together.
    #[error(transparent)]
    KafkaConfig(#[from] ingest::kafka::KafkaConfigError),
    /// librdkafka refused a property of the producer.
    #[error("making a producer")]
    Producer(#[source] rdkafka::error::KafkaError),
}

/// The error of reading a file of certificates.
pub(super) fn certificates(path: &Path) -> impl FnOnce(io::Error) -> DestinationError {
    let path = path.to_owned();
    move |source| DestinationError::Certificates { path, source }
}
