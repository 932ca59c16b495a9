//! Writing to Kafka as producers do: idempotent, in transactions, tombstones included.

use anyhow::{Context, Result, anyhow};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A record to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'a> {
    /// The partition; `None` lets the key decide (murmur2, as Java's producer).
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// An idempotent producer; with a transactional id every record belongs to a transaction.
pub struct Producer {
    inner: ThreadedProducer<Deliveries>,
    failure: Arc<Mutex<Option<KafkaError>>>,
}

impl Producer {
    /// A producer that acknowledges when the broker has written.
    pub fn new(bootstrap: &str) -> Result<Producer> {
        Producer::with(bootstrap, &[])
    }

    /// A producer with these librdkafka properties besides.
    pub fn with(bootstrap: &str, properties: &[(&str, &str)]) -> Result<Producer> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("linger.ms", "1");
        config
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", LIMIT.as_millis().to_string());
        for (key, value) in properties {
            config.set(*key, *value);
        }
        let failure = Arc::new(Mutex::new(None));
        let inner = config
            .create_with_context(Deliveries(failure.clone()))
            .context("making a producer")?;
        Ok(Producer { inner, failure })
    }

    /// A producer of transactions. Making it ends open transactions of an earlier one with the same id.
    pub fn transactional(bootstrap: &str, id: &str) -> Result<Producer> {
        let producer = Producer::with(bootstrap, &[("transactional.id", id)])?;
        producer
            .inner
            .init_transactions(LIMIT)
            .with_context(|| format!("opening transactions of {id}"))?;
        Ok(producer)
    }

    /// Queues a record; waits while the queue is full.
    pub fn send(&self, topic: &str, message: Message<'_>) -> Result<()> {
        self.send_at(topic, message, None)
    }

    /// The same with a timestamp of its own, in milliseconds since 1970.
    pub fn send_at(&self, topic: &str, message: Message<'_>, stamp: Option<i64>) -> Result<()> {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic);
        record.partition = message.partition;
        record.key = message.key;
        record.payload = message.value;
        record.timestamp = stamp;
        loop {
            match self.inner.send(record) {
                Ok(()) => return self.check(),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(error).with_context(|| format!("producing to {topic}")),
            }
        }
    }

    /// Queues a value under its decimal key, as producers that key by `ind` do.
    pub fn put(&self, topic: &str, ind: i64, value: &serde_json::Value) -> Result<()> {
        let (key, value) = (ind.to_string(), value.to_string());
        self.send(
            topic,
            Message {
                partition: None,
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
            },
        )
    }

    /// Writes values under their decimal keys into one partition, and waits until the broker has acknowledged them.
    pub fn fill(&self, topic: &str, partition: i32, inds: Range<i64>, value: impl Fn(i64) -> String) -> Result<()> {
        for ind in inds {
            let (key, value) = (ind.to_string(), value(ind));
            let message = Message {
                partition: Some(partition),
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
            };
            self.send(topic, message)?;
        }
        self.flush()
    }

    /// Queues a tombstone.
    pub fn delete(&self, topic: &str, ind: i64) -> Result<()> {
        self.send(
            topic,
            Message {
                partition: None,
                key: Some(ind.to_string().as_bytes()),
                value: None,
            },
        )
    }

    /// Waits until the broker has acknowledged everything.
    pub fn flush(&self) -> Result<()> {
        self.inner.flush(LIMIT).context("flushing a producer")?;
        self.check()
    }

    /// Begins a transaction.
    pub fn begin(&self) -> Result<()> {
        self.inner.begin_transaction().context("beginning a transaction")
    }

    /// Commits it.
    pub fn commit(&self) -> Result<()> {
        self.inner
            .commit_transaction(LIMIT)
            .context("committing a transaction")?;
        self.check()
    }

    /// Aborts it after its records have reached the log, where they stay as offsets that nobody may read.
    pub fn abort(&self) -> Result<()> {
        self.flush()?;
        self.inner.abort_transaction(LIMIT).context("aborting a transaction")
    }

    fn check(&self) -> Result<()> {
        match self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(anyhow!(error)).context("a record was not delivered"),
            None => Ok(()),
        }
    }
}

struct Deliveries(Arc<Mutex<Option<KafkaError>>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert_with(|| error.clone());
        }
    }
}
