//! Faults: retention, deleted topics, wrong passwords, a broker that is killed, and no broker at all.

use crate::broker::{alone, shared};
use crate::log::{PATIENCE, Reading, fill, range, settled};
use causes::with_causes;
use ingest::kafka::{Cluster, KafkaConfig, KafkaError};
use ingest::{Offset, Partition};
use std::time::{Duration, Instant};

#[test]
fn an_offset_that_is_gone_is_a_typed_failure_of_its_partition() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(3, &[]);
    let producer = broker.producer();
    for partition in 0..3 {
        fill(&producer, &topic, partition, 0..100);
    }
    broker.delete_below(&topic, 1, 50);
    assert_eq!(
        broker.cluster().watermarks(&topic, Partition(1)).unwrap(),
        settled(50, 100)
    );

    let mut reading = Reading::start(&broker.config());
    reading.assign([
        range(0, &topic, 0, 0, Some(100)),
        range(0, &topic, 1, 10, Some(100)),
        // the log is shorter than the position: a topic that was created again
        range(0, &topic, 2, 1000, None),
    ]);
    reading.until("an end and two failures", |r| {
        r.reached.len() == 1 && r.failed.len() == 2
    });
    assert_eq!(reading.offsets(0, 0), (0..100).collect::<Vec<_>>());
    assert!(reading.offsets(0, 1).is_empty() && reading.offsets(0, 2).is_empty());
    let mut gone: Vec<_> = reading
        .failed
        .drain(..)
        .map(|error| match error {
            KafkaError::OffsetOutOfRange {
                topic: name,
                partition,
                offset,
                held,
                ..
            } if name == topic => (partition.0, offset.0, held.map(|(low, high)| (low.0, high.0))),
            other => panic!("{other}"),
        })
        .collect();
    gone.sort();
    assert_eq!(gone, [(1, 10, Some((50, 100))), (2, 1000, Some((0, 100)))]);

    // the reader is as good as before
    reading.assign([range(0, &topic, 1, 50, Some(100)), range(0, &topic, 2, 100, None)]);
    fill(&producer, &topic, 2, 100..110);
    reading.until("the rest", |r| r.reached.len() == 2 && r.offsets(0, 2).len() == 10);
    assert_eq!(reading.offsets(0, 1), (50..100).collect::<Vec<_>>());
    assert_eq!(reading.offsets(0, 2), (100..110).collect::<Vec<_>>());
    assert!(reading.failed.is_empty());
}

#[test]
fn retention_that_overtakes_a_reader_is_seen() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(1, &[]);
    let producer = broker.producer();
    fill(&producer, &topic, 0, 0..10);
    let mut reading = Reading::start(&broker.config());
    reading.assign([range(0, &topic, 0, 0, Some(10))]);
    reading.until("the end", |r| r.reached.len() == 1);
    fill(&producer, &topic, 0, 10..30);
    broker.delete_below(&topic, 0, 20);
    reading.assign([range(0, &topic, 0, 10, None)]);
    reading.until("the failure", |r| r.failed.len() == 1);
    let failed = &reading.failed[0];
    assert!(
        matches!(
            failed,
            KafkaError::OffsetOutOfRange {
                offset: Offset(10),
                held: Some((Offset(20), Offset(30))),
                ..
            }
        ),
        "{failed}"
    );
    assert_eq!(reading.seen.len(), 10);
}

#[test]
fn topics_that_never_were_and_topics_that_are_no_more() {
    let Some((broker, _up)) = shared() else { return };
    let cluster = broker.cluster();
    assert_eq!(cluster.partitions("never.was").unwrap(), None);
    let topics = [broker.topic(1, &[]), broker.topic(1, &[])];
    assert_eq!(cluster.partitions(&topics[0]).unwrap(), Some(vec![Partition(0)]));
    let names = cluster.topics().unwrap();
    assert!(topics.iter().all(|topic| names.contains(topic)), "{names:?}");
    assert!(
        names.is_sorted() && !names.iter().any(|name| name.starts_with("__")),
        "{names:?}"
    );
    let start = Instant::now();
    assert!(!cluster.confirmed_absent(&topics[0]).unwrap());
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(cluster.confirmed_absent("never.was").unwrap());
    assert!(
        start.elapsed() > Duration::from_secs(10),
        "absence is not believed at once"
    );
    let producer = broker.producer();
    fill(&producer, &topics[0], 0, 0..10);
    let mut reading = Reading::start(&broker.config());
    reading.assign([range(0, &topics[0], 0, 0, None), range(1, &topics[1], 0, 0, None)]);
    reading.until("the records", |r| r.seen.len() == 10);
    broker.delete_topic(&topics[0]);
    reading.until("the failure", |r| !r.failed.is_empty());
    let failed = &reading.failed[0];
    assert!(
        matches!(failed, KafkaError::TopicGone { topic, partition: Partition(0) } if *topic == topics[0]),
        "{failed}"
    );
    assert_eq!(cluster.partitions(&topics[0]).unwrap(), None);
    // the other topic continues
    fill(&producer, &topics[1], 0, 0..10);
    reading.until("records of the other topic", |r| r.offsets(1, 0).len() == 10);
    assert_eq!(reading.failed.len(), 1);
}

