#[path = "../../../../tests/src/need.rs"]
mod need;

use super::*;
use flate2::read::MultiGzDecoder;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

const TOPICS: [&str; 3] = ["pin", "0a3db223d459.geo", "a+b.c+1"];

fn log(topic: u8, partition: i32, start: i64, encoding: Encoding, deletes: bool) -> Meaning<'static> {
    Meaning::Records {
        topic: Some(topic),
        place: Place::Log {
            partition: Partition(partition),
            start: Offset(start),
        },
        encoding,
        deletes,
    }
}

fn legacy(topic: Option<u8>) -> Meaning<'static> {
    Meaning::Records {
        topic,
        place: Place::Legacy,
        encoding: Encoding::Plain,
        deletes: false,
    }
}

#[test]
fn connect_objects_are_known_by_their_file_name() {
    use Encoding::{Gzip, Plain};
    let cases = [
        ("pin/partition=0/pin+0+0000000000.json", log(0, 0, 0, Plain, false)),
        ("pin+3+0000012345.json.gz", log(0, 3, 12345, Gzip, false)),
        (
            "topics/pin/year=2024/month=03/day=09/hour=07/pin+3+0000012345.json.gz",
            log(0, 3, 12345, Gzip, false),
        ),
        (
            "pin/partition=1/pin+1+14549241101.json",
            log(0, 1, 14_549_241_101, Plain, false),
        ),
        ("pin/country=C+te d'Ivoire/pin+0+7.json", log(0, 0, 7, Plain, false)),
        (
            "0a3db223d459.geo/partition=0/0a3db223d459.geo+0+0000000009.json",
            log(1, 0, 9, Plain, false),
        ),
        (
            "a+b.c+1/partition=12/a+b.c+1+12+0000000003.json",
            log(2, 12, 3, Plain, false),
        ),
        ("pin/tombstone/pin+0+0000000004.keys.json", log(0, 0, 4, Plain, true)),
        ("pin/tombstone/pin+0+0000000004.json.gz", log(0, 0, 4, Gzip, true)),
    ];
    for (key, expected) in cases {
        assert_eq!(meaning(key, &TOPICS), expected, "{key}");
    }
}

#[test]
fn what_is_not_ours_is_no_record() {
    let others = [
        "pin/partition=0/pin+0+0000000000.keys.json",
        "pin/partition=0/pin+0+0000000000.headers.json.gz",
        "pin/tombstone/pin+0+0000000004.headers.json",
        "pin/partition=0/pin+0+0000000000.avro",
        "pin/partition=0/pin+0+0000000000.json.123.tmp",
        "pin/partition=0/pin+0+99999999999999999999.json",
        "pin/partition=0/pin+0+-5.json",
        "pin/partition=0/pin++5.json",
        "pin/partition=0/+0+5.json",
        "pin/package-lock.json",
        "pin/part-00000-tid-12.json",
        "pin/event-.json",
        "notes.meta.json",
        "_SUCCESS",
    ];
    for key in others {
        assert_eq!(meaning(key, &TOPICS), Meaning::Other, "{key}");
    }
    for key in ["other/partition=0/other+0+0000000000.json", "flat/other+7+12.json.gz"] {
        assert_eq!(meaning(key, &TOPICS), Meaning::OtherTopic("other"), "{key}");
    }
    for key in ["pin/", "_pinflow/frontier.json", "_pinflow/pin+0+0000000000.json"] {
        assert_eq!(meaning(key, &TOPICS), Meaning::Ours, "{key}");
    }
    let sidecar = "pin/pin+0+0000000000.json.gz.meta.json";
    assert_eq!(
        meaning(sidecar, &TOPICS),
        Meaning::Sidecar {
            of: "pin/pin+0+0000000000.json.gz"
        }
    );
}

#[test]
fn older_layouts_take_the_topic_of_the_nearest_folder() {
    let cases = [
        ("events/event-b8c63a95-6fe8-4d7f-9455-1eef3462fee0.json", None),
        ("pin/event-1.json", Some(0)),
        ("PinterestData_12.json", None),
        ("0a3db223d459.geo/2023/PinterestData_12.json", Some(1)),
        ("pin/a+b.c+1/88f9227e-88d0-4b1c-b0be-bcfc3028b8e2.json", Some(2)),
        ("message_4711.json", None),
        ("bucket/0.json", None),
    ];
    for (key, topic) in cases {
        assert_eq!(meaning(key, &TOPICS), legacy(topic), "{key}");
    }
}

proptest! {
    #[test]
    fn a_written_name_is_read_back(
        topic in "[a-z+.=_-]{1,12}",
        folders in prop::collection::vec("[a-z=+0-9]{1,8}", 0..4),
        partition in 0i32..,
        start in 0i64..,
        gzip in any::<bool>(),
    ) {
        prop_assume!(!folders.iter().any(|folder| folder == "tombstone"));
        let encoding = if gzip { Encoding::Gzip } else { Encoding::Plain };
        let name = file_name(&connect_key(&topic, Partition(partition), Offset(start), encoding)).to_string();
        let key = folders.iter().map(|folder| format!("{folder}/")).collect::<String>() + &name;
        let expected = Meaning::Records {
            topic: Some(0),
            place: Place::Log { partition: Partition(partition), start: Offset(start) },
            encoding,
            deletes: false,
        };
        prop_assert_eq!(meaning(&key, &[topic]), expected);
    }

    #[test]
    fn no_key_panics(key in "([a-z+./]|\\.json|\\.gz|\\.keys|event-|é|[0-9]{1,20}){0,12}") {
        meaning(&key, &TOPICS);
    }
}

/// Names of lakes that real users have listed.
#[test]
#[expect(clippy::disallowed_methods, reason = "a file of our own")]
fn real_names_have_places() {
    let Some(path) = need::data("s3_listing.jsonl.gz") else {
        return;
    };
    let file = File::open(path).unwrap();
    let mut objects = 0;
    let mut folders = 0;
    let mut places: BTreeMap<(String, i32), u64> = BTreeMap::new();
    for line in BufReader::new(MultiGzDecoder::new(file)).lines() {
        let entry: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let key = entry["path"]
            .as_str()
            .unwrap()
            .strip_prefix("dbfs:/")
            .unwrap()
            .to_string();
        if key.ends_with('/') {
            assert_eq!(meaning(&key, &TOPICS), Meaning::Ours, "{key}");
            folders += 1;
            continue;
        }
        // These topics hold no plus. Some of these lakes are flat, so folders tell nothing.
        let topic = file_name(&key).split('+').next().unwrap().to_string();
        match meaning(&key, std::slice::from_ref(&topic)) {
            Meaning::Records {
                topic: Some(0),
                place: Place::Log { partition, .. },
                encoding,
                deletes: false,
            } => {
                assert_eq!(encoding, Encoding::Plain);
                *places.entry((topic, partition.0)).or_default() += 1;
            }
            other => panic!("{key}: {other:?}"),
        }
        objects += 1;
    }
    assert_eq!((objects, folders), (9555, 157));
    assert_eq!(places.len(), 15, "{places:?}");
}
