//! Names of objects, a line each: what every one of them means, and the order of all.

use super::*;
use crate::byte_fuzz::{Random, Target};
use std::collections::BTreeMap;

/// Names that are like each other, and one that is not read.
const TOPICS: [&str; 5] = ["pin", "a+b.c", "a+b.c+1", "", "0a3d.geo"];

/// All ways to read a file name as an object of a topic: partition, first offset, encoding, and what stands before the
/// extension.
fn readings<'n>(name: &'n str, topic: &str) -> Vec<(Partition, Offset, Encoding, &'n str)> {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut readings = Vec::new();
    let numbers = name.strip_prefix(topic).and_then(|rest| rest.strip_prefix('+'));
    for (extension, encoding) in [(".json", Encoding::Plain), (".json.gz", Encoding::Gzip)] {
        for sibling in ["", ".keys", ".headers"] {
            let numbers = numbers.and_then(|numbers| numbers.strip_suffix(extension)?.strip_suffix(sibling));
            for (plus, _) in numbers.unwrap_or_default().match_indices('+') {
                let (partition, start) = numbers.unwrap_or_default().split_at(plus);
                let start = &start[1..];
                let parsed = partition.parse().ok().zip(start.parse().ok());
                if let Some((partition, start)) = parsed.filter(|_| digits(partition) && digits(start)) {
                    let end = name.len() - extension.len();
                    readings.push((partition, start, encoding, &name[end - sibling.len()..end]));
                }
            }
        }
    }
    readings
}

/// Whether a name without its extension is one of the older layouts.
fn is_older(stem: &str) -> bool {
    let is_uuid = || {
        let parts: Vec<&str> = stem.split('-').collect();
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        let hex = |c: char| c.is_ascii_hexdigit();
        lengths == [8, 4, 4, 4, 12] && parts.iter().all(|part| part.chars().all(hex))
    };
    let word_and_number = || {
        let number = stem.find(|c: char| c.is_ascii_digit());
        number.is_some_and(|number| {
            let (word, number) = stem.split_at(number);
            word.chars().all(|c| c.is_ascii_alphabetic() || c == '_') && number.chars().all(|c| c.is_ascii_digit())
        })
    };
    (stem.starts_with("event-") && stem.len() > 6) || is_uuid() || word_and_number()
}

/// What a key means, by trying all it could mean.
fn meaning(key: &str) -> Meaning<'_> {
    let mut folders: Vec<&str> = key.split('/').collect();
    let name = folders.pop().unwrap_or_default();
    if name.is_empty() || folders.contains(&"_pinflow") {
        return Meaning::Ours;
    }
    for extension in [".json", ".json.gz"] {
        if key.ends_with(&format!("{extension}.meta.json")) {
            let of = &key[..key.len() - ".meta.json".len()];
            return Meaning::Sidecar { of };
        }
    }
    let deletes = folders.contains(&"tombstone");
    let named = |name: &str| TOPICS.iter().position(|topic| !topic.is_empty() && *topic == name);
    let mut found = Vec::new();
    for (plus, _) in name.match_indices('+').filter(|(plus, _)| *plus > 0) {
        let topic = &name[..plus];
        for (partition, start, encoding, sibling) in readings(name, topic) {
            found.push(match named(topic) {
                None => Meaning::OtherTopic(topic),
                Some(topic) if sibling.is_empty() || (deletes && sibling == ".keys") => Meaning::Records {
                    topic: Some(topic as u8),
                    place: Place::Log { partition, start },
                    encoding,
                    deletes,
                },
                Some(_) => Meaning::Other,
            });
        }
    }
    assert!(found.len() <= 1, "{key} has several readings: {found:?}");
    if let Some(found) = found.pop() {
        return found;
    }
    let (stem, encoding) = match name.strip_suffix(".json") {
        Some(stem) => (stem, Encoding::Plain),
        None => match name.strip_suffix(".json.gz") {
            Some(stem) => (stem, Encoding::Gzip),
            None => return Meaning::Other,
        },
    };
    if !is_older(stem) || stem.ends_with(".keys") || stem.ends_with(".headers") {
        return Meaning::Other;
    }
    Meaning::Records {
        topic: folders
            .iter()
            .rev()
            .find_map(|folder| named(folder))
            .map(|topic| topic as u8),
        place: Place::Legacy,
        encoding,
        deletes: false,
    }
}

