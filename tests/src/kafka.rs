//! Apache Kafka 4.3.0 from the jars that `tests/setup/kafka.sh` puts in `.cache/kafka/libs`, with what a scenario does to
//! its topics.

use crate::pool::{Lent, Pool};
use crate::{block_on, eventually, need, watchdog};
use anyhow::{Context, Result, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::OwnedMessage;
use rdkafka::{Offset, TopicPartitionList};
use servers::{KafkaOptions, free_port};
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

const REQUEST: Duration = Duration::from_secs(30);

/// A broker: the process, which can be killed, stopped, frozen and started again, and its topics. It may be the first
/// one of a cluster.
pub struct Kafka {
    process: Lent<servers::Kafka>,
    /// The other brokers of its cluster.
    others: Vec<servers::Kafka>,
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
    /// A broker with 512 MB of heap, enough for the scenarios, that has no topics and no groups.
    pub fn start() -> Result<Kafka> {
        static POOL: Pool<servers::Kafka> = Pool::new();
        let start = || servers::Kafka::start(Kafka::options(512, &[])?).context("starting Apache Kafka");
        Ok(Kafka {
            process: POOL.lend(empty, start)?,
            others: Vec::new(),
        })
    }

    /// Starts a broker with so much heap (at most 1,024 MB) and these settings added to `server.properties`; `{port}`
    /// and `{controller}` in them are its ports.
    pub fn start_with(heap_megabytes: u32, settings: &[(&str, &str)]) -> Result<Kafka> {
        Kafka::alone(Kafka::options(heap_megabytes, settings)?)
    }

    /// Starts a broker with a second listener, for clients that authenticate by this mechanism of SASL, with the module that
    /// knows them and these settings; and the address of that listener.
    pub fn start_sasl(mechanism: &str, login: &str, settings: &[(&str, &str)]) -> Result<(Kafka, String)> {
        let at = format!("127.0.0.1:{}", free_port()?);
        let listeners = format!("PLAINTEXT://127.0.0.1:{{port}},SASL://{at},CONTROLLER://127.0.0.1:{{controller}}");
        let advertised = format!("PLAINTEXT://127.0.0.1:{{port}},SASL://{at}");
        let module = format!("listener.name.sasl.{}.sasl.jaas.config", mechanism.to_lowercase());
        let mut all = vec![
            ("listeners", listeners.as_str()),
            ("advertised.listeners", &advertised),
            (
                "listener.security.protocol.map",
                "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            ),
            ("sasl.enabled.mechanisms", mechanism),
            (&module, login),
        ];
        all.extend(settings);
        Ok((Kafka::start_with(512, &all)?, at))
    }

    /// Starts a broker for measurements: with 1,024 MB of heap, and compiled as one that runs for long.
    pub fn start_measured(settings: &[(&str, &str)]) -> Result<Kafka> {
        Kafka::alone(KafkaOptions {
            short_lived: false,
            ..Kafka::options(1024, settings)?
        })
    }

    fn alone(options: KafkaOptions) -> Result<Kafka> {
        let server = servers::Kafka::start(options).context("starting Apache Kafka")?;
        Ok(Kafka {
            process: Lent::own(server),
            others: Vec::new(),
        })
    }

    /// Starts a broker that names to the clients of each of these listeners another address than its own: something that
    /// stands between. A listener is the port on which the broker listens, and the port of 127.0.0.1 that clients are told.
    pub fn start_behind(listeners: &[(u16, u16)]) -> Result<Kafka> {
        let (mut listening, mut advertised) = (String::new(), String::new());
        let mut protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
        for (number, (own, told)) in listeners.iter().enumerate() {
            listening += &format!(",BEHIND{number}://127.0.0.1:{own}");
            advertised += &format!(",BEHIND{number}://127.0.0.1:{told}");
            protocols += &format!(",BEHIND{number}:PLAINTEXT");
        }
        let plain = "PLAINTEXT://127.0.0.1:{port}";
        let listening = format!("{plain},CONTROLLER://127.0.0.1:{{controller}}{listening}");
        Kafka::start_with(
            512,
            &[
                ("listeners", &listening),
                ("advertised.listeners", &format!("{plain}{advertised}")),
                ("listener.security.protocol.map", &protocols),
            ],
        )
    }

    /// Starts three brokers of one cluster. Topics have a replica on each of them, and take a record from a producer that
    /// wants all acknowledgements when two of them have it.
    pub fn start_cluster() -> Result<Kafka> {
        let options = Kafka::options(
            256,
            &[("min.insync.replicas", "2"), ("controlled.shutdown.enable", "false")],
        )?;
        let mut nodes = servers::Kafka::start_cluster(&options, 3)
            .context("starting a cluster of Apache Kafka")?
            .into_iter();
        let kafka = Kafka {
            process: Lent::own(nodes.next().context("a cluster without a node")?),
            others: nodes.collect(),
        };
        let client = kafka.consumer("read_committed")?;
        eventually("the brokers know each other", REQUEST, || {
            Ok(client.fetch_metadata(None, REQUEST)?.brokers().len() == 3)
        })?;
        Ok(kafka)
    }

    fn options(heap_megabytes: u32, settings: &[(&str, &str)]) -> Result<KafkaOptions> {
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
        Ok(KafkaOptions {
            heap_megabytes,
            settings: settings.collect(),
            ..KafkaOptions::new(libs)
        })
    }

    /// `bootstrap.servers`: all brokers.
    pub fn bootstrap(&self) -> String {
        let others = self.others.iter().map(servers::Kafka::bootstrap);
        let all: Vec<String> = std::iter::once(self.process.bootstrap()).chain(others).collect();
        all.join(",")
    }

    /// The broker of this number, from 1.
    pub fn broker(&mut self, number: i32) -> Result<&mut servers::Kafka> {
        match number {
            1 => Ok(&mut *self.process),
            _ => {
                let at = usize::try_from(number - 2).ok();
                let other = at.and_then(|at| self.others.get_mut(at));
                other.with_context(|| format!("there is no broker {number}"))
            }
        }
    }

    /// Creates a topic with these topic settings, and waits until every partition has a leader.
    pub fn create_topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> Result<()> {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(self.replicas()));
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
        delete_topics(&self.admin()?, &[name])?;
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
        use rdkafka::Message as _;
        let messages = self.messages(name, partition, isolation)?.into_iter();
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        let record = |message: OwnedMessage| (message.offset(), owned(message.key()), owned(message.payload()));
        Ok(messages.map(record).collect())
    }

    /// The same with their headers and timestamps.
    pub fn messages(&self, name: &str, partition: i32, isolation: &str) -> Result<Vec<OwnedMessage>> {
        let consumer = self.consumer(isolation)?;
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(name, partition, Offset::Beginning)?;
        consumer.assign(&list)?;
        let mut messages = Vec::new();
        let deadline = Instant::now() + REQUEST;
        loop {
            ensure!(
                Instant::now() < deadline,
                "{name}/{partition} was not read to its end within {REQUEST:?}"
            );
            match consumer.poll(Duration::from_millis(100)) {
                None => {}
                Some(Ok(message)) => messages.push(message.detach()),
                Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => return Ok(messages),
                Some(Err(error)) => return Err(error).with_context(|| format!("reading {name}/{partition}")),
            }
        }
    }

    fn replicas(&self) -> i32 {
        1 + self.others.len() as i32
    }

    /// The number of the broker that leads a partition, none while there is no leader, and how many replicas are in sync.
    pub fn leader(&self, name: &str, partition: i32) -> Result<(Option<i32>, usize)> {
        let metadata = self.consumer("read_committed")?.fetch_metadata(Some(name), REQUEST)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name);
        let partitions = topic.into_iter().flat_map(|topic| topic.partitions());
        let mut found = partitions.filter(|found| found.id() == partition);
        let found = found
            .next()
            .with_context(|| format!("there is no {name}/{partition}"))?;
        Ok((Some(found.leader()).filter(|leader| *leader > 0), found.isr().len()))
    }

    fn admin(&self) -> Result<AdminClient<DefaultClientContext>> {
        admin(&self.bootstrap())
    }

    fn consumer(&self, isolation: &str) -> Result<BaseConsumer> {
        consumer(&self.bootstrap(), isolation)
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

fn admin(bootstrap: &str) -> Result<AdminClient<DefaultClientContext>> {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .create()
        .context("making an admin client")
}

fn consumer(bootstrap: &str, isolation: &str) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "pinflow-tests");
    config
        .set("isolation.level", isolation)
        .set("enable.auto.commit", "false");
    config
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error");
    config.create().context("making a consumer")
}

