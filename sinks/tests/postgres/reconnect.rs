//! Connections that break between and during commits, restarts, lost answers, passing troubles.

use crate::cluster::{Cluster, own, run, schema, shared};
use crate::listener::Listener;
use crate::proxy::Proxy;
use crate::tables::{Model, NAMES, empty_full_snapshot, open, progress};
use causes::with_causes;
use sinks::{PostgresConfig, Sink, SinkState, Step};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use values::{Row, Value};

fn name(year: i64, name: i64) -> Row {
    vec![Value::Int(year), format!("n{name}").as_str().into()]
}

/// The epoch's step: two new rows, the one of ten epochs ago goes.
fn step(epoch: u64, model: &mut Model) -> Step {
    let n = epoch as i64;
    let changes = model.change(&NAMES, &[name(n, 1), name(n, 2)], &[name(n - 10, 1)]);
    Step {
        epoch,
        results: vec![vec![], changes],
        progress: progress(n),
        ..Step::default()
    }
}

/// A proxy, and a schema of its own that is reached through it.
async fn behind_proxy(cluster: &Cluster) -> (Proxy, PostgresConfig) {
    let proxy = Proxy::start(cluster.port).await;
    let mut config = cluster.config(&schema());
    config.url = cluster.url_at(proxy.port);
    (proxy, config)
}

#[test]
fn broken_connections_lose_and_repeat_nothing() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut sink = open(&config).await;
        sink.commit(&empty_full_snapshot(0)).await.unwrap();
        let killed = Arc::new(AtomicU32::new(0));
        let killer = {
            let (cluster, schema, killed) = (cluster.clone(), config.schema.clone(), killed.clone());
            tokio::spawn(async move {
                let client = cluster.client().await;
                while killed.load(Ordering::Relaxed) < 20 {
                    tokio::time::sleep(Duration::from_millis(37)).await;
                    killed.fetch_add(cluster.terminate(&client, &schema).await as u32, Ordering::Relaxed);
                }
            })
        };
        let (mut model, mut attempts, mut epoch) = (Model::default(), 0, 0);
        while !killer.is_finished() {
            epoch += 1;
            let committed = sink.commit(&step(epoch, &mut model)).await.unwrap();
            assert_eq!((committed.commits, committed.missing), (epoch as i64 + 1, 0));
            attempts += u64::from(committed.attempts);
        }
        killer.await.unwrap();
        assert!(attempts > epoch, "no commit had to be tried again");
        assert_eq!(crate::tables::results(&config).await[1], model.rows());
        assert_eq!(sink.fence(), Some(1), "the same run all along");
    });
}

#[test]
fn a_restart_and_a_crash_of_the_server_need_nobody() {
    let Some(cluster) = own() else { return };
    let cluster = Arc::new(cluster);
    run(async {
        let config = cluster.config(&schema());
        let mut sink = open(&config).await;
        sink.commit(&empty_full_snapshot(0)).await.unwrap();
        let mut state = sink.state();
        let mut model = Model::default();
        let ends: [fn(&Cluster); 2] = [Cluster::stop, Cluster::abort];
        for (round, end) in ends.into_iter().enumerate() {
            let round = round as u64 * 100;
            for epoch in round + 1..round + 10 {
                sink.commit(&step(epoch, &mut model)).await.unwrap();
            }
            end(&cluster);
            let restart = {
                let cluster = cluster.clone();
                tokio::task::spawn_blocking(move || {
                    std::thread::sleep(Duration::from_millis(700));
                    cluster.launch();
                })
            };
            state.mark_unchanged();
            let committed = sink.commit(&step(round + 10, &mut model)).await.unwrap();
            assert!(committed.attempts > 1);
            assert_eq!(*state.borrow_and_update(), SinkState::Ready);
            restart.await.unwrap();
            assert_eq!(crate::tables::results(&config).await[1], model.rows());
        }
    });
}

#[test]
fn a_standby_is_waited_for_until_it_is_promoted() {
    let Some(cluster) = own() else { return };
    let cluster = Arc::new(cluster);
    run(async {
        let config = cluster.config(&schema());
        let mut sink = open(&config).await;
        let mut model = Model::default();
        sink.commit(&empty_full_snapshot(0)).await.unwrap();
        sink.commit(&step(1, &mut model)).await.unwrap();
        cluster.stop();
        let standby = cluster.clone();
        let launched = tokio::task::spawn_blocking(move || standby.launch_as_standby());
        launched.await.unwrap();
        let started = Sink::connect(config.clone()).await.err().expect("it takes no writes");
        assert!(started.to_string().contains("is a standby"), "{started}");
        let client = cluster.client().await;
        let promotion = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(700)).await;
            client
                .query_one("SELECT pg_promote()", &[])
                .await
                .unwrap()
                .get::<_, bool>(0)
        });
        let committed = sink.commit(&step(2, &mut model)).await.unwrap();
        assert!(committed.attempts > 1 && committed.commits == 3, "{committed:?}");
        assert!(promotion.await.unwrap());
        assert_eq!(crate::tables::results(&config).await[1], model.rows());
    });
}

