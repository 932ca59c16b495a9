//! Who may commit.

use crate::cluster::{run, schema, shared};
use crate::tables::{definition, empty_full_snapshot, open, open_as, progress, run_id};
use sinks::{Claim, Sink, SinkError, Step};
use std::time::Duration;
use values::Value;

fn one_row(epoch: u64, year: i64) -> Step {
    let results = vec![vec![], vec![(vec![Value::Int(year), "x".into()], 1)]];
    Step {
        epoch,
        results,
        progress: progress(1),
        ..Step::default()
    }
}

#[test]
fn a_zombie_commits_nothing() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut old = open(&config).await;
        old.commit(&empty_full_snapshot(1)).await.unwrap();
        let mut new = open(&config).await;
        let error = old.commit(&one_row(1, 1)).await.unwrap_err();
        assert!(error.is_fenced(), "{error}");
        assert!(matches!(error, SinkError::Fenced { ours: 1, theirs: 2, .. }), "{error}");
        // and not the second time either, nor as a heartbeat
        assert!(old.commit(&one_row(2, 2)).await.unwrap_err().is_fenced());
        assert!(old.heartbeat(3).await.unwrap_err().is_fenced());
        new.commit(&empty_full_snapshot(1)).await.unwrap();
        new.commit(&one_row(1, 3)).await.unwrap();
        let rows = crate::tables::results(&config).await.remove(1);
        assert_eq!(rows, [vec![Value::Int(3), "x".into()]]);
        assert_eq!(new.read_progress().await.unwrap().commits, 3);
    });
}

#[test]
fn of_runs_that_start_together_one_stays() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        Sink::connect(config.clone())
            .await
            .unwrap()
            .prepare(&definition())
            .await
            .unwrap();
        let start = || {
            let config = config.clone();
            tokio::spawn(async move {
                let mut sink = Sink::connect(config).await?;
                sink.prepare(&definition()).await?;
                sink.take_fence(Claim::Run, &run_id()).await?;
                sink.commit(&empty_full_snapshot(1)).await?;
                tokio::time::sleep(Duration::from_millis(500)).await;
                sink.heartbeat(1).await?;
                Ok::<_, SinkError>(sink)
            })
        };
        let mut alive = Vec::new();
        for run in [start(), start(), start(), start()] {
            match run.await.unwrap() {
                Ok(sink) => alive.push(sink),
                // told by the number, or cut off while it still took the lock
                Err(SinkError::Fenced { .. } | SinkError::Postgres { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(alive.len(), 1);
        let last = alive.remove(0);
        assert_eq!(last.fence(), Some(last.read_progress().await.unwrap().fence));
    });
}

#[test]
fn a_backfill_is_refused_while_a_run_is_there() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut running = open(&config).await;
        running.commit(&empty_full_snapshot(1)).await.unwrap();
        let mut backfill = Sink::connect(config.clone()).await.unwrap();
        backfill.prepare(&definition()).await.unwrap();
        match backfill
            .take_fence(Claim::Backfill { takeover: false }, "backfill")
            .await
            .unwrap_err()
        {
            SinkError::Held { schema, holder } => {
                assert_eq!(schema, config.schema);
                assert!(
                    holder.contains(&config.application_name) && holder.contains("since"),
                    "{holder}"
                );
            }
            other => panic!("{other}"),
        }
        // the refusal changed nothing
        running.heartbeat(1).await.unwrap();
        backfill
            .take_fence(Claim::Backfill { takeover: true }, "backfill")
            .await
            .unwrap();
        assert!(running.heartbeat(2).await.unwrap_err().is_fenced());
        backfill.commit(&empty_full_snapshot(1)).await.unwrap();
        // once the holder has gone nobody is refused
        backfill.close().await;
        open_as(&config, Claim::Backfill { takeover: false }, &definition()).await;
    });
}

#[test]
fn a_stopped_process_in_the_middle_of_a_commit_is_ended() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut stopped = open(&config).await;
        stopped.commit(&empty_full_snapshot(1)).await.unwrap();
        // a commit that never gets past a row somebody else has locked: it keeps the progress row locked, like a process
        // that was stopped between two of its statements
        let mut client = cluster.client().await;
        stopped.commit(&one_row(1, 1)).await.unwrap();
        let blocker = client.transaction().await.unwrap();
        blocker
            .execute(&format!("SELECT * FROM {}.names FOR UPDATE", config.schema), &[])
            .await
            .unwrap();
        let change = vec![vec![], vec![(vec![Value::Int(1), "x".into()], -1)]];
        let step = Step {
            epoch: 2,
            results: change,
            progress: progress(1),
            ..Step::default()
        };
        let zombie = tokio::spawn(async move { stopped.commit(&step).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let new = tokio::time::timeout(Duration::from_secs(20), open(&config))
            .await
            .expect("the fence in time");
        assert_eq!(new.fence(), Some(2));
        blocker.rollback().await.unwrap();
        assert!(zombie.await.unwrap().unwrap_err().is_fenced());
        assert_eq!(new.read_progress().await.unwrap().commits, 2);
        assert_eq!(crate::tables::results(&config).await[1].len(), 1);
    });
}
