//! The model of Kafka in memory against Kafka: the same schedule gives the same offsets, watermarks and records.

use crate::broker::shared;
use crate::log::{PATIENCE, Reading, Sender, range, send};
use crate::model::{Kafka, Random, Rates, Step};
use ingest::Offset;
use ingest::kafka::Watermarks;
use rdkafka::producer::Producer;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

#[test]
fn the_model_of_kafka_is_like_kafka() {
    let Some((broker, _up)) = shared() else { return };
    // what cannot be done at a moment of our choice is left out: compaction; and what another test plays: other topics
    let rates = Rates {
        transactions: 3,
        compact: 0,
        retain: 20,
        grow: 40,
        create: 0,
        delete: 0,
    };
    let name = broker.topic(1, &[]);
    let mut kafka = Kafka::default();
    kafka.create(&name, 1);
    let mut random = Random(7);
    let producer = broker.producer();
    let mut transactions: BTreeMap<u8, Sender> = BTreeMap::new();
    let cluster = broker.cluster();
    let mut grown = 1;
    for _ in 0..100 {
        let step = Step::choose(&kafka, &[&name], &rates, &mut random);
        let open = kafka.transactions.clone();
        step.apply(&mut kafka);
        match &step {
            Step::Send(_, key, value, transaction) => {
                let partition = (*key % grown as u64) as i32;
                let producer = match transaction {
                    Some(id) => {
                        let producer = transactions
                            .entry(*id)
                            .or_insert_with(|| broker.transactions(&format!("{name}-{id}")));
                        if !open.contains_key(id) {
                            producer.begin_transaction().unwrap();
                        }
                        producer
                    }
                    None => &producer,
                };
                let value = value.map(|value| value.to_string());
                send(producer, &name, partition, Some(&key.to_string()), value.as_deref());
                producer.flush(PATIENCE).unwrap();
            }
            Step::End(id, true) => transactions[id].commit_transaction(PATIENCE).unwrap(),
            Step::End(id, false) => transactions[id].abort_transaction(PATIENCE).unwrap(),
            Step::Retain(_, partition, low) => broker.delete_below(&name, *partition as i32, {
                let marks = kafka.watermarks(&name, *partition).unwrap();
                (*low).min(marks.1).max(marks.0)
            }),
            Step::Grow(_, partitions) => {
                broker.grow(&name, *partitions);
                grown = *partitions;
            }
            Step::Compact(..) | Step::Create(..) | Step::Delete(_) => unreachable!("{step:?}"),
        }
        // markers are written after the answer
        let expected: Vec<Watermarks> = (0..grown)
            .map(|partition| {
                let (low, stable, high) = kafka.watermarks(&name, partition).unwrap();
                Watermarks {
                    low: Offset(low),
                    stable: Offset(stable),
                    high: Offset(high),
                }
            })
            .collect();
        let start = Instant::now();
        loop {
            let spans = cluster.spans([(0, name.as_str())]).unwrap();
            if spans.values().copied().collect::<Vec<_>>() == expected {
                break;
            }
            assert!(start.elapsed() < PATIENCE, "{step:?}: {spans:?} is not {expected:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let mut reading = Reading::start(&broker.config());
    let mut expected = Vec::new();
    for partition in 0..grown {
        let (low, stable, _) = kafka.watermarks(&name, partition).unwrap();
        reading.assign([range(0, &name, partition as i32, low, Some(stable))]);
        for (offset, record) in kafka.partition(&name, partition).unwrap().read(low).unwrap() {
            let value = record.value.map(|value| value.to_string());
            expected.push((0, partition as i32, offset, Some(record.key.to_string()), value));
        }
    }
    reading.until("all ends", |r| r.reached.len() == grown);
    reading.seen.sort();
    assert_eq!(reading.seen, expected);
    assert!(
        grown > 1 && expected.len() > 20,
        "{} partitions, {} records",
        grown,
        expected.len()
    );
}

/// Schedules are repeatable, and each keeps the order of the watermarks.
#[test]
fn schedules_repeat_and_keep_the_order_of_watermarks() {
    let rates = Rates {
        transactions: 4,
        compact: 15,
        retain: 15,
        grow: 50,
        create: 80,
        delete: 80,
    };
    let play = |seed| {
        let (mut kafka, mut random) = (Kafka::default(), Random(seed));
        let mut steps = Vec::new();
        for _ in 0..300 {
            let step = Step::choose(&kafka, &["pin", "geo"], &rates, &mut random);
            step.apply(&mut kafka);
            steps.push(step);
            for (name, topic) in &kafka.topics {
                for (number, partition) in topic.partitions.iter().enumerate() {
                    let (low, stable, high) = kafka.watermarks(name, number).unwrap();
                    assert!(0 <= low && low <= stable && stable <= high, "seed {seed}: {steps:?}");
                    let records = partition.read(low).unwrap();
                    assert!(
                        records
                            .iter()
                            .all(|(at, record)| partition.record(*at) == Some(*record))
                    );
                    assert!(records.iter().all(|(at, _)| (low..stable).contains(at)));
                    assert!(partition.read(high + 1).is_err() && (low == 0 || partition.read(low - 1).is_err()));
                }
            }
        }
        steps
    };
    for seed in 0..200 {
        let steps = play(seed);
        assert_eq!(steps, play(seed));
        assert_ne!(steps, play(seed + 1000));
    }
}
