//! The same seed gives the same bytes; contents follow the real tables; odd forms are what they claim to be.

use super::*;
use dataflows::{Decoder, Kind, Limits, Raw};
use ingest::lake::{LakeOptions, LakeUrl};
use operators::{Offset, Partition, Position};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

const POSTS: u64 = 20_000;

fn options(folder: &Path) -> GenerateOptions {
    GenerateOptions {
        lake: LakeUrl::File(folder.to_owned()),
        lake_options: LakeOptions::default(),
        topics: ["a.pin", "a.geo", "a.user"].map(|topic| Some(topic.to_owned())),
        posts: 3000,
        seed: 7,
        records_per_object: 1000,
        partitions: 3,
        gzip: false,
        duplicates: 0.0526,
        dirty: 0.02,
        deletes: 0.01,
    }
}

/// Every file below a folder, by its path.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

fn plain(kind: u8) -> impl Iterator<Item = Value> {
    let records = Generator::new(1)
        .posts(POSTS)
        .records()
        .filter(move |record| record.kind == kind);
    records.map(|record| serde_json::from_slice(&record.json).unwrap())
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}"))
}

fn counts<T: std::hash::Hash + Eq>(items: impl Iterator<Item = T>) -> HashMap<T, usize> {
    items.fold(HashMap::new(), |mut counts, item| {
        *counts.entry(item).or_default() += 1;
        counts
    })
}

#[test]
fn the_same_seed_writes_the_same_lake_and_another_seed_another() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let written: Vec<Written> = [7, 7, 8]
        .into_iter()
        .zip(&folders)
        .map(|(seed, folder)| {
            write(&GenerateOptions {
                seed,
                ..options(folder.path())
            })
            .unwrap()
        })
        .collect();
    let lakes = folders.each_ref().map(|folder| files(folder.path()));
    assert_eq!(written[0], written[1]);
    assert!(lakes[0] == lakes[1], "two lakes of one seed differ");
    assert!(lakes[0] != lakes[2]);
    assert_eq!(lakes[0].len() as u64, written[0].objects);
    assert_eq!(
        lakes[0].values().map(|bytes| bytes.len() as u64).sum::<u64>(),
        written[0].bytes
    );
    // pinned: a change of these bytes changes every lake that somebody can generate again
    let whole = lakes[0].iter().fold(0, |hash, (name, bytes)| {
        xxhash_rust::xxh3::xxh3_64_with_seed(bytes, xxhash_rust::xxh3::xxh3_64_with_seed(name.as_bytes(), hash))
    });
    assert_eq!(whole, PINNED, "the generator's bytes have changed");
}

const PINNED: u64 = 9_762_803_444_973_135_568;

#[test]
fn objects_are_named_and_cut_as_connect_does() {
    let folder = tempfile::tempdir().unwrap();
    let written = write(&options(folder.path())).unwrap();
    let mut records = 0;
    let mut next: HashMap<(String, i32), i64> = HashMap::new();
    for (name, bytes) in files(folder.path()) {
        let (topic, rest) = name.split_once("/partition=").unwrap();
        let (partition, file) = rest.split_once('/').unwrap();
        let start = file
            .strip_prefix(&format!("{topic}+{partition}+"))
            .unwrap()
            .strip_suffix(".json")
            .unwrap();
        assert_eq!(start.len(), 10);
        let expected = next.entry((topic.to_owned(), partition.parse().unwrap())).or_default();
        assert_eq!(start.parse::<i64>().unwrap(), *expected, "{name}");
        assert_eq!(bytes.last(), Some(&b'\n'));
        let lines = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .count() as i64;
        assert!(lines <= 1000);
        *expected += lines;
        records += lines as u64;
    }
    assert_eq!(records, written.records);
    assert_eq!(next.len(), 9);
}

