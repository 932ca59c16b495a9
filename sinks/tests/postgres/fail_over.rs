//! Postgres goes back, as in a failover to a replica that had not received the last commits: rows are put back by hand.

use crate::cluster::{Cluster, run, schema, shared};
use crate::tables::{Model, NAMES, empty_full_snapshot, open, progress};
use causes::with_causes;
use sinks::{Class, PostgresConfig, Reader, Sink, SinkError, Step};
use std::time::Duration;
use values::Value;

/// The control rows as a replica had them.
struct Replica {
    client: tokio_postgres::Client,
    schema: String,
}

impl Replica {
    async fn of(cluster: &Cluster, config: &PostgresConfig) -> Replica {
        let (client, schema) = (cluster.client().await, config.schema.clone());
        let copy = format!(
            "CREATE TABLE {schema}.progress_of_replica AS TABLE {schema}.progress; \
             CREATE TABLE {schema}.frontier_of_replica AS TABLE {schema}.frontier"
        );
        client.batch_execute(&copy).await.unwrap();
        Replica { client, schema }
    }

    /// It is the primary now: what puts the rows back.
    fn promotion(&self) -> String {
        let schema = &self.schema;
        format!(
            "DELETE FROM {schema}.progress; DELETE FROM {schema}.frontier; \
             INSERT INTO {schema}.progress TABLE {schema}.progress_of_replica; \
             INSERT INTO {schema}.frontier TABLE {schema}.frontier_of_replica"
        )
    }
}

fn step(epoch: i64, model: &mut Model) -> Step {
    let row = vec![Value::Int(epoch), "x".into()];
    Step {
        epoch: epoch as u64,
        results: vec![vec![], model.change(&NAMES, &[row], &[])],
        progress: progress(epoch),
        ..Step::default()
    }
}

/// That nothing is committed, why, and that a new start goes on.
async fn lost(config: &PostgresConfig, sink: &mut Sink, step: &Step, what: &str) {
    // not over the sink's connection, which may have a dropped transaction open
    let stored = async || Reader::connect(config).await.unwrap().progress().await.unwrap();
    let before = stored().await;
    let error = sink.commit(step).await.unwrap_err();
    assert!(matches!(error, SinkError::FenceLost { .. }), "{error}");
    assert!(!error.is_fenced() && error.class() == Class::Stop);
    assert!(with_causes(&error).contains(what), "{what:?} in {error}");
    assert!(with_causes(&error).contains("start again"), "{error}");
    assert_eq!(stored().await, before);
}

#[test]
fn a_lost_fence_is_no_newer_run() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut model = Model::default();
        open(&config).await.commit(&empty_full_snapshot(1)).await.unwrap();
        let replica = Replica::of(&cluster, &config).await;
        let mut sink = open(&config).await;
        sink.commit(&step(1, &mut model)).await.unwrap();
        replica.client.batch_execute(&replica.promotion()).await.unwrap();
        lost(
            &config,
            &mut sink,
            &step(2, &mut model),
            "its fence is 1, this run had taken 2",
        )
        .await;
        // and the second time, as a full snapshot, and after a lost connection too
        let full_snapshot = Step {
            results: vec![vec![], model.contents(), vec![]],
            ..empty_full_snapshot(2)
        };
        lost(&config, &mut sink, &full_snapshot, "its fence is 1").await;
        cluster.terminate(&replica.client, &config.schema).await;
        assert!(matches!(
            sink.commit(&full_snapshot).await.unwrap_err(),
            SinkError::FenceLost { .. }
        ));
        // a new start takes the same number once more
        let mut again = open(&config).await;
        assert_eq!(again.fence(), Some(2));
        again.commit(&full_snapshot).await.unwrap();
        assert_eq!(crate::tables::results(&config).await[1], model.rows());
        // to the run of before it is a newer one
        let error = sink.commit(&full_snapshot).await.unwrap_err();
        assert!(error.is_fenced(), "{error}");
    });
}

#[test]
fn of_two_runs_that_took_one_number_the_one_on_record_is_the_newer() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let client = cluster.client().await;
        let mut sink = open(&config).await;
        sink.commit(&empty_full_snapshot(1)).await.unwrap();
        for by in ["'another'", "NULL"] {
            let taken = format!("UPDATE {}.progress SET fence_run_id = {by}", config.schema);
            client.batch_execute(&taken).await.unwrap();
            let error = sink.commit(&step(1, &mut Model::default())).await.unwrap_err();
            assert!(
                matches!(&error, SinkError::Fenced { ours: 1, theirs: 1, .. }),
                "{by}: {error}"
            );
        }
        assert_eq!(sink.read_progress().await.unwrap().commits, 1);
    });
}

