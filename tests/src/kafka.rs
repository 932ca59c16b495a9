//! Apache Kafka 4.3.0 from the jars that `tests/setup/kafka.sh` puts in `.cache/kafka/libs`, with what a scenario does to
//! its topics.

use crate::{block_on, eventually, need, watchdog};
use anyhow::{Context, Result, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use servers::KafkaOptions;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

const REQUEST: Duration = Duration::from_secs(30);

/// A broker: the process, which can be killed, stopped, frozen and started again, and its topics.
pub struct Kafka {
    process: servers::Kafka,
}

impl Deref for Kafka {
    type Target = servers::Kafka;

    fn deref(&self) -> &servers::Kafka {
        &self.process
    }
}

impl DerefMut for Kafka {
    fn deref_mut(&mut self) -> &mut servers::Kafka {
        &mut self.process
    }
}

impl Kafka {
    /// Starts a broker with 512 MB of heap, enough for the scenarios.
    pub fn start() -> Result<Kafka> {
        Kafka::start_with(512, &[])
    }

    /// Starts a broker with so much heap (at most 1,024 MB) and these settings added to `server.properties`; `{port}`
    /// and `{controller}` in them are its ports.
    pub fn start_with(heap_megabytes: u32, settings: &[(&str, &str)]) -> Result<Kafka> {
        watchdog::watch();
        ensure!(
            heap_megabytes <= 1024,
            "a broker of a test takes at most 1024 MB, not {heap_megabytes}"
        );
        let libs = need::kafka_libs();
        ensure!(
            servers::kafka::is_installed(&libs),
            "Apache Kafka's jars are not in {}: run tests/setup/kafka.sh, or `make test`",
            libs.display()
        );
        let settings = settings.iter().map(|&(name, value)| (name.into(), value.into()));
        let process = servers::Kafka::start(KafkaOptions {
            heap_megabytes,
            settings: settings.collect(),
            ..KafkaOptions::new(libs)
        });
        Ok(Kafka {
            process: process.context("starting Apache Kafka")?,
        })
    }

    /// Creates a topic with these topic settings, and waits until every partition has a leader.
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (key, value) in settings {
            topic = topic.set(key, value);
        }
        let admin = self.admin()?;
        let results = block_on(admin.create_topics([&topic], &options()))?.context("creating a topic")?;
        for result in results {
            result.map_err(|(topic, code)| anyhow::anyhow!("creating topic {topic}: {code}"))?;
        }
        self.wait_for_partitions(name, partitions)
    }

    /// The names of all topics.
    pub fn topics(&self) -> Result<Vec<String>> {
        let metadata = self.consumer("read_committed")?.fetch_metadata(None, REQUEST)?;
        Ok(metadata.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    /// Deletes a topic and waits until it is gone.
    pub fn delete_topic(&self, name: &str) -> Result<()> {
        let admin = self.admin()?;
        for result in block_on(admin.delete_topics(&[name], &options()))?.context("deleting a topic")? {
            result.map_err(|(topic, code)| anyhow::anyhow!("deleting topic {topic}: {code}"))?;
        }
        eventually(&format!("the end of topic {name}"), REQUEST, || {
            Ok(self.leaders(name)?.is_empty())
        })
    }

    /// Raises a topic's number of partitions to `partitions`.
    pub fn add_partitions(&self, name: &str, partitions: i32) -> Result<()> {
        let admin = self.admin()?;
        let wanted = NewPartitions::new(name, usize::try_from(partitions)?);
        for result in block_on(admin.create_partitions([&wanted], &options()))?.context("adding partitions")? {
            result.map_err(|(topic, code)| anyhow::anyhow!("adding partitions to {topic}: {code}"))?;
        }
        self.wait_for_partitions(name, partitions)
    }

    /// Deletes the records below `before`, as retention would: the low watermark becomes `before`.
    pub fn delete_records(&self, name: &str, partition: i32, before: i64) -> Result<()> {
        let admin = self.admin()?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(name, partition, Offset::Offset(before))?;
        let answer = block_on(admin.delete_records(&list, &options()))?.context("deleting records")?;
        for element in answer.elements() {
            element
                .error()
                .with_context(|| format!("deleting records of {name}/{partition} before {before}"))?;
        }
        eventually("the low watermark's move", REQUEST, || {
            Ok(self.watermarks(name, partition)?.0 == before)
        })
    }

    /// Low and high watermark; the high one counts open and aborted transactions.
    pub fn watermarks(&self, name: &str, partition: i32) -> Result<(i64, i64)> {
        let watermarks = self
            .consumer("read_uncommitted")?
            .fetch_watermarks(name, partition, REQUEST);
        watermarks.with_context(|| format!("reading the watermarks of {name}/{partition}"))
    }

    /// All records of a partition that a reader with this isolation level sees, as (offset, key, value).
    pub fn records(&self, name: &str, partition: i32, isolation: &str) -> Result<Vec<Record>> {
        let consumer = self.consumer(isolation)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(name, partition, Offset::Beginning)?;
        consumer.assign(&list)?;
        let mut records = Vec::new();
        let deadline = Instant::now() + REQUEST;
        loop {
            ensure!(
                Instant::now() < deadline,
                "{name}/{partition} was not read to its end within {REQUEST:?}"
            );
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => {
                    use rdkafka::Message as _;
                    let key = message.key().map(<[u8]>::to_vec);
                    records.push((message.offset(), key, message.payload().map(<[u8]>::to_vec)));
                }
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => return Ok(records),
                Some(Err(error)) => return Err(error).with_context(|| format!("reading {name}/{partition}")),
            }
        }
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .create()
            .context("making an admin client")
    }

    fn consumer(&self, isolation: &str) -> Result<BaseConsumer> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.bootstrap())
            .set("group.id", "pinflow-tests");
        config
            .set("isolation.level", isolation)
            .set("enable.auto.commit", "false");
        config
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error");
        config.create().context("making a consumer")
    }

    /// How many partitions a topic has; none for an unknown topic.
    pub fn partitions(&self, name: &str) -> Result<i32> {
        Ok(i32::try_from(self.leaders(name)?.len())?)
    }

    /// The leader of each partition of a topic; none for an unknown topic.
    fn leaders(&self, name: &str) -> Result<Vec<i32>> {
        let consumer = self.consumer("read_committed")?;
        let metadata = consumer.fetch_metadata(Some(name), REQUEST)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        Ok(topic
            .into_iter()
            .flat_map(|topic| topic.partitions())
            .map(|partition| partition.leader())
            .collect())
    }

    fn wait_for_partitions(&self, name: &str, partitions: i32) -> Result<()> {
        let count = usize::try_from(partitions)?;
        eventually(&format!("{partitions} leaders of {name}"), REQUEST, || {
            let leaders = self.leaders(name)?;
            Ok(leaders.len() == count && leaders.iter().all(|leader| *leader >= 0))
        })
    }
}

/// Offset, key and value of a record.
pub type Record = (i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST))
        .operation_timeout(Some(REQUEST))
}
