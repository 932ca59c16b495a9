//! Lake and Kafka together.

use super::world::{ODD, POSTGRES, World};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use servers::Broker;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Holes of the lake are read from Kafka, as the engine read them.
#[test]
fn holes_of_the_lake_are_read_from_kafka() {
    let world = World::new("kafka");
    world.generate(150, 1, &ODD);
    let broker = Broker::start().unwrap();
    for topic in ["pin", "geo", "user"] {
        broker.create_topic(topic, 1).unwrap();
        produce(&broker, topic, &world.objects(topic));
    }
    // the middle and the end are left to Kafka
    let objects = world.objects("pin");
    std::fs::remove_file(&objects[1]).unwrap();
    std::fs::remove_file(objects.last().unwrap()).unwrap();
    let kafka = ["--kafka", broker.bootstrap()];
    world.backfill(&kafka);
    world.is_clean(15, &kafka);
    world.edit(
        1,
        "DELETE FROM pin_table WHERE ind = (SELECT min(ind) FROM pin_table WHERE log_offset BETWEEN 50 AND 99)",
    );
    let found = world.verify(&[&["--replay"], &kafka[..]].concat());
    assert_eq!(
        (found.code, &found.differing()[0][..]),
        (1, "pin_table: 1 missing, 0 surplus"),
        "{found:?}"
    );
    let without = world.verify(&["--replay"]);
    assert_eq!(without.code, 1, "{without:?}");
    assert!(without.stderr.contains("\ngap pin/0 50..100\n"), "{without:?}");
}

/// A run goes on while its tables are verified: what it reads after the snapshot is none of the replay's business.
#[test]
fn a_live_run_is_verified_at_its_committed_frontier() {
    let world = World::new("live");
    world.generate(120, 1, &ODD);
    let broker = Broker::start().unwrap();
    for topic in ["pin", "geo", "user"] {
        broker.create_topic(topic, 1).unwrap();
        produce(&broker, topic, &world.objects(topic));
        // the end is Kafka's alone
        std::fs::remove_file(world.objects(topic).last().unwrap()).unwrap();
    }
    let kafka = ["--kafka", broker.bootstrap()];
    let (lake, url) = (world.lake_url(), POSTGRES.url());
    let mut run = Command::new(env!("CARGO_BIN_EXE_pinflow"))
        .args(["run", "--lake", &lake, "--postgres", &url, "--schema", "live"])
        .args(kafka)
        .env_clear()
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let covered = |offsets: i64| {
        let held =
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'live' AND table_name = 'frontier'";
        let next = "SELECT coalesce(sum(next_offset), 0)::bigint FROM frontier";
        let began = std::time::Instant::now();
        while world.one::<i64>(held) == 0 || world.one::<i64>(next) < offsets {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "the run does not come to offset {offsets}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    covered(360);
    world.is_clean(15, &kafka);
    let before: i64 = world.one("SELECT sum(next_offset)::bigint FROM frontier");
    let more = world.lake.path().join("more");
    std::fs::write(
        &more,
        "{\"ind\":1,\"country\":\"Later\"}\nno\n{\"ind\":2,\"__deleted\":true}\n",
    )
    .unwrap();
    produce(&broker, "geo", &[more]);
    covered(before + 3);
    world.is_clean(15, &kafka);
    let refused = world.verify(&[&["--repair"], &kafka[..]].concat());
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.stderr.contains("schema live is held by"), "{refused:?}");
    assert!(run.try_wait().unwrap().is_none(), "the run goes on");
    // a repair that has something to repair ends the run, and is right about what it had read
    world.edit(1, "DELETE FROM geo_table WHERE ind = 1");
    let repaired = world.verify(&[&["--repair", "--takeover"], &kafka[..]].concat());
    assert_eq!(repaired.code, 0, "{repaired:?}");
    assert_eq!(run.wait().unwrap().code(), Some(3));
    world.is_clean(15, &kafka);
    assert_eq!(
        world.one::<String>("SELECT country FROM geo_table WHERE ind = 1"),
        "Later"
    );
}

/// Produces the lines of objects, so that each stands at its offset.
fn produce(broker: &Broker, topic: &str, objects: &[PathBuf]) {
    let producer: ThreadedProducer<_> = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .create()
        .unwrap();
    let lines = |object: &PathBuf| -> Vec<Vec<u8>> {
        let bytes = std::fs::read(object as &Path).unwrap();
        bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\n").unwrap().to_vec())
            .collect()
    };
    for line in objects.iter().flat_map(lines) {
        producer
            .send(BaseRecord::<(), [u8]>::to(topic).partition(0).payload(&line))
            .map_err(|(error, _)| error)
            .unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}
