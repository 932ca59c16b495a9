//! Listing, small objects and metadata, the same in both stores.

use crate::harness::{World, pin};
use crate::server::Fault;
use causes::with_causes;
use ingest::Offset;
use ingest::lake::{Lake, LakeError, Listing, Object, ObjectMetadata};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A listing without what only one store knows.
fn plain(listing: Listing) -> Vec<Object> {
    listing
        .objects
        .into_iter()
        .map(|object| Object { etag: None, ..object })
        .collect()
}

#[test]
fn both_stores_list_the_same_tree() {
    let world = World::new();
    for start in 0..1203 {
        world.write(&format!("topics/{}", pin(start, "json")), b"{}\n");
    }
    for hour in 0..70 {
        let key = format!(
            "topics/geo/year=2024/hour={hour:02}/geo+{}+{:010}.json.gz",
            hour % 3,
            hour * 10
        );
        world.write(&key, b"");
    }
    for key in [
        "topics/pin/event-7.json",
        "PinterestData_3.json",
        "user+0+0000000000.json",
        "topics/pin/x.txt",
    ] {
        world.write(key, b"[]");
    }
    world.write(&format!("topics/{}.meta.json", pin(7, "json")), b"{}");
    world.write("_pinflow/generations.json", b"{}");
    world.write("topics/pin/tombstone/pin+0+0000000003.keys.json", b"3\n");

    let (file, s3) = (world.list(&world.file()), world.list(&world.s3()));
    assert_eq!(file.objects.len(), 1203 + 70 + 4);
    assert_eq!((file.ignored, s3.ignored), (1, 1), "{:?}", s3.ignored_examples);
    assert_eq!(file.objects.iter().filter(|object| object.sidecar).count(), 1);
    assert_eq!(file.objects.iter().filter(|object| object.deletes).count(), 1);
    assert_eq!(plain(s3), plain(file.clone()));

    // The URL names the folder of the topic folders, with or without topics.dir.
    let below = world.list(&world.open("s3://lake/topics/"));
    let root = world.folder.path().display();
    assert_eq!(
        plain(below.clone()),
        plain(world.list(&world.open(&format!("file://{root}/lake/topics"))))
    );
    assert_eq!(below.objects.len(), file.objects.len() - 2);
    assert!(below.objects.iter().all(|object| !object.key.starts_with("topics/")));
}

#[test]
fn a_listing_survives_a_server_that_does_not_answer_at_first() {
    let world = World::new();
    world.write(&pin(0, "json"), b"{}\n");
    world.server.inject(|seen| match seen.before {
        0 => Fault::Refused(503, "SlowDown"),
        1 => Fault::Reset,
        2 => Fault::Refused(500, "InternalError"),
        _ => Fault::None,
    });
    assert_eq!(world.list(&world.s3()).objects.len(), 1);
    assert!(world.server.requests("GET lake").len() >= 4);
}

#[test]
fn a_lake_that_is_not_there_is_missing() {
    let world = World::new();
    for url in [
        "s3://nowhere/topics".to_string(),
        format!("file://{}/nowhere", world.folder.path().display()),
    ] {
        let lake = world.open_changed(&url, |mut options| {
            options.retries.retry_timeout = Some(Duration::from_millis(100));
            options
        });
        if url.starts_with("file") {
            assert_eq!(world.runtime.block_on(lake.get_small("_pinflow/x")).unwrap(), None);
        }
        let error = world.runtime.block_on(lake.list(&["pin"])).unwrap_err();
        assert!(matches!(error, LakeError::NoLake { .. }), "{error}");
        assert!(with_causes(&error).contains("nowhere"), "{error}");
    }
}

fn stores(world: &World) -> [Lake; 2] {
    [world.file(), world.open("s3://lake/under/a/prefix")]
}

#[test]
fn small_objects_come_back_as_written() {
    let world = World::new();
    for lake in stores(&world) {
        let get = |key: &str| world.runtime.block_on(lake.get_small(key)).unwrap();
        let key = "_pinflow/generations.json";
        assert_eq!(get(key), None);
        for content in [b"first".as_slice(), b"the second one", b""] {
            world.put(&lake, key, content, &ObjectMetadata::default());
            assert_eq!(get(key).as_deref(), Some(content));
        }
        assert!(world.list(&lake).objects.is_empty());
    }
    // Neither a temporary file nor an empty sidecar is left behind.
    let files: Vec<_> = std::fs::read_dir(world.path("_pinflow"))
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(files, ["generations.json"]);
}

