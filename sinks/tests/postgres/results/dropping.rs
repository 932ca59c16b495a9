//! Results that are dropped: which can be, when their tables go, and what a crash on the way leaves.

use super::*;
use std::process::Command;

#[test]
fn only_results_that_are_in_the_way_can_be_dropped() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = (cluster.config(&schema()), cluster.client().await);
        filled(&config).await;
        let search = format!(
            "SET search_path TO {}; CREATE TABLE foreign_one (a integer)",
            config.schema
        );
        client.batch_execute(&search).await.unwrap();
        for (name, reason) in [
            ("counts", "it is a result of this run with the columns"),
            ("things", "reserved table name"),
            ("progress", "reserved table name"),
            ("results", "reserved table name"),
            ("rejects", "reserved table name"),
            ("dead_letters", "reserved table name"),
            ("foreign_one", "has never had a result of this name"),
            ("COUNTS", "has never had a result of this name"),
            ("names; DROP TABLE wide", "has never had a result of this name"),
            ("", "has never had a result of this name"),
        ] {
            for (definition, more) in [(definition(), None), (without("names"), Some("names"))] {
                let names: Vec<&str> = [name].into_iter().chain(more).collect();
                let problems = refused(&config, &client, &dropping(definition, &names)).await;
                assert!(
                    matches!(&problems[..], [ResultProblem::NotDroppable { table, reason: found }]
                        if table == name && found.contains(reason)),
                    "{name}: {problems:?}"
                );
            }
        }
        // a control table stays one, whatever somebody has put into the records
        client
            .batch_execute("INSERT INTO results VALUES ('tombstones', '', '', 1)")
            .await
            .unwrap();
        let problems = refused(&config, &client, &dropping(definition(), &["tombstones"])).await;
        assert!(
            problems
                .iter()
                .any(|problem| problem.to_string().contains("reserved table name")),
            "{problems:?}"
        );
        client
            .batch_execute("DELETE FROM results WHERE name = 'tombstones'")
            .await
            .unwrap();
        // what DROP TABLE would fail on is said before history is read
        client
            .batch_execute("CREATE VIEW reading AS SELECT * FROM names")
            .await
            .unwrap();
        let problems = refused(&config, &client, &dropping(without("names"), &["names"])).await;
        assert_eq!(
            problems[0].to_string(),
            "--drop names: views read it, drop them first: reading"
        );
    });
}

#[test]
fn a_result_is_dropped_by_the_commit_that_takes_it_out_of_the_records() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = (cluster.config(&schema()), cluster.client().await);
        filled(&config).await;
        let less = dropping(without("names"), &["names"]);
        let mut sink = open_as(&config, Claim::Run, &less).await;
        assert_eq!(
            years(&client, &config.schema, "names").await,
            Some(vec![1, 2]),
            "until the commit"
        );
        let committed = sink.commit(&full_snapshot(&less, 3, &[])).await.unwrap();
        assert!(committed.notified);
        assert_eq!(years(&client, &config.schema, "names").await, None);
        let now = ["counts 1", "wide 1", "-names 1 2"];
        assert_eq!(records(&client, &config.schema).await, now);
        sink.close().await;

        // a unit that keeps the flag starts again, and so does one that takes it away
        for definition in [less.clone(), without("names")] {
            let mut sink = open_as(&config, Claim::Run, &definition).await;
            sink.commit(&full_snapshot(&definition, 3, &[])).await.unwrap();
            assert_eq!(records(&client, &config.schema).await, now);
            sink.close().await;
        }
        // a table of somebody else that has the name now is left alone
        client
            .batch_execute(&format!("CREATE TABLE {}.names (year integer)", config.schema))
            .await
            .unwrap();
        let mut sink = open_as(&config, Claim::Run, &less).await;
        sink.commit(&full_snapshot(&less, 3, &[])).await.unwrap();
        sink.close().await;
        assert!(exists(&client, &config.schema, "names").await);
        let back = Sink::connect(config.clone())
            .await
            .unwrap()
            .prepare(&definition())
            .await;
        assert!(matches!(back, Err(SinkError::SchemaMismatch { .. })), "{back:?}");
        client
            .batch_execute(&format!("DROP TABLE {}.names", config.schema))
            .await
            .unwrap();

        // given back, with the flag still there
        let back = dropping(definition(), &["names"]);
        let mut sink = open_as(&config, Claim::Run, &back).await;
        sink.commit(&full_snapshot(&back, 4, &[5])).await.unwrap();
        sink.close().await;
        assert_eq!(years(&client, &config.schema, "names").await, Some(vec![5]));
        let now = ["counts 1", "names 6", "wide 1", "-names 1 2"];
        assert_eq!(records(&client, &config.schema).await, now);
        let mut sink = open_as(&config, Claim::Run, &back).await;
        sink.commit(&full_snapshot(&back, 4, &[5])).await.unwrap();
        assert_eq!(
            years(&client, &config.schema, "names").await,
            Some(vec![5]),
            "not dropped again"
        );
    });
}

