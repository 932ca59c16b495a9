//! Records that are looked up by their offsets, many at once.

use crate::broker::{alone, shared};
use crate::log::{PATIENCE, fill, send};
use ingest::kafka::{RecordRef, Sampled};
use ingest::{Offset, Partition};
use rdkafka::producer::Producer;
use std::time::Instant;

fn value(sampled: &Sampled) -> Option<&str> {
    match sampled {
        Sampled::Record(sample) => std::str::from_utf8(sample.value.as_ref()?).ok(),
        _ => None,
    }
}

#[test]
fn each_answer_stands_at_the_place_of_its_question() {
    let Some((broker, _up)) = shared() else { return };
    let topics = [broker.topic(3, &[]), broker.topic(1, &[])];
    let producer = broker.producer();
    for partition in 0..3 {
        fill(&producer, &topics[0], partition, 0..100);
    }
    send(&producer, &topics[1], 0, None, None);
    // 100 aborted records behind 100 good ones, and nothing behind them
    let transactions = broker.transactions(&topics[0]);
    transactions.begin_transaction().unwrap();
    fill(&transactions, &topics[0], 2, 100..200);
    transactions.abort_transaction(PATIENCE).unwrap();
    broker.wait_for(&topics[0], 2, 201);
    broker.delete_below(&topics[0], 1, 40);
    let cluster = broker.cluster();
    let at = |topic: &str, partition, offset| (topic.to_owned(), Partition(partition), Offset(offset));
    let wanted = [
        at(&topics[0], 1, 70),
        at(&topics[0], 0, 3),
        at("never.was", 0, 3),
        at(&topics[0], 1, 39),
        at(&topics[0], 0, 99),
        at(&topics[1], 0, 0),
        at(&topics[0], 0, 3),
        at(&topics[0], 3, 0),
        at(&topics[0], 1, 100),
        at(&topics[0], 2, 150),
        at(&topics[0], 2, 200),
        at(&topics[0], 2, 99),
        at(&topics[0], 2, 201),
    ];
    let found = cluster.samples(&wanted).unwrap();
    let texts: Vec<Option<&str>> = found.iter().map(value).collect();
    let expected = [(0, "70"), (1, "3"), (4, "99"), (6, "3"), (11, "99")];
    for (index, text) in texts.iter().enumerate() {
        let expected = expected.iter().find(|(at, _)| *at == index).map(|(_, text)| *text);
        assert_eq!(*text, expected, "{:?}", wanted[index]);
    }
    assert_eq!(found[2], Sampled::NoPartition);
    assert_eq!(found[3], Sampled::Absent, "retention has passed it");
    assert_eq!(found[7], Sampled::NoPartition);
    assert_eq!(found[8], Sampled::Beyond { end: Offset(100) });
    assert_eq!(found[9], Sampled::Absent, "it was aborted");
    assert_eq!(found[10], Sampled::Absent, "a marker");
    assert_eq!(found[12], Sampled::Beyond { end: Offset(201) });
    let Sampled::Record(tombstone) = &found[5] else {
        panic!("{:?}", found[5])
    };
    assert!(tombstone.key.is_none() && tombstone.value.is_none() && tombstone.timestamp > 0);
    let expected = RecordRef {
        offset: Offset(0),
        timestamp: tombstone.timestamp,
        key: None,
        value: None,
    };
    assert_eq!(tombstone.id(Offset(0)), expected.id());
    assert_eq!(cluster.samples(&[]).unwrap(), []);
}

/// A thousand partitions are not a thousand times one.
#[test]
fn many_partitions_are_read_at_once() {
    const PARTITIONS: i32 = 300;
    // creating so many stops the broker for all others
    let Some((broker, _alone)) = alone() else { return };
    let topic = broker.topic(PARTITIONS, &[]);
    let producer = broker.producer();
    for partition in 0..PARTITIONS {
        for offset in 0..3 {
            send(
                &producer,
                &topic,
                partition,
                None,
                Some(&format!("{partition} {offset}")),
            );
        }
    }
    // the first record of a partition is slow to write
    producer.flush(3 * PATIENCE).unwrap();
    let cluster = broker.cluster();
    let start = Instant::now();
    let spans = cluster.spans([(0, topic.as_str())]).unwrap();
    let asked = start.elapsed();
    assert_eq!(spans.len(), PARTITIONS as usize);
    assert!(
        spans
            .values()
            .all(|marks| (marks.low, marks.stable, marks.high) == (Offset(0), Offset(3), Offset(3)))
    );
    // two of each partition, the later one first
    let wanted: Vec<(String, Partition, Offset)> = (0..2 * PARTITIONS)
        .map(|n| {
            (
                topic.clone(),
                Partition(n % PARTITIONS),
                Offset(i64::from(2 - n / PARTITIONS)),
            )
        })
        .collect();
    let start = Instant::now();
    let found = cluster.samples(&wanted).unwrap();
    let sampled = start.elapsed();
    for (found, (_, partition, offset)) in found.iter().zip(&wanted) {
        assert_eq!(value(found), Some(format!("{partition} {offset}").as_str()));
    }
    println!(
        "{PARTITIONS} partitions: watermarks in {asked:?}, {} records in {sampled:?}",
        wanted.len()
    );
    // one after the other they take minutes
    assert!(asked.as_secs() < 5 && sampled.as_secs() < 20, "{asked:?} {sampled:?}");
}
