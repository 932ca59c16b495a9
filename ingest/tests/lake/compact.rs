//! How long a compaction leaves what it has replaced: by the lake's clock, not by this machine's.

use crate::harness::World;
use ingest::archive::{CompactOptions, Compacted, compact};
use ingest::lake::{Encoding, Lake};
use serde_json::Value;
use std::time::Duration;

const NOTES: &str = "_pinflow/compact/pin+0.json";

fn run(world: &World, lake: &Lake) -> Compacted {
    let options = CompactOptions {
        topics: vec!["pin".into()],
        target_bytes: 1 << 20,
        encoding: Encoding::Plain,
        part_bytes: 1 << 20,
        keep: Duration::from_secs(60),
    };
    world.runtime.block_on(compact(lake, &options)).unwrap()
}

/// The one note, altered.
fn alter(world: &World, lake: &Lake, change: impl Fn(&mut Value)) {
    let bytes = world.runtime.block_on(lake.get_small(NOTES)).unwrap().unwrap();
    let mut notes: Value = serde_json::from_slice(&bytes).unwrap();
    let notes_of = notes.as_object_mut().unwrap();
    assert_eq!(notes_of.len(), 1);
    notes_of.values_mut().for_each(change);
    let bytes = serde_json::to_vec(&notes).unwrap();
    world
        .runtime
        .block_on(lake.put(NOTES, bytes, Default::default()))
        .unwrap();
}

#[test]
fn what_is_replaced_goes_when_it_has_been_for_long_enough_on_one_clock() {
    let world = World::new();
    for lake in [world.file(), world.open("s3://lake/in-s3")] {
        for start in 0..3 {
            let key = format!("pin/partition=0/pin+0+{start:010}.json");
            world.put(&lake, &key, b"{}\n", &Default::default());
        }
        let first = run(&world, &lake);
        assert_eq!((first.written, first.removed, first.waiting), (1, 0, 3));
        let again = run(&world, &lake);
        assert_eq!((again.written, again.removed, again.waiting), (0, 0, 3));

        let earlier = |seconds: u64| {
            move |note: &mut Value| {
                let noted = note["seconds"].as_u64().unwrap();
                note["seconds"] = noted.saturating_sub(seconds).into();
            }
        };
        // noted on another clock, such as before the machine was started anew: the time begins anew
        let clock = "another".to_owned();
        alter(&world, &lake, |note| {
            note["clock"] = clock.clone().into();
            earlier(100)(note);
        });
        assert_eq!((run(&world, &lake).removed, run(&world, &lake).waiting), (0, 3));
        // noted in the future: the clock was set back
        alter(&world, &lake, |note| note["seconds"] = u64::MAX.into());
        assert_eq!((run(&world, &lake).removed, run(&world, &lake).waiting), (0, 3));
        // what an earlier version has left says nothing
        let old = b"{\"pin/partition=0/pin+0+000000000000.json\":1}".to_vec();
        world
            .runtime
            .block_on(lake.put(NOTES, old, Default::default()))
            .unwrap();
        assert_eq!((run(&world, &lake).removed, run(&world, &lake).waiting), (0, 3));

        alter(&world, &lake, earlier(62));
        let done = run(&world, &lake);
        assert_eq!((done.removed, done.waiting), (3, 0));
        assert_eq!(world.runtime.block_on(lake.get_small(NOTES)).unwrap(), None);
    }
}
