//! Cleaned rows: last writer wins whatever the order, live and staged; dead letters are kept once.

use crate::cluster::{run, schema, shared};
use crate::tables::{
    OTHERS, Registers, THINGS, definition, empty_full_snapshot, latest, log, open, open_as, progress, registers,
    settling,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sinks::{Claim, CleanedRow, PostgresConfig, Sink, SinkError, StageBatch, Staged, Stager, StagerOptions, Step};
use std::sync::Arc;
use std::time::Duration;
use values::{Ind, Offset, Partition, Position};

/// Runs as many cases.
pub fn cases(cases: u32) -> TestRunner {
    TestRunner::new(ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 30,
        ..Default::default()
    })
}

/// A log, and in which order and how often its records arrive, in batches.
fn deliveries() -> impl Strategy<Value = (Vec<CleanedRow>, Vec<Vec<CleanedRow>>)> {
    log().prop_flat_map(|log| {
        let some = proptest::collection::vec(proptest::collection::vec(0..log.len().max(1), 0..12), 1..6);
        let rest = Just((0..log.len()).collect::<Vec<_>>()).prop_shuffle();
        (Just(log), some, rest).prop_map(|(log, mut batches, rest)| {
            // every record arrives at least once
            batches.extend(rest.chunks(7).map(<[usize]>::to_vec));
            let pick = |batch: &Vec<usize>| batch.iter().filter_map(|i| log.get(*i).cloned()).collect();
            let batches = batches.iter().map(pick).collect();
            (log, batches)
        })
    })
}

async fn check(
    config: &PostgresConfig,
    client: &tokio_postgres::Client,
    log: &[CleanedRow],
) -> Result<(), TestCaseError> {
    for (number, table) in [THINGS, OTHERS].iter().enumerate() {
        prop_assert_eq!(registers(config, client, table).await, latest(log, number as u8));
    }
    Ok(())
}

#[test]
fn the_greatest_position_wins_in_any_order() {
    let Some(cluster) = shared() else { return };
    cases(8)
        .run(&deliveries(), |(log, batches)| {
            run(async {
                let config = cluster.config(&schema());
                let client = cluster.client().await;
                let mut sink = open(&config).await;
                sink.commit(&empty_full_snapshot(0)).await.unwrap();
                let mut arrived = Vec::new();
                for (epoch, cleaned) in batches.into_iter().enumerate() {
                    arrived.extend(cleaned.clone());
                    let progress = progress(epoch as i64);
                    let step = Step {
                        epoch: epoch as u64,
                        cleaned,
                        progress,
                        ..Step::default()
                    };
                    sink.commit(&step).await.unwrap();
                    check(&config, &client, &arrived).await?;
                }
                check(&config, &client, &log).await
            })
        })
        .unwrap();
}

/// Sends rows through stagers, as several processes would; returns what they counted.
pub async fn stage(config: &PostgresConfig, fence: i64, batches: Vec<StageBatch>) -> Result<Staged, SinkError> {
    let options = StagerOptions {
        bytes_in_flight: 3000,
        bytes_per_copy: 1000,
    };
    stage_as(config, fence, batches, options).await
}

/// The same with options.
pub async fn stage_as(
    config: &PostgresConfig,
    fence: i64,
    batches: Vec<StageBatch>,
    options: StagerOptions,
) -> Result<Staged, SinkError> {
    let room = Arc::new(tokio::sync::Notify::new());
    let start = || {
        let room = room.clone();
        let wake = Arc::new(move || room.notify_waiters());
        Stager::start(config.clone(), Arc::new(definition()), fence, options, wake).unwrap()
    };
    let stagers = [start(), start()];
    for (index, batch) in batches.into_iter().enumerate() {
        let mut batch = batch;
        while let Err(back) = stagers[index % 2].offer(batch) {
            if let Some(error) = stagers[index % 2].take_failure() {
                return Err(error);
            }
            batch = back;
            let _ = tokio::time::timeout(Duration::from_millis(5), room.notified()).await;
        }
    }
    let mut sum = Staged::default();
    for stager in &stagers {
        let (send, staged) = tokio::sync::oneshot::channel();
        stager.flush(move |staged| drop(send.send(staged)));
        sum += &staged.await.unwrap()?;
    }
    Ok(sum)
}

fn batches(cleaned: &[Vec<CleanedRow>]) -> Vec<StageBatch> {
    cleaned
        .iter()
        .map(|cleaned| StageBatch {
            cleaned: cleaned.clone(),
            rejects: Vec::new(),
        })
        .collect()
}

fn count(batches: &[Vec<CleanedRow>], table: u8) -> u64 {
    batches.iter().flatten().filter(|record| record.table == table).count() as u64
}

async fn staging_tables(client: &tokio_postgres::Client, schema: &str) -> i64 {
    let sql = "SELECT count(*) FROM pg_tables WHERE schemaname = $1 AND tablename LIKE 'staging%'";
    client.query_one(sql, &[&schema]).await.unwrap().get(0)
}