fn delete_topics(admin: &AdminClient<DefaultClientContext>, names: &[&str]) -> Result<()> {
    for result in block_on(admin.delete_topics(names, &options()))?.context("deleting topics")? {
        result.map_err(|(topic, code)| anyhow::anyhow!("deleting topic {topic}: {code}"))?;
    }
    Ok(())
}

/// Deletes the groups and topics that a test left.
fn empty(server: &servers::Kafka) -> Result<()> {
    let bootstrap = server.bootstrap();
    let (admin, client) = (admin(&bootstrap)?, consumer(&bootstrap, "read_committed")?);
    let groups = client.fetch_group_list(None, REQUEST)?;
    let groups: Vec<&str> = groups.groups().iter().map(|group| group.name()).collect();
    if !groups.is_empty() {
        for result in block_on(admin.delete_groups(&groups, &options()))?.context("deleting groups")? {
            result.map_err(|(group, code)| anyhow::anyhow!("deleting group {group}: {code}"))?;
        }
    }
    let left = || -> Result<Vec<String>> {
        let metadata = client.fetch_metadata(None, REQUEST)?;
        let names = metadata.topics().iter().map(|topic| topic.name());
        // Kafka's own stay
        let names = names.filter(|name| !name.starts_with("__"));
        Ok(names.map(str::to_owned).collect())
    };
    let topics = left()?;
    if !topics.is_empty() {
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        delete_topics(&admin, &topics)?;
    }
    eventually("the end of all topics", REQUEST, || Ok(left()?.is_empty()))
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(REQUEST))
        .operation_timeout(Some(REQUEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Message, Producer};
    use rdkafka::consumer::CommitMode;

    #[test]
    fn an_emptied_broker_has_neither_records_nor_offsets() -> Result<()> {
        let kafka = Kafka::start()?;
        for round in 0..2 {
            kafka.create_topic("left", 1, &[])?;
            assert_eq!(kafka.watermarks("left", 0)?, (0, 0), "in round {round}");
            let client = consumer(&kafka.bootstrap(), "read_committed")?;
            let mut offsets = TopicPartitionList::new();
            offsets.add_partition("left", 0);
            let committed = client.committed_offsets(offsets.clone(), REQUEST)?;
            assert_eq!(committed.elements()[0].offset(), Offset::Invalid, "in round {round}");
            let producer = Producer::transactional(&kafka.bootstrap(), "writer")?;
            producer.begin()?;
            let value = Some(&b"1"[..]);
            producer.send(
                "left",
                Message {
                    partition: Some(0),
                    key: None,
                    value,
                },
            )?;
            producer.commit()?;
            offsets.set_all_offsets(Offset::Offset(1))?;
            client.commit(&offsets, CommitMode::Sync)?;
            empty(&kafka)?;
            assert_eq!(kafka.partitions("left")?, 0);
        }
        Ok(())
    }
}
