//! Transactions: markers, aborted records, and the last stable offset.

use crate::broker::shared;
use crate::log::{PATIENCE, Reading, fill, range, send, settled};
use ingest::kafka::{Sampled, Watermarks};
use ingest::{Offset, Partition, TopicPartition};
use rdkafka::producer::Producer;
use std::time::Duration;

#[test]
fn markers_and_aborted_records_are_passed_but_not_seen() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(1, &[]);
    let producer = broker.transactions(&topic);
    // 0..3 committed, marker 3, 4..7 aborted, marker 7, 8..10 committed, marker 10, 11..14 aborted, marker 14
    for (count, commit) in [(3, true), (3, false), (2, true), (3, false)] {
        producer.begin_transaction().unwrap();
        for number in 0..count {
            send(
                &producer,
                &topic,
                0,
                Some(if commit { "good" } else { "bad" }),
                Some(&number.to_string()),
            );
        }
        producer.flush(PATIENCE).unwrap();
        if commit {
            producer.commit_transaction(PATIENCE).unwrap();
        } else {
            producer.abort_transaction(PATIENCE).unwrap();
        }
    }
    let cluster = broker.cluster();
    assert_eq!(cluster.watermarks(&topic, Partition(0)).unwrap(), settled(0, 15));
    let good = [0, 1, 2, 8, 9];

    // every end there is: at a record, at a marker, inside what was aborted, at the very end
    let mut reading = Reading::start(&broker.config());
    reading.assign((1..=15).map(|until| range(0, &topic, 0, 0, Some(until))));
    reading.until("fifteen ends", |r| r.reached.len() == 15);
    assert_eq!(reading.reached, (1..=15).map(|until| (0, 0, until)).collect::<Vec<_>>());
    let expected: Vec<i64> = (1..=15)
        .flat_map(|until| good.into_iter().filter(move |&at| at < until))
        .collect();
    assert_eq!(reading.offsets(0, 0), expected);

    // ranges without any record, the last of which is ended by the end of the partition alone
    let mut reading = Reading::start(&broker.config());
    reading.assign([(3, 4), (4, 8), (3, 8), (10, 15), (14, 15)].map(|(a, b)| range(0, &topic, 0, a, Some(b))));
    reading.until("five ends", |r| r.reached.len() == 5);
    assert!(reading.seen.is_empty());

    // live: the position passes the aborted tail, and continues from there
    let mut reading = Reading::start(&broker.config());
    reading.assign([range(0, &topic, 0, 0, None)]);
    reading.until("progress past the tail", |r| r.reached.last() == Some(&(0, 0, 15)));
    assert_eq!(reading.offsets(0, 0), good);
    assert!(reading.seen.iter().all(|seen| seen.3.as_deref() == Some("good")));
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0, Some("good"), Some("more"));
    producer.commit_transaction(PATIENCE).unwrap();
    reading.until("progress past the last marker", |r| {
        r.reached.last() == Some(&(0, 0, 17))
    });
    assert_eq!(reading.offsets(0, 0), [0, 1, 2, 8, 9, 15]);

    assert_eq!(
        cluster.sample(&topic, Partition(0), Offset(3)).unwrap(),
        None,
        "a marker is no record"
    );
    assert_eq!(
        cluster.sample(&topic, Partition(0), Offset(5)).unwrap(),
        None,
        "an aborted record is none either"
    );
    assert_eq!(
        cluster.sample(&topic, Partition(0), Offset(16)).unwrap(),
        None,
        "nor is the last marker"
    );
    assert_eq!(
        cluster
            .sample(&topic, Partition(0), Offset(15))
            .unwrap()
            .unwrap()
            .value
            .as_deref(),
        Some(&b"more"[..])
    );
}

#[test]
fn an_open_transaction_holds_back_the_stable_offset_and_not_the_high_watermark() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(1, &[]);
    let cluster = broker.cluster();
    fill(&broker.producer(), &topic, 0, 0..5);
    let producer = broker.transactions(&topic);
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0, None, Some("5"));
    producer.flush(PATIENCE).unwrap();
    // records of others behind it wait as well
    fill(&broker.producer(), &topic, 0, 6..9);
    assert_eq!(broker.uncommitted_end(&topic, 0), 9);
    let marks = |low, stable, high| Watermarks { low, stable, high };
    assert_eq!(
        cluster.watermarks(&topic, Partition(0)).unwrap(),
        marks(Offset(0), Offset(5), Offset(9))
    );
    // all partitions of a question are told apart
    let other = broker.topic(2, &[]);
    fill(&broker.producer(), &other, 1, 0..3);
    let at = |topic, partition| TopicPartition { topic, partition };
    let spans = cluster
        .spans([(4, topic.as_str()), (7, other.as_str()), (9, "never.was")])
        .unwrap();
    assert_eq!(
        spans.into_iter().collect::<Vec<_>>(),
        [
            (at(4, Partition(0)), marks(Offset(0), Offset(5), Offset(9))),
            (at(7, Partition(0)), settled(0, 0)),
            (at(7, Partition(1)), settled(0, 3))
        ]
    );
    let wanted = |offset| (topic.clone(), Partition(0), Offset(offset));
    assert_eq!(
        cluster.samples(&[wanted(5), wanted(8)]).unwrap(),
        [Sampled::Beyond { end: Offset(5) }, Sampled::Beyond { end: Offset(5) }],
        "what is not committed cannot be read"
    );

    let mut reading = Reading::start(&broker.config());
    reading.assign([range(0, &topic, 0, 0, Some(5)), range(0, &topic, 0, 5, None)]);
    reading.until("the bound", |r| r.reached == [(0, 0, 5)]);
    assert_eq!(reading.offsets(0, 0), (0..5).collect::<Vec<_>>());
    reading.quiet(Duration::from_millis(500));

    producer.commit_transaction(PATIENCE).unwrap();
    reading.until("what was held back, and the marker", |r| {
        r.reached.last() == Some(&(0, 0, 10))
    });
    assert_eq!(reading.offsets(0, 0), (0..9).collect::<Vec<_>>());
    assert_eq!(cluster.watermarks(&topic, Partition(0)).unwrap(), settled(0, 10));
}
