use super::*;
use crate::lake::{Encoding, Place};
use proptest::prelude::*;
use std::collections::BTreeSet;

mod fuzz;

fn place(topic: u8, partition: i32) -> TopicPartition {
    TopicPartition {
        topic,
        partition: Partition(partition),
    }
}

fn counted(object: u32, start: i64, lines: u64) -> Counted {
    Counted {
        topic: 0,
        partition: Partition(0),
        start: Offset(start),
        lines,
        covers: None,
        object,
    }
}

/// Objects of pin/0 as (start, lines), numbered as given.
fn cover(objects: &[(i64, u64)]) -> Coverage {
    let numbered = objects
        .iter()
        .zip(0..)
        .map(|((start, lines), object)| counted(object, *start, *lines));
    one(&numbered.collect::<Vec<_>>())
}

fn one(objects: &[Counted]) -> Coverage {
    coverage(objects, &["pin"]).remove(&place(0, 0)).unwrap()
}

fn range(from: i64, to: i64) -> RangeSet {
    std::iter::once(Offset(from)..Offset(to)).collect()
}

fn printed<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(T::to_string).collect()
}

#[test]
fn history_begins_at_its_first_object_and_ends_at_the_first_hole() {
    let coverage = cover(&[(1500, 10), (700, 500), (200, 500)]);
    assert_eq!(
        (coverage.first(), coverage.end()),
        (Some(Offset(200)), Some(Offset(1510)))
    );
    assert_eq!(printed(&coverage.holes), ["gap pin/0 1200..1500"]);
    assert_eq!(coverage.contiguous_end(&RangeSet::default()), Some(Offset(1200)));
    assert_eq!(coverage.contiguous_end(&range(1200, 1400)), Some(Offset(1400)));
    assert_eq!(coverage.contiguous_end(&range(1100, 1500)), Some(Offset(1510)));
}

#[test]
fn an_object_that_does_not_meet_the_next_is_inexact() {
    let coverage = cover(&[(0, 100), (100, 50), (200, 100)]);
    assert_eq!(
        coverage.inexact,
        [Inexact {
            object: 1,
            from: Offset(100),
            to: Offset(200)
        }]
    );
    assert_eq!(printed(&coverage.holes), ["gap pin/0 150..200"]);
    assert!(coverage.conflicts.is_empty());
    let rounded = [99, 100, 101, 150, 199, 200, 250].map(|offset| coverage.frontier_at_or_below(Offset(offset)));
    assert_eq!(
        rounded,
        [
            Offset(99),
            Offset(100),
            Offset(100),
            Offset(100),
            Offset(100),
            Offset(200),
            Offset(250)
        ]
    );
}

#[test]
fn a_writer_that_says_what_it_covers_is_believed() {
    let covering = |covers| Counted {
        covers: Some(covers),
        ..counted(0, 0, 90)
    };
    let coverage = one(&[covering(Offset::range(0..100)), counted(1, 100, 10)]);
    assert!(coverage.holes.is_empty() && coverage.inexact.is_empty(), "{coverage:?}");
    assert_eq!(coverage.contiguous_end(&RangeSet::default()), Some(Offset(110)));
}

#[test]
fn a_frontier_may_lie_where_the_next_object_begins() {
    // what our writer covers begins within the object before it, its first record behind that
    let ours = Counted {
        covers: Some(Offset::range(5..9)),
        ..counted(1, 7, 2)
    };
    let coverage = one(&[counted(0, 0, 7), ours, counted(2, 20, 1)]);
    let inexact = Inexact {
        object: 0,
        from: Offset(0),
        to: Offset(7),
    };
    assert_eq!(coverage.inexact, [inexact]);
}

