//! Reading sound objects, from both stores.

use crate::harness::{World, gzip, lines, pin};
use crate::server::Fault;
use ingest::Offset;
use ingest::lake::{FetchOptions, Fetched, Fetcher, Lake, LakeError, ObjectMetadata, checksum};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Small chunks, few of them, so that everything waits for everything.
fn tight() -> FetchOptions {
    FetchOptions {
        objects_in_flight: 4,
        chunk_bytes: 1 << 10,
        chunks: 2,
        ..FetchOptions::default()
    }
}

fn both(world: &World) -> [Lake; 2] {
    [world.file(), world.s3()]
}

#[test]
fn odd_objects_are_whole_lines() {
    let world = World::new();
    let large = lines(5_000);
    let members = [gzip(&large[..100_001]), gzip(b""), gzip(&large[100_001..])].concat();
    let marked = [b"\xef\xbb\xbf".as_slice(), b"{\"ind\":1}\n"].concat();
    let cases: [(&str, &[u8], &[u8], u64); 10] = [
        ("json", b"", b"", 0),
        ("json", b"{}\n", b"{}\n", 1),
        ("json", b"{}\n{}", b"{}\n{}", 2),
        ("json", b"\n\n", b"\n\n", 2),
        ("json", &marked, &marked[3..], 1),
        ("json", &large, &large, 5_000),
        ("json.gz", b"", b"", 0),
        ("json.gz", &gzip(b""), b"", 0),
        ("json.gz", &gzip(&marked), &marked[3..], 1),
        ("json.gz", &members, &large, 5_000),
    ];
    for (start, (extension, stored, _, _)) in (0..).zip(&cases) {
        world.write(&pin(start, extension), stored);
    }
    for lake in both(&world) {
        for options in [tight(), FetchOptions::default()] {
            let reads = world.fetch(&lake, options);
            assert_eq!(reads.len(), cases.len());
            for (start, (extension, stored, content, count)) in (0..).zip(&cases) {
                let read = &reads[&pin(start, extension)];
                assert!(read.sound() == *content, "case {start} of {}", lake.url());
                let (bytes, _) = read.done.unwrap();
                let stored = if *extension == "json" {
                    stored.len()
                } else {
                    content.len()
                };
                assert_eq!(read.lines, *count, "case {start}");
                assert!(
                    bytes as usize == stored || bytes as usize == stored + 3,
                    "case {start}: {bytes}"
                );
            }
        }
    }
}

#[test]
fn older_layouts_come_whole() {
    let world = World::new();
    let pretty = b"{\n  \"index\": 1,\n  \"title\": \"x\"\n}".as_slice();
    let array = [b"[".as_slice(), &lines(300).join(), b"]"].concat();
    world.write("events/event-1.json", pretty);
    world.write("PinterestData_1.json", &array);
    world.write("pin/PinterestData_2.json.gz", &gzip(&array));
    world.write("pin/event-empty.json", b"");
    for lake in both(&world) {
        let reads = world.fetch(&lake, tight());
        let content = |key: &str| {
            assert!(reads[key].whole);
            reads[key].sound()
        };
        assert_eq!(content("events/event-1.json"), pretty);
        assert!(content("PinterestData_1.json") == array);
        assert!(content("pin/PinterestData_2.json.gz") == array);
        assert_eq!(content("pin/event-empty.json"), b"");
        // the digest is of the content, whatever store it lies in and however it is compressed
        for (key, of) in [
            ("events/event-1.json", pretty),
            ("PinterestData_1.json", &array),
            ("pin/PinterestData_2.json.gz", &array),
            ("pin/event-empty.json", b""),
        ] {
            assert_eq!(reads[key].done.as_ref().unwrap().1, Some(checksum(of)), "{key}");
        }
        let limited = FetchOptions {
            max_whole_bytes: array.len() - 1,
            ..tight()
        };
        let reads = world.fetch(&lake, limited);
        for key in ["PinterestData_1.json", "pin/PinterestData_2.json.gz"] {
            assert!(matches!(reads[key].unread(), LakeError::TooLarge { object, .. } if object == key));
        }
        assert_eq!(reads["events/event-1.json"].sound(), pretty);
    }
}

trait Join {
    /// Lines as the elements of an array.
    fn join(&self) -> Vec<u8>;
}

impl Join for Vec<u8> {
    fn join(&self) -> Vec<u8> {
        let newlines = self.iter().map(|b| if *b == b'\n' { b',' } else { *b });
        newlines.take(self.len() - 1).collect()
    }
}