/// What is written again is read as what it was.
fn check_written_again(key: &str, meaning: &Meaning<'_>) {
    let (topic, place, encoding, deletes) = match meaning {
        Meaning::Records {
            topic: Some(topic),
            place,
            encoding,
            deletes,
        } => (*topic, *place, *encoding, *deletes),
        _ => return,
    };
    let Place::Log { partition, start } = place else {
        return;
    };
    let written = name::connect_key(TOPICS[usize::from(topic)], partition, start, encoding);
    let expected = |deletes| Meaning::Records {
        topic: Some(topic),
        place,
        encoding,
        deletes,
    };
    assert_eq!(name::meaning(&written, &TOPICS), expected(false), "{key}");
    assert_eq!(
        name::meaning(name::file_name(&written), &TOPICS),
        expected(false),
        "{key}"
    );
    // folders say nothing
    assert_eq!(name::meaning(&format!("x/{key}"), &TOPICS), expected(deletes), "{key}");
}

/// The listing of these keys, each with its number as its size, compared with one that is made by a plain sort.
fn check_listing(keys: &[&str]) -> bool {
    let mut builder = Builder::new(&TOPICS);
    let (mut expected, mut sidecars, mut others) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
    let (mut repeated, mut ignored) = (0, 0);
    for (size, key) in (0..).zip(keys) {
        builder.add(key, size, None);
        match meaning(key) {
            Meaning::Records { topic, place, .. } => {
                let order = match place {
                    Place::Legacy => (0, name::file_name(key), None, Partition(0), Offset(0), *key),
                    Place::Log { partition, start } => (1, "", topic, partition, start, *key),
                };
                repeated += u64::from(expected.insert(order, size).is_some());
            }
            Meaning::Sidecar { of } => {
                sidecars.insert(of);
            }
            Meaning::Ours => {}
            Meaning::OtherTopic(topic) => {
                others.insert(topic);
                ignored += 1;
            }
            Meaning::Other => ignored += 1,
        }
    }
    let listing = builder.finish();
    let found: Vec<(&str, u64, bool)> = listing
        .objects
        .iter()
        .map(|object| (object.key.as_str(), object.size, object.sidecar))
        .collect();
    let expected: Vec<(&str, u64, bool)> = expected
        .into_iter()
        .map(|((.., key), size)| (key, size, sidecars.contains(key)))
        .collect();
    assert_eq!(found, expected);
    assert_eq!((listing.repeated, listing.ignored), (repeated, ignored));
    let others: Vec<&str> = others.into_iter().take(100).collect();
    assert_eq!(listing.other_topics, others);
    !listing.objects.is_empty()
}

fn shuffle(keys: &mut [&str], random: &mut Random) {
    for place in (1..keys.len()).rev() {
        keys.swap(place, random.below(place as u64 + 1) as usize);
    }
}

#[rustfmt::skip]
const TOKENS: &[&[u8]] = &[
    b"pin", b"a+b.c+1", b"0a3d.geo", b"+0+", b"+", b"/", b".json", b".json.gz", b".keys", b".headers", b".meta.json",
    b"/tombstone/", b"tombstone", b"_pinflow/", b"partition=0/", b"event-", b"message_12", b".gz",
    b"b8c63a95-6fe8-4d7f-9455-1eef3462fee0", b"0000000000", b"\xc3\xa9", b"\n", b"\n+", b"-1",
];

#[test]
fn every_name_has_one_reading_and_names_have_one_order() {
    let target = Target {
        name: "names",
        tokens: TOKENS,
        bytes: 2_400_000,
    };
    target.run(|input, random| {
        let lines = input.split(|byte| *byte == b'\n');
        let mut keys: Vec<&str> = lines.filter_map(|line| std::str::from_utf8(line).ok()).collect();
        for key in &keys {
            let found = name::meaning(key, &TOPICS);
            assert_eq!(found, meaning(key), "{key}");
            check_written_again(key, &found);
        }
        let accepted = check_listing(&keys);
        keys.extend_from_within(..keys.len().min(3));
        shuffle(&mut keys, random);
        check_listing(&keys);
        accepted
    });
}
