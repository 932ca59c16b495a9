//! Why a session ended: what follows is decided by `run`.

use super::error::BridgeError;
use super::producer::WriteError;
use ingest::kafka::KafkaError;

/// Why a session ended before it was told to.
pub(crate) enum SessionError {
    /// Another producer may have taken over.
    Fenced,
    /// A new session may go on.
    Over(BridgeError),
    /// None may.
    Failed(BridgeError),
}

impl From<BridgeError> for SessionError {
    fn from(error: BridgeError) -> SessionError {
        if error.can_pass() {
            SessionError::Over(error)
        } else {
            SessionError::Failed(error)
        }
    }
}

impl From<KafkaError> for SessionError {
    fn from(error: KafkaError) -> SessionError {
        BridgeError::from(error).into()
    }
}

impl From<WriteError> for SessionError {
    fn from(error: WriteError) -> SessionError {
        match error {
            WriteError::Fenced => SessionError::Fenced,
            WriteError::Over(error) => SessionError::Over(error.into()),
            WriteError::Refused(error) => error.into(),
        }
    }
}
