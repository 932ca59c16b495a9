//! Topics that are deleted and created again under their names while, or before, they are read.

use crate::broker::{Broker, shared};
use crate::log::{PATIENCE, Reading, fill, range, send};
use ingest::kafka::{KafkaConfig, KafkaError, Range, ReaderOptions, RecordId, RecordRef, Remade};
use ingest::{Offset, Partition};
use rdkafka::producer::Producer;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

impl Broker {
    /// Deletes a topic, creates it again and fills each partition, as fast as that goes.
    fn remake(&self, topic: &str, partitions: i32, records: i64) {
        self.recreate_topic(topic, partitions);
        let producer = self.producer();
        for partition in 0..partitions {
            for _ in 0..records {
                send(&producer, topic, partition, Some("new"), Some("new"));
            }
        }
        producer.flush(PATIENCE).unwrap();
    }
}

fn remade(failed: &[KafkaError], topic: &str) -> Vec<(i32, i64, Remade)> {
    let mut seen: Vec<(i32, i64, Remade)> = failed
        .iter()
        .map(|error| match error {
            KafkaError::TopicRemade {
                topic: name,
                partition,
                offset,
                found,
            } if name == topic => (partition.0, offset.0, *found),
            other => panic!("{other}"),
        })
        .collect();
    seen.sort_by_key(|seen| seen.0);
    seen
}

/// librdkafka fetches from the new topic only after that one was filled.
fn slow_after_errors(broker: &Broker) -> KafkaConfig {
    let mut config = broker.config();
    config.properties.push(("fetch.error.backoff.ms".into(), "2500".into()));
    config
}

fn after(range: Range, after: RecordId) -> Range {
    let after = Some(after);
    Range { after, ..range }
}

/// librdkafka continues at the same offset of the new topic, without a word.
#[test]
fn a_topic_that_is_created_again_while_it_is_read_ends_its_reader() {
    let Some((broker, _up)) = shared() else { return };
    for round in 0..4 {
        let topic = broker.topic(3, &[]);
        let producer = broker.producer();
        for partition in 0..3 {
            fill(&producer, &topic, partition, 0..100);
        }
        drop(producer);
        let config = if round < 2 {
            slow_after_errors(broker)
        } else {
            broker.config()
        };
        let mut reading = Reading::start(&config);
        reading.assign((0..3).map(|partition| range(0, &topic, partition, 0, None)));
        reading.until("all records", |r| r.seen.len() == 300);
        if round == 1 {
            // not at the moment of a fetch, but in the middle of its wait
            std::thread::sleep(Duration::from_millis(350));
        }
        // beyond, at and below the old end
        broker.remake(&topic, 3, [5000, 200, 100, 10][round]);
        reading.until("three failures", |r| r.failed.len() == 3);
        let seen = remade(&reading.failed, &topic);
        assert_eq!(
            seen.iter().map(|seen| (seen.0, seen.1)).collect::<Vec<_>>(),
            [(0, 99), (1, 99), (2, 99)]
        );
        assert_eq!(reading.seen.len(), 300, "no record of the new topic is handed over");
        assert!(reading.failed[0].to_string().contains("--topics"));
    }
}

/// The reader waits for it to come back, and looks at what comes back.
#[test]
fn a_topic_that_is_away_for_a_while_comes_back_as_another() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(1, &[]);
    fill(&broker.producer(), &topic, 0, 0..100);
    let mut reading = Reading::start(&broker.config());
    reading.assign([range(0, &topic, 0, 0, None)]);
    reading.until("all records", |r| r.seen.len() == 100);
    broker.delete_topic(&topic);
    // longer than it takes librdkafka to believe it
    reading.quiet(Duration::from_secs(5));
    broker.create_topic(&topic, 1, &[]);
    fill(&broker.producer(), &topic, 0, 0..300);
    reading.until("the failure", |r| r.failed.len() == 1);
    assert_eq!(remade(&reading.failed, &topic).len(), 1);
    assert_eq!(reading.seen.len(), 100);
}

