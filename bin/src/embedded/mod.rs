//! Servers that need nothing installed around them: a private PostgreSQL cluster, an S3 server in this process,
//! and librdkafka's mock broker.
//!
//! `pinflow demo` shows the whole way of the data on one machine with them, and the tests start the same ones.
//! Each listens on 127.0.0.1 on a free port, keeps its files in one directory, and takes both away when it is
//! dropped; a child process ends with this one even when this one is killed (see [`process`]).
//!
//! They are not for production: the S3 server does not fsync, the broker keeps a few megabytes a partition, and the
//! cluster's superuser password stands in its URL.

pub mod broker;
pub mod postgres;
pub mod process;
pub mod s3;

pub use broker::Broker;
pub use postgres::{Postgres, PostgresOptions};
pub use s3::S3Server;

use std::path::PathBuf;

/// Why a server of this module did not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// A program is not installed.
    #[error("{program} is not on this machine; install it ({hint})")]
    Missing {
        /// The program that was looked for.
        program: &'static str,
        /// How to install it.
        hint: &'static str,
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

impl EmbeddedError {
    fn io(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> EmbeddedError {
        let action = action.into();
        move |source| EmbeddedError::Io { action, source }
    }
}

/// A port of 127.0.0.1 that was free a moment ago. Somebody else may take it before it is used: servers that
/// get one from here are started again with another when they cannot bind.
pub fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