#[test]
fn metadata_comes_back_as_written() {
    let world = World::new();
    let full = ObjectMetadata {
        end: Some(Offset(12)),
        count: Some(2),
        covers: Some(Offset::range(10..15)),
        checksum: Some(0xabc),
        bytes: Some(6),
    };
    for lake in stores(&world) {
        let key = pin(10, "json");
        for expected in [full.clone(), ObjectMetadata::default(), full.clone()] {
            world.put(&lake, &key, b"{}\n{}\n", &expected);
            let objects = world.list(&lake).objects;
            assert_eq!(objects.len(), 1);
            assert_eq!(world.runtime.block_on(lake.metadata(&objects[0])).unwrap(), expected);
        }
    }
    // A folder lake that was copied into a bucket keeps its sidecars.
    let copied = world.s3();
    let object = world
        .list(&copied)
        .objects
        .into_iter()
        .find(|object| object.sidecar)
        .unwrap();
    assert_eq!(world.runtime.block_on(copied.metadata(&object)).unwrap(), full);
    // also where the program that copied it has noted something of its own
    let foreign = [("mtime".to_owned(), "1796131303.5".to_owned())].into();
    let put = copied.put(&object.key, b"{}\n{}\n".to_vec(), foreign);
    world.runtime.block_on(put).unwrap();
    let of_copy = world.runtime.block_on(copied.metadata(&object)).unwrap();
    assert_eq!(of_copy, full);
    world.write(&format!("{}.meta.json", object.key), b"{\"pinflow-end\":\"many\"}");
    let error = world.runtime.block_on(copied.metadata(&object)).unwrap_err();
    assert!(with_causes(&error).contains("pinflow-end is \"many\""), "{error}");
}

#[test]
fn a_key_stays_inside_the_lake() {
    let world = World::new();
    let lake = world.file();
    for key in ["../out.json", "/etc/passwd", "a//b", "a/./b", ""] {
        let put = world.runtime.block_on(lake.put(key, Vec::new(), Default::default()));
        assert!(matches!(put, Err(LakeError::Key { .. })), "{key}");
        assert!(world.runtime.block_on(lake.get_small(key)).is_err(), "{key}");
    }
}

#[test]
fn a_folder_is_listed_while_it_is_written() {
    let world = World::new();
    let lake = world.file();
    let written = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for start in 0..300 {
                let metadata = ObjectMetadata {
                    count: Some(1),
                    ..ObjectMetadata::default()
                };
                world.put(&lake, &pin(start, "json"), b"{}\n", &metadata);
            }
            written.store(true, Ordering::Release);
        });
        let mut before = 0;
        while !written.load(Ordering::Acquire) {
            let listing = world.list(&lake);
            // No object is seen without its size or without the metadata it was written with.
            assert!(listing.objects.iter().all(|object| object.size == 3 && object.sidecar));
            assert!(listing.objects.len() >= before);
            before = listing.objects.len();
        }
    });
    assert_eq!(world.list(&lake).objects.len(), 300);
}

#[test]
fn linked_folders_are_followed_once() {
    let world = World::new();
    world.write("elsewhere/pin/pin+0+0000000000.json", b"{}\n");
    std::fs::create_dir(world.path("lake")).unwrap();
    for link in ["lake/a", "lake/b"] {
        std::os::unix::fs::symlink(world.path("elsewhere"), world.path(link)).unwrap();
    }
    std::os::unix::fs::symlink(world.path("lake"), world.path("elsewhere/loop")).unwrap();
    std::os::unix::fs::symlink(world.path("nowhere"), world.path("lake/pin+0+1.json")).unwrap();
    let listing = world.list(&world.open(&format!("file://{}", world.path("lake").display())));
    assert_eq!((listing.objects.len(), listing.ignored), (1, 2), "{listing:?}");
}

#[test]
fn a_silent_server_is_given_up() {
    let world = World::new();
    world.write("_pinflow/x", b"content");
    world.server.inject(|_| Fault::Stall(3));
    let started = std::time::Instant::now();
    let lake = world.s3_for(Duration::from_secs(1));
    let error = world.runtime.block_on(lake.get_small("_pinflow/x")).unwrap_err();
    assert!(matches!(error, LakeError::Unavailable { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(world.server.requests("GET lake/_pinflow/x").len() > 1);
}
