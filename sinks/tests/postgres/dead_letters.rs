//! Dead letters: kept once, and which of them go when history is settled.

use crate::cluster::{Cluster, run, schema, shared};
use crate::history::stage;
use crate::tables::{empty_full_snapshot, open, progress, settling};
use sinks::{PostgresConfig, Reject, RejectLimits, RejectPlace, Sink, StageBatch, StagedHistory, Step, UNKNOWN_TOPIC};
use std::ops::Range;

fn reject(offset: i64, object: Option<&str>) -> Reject {
    Reject {
        topic: "pin".into(),
        place: RejectPlace::Log {
            partition: 2,
            offset,
            object: object.map(Into::into),
        },
        reason: "not_json".into(),
        key: None,
        value: Some(vec![0, 255, b'x']),
    }
}

fn legacy_reject(index: i64) -> Reject {
    let place = RejectPlace::Object {
        object: "events/a.json".into(),
        index,
    };
    Reject {
        topic: "pin".into(),
        place,
        reason: "no_key".into(),
        key: Some(vec![7]),
        value: None,
    }
}

async fn all(
    client: &tokio_postgres::Client,
    schema: &str,
) -> Vec<(String, i64, Option<i64>, String, Option<Vec<u8>>)> {
    let sql = format!("SELECT source, position, \"offset\", reason, value FROM {schema}.rejects ORDER BY 1, 2");
    let rows = client.query(&sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)))
        .collect()
}

#[test]
fn dead_letters_are_kept_once_live_and_staged() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let client = cluster.client().await;
        let mut sink = open(&config).await;
        sink.create_staging().await.unwrap();
        let history = vec![
            reject(1, Some("o")),
            reject(1, None),
            legacy_reject(0),
            legacy_reject(1),
        ];
        let batch = StageBatch {
            cleaned: vec![],
            rejects: history,
        };
        let rows = stage(&config, sink.fence().unwrap(), vec![batch]).await.unwrap();
        assert_eq!(rows.rejects, 4);
        let staged = Some(settling(rows, true));
        sink.commit(&Step {
            staged,
            ..empty_full_snapshot(1)
        })
        .await
        .unwrap();
        let live = vec![reject(2, None), reject(1, None), reject(2, None)];
        sink.commit(&Step {
            epoch: 1,
            rejects: live,
            progress: progress(3),
            ..Step::default()
        })
        .await
        .unwrap();
        let value = Some(vec![0, 255, b'x']);
        let log = |offset: i64| ("pin/2".into(), offset, Some(offset), "not_json".into(), value.clone());
        let legacy = |index: i64| ("events/a.json".into(), index, None, "no_key".into(), None);
        assert_eq!(
            all(&client, &config.schema).await,
            [legacy(0), legacy(1), log(1), log(2)]
        );
        // a full reconcile drops what is no dead letter any more
        let mut sink = open(&config).await;
        sink.create_staging().await.unwrap();
        let batch = StageBatch {
            cleaned: vec![],
            rejects: vec![reject(2, None), legacy_reject(1)],
        };
        let rows = stage(&config, sink.fence().unwrap(), vec![batch]).await.unwrap();
        sink.commit(&Step {
            staged: Some(settling(rows, true)),
            reject_topics: vec!["pin".into()],
            ..empty_full_snapshot(3)
        })
        .await
        .unwrap();
        assert_eq!(all(&client, &config.schema).await, [legacy(1), log(2)]);
    });
}

fn of(topic: &str, partition: i32, offset: i64, object: Option<&str>, reason: &str) -> Reject {
    Reject {
        topic: topic.into(),
        place: RejectPlace::Log {
            partition,
            offset,
            object: object.map(Into::into),
        },
        reason: reason.into(),
        key: None,
        value: None,
    }
}

/// Settles `rejects` as a run of topic `pin` would; returns all that are then there as `source position reason`.
async fn settle(
    cluster: &Cluster,
    config: &PostgresConfig,
    rejects: Vec<Reject>,
    how: impl Fn(StagedHistory) -> StagedHistory,
) -> Vec<String> {
    let mut sink: Sink = open(config).await;
    sink.create_staging().await.unwrap();
    let batch = StageBatch {
        cleaned: vec![],
        rejects,
    };
    let rows = stage(config, sink.fence().unwrap(), vec![batch]).await.unwrap();
    let step = Step {
        staged: Some(how(settling(rows, false))),
        reject_topics: vec!["pin".into()],
        ..empty_full_snapshot(sink.progress().partitions.values().map(|p| p.next).max().unwrap_or(1) + 1)
    };
    sink.commit(&step).await.unwrap();
    all(&cluster.client().await, &config.schema)
        .await
        .into_iter()
        .map(|(source, position, _, reason, _)| format!("{source} {position} {reason}"))
        .collect()
}

fn unknown(object: &str) -> Reject {
    Reject {
        topic: UNKNOWN_TOPIC.into(),
        place: RejectPlace::Object {
            object: object.into(),
            index: 0,
        },
        reason: "no_key".into(),
        key: None,
        value: None,
    }
}

