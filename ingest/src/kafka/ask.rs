//! Questions to Kafka: the clients that ask, the thread that serves them, and how long an answer is waited for.

use super::client::{Context, Reads, consumer, serve};
use super::error::panic_text;
use super::{KafkaConfig, KafkaError};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError as Native, RDKafkaErrorCode as Code};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long an answer is waited for before the question is asked anew, so that a refused password ends the wait; longer
/// where answers take longer, since librdkafka closes a connection on which one does not come in time.
pub(super) const TRY: Duration = Duration::from_secs(2);
/// Between two tries that were refused at once.
pub(super) const PAUSE: Duration = Duration::from_millis(200);
/// How long the thread sleeps between two looks at the clients' queues.
const IDLE_WAIT: Duration = Duration::from_millis(100);

type Client = Arc<BaseConsumer<Context>>;
type Clients = Arc<Mutex<Vec<Client>>>;

/// Clients for questions, and what serves them.
pub(super) struct Asker {
    config: KafkaConfig,
    pub(super) retry_timeout: Duration,
    /// Reads committed records only, as the reader does.
    pub(super) committed: Client,
    /// librdkafka asks for the end of a partition with the isolation level of the client, so that the end as others
    /// see it needs a client of its own. Made when it is first asked for.
    uncommitted: Mutex<Option<Client>>,
    served: Clients,
    service: Service,
    /// How long the first try of the next question may take.
    try_timeout: Mutex<Duration>,
}

impl Asker {
    pub(super) fn start(config: &KafkaConfig, retry_timeout: Duration) -> Result<Asker, KafkaError> {
        let committed = Arc::new(consumer(config, Reads::Samples)?);
        let served: Clients = Arc::new(Mutex::new(vec![Arc::clone(&committed)]));
        let clients = Arc::clone(&served);
        let turn = move || {
            let clients = clients.lock().unwrap_or_else(PoisonError::into_inner).clone();
            for client in clients {
                serve(&client);
            }
        };
        Ok(Asker {
            config: config.clone(),
            retry_timeout,
            committed,
            uncommitted: Mutex::default(),
            served,
            service: Service::start(turn),
            try_timeout: Mutex::new(TRY),
        })
    }

    /// The client that sees records of open transactions.
    pub(super) fn uncommitted(&self) -> Result<Client, KafkaError> {
        let mut made = self.uncommitted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*made {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(consumer(&self.config, Reads::Uncommitted)?);
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.push(Arc::clone(&client));
        Ok(Arc::clone(made.insert(client)))
    }

    /// Asks until there is an answer that no later one can differ from, or the retry timeout is over.
    pub(super) fn ask<T>(
        &self,
        client: &BaseConsumer<Context>,
        question: &str,
        ask: impl Fn(Duration) -> Result<T, Native>,
    ) -> Result<T, KafkaError> {
        let start = Instant::now();
        let context = client.context();
        let mut try_timeout = *self.try_timeout();
        loop {
            self.check()?;
            let left = self.retry_timeout.saturating_sub(start.elapsed());
            let asked = Instant::now();
            let cause = match ask(try_timeout.min(left).max(Duration::from_millis(1))) {
                Ok(answer) => {
                    context.authenticated();
                    // one question is some requests, one after the other
                    *self.try_timeout() = TRY.max(asked.elapsed() * 3);
                    return Ok(answer);
                }
                Err(cause) => cause,
            };
            if asked.elapsed() >= try_timeout {
                try_timeout *= 2;
            }
            if let Some(detail) = context.authentication_failure() {
                return Err(KafkaError::Authentication {
                    bootstrap: self.config.bootstrap.clone(),
                    detail,
                });
            }
            if !passes(&cause) {
                return Err(KafkaError::Refused {
                    question: question.to_owned(),
                    source: cause.into(),
                });
            }
            if start.elapsed() + PAUSE >= self.retry_timeout {
                return Err(self.unreachable(client, question));
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn try_timeout(&self) -> MutexGuard<'_, Duration> {
        self.try_timeout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails when nothing serves the clients any more.
    pub(super) fn check(&self) -> Result<(), KafkaError> {
        match self.service.panicked.get() {
            Some(message) => Err(KafkaError::Panicked {
                thread: Service::NAME,
                message: message.clone(),
            }),
            None => Ok(()),
        }
    }

    pub(super) fn unreachable(&self, client: &BaseConsumer<Context>, question: &str) -> KafkaError {
        KafkaError::Unreachable {
            bootstrap: self.config.bootstrap.clone(),
            waited: self.retry_timeout,
            question: question.to_owned(),
            detail: client.context().connection_error(),
        }
    }
}

/// A thread that does the same again and again until it is dropped.
struct Service {
    stop: Arc<AtomicBool>,
    /// What it said when it panicked.
    panicked: Arc<OnceLock<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    const NAME: &'static str = "kafka-cluster";

    fn start(mut turn: impl FnMut() + Send + 'static) -> Service {
        let stop = Arc::new(AtomicBool::new(false));
        let panicked = Arc::new(OnceLock::new());
        let (stopped, failed) = (Arc::clone(&stop), Arc::clone(&panicked));
        let turns = move || {
            let turns = AssertUnwindSafe(|| {
                while !stopped.load(SeqCst) {
                    turn();
                    std::thread::park_timeout(IDLE_WAIT);
                }
            });
            if let Err(panic) = catch_unwind(turns) {
                let _ = failed.set(panic_text(&*panic));
            }
        };
        let thread = std::thread::Builder::new().name(Service::NAME.into()).spawn(turns);
        Service {
            stop,
            panicked,
            thread: Some(thread.expect("the system starts a thread")),
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // a panic was caught and is an answer to each question
            let _ = thread.join();
        }
    }
}

/// Whether an answer may be another one a little later.
fn passes(error: &Native) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                // the broker is no part of the cluster for now
                | Code::DestroyBroker
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::Resolve
                | Code::SSL
                | Code::Authentication
                | Code::WaitingForCoordinator
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::BrokerNotAvailable
                | Code::ReplicaNotAvailable
                | Code::NetworkException
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::OffsetNotAvailable
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
        )
    )
}

/// Whether Kafka, or librdkafka by what it last heard of Kafka, does not know a topic or partition.
pub(super) fn is_unknown(error: &Native) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition | Code::UnknownTopicId)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_fail_when_the_thread_has_panicked() {
        let config = KafkaConfig::new("127.0.0.1:1");
        let mut asker = Asker::start(&config, Duration::from_secs(30)).unwrap();
        assert!(asker.check().is_ok());
        asker.service = Service::start(|| panic!("injected"));
        let start = Instant::now();
        let client = Arc::clone(&asker.committed);
        let answer = asker.ask(&client, "anything", |timeout| {
            std::thread::sleep(timeout.min(PAUSE));
            Err::<(), _>(Native::MetadataFetch(Code::OperationTimedOut))
        });
        let error = answer.unwrap_err();
        assert!(
            matches!(&error, KafkaError::Panicked { thread: "kafka-cluster", message } if message == "injected"),
            "{error}"
        );
        assert!(!error.can_pass() && start.elapsed() < Duration::from_secs(5));
    }
}