#[test]
fn a_line_above_the_limit_is_passed_over() {
    let world = World::new();
    let huge = vec![b'h'; 3 << 20];
    let fitting = vec![b'f'; 100_000];
    let content = [b"one\n".as_slice(), &huge, b"\n", &fitting, b"\ntwo\n", &huge].concat();
    let expected = [b"one\n".as_slice(), &fitting, b"\ntwo\n"].concat();
    world.write(&pin(0, "json"), &content);
    world.write(&pin(5, "json.gz"), &gzip(&content));
    for lake in both(&world) {
        let reads = world.fetch(
            &lake,
            FetchOptions {
                max_record_bytes: 100_000,
                ..tight()
            },
        );
        for read in reads.values() {
            assert!(read.sound() == expected);
            assert_eq!(read.lines, 5);
            assert_eq!(read.too_large.len(), 2);
            assert!(
                read.too_large
                    .iter()
                    .all(|(prefix, bytes)| prefix.len() >= 4096 && huge.starts_with(prefix) && *bytes == 3 << 20)
            );
        }
    }
}

#[test]
fn a_decompression_bomb_is_named() {
    let world = World::new();
    world.write(&pin(0, "json.gz"), &gzip(&vec![b'\n'; 10 << 20]));
    world.write(&pin(1, "json"), b"{}\n");
    for lake in both(&world) {
        let reads = world.fetch(
            &lake,
            FetchOptions {
                max_decompressed_bytes: 1 << 20,
                ..tight()
            },
        );
        let error = reads[&pin(0, "json.gz")].failed.as_ref().unwrap();
        assert!(matches!(error, LakeError::TooLarge { object, limit: 1_048_576 } if *object == pin(0, "json.gz")));
        assert_eq!(reads[&pin(1, "json")].sound(), b"{}\n");
    }
}

#[test]
fn metadata_comes_with_the_object_and_its_checksum_holds() {
    let world = World::new();
    let content = lines(200);
    let metadata = ObjectMetadata {
        end: Some(Offset(200)),
        count: Some(200),
        covers: Some(Offset::range(0..210)),
        checksum: Some(checksum(&content)),
        bytes: None,
    };
    let wrong = ObjectMetadata {
        checksum: Some(1),
        ..metadata.clone()
    };
    for lake in [world.file(), world.open("s3://lake/in-s3")] {
        world.put(&lake, &pin(0, "json"), &content, &metadata);
        world.put(&lake, &pin(300, "json.gz"), &gzip(&content), &metadata);
        world.put(&lake, &pin(600, "json"), &content, &wrong);
        let reads = world.fetch(&lake, FetchOptions::default());
        for key in [pin(0, "json"), pin(300, "json.gz")] {
            assert!(reads[&key].sound() == content);
            assert_eq!(reads[&key].opened, Some(Some(metadata.clone())));
            assert_eq!(reads[&key].done.as_ref().unwrap().1, Some(checksum(&content)));
        }
        let error = reads[&pin(600, "json")].unread();
        assert!(
            matches!(error, LakeError::Corrupt { object, .. } if *object == pin(600, "json")),
            "{error}"
        );
    }
}

/// A sidecar is written before its object: a reader may find the new one beside the old content.
#[test]
fn a_sidecar_of_another_version_is_never_handed_out() {
    let world = World::new();
    let (old, new) = (lines(5_000), lines(6_000));
    let of = |content: &[u8]| ObjectMetadata {
        covers: Some(Offset(0)..Offset(content.len() as i64)),
        bytes: Some(content.len() as u64),
        ..ObjectMetadata::default()
    };
    let key = pin(0, "json");
    let (lake, sidecar) = (world.file(), format!("{key}.meta.json"));
    world.put(&lake, &key, &old, &of(&old));
    let listed = world.list(&lake).objects;
    let read = || {
        world
            .fetch_these(&lake, &listed, tight(), &mut |_| {})
            .remove(&key)
            .unwrap()
    };
    assert_eq!(read().opened, Some(Some(of(&old))));
    world.write(&sidecar, &serde_json::to_vec(&of(&new).to_map()).unwrap());
    let mixed = read();
    assert!(
        matches!(mixed.unread(), LakeError::Corrupt { .. }),
        "{:?}",
        mixed.failed
    );
    assert_eq!(mixed.opened, None);
    // listed with a sidecar that is gone: the object is another one as well
    std::fs::remove_file(world.path(&sidecar)).unwrap();
    assert!(matches!(read().unread(), LakeError::Changed { .. }));
    world.put(&lake, &key, &new, &of(&new));
    let after = read();
    assert!(after.sound() == new && after.opened == Some(Some(of(&new))));
}

