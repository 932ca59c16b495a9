//! Creating and deleting topics, where that is allowed.

use super::producer::Producer;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a topic is not created or deleted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AdminError {
    /// The topic is there already.
    #[error("it exists already")]
    Exists,
    /// There is no such topic.
    #[error("it does not exist")]
    Unknown,
    /// Kafka does not answer, or not yet.
    #[error("Kafka does not answer: {0}")]
    Unreachable(String),
    /// Kafka does not let the gateway do it.
    #[error("the gateway is not authorized to do it")]
    Denied,
    /// Kafka says no.
    #[error("{0}")]
    Refused(String),
}

/// Makes a topic; without a number of partitions the broker's own default counts, and always its replication.
pub(super) async fn create(producer: &Producer, name: &str, partitions: Option<i32>) -> Result<(), AdminError> {
    let topic = NewTopic::new(name, partitions.unwrap_or(-1), TopicReplication::Fixed(-1));
    let results = client(producer)?.create_topics([&topic], &options()).await;
    first(results.map_err(|error| classify(&error))?)
}

/// Deletes a topic with its records.
pub(super) async fn delete(producer: &Producer, name: &str) -> Result<(), AdminError> {
    let results = client(producer)?.delete_topics(&[name], &options()).await;
    first(results.map_err(|error| classify(&error))?)
}

fn client(producer: &Producer) -> Result<AdminClient<DefaultClientContext>, AdminError> {
    let refused = || AdminError::Refused("topics cannot be made or deleted over AWS_MSK_IAM".to_owned());
    let config = producer.config().ok_or_else(refused)?;
    config.create().map_err(|error| classify(&error))
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(TIMEOUT))
        .operation_timeout(Some(TIMEOUT))
}

fn first(results: Vec<Result<String, (String, Code)>>) -> Result<(), AdminError> {
    match results.into_iter().next() {
        Some(Err((_, code))) => Err(of_code(code)),
        _ => Ok(()),
    }
}

fn classify(error: &Native) -> AdminError {
    error
        .rdkafka_error_code()
        .map_or_else(|| AdminError::Refused(error.to_string()), of_code)
}

fn of_code(code: Code) -> AdminError {
    match code {
        Code::TopicAlreadyExists => AdminError::Exists,
        Code::UnknownTopic | Code::UnknownTopicOrPartition => AdminError::Unknown,
        Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::NotController => AdminError::Unreachable(code.to_string()),
        Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => AdminError::Denied,
        code => AdminError::Refused(code.to_string()),
    }
}
