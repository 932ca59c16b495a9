//! Steps: random net changes equal a map, full snapshots mend any state, progress, notifications.

use crate::cluster::{own, run, schema, shared};
use crate::listener::Listener;
use crate::tables::{
    COUNTS, Model, NAMES, RESULTS, WIDE, definition, empty_full_snapshot, open, open_as, progress, results, row,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sinks::{AcceptedGap, Claim, Generation, Legacy, PartitionProgress, Reader, SinkError, Step};
use values::{Row, Table, Value};

const TABLES: [&Table; 3] = [&COUNTS, &NAMES, &WIDE];

/// Rows to put and rows to remove, per table.
type Change = (Vec<Row>, Vec<Row>);

fn change() -> impl Strategy<Value = Vec<Change>> {
    let rows = |table: &'static Table| proptest::collection::vec(row(table), 0..8);
    let one = move |table: &'static Table| (rows(table), rows(table));
    (one(&COUNTS), one(&NAMES), one(&WIDE)).prop_map(|(a, b, c)| vec![a, b, c])
}

fn cases(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 20,
        ..Default::default()
    })
}

#[test]
fn random_steps_equal_a_map() {
    let Some(cluster) = shared() else { return };
    cases(8)
        .run(&proptest::collection::vec(change(), 1..10), |steps| {
            run(async {
                let config = cluster.config(&schema());
                let mut sink = open(&config).await;
                let mut models = vec![Model::default(); TABLES.len()];
                for (epoch, step) in steps.iter().enumerate() {
                    let net: Vec<Vec<(Row, isize)>> = step
                        .iter()
                        .zip(TABLES)
                        .zip(&mut models)
                        .map(|(((puts, removes), table), model)| model.change(table, puts, removes))
                        .collect();
                    let full_snapshot = epoch == 0;
                    let changed: Vec<u64> = net.iter().zip(TABLES).map(|(net, table)| keys(net, table)).collect();
                    let step = Step {
                        epoch: epoch as u64,
                        full_snapshot,
                        results: net,
                        progress: progress(epoch as i64),
                        ..Step::default()
                    };
                    let committed = sink.commit(&step).await.unwrap();
                    prop_assert_eq!(&committed.changed, &changed);
                    prop_assert_eq!((committed.missing, committed.attempts), (0, 1));
                    prop_assert_eq!(committed.notified, changed.iter().any(|rows| *rows > 0));
                    let stored = results(&config).await;
                    for (model, stored) in models.iter().zip(stored) {
                        prop_assert_eq!(model.rows(), stored);
                    }
                }
                Ok(())
            })
        })
        .unwrap();
}

fn keys(net: &[(Row, isize)], table: &Table) -> u64 {
    net.iter()
        .map(|(row, _)| &row[..table.key])
        .collect::<std::collections::BTreeSet<_>>()
        .len() as u64
}

#[test]
fn a_full_snapshot_mends_any_state_and_touches_nothing_else() {
    let Some(cluster) = shared() else { return };
    cases(8)
        .run(&(change(), change()), |(dirty, wanted)| {
            run(async {
                let config = cluster.config(&schema());
                let contents = |changes: &[Change]| -> Vec<Model> {
                    let model = |((puts, _), table): (&Change, &&Table)| {
                        let mut model = Model::default();
                        model.change(table, puts, &[]);
                        model
                    };
                    changes.iter().zip(&TABLES).map(model).collect()
                };
                let (dirty, wanted) = (contents(&dirty), contents(&wanted));
                let full_snapshot = |models: &[Model]| Step {
                    full_snapshot: true,
                    results: models.iter().map(Model::contents).collect(),
                    progress: progress(1),
                    ..Step::default()
                };
                let mut sink = open(&config).await;
                sink.commit(&full_snapshot(&dirty)).await.unwrap();
                drop(sink);
                let mut sink = open(&config).await;
                let committed = sink.commit(&full_snapshot(&wanted)).await.unwrap();
                for ((old, new), changed) in dirty.iter().zip(&wanted).zip(&committed.changed) {
                    let gone = old.0.keys().filter(|key| !new.0.contains_key(*key)).count();
                    let put = new.0.iter().filter(|(key, row)| old.0.get(*key) != Some(row)).count();
                    prop_assert_eq!(*changed, (gone + put) as u64);
                }
                for (model, stored) in wanted.iter().zip(results(&config).await) {
                    prop_assert_eq!(model.rows(), stored);
                }
                // again: nothing to write, nobody to tell, yet a commit
                let again = sink.commit(&full_snapshot(&wanted)).await.unwrap();
                prop_assert_eq!((again.changed, again.notified, again.commits), (vec![0; 3], false, 3));
                Ok(())
            })
        })
        .unwrap();
}

