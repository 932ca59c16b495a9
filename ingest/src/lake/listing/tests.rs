use super::*;
use proptest::prelude::*;

const TOPICS: [&str; 2] = ["pin", "geo"];

fn list(keys: &[(&str, u64)]) -> Listing {
    let mut builder = Builder::new(&TOPICS);
    for (key, size) in keys {
        builder.add(key, *size, Some("\"tag\""));
    }
    builder.finish()
}

fn keys(listing: &Listing) -> Vec<&str> {
    listing.objects.iter().map(|object| object.key.as_str()).collect()
}

#[test]
fn older_layouts_by_name_then_the_log_by_number() {
    let listing = list(&[
        ("geo/partition=0/geo+0+0000000000.json", 1),
        ("pin/partition=0/pin+0+14549241101.json", 1),
        ("pin/partition=0/pin+0+9999999999.json", 1),
        ("pin/partition=10/pin+10+0000000000.json", 1),
        ("pin/partition=2/pin+2+0000000000.json", 1),
        ("b/event-1.json", 1),
        ("a/event-2.json", 1),
        ("a/event-10.json", 1),
        ("pin/readme.txt", 1),
        ("pin/", 0),
        ("_pinflow/generations.json", 9),
    ]);
    let expected = [
        "b/event-1.json",
        "a/event-10.json",
        "a/event-2.json",
        "pin/partition=0/pin+0+9999999999.json",
        "pin/partition=0/pin+0+14549241101.json",
        "pin/partition=2/pin+2+0000000000.json",
        "pin/partition=10/pin+10+0000000000.json",
        "geo/partition=0/geo+0+0000000000.json",
    ];
    assert_eq!(keys(&listing), expected);
    assert_eq!((listing.ignored, listing.repeated), (1, 0));
    assert_eq!(listing.ignored_examples, ["pin/readme.txt"]);
    assert_eq!(listing.objects[0].etag.as_deref(), Some("tag"));
}

#[test]
fn other_topics_are_named_and_bounded() {
    let listing = list(&[
        ("topics/pins/partition=0/pins+0+0000000000.json", 1),
        ("topics/pins/partition=0/pins+0+0000000001.json", 1),
        ("a.b/a.b+3+7.json.gz", 1),
        ("pin/pin+0+0.json", 1),
        ("pin/pin+0+0.keys.json", 1),
    ]);
    assert_eq!(listing.other_topics, ["a.b", "pins"]);
    assert_eq!((listing.objects.len(), listing.ignored), (1, 4));

    let many: Vec<String> = (0..250).map(|n| format!("t{n:03}/t{n:03}+0+0.json")).collect();
    let mut keys: Vec<(&str, u64)> = many.iter().map(|key| (key.as_str(), 1)).collect();
    let forward = list(&keys).other_topics;
    keys.reverse();
    assert_eq!(list(&keys).other_topics, forward);
    assert_eq!(
        (forward.len(), forward[0].as_str(), forward[99].as_str()),
        (100, "t000", "t099")
    );
}

#[test]
fn a_sidecar_marks_its_object() {
    let listing = list(&[
        ("pin/pin+0+0000000000.json.meta.json", 5),
        ("pin/pin+0+0000000000.json", 5),
        ("pin/pin+0+0000000001.json", 5),
    ]);
    let marked: Vec<bool> = listing.objects.iter().map(|object| object.sidecar).collect();
    assert_eq!((marked, listing.ignored), (vec![true, false], 0));
}

proptest! {
    #[test]
    fn neither_order_nor_repetition_shows(
        offsets in prop::collection::btree_set(0u32..50, 1..20),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let unique: Vec<String> = offsets.iter().map(|offset| match offset % 3 {
            0 => format!("x/event-{offset}.json"),
            _ => format!("pin/pin+{}+{offset}.json", offset % 5),
        }).collect();
        let once: Vec<(&str, u64)> = unique.iter().map(|key| (key.as_str(), 1)).collect();
        let mut again: Vec<(&str, u64)> = picks.iter().map(|pick| once[pick.index(once.len())]).collect();
        again.extend(once.iter().rev());
        let repeated = picks.len() as u64;
        prop_assert_eq!(list(&again), Listing { repeated, ..list(&once) });
    }
}

#[test]
fn of_a_repeated_key_the_later_entry_stays() {
    let listing = list(&[("pin/pin+0+1.json", 10), ("pin/pin+0+1.json", 20)]);
    assert_eq!(
        (listing.objects.len(), listing.objects[0].size, listing.repeated),
        (1, 20, 1)
    );
}