#[test]
fn what_nothing_proves_is_exact_on_trust() {
    let unproved = |objects: &[Counted]| -> Vec<(u32, Offset, Offset)> {
        let of = |object: &Inexact| (object.object, object.from, object.to);
        one(objects).unproved.iter().map(of).collect()
    };
    let ours = |object, range: std::ops::Range<i64>| Counted {
        covers: Some(Offset::range(range.clone())),
        ..counted(object, range.start, (range.end - range.start) as u64)
    };
    // the last object of a partition
    assert_eq!(
        unproved(&[counted(0, 0, 10), counted(1, 10, 5)]),
        [(1, Offset(10), Offset(15))]
    );
    assert_eq!(
        unproved(&[counted(0, 0, 10), ours(1, 10..15)]),
        [(0, Offset(0), Offset(10))]
    );
    // our own says what it covers, and of one line the offset is the name
    assert!(unproved(&[counted(0, 0, 10), counted(1, 10, 1)]).is_empty());
    assert!(unproved(&[ours(0, 0..10)]).is_empty());
    // an inexact object is no trusted one
    let coverage = one(&[counted(0, 0, 10), counted(1, 12, 1)]);
    assert_eq!((coverage.inexact.len(), coverage.unproved.len()), (1, 0));
}

#[test]
fn recut_files_overlap_without_harm() {
    // 100..200 was written, then again in two parts under another folder.
    let coverage = cover(&[(0, 100), (100, 100), (100, 50), (150, 50), (200, 1)]);
    assert!(coverage.holes.is_empty() && coverage.conflicts.is_empty() && coverage.inexact.is_empty());
    assert_eq!(coverage.overlaps, range(100, 200));
    // Cut elsewhere: the old file ends where nothing starts, but exact files hold all of it.
    let coverage = cover(&[(0, 100), (100, 90), (100, 50), (150, 150), (300, 1)]);
    assert_eq!(coverage.inexact.len(), 1);
    assert!(coverage.holes.is_empty() && coverage.conflicts.is_empty());
}

#[test]
fn interleaving_time_partitions_have_no_order() {
    // hour=1 holds 0, 2, 4 and hour=2 holds 1, 3, 5; then 6 comes.
    let coverage = cover(&[(0, 3), (1, 3), (6, 2)]);
    assert_eq!(printed(&coverage.conflicts), ["order pin/0 0..6"]);
    assert_eq!(printed(&coverage.holes), ["gap pin/0 4..6"]);
    assert_eq!(coverage.frontier_at_or_below(Offset(5)), Offset(0));
}

#[test]
fn however_many_objects_interleave_it_is_one_conflict() {
    let coverage = cover(&[(0, 3), (1, 3), (2, 3), (9, 2)]);
    assert_eq!(printed(&coverage.conflicts), ["order pin/0 0..9"]);
    // two of them, and later two others
    let coverage = cover(&[(0, 3), (1, 3), (6, 4), (7, 4), (20, 1)]);
    assert_eq!(printed(&coverage.conflicts), ["order pin/0 0..6", "order pin/0 6..20"]);
    // of which the second ends first
    let coverage = cover(&[(0, 9), (1, 3), (5, 2), (20, 1)]);
    assert_eq!(printed(&coverage.conflicts), ["order pin/0 0..20"]);
}

#[test]
fn what_an_object_showed_is_counted_where_it_stands_in_the_log() {
    let object = |topic, place| Object {
        key: "topics/pin/partition=3/pin+3+0000000007.json".to_owned(),
        size: 1,
        etag: None,
        topic,
        place,
        encoding: Encoding::Plain,
        deletes: false,
        sidecar: false,
    };
    let log = Place::Log {
        partition: Partition(3),
        start: Offset(7),
    };
    let covers = Some(Offset::range(5..9));
    let expected = Counted {
        topic: 2,
        partition: Partition(3),
        start: Offset(7),
        lines: 2,
        covers: covers.clone(),
        object: 4,
    };
    assert_eq!(expected.at(), place(2, 3));
    assert_eq!(Counted::of(&object(Some(2), log), 4, 2, covers), Some(expected));
    assert_eq!(Counted::of(&object(Some(2), Place::Legacy), 4, 2, None), None);
}

#[test]
fn empty_objects_cover_nothing() {
    let coverage = cover(&[(5, 0)]);
    assert_eq!(
        (
            coverage.first(),
            coverage.end(),
            coverage.contiguous_end(&RangeSet::default())
        ),
        (None, None, None)
    );
    let coverage = cover(&[(5, 0), (10, 2)]);
    assert_eq!(coverage.first(), Some(Offset(10)));
    assert!(coverage.holes.is_empty() && coverage.inexact.is_empty());
}

