//! How a command ends: the exit codes that scripts and supervisors rely on.

use crate::config::ConfigError;
use engine::{Class, EngineError, with_causes};
use gateway::GatewayError;
use http_server::ServerError;
use sinks::SinkError;
use std::process::ExitCode;
use workload::emulate::EmulateError;
use workload::generate::GenerateError;

/// Done.
pub const DONE: u8 = 0;
/// Failed: a restart may help.
pub const FAILED: u8 = 1;
/// Bad usage or configuration: a restart does not help.
pub const USAGE: u8 = 2;
/// A newer run holds the schema: never to be restarted.
pub const FENCED: u8 = 3;

/// Why a command did not end with exit code 0.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something failed; the text names it.
    #[error("{}", with_causes(.0.as_ref()))]
    Failed(anyhow::Error),
    /// Bad usage or configuration.
    #[error("{0}")]
    Usage(#[from] ConfigError),
    /// A newer run took the schema.
    #[error("{0}")]
    Fenced(String),
    /// This exit code; whoever knows why has said so: a process that `launch` started.
    #[error("ended with exit code {0}")]
    Silent(u8),
}

impl From<anyhow::Error> for Failure {
    /// A file of secrets that others may read is a fault of the configuration: a restart does not help.
    fn from(error: anyhow::Error) -> Failure {
        let server = match error.downcast_ref() {
            Some(GatewayError::Server(server)) => Some(server),
            _ => error.downcast_ref(),
        };
        match server {
            Some(ServerError::Exposed { .. }) => ConfigError::one(with_causes(error.as_ref())).into(),
            _ => Failure::Failed(error),
        }
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Failure {
        anyhow::Error::from(error).into()
    }
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Failure {
        Failure::of(Class::of_sink(&error), &error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        Failure::of(error.class(), &error)
    }
}

impl From<GenerateError> for Failure {
    fn from(error: GenerateError) -> Failure {
        Failure::Failed(error.into())
    }
}

impl From<EmulateError> for Failure {
    fn from(error: EmulateError) -> Failure {
        Failure::Failed(error.into())
    }
}

impl Failure {
    /// The text of the engine's and the sink's errors is complete: it names their causes in words of its own.
    fn of(class: Class, error: &dyn std::error::Error) -> Failure {
        match class {
            Class::Usage => ConfigError::one(error.to_string()).into(),
            Class::Fenced => Failure::Fenced(error.to_string()),
            Class::Stopped | Class::Failed => Failure::Failed(anyhow::anyhow!("{error}")),
        }
    }

    /// The exit code of this failure.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Failed(_) => FAILED,
            Failure::Usage(_) => USAGE,
            Failure::Fenced(_) => FENCED,
            Failure::Silent(code) => *code,
        }
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> ExitCode {
        ExitCode::from(failure.code())
    }
}