#[test]
fn many_rows_travel_in_batches() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut sink = open(&config).await;
        let rows = |n: i64, count: i64| -> Vec<(Row, isize)> {
            let row = |i| {
                vec![
                    format!("c{}", i % 100).as_str().into(),
                    format!("n{i}").as_str().into(),
                    Value::Int(count),
                    Value::Null,
                ]
            };
            (0..n).map(|i| (row(i), 1)).collect()
        };
        let mut step = empty_full_snapshot(1);
        step.results[0] = rows(60_000, 1);
        assert_eq!(sink.commit(&step).await.unwrap().changed, [60_000, 0, 0]);
        // live: every row changes, the last ten thousand go
        let mut changes: Vec<(Row, isize)> = rows(60_000, 1).into_iter().map(|(row, _)| (row, -1)).collect();
        changes.extend(rows(50_000, 2));
        let step = Step {
            epoch: 1,
            results: vec![changes],
            progress: sink.progress().clone(),
            ..Step::default()
        };
        assert_eq!(sink.commit(&step).await.unwrap().changed, [60_000, 0, 0]);
        let mut expected: Vec<Row> = rows(50_000, 2).into_iter().map(|(row, _)| row).collect();
        expected.sort();
        assert!(results(&config).await[0] == expected);
    });
}

#[test]
fn an_edited_row_is_counted_as_missing() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut sink = open(&config).await;
        let row: Row = vec![Value::Int(2000), "x".into()];
        let mut step = empty_full_snapshot(1);
        step.results[1] = vec![(row.clone(), 1)];
        sink.commit(&step).await.unwrap();
        cluster
            .client()
            .await
            .execute(&format!("DELETE FROM {}.names", config.schema), &[])
            .await
            .unwrap();
        let results = vec![vec![], vec![(row, -1)]];
        let step = Step {
            epoch: 1,
            results,
            progress: sink.progress().clone(),
            ..Step::default()
        };
        assert_eq!(sink.commit(&step).await.unwrap().missing, 1);
    });
}