#[test]
fn partitions_and_topics_are_kept_apart() {
    let at = |topic, partition, start| Counted {
        topic,
        partition,
        ..counted(0, start, 10)
    };
    let objects = [
        at(0, Partition(0), 0),
        at(0, Partition(1), 10),
        at(1, Partition(0), 20),
        at(0, Partition(0), 15),
    ];
    let coverage = coverage(&objects, &["pin", "geo"]);
    assert_eq!(
        coverage.keys().copied().collect::<Vec<_>>(),
        [place(0, 0), place(0, 1), place(1, 0)]
    );
    assert!(coverage.iter().all(|(at, of)| at.partition == of.partition));
    assert_eq!(printed(&coverage[&place(0, 0)].holes), ["gap pin/0 10..15"]);
    assert_eq!(
        (coverage[&place(1, 0)].topic.as_str(), coverage[&place(1, 0)].first()),
        ("geo", Some(Offset(20)))
    );
    let mut gaps = vec![
        Gap::new("user", Partition(0), Offset::range(0..1)),
        Gap::new("pin", Partition(10), Offset::range(0..1)),
        Gap::new("pin", Partition(2), Offset::range(7..8)),
        Gap::new("pin", Partition(2), Offset::range(0..9)),
    ];
    gaps.sort();
    assert_eq!(
        printed(&gaps),
        ["gap pin/2 0..9", "gap pin/2 7..8", "gap pin/10 0..1", "gap user/0 0..1"]
    );
}

#[test]
fn an_accepted_gap_that_grows_stops_again() {
    let gap = |from, to| Gap::new("a.b-c", Partition(3), from..to);
    let flag: AcceptGap = "a.b-c/3:1200..1500".parse().unwrap();
    assert_eq!(
        (flag.clone(), flag.to_string()),
        (
            AcceptGap::One(gap(Offset(1200), Offset(1500))),
            "a.b-c/3:1200..1500".to_string()
        )
    );
    let flags = [flag];
    let accepted = Accepted::new(&flags, &[]);
    assert!(accepted.covers(&gap(Offset(1200), Offset(1500))) && accepted.covers(&gap(Offset(1300), Offset(1400))));
    assert!(!accepted.covers(&gap(Offset(1200), Offset(1501))) && !accepted.covers(&gap(Offset(1199), Offset(1500))));
    assert!(!accepted.covers(&Gap {
        partition: Partition(2),
        ..gap(Offset(1200), Offset(1500))
    }));
    // Accepted in two steps is accepted.
    let recorded = [gap(Offset(1500), Offset(1600))];
    assert!(Accepted::new(&flags, &recorded).covers(&gap(Offset(1200), Offset(1600))));
    // `all` holds for this start; what it met is recorded and holds no further.
    assert!(Accepted::new(&[AcceptGap::All], &[]).covers(&gap(Offset(0), Offset::MAX)));
    assert!(!Accepted::new(&[], &recorded).covers(&gap(Offset(1500), Offset(1700))));
}

#[test]
fn texts_that_accept_no_gap_say_why() {
    let why = |text: &str| text.parse::<AcceptGap>().unwrap_err().to_string();
    for text in [
        "",
        "pin",
        "pin:1..2",
        "pin/x:1..2",
        "pin/-1:1..2",
        "pin/0:1-2",
        "pin/0:2..2",
        "pin/0:-1..2",
        "/0:1..2",
    ] {
        let why = why(text);
        assert!(
            why.starts_with(&format!("invalid gap `{text}`: ")) && why.contains("pin/0:1200..1500"),
            "{why}"
        );
    }
    assert_eq!("all".parse(), Ok(AcceptGap::All));
    assert_eq!(AcceptGap::All.to_string(), "all");
}