#[test]
fn a_lost_answer_to_commit_is_resolved() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (proxy, config) = behind_proxy(&cluster).await;
        let mut sink = open(&config).await;
        let mut model = Model::default();
        for epoch in 0..12 {
            let (lost, unheard) = (epoch % 3 == 1, epoch % 3 == 2);
            proxy.forward_first.store(lost, Ordering::Relaxed);
            proxy.cuts.store(u32::from(lost || unheard), Ordering::Relaxed);
            // the first one is a full snapshot: its answer gets lost too in the second round
            let mut step = step(epoch, &mut model);
            if epoch % 4 == 0 {
                step = Step {
                    full_snapshot: true,
                    results: vec![vec![], model.contents(), vec![]],
                    ..step
                };
            }
            let committed = sink.commit(&step).await.unwrap();
            assert_eq!(committed.resolved, lost, "epoch {epoch}");
            assert_eq!(committed.attempts, if lost || unheard { 2 } else { 1 }, "epoch {epoch}");
            assert_eq!(committed.commits, epoch as i64 + 1, "once, epoch {epoch}");
            assert_eq!(
                crate::tables::results(&cluster.config(&config.schema)).await[1],
                model.rows()
            );
        }
        // three answers in a row: the second and third meet the sink while it finds out about the first
        proxy.forward_first.store(true, Ordering::Relaxed);
        proxy.cuts.store(3, Ordering::Relaxed);
        for epoch in 12..20 {
            assert_eq!(
                sink.commit(&step(epoch, &mut model)).await.unwrap().commits,
                epoch as i64 + 1
            );
        }
        assert_eq!(
            crate::tables::results(&cluster.config(&config.schema)).await[1],
            model.rows()
        );
    });
}

/// A step that waited for an answer before its COMMIT would wait for ever.
#[test]
fn a_live_step_is_one_round_trip() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (proxy, config) = behind_proxy(&cluster).await;
        let mut sink = open(&config).await;
        let mut model = Model::default();
        sink.commit(&empty_full_snapshot(0)).await.unwrap();
        proxy.answers_wait.store(true, Ordering::Relaxed);
        for epoch in 1..5 {
            let step = step(epoch, &mut model);
            let committed = tokio::time::timeout(Duration::from_secs(20), sink.commit(&step));
            let committed = committed.await.expect("one round trip").unwrap();
            assert_eq!((committed.attempts, committed.commits), (1, epoch as i64 + 1));
            assert!(committed.notified && committed.changed[1] > 0, "{committed:?}");
        }
        let heartbeat = tokio::time::timeout(Duration::from_secs(20), sink.heartbeat(5));
        heartbeat.await.expect("one round trip").unwrap();
        assert_eq!(
            crate::tables::results(&cluster.config(&config.schema)).await[1],
            model.rows()
        );
    });
}

/// What travels behind a BEGIN that fails must not be written on its own.
#[test]
fn without_its_begin_nothing_of_a_step_is_written() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (proxy, config) = behind_proxy(&cluster).await;
        let direct = cluster.config(&config.schema);
        let mut sink = open(&config).await;
        let mut model = Model::default();
        sink.commit(&empty_full_snapshot(0)).await.unwrap();
        sink.commit(&step(1, &mut model)).await.unwrap();
        // as if it were a check that has failed: tried again in parts
        *proxy.instead.lock().unwrap() = Some("SELECT 1/0");
        let committed = sink.commit(&step(2, &mut model)).await.unwrap();
        assert_eq!((committed.attempts, committed.commits), (1, 3));
        assert_eq!(crate::tables::results(&direct).await[1], model.rows());
        // final; nobody hears of a commit that is none
        let mut news = Listener::start(&cluster, &config.schema).await;
        let before = model.rows();
        *proxy.instead.lock().unwrap() = Some("NONSENSE");
        let step = step(3, &mut model);
        assert!(sink.commit(&step).await.is_err());
        assert_eq!(crate::tables::results(&direct).await[1], before);
        assert_eq!(sink.commit(&step).await.unwrap().commits, 4);
        assert_eq!(crate::tables::results(&direct).await[1], model.rows());
        let (_, payload) = news.next().await;
        assert_eq!(payload, r#"{"commit":4,"epoch":3,"tables":["names"]}"#);
        assert!(news.is_silent(), "that of the failed one");
    });
}

