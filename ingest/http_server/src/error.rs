//! Why a server does not start.

use super::site::HostError;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a server does not start, or a file of it cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
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
    /// A name of the server is refused.
    #[error(transparent)]
    Host(#[from] HostError),
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
