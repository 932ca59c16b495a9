use super::plan::merged_key;
use super::*;
use crate::archive::cutter::Piece;
use crate::archive::layout::{Layout, Partitioner};
use crate::archive::writer::Writer;
use crate::lake::{LakeOptions, Original, original};
use std::ops::Range;
use values::Offset;

#[test]
fn merged_names_stand_for_the_same_start() {
    let key = merged_key("t/pin/partition=0/pin+0+0000000007.json.gz", Offset(7), Encoding::Plain);
    assert_eq!(key, "t/pin/partition=0/pin+0+000000000007.json");
    let again = merged_key(&key, Offset(7), Encoding::Gzip);
    assert_eq!(again, "t/pin/partition=0/pin+0+0000000000007.json.gz");
}

async fn lake(root: &std::path::Path, pieces: &[(i64, u64, Range<i64>)]) -> Lake {
    let url = format!("file://{}", root.display()).parse().unwrap();
    let lake = Lake::open(url, LakeOptions::default()).await.unwrap();
    let writer = Writer {
        lake: lake.clone(),
        layout: Layout {
            topics_dir: String::new(),
            partitioner: Partitioner::Default,
            encoding: Encoding::Plain,
        },
        part_bytes: 1 << 20,
    };
    for (start, count, covers) in pieces {
        let lines = (*start..*start + *count as i64).flat_map(|offset| format!("{offset}\n").into_bytes());
        let piece = Piece {
            folder: "partition=0".into(),
            start: Offset(*start),
            count: *count,
            covers: Offset::range(covers.clone()),
            content: lines.collect(),
            letters: Vec::new(),
        };
        writer.store("pin", Partition(0), piece).await.unwrap();
    }
    lake
}

fn options(keep: u64) -> CompactOptions {
    CompactOptions {
        topics: vec!["pin".into()],
        target_bytes: 1 << 20,
        encoding: Encoding::Plain,
        part_bytes: 1 << 20,
        keep: Duration::from_secs(keep),
    }
}

