//! Ranges: order, ends, several of one partition, holes, partitions that come late, callers that are slow.

use crate::broker::shared;
use crate::log::{PATIENCE, Reading, fill, range, send, settled};
use ingest::kafka::ReaderOptions;
use ingest::{Offset, Partition};
use rdkafka::producer::Producer;
use std::time::{Duration, Instant};

#[test]
fn each_record_once_in_order_with_null_keys_and_tombstones() {
    let Some((broker, _up)) = shared() else { return };
    // partitions of the same number in two topics: ends and errors must not be mixed up
    let topics = [broker.topic(2, &[]), broker.topic(2, &[])];
    let producer = broker.producer();
    for topic in &topics {
        for partition in 0..2 {
            send(&producer, topic, partition, None, Some("no key"));
            send(&producer, topic, partition, Some("7"), None);
            send(&producer, topic, partition, Some(""), Some(""));
            send(&producer, topic, partition, None, None);
            fill(&producer, topic, partition, 4..2000);
        }
    }
    let mut reading = Reading::start(&broker.config());
    for (number, topic) in topics.iter().enumerate() {
        // one bounded and one live partition each
        reading.assign([
            range(number as u8, topic, 0, 0, Some(2000)),
            range(number as u8, topic, 1, 0, None),
        ]);
    }
    reading.until("8000 records and two ends", |r| {
        r.seen.len() >= 8000 && r.reached.len() >= 2
    });
    reading.quiet(Duration::from_millis(300));
    for topic in 0..2 {
        for partition in 0..2 {
            assert_eq!(reading.offsets(topic, partition), (0..2000).collect::<Vec<_>>());
        }
    }
    let text = |text: &str| Some(text.to_owned());
    let special: Vec<_> = reading
        .seen
        .iter()
        .filter(|seen| (seen.0, seen.1) == (1, 1))
        .take(5)
        .cloned()
        .collect();
    assert_eq!(
        special,
        [
            (1, 1, 0, None, text("no key")),
            (1, 1, 1, text("7"), None),
            (1, 1, 2, text(""), text("")),
            (1, 1, 3, None, None),
            (1, 1, 4, text("4"), text("4")),
        ]
    );
    reading.reached.sort();
    assert_eq!(reading.reached, [(0, 0, 2000), (1, 0, 2000)]);

    fill(&producer, &topics[0], 0, 2000..2010);
    fill(&producer, &topics[0], 1, 2000..2010);
    reading.until("live records", |r| r.seen.len() >= 8010);
    reading.quiet(Duration::from_millis(300));
    assert_eq!(
        reading.offsets(0, 0).len(),
        2000,
        "a range with an end stays at its end"
    );
    assert_eq!(reading.offsets(0, 1), (0..2010).collect::<Vec<_>>());
}

#[test]
fn ranges_of_one_partition_follow_each_other() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(1, &[]);
    fill(&broker.producer(), &topic, 0, 0..3000);
    let mut reading = Reading::start(&broker.config());
    // some are assigned before their predecessor has ended: back, forth, empty, overlapping
    let ranges = [(1000, 1500), (10, 20), (20, 20), (2999, 3000), (0, 3000), (1400, 1600)];
    reading.assign(ranges.map(|(from, until)| range(3, &topic, 0, from, Some(until))));
    reading.until("all ends", |r| r.reached.len() >= ranges.len());
    let expected: Vec<i64> = ranges.iter().flat_map(|&(from, until)| from..until).collect();
    assert_eq!(reading.offsets(3, 0), expected);
    assert_eq!(reading.reached, ranges.map(|(_, until)| (3, 0, until)));

    // and one whose end comes later than it is assigned
    reading.assign([range(3, &topic, 0, 2990, Some(3010))]);
    reading.until("the records that are there", |r| r.seen.len() >= expected.len() + 10);
    reading.quiet(Duration::from_millis(300));
    fill(&broker.producer(), &topic, 0, 3000..3020);
    reading.until("the last end", |r| r.reached.len() > ranges.len());
    assert_eq!(
        reading.offsets(3, 0)[expected.len()..],
        (2990..3010).collect::<Vec<_>>()
    );

    // many small hops: a record of the former range must never come in the next
    let hops: Vec<(i64, i64)> = (0..150)
        .map(|hop| ((hop * 977) % 2900, (hop * 977) % 2900 + 7))
        .collect();
    let before = reading.seen.len();
    reading.assign(hops.iter().map(|&(from, until)| range(3, &topic, 0, from, Some(until))));
    reading.until("all hops", |r| r.reached.len() > ranges.len() + hops.len());
    let expected: Vec<i64> = hops.iter().flat_map(|&(from, until)| from..until).collect();
    assert_eq!(reading.offsets(3, 0)[before..], expected);
    assert!(reading.failed.is_empty());
}