#[test]
// what is unpacked here was packed here
#[allow(clippy::disallowed_methods)]
fn gzip_and_one_record_per_object_hold_the_same_lines() {
    use std::io::Read;
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let small = |folder: &tempfile::TempDir| GenerateOptions {
        posts: 50,
        partitions: 2,
        ..options(folder.path())
    };
    write(&small(&folders[0])).unwrap();
    let single = write(&GenerateOptions {
        records_per_object: 1,
        ..small(&folders[1])
    })
    .unwrap();
    write(&GenerateOptions {
        gzip: true,
        ..small(&folders[2])
    })
    .unwrap();
    assert_eq!(single.objects, single.records);
    let lines = |folder: &tempfile::TempDir| -> Vec<u8> {
        let all = files(folder.path()).into_iter().map(|(name, bytes)| {
            if name.ends_with(".gz") {
                let mut plain = Vec::new();
                flate2::read::GzDecoder::new(&bytes[..])
                    .read_to_end(&mut plain)
                    .unwrap();
                plain
            } else {
                bytes
            }
        });
        all.flatten().collect()
    };
    assert!(lines(&folders[0]) == lines(&folders[1]) && lines(&folders[0]) == lines(&folders[2]));
}

#[test]
fn a_post_stays_in_its_partition_and_kinds_that_are_not_named_are_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let topics = [None, Some("g".to_owned()), None];
    write(&GenerateOptions {
        topics,
        dirty: 0.0,
        ..options(folder.path())
    })
    .unwrap();
    for (name, bytes) in files(folder.path()) {
        assert!(name.starts_with("g/"), "{name}");
        let partition: i32 = name.split(['=', '/']).nth(2).unwrap().parse().unwrap();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let record: Value = serde_json::from_slice(line).unwrap();
            assert_eq!(partition_of(record["ind"].as_u64().unwrap(), 3), partition, "{record}");
        }
    }
}

#[test]
fn a_second_history_is_not_mixed_into_a_first() {
    let folder = tempfile::tempdir().unwrap();
    write(&GenerateOptions {
        posts: 5,
        ..options(folder.path())
    })
    .unwrap();
    let before = files(folder.path());
    let error = write(&GenerateOptions {
        posts: 9,
        ..options(folder.path())
    })
    .unwrap_err()
    .to_string();
    assert!(error.contains("holds objects of topic a.pin already"), "{error}");
    assert!(files(folder.path()) == before);
}

#[test]
fn an_unwritable_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = write(&options(&file.join("lake"))).unwrap_err();
    assert!(format!("{error:#}").contains("file/lake"), "{error:#}");
}

#[test]
fn a_million_posts_are_a_gigabyte_and_a_twentieth_is_sent_again() {
    let renderer = Renderer::new(1);
    let (mut bytes, mut records) = (0, 0);
    let mut line = Vec::new();
    for event in Generator::new(1).posts(POSTS).duplicates(0.0526) {
        line.clear();
        renderer.write(&event, &mut line);
        bytes += line.len() + 1;
        records += 1;
    }
    let per_post = records as f64 / POSTS as f64;
    assert!((3.13..3.18).contains(&per_post), "{per_post} records a post");
    let per_post = bytes as f64 / POSTS as f64;
    assert!((960.0..1060.0).contains(&per_post), "{per_post} bytes a post");
}