/// The reader's thread is held between two partitions, while librdkafka comes to know the new topic and fetches from it.
#[test]
fn no_record_of_a_new_topic_is_handed_over_behind_the_old_ones() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(2, &[]);
    let producer = broker.producer();
    for partition in 0..2 {
        fill(&producer, &topic, partition, 0..100);
    }
    let hold = Arc::new(Mutex::new(()));
    let held = Arc::clone(&hold);
    let mut reading = Reading::held(&slow_after_errors(broker), ReaderOptions::default(), move || {
        drop(held.lock().unwrap())
    });
    reading.assign((0..2).map(|partition| range(0, &topic, partition, 0, None)));
    reading.until("all records", |r| r.seen.len() == 200);
    // the ends of both partitions are seen, both queues empty, and the first record of partition 0 stops the thread before it looks at partition 1
    std::thread::sleep(Duration::from_millis(700));
    let holding = hold.lock().unwrap();
    fill(&producer, &topic, 0, 100..101);
    reading.until("the record", |r| r.seen.len() == 201);
    drop(producer);
    broker.remake(&topic, 2, 500);
    std::thread::sleep(Duration::from_secs(4));
    drop(holding);
    reading.until("two failures", |r| r.failed.len() == 2);
    assert_eq!(remade(&reading.failed, &topic).len(), 2);
    assert_eq!(reading.seen.len(), 201, "no record of the new topic is handed over");
    // and it is the new topic that is read when that is asked for
    reading.assign([range(0, &topic, 0, 0, Some(500))]);
    reading.until("the new topic", |r| !r.reached.is_empty());
    assert_eq!(reading.seen.len(), 701);
    assert_eq!(reading.failed.len(), 2);
}

/// What was read before a restart is compared before anything is handed over.
#[test]
fn a_topic_that_was_created_again_before_it_is_read_is_known_by_its_last_record() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(4, &[]);
    let producer = broker.producer();
    for partition in 0..4 {
        fill(&producer, &topic, partition, 0..100);
    }
    drop(producer);
    let mut reading = Reading::start(&broker.config());
    reading.assign((0..4).map(|partition| range(0, &topic, partition, 0, Some(100))));
    reading.until("all records", |r| r.reached.len() == 4);
    let last = reading.last.clone();
    let resumed = |partition, until| after(range(0, &topic, partition, 100, until), last[&(0, partition)]);

    // the same topic: continues
    let mut reading = Reading::start(&broker.config());
    reading.assign([resumed(0, None)]);
    fill(&broker.producer(), &topic, 0, 100..110);
    reading.until("what follows", |r| r.seen.len() == 10);
    assert_eq!(reading.offsets(0, 0), (100..110).collect::<Vec<_>>());
    drop(reading);

    // partition 0 ends below, 1 at, 2 behind the last record, 3 far behind
    broker.remake(&topic, 4, 0);
    let producer = broker.producer();
    for (partition, records) in [(0, 50), (1, 99), (2, 100), (3, 500)] {
        fill(&producer, &topic, partition, 1000..1000 + records);
    }
    let mut reading = Reading::start(&broker.config());
    let start = Instant::now();
    reading.assign([
        resumed(0, None),
        resumed(1, None),
        resumed(2, None),
        resumed(3, Some(500)),
    ]);
    reading.until("three failures", |r| r.failed.len() == 3);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    reading.until("the last failure", |r| r.failed.len() == 4);
    assert_eq!(
        remade(&reading.failed, &topic),
        [
            (0, 99, Remade::Ends(Offset(50))),
            (1, 99, Remade::Ends(Offset(99))),
            (2, 99, Remade::OtherRecord),
            (3, 99, Remade::OtherRecord)
        ]
    );
    assert!(reading.seen.is_empty() && reading.reached.is_empty());
}

/// The new topic reaches the offset of the last record only while it is waited for.
#[test]
fn a_new_topic_that_grows_to_the_last_record_is_known_by_that_one() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(1, &[]);
    fill(&broker.producer(), &topic, 0, 0..100);
    let last = RecordRef {
        offset: Offset(99),
        timestamp: 1,
        key: Some(b"not"),
        value: Some(b"this"),
    };
    broker.remake(&topic, 1, 99);
    let mut reading = Reading::start(&broker.config());
    reading.assign([after(range(0, &topic, 0, 100, None), last.id())]);
    reading.quiet(Duration::from_secs(2));
    let producer = broker.producer();
    fill(&producer, &topic, 0, 0..100);
    reading.until("the failure", |r| r.failed.len() == 1);
    assert_eq!(remade(&reading.failed, &topic), [(0, 99, Remade::OtherRecord)]);
    assert!(reading.seen.is_empty() && reading.reached.is_empty());
}