#[test]
fn compaction_leaves_holes_that_block_nothing() {
    let Some((broker, _up)) = shared() else { return };
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    let topic = broker.topic(1, &[&settings[..], &[("delete.retention.ms", "0")]].concat());
    let producer = broker.producer();
    for offset in 0..300 {
        send(
            &producer,
            &topic,
            0,
            Some(&(offset % 10).to_string()),
            Some(&offset.to_string()),
        );
    }
    producer.flush(PATIENCE).unwrap();
    // a later record closes the segment, so that its duplicates can be cleaned away
    std::thread::sleep(Duration::from_millis(200));
    send(&producer, &topic, 0, Some("x"), Some("300"));
    producer.flush(PATIENCE).unwrap();

    let mut left = Vec::new();
    let start = Instant::now();
    while left.len() != 11 {
        assert!(start.elapsed() < PATIENCE, "not compacted: {} records", left.len());
        std::thread::sleep(Duration::from_millis(300));
        let mut reading = Reading::start(&broker.config());
        reading.assign([range(0, &topic, 0, 0, Some(301))]);
        reading.until("the end", |r| !r.reached.is_empty());
        assert_eq!(reading.reached, [(0, 0, 301)]);
        left = reading.offsets(0, 0);
    }
    assert_eq!(left, (290..301).collect::<Vec<_>>());

    // ends inside the hole, at its edge, and a range that is all hole
    let mut reading = Reading::start(&broker.config());
    let ends = [(0, 150), (100, 290), (5, 6), (280, 291)];
    reading.assign(ends.map(|(from, until)| range(0, &topic, 0, from, Some(until))));
    reading.until("all ends", |r| r.reached.len() == 4);
    assert_eq!(reading.reached, ends.map(|(_, until)| (0, 0, until)));
    assert_eq!(reading.offsets(0, 0), [290]);

    let cluster = broker.cluster();
    assert_eq!(cluster.watermarks(&topic, Partition(0)).unwrap(), settled(0, 301));
    assert_eq!(
        cluster.sample(&topic, Partition(0), Offset(17)).unwrap(),
        None,
        "a hole holds no record"
    );
    for (offset, key, value) in [(295, "5", "295"), (300, "x", "300")] {
        let sample = cluster
            .sample(&topic, Partition(0), Offset(offset))
            .unwrap()
            .expect("a record");
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!((sample.key, sample.value), (bytes(key), bytes(value)));
    }
    assert_eq!(
        cluster.sample(&topic, Partition(0), Offset(301)).unwrap(),
        None,
        "nor does the future"
    );
}

#[test]
fn partitions_that_come_late_disturb_nothing() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(1, &[]);
    let (producer, cluster) = (broker.producer(), broker.cluster());
    assert_eq!(cluster.partitions(&topic).unwrap(), Some(vec![Partition(0)]));
    let mut reading = Reading::start(&broker.config());
    reading.assign([range(0, &topic, 0, 0, None)]);
    fill(&producer, &topic, 0, 0..500);
    reading.until("the first records", |r| r.seen.len() >= 500);

    broker.grow(&topic, 4);
    let start = Instant::now();
    while cluster.partitions(&topic).unwrap() != Some(vec![Partition(0), Partition(1), Partition(2), Partition(3)]) {
        assert!(start.elapsed() < PATIENCE, "the new partitions are not seen");
        std::thread::sleep(Duration::from_millis(50));
    }
    // the writer's client learns of them when it likes
    let producer = {
        drop(producer);
        broker.producer()
    };
    for partition in 0..4 {
        fill(&producer, &topic, partition, 500..600);
        reading.assign((partition > 0).then(|| range(0, &topic, partition, 0, None)));
        fill(&producer, &topic, partition, 600..700);
    }
    reading.until("all records", |r| r.seen.len() >= 500 + 4 * 200);
    reading.quiet(Duration::from_millis(300));
    assert_eq!(reading.offsets(0, 0), (0..700).collect::<Vec<_>>());
    for partition in 1..4 {
        assert_eq!(reading.offsets(0, partition), (0..200).collect::<Vec<_>>());
    }
}