fn names(root: &std::path::Path) -> Vec<String> {
    let names = std::fs::read_dir(root.join("pin/partition=0")).unwrap();
    let mut names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.retain(|name| !name.ends_with(".meta.json"));
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_end_at_holes_and_what_is_replaced_goes_when_it_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let pieces = [
        (0, 1, 0..1),
        (1, 2, 1..3),
        (3, 1, 3..6),
        (6, 1, 6..7),
        (7, 1, 7..8),
        (9, 0, 9..10),
    ];
    let lake = lake(folder.path(), &pieces).await;
    let kept = compact(&lake, &options(3600)).await.unwrap();
    assert_eq!(
        (kept.written, kept.merged, kept.records, kept.removed, kept.waiting),
        (2, 5, 6, 0, 5)
    );
    assert_eq!(names(folder.path()).len(), 8);
    let again = compact(&lake, &options(3600)).await.unwrap();
    assert_eq!((again.written, again.removed, again.waiting), (0, 0, 5));
    let done = compact(&lake, &options(0)).await.unwrap();
    assert_eq!((done.written, done.removed, done.waiting), (0, 5, 0));
    assert_eq!(
        names(folder.path()),
        [
            "pin+0+000000000000.json",
            "pin+0+000000000006.json",
            "pin+0+0000000009.json"
        ]
    );
    let merged = std::fs::read_to_string(folder.path().join("pin/partition=0/pin+0+000000000000.json")).unwrap();
    assert_eq!(merged, "0\n1\n2\n3\n");
    let metadata = lake
        .look_at("pin/partition=0/pin+0+000000000000.json")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((metadata.covers, metadata.count), (Some(Offset::range(0..6)), Some(4)));
    assert_eq!(compact(&lake, &options(0)).await.unwrap(), Compacted::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_writer_wrote_means_the_same_when_it_is_merged() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path(), &[(2, 1, 2..3), (3, 1, 3..4)]).await;
    // a producer's own record, which looks like one that we have wrapped
    let theirs = b"{\"__pinflow_raw\":\"{}\"}";
    for start in [0, 1] {
        let key = format!("pin/partition=0/pin+0+{start:010}.json");
        let content = [&theirs[..], b"\n"].concat();
        lake.put(&key, content, BTreeMap::new()).await.unwrap();
    }
    let kept = compact(&lake, &options(3600)).await.unwrap();
    assert_eq!((kept.written, kept.merged, kept.left), (1, 4, 0));
    let merged = "pin/partition=0/pin+0+000000000000.json";
    assert!(lake.look_at(merged).await.unwrap().unwrap().is_ours());
    let content = std::fs::read(folder.path().join(merged)).unwrap();
    let lines: Vec<&[u8]> = content.split(|byte| *byte == b'\n').collect();
    for line in &lines[..2] {
        assert_eq!(original(line), Some(Original::Value(theirs.to_vec())));
    }
    assert_eq!(lines[2..], [&b"2"[..], b"3", b""]);
    // what is replaced is compared as what it means
    let done = compact(&lake, &options(0)).await.unwrap();
    assert_eq!((done.removed, done.left), (4, 0));
    assert_eq!(names(folder.path()), ["pin+0+000000000000.json"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_from_the_larger_object_stays() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path(), &[(0, 1, 0..1), (1, 1, 1..2)]).await;
    compact(&lake, &options(3600)).await.unwrap();
    let key = "pin/partition=0/pin+0+0000000001.json";
    lake.put(key, b"other\n".to_vec(), BTreeMap::new()).await.unwrap();
    let done = compact(&lake, &options(0)).await.unwrap();
    assert_eq!((done.removed, done.left), (1, 1));
    assert_eq!(
        names(folder.path()),
        ["pin+0+000000000000.json", "pin+0+0000000001.json"]
    );
}

/// Objects of another writer, one line an offset, which say nothing of themselves.
async fn foreign(lake: &Lake, objects: &[(i64, i64)]) {
    for (start, lines) in objects {
        let key = format!("pin/partition=0/pin+0+{start:010}.json");
        let content = (*start..start + lines).flat_map(|offset| format!("{offset}\n").into_bytes());
        lake.put(&key, content.collect(), BTreeMap::new()).await.unwrap();
    }
}

/// Parts are removed many at a time: a run that is killed leaves any of them, and those have lost the neighbours that
/// had proved them exact.
#[tokio::test(flavor = "multi_thread")]
async fn parts_that_a_killed_run_has_left_go_whichever_they_are() {
    for left in 0..16u32 {
        let folder = tempfile::tempdir().unwrap();
        let lake = lake(folder.path(), &[]).await;
        let parts = [(0, 2), (2, 2), (4, 2), (6, 1)];
        foreign(&lake, &parts).await;
        let kept = compact(&lake, &options(3600)).await.unwrap();
        assert_eq!((kept.written, kept.merged, kept.waiting), (1, 4, 4));
        for (n, (start, _)) in parts.iter().enumerate().filter(|(n, _)| left & 1 << n == 0) {
            let key = format!("pin/partition=0/pin+0+{start:010}.json");
            lake.delete(&key).await.unwrap_or_else(|error| panic!("{n}: {error}"));
        }
        let done = compact(&lake, &options(0)).await.unwrap();
        assert_eq!(
            (done.removed, done.left),
            (u64::from(left.count_ones()), 0),
            "{left:04b}"
        );
        assert_eq!(names(folder.path()), ["pin+0+000000000000.json"], "{left:04b}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_nothing_proves_exact_is_not_merged() {
    let folder = tempfile::tempdir().unwrap();
    // our own archiver continues where history seems to end, which proves nothing either
    let lake = lake(folder.path(), &[(6, 1, 6..7), (7, 1, 7..8)]).await;
    foreign(&lake, &[(0, 2), (2, 2), (4, 2)]).await;
    let done = compact(&lake, &options(0)).await.unwrap();
    assert_eq!((done.written, done.merged, done.left), (2, 4, 1));
    assert_eq!(
        names(folder.path()),
        [
            "pin+0+000000000000.json",
            "pin+0+000000000006.json",
            "pin+0+0000000004.json"
        ]
    );
    let merged = lake.look_at("pin/partition=0/pin+0+000000000000.json").await.unwrap();
    assert_eq!(merged.unwrap().covers, Some(Offset::range(0..4)));
}

/// The merged object has no more lines than its first part, only more of the log behind them.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_and_the_hole_behind_it_go_with_a_later_run() {
    let folder = tempfile::tempdir().unwrap();
    let lake = lake(folder.path(), &[(0, 1, 0..1), (1, 0, 1..3)]).await;
    let kept = compact(&lake, &options(3600)).await.unwrap();
    assert_eq!((kept.written, kept.merged, kept.waiting), (1, 2, 2));
    let done = compact(&lake, &options(0)).await.unwrap();
    assert_eq!((done.removed, done.waiting, done.left), (2, 0, 0));
    assert_eq!(names(folder.path()), ["pin+0+000000000000.json"]);
}