#[test]
fn passing_troubles_are_waited_out() {
    let Some(cluster) = shared() else { return };
    run(async {
        let mut config = cluster.config(&schema());
        config.statement_timeout = Duration::from_millis(150);
        let mut sink = open(&config).await;
        let mut model = Model::default();
        sink.commit(&empty_full_snapshot(0)).await.unwrap();
        sink.commit(&step(1, &mut model)).await.unwrap();
        let mut client = cluster.client().await;
        let blocker = client.transaction().await.unwrap();
        blocker
            .execute(&format!("SELECT * FROM {}.names FOR UPDATE", config.schema), &[])
            .await
            .unwrap();
        let mut state = sink.state();
        let next = step(11, &mut model);
        let commit = tokio::spawn(async move { (sink.commit(&next).await, sink) });
        state
            .wait_for(|state| matches!(state, SinkState::Retrying(_)))
            .await
            .unwrap();
        blocker.rollback().await.unwrap();
        let (committed, sink) = commit.await.unwrap();
        assert!(committed.unwrap().attempts > 1);
        assert_eq!(sink.read_progress().await.unwrap().commits, 3);
        assert_eq!(crate::tables::results(&config).await[1], model.rows());
    });
}

#[test]
fn errors_of_the_server_are_retried_or_final_by_their_code() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let client = cluster.client().await;
        let mut sink = open(&config).await;
        sink.commit(&empty_full_snapshot(0)).await.unwrap();
        // a trigger that fails twice with a code; a sequence counts on through rollbacks
        let install = format!(
            "SET search_path TO {}; CREATE SEQUENCE tries; CREATE TABLE code (code text);
             CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF nextval('tries') % 3 <> 0 THEN
                 RAISE EXCEPTION 'no luck' USING ERRCODE = (SELECT code FROM code);
               END IF;
               RETURN NULL;
             END $$;
             CREATE TRIGGER fail AFTER INSERT ON names FOR EACH STATEMENT EXECUTE FUNCTION fail()",
            config.schema
        );
        client.batch_execute(&install).await.unwrap();
        let (mut model, mut epoch) = (Model::default(), 0);
        for code in [
            "53100", "53200", "40001", "40P01", "57014", "55P03", "58030", "57P01", "08006", "25006",
        ] {
            client
                .batch_execute(&format!("DELETE FROM code; INSERT INTO code VALUES ('{code}')"))
                .await
                .unwrap();
            epoch += 1;
            let committed = sink.commit(&step(epoch, &mut model)).await.unwrap();
            assert_eq!(committed.attempts, 3, "{code}");
            assert_eq!(crate::tables::results(&config).await[1], model.rows(), "{code}");
        }
        for code in ["23505", "42501", "22023", "42P01", "0A000", "P0001"] {
            let reset = format!("DELETE FROM code; INSERT INTO code VALUES ('{code}'); SELECT setval('tries', 3)");
            client.batch_execute(&reset).await.unwrap();
            let error = sink.commit(&step(epoch + 1, &mut model.clone())).await.unwrap_err();
            assert!(with_causes(&error).contains(code), "{code}: {error}");
            assert_eq!(error.class(), sinks::Class::Stop);
            assert!(matches!(*sink.state().borrow(), SinkState::Stopped(_)));
            assert_eq!(crate::tables::results(&config).await[1], model.rows(), "{code}");
        }
        // a final error of a run that was superseded meanwhile says so instead
        client.batch_execute("UPDATE progress SET fence = 2").await.unwrap();
        assert!(
            sink.commit(&step(epoch + 1, &mut model.clone()))
                .await
                .unwrap_err()
                .is_fenced()
        );
    });
}

#[test]
fn a_dropped_commit_is_found_out_about() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut sink = open(&config).await;
        let mut model = Model::default();
        sink.commit(&empty_full_snapshot(0)).await.unwrap();
        for epoch in 1..60 {
            let step = step(epoch, &mut model);
            // from not even sent to long done
            let limit = Duration::from_micros(epoch * 60);
            let before = sink.progress().commits;
            if tokio::time::timeout(limit, sink.commit(&step)).await.is_err() {
                sink.heartbeat(epoch).await.unwrap();
                let commits = sink.progress().commits;
                assert!(commits == before + 1 || commits == before + 2, "{before} to {commits}");
                if commits == before + 1 {
                    // it did not get through
                    sink.commit(&step).await.unwrap();
                }
            }
        }
        assert_eq!(crate::tables::results(&config).await[1], model.rows());
    });
}

#[test]
fn an_absent_server_is_an_error_at_the_start() {
    run(async {
        // port 1 of this machine
        let config = sinks::PostgresConfig::new("postgres://x@127.0.0.1:1/x?sslmode=disable", "pinflow");
        let error = Sink::connect(config).await.map(|_| ()).unwrap_err();
        assert_eq!(
            with_causes(&error),
            "cannot connect to postgres at 127.0.0.1:1, database x: connection refused"
        );
    });
}