#[test]
fn a_slow_caller_bounds_what_is_held() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(2, &[]);
    let producer = broker.producer();
    let value = "v".repeat(1000);
    for offset in 0..15_000 {
        send(&producer, &topic, offset % 2, None, Some(&value));
    }
    producer.flush(PATIENCE).unwrap();
    let mut config = broker.config();
    config
        .properties
        .push(("queued.max.messages.kbytes".into(), "256".into()));
    let options = ReaderOptions {
        queue_bytes: 1 << 20,
        batch_bytes: 64 << 10,
        ..ReaderOptions::default()
    };
    let mut reading = Reading::with(&config, options);
    reading.assign([range(0, &topic, 0, 0, Some(7500)), range(0, &topic, 1, 0, Some(7500))]);
    let start = Instant::now();
    while reading.reader.queued_bytes() < 1 << 20 {
        assert!(start.elapsed() < PATIENCE, "the queue never fills");
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut most = 0;
    for _ in 0..100 {
        most = most.max(reading.reader.queued_bytes());
        std::thread::sleep(Duration::from_millis(5));
    }
    // a batch is reserved with an eighth to spare, and overshoots by its last record
    assert!(most <= (1 << 20) + (160 << 10), "{most} bytes wait");
    reading.until("both ends", |r| r.reached.len() == 2);
    for partition in 0..2 {
        assert_eq!(reading.offsets(0, partition), (0..7500).collect::<Vec<_>>());
    }
    assert_eq!(reading.reader.queued_bytes(), 0);
}

/// Each record is sent only after the one before has come, and the caller sleeps until it is woken: a lost wake-up
/// costs half a second here, or a tenth in the reader.
#[test]
fn lone_records_wake_the_caller() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(1, &[]);
    let producer = broker.producer();
    let mut reading = Reading::start(&broker.config());
    reading.assign([range(0, &topic, 0, 0, None)]);
    let mut times = Vec::new();
    for offset in 0..200 {
        send(&producer, &topic, 0, None, Some("lone"));
        let sent = Instant::now();
        reading.until("the record", |r| r.seen.len() as i64 > offset);
        times.push(sent.elapsed());
    }
    times.sort();
    println!("produce to try_next: median {:?}, 99th {:?}", times[100], times[198]);
    // generous for a busy machine, and still far below what sleeping through would take
    assert!(times[100] < Duration::from_millis(50), "median {:?}", times[100]);
    assert_eq!(reading.offsets(0, 0), (0..200).collect::<Vec<_>>());
}

/// Not a test but a measurement: `cargo test -p ingest --test kafka -- --ignored --nocapture throughput`.
#[test]
#[ignore]
fn throughput() {
    let Some((broker, _up)) = shared() else { return };
    let topic = broker.topic(3, &[]);
    let records: i64 = 3_000_000;
    let producer = broker.producer();
    let value = "v".repeat(300);
    for offset in 0..records {
        send(&producer, &topic, (offset % 3) as i32, None, Some(&value));
    }
    producer.flush(Duration::from_secs(120)).unwrap();
    drop(producer);
    for _ in 0..3 {
        let (wall, cpu) = (Instant::now(), cpu_seconds());
        let mut reading = Reading::start(&broker.config());
        reading.assign((0..3).map(|partition| range(0, &topic, partition, 0, Some(records / 3))));
        let (mut seen, mut ends) = (0, 0);
        while ends < 3 {
            match reading.reader.try_next() {
                Some(ingest::kafka::Polled::Batch(batch)) => seen += batch.records.len() as i64,
                Some(ingest::kafka::Polled::Reached { .. }) => ends += 1,
                Some(ingest::kafka::Polled::Failed(error)) => panic!("{error}"),
                None => std::thread::park_timeout(Duration::from_millis(500)),
            }
        }
        assert_eq!(seen, records);
        let (wall, cpu) = (wall.elapsed().as_secs_f64(), cpu_seconds() - cpu);
        println!(
            "{:.0} records/s, {:.0} a CPU second of this process",
            seen as f64 / wall,
            seen as f64 / cpu
        );
        reading.take();
    }
}

/// User and system time of this process, from /proc: in hundredths of a second on Linux.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