#[test]
fn staged_history_settles_in_full_and_on_top() {
    let Some(cluster) = shared() else { return };
    cases(8)
        .run(
            &(deliveries(), deliveries(), any::<bool>()),
            |((old, first), (new, second), full)| {
                run(async {
                    let config = cluster.config(&schema());
                    let client = cluster.client().await;
                    let mut sink = open(&config).await;
                    // whatever was there
                    sink.create_staging().await.unwrap();
                    let rows = stage(&config, sink.fence().unwrap(), batches(&first)).await.unwrap();
                    prop_assert_eq!(&rows.cleaned, &vec![count(&first, 0), count(&first, 1)]);
                    let staged = Some(settling(rows, false));
                    sink.commit(&Step {
                        staged,
                        ..empty_full_snapshot(1)
                    })
                    .await
                    .unwrap();
                    check(&config, &client, &old).await?;
                    prop_assert_eq!(staging_tables(&client, &config.schema).await, 0);
                    drop(sink);
                    // a second run; what it calls history takes over, or comes on top
                    let mut sink = open(&config).await;
                    sink.create_staging().await.unwrap();
                    let rows = stage(&config, sink.fence().unwrap(), batches(&second)).await.unwrap();
                    let staged = Some(settling(rows, full));
                    sink.commit(&Step {
                        staged,
                        ..empty_full_snapshot(2)
                    })
                    .await
                    .unwrap();
                    let expected: Vec<Registers> = [0, 1].map(|table| expected(&old, &new, table, full)).to_vec();
                    for (table, expected) in [THINGS, OTHERS].iter().zip(expected) {
                        prop_assert_eq!(registers(&config, &client, table).await, expected);
                    }
                    Ok(())
                })
            },
        )
        .unwrap();
}

/// Full: the new log alone. Otherwise: per key the greater position, the old one where they are equal (two logs may say
/// different things at one position here, which the real one does not).
fn expected(old: &[CleanedRow], new: &[CleanedRow], table: u8, full: bool) -> Registers {
    if full {
        return latest(new, table);
    }
    let mut registers = latest(old, table);
    for (ind, register) in latest(new, table) {
        let entry = registers.entry(ind).or_insert_with(|| register.clone());
        if register.0 > entry.0 {
            *entry = register;
        }
    }
    registers
}

#[test]
fn rows_of_the_step_come_on_top_of_the_staged_ones() {
    let Some(cluster) = shared() else { return };
    cases(4)
        .run(&deliveries(), |(log, batches_)| {
            run(async {
                let config = cluster.config(&schema());
                let client = cluster.client().await;
                let mut sink = open(&config).await;
                sink.create_staging().await.unwrap();
                let (staged, direct) = batches_.split_at(batches_.len() / 2);
                let rows = stage(&config, sink.fence().unwrap(), batches(staged)).await.unwrap();
                let staged = Some(settling(rows, true));
                sink.commit(&Step {
                    staged,
                    cleaned: direct.concat(),
                    ..empty_full_snapshot(1)
                })
                .await
                .unwrap();
                check(&config, &client, &log).await
            })
        })
        .unwrap();
}

fn thing(offset: i64) -> CleanedRow {
    let row = vec![values::Value::Int(offset), "text".into()];
    CleanedRow {
        table: 1,
        ind: Ind(offset),
        position: Position::new(1, Offset(offset), Partition(0)).unwrap(),
        row: Some(row),
    }
}

async fn hydrated_partly(config: &PostgresConfig) -> (Sink, Staged) {
    let mut sink = open(config).await;
    sink.create_staging().await.unwrap();
    let batch = StageBatch {
        cleaned: (0..50).map(thing).collect(),
        rejects: vec![],
    };
    let rows = stage(config, sink.fence().unwrap(), vec![batch]).await.unwrap();
    (sink, rows)
}

