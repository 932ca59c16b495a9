//! How a command ends: the exit codes that scripts and supervisors rely on.

use crate::config::ConfigError;
use causes::with_causes;
use engine::{Class, EngineError};
use gateway::GatewayError;
use http_server::ServerError;
use sinks::SinkError;
use std::process::ExitCode;
use verify::VerifyError;
use workload::emulate::EmulateError;
use workload::generate::GenerateError;

/// Done.
pub const DONE: u8 = 0;
/// Failed: a restart may help.
pub const FAILED: u8 = 1;
/// Bad usage or configuration: a restart does not help.
pub const USAGE: u8 = 2;
/// Another run holds the schema, because it took over or was there before: not to be restarted.
pub const FENCED: u8 = 3;

/// Why a command did not end with exit code 0.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Something failed; the error and its causes name it.
    #[error(transparent)]
    Failed(anyhow::Error),
    /// Bad usage or configuration.
    #[error(transparent)]
    Usage(#[from] ConfigError),
    /// Another run holds the schema.
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
        Failure::of(Class::of_sink(&error), error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Failure {
        Failure::of(error.class(), error)
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Failure {
        Failure::of(error.class(), error)
    }
}

#[cfg(feature = "parquet")]
impl From<export::ExportError> for Failure {
    fn from(error: export::ExportError) -> Failure {
        Failure::of(error.class(), error)
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
    fn of(class: Class, error: impl std::error::Error + Send + Sync + 'static) -> Failure {
        match class {
            Class::Usage => ConfigError::one(with_causes(&error)).into(),
            Class::Fenced => Failure::Fenced(with_causes(&error)),
            Class::Stopped | Class::Failed => Failure::Failed(error.into()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verification_that_cannot_be_made_ends_otherwise_than_one_that_fails() {
        let code = |error| Failure::from(error).code();
        assert_eq!(code(VerifyError::NotKept), USAGE);
        let topics = vec!["b.user".to_owned()];
        assert_eq!(code(VerifyError::Topics { topics }), USAGE);
        let schema = || "s".to_owned();
        assert_eq!(code(VerifyError::OtherProgram { schema: schema() }), USAGE);
        assert_eq!(code(VerifyError::NoCommit { schema: schema() }), FAILED);
        let names = vec!["rejects"];
        assert_eq!(code(VerifyError::Differ { tables: 15, names }), FAILED);
        let fenced = SinkError::Fenced {
            ours: 1,
            theirs: 2,
            by: String::new(),
        };
        assert_eq!(code(VerifyError::Sink(fenced)), FENCED);
        let held = SinkError::Held {
            schema: schema(),
            holder: String::new(),
        };
        assert_eq!(code(VerifyError::Sink(held)), FENCED);
        let source = std::io::Error::other("no threads left");
        let failure = Failure::from(VerifyError::Start { source });
        assert_eq!(with_causes(&failure), "cannot start the I/O threads: no threads left");
    }
}