#[test]
fn the_legacy_digest_sees_names_counts_and_contents_and_no_order() {
    fn digest(objects: &[(&str, u64, u64)]) -> LegacyDigest {
        legacy_digest(objects.iter().map(|(key, records, digest)| LegacyObject {
            key,
            records: *records,
            digest: *digest,
        }))
    }
    let base = digest(&[("a", 1, 7), ("b", 2, 8)]);
    assert_eq!((base.objects, base.records), (2, 3));
    assert_eq!(digest(&[("b", 2, 8), ("a", 1, 7)]), base);
    let others = [
        vec![("a", 2, 7), ("b", 1, 8)],
        vec![("a", 1, 7), ("c", 2, 8)],
        vec![("a", 1, 7)],
        vec![("ab", 1, 7), ("", 2, 8)],
        vec![("a", 1, 8), ("b", 2, 7)],
        vec![("a", 1, 7), ("b", 2, 9)],
    ];
    for other in others {
        assert_ne!(digest(&other).hash, base.hash, "{other:?}");
    }
    assert_eq!(digest(&[]), LegacyDigest::default());
}

#[test]
fn ranges_travel_as_pairs() {
    let set = RangeSet::from_iter([5..7, 1..3].map(Offset::range));
    let json = serde_json::to_string(&set).unwrap();
    assert_eq!(json, "[[1,3],[5,7]]");
    assert_eq!(serde_json::from_str::<RangeSet>(&json).unwrap(), set);
}

#[test]
fn a_range_holds_its_first_offset_and_not_its_end() {
    let mut set = RangeSet::from_iter([2..5, 7..9].map(Offset::range));
    assert!(!set.is_empty() && RangeSet::default().is_empty());
    let (first, last) = (Some(Offset::range(2..5)), Some(Offset::range(7..9)));
    let around = [1, 2, 4, 5, 7, 9].map(|offset| set.around(Offset(offset)));
    assert_eq!(around, [None, first.clone(), first.clone(), None, last.clone(), None]);
    let ends = [1, 2, 5, 6, 9, 10].map(|offset| set.end_of(Offset(offset)).map(|end| end.0));
    assert_eq!(ends, [None, Some(5), Some(5), None, Some(9), None]);
    assert!(set.covers(Offset::range(2..5)) && !set.covers(Offset::range(2..6)));
    assert!(set.covers(Offset::range(5..5)) && !set.covers(Offset::range(5..6)));
    // the last ranges are kept
    set.keep_last(2);
    assert_eq!(set.iter().count(), 2);
    set.keep_last(1);
    assert_eq!(set.iter().next(), last);
    set.keep_last(0);
    assert!(set.is_empty());
}

fn naive(ranges: &[(i64, u64)]) -> BTreeSet<Offset> {
    let each = |(from, length): &(i64, u64)| Offset::each(Offset(*from)..Offset(*from).plus(*length));
    ranges.iter().flat_map(each).collect()
}