#[test]
fn pins_are_like_real_ones() {
    let pins: Vec<Value> = plain(0).collect();
    let share = |matches: &dyn Fn(&Value) -> bool| pins.iter().filter(|pin| matches(pin)).count() as f64 / POSTS as f64;
    let mean =
        |field: &str| pins.iter().map(|pin| text(pin, field).chars().count()).sum::<usize>() as f64 / POSTS as f64;
    // (real: 51, 129, 151 and 22 characters)
    assert!((45.0..58.0).contains(&mean("title")), "{}", mean("title"));
    assert!((110.0..140.0).contains(&mean("description")), "{}", mean("description"));
    assert!((140.0..165.0).contains(&mean("tag_list")), "{}", mean("tag_list"));
    assert!((15.0..26.0).contains(&mean("poster_name")), "{}", mean("poster_name"));
    for (field, sentinel, real) in [
        ("title", "No Title Data Available", 0.0075),
        ("poster_name", "User Info Error", 0.0075),
        ("follower_count", "User Info Error", 0.0075),
        ("description", "No description available Story format", 0.075),
        ("description", "No description available", 0.016),
        ("tag_list", "N,o, ,T,a,g,s, ,A,v,a,i,l,a,b,l,e", 0.0158),
        ("image_src", "Image src error.", 0.0249),
    ] {
        let found = share(&|pin| pin[field] == sentinel);
        assert!(
            (real * 0.7..real * 1.3).contains(&found),
            "{field} {sentinel}: {found}, really {real}"
        );
    }
    for (suffix, range) in [("k", 0.68..0.80), ("M", 0.05..0.11)] {
        let found = share(&|pin| text(pin, "follower_count").ends_with(suffix));
        assert!(range.contains(&found), "{suffix}: {found}");
    }
    let unusual = share(&|pin| !text(pin, "title").is_ascii());
    assert!((0.05..0.15).contains(&unusual), "{unusual}");
    assert_eq!(
        counts(pins.iter().map(|pin| text(pin, "unique_id"))).len() as u64,
        POSTS
    );
    assert_eq!(counts(pins.iter().map(|pin| text(pin, "category"))).len(), 16);
    let sorted: Vec<&str> = pins.iter().take(13_000).map(|pin| text(pin, "category")).collect();
    assert!(sorted.is_sorted(), "categories come in ranges of indexes");
    // one poster, one number of followers
    let mut followers: HashMap<&str, HashSet<&str>> = HashMap::new();
    for pin in &pins {
        followers
            .entry(text(pin, "poster_name"))
            .or_default()
            .insert(text(pin, "follower_count"));
    }
    let ambiguous = followers.values().filter(|counts| counts.len() > 1).count();
    assert!(
        ambiguous * 20 < followers.len(),
        "{ambiguous} of {} posters",
        followers.len()
    );
    assert!(
        (8_000..16_000).contains(&followers.len()),
        "{} posters of {POSTS} posts",
        followers.len()
    );
    let most = counts(pins.iter().map(|pin| text(pin, "poster_name")))
        .into_values()
        .max()
        .unwrap();
    assert!((300..1500).contains(&most), "the most frequent poster has {most} posts");
}

#[test]
fn places_are_like_real_ones() {
    let places: Vec<Value> = plain(1).collect();
    let countries = counts(places.iter().map(|place| text(place, "country")));
    assert_eq!(countries.len(), 243);
    let mut by_count: Vec<(&str, usize)> = countries.into_iter().collect();
    by_count.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    assert!(
        by_count[..5].iter().any(|(country, _)| *country == "Albania"),
        "{:?}",
        &by_count[..5]
    );
    assert!(by_count[0].1 > 30 * by_count[242].1, "{by_count:?}");
    for odd in [
        "Cote d'Ivoire",
        "Svalbard & Jan Mayen Islands",
        "Bouvet Island (Bouvetoya)",
    ] {
        assert!(by_count.iter().any(|(country, _)| *country == odd), "{odd}");
    }
    let years = counts(places.iter().map(|place| text(place, "timestamp")[..4].to_owned()));
    assert_eq!(years.len(), 6, "{years:?}");
    for place in places.iter().take(2000) {
        let time = text(place, "timestamp");
        let civil: jiff::civil::DateTime = time.parse().unwrap();
        assert_eq!(civil.strftime("%Y-%m-%d %H:%M:%S").to_string(), time);
        assert!((-90.0..=90.0).contains(&place["latitude"].as_f64().unwrap()), "{place}");
        assert!(
            (-180.0..=180.0).contains(&place["longitude"].as_f64().unwrap()),
            "{place}"
        );
    }
}

