//! How long commits take: `cargo test -p sinks --test postgres -- --ignored --nocapture latency`. Prints; asserts
//! nothing about time.

use crate::cluster::{run, schema, shared};
use crate::tables::{definition, empty_full_snapshot, open, open_as, progress, settling};
use sinks::{Claim, CleanedRow, StageBatch, Stager, StagerOptions, Step};
use std::sync::Arc;
use std::time::{Duration, Instant};
use values::{Ind, Offset, Partition, Position, Row, Value};

fn thing(ind: i64, offset: i64) -> CleanedRow {
    let row = vec![
        Value::Int(ind),
        format!("country {}", ind % 200).as_str().into(),
        format!("a name and some wide text {}", "x".repeat((ind % 400) as usize))
            .as_str()
            .into(),
        Value::Int(2000 + ind % 20),
        Value::Floats([Some(ind as f64 / 7.0), Some(-1.5)].into()),
        Value::Int(offset * 1_000_000),
    ];
    CleanedRow {
        table: 0,
        ind: Ind(ind),
        position: Position::new(1, Offset(offset), Partition(0)).unwrap(),
        row: Some(row),
    }
}

fn count(country: i64, count: i64) -> Row {
    vec![
        format!("country {country}").as_str().into(),
        "name".into(),
        Value::Int(count),
        Value::Int(1),
    ]
}

#[test]
#[ignore = "measures"]
fn latency_of_live_commits() {
    let Some(cluster) = shared() else { return };
    run(async {
        for (records, keep_cleaned) in [(100, true), (300, true), (1000, true), (5000, true), (300, false)] {
            let config = cluster.config(&schema());
            let mut with = definition();
            with.keep_cleaned = keep_cleaned;
            let mut sink = open_as(&config, Claim::Run, &with).await;
            sink.commit(&empty_full_snapshot(0)).await.unwrap();
            let mut times = Vec::new();
            for epoch in 1..=200i64 {
                let cleaned: Vec<CleanedRow> = (0..records)
                    .map(|i| thing(epoch * records + i, epoch * records + i))
                    .collect();
                let changes = (0..30).flat_map(|c| [(count(c, epoch - 1), -1), (count(c, epoch), 1)]);
                let names = (0..10).map(|c| (vec![Value::Int(epoch), format!("n{c}").as_str().into()], 1));
                let results = vec![changes.skip(usize::from(epoch == 1)).collect(), names.collect(), vec![]];
                let step = Step {
                    epoch: epoch as u64,
                    results,
                    cleaned,
                    progress: progress(epoch),
                    ..Step::default()
                };
                times.push(sink.commit(&step).await.unwrap().elapsed);
            }
            times.sort();
            let mean = times.iter().sum::<Duration>() / times.len() as u32;
            println!(
                "{records} records, cleaned {keep_cleaned}: mean {mean:?}, p50 {:?}, p90 {:?}, worst {:?}",
                times[100], times[180], times[199]
            );
        }
    });
}

#[test]
#[ignore = "measures"]
fn latency_of_the_first_commit() {
    let Some(cluster) = shared() else { return };
    run(async {
        let rows: i64 = std::env::var("ROWS")
            .ok()
            .and_then(|rows| rows.parse().ok())
            .unwrap_or(300_000);
        let config = cluster.config(&schema());
        for (full, run) in [
            (true, "empty tables"),
            (true, "full again"),
            (false, "incremental again"),
        ] {
            let mut sink = open(&config).await;
            sink.create_staging().await.unwrap();
            let started = Instant::now();
            let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(|| {});
            let stager = Stager::start(
                config.clone(),
                Arc::new(definition()),
                sink.fence().unwrap(),
                StagerOptions::default(),
                wake,
            )
            .unwrap();
            for start in (0..rows).step_by(1000) {
                let cleaned = (start..start + 1000).map(|i| thing(i % (rows * 9 / 10), i)).collect();
                let mut batch = StageBatch {
                    cleaned,
                    rejects: vec![],
                };
                while let Err(back) = stager.offer(batch) {
                    batch = back;
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            let (send, staged) = tokio::sync::oneshot::channel();
            stager.flush(move |staged| drop(send.send(staged)));
            let staged = settling(staged.await.unwrap().unwrap(), full);
            let staging = started.elapsed();
            let mut step = Step {
                staged: Some(staged),
                ..empty_full_snapshot(rows)
            };
            step.results[0] = (0..rows).map(|c| (count(c, 1), 1)).collect();
            let committed = sink.commit(&step).await.unwrap();
            println!(
                "{rows} rows, {run}: staged in {staging:?}, committed in {:?}",
                committed.elapsed
            );
        }
    });
}
