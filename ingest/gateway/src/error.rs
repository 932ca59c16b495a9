//! Why a gateway does not start.

use super::prefix::PrefixError;
use http_server::{HostError, ServerError};
use ingest::kafka::{KafkaConfigError, KafkaError};

/// Why a gateway does not start, or ends.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// Its address, a file of tokens or certificates, or what the system refuses.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A Kafka property is refused.
    #[error(transparent)]
    Property(#[from] KafkaConfigError),
    /// A prefix of paths is refused.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// The Kafka client cannot be made.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

impl From<HostError> for GatewayError {
    fn from(error: HostError) -> GatewayError {
        GatewayError::Server(error.into())
    }
}
