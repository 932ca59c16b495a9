//! The S3 row of the fault matrix: resume with Range, retry with backoff, or fail by name.

use crate::harness::{World, gzip, lines, pin};
use crate::server::{Fault, Seen};
use causes::with_causes;
use ingest::lake::{FetchOptions, Fetched, LakeError, ObjectMetadata, checksum};
use std::collections::BTreeMap;
use std::time::Duration;

fn options() -> FetchOptions {
    FetchOptions {
        objects_in_flight: 4,
        chunk_bytes: 64 << 10,
        chunks: 4,
        ..FetchOptions::default()
    }
}

/// Two objects of about 700 kB, plain and compressed.
fn world() -> (World, Vec<u8>) {
    let world = World::new();
    let content = lines(10_000);
    world.write(&pin(0, "json"), &content);
    world.write(&pin(10_000, "json.gz"), &gzip(&content));
    (world, content)
}

fn is_object(seen: &Seen) -> bool {
    seen.request.contains("pin+0+")
}

#[test]
fn passing_failures_are_repeated() {
    let faults = [
        Fault::Refused(503, "SlowDown"),
        Fault::Refused(500, "InternalError"),
        Fault::Refused(429, "TooManyRequests"),
        Fault::Refused(400, "RequestTimeout"),
        Fault::Reset,
        Fault::Cut(0),
    ];
    for fault in faults {
        let (world, content) = world();
        let injected = fault.clone();
        world.server.inject(move |seen| {
            if is_object(seen) && seen.before < 3 {
                injected.clone()
            } else {
                Fault::None
            }
        });
        for (key, read) in world.fetch(&world.s3(), options()) {
            assert!(read.sound() == content, "{key} after {fault:?}");
            assert_eq!(world.server.requests(&key).len(), 4, "{key} after {fault:?}");
        }
    }
}

#[test]
fn a_server_that_never_answers_is_given_up_by_name() {
    let (world, _) = world();
    world.server.inject(|seen| {
        if is_object(seen) {
            Fault::Refused(503, "SlowDown")
        } else {
            Fault::None
        }
    });
    for (key, read) in world.fetch(&world.s3_for(Duration::from_millis(200)), options()) {
        let error = read.unread();
        assert!(
            matches!(error, LakeError::Unavailable { object, .. } if *object == key),
            "{error}"
        );
        assert!(with_causes(&error).contains("SlowDown"), "{error}");
        assert!(world.server.requests(&key).len() > 4);
    }
}

#[test]
fn a_cut_body_is_resumed_where_it_broke() {
    let (world, content) = world();
    // Ten thousand bytes more each time: progress is made, so attempts do not run out.
    world.server.inject(|seen| match seen.before {
        n if n < 12 && is_object(seen) => Fault::Cut(n * 10_000),
        _ => Fault::None,
    });
    let reads = world.fetch(&world.s3(), options());
    for (key, read) in &reads {
        assert!(read.sound() == content, "{key}");
        // Nothing is asked for twice: each Range begins after all that had arrived.
        let resumed: Vec<u64> = world.server.requests(key).iter().filter_map(from).collect();
        let arrived = [10, 30, 60, 100, 150, 210, 280, 360, 450, 550].map(|thousands| thousands * 1_000);
        assert!(resumed.len() > 5 && arrived.starts_with(&resumed), "{key}: {resumed:?}");
    }
}

fn from(seen: &Seen) -> Option<u64> {
    let range = seen.range.as_deref()?;
    Some(
        range
            .strip_prefix("bytes=")
            .unwrap()
            .strip_suffix('-')
            .unwrap()
            .parse()
            .unwrap(),
    )
}

#[test]
fn a_silent_body_is_resumed() {
    let (world, content) = world();
    let stalls = |seen: &Seen| is_object(seen) && seen.before == 0;
    world.server.inject(move |seen| {
        if stalls(seen) {
            Fault::Stall(100_000)
        } else {
            Fault::None
        }
    });
    for (key, read) in world.fetch(&world.s3(), options()) {
        assert!(read.sound() == content, "{key}");
        assert_eq!(world.server.requests(&key)[1].range.as_deref(), Some("bytes=100000-"));
    }
}