#[test]
fn group_offsets_are_left_for_lag_tools() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(2, &[]);
    fill(&broker.producer(), &topic, 0, 0..20);
    let config = KafkaConfig {
        group_id: format!("group-{topic}"),
        ..broker.config()
    };
    let cluster = Cluster::connect(&config).unwrap();
    let of = [(topic.as_str(), Partition(0)), (topic.as_str(), Partition(1))];
    assert_eq!(cluster.committed_offsets(&of).unwrap(), [None, None]);
    for next in [7, 12].map(Offset) {
        cluster.commit_offsets([(topic.as_str(), Partition(0), next)]);
        let start = Instant::now();
        while cluster.committed_offsets(&of).unwrap() != [Some(next), None] {
            assert!(start.elapsed() < PATIENCE, "{next} is not committed");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    // and nothing is read from there
    let mut reading = Reading::start(&config);
    reading.assign([range(0, &topic, 0, 0, Some(20))]);
    reading.until("the end", |r| r.reached.len() == 1);
    assert_eq!(reading.seen.len(), 20);
}

#[test]
fn a_wrong_password_is_said_at_once() {
    let Some((broker, _up)) = shared() else { return };
    let config = |password: &str| {
        let properties = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", "reader"),
            ("sasl.password", password),
        ];
        let properties = properties
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        KafkaConfig {
            properties,
            ..KafkaConfig::new(&broker.sasl)
        }
    };
    let topic = broker.topic(1, &[]);
    fill(&broker.producer(), &topic, 0, 0..10);

    let start = Instant::now();
    let error = Cluster::connect(&config("wrong")).err().expect("a refusal");
    assert!(matches!(error, KafkaError::Authentication { .. }), "{error}");
    assert!(
        !with_causes(&error).contains("wrong"),
        "the password is not shown: {error}"
    );
    let mut reading = Reading::start(&config("wrong"));
    reading.assign([range(0, &topic, 0, 0, None)]);
    reading.until("the failure", |r| r.failed.len() == 1);
    assert!(
        matches!(reading.failed[0], KafkaError::Authentication { .. }),
        "{}",
        reading.failed[0]
    );
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());

    Cluster::connect(&config("secret")).unwrap();
    let mut reading = Reading::start(&config("secret"));
    reading.assign([range(0, &topic, 0, 0, Some(10))]);
    reading.until("the end", |r| r.reached.len() == 1);
    assert_eq!(reading.seen.len(), 10);
}

#[test]
fn no_broker_is_named_and_a_reader_waits_for_it() {
    let free = format!("127.0.0.1:{}", servers::free_port().unwrap());
    let config = KafkaConfig::new(&free);
    let error = Cluster::connect_within(&config, Duration::from_secs(2))
        .err()
        .expect("no broker answers");
    assert!(
        matches!(&error, KafkaError::Unreachable { bootstrap, .. } if *bootstrap == free),
        "{error}"
    );
    assert!(error.can_pass() && with_causes(&error).contains("refused"), "{error}");
    let mut reading = Reading::start(&config);
    reading.assign([range(0, "any", 0, 0, None)]);
    reading.quiet(Duration::from_secs(1));
    // and it does not hold up the end of the process
    let start = Instant::now();
    drop(reading);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn a_broker_that_is_killed_and_comes_back_loses_nothing() {
    let Some((broker, _alone)) = alone() else { return };
    let topic = broker.topic(2, &[]);
    let mut reading = Reading::start(&broker.config());
    reading.assign([range(0, &topic, 0, 0, None), range(0, &topic, 1, 0, Some(3000))]);
    let cluster = broker.cluster();
    for round in 0..3 {
        let producer = broker.producer();
        for partition in 0..2 {
            fill(&producer, &topic, partition, round * 1000..(round + 1) * 1000);
        }
        drop(producer);
        // killed in the middle of reading, or when all is read
        if round == 1 {
            reading.until("all so far", |r| r.seen.len() == 4000);
        }
        if round < 2 {
            broker.kill().unwrap();
            reading.take();
            std::thread::sleep(Duration::from_millis(500));
            broker.start_again().unwrap();
        }
    }
    reading.until("everything", |r| {
        r.seen.len() >= 6000 && r.reached.contains(&(0, 1, 3000))
    });
    reading.quiet(Duration::from_millis(300));
    for partition in 0..2 {
        assert_eq!(reading.offsets(0, partition), (0..3000).collect::<Vec<_>>());
    }
    assert!(reading.failed.is_empty(), "{:?}", reading.failed);
    assert_eq!(cluster.watermarks(&topic, Partition(0)).unwrap(), settled(0, 3000));
}
