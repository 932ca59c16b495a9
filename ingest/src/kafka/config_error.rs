//! Why a Kafka configuration is refused.

/// The group id if none is configured.
pub(super) const DEFAULT_GROUP: &str = "pinflow";

/// Why a Kafka configuration cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KafkaConfigError {
    /// No broker is named.
    #[error("no Kafka broker is named: expected host:port[,host:port…]")]
    NoBootstrap,
    /// The group has no name.
    #[error("the Kafka group id is empty: leave it out to get the default, {DEFAULT_GROUP}")]
    NoGroup,
    /// Tokens are signed for a region, and nothing names it.
    #[error(
        "sasl.mechanism = AWS_MSK_IAM needs the cluster's region: it is in the brokers' names at Amazon, elsewhere set AWS_REGION"
    )]
    NoRegion,
    /// The property is set by pinflow itself.
    #[error("Kafka property {name} cannot be set: {reason}")]
    Owned {
        /// The property as the user wrote it.
        name: String,
        /// Why it is ours, and what to use instead.
        reason: &'static str,
    },
    /// librdkafka does not know the property.
    #[error("Kafka property {name} does not exist in librdkafka: see its CONFIGURATION.md for the names")]
    Unknown {
        /// The property as the user wrote it.
        name: String,
    },
    /// librdkafka does not take the value.
    #[error("Kafka property {name}: {reason}")]
    Value {
        /// The property as the user wrote it.
        name: String,
        /// librdkafka's own words.
        reason: String,
    },
}