#[test]
fn a_refused_object_fails_by_name_and_hinders_no_other() {
    let (world, content) = world();
    world.write(&pin(20_000, "json"), b"{}\n");
    world.write(&pin(20_001, "json"), b"{}\n");
    world.server.inject(|seen| match seen.request.as_str() {
        request if request.ends_with("+0000020000.json") => Fault::Refused(403, "AccessDenied"),
        request if request.ends_with("+0000020001.json") => Fault::Refused(404, "NoSuchKey"),
        _ => Fault::None,
    });
    let reads = world.fetch(&world.s3(), options());
    assert!(reads[&pin(0, "json")].sound() == content && reads[&pin(10_000, "json.gz")].sound() == content);
    let refused = reads[&pin(20_000, "json")].unread();
    assert!(matches!(refused, LakeError::Inaccessible { .. }), "{refused}");
    assert!(with_causes(refused).contains(&pin(20_000, "json")) && with_causes(refused).contains("AccessDenied"));
    let missing = reads[&pin(20_001, "json")].unread();
    assert!(
        matches!(missing, LakeError::Missing { object, .. } if *object == pin(20_001, "json")),
        "{missing}"
    );
    for key in [pin(20_000, "json"), pin(20_001, "json")] {
        assert_eq!(
            world.server.requests(&key).len(),
            2,
            "a refusal between two listings is final"
        );
    }
}

/// What a writer says of this content, without a checksum that would tell two versions apart.
fn of(content: &[u8]) -> ObjectMetadata {
    ObjectMetadata {
        count: Some(content.iter().filter(|byte| **byte == b'\n').count() as u64),
        ..ObjectMetadata::default()
    }
}

/// Replaces the object in the midst of its first body, through the server, so that its entity tag changes.
fn replaced_while_read(
    before: &[u8],
    after: &[u8],
    chunk_bytes: usize,
) -> (World, BTreeMap<String, crate::harness::Read>) {
    let world = World::new();
    let lake = world.s3();
    world.put(&lake, &pin(0, "json"), before, &of(before));
    let half = before.len() / 2;
    let is_get = |seen: &Seen| seen.request.starts_with("GET") && is_object(seen);
    world.server.inject(move |seen| match seen.before {
        0 if is_get(seen) => Fault::Cut(half as u64),
        // Time for the replacement.
        1 if is_get(seen) => Fault::Stall(0),
        2 if is_get(seen) => Fault::Refused(503, "SlowDown"),
        _ => Fault::None,
    });
    let replace = std::thread::scope(|scope| {
        let replacing = scope.spawn(|| {
            while world.server.requests("GET lake/pin/partition=0/pin+0+").len() < 2 {
                std::thread::yield_now();
            }
            world.put(&lake, &pin(0, "json"), after, &of(after));
        });
        let reads = world.fetch(
            &lake,
            FetchOptions {
                chunk_bytes,
                ..options()
            },
        );
        replacing.join().unwrap();
        reads
    });
    (world, replace)
}

#[test]
fn a_replaced_object_is_read_anew_while_nothing_was_handed_out() {
    let (world, reads) = replaced_while_read(&lines(500), &lines(600), 1 << 20);
    let read = &reads[&pin(0, "json")];
    assert!(read.sound() == lines(600));
    assert_eq!(read.opened, Some(Some(of(&lines(600)))), "metadata of another version");
    let ranges: Vec<_> = world
        .server
        .requests("GET lake/pin")
        .iter()
        .map(|seen| seen.range.is_some())
        .collect();
    assert_eq!(ranges.first(), Some(&false));
    assert_eq!(ranges.last(), Some(&false), "the new object is read from its start");
}

#[test]
fn a_replaced_object_fails_once_some_of_it_was_handed_out() {
    let (_, reads) = replaced_while_read(&lines(10_000), &lines(9_000), 16 << 10);
    let read = &reads[&pin(0, "json")];
    assert!(read.chunks > 0 && lines(10_000).starts_with(&read.content));
    assert_eq!(read.opened, Some(Some(of(&lines(10_000)))));
    let error = read.failed.as_ref().unwrap();
    assert!(
        matches!(error, LakeError::Changed { object } if *object == pin(0, "json")),
        "{error}"
    );
}