#[test]
fn users_are_like_real_ones() {
    let users: Vec<Value> = plain(2).collect();
    let name = |user: &Value| format!("{} {}", text(user, "first_name"), text(user, "last_name"));
    let names = counts(users.iter().map(name)).len() as f64 / POSTS as f64;
    assert!((0.4..0.65).contains(&names), "{names} distinct names a user");
    let persons = counts(
        users
            .iter()
            .map(|user| format!("{} {} {}", name(user), user["age"], user["date_joined"])),
    );
    let distinct = persons.len() as f64 / POSTS as f64;
    assert!((0.4..0.65).contains(&distinct), "{distinct} distinct persons a user");
    assert!((200..1200).contains(persons.values().max().unwrap()));
    let ages = counts(users.iter().map(|user| user["age"].as_u64().unwrap()));
    assert_eq!((ages.keys().min(), ages.keys().max()), (Some(&20), Some(&60)));
    assert!(
        ages[&20] > ages[&21] && ages[&21] > ages[&30] && ages[&30] > ages[&60],
        "{ages:?}"
    );
    let months = counts(users.iter().map(|user| text(user, "date_joined")[..7].to_owned()));
    assert_eq!(
        (
            months.keys().min().unwrap().as_str(),
            months.keys().max().unwrap().as_str()
        ),
        ("2015-10", "2017-10")
    );
}

#[test]
fn characters_beyond_the_basic_plane_are_escaped_as_connect_writes_them() {
    let mut escaped = 0;
    for record in Generator::new(3).posts(3000).records() {
        let text = std::str::from_utf8(&record.json).unwrap();
        assert!(text.chars().all(|c| c <= '\u{ffff}' && c != '\n'), "{text}");
        escaped += usize::from(text.contains("\\ud83"));
    }
    assert!(escaped > 30, "{escaped}");
}

/// What the decoder of the dataflow makes of every form.
#[test]
fn odd_forms_are_accepted_or_rejected_as_they_claim() {
    let renderer = Renderer::new(5);
    let mut decoder = Decoder::new(Limits {
        record_bytes: 1 << 20,
        depth: 64,
    });
    let mut decode = |event: &Event| {
        let json = renderer.json(event);
        let kind = Kind::from(event.kind);
        let raw = Raw {
            kind,
            position: Position::new(1, Offset(1), Partition(0)).unwrap(),
            key: None,
            value: Some(&json),
        };
        let decoded = decoder
            .decode(raw)
            .map(|decoded| (decoded.key, decoded.payload.is_some()));
        (decoded, String::from_utf8(json).unwrap())
    };
    let mut reasons = HashSet::new();
    for kind in 0..3 {
        for number in 0..Form::ODD {
            let form = Form::Odd(number);
            let (decoded, json) = decode(&Event {
                kind,
                ind: 4711,
                version: 0,
                form,
            });
            match decoded {
                Ok((key, holds)) => assert!(form.is_accepted() && key == 4711 && holds, "{kind} {number} {json}"),
                Err(reason) => {
                    assert!(!form.is_accepted(), "{kind} {number} {reason:?} {json}");
                    reasons.insert(reason);
                }
            }
        }
        let (decoded, json) = decode(&Event {
            kind,
            ind: 4711,
            version: 0,
            form: Form::Delete,
        });
        assert_eq!(decoded.ok(), Some((4711, false)), "{json}");
        let (decoded, json) = decode(&Event {
            kind,
            ind: 4711,
            version: 9,
            form: Form::Plain,
        });
        assert_eq!(decoded.ok(), Some((4711, true)), "{json}");
    }
    assert!(reasons.len() >= 6, "{reasons:?}");
}

#[test]
fn a_stream_can_begin_anywhere() {
    let whole: Vec<Event> = Generator::new(2)
        .posts(300)
        .duplicates(0.2)
        .dirty(0.1)
        .deletes(0.1)
        .collect();
    let first: Vec<Event> = Generator::new(2)
        .posts(120)
        .duplicates(0.2)
        .dirty(0.1)
        .deletes(0.1)
        .collect();
    let rest = Generator::new(2)
        .posts(300)
        .duplicates(0.2)
        .dirty(0.1)
        .deletes(0.1)
        .starting_at(120);
    assert_eq!(first.into_iter().chain(rest).collect::<Vec<_>>(), whole);
    let shares = counts(whole.iter().map(|event| match event.form {
        Form::Plain => 0,
        Form::Odd(_) => 1,
        Form::Delete => 2,
    }));
    assert!(shares[&1] > 40 && shares[&2] > 40 && shares[&0] > 900, "{shares:?}");
    assert!(whole.iter().all(|event| event.ind < 300));
}