#[test]
fn progress_comes_back_as_it_was_written() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut sink = open(&config).await;
        assert_eq!((sink.progress().commits, sink.progress().definitions), (0, None));
        let mut step = empty_full_snapshot(100);
        step.progress.legacy = Legacy {
            count: 3,
            hash: u64::MAX - 1,
        };
        step.progress.cleaned_legacy = Some(Legacy {
            count: 2,
            hash: 1 << 63,
        });
        step.progress.topics = [("pin".into(), "pin".into()), ("geo".into(), "places".into())].into();
        step.progress.partition_counts = [("pin".into(), 4)].into();
        step.progress.generations.insert(Generation {
            topic: "pin".into(),
            generation: 2,
            partition: 1,
            start: 44,
        });
        let lost = AcceptedGap {
            topic: "pin".into(),
            partition: 0,
            from: 3,
            to: 9,
            reason: "lost".into(),
            object: None,
        };
        step.progress.gaps.insert(lost.clone());
        sink.commit(&step).await.unwrap();
        let check = async |sink: &sinks::Sink, step: &Step, commits| {
            let stored = Reader::connect(&config).await.unwrap().progress().await.unwrap();
            assert_eq!(&stored, sink.progress());
            let expected = sinks::Progress {
                fence: sink.fence().unwrap(),
                commits,
                epoch: step.epoch,
                definitions: Some(0xabc),
                ..step.progress.clone()
            };
            assert_eq!(stored, expected);
        };
        check(&sink, &step, 1).await;
        // a frontier that moves, a detail that changes, a partition, a generation and a gap that are new
        step = Step {
            full_snapshot: false,
            epoch: 7,
            results: vec![],
            ..step
        };
        let pin = step.progress.partitions.get_mut(&("pin".into(), 0)).unwrap();
        (pin.next, pin.last) = (200, None);
        check_commit(&mut sink, &step).await;
        check(&sink, &step, 2).await;
        step.epoch = 8;
        step.progress.partitions.get_mut(&("geo".into(), 3)).unwrap().detail = serde_json::json!({"holes": [1]}).into();
        let new = PartitionProgress {
            first: 1,
            next: 1,
            cleaned_next: Some(1),
            detail: serde_json::json!([]).into(),
            last: None,
        };
        step.progress.partitions.insert(("user".into(), 12), new);
        step.progress.cleaned_legacy = None;
        step.progress.topics.remove("geo");
        // the count of a topic that a step does not name stays
        step.progress.partition_counts = [("user".into(), 13)].into();
        step.progress.generations.insert(Generation {
            topic: "user".into(),
            generation: 3,
            partition: 1,
            start: 0,
        });
        let other = AcceptedGap {
            topic: "user".into(),
            partition: 1,
            from: 0,
            to: 1,
            reason: "".into(),
            object: None,
        };
        step.progress.gaps.insert(other.clone());
        check_commit(&mut sink, &step).await;
        step.progress.partition_counts.insert("pin".into(), 4);
        check(&sink, &step, 3).await;
        // an empty epoch is written too, and the next run finds it all
        sink.heartbeat(9).await.unwrap();
        step.epoch = 9;
        check(&sink, &step, 4).await;
        let before = sink.progress().clone();
        let mut next = open(&config).await;
        assert_eq!(
            next.progress(),
            &sinks::Progress {
                fence: before.fence + 1,
                ..before
            }
        );
        // whoever has looked at all of the log again forgets the gaps of its partitions that are filled
        let mut full_snapshot = Step {
            progress: step.progress.clone(),
            ..empty_full_snapshot(0)
        };
        let smaller = AcceptedGap { to: 5, ..lost };
        full_snapshot.progress.gaps = [smaller.clone()].into();
        next.commit(&full_snapshot).await.unwrap();
        let stored = Reader::connect(&config).await.unwrap().progress().await.unwrap();
        assert_eq!(&stored, next.progress());
        assert_eq!(stored.gaps, [smaller, other].into());
    });
}

async fn check_commit(sink: &mut sinks::Sink, step: &Step) {
    assert!(!sink.commit(step).await.unwrap().notified, "progress alone is no news");
}

#[test]
fn the_frontier_never_moves_back() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut sink = open(&config).await;
        sink.commit(&empty_full_snapshot(100)).await.unwrap();
        let back = |error: SinkError| match error {
            SinkError::MovesBack {
                topic,
                partition,
                committed,
                offered,
            } => (topic, partition, committed, offered),
            other => panic!("{other}"),
        };
        let mut step = Step {
            epoch: 1,
            progress: progress(99),
            ..Step::default()
        };
        assert_eq!(back(sink.commit(&step).await.unwrap_err()), ("pin".into(), 0, 100, 99));
        // and when the row in Postgres is not what this sink left there
        let client = cluster.client().await;
        let moved = format!(
            "UPDATE {}.frontier SET next_offset = 500 WHERE topic = 'pin'",
            config.schema
        );
        client.execute(&moved, &[]).await.unwrap();
        step.progress = progress(101);
        assert_eq!(back(sink.commit(&step).await.unwrap_err()), ("pin".into(), 0, 500, 101));
        // the same with a change of detail, which takes the other statement
        step.progress = progress(150);
        assert_eq!(back(sink.commit(&step).await.unwrap_err()), ("pin".into(), 0, 500, 150));
        assert_eq!(sink.read_progress().await.unwrap().commits, 1);
        step.progress = progress(500);
        sink.commit(&step).await.unwrap();
    });
}