#[test]
fn a_full_reconcile_leaves_dead_letters_of_topics_that_it_does_not_read() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let first = vec![
            of("pin", 0, 1, None, "a"),
            of("pin", 0, 2, None, "a"),
            of("geo", 0, 1, None, "a"),
            unknown("x/1.json"),
            unknown("x/2.json"),
        ];
        settle(&cluster, &config, first, |staged| staged).await;
        let second = vec![of("pin", 0, 2, None, "b"), unknown("x/2.json")];
        let full = |staged| StagedHistory { full: true, ..staged };
        assert_eq!(
            settle(&cluster, &config, second, full).await,
            ["geo/0 1 a", "pin/0 2 b", "x/2.json 0 no_key"]
        );
    });
}

#[test]
fn an_object_read_again_under_other_offsets_rejects_no_record_twice() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let inexact = |offset, reason: &str| of("pin", 0, offset, Some("pin+0+10.json"), reason);
        let mut first: Vec<Reject> = (10..20).map(|offset| inexact(offset, "a")).collect();
        first.extend([9, 20, 30, 31].map(|offset| of("pin", 0, offset, None, "a")));
        first.extend([of("pin", 1, 15, None, "a"), of("geo", 0, 15, None, "a")]);
        settle(&cluster, &config, first, |staged| staged).await;
        // the same records elsewhere: three of them at offsets that others had
        let again = vec![inexact(12, "a"), inexact(14, "b"), inexact(18, "a"), inexact(25, "a")];
        // thousands of ranges, in no order and overlapping
        let ranges: Vec<(String, i32, Range<i64>)> = (0..5000)
            .rev()
            .map(|n| ("pin".to_owned(), 0, 1000 + n * 3..1002 + n * 3))
            .chain([
                ("pin".to_owned(), 0, 10..16),
                ("pin".to_owned(), 0, 12..20),
                ("pin".to_owned(), 0, 31..31),
            ])
            .collect();
        let replaced = |staged| StagedHistory {
            replaced_rejects: ranges.clone(),
            ..staged
        };
        assert_eq!(
            settle(&cluster, &config, again, replaced).await,
            [
                "geo/0 15 a",
                "pin/0 9 a",
                "pin/0 12 a",
                "pin/0 14 b",
                "pin/0 18 a",
                "pin/0 20 a",
                "pin/0 25 a",
                "pin/0 30 a",
                "pin/0 31 a",
                "pin/1 15 a"
            ]
        );
    });
}

#[test]
fn what_was_read_from_kafka_is_not_rejected_as_an_object_has_it() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let staged = |kafka: &str, lake: &str| {
            vec![
                of("pin", 0, 4, Some("o"), lake),
                of("pin", 0, 5, Some("o"), lake),
                of("pin", 0, 6, Some("o"), lake),
                of("pin", 0, 6, None, kafka),
                of("pin", 0, 8, None, kafka),
                of("pin", 0, 9, Some("o"), lake),
                of("pin", 1, 6, Some("o"), lake),
                unknown("pin/0"),
            ]
        };
        let from_kafka = |full| {
            move |staged| StagedHistory {
                full,
                from_kafka: vec![("pin".into(), 0, 5..9), ("pin".into(), 0, 0..2)],
                ..staged
            }
        };
        let expected = |kafka: &str, lake: &str| {
            [
                "pin/0 0 no_key".to_owned(),
                format!("pin/0 4 {lake}"),
                format!("pin/0 6 {kafka}"),
                format!("pin/0 8 {kafka}"),
                format!("pin/0 9 {lake}"),
                format!("pin/1 6 {lake}"),
            ]
        };
        assert_eq!(
            settle(&cluster, &config, staged("k", "l"), from_kafka(false)).await,
            expected("k", "l")
        );
        assert_eq!(
            settle(&cluster, &config, staged("kk", "ll"), from_kafka(true)).await,
            expected("kk", "ll")
        );
    });
}

/// `from..to` and rows of what was dropped, by partition.
async fn dropped(client: &tokio_postgres::Client, schema: &str) -> Vec<(i32, i64, i64, i64, i64)> {
    let columns = "partition, from_position, to_position, rows, bytes";
    let sql = format!("SELECT {columns} FROM {schema}.rejects_dropped ORDER BY 1");
    let rows = client.query(&sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4)))
        .collect()
}