#[test]
fn a_drop_waits_for_whoever_reads_the_table() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = (cluster.config(&schema()), cluster.client().await);
        filled(&config).await;
        let less = dropping(without("names"), &["names"]);
        let mut sink = open_as(&config, Claim::Run, &less).await;
        let mut reader = cluster.client().await;
        let reading = reader.transaction().await.unwrap();
        let sql = format!("SELECT count(*) FROM {}.names", config.schema);
        reading.query_one(&sql, &[]).await.unwrap();
        let step = full_snapshot(&less, 3, &[]);
        let commit = tokio::spawn(async move { sink.commit(&step).await });
        tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
        assert!(!commit.is_finished());
        reading.rollback().await.unwrap();
        let committed = commit.await.unwrap().unwrap();
        assert!(committed.attempts > 1, "{committed:?}");
        assert_eq!(
            records(&client, &config.schema).await,
            ["counts 1", "wide 1", "-names 1 2"]
        );
    });
}

/// Not a test by itself: what the killed process does.
#[test]
#[ignore = "run by a_process_that_dies_while_it_drops_leaves_all_or_nothing"]
fn child() {
    let (Ok(url), Ok(schema)) = (std::env::var("CRASH_URL"), std::env::var("CRASH_SCHEMA")) else {
        return;
    };
    run(async {
        let config = PostgresConfig::new(url, schema);
        let definition = crash_definition();
        let mut sink = open_as(&config, Claim::Run, &definition).await;
        sink.commit(&full_snapshot(&definition, 3, &[7])).await.unwrap();
    });
}

/// One result goes, one gets other columns, one is new.
fn crash_definition() -> Definition {
    let mut other = reshaped();
    other.results.retain(|(table, _)| table.name != WIDE.name);
    other.results.push((MORE, "SELECT 3, 'x'".into()));
    dropping(other, &["names", "wide"])
}

#[test]
fn a_process_that_dies_while_it_drops_leaves_all_or_nothing() {
    let Some(cluster) = shared() else { return };
    run(async {
        let client = cluster.client().await;
        for (point, applied) in [
            ("after_begin", false),
            ("after_drop", false),
            ("after_drop=2", false),
            ("after_delete", false),
            ("before_commit", false),
            ("after_commit", true),
        ] {
            let config = cluster.config(&schema());
            filled(&config).await;
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--exact", "results::dropping::child", "--ignored", "--nocapture"]);
            child
                .env("CRASH_URL", cluster.url())
                .env("CRASH_SCHEMA", &config.schema)
                .env("PINFLOW_FAILPOINT", point);
            let output = tokio::task::spawn_blocking(move || child.output().unwrap())
                .await
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                !output.status.success() && said.contains(" reached: aborting"),
                "{point}: {said}"
            );

            // the server may still be ending the dead process's transaction: the fence waits for it
            let again = crash_definition();
            let mut sink = open_as(&config, Claim::Run, &again).await;
            let old = ["counts 1", "names 1", "wide 1"].as_slice();
            let new = ["counts 1", "more 2", "names 2", "-names 1 2", "-wide 1 2"].as_slice();
            let state = records(&client, &config.schema).await;
            assert_eq!(state, if applied { new } else { old }, "{point}");
            let names = if applied { vec![7] } else { vec![1, 2] };
            assert_eq!(years(&client, &config.schema, "names").await, Some(names), "{point}");
            assert_eq!(exists(&client, &config.schema, "wide").await, !applied, "{point}");
            assert_eq!(exists(&client, &config.schema, "more").await, applied, "{point}");
            // the same command line again ends where it would have
            sink.commit(&full_snapshot(&again, 3, &[7])).await.unwrap();
            assert_eq!(records(&client, &config.schema).await, new, "{point}");
            assert_eq!(years(&client, &config.schema, "more").await, Some(vec![7]), "{point}");
            assert!(!exists(&client, &config.schema, "wide").await, "{point}");
        }
    });
}