#[test]
fn changed_definitions_want_a_full_snapshot() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut sink = open(&config).await;
        let live = Step {
            epoch: 1,
            progress: progress(1),
            ..Step::default()
        };
        assert!(
            matches!(sink.commit(&live).await, Err(SinkError::DefinitionsChanged { .. })),
            "tables are empty"
        );
        sink.commit(&empty_full_snapshot(1)).await.unwrap();
        sink.commit(&live).await.unwrap();
        let mut other = definition();
        other.hash += 1;
        let mut sink = open_as(&config, Claim::Run, &other).await;
        assert!(matches!(
            sink.commit(&live).await,
            Err(SinkError::DefinitionsChanged { .. })
        ));
        sink.commit(&empty_full_snapshot(1)).await.unwrap();
        sink.commit(&live).await.unwrap();
    });
}

#[test]
fn listeners_hear_of_changes_with_the_commit() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut news = Listener::start(&cluster, &config.schema).await;
        let mut sink = open(&config).await;
        sink.commit(&empty_full_snapshot(1)).await.unwrap();
        sink.heartbeat(1).await.unwrap();
        let results = vec![vec![], vec![(vec![Value::Int(1), "x".into()], 1)]];
        let step = Step {
            epoch: 2,
            results,
            progress: sink.progress().clone(),
            ..Step::default()
        };
        sink.commit(&step).await.unwrap();
        let (channel, payload) = news.next().await;
        assert_eq!(channel, format!("{}_commits", config.schema));
        let payload: serde_json::Value = serde_json::from_str(&payload).unwrap();
        assert_eq!(
            payload,
            serde_json::json!({"commit": 3, "epoch": 2, "tables": ["names"]})
        );
        assert!(news.is_silent(), "the empty commits were silent");
        assert_eq!(crate::tables::results(&config).await.len(), RESULTS.len());
    });
}

/// A control row that grows too large for its page's spare room would make every commit write an index, too.
#[test]
fn control_rows_are_updated_in_place() {
    // alone: an old snapshot of another test would keep old rows in the pages
    let Some(cluster) = own() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut sink = open(&config).await;
        let mut all = progress(1);
        all.topics = [("pin".into(), "pin".into())].into();
        all.partition_counts = [("pin".into(), 64)].into();
        let of_pin = all.partitions[&("pin".to_owned(), 0)].clone();
        let detail = serde_json::json!({"natural": "17..18,1000..1003,100000..100007"});
        let partition = PartitionProgress {
            detail: detail.into(),
            ..of_pin
        };
        all.partitions = (0..64)
            .map(|number| (("pin".to_owned(), number), partition.clone()))
            .collect();
        for epoch in 0..200 {
            for partition in all.partitions.values_mut() {
                (partition.next, partition.cleaned_next) = (epoch, Some(epoch));
                partition.last = Some(sinks::LastRecord {
                    offset: epoch,
                    timestamp: epoch,
                    hash: epoch as u64,
                });
            }
            let step = Step {
                epoch: epoch as u64,
                full_snapshot: epoch == 0,
                results: if epoch == 0 {
                    vec![vec![]; RESULTS.len()]
                } else {
                    vec![]
                },
                progress: all.clone(),
                ..Step::default()
            };
            sink.commit(&step).await.unwrap();
        }
        // its session reports what it has counted when it ends
        sink.close().await;
        let client = cluster.client().await;
        let counted = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE schemaname = $1 AND relname = $2";
        for (table, updates) in [("progress", 200), ("frontier", 64 * 199)] {
            let mut seen = (0, 0);
            for _ in 0..200 {
                let row = client.query_one(counted, &[&config.schema, &table]).await.unwrap();
                seen = (row.get::<_, i64>(0), row.get::<_, i64>(1));
                if seen.0 >= updates {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            println!("{table}: {seen:?}");
            assert!(seen.0 >= updates && seen.1 * 10 >= seen.0 * 9, "{table}: {seen:?}");
        }
    });
}
