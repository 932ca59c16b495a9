//! Why a gateway does not start.

use super::route::PrefixError;
use super::sites::HostError;
use crate::kafka::{KafkaConfigError, KafkaError};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a gateway does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}")]
    Listen {
        /// What was to be listened on.
        address: SocketAddr,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// A file of tokens, certificates or keys cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
    /// Others may read or change a file of tokens, or a key.
    #[error("others may read or change {} (mode {mode:04o}): give it mode 0640 or less, or say --insecure", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file of tokens, certificates or keys does not hold what it should.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A Kafka property is refused.
    #[error(transparent)]
    Property(#[from] KafkaConfigError),
    /// A prefix of paths is refused.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// A name of the gateway is refused.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The Kafka client cannot be made.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// A thread or a socket cannot be made.
    #[error("the system refuses to {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The system's words.
        #[source]
        source: std::io::Error,
    },
}