#[test]
fn lost_commits_are_found_before_the_next_one() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut model = Model::default();
        let mut sink = open(&config).await;
        sink.commit(&empty_full_snapshot(0)).await.unwrap();
        sink.commit(&step(1, &mut model)).await.unwrap();
        let mut replica = Replica::of(&cluster, &config).await;
        sink.commit(&step(2, &mut model)).await.unwrap();
        sink.commit(&step(3, &mut model)).await.unwrap();
        // a commit that waits for the progress row and whose caller does not
        let row = format!("SELECT 1 FROM {}.progress FOR UPDATE", config.schema);
        let promotion = replica.promotion();
        let blocker = replica.client.transaction().await.unwrap();
        blocker.query_one(&row, &[]).await.unwrap();
        let dropped = step(4, &mut model.clone());
        let wait = Duration::from_millis(200);
        assert!(tokio::time::timeout(wait, sink.commit(&dropped)).await.is_err());
        // what is left of it gets the row when nothing waits for it any more
        blocker.batch_execute(&promotion).await.unwrap();
        blocker.commit().await.unwrap();
        let what = "its tables are at commit 2, this run had committed 4";
        lost(&config, &mut sink, &dropped, what).await;
        lost(&config, &mut sink, &step(4, &mut model.clone()), what).await;
        let full_snapshot = Step {
            results: vec![vec![], model.contents(), vec![]],
            ..empty_full_snapshot(5)
        };
        lost(&config, &mut sink, &full_snapshot, what).await;
        assert!(matches!(sink.heartbeat(9).await, Err(SinkError::FenceLost { .. })));
        open(&config).await.commit(&full_snapshot).await.unwrap();
        assert_eq!(crate::tables::results(&config).await[1], model.rows());
    });
}

/// A control row that is not what it was, or that a trigger keeps from being written, stops the step that meets it.
#[test]
fn a_progress_row_that_is_not_one_row_stops_the_next_commit() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (quiet, twice) = (
            "CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
             CREATE TRIGGER keep BEFORE UPDATE ON progress FOR EACH ROW EXECUTE FUNCTION keep()",
            "ALTER TABLE progress DROP CONSTRAINT progress_pkey; INSERT INTO progress SELECT * FROM progress",
        );
        for (edit, undo, what) in [
            (quiet, "DROP TRIGGER keep ON progress", "its row is missing"),
            (
                twice,
                "DELETE FROM progress WHERE ctid <> (SELECT min(ctid) FROM progress)",
                "more than one row",
            ),
        ] {
            let config = cluster.config(&schema());
            let client = cluster.client().await;
            let within = |sql: &str| format!("SET search_path TO {}; {sql}", config.schema);
            let mut model = Model::default();
            let mut sink = open(&config).await;
            sink.commit(&empty_full_snapshot(0)).await.unwrap();
            sink.commit(&step(1, &mut model)).await.unwrap();
            let before = crate::tables::results(&config).await;
            client.batch_execute(&within(edit)).await.unwrap();
            let step = step(2, &mut model);
            let error = with_causes(&sink.commit(&step).await.expect_err(what));
            assert!(error.contains(what), "{error}");
            client.batch_execute(&within(undo)).await.unwrap();
            assert_eq!(crate::tables::results(&config).await, before, "{what}");
            assert_eq!(sink.commit(&step).await.unwrap().commits, 3);
        }
    });
}

#[test]
fn a_frontier_behind_the_last_commit_is_found_by_the_commit_that_moves_it() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let client = cluster.client().await;
        let mut model = Model::default();
        let mut sink = open(&config).await;
        sink.commit(&empty_full_snapshot(18)).await.unwrap();
        let back = format!(
            "UPDATE {}.frontier SET next_offset = 17 WHERE topic = 'pin'",
            config.schema
        );
        client.batch_execute(&back).await.unwrap();
        let what = "frontier pin/0 stands at 17, this run had committed 18";
        // with the same detail and with another
        lost(&config, &mut sink, &step(19, &mut model.clone()), what).await;
        lost(&config, &mut sink, &step(20, &mut model), what).await;
    });
}
