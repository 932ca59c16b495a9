//! Why a server did not start or stop.

use std::path::PathBuf;

/// Why a server did not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A program is not installed.
    #[error("{program} is not on this machine; install it ({hint})")]
    Missing {
        /// The program that was looked for.
        program: &'static str,
        /// How to install it.
        hint: &'static str,
    },
    /// There is no Apache Kafka.
    #[error("Apache Kafka's jars are not in {}", libs.display())]
    NoJars {
        /// The folder that was looked in.
        libs: PathBuf,
    },
    /// The directory cannot be used by the server.
    #[error("{} cannot hold {what}: {reason}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What it was meant to hold.
        what: &'static str,
        /// Why it cannot.
        reason: String,
    },
    /// A server ended or stayed silent instead of becoming ready.
    #[error("{server} did not start: {reason}")]
    NotReady {
        /// Which server.
        server: &'static str,
        /// What it said last, or how long was waited.
        reason: String,
    },
    /// An operating system call failed.
    #[error("{action} failed")]
    Io {
        /// What was being done, with its object.
        action: String,
        /// The system's answer.
        #[source]
        source: std::io::Error,
    },
    /// librdkafka refused something.
    #[error("the embedded broker refused to {action}")]
    Broker {
        /// What was asked of it.
        action: String,
        /// librdkafka's answer.
        #[source]
        source: rdkafka::error::KafkaError,
    },
}

impl ServerError {
    /// The error of an operating system call that was `action`.
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> ServerError {
        let action = action.into();
        move |source| ServerError::Io { action, source }
    }
}