#[test]
fn counts_that_do_not_agree_want_the_history_again() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let client = cluster.client().await;
        // emptied, as a crash of the server empties unlogged tables
        let (mut sink, rows) = hydrated_partly(&config).await;
        let emptied = format!("TRUNCATE {}.staging_{}_others", config.schema, sink.fence().unwrap());
        client.batch_execute(&emptied).await.unwrap();
        let step = Step {
            staged: Some(settling(rows, true)),
            ..empty_full_snapshot(1)
        };
        match sink.commit(&step).await.unwrap_err() {
            SinkError::Rehydrate { table, found, expected } => {
                assert_eq!((table.as_str(), found.as_str(), expected), ("others", "0", 50));
            }
            other => panic!("{other}"),
        }
        // a connection cut while staging
        let (sink, _) = hydrated_partly(&config).await;
        let stager = Stager::start(
            config.clone(),
            Arc::new(definition()),
            sink.fence().unwrap(),
            StagerOptions {
                bytes_in_flight: 1 << 20,
                bytes_per_copy: 1,
            },
            Arc::new(|| {}),
        )
        .unwrap();
        let flush = async || {
            let (send, staged) = tokio::sync::oneshot::channel();
            stager.flush(move |staged| drop(send.send(staged)));
            staged.await.unwrap()
        };
        stager
            .offer(StageBatch {
                cleaned: vec![thing(60)],
                rejects: vec![],
            })
            .unwrap();
        flush().await.unwrap();
        cluster.terminate(&client, &config.schema).await;
        stager
            .offer(StageBatch {
                cleaned: vec![thing(61)],
                rejects: vec![],
            })
            .unwrap();
        assert!(matches!(flush().await, Err(SinkError::Rehydrate { .. })));
        // and it stays that way
        for _ in 0..100 {
            if stager
                .offer(StageBatch {
                    cleaned: vec![thing(62)],
                    rejects: vec![],
                })
                .is_err()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("a failed stager goes on taking rows");
    });
}

#[test]
fn the_first_commit_survives_a_broken_connection() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let client = cluster.client().await;
        let (mut sink, rows) = hydrated_partly(&config).await;
        cluster.terminate(&client, &config.schema).await;
        let step = Step {
            staged: Some(settling(rows, true)),
            ..empty_full_snapshot(1)
        };
        // the loss is found by the first statement, or before it
        assert!(sink.commit(&step).await.unwrap().attempts <= 2);
        assert_eq!(registers(&config, &client, &OTHERS).await.len(), 50);
    });
}

#[test]
fn staging_tables_of_older_runs_go() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let client = cluster.client().await;
        let _old = hydrated_partly(&config).await;
        assert_eq!(staging_tables(&client, &config.schema).await, 5);
        // one of them is held by a stager that was stopped in the middle of a COPY
        let mut stopped = cluster.client().await;
        let copying = stopped.transaction().await.unwrap();
        copying
            .batch_execute(&format!(
                "INSERT INTO {}.staging_1_others (ind) VALUES (1)",
                config.schema
            ))
            .await
            .unwrap();
        let (mut new, rows) = hydrated_partly(&config).await;
        assert!(copying.commit().await.is_err());
        assert_eq!(staging_tables(&client, &config.schema).await, 5);
        // after its first commit a run drops its own, not those of a run that came later
        client
            .batch_execute(&format!("CREATE UNLOGGED TABLE {}.staging_9_others ()", config.schema))
            .await
            .unwrap();
        new.commit(&Step {
            staged: Some(settling(rows, true)),
            ..empty_full_snapshot(1)
        })
        .await
        .unwrap();
        assert_eq!(staging_tables(&client, &config.schema).await, 1);
    });
}

#[test]
fn without_cleaned_tables_they_are_emptied_once() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let client = cluster.client().await;
        let (mut sink, rows) = hydrated_partly(&config).await;
        sink.commit(&Step {
            staged: Some(settling(rows, true)),
            ..empty_full_snapshot(1)
        })
        .await
        .unwrap();
        let mut off = definition();
        off.keep_cleaned = false;
        let mut sink = open_as(&config, Claim::Run, &off).await;
        sink.commit(&Step {
            cleaned: vec![thing(5)],
            ..empty_full_snapshot(2)
        })
        .await
        .unwrap();
        let step = Step {
            epoch: 1,
            cleaned: vec![thing(6)],
            progress: progress(3),
            ..Step::default()
        };
        assert!(!sink.commit(&step).await.unwrap().notified);
        assert!(registers(&config, &client, &OTHERS).await.is_empty());
    });
}

#[test]
fn a_stager_that_panics_answers_every_flush_and_takes_nothing_more() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut sink = open(&config).await;
        sink.create_staging().await.unwrap();
        let limited = StagerOptions {
            bytes_in_flight: 1,
            bytes_per_copy: 1 << 20,
        };
        // its thread calls this after each batch that filled the queue
        let wake = Arc::new(|| panic!("wake"));
        let fence = sink.fence().unwrap();
        let stager = Stager::start(config.clone(), Arc::new(definition()), fence, limited, wake).unwrap();
        let batch = |offset| StageBatch {
            cleaned: vec![thing(offset)],
            rejects: vec![],
        };
        stager.offer(batch(1)).unwrap();
        // asked for before or after the panic
        for _ in 0..2 {
            let (send, staged) = tokio::sync::oneshot::channel();
            stager.flush(move |staged| drop(send.send(staged)));
            let answer = tokio::time::timeout(Duration::from_secs(20), staged)
                .await
                .expect("an answer");
            assert!(answer.unwrap().is_err());
        }
        // several workers share it: each of them hears of the failure
        for offset in 2..5 {
            assert!(stager.offer(batch(offset)).is_err());
            assert!(stager.take_failure().is_some());
        }
    });
}