#[test]
fn damaged_gzip_is_read_again_and_then_fails_by_name() {
    let content = lines(500);
    let stored = gzip(&content);
    let truncated = &stored[..stored.len() - 20];
    let mut flipped = stored.clone();
    flipped[stored.len() / 2] ^= 4;
    let garbage = [stored.as_slice(), b"garbage"].concat();
    for (case, damaged) in [truncated, &flipped, &garbage, b"no gzip at all"]
        .into_iter()
        .enumerate()
    {
        let world = World::new();
        world.write(&pin(0, "json.gz"), damaged);
        world.server.inject(|_| Fault::None);
        for lake in [world.file(), world.s3()] {
            let reads = world.fetch(&lake, FetchOptions::default());
            let error = reads[&pin(0, "json.gz")].unread();
            assert!(
                matches!(error, LakeError::Corrupt { object, .. } if *object == pin(0, "json.gz")),
                "{case}: {error}"
            );
        }
        assert_eq!(world.server.requests("GET lake/pin").len(), 3, "case {case}");
    }
}

#[test]
fn damage_on_the_way_is_healed_by_another_read() {
    let content = lines(500);
    let stored = gzip(&content);
    let checked = ObjectMetadata {
        checksum: Some(checksum(&content)),
        ..ObjectMetadata::default()
    };
    for at in [30, stored.len() / 2, stored.len() - 6] {
        let world = World::new();
        let lake = world.s3();
        world.put(&lake, &pin(0, "json.gz"), &stored, &ObjectMetadata::default());
        world.put(&lake, &pin(500, "json"), &content, &checked);
        let first = |seen: &Seen| seen.request.starts_with("GET") && is_object(seen) && seen.before == 0;
        world.server.inject(move |seen| {
            if first(seen) {
                Fault::Flip(at as u64)
            } else {
                Fault::None
            }
        });
        for (key, read) in world.fetch(&lake, FetchOptions::default()) {
            assert!(read.sound() == content, "{key}");
            assert_eq!(world.server.requests(&format!("GET lake/{key}")).len(), 2, "{key}");
        }
    }
}

/// Damage that shows only after chunks were handed out cannot be taken back: it is a failure, never a silent end.
#[test]
fn damage_behind_the_first_chunk_fails() {
    let content = lines(10_000);
    let mut stored = gzip(&content);
    let end = stored.len() - 6;
    stored[end] ^= 1;
    let world = World::new();
    world.write(&pin(0, "json.gz"), &stored);
    let reads = world.fetch(&world.s3(), options());
    let read = &reads[&pin(0, "json.gz")];
    assert!(read.chunks > 0 && read.done.is_none());
    assert!(
        matches!(read.failed, Some(LakeError::Corrupt { .. })),
        "{:?}",
        read.failed
    );
}

/// Everything at once, on many objects: what arrives is what was written.
#[test]
fn a_bad_day() {
    let world = World::new();
    let content = lines(40_000);
    let mut expected = BTreeMap::new();
    for (n, part) in content.chunks(50_000).enumerate() {
        let (key, stored) = match n % 2 {
            0 => (pin(n as i64, "json"), part.to_vec()),
            _ => (pin(n as i64, "json.gz"), gzip(part)),
        };
        world.write(&key, &stored);
        expected.insert(key, part.to_vec());
    }
    world.server.inject(|seen| {
        let draw = checksum(format!("{}{}", seen.request, seen.before).as_bytes());
        match draw % 8 {
            0 => Fault::Refused(503, "SlowDown"),
            1 => Fault::Reset,
            2 | 3 => Fault::Cut(draw % 60_000),
            // Three failures in a row at most, so that no object is given up.
            _ => Fault::None,
        }
    });
    let mut retry = 0;
    let mut reads = BTreeMap::new();
    while reads.is_empty() {
        reads = world.fetch_with(&world.s3(), options(), &mut |fetched| {
            if let Fetched::Failed { error, .. } = fetched {
                panic!("{error}");
            }
        });
        retry += 1;
        assert!(retry < 3);
    }
    for (key, part) in &expected {
        assert!(reads[key].sound() == part.as_slice(), "{key}");
    }
}