#[test]
fn proved_first_nothing_of_an_object_that_fails_late_is_handed_out() {
    let world = World::new();
    let content = lines(5_000);
    let (first, rest) = content.split_at(100_001);
    let mut damaged = [gzip(first), gzip(rest)].concat();
    let at = damaged.len() - 6;
    damaged[at] ^= 1;
    let cut = gzip(&content);
    world.write(&pin(0, "json.gz"), &[gzip(first), gzip(rest)].concat());
    world.write(&pin(5_000, "json.gz"), &damaged);
    world.write(&pin(10_000, "json.gz"), &cut[..cut.len() - 100]);
    let wrong = ObjectMetadata {
        checksum: Some(1),
        ..ObjectMetadata::default()
    };
    for lake in both(&world) {
        world.put(&lake, &pin(15_000, "json"), &content, &wrong);
        let proved = FetchOptions {
            prove_first: true,
            ..tight()
        };
        let (reads, unproved) = (world.fetch(&lake, proved), world.fetch(&lake, tight()));
        assert!(reads[&pin(0, "json.gz")].sound() == content);
        for key in [pin(5_000, "json.gz"), pin(10_000, "json.gz"), pin(15_000, "json")] {
            assert!(matches!(reads[&key].unread(), LakeError::Corrupt { object, .. } if *object == key));
            assert!(unproved[&key].chunks > 0, "{key} is no test: it fails at once");
        }
    }
}

#[test]
fn the_first_line_is_read_alone() {
    let world = World::new();
    let content = lines(5_000);
    let first = content.split(|byte| *byte == b'\n').next().unwrap();
    world.write(&pin(0, "json"), &content);
    world.write(&pin(1, "json.gz"), &gzip(&content));
    world.write(&pin(2, "json"), first);
    world.write(&pin(3, "json"), b"");
    world.write(&pin(4, "json"), &[b"\xef\xbb\xbf", first].concat());
    for lake in both(&world) {
        let objects = world.list(&lake).objects;
        let line = |n: usize, limit| {
            let read = world.runtime.block_on(lake.first_line(&objects[n], limit)).unwrap();
            read.map(|(line, _)| line)
        };
        for n in [0, 1, 2, 4] {
            assert_eq!(line(n, 1 << 20).as_deref(), Some(first), "object {n} of {}", lake.url());
        }
        assert_eq!(line(3, 1 << 20), None);
        assert_eq!(line(0, 5), None);
    }
}

#[test]
fn thousands_of_small_objects() {
    let world = World::new();
    let content = lines(20_000);
    for (start, line) in (0..).zip(content.split_inclusive(|b| *b == b'\n')) {
        let key = format!("pin/{:02}/pin+0+{start:010}.json", start % 50);
        world.write(&key, line);
    }
    let reads = world.fetch(&world.file(), FetchOptions::default());
    let mut starts: Vec<(&str, &[u8])> = reads.iter().map(|(key, read)| (&key[7..], read.sound())).collect();
    starts.sort();
    assert!(starts.into_iter().flat_map(|(_, line)| line).eq(&content));
}

