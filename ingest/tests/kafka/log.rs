//! Writing topics, and reading them through the reader under test.

use crate::broker::Broker;
use ingest::kafka::{Cluster, KafkaConfig, KafkaError, Polled, Range, Reader, ReaderOptions, RecordId, Watermarks};
use ingest::{Offset, Partition};
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The longest that anything may take.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A record as it was read: topic number, partition, offset, key, value.
pub type Seen = (u8, i32, i64, Option<String>, Option<String>);

pub type Sender = ThreadedProducer<rdkafka::producer::DefaultProducerContext>;

impl Broker {
    pub fn config(&self) -> KafkaConfig {
        KafkaConfig::new(&self.bootstrap)
    }

    pub fn cluster(&self) -> Cluster {
        Cluster::connect(&self.config()).expect("the broker answers")
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap)
            // partitions that are added are known soon
            .set("topic.metadata.refresh.interval.ms", "300");
        config
    }

    fn admin<T>(&self, act: impl AsyncFnOnce(AdminClient<DefaultClientContext>, AdminOptions) -> T) -> T {
        let admin = self.client().create().unwrap();
        let options = AdminOptions::new()
            .operation_timeout(Some(PATIENCE))
            .request_timeout(Some(PATIENCE));
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(act(admin, options))
    }

    /// A new topic under a name that no other test has.
    pub fn topic(&self, partitions: i32, settings: &[(&str, &str)]) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("topic.{}-{partitions}", NUMBER.fetch_add(1, Relaxed));
        self.create_topic(&name, partitions, settings);
        name
    }

    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        self.admin(async |admin, options| {
            let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
            for (key, value) in settings {
                topic = topic.set(key, value);
            }
            admin
                .create_topics([&topic], &options)
                .await
                .unwrap()
                .remove(0)
                .unwrap();
            // the answer comes from the controller: the broker creates files first
            let start = Instant::now();
            loop {
                let metadata = admin.inner().fetch_metadata(Some(name), PATIENCE).unwrap();
                let topic = metadata.topics().first();
                let leads = |partition: &rdkafka::metadata::MetadataPartition| partition.leader() >= 0;
                if topic.is_some_and(|topic| {
                    topic.partitions().len() == partitions as usize && topic.partitions().iter().all(leads)
                }) {
                    break;
                }
                assert!(start.elapsed() < PATIENCE, "{name} is not there");
                std::thread::sleep(Duration::from_millis(20));
            }
        });
    }

    /// Deletes a topic with records in each partition and creates it again, with as little time between as one client
    /// needs. Returns when the broker holds the new one: what is written before goes to the old one.
    pub fn recreate_topic(&self, name: &str, partitions: i32) {
        self.admin(async |admin, options| {
            let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
            let deleted = admin.delete_topics(&[name], &options).await;
            let created = admin.create_topics([&topic], &options).await;
            deleted.unwrap().remove(0).unwrap();
            created.unwrap().remove(0).unwrap();
        });
        let (ends, start) = (self.uncommitted(), Instant::now());
        for partition in 0..partitions {
            while ends.fetch_watermarks(name, partition, PATIENCE) != Ok((0, 0)) {
                assert!(start.elapsed() < PATIENCE, "{name}/{partition} is not empty");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    pub fn grow(&self, topic: &str, partitions: usize) {
        self.admin(async |admin, options| {
            let new = NewPartitions::new(topic, partitions);
            admin
                .create_partitions([&new], &options)
                .await
                .unwrap()
                .remove(0)
                .unwrap();
        });
    }

    pub fn delete_topic(&self, topic: &str) {
        self.admin(async |admin, options| {
            admin
                .delete_topics(&[topic], &options)
                .await
                .unwrap()
                .remove(0)
                .unwrap();
        });
    }

    /// What retention does: everything below `offset` is gone.
    pub fn delete_below(&self, topic: &str, partition: i32, offset: i64) {
        self.admin(async |admin, options| {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, partition, rdkafka::Offset::Offset(offset))
                .unwrap();
            admin.delete_records(&list, &options).await.unwrap();
        });
    }

    pub fn producer(&self) -> Sender {
        self.client()
            .set("linger.ms", "0")
            .set("enable.idempotence", "true")
            .create()
            .unwrap()
    }

    pub fn transactions(&self, id: &str) -> Sender {
        let producer: Sender = self
            .client()
            .set("linger.ms", "0")
            .set("transactional.id", id)
            .create()
            .unwrap();
        producer.init_transactions(PATIENCE).unwrap();
        producer
    }

    /// Waits until everything below `end` is stable: the marker that ends a transaction is written after the answer.
    pub fn wait_for(&self, topic: &str, partition: i32, end: i64) {
        let (cluster, start) = (self.cluster(), Instant::now());
        while cluster.watermarks(topic, Partition(partition)).unwrap().stable < Offset(end) {
            assert!(start.elapsed() < PATIENCE, "{topic}/{partition} does not reach {end}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The end of a partition for a reader that does not care for transactions.
    pub fn uncommitted_end(&self, topic: &str, partition: i32) -> i64 {
        let ends = self.uncommitted();
        ends.fetch_watermarks(topic, partition, PATIENCE).unwrap().1
    }

    fn uncommitted(&self) -> BaseConsumer {
        let mut config = self.client();
        config.set("isolation.level", "read_uncommitted").create().unwrap()
    }
}

/// Writes a record, waiting while the producer's queue is full, or the partition so new that it does not know it.
pub fn send(producer: &Sender, topic: &str, partition: i32, key: Option<&str>, value: Option<&str>) {
    let mut record = BaseRecord::<str, str>::to(topic).partition(partition);
    record.key = key;
    record.payload = value;
    while let Err((error, back)) = producer.send(record) {
        let passes = [RDKafkaErrorCode::QueueFull, RDKafkaErrorCode::UnknownPartition];
        assert!(
            error.rdkafka_error_code().is_some_and(|code| passes.contains(&code)),
            "{error}"
        );
        std::thread::sleep(Duration::from_millis(5));
        record = back;
    }
}

/// Writes values `from..to` as text, keyed by themselves, and waits until the broker has them.
pub fn fill(producer: &Sender, topic: &str, partition: i32, values: std::ops::Range<i64>) {
    for value in values {
        let text = value.to_string();
        send(producer, topic, partition, Some(&text), Some(&text));
    }
    producer.flush(PATIENCE).unwrap();
}

/// Watermarks of a partition without an open transaction.
pub fn settled(low: i64, high: i64) -> Watermarks {
    let stable = high;
    Watermarks {
        low: Offset(low),
        stable: Offset(stable),
        high: Offset(high),
    }
}

pub fn range(topic: u8, name: &str, partition: i32, from: i64, until: Option<i64>) -> Range {
    Range {
        topic,
        name: name.into(),
        partition: Partition(partition),
        from: Offset(from),
        until: until.map(Offset),
        after: None,
    }
}

/// A reader, and what it has said so far.
pub struct Reading {
    pub reader: Reader,
    pub seen: Vec<Seen>,
    /// Topic number, partition and next offset.
    pub reached: Vec<(u8, i32, i64)>,
    pub failed: Vec<KafkaError>,
    /// The last record of each topic number and partition.
    pub last: BTreeMap<(u8, i32), RecordId>,
}

impl Reading {
    pub fn start(config: &KafkaConfig) -> Reading {
        Reading::with(config, ReaderOptions::default())
    }

    /// The caller waits to be woken, and half a second at most, so that a lost wake-up is slow but not fatal.
    pub fn with(config: &KafkaConfig, options: ReaderOptions) -> Reading {
        Reading::held(config, options, || ())
    }

    /// The same with something that the reader's thread does, too, whenever it wakes the caller.
    pub fn held(config: &KafkaConfig, options: ReaderOptions, hold: impl Fn() + Send + Sync + 'static) -> Reading {
        let thread = std::thread::current();
        let wake = move || {
            thread.unpark();
            hold();
        };
        let reader = Reader::start(config, options, Arc::new(wake)).unwrap();
        Reading {
            reader,
            seen: Vec::new(),
            reached: Vec::new(),
            failed: Vec::new(),
            last: BTreeMap::new(),
        }
    }

    pub fn assign(&self, ranges: impl IntoIterator<Item = Range>) {
        for range in ranges {
            self.reader.assign(range);
        }
    }

    /// Takes what is there. The contract of batches is checked on the way.
    pub fn take(&mut self) -> bool {
        let before = (self.seen.len(), self.reached.len(), self.failed.len());
        while let Some(polled) = self.reader.try_next() {
            match polled {
                Polled::Batch(batch) => {
                    assert_eq!(
                        batch.records.last().expect("no batch is empty").offset.next(),
                        batch.next
                    );
                    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap());
                    let (topic, partition) = (batch.topic, batch.partition);
                    self.last
                        .insert((topic, partition.0), batch.last_id().expect("no batch is empty"));
                    self.seen.extend(
                        batch
                            .iter()
                            .map(|(offset, key, value)| (topic, partition.0, offset.0, text(key), text(value))),
                    );
                }
                Polled::Reached { topic, partition, next } => self.reached.push((topic, partition.0, next.0)),
                Polled::Failed(error) => self.failed.push(error),
            }
        }
        before != (self.seen.len(), self.reached.len(), self.failed.len())
    }

    /// Reads until the condition holds.
    pub fn until(&mut self, what: &str, done: impl Fn(&Reading) -> bool) {
        let start = Instant::now();
        loop {
            self.take();
            if done(self) {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "no {what}: {} records, reached {:?}, failed {:?}",
                self.seen.len(),
                self.reached,
                self.failed
            );
            std::thread::park_timeout(Duration::from_millis(500));
        }
    }

    /// Reads for a while in which nothing may come.
    pub fn quiet(&mut self, time: Duration) {
        let before = (self.seen.len(), self.reached.len(), self.failed.len());
        std::thread::sleep(time);
        self.take();
        assert_eq!(
            (self.seen.len(), self.reached.len(), self.failed.len()),
            before,
            "{:?}",
            self.failed
        );
    }

    /// Offsets of one partition, as they came.
    pub fn offsets(&self, topic: u8, partition: i32) -> Vec<i64> {
        self.seen
            .iter()
            .filter(|seen| (seen.0, seen.1) == (topic, partition))
            .map(|seen| seen.2)
            .collect()
    }
}