#[test]
fn a_last_record_that_kafka_no_longer_holds_proves_nothing() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(3, &[]);
    let producer = broker.producer();
    for partition in 0..3 {
        fill(&producer, &topic, partition, 0..100);
    }
    // an aborted record in the place of one that compaction removed
    let transactions = broker.transactions(&topic);
    transactions.begin_transaction().unwrap();
    fill(&transactions, &topic, 0, 100..101);
    transactions.abort_transaction(PATIENCE).unwrap();
    broker.wait_for(&topic, 0, 102);
    fill(&producer, &topic, 0, 102..105);
    // retention up to the position, and beyond it
    broker.delete_below(&topic, 1, 60);
    broker.delete_below(&topic, 2, 70);
    let mut reading = Reading::start(&broker.config());
    let last = |offset| {
        let record = RecordRef {
            offset,
            timestamp: 5,
            key: None,
            value: None,
        };
        record.id()
    };
    reading.assign([
        after(range(0, &topic, 0, 101, None), last(Offset(100))),
        after(range(0, &topic, 1, 60, Some(100)), last(Offset(40))),
        after(range(0, &topic, 2, 60, Some(100)), last(Offset(40))),
    ]);
    reading.until("an end, a failure and three records", |r| {
        r.reached.contains(&(0, 1, 100)) && r.failed.len() == 1 && r.offsets(0, 0).len() == 3
    });
    assert_eq!(reading.offsets(0, 0), [102, 103, 104]);
    assert_eq!(reading.offsets(0, 1), (60..100).collect::<Vec<_>>());
    assert!(reading.offsets(0, 2).is_empty());
    assert!(
        matches!(
            &reading.failed[0],
            KafkaError::OffsetOutOfRange {
                partition: Partition(2),
                offset: Offset(60),
                held: Some((Offset(70), Offset(100))),
                ..
            }
        ),
        "{}",
        reading.failed[0]
    );
}

/// Nothing was read of the old topic, so that the new one is as good.
#[test]
fn an_empty_topic_that_is_created_again_is_read() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(1, &[]);
    let mut reading = Reading::start(&broker.config());
    reading.assign([range(0, &topic, 0, 0, None)]);
    reading.quiet(Duration::from_millis(500));
    broker.recreate_topic(&topic, 1);
    // both are empty, so that only time tells when the broker holds the new one
    std::thread::sleep(Duration::from_secs(1));
    fill(&broker.producer(), &topic, 0, 0..50);
    reading.until("the records", |r| r.seen.len() == 50);
    assert_eq!(reading.offsets(0, 0), (0..50).collect::<Vec<_>>());
    assert!(reading.failed.is_empty());
}

/// Whoever reads all of a topic knows that there was nothing; whoever reads a part of it does not.
#[test]
fn an_empty_topic_that_is_created_again_is_followed_by_its_only_reader() {
    let Some((broker, _up)) = shared() else { return };
    for shared_topics in [false, true] {
        let topic = broker.topic(1, &[]);
        let options = ReaderOptions {
            shared_topics,
            ..ReaderOptions::default()
        };
        let mut reading = Reading::with(&broker.config(), options);
        reading.assign([range(0, &topic, 0, 0, None)]);
        reading.quiet(Duration::from_secs(1));
        broker.remake(&topic, 1, 100);
        if shared_topics {
            reading.until("the failure", |r| r.failed.len() == 1);
            let failure = &reading.failed[0];
            assert!(matches!(failure, KafkaError::EmptyTopicRemade { .. }), "{failure}");
            assert!(reading.seen.is_empty(), "a record of the new topic is handed over");
        } else {
            reading.until("all records", |r| r.seen.len() == 100);
        }
    }
}
