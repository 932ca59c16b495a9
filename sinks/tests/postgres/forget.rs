//! What a run leaves behind of topics and objects that it does not read any more, and of cleaned tables that are not
//! kept.

use crate::cluster::{run, schema, shared};
use crate::history::stage;
use crate::proxy::Proxy;
use crate::tables::{OTHERS, THINGS, definition, empty_full_snapshot, open, open_as, progress, registers, settling};
use sinks::{
    AcceptedGap, Claim, CleanedRow, Generation, Legacy, Progress, Reader, Reject, RejectPlace, SinkError, StageBatch,
    Step,
};
use std::sync::atomic::Ordering;
use values::{Ind, Offset, Partition, Position, Row, Value};

fn cleaned(table: u8, ind: i64, delete: bool) -> CleanedRow {
    let row: Row = match table {
        0 => vec![
            Value::Int(ind),
            "a".into(),
            "b".into(),
            Value::Null,
            Value::Null,
            Value::Null,
        ],
        _ => vec![Value::Int(ind), "text".into()],
    };
    CleanedRow {
        table,
        ind: Ind(ind),
        position: Position::new(1, Offset(ind), Partition(0)).unwrap(),
        row: (!delete).then_some(row),
    }
}

fn reject(topic: &str) -> Reject {
    let place = RejectPlace::Log {
        partition: 0,
        offset: 1,
        object: None,
    };
    Reject {
        topic: topic.into(),
        place,
        reason: "not_json".into(),
        key: None,
        value: None,
    }
}

/// Progress of topics `pin` and `geo`, with everything that is recorded of a topic.
fn of_both() -> Progress {
    let generation = |topic: &str| Generation {
        topic: topic.into(),
        generation: 2,
        partition: 0,
        start: 9,
    };
    let gap = |topic: &str, partition| AcceptedGap {
        topic: topic.into(),
        partition,
        from: 1,
        to: 2,
        reason: "lost".into(),
        object: None,
    };
    Progress {
        topics: [("pin".into(), "pin".into()), ("geo".into(), "geo".into())].into(),
        partition_counts: [("pin".into(), 1), ("geo".into(), 4)].into(),
        generations: [generation("geo"), generation("pin")].into(),
        gaps: [gap("geo", 3), gap("pin", 0)].into(),
        ..progress(50)
    }
}

#[test]
fn topics_left_out_are_forgotten_with_their_rows() {
    let Some(cluster) = shared() else { return };
    run(async {
        let proxy = Proxy::start(cluster.port).await;
        let direct = cluster.config(&schema());
        let mut config = direct.clone();
        config.url = cluster.url_at(proxy.port);
        let client = cluster.client().await;
        let mut sink = open(&config).await;
        let step = Step {
            cleaned: vec![cleaned(0, 1, false), cleaned(1, 1, false), cleaned(1, 2, true)],
            rejects: vec![reject("pin"), reject("geo")],
            progress: of_both(),
            ..empty_full_snapshot(0)
        };
        sink.commit(&step).await.unwrap();
        let before = sink.progress().clone();

        // the next run reads `pin` alone, the kind of table 0; the answer to its first commit is lost
        let mut sink = open(&config).await;
        sink.create_staging().await.unwrap();
        let batch = StageBatch {
            cleaned: vec![cleaned(0, 1, false)],
            rejects: vec![reject("pin")],
        };
        let rows = stage(&config, sink.fence().unwrap(), vec![batch]).await.unwrap();
        let mut of_pin = of_both();
        of_pin.topics.remove("geo");
        of_pin.partitions.remove(&("geo".to_owned(), 3));
        of_pin.gaps = of_pin.gaps.iter().filter(|gap| gap.topic == "pin").cloned().collect();
        let step = Step {
            staged: Some(settling(rows, true)),
            reject_topics: vec!["pin".into()],
            forget_topics: vec!["geo".into()],
            progress: of_pin.clone(),
            ..empty_full_snapshot(0)
        };
        proxy.forward_first.store(true, Ordering::Relaxed);
        proxy.cuts.store(1, Ordering::Relaxed);
        let committed = sink.commit(&step).await.unwrap();
        assert!(committed.resolved, "{committed:?}");
        let stored = Reader::connect(&direct).await.unwrap().progress().await.unwrap();
        assert_eq!(&stored, sink.progress());
        let expected = Progress {
            fence: 2,
            commits: 2,
            partitions: of_pin.partitions.clone(),
            topics: of_pin.topics.clone(),
            // generations, counts and gaps stay
            ..before
        };
        assert_eq!(stored, expected);
        assert_eq!(registers(&direct, &client, &THINGS).await.len(), 1);
        assert!(
            registers(&direct, &client, &OTHERS).await.is_empty(),
            "rows and tombstones"
        );
        let rejects = format!("SELECT count(*) FROM {}.rejects", direct.schema);
        assert_eq!(client.query_one(&rejects, &[]).await.unwrap().get::<_, i64>(0), 2);
        // live steps go on, and the topic may come back from its beginning
        sink.heartbeat(1).await.unwrap();
        let mut again = of_both();
        again.partitions.get_mut(&("geo".to_owned(), 3)).unwrap().next = 6;
        let step = Step {
            progress: again,
            ..empty_full_snapshot(0)
        };
        sink.commit(&step).await.unwrap();
    });
}