#[test]
fn buffers_in_flight_are_bounded_and_reused() {
    let world = World::new();
    for start in 0..6 {
        world.write(&pin(start * 5_000, "json"), &lines(5_000));
    }
    let options = FetchOptions {
        objects_in_flight: 4,
        chunk_bytes: 64 << 10,
        chunks: 3,
        ..FetchOptions::default()
    };
    for lake in both(&world) {
        let objects = world.list(&lake).objects;
        let handle = world.runtime.handle().clone();
        let mut fetcher = Fetcher::start(lake.clone(), handle, options.clone(), Arc::new(|| {}));
        for (id, object) in (0..).zip(objects) {
            fetcher.push(id, object);
        }
        // A consumer that gives nothing back gets as many chunks as there are, and no more.
        let mut held = Vec::new();
        let mut quiet = Instant::now();
        let deadline = Instant::now() + Duration::from_secs(60);
        while held.len() < 3 && Instant::now() < deadline || quiet.elapsed() < Duration::from_millis(300) {
            match fetcher.try_next() {
                Some(Fetched::Opened { .. }) => {}
                Some(Fetched::Lines { bytes, .. }) => held.push(bytes),
                Some(other) => panic!("{other:?}"),
                None => {
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
            }
            quiet = Instant::now();
        }
        assert_eq!(held.len(), 3);
        let addresses: Vec<_> = held.iter().map(|buffer| buffer.as_ptr()).collect();
        held.into_iter().for_each(|buffer| fetcher.recycle(buffer));
        // Given back, the same buffers carry everything else.
        let deadline = Instant::now() + Duration::from_secs(60);
        while fetcher.open() > 0 {
            match fetcher.try_next() {
                Some(Fetched::Lines { bytes, .. }) => {
                    assert!(addresses.contains(&bytes.as_ptr()));
                    assert!(bytes.capacity() == 64 << 10);
                    fetcher.recycle(bytes);
                }
                Some(Fetched::Opened { .. } | Fetched::Done { .. }) => {}
                Some(other) => panic!("{other:?}"),
                None => assert!(Instant::now() < deadline, "stuck"),
            }
        }
    }
}

#[test]
fn dropping_the_fetcher_ends_its_threads_at_once() {
    let world = World::new();
    for start in 0..8 {
        world.write(&pin(start * 5_000, "json"), &lines(5_000));
    }
    world.server.inject(|seen| {
        if seen.request.contains("pin+0") {
            Fault::Stall(100)
        } else {
            Fault::None
        }
    });
    for lake in both(&world) {
        let objects = world.list(&lake).objects;
        let alive = Arc::new(());
        let witness = Arc::downgrade(&alive);
        let fetcher = Fetcher::start(
            lake,
            world.runtime.handle().clone(),
            tight(),
            Arc::new(move || drop(alive.clone())),
        );
        for (id, object) in (0..).zip(objects) {
            fetcher.push(id, object);
        }
        // Threads now wait for buffers, for the consumer, or for a silent server.
        std::thread::sleep(Duration::from_millis(100));
        let started = Instant::now();
        drop(fetcher);
        assert!(
            started.elapsed() < Duration::from_millis(400),
            "{:?}",
            started.elapsed()
        );
        assert!(witness.upgrade().is_none(), "a thread is left");
    }
}

#[test]
fn any_lake_reads_back_under_any_limits() {
    let object = (
        prop::collection::vec(0usize..3_000, 0..12),
        any::<bool>(),
        any::<bool>(),
    );
    let strategy = (
        prop::collection::vec(object, 1..6),
        16usize..2_000,
        1usize..4,
        1usize..5,
        0usize..2_000,
    );
    let config = Config {
        cases: 24,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&strategy, |(objects, chunk_bytes, chunks, objects_in_flight, more)| {
        let world = World::new();
        let max_record_bytes = chunk_bytes + more;
        let mut expected = Vec::new();
        for (start, (lengths, gz, newline)) in (0..).zip(&objects) {
            let mut content = Vec::new();
            for (n, length) in lengths.iter().enumerate() {
                content.extend(std::iter::repeat_n(b'a' + n as u8, *length));
                content.push(b'\n');
            }
            if !newline {
                content.pop();
            }
            let (extension, stored) = if *gz {
                ("json.gz", gzip(&content))
            } else {
                ("json", content.clone())
            };
            world.write(&pin(start, extension), &stored);
            let fits = |line: &&[u8]| line.strip_suffix(b"\n").unwrap_or(line).len() <= max_record_bytes;
            let all = content.split_inclusive(|b| *b == b'\n');
            let kept: Vec<u8> = all.clone().filter(fits).flatten().copied().collect();
            expected.push((pin(start, extension), kept, all.count() as u64));
        }
        let options = FetchOptions {
            objects_in_flight,
            chunk_bytes,
            chunks,
            max_record_bytes,
            ..FetchOptions::default()
        };
        let mut largest = 0;
        for lake in both(&world) {
            let reads = world.fetch_with(&lake, options.clone(), &mut |fetched| {
                if let Fetched::Lines { bytes, .. } = fetched {
                    largest = largest.max(bytes.capacity());
                }
            });
            for (key, kept, count) in &expected {
                prop_assert!(reads[key].sound() == kept.as_slice(), "{}", key);
                prop_assert_eq!(reads[key].lines, *count);
            }
        }
        prop_assert!(largest <= max_record_bytes + 1);
        Ok(())
    });
    outcome.unwrap();
}