proptest! {
    #[test]
    fn a_range_set_is_a_set(
        ranges in prop::collection::vec((0i64..60, 0u64..12), 0..12),
        from in 0i64..70,
        length in 0u64..30,
    ) {
        let set: RangeSet = ranges.iter().map(|(from, length)| Offset(*from)..Offset(*from).plus(*length)).collect();
        let offsets = naive(&ranges);
        let listed: Vec<Offset> = set.iter().flat_map(Offset::each).collect();
        prop_assert_eq!(&listed, &offsets.iter().copied().collect::<Vec<_>>());
        prop_assert!(set.holes().all(|hole| !hole.is_empty()), "ranges that touch have melted");
        prop_assert_eq!(set.count(), offsets.len() as u64);
        let range = Offset(from)..Offset(from).plus(length);
        let within: Vec<Offset> = set.within(range.clone()).into_iter().flat_map(Offset::each).collect();
        let gaps = set.missing(range.clone());
        prop_assert!(gaps.iter().all(|gap| !gap.is_empty()), "{:?}", gaps);
        let missing: Vec<Offset> = gaps.into_iter().flat_map(Offset::each).collect();
        prop_assert_eq!(within, Offset::each(range.clone()).filter(|o| offsets.contains(o)).collect::<Vec<_>>());
        prop_assert_eq!(&missing, &Offset::each(range.clone()).filter(|o| !offsets.contains(o)).collect::<Vec<_>>());
        prop_assert_eq!(set.covers(range), missing.is_empty());
        prop_assert_eq!(set.contains(Offset(from)), offsets.contains(&Offset(from)));
        let mut outside = Offset::each(Offset(from)..Offset::MAX).filter(|o| !offsets.contains(o));
        prop_assert_eq!(Some(set.nth_missing(Offset(from), length)), outside.nth(length as usize));
        let other: RangeSet = [Offset(from)..Offset(from).plus(length)].into_iter().collect();
        let rest: Vec<Offset> = set.without(&other).iter().flat_map(Offset::each).collect();
        prop_assert_eq!(rest, listed.into_iter().filter(|o| !other.contains(*o)).collect::<Vec<_>>());
    }

    #[test]
    fn coverage_counts_every_offset_once(objects in prop::collection::vec((0i64..80, 0u64..12), 1..12)) {
        let coverage = cover(&objects);
        let each = |(start, lines): &(i64, u64)| Offset::each(Offset(*start)..Offset(*start).plus(*lines));
        let held: Vec<Offset> = objects.iter().flat_map(each).collect();
        let offsets: BTreeSet<Offset> = held.iter().copied().collect();
        let covered: BTreeSet<Offset> = coverage.ranges.iter().flat_map(Offset::each).collect();
        prop_assert_eq!(&covered, &offsets);
        let twice = offsets.iter().filter(|o| held.iter().filter(|h| h == o).count() > 1).copied();
        prop_assert_eq!(coverage.overlaps.iter().flat_map(Offset::each).collect::<Vec<_>>(), twice.collect::<Vec<_>>());
        let holes: Vec<Offset> = coverage.holes.iter().flat_map(|hole| Offset::each(hole.from..hole.to)).collect();
        match (offsets.first(), offsets.last()) {
            (Some(first), Some(last)) => {
                let missing: Vec<Offset> = Offset::each(*first..*last).filter(|o| !offsets.contains(o)).collect();
                prop_assert_eq!(&holes, &missing);
                let end = coverage.contiguous_end(&RangeSet::default());
                prop_assert_eq!(end, Some(missing.first().copied().unwrap_or(last.next())));
                let filled: RangeSet = coverage.holes.iter().map(|hole| hole.from..hole.to).collect();
                prop_assert_eq!(coverage.contiguous_end(&filled), coverage.end());
            }
            _ => prop_assert!(holes.is_empty()),
        }
        // A frontier never lies inside an inexact object, and rounding moves no further than it must.
        for offset in Offset::each(Offset::range(0..100)) {
            let at = coverage.frontier_at_or_below(offset);
            let barred = |o: Offset| {
                let inside = |from: Offset, to: Offset| from < o && o < to;
                coverage.inexact.iter().any(|i| inside(i.from, i.to))
                    || coverage.conflicts.iter().any(|c| inside(c.from, c.to))
            };
            prop_assert!(!barred(at), "{offset} became {at}");
            prop_assert!(Offset::each(at.next()..offset.next()).all(barred), "{offset} became {at}");
        }
        // The order in which objects are counted says nothing.
        let mut numbered: Vec<Counted> =
            objects.iter().zip(0..).map(|((start, lines), n)| counted(n, *start, *lines)).collect();
        numbered.reverse();
        prop_assert_eq!(one(&numbered), coverage);
    }

    /// Objects cut from one log: whatever is lost is found, and nothing else.
    #[test]
    fn a_lost_object_is_a_hole(cuts in prop::collection::vec(1u64..9, 3..10), lost in any::<prop::sample::Index>()) {
        let mut start = 7;
        let mut objects = Vec::new();
        for lines in &cuts {
            objects.push((start, *lines));
            start += *lines as i64;
        }
        prop_assert!(cover(&objects).inexact.is_empty() && cover(&objects).holes.is_empty());
        let (from, lines) = objects.remove(1 + lost.index(cuts.len() - 2));
        let coverage = cover(&objects);
        prop_assert_eq!(coverage.holes, vec![Gap::new("pin", Partition(0), Offset(from)..Offset(from).plus(lines))]);
        prop_assert_eq!(coverage.inexact.len(), 1);
    }
}

#[test]
fn ranges_are_written_and_read_back() {
    let set: RangeSet = [16..20, 151..152].map(Offset::range).into_iter().collect();
    assert_eq!(set.to_string(), "16..20 151..152");
    assert_eq!(set.to_string().parse(), Ok(set));
    assert_eq!("".parse(), Ok(RangeSet::default()));
    assert!("16..".parse::<RangeSet>().is_err());
}