#[test]
fn forgetting_needs_a_step_that_takes_the_rows_along() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut sink = open(&config).await;
        sink.commit(&empty_full_snapshot(1)).await.unwrap();
        let mut without = progress(2);
        without.partitions.remove(&("geo".to_owned(), 3));
        let full = Step {
            staged: Some(settling(Default::default(), true)),
            forget_topics: vec!["geo".into()],
            progress: without.clone(),
            ..empty_full_snapshot(0)
        };
        let live = Step {
            forget_topics: vec!["geo".into()],
            progress: without,
            ..Step::default()
        };
        let named = Step {
            progress: progress(2),
            ..full.clone()
        };
        let on_top = Step {
            staged: Some(settling(Default::default(), false)),
            ..full.clone()
        };
        let unstaged = Step { staged: None, ..full };
        for step in [live, named, on_top, unstaged] {
            assert!(matches!(sink.commit(&step).await, Err(SinkError::Order(_))), "{step:?}");
        }
        assert_eq!(sink.read_progress().await.unwrap().partitions.len(), 2);
    });
}

#[test]
fn skipped_objects_stay_until_a_run_of_their_topic_reads_them() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let object = |topic: &str, key: &str| AcceptedGap::of_object(topic, key, "unreadable");
        let gaps = [
            object("geo", "geo/a.json"),
            object("pin", "pin/a.json"),
            object("pin", "pin/b.json"),
        ];
        let mut sink = open(&config).await;
        let first = Step {
            progress: Progress {
                gaps: gaps.clone().into(),
                ..of_both()
            },
            ..empty_full_snapshot(0)
        };
        sink.commit(&first).await.unwrap();
        let stored = sink.read_progress().await.unwrap();
        assert_eq!(&stored, sink.progress());
        assert!(gaps.iter().all(|gap| stored.gaps.contains(gap)), "{:?}", stored.gaps);
        // a run without `geo` finds one of its two objects readable again
        let mut second = first.clone();
        second.progress.topics.remove("geo");
        second.progress.gaps = [gaps[2].clone()].into();
        sink.commit(&second).await.unwrap();
        let stored = sink.read_progress().await.unwrap();
        assert_eq!(&stored, sink.progress());
        let keys: Vec<_> = stored.gaps.iter().filter_map(|gap| gap.object.as_deref()).collect();
        assert_eq!(keys, ["geo/a.json", "pin/b.json"]);
        // a live step looks at nothing
        let live = Step {
            full_snapshot: false,
            results: vec![],
            progress: of_both(),
            ..second
        };
        sink.commit(&live).await.unwrap();
        assert_eq!(sink.read_progress().await.unwrap().gaps.len(), 4);
    });
}

#[test]
fn emptied_cleaned_tables_cover_nothing() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let legacy = Legacy { count: 5, hash: 77 };
        let mut recorded = of_both();
        (recorded.legacy, recorded.cleaned_legacy) = (legacy, Some(legacy));
        let mut sink = open(&config).await;
        let step = Step {
            progress: recorded.clone(),
            ..empty_full_snapshot(0)
        };
        sink.commit(&step).await.unwrap();
        assert_eq!(sink.read_progress().await.unwrap().cleaned_legacy, Some(legacy));
        let mut off = definition();
        off.keep_cleaned = false;
        let mut sink = open_as(&config, Claim::Run, &off).await;
        // of one partition alone, whatever it says
        recorded.partitions.remove(&("pin".to_owned(), 0));
        let step = Step {
            progress: recorded.clone(),
            ..empty_full_snapshot(0)
        };
        sink.commit(&step).await.unwrap();
        let stored = sink.read_progress().await.unwrap();
        assert_eq!(&stored, sink.progress());
        assert_eq!((stored.legacy, stored.cleaned_legacy), (legacy, None));
        assert_eq!(stored.partitions.len(), 2);
        assert!(
            stored
                .partitions
                .values()
                .all(|partition| partition.cleaned_next.is_none())
        );
        // and live
        let live = Step {
            full_snapshot: false,
            results: vec![],
            ..step
        };
        sink.commit(&live).await.unwrap();
        assert_eq!(&sink.read_progress().await.unwrap(), sink.progress());
        assert_eq!(sink.progress().cleaned_legacy, None);
    });
}
