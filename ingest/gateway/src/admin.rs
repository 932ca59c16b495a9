//! Creating and deleting topics, where that is allowed. Everything here blocks.
//!
//! All changes share one client, which comes into being with the first and is closed a while later: nothing reads what
//! librdkafka has to say about an admin client, and that would grow as long as the client lives.

use super::client_failure::{Cause, ClientFailure};
use super::metadata::TopicError;
use super::producer::Producer;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// How long a change may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client lives.
const LIFETIME: Duration = Duration::from_secs(60);

/// Why a topic is not created or deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AdminError {
    /// The topic is there already.
    #[error("it exists already")]
    Exists,
    /// There is no such topic, or Kafka cannot be asked to change it.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

type NativeAdmin = AdminClient<DefaultClientContext>;

/// Changes of topics.
pub(super) struct Admin {
    /// `None` where an admin client could not authenticate.
    config: Option<ClientConfig>,
    /// What the producer knows about Kafka: an admin client does not say it.
    failure: Arc<ClientFailure>,
    current: Mutex<Option<(Arc<NativeAdmin>, Instant)>>,
}

impl Admin {
    pub(super) fn new(producer: &Producer) -> Admin {
        Admin {
            config: producer.config().cloned(),
            failure: producer.client_failure(),
            current: Mutex::default(),
        }
    }

    /// Creates a topic; without a number of partitions the broker's own default counts, and always its replication.
    pub(super) fn create(&self, name: &str, partitions: Option<i32>) -> Result<(), AdminError> {
        let topic = NewTopic::new(name, partitions.unwrap_or(-1), TopicReplication::Fixed(-1));
        let client = self.client()?;
        let results = Handle::current().block_on(client.create_topics([&topic], &options()));
        self.first(results)
    }

    /// Deletes a topic with its records.
    pub(super) fn delete(&self, name: &str) -> Result<(), AdminError> {
        let client = self.client()?;
        let results = Handle::current().block_on(client.delete_topics(&[name], &options()));
        self.first(results)
    }

    /// Closes the client when it has lived long enough; a change that is under way is finished.
    pub(super) fn expire(&self) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let old = current.take_if(|(_, since)| since.elapsed() >= LIFETIME);
        drop(current);
        // its end waits for its threads
        drop(old);
    }

    fn client(&self) -> Result<Arc<NativeAdmin>, AdminError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((client, _)) = &*current {
            return Ok(Arc::clone(client));
        }
        let refused = || TopicError::Refused("topics cannot be created or deleted over AWS_MSK_IAM".to_owned());
        let config = self.config.as_ref().ok_or_else(refused)?;
        let client: NativeAdmin = config.create().map_err(|error| self.classify(&error))?;
        let client = Arc::new(client);
        *current = Some((Arc::clone(&client), Instant::now()));
        Ok(client)
    }

    fn first(&self, results: Result<Vec<Result<String, (String, Code)>>, Native>) -> Result<(), AdminError> {
        let results = results.map_err(|error| self.classify(&error))?;
        match results.into_iter().next() {
            Some(Err((_, code))) => Err(self.of_code(code)),
            _ => Ok(()),
        }
    }

    fn classify(&self, error: &Native) -> AdminError {
        match error.rdkafka_error_code() {
            Some(code) => self.of_code(code),
            None => TopicError::Refused(error.to_string()).into(),
        }
    }

    fn of_code(&self, code: Code) -> AdminError {
        let error = match code {
            Code::TopicAlreadyExists => return AdminError::Exists,
            Code::UnknownTopic | Code::UnknownTopicOrPartition => TopicError::Unknown,
            Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::DestroyBroker
            | Code::NotController => match self.failure.cause() {
                Some(Cause::Unauthenticated) => TopicError::Unauthenticated,
                _ => TopicError::Unreachable(code.to_string()),
            },
            Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed => TopicError::Denied,
            code => TopicError::Refused(code.to_string()),
        };
        error.into()
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(TIMEOUT))
        .operation_timeout(Some(TIMEOUT))
}