#[test]
fn the_limits_hold_after_every_commit_and_what_was_dropped_stays_away() {
    let Some(cluster) = shared() else { return };
    run(async {
        let mut config = cluster.config(&schema());
        config.rejects = RejectLimits {
            record_bytes: 2,
            rows: 5,
            bytes: 1 << 20,
        };
        let client = cluster.client().await;
        let mut sink = open(&config).await;
        sink.commit(&empty_full_snapshot(1)).await.unwrap();
        let offsets = async |client: &tokio_postgres::Client| -> Vec<i64> {
            let found = all(client, &config.schema).await;
            assert!(found.iter().all(|row| row.4.as_deref() == Some(&[0, 255])), "{found:?}");
            found.into_iter().map(|row| row.1).collect()
        };
        let mut next = 1;
        let mut commit = async |sink: &mut Sink, offsets: Range<i64>| {
            next += 1;
            let step = Step {
                epoch: next as u64,
                rejects: offsets.map(|offset| reject(offset, None)).collect(),
                progress: progress(next),
                ..Step::default()
            };
            sink.commit(&step).await.unwrap().dropped_rejects
        };
        assert_eq!(commit(&mut sink, 10..13).await, 0);
        assert_eq!(commit(&mut sink, 13..15).await, 0);
        assert_eq!(offsets(&client).await, [10, 11, 12, 13, 14]);
        // sent again they are no more than they were
        assert_eq!(commit(&mut sink, 10..15).await, 0);
        assert_eq!(offsets(&client).await, [10, 11, 12, 13, 14]);
        assert_eq!(commit(&mut sink, 15..18).await, 3);
        assert_eq!(offsets(&client).await, [13, 14, 15, 16, 17]);
        assert_eq!(dropped(&client, &config.schema).await, [(2, 10, 13, 3, 6)]);
        // neither these nor older ones come back
        assert_eq!(commit(&mut sink, 8..14).await, 0);
        assert_eq!(offsets(&client).await, [13, 14, 15, 16, 17]);
        // more than there is room for, in one commit
        assert_eq!(commit(&mut sink, 18..40).await, 22);
        assert_eq!(offsets(&client).await, [35, 36, 37, 38, 39]);
        assert_eq!(dropped(&client, &config.schema).await, [(2, 10, 35, 25, 50)]);
        drop(sink);

        // bytes count too, and a full snapshot without dead letters looks
        config.rejects.bytes = 7;
        let mut sink = open(&config).await;
        let full_snapshot = sink.commit(&empty_full_snapshot(next + 1)).await.unwrap();
        assert_eq!(full_snapshot.dropped_rejects, 2);
        assert_eq!(all(&client, &config.schema).await.len(), 3);
        assert_eq!(dropped(&client, &config.schema).await, [(2, 10, 37, 27, 54)]);
        // staged again, the dropped ones are left out, and the rest is as it was
        drop(sink);
        let mut sink = open(&config).await;
        sink.create_staging().await.unwrap();
        let batch = StageBatch {
            cleaned: vec![],
            rejects: (10..40).map(|offset| reject(offset, Some("o"))).collect(),
        };
        let rows = stage(&config, sink.fence().unwrap(), vec![batch]).await.unwrap();
        let settled = Step {
            staged: Some(settling(rows, true)),
            reject_topics: vec!["pin".into()],
            ..empty_full_snapshot(next + 2)
        };
        assert_eq!(sink.commit(&settled).await.unwrap().dropped_rejects, 0);
        let kept = all(&client, &config.schema).await;
        assert_eq!(kept.iter().map(|row| row.1).collect::<Vec<_>>(), [37, 38, 39]);
        assert_eq!(dropped(&client, &config.schema).await, [(2, 10, 37, 27, 54)]);
    });
}

/// An object without some of its offsets is read again, and its records stand elsewhere: those that were kept and stand
/// below the mark now are dropped, and counted.
#[test]
fn what_moves_below_a_mark_is_counted_as_dropped() {
    let Some(cluster) = shared() else { return };
    for full in [false, true] {
        run(async {
            let mut config = cluster.config(&schema());
            config.rejects.rows = 4;
            let client = cluster.client().await;
            let at = |offsets: Range<i64>, first: i64| {
                let moved = move |offset: i64| {
                    // two records say the same
                    let reason = format!("r{}", (offset - first) / 2);
                    Reject {
                        value: Some(vec![7; 3]),
                        ..of("pin", 0, offset, Some("pin+0+10.json"), &reason)
                    }
                };
                offsets.map(moved).collect::<Vec<_>>()
            };
            let settled = |staged| StagedHistory {
                full,
                replaced_rejects: vec![("pin".into(), 0, 0..40)],
                ..staged
            };
            let kept = settle(&cluster, &config, at(10..18, 10), settled).await;
            assert_eq!(kept, ["pin/0 14 r2", "pin/0 15 r2", "pin/0 16 r3", "pin/0 17 r3"]);
            assert_eq!(dropped(&client, &config.schema).await, [(0, 10, 14, 4, 12)]);
            // the same again is no more
            settle(&cluster, &config, at(10..18, 10), settled).await;
            assert_eq!(dropped(&client, &config.schema).await, [(0, 10, 14, 4, 12)]);
            // three earlier: one of each pair is below the mark, or both
            let kept = settle(&cluster, &config, at(7..15, 7), settled).await;
            assert_eq!(kept, ["pin/0 14 r3"]);
            assert_eq!(dropped(&client, &config.schema).await, [(0, 7, 14, 7, 21)]);
        });
    }
}
