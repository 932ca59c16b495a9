//! Tables of an earlier version: opened, given the columns of this one, and otherwise left as they are.

use crate::cluster::{Cluster, run, schema, shared};
use crate::tables::{NAMES, RESULTS, THINGS, definition, open, registers, run_id};
use causes::with_causes;
use sinks::{
    AcceptedGap, Claim, Generation, LastRecord, Legacy, PostgresConfig, Progress, Reader, Sink, SinkError, Step,
};
use std::time::Duration;
use values::{Ind, Value};

/// Restores the dump of the earlier version's tables into a schema of its own.
async fn earlier(cluster: &Cluster) -> (PostgresConfig, tokio_postgres::Client) {
    let (config, client) = (cluster.config(&schema()), cluster.client().await);
    let dump = include_str!("earlier_tables.sql");
    let dump = dump
        .replace("CREATE SCHEMA upgrade;", &format!("CREATE SCHEMA {};", config.schema))
        .replace(" upgrade.", &format!(" {}.", config.schema));
    client.batch_execute(&dump).await.unwrap();
    (config, client)
}

/// Columns of every table: name, type, nullable.
async fn columns(client: &tokio_postgres::Client, schema: &str) -> Vec<String> {
    let sql = "SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable \
               FROM information_schema.columns WHERE table_schema = $1 ORDER BY table_name, ordinal_position";
    let rows = client.query(sql, &[&schema]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Every row of the tables that hold more than what can be read back through the sinks, as text.
async fn rows(client: &tokio_postgres::Client, schema: &str) -> Vec<String> {
    let mut all = Vec::new();
    for table in ["rejects", "tombstones", "things", "others", "counts", "names", "wide"] {
        let sql = format!("SELECT t::text FROM {schema}.{table} t ORDER BY 1");
        let rows = client.query(&sql, &[]).await.unwrap();
        all.extend(rows.iter().map(|row| format!("{table} {}", row.get::<_, &str>(0))));
    }
    all
}

/// What the dump records.
fn recorded() -> Progress {
    let generation = |partition, start| Generation {
        topic: "pin".into(),
        generation: 2,
        partition,
        start,
    };
    let mut recorded = Progress {
        fence: 1,
        commits: 2,
        epoch: 5,
        definitions: Some(0xabc),
        legacy: Legacy {
            count: 3,
            hash: 0xfeed_beef_0123_4567,
        },
        generations: [generation(0, 40), generation(1, 0)].into(),
        gaps: [AcceptedGap {
            topic: "pin".into(),
            partition: 0,
            from: 7,
            to: 9,
            reason: "no object holds it".into(),
            object: None,
        }]
        .into(),
        ..crate::tables::progress(42)
    };
    recorded
        .partitions
        .values_mut()
        .for_each(|partition| partition.last = None);
    recorded
}

#[test]
fn tables_of_the_earlier_version_are_read_without_being_touched() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = earlier(&cluster).await;
        let before = columns(&client, &config.schema).await;
        let mut reader = Reader::connect(&config).await.unwrap();
        assert_eq!(reader.progress().await.unwrap(), recorded());
        let verification = reader.verify(&definition(), 10).await.unwrap();
        assert!(verification.is_clean(), "{verification:?}");
        let snapshot = reader.snapshot().await.unwrap();
        assert_eq!(snapshot.reject_counts().await.unwrap(), [("not_json".to_owned(), 3)]);
        assert_eq!(
            snapshot
                .cleaned_of(&THINGS, &[Ind(1), Ind(2), Ind(3)])
                .await
                .unwrap()
                .len(),
            2
        );
        assert_eq!(columns(&client, &config.schema).await, before);
    });
}

#[test]
fn tables_of_the_earlier_version_gain_columns_keep_their_rows_and_take_commits() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = earlier(&cluster).await;
        let (was, held) = (
            columns(&client, &config.schema).await,
            rows(&client, &config.schema).await,
        );
        // several at once: one alters, the others find it done
        let prepare = || async {
            Sink::connect(config.clone())
                .await
                .unwrap()
                .prepare(&definition())
                .await
        };
        let (a, b, c) = tokio::join!(prepare(), prepare(), prepare());
        a.and(b).and(c).unwrap();
        let fresh = cluster.config(&schema());
        Sink::connect(fresh.clone())
            .await
            .unwrap()
            .prepare(&definition())
            .await
            .unwrap();
        let is = columns(&client, &config.schema).await;
        assert_eq!(is, columns(&client, &fresh.schema).await, "as a schema made today");
        assert!(was.len() < is.len() && was.iter().all(|column| is.contains(column)));
        // a table that is new may demand what it likes
        let table = |column: &String| column.split('.').next().unwrap_or_default().to_owned();
        let known: Vec<String> = was.iter().map(table).collect();
        assert!(
            is.iter()
                .filter(|column| !was.contains(column) && known.contains(&table(column)))
                .all(|column| column.ends_with(" YES"))
        );
        assert_eq!(rows(&client, &config.schema).await, held);

        let mut sink = open(&config).await;
        let known = Progress { fence: 2, ..recorded() };
        assert_eq!(sink.progress(), &known);
        // a live step, as of a run that had gone on
        let mut progress = known;
        let pin = progress.partitions.get_mut(&("pin".to_owned(), 0)).unwrap();
        pin.next = 43;
        pin.last = Some(LastRecord {
            offset: 42,
            timestamp: 1,
            hash: u64::MAX,
        });
        progress.topics = [("pin".into(), "pin".into())].into();
        let step = Step {
            epoch: 6,
            results: vec![vec![], vec![(vec![Value::Int(2021), "c".into()], 1)]],
            progress,
            ..Step::default()
        };
        sink.commit(&step).await.unwrap();
        let stored = Reader::connect(&config).await.unwrap().progress().await.unwrap();
        assert_eq!(&stored, sink.progress());
        assert_eq!(stored.partitions, step.progress.partitions);
        let tables = Reader::connect(&config)
            .await
            .unwrap()
            .tables(&[NAMES, RESULTS[0]])
            .await
            .unwrap()
            .1;
        assert_eq!((tables[0].len(), tables[1].len()), (3, 2));
        assert_eq!(registers(&config, &client, &THINGS).await.len(), 3);
    });
}

#[test]
fn a_column_that_is_there_in_another_place_is_enough_and_one_of_another_shape_is_not() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = earlier(&cluster).await;
        let search = format!("SET search_path TO {}", config.schema);
        client.batch_execute(&search).await.unwrap();
        let early = "ALTER TABLE progress ADD partition_counts jsonb";
        client.batch_execute(early).await.unwrap();
        let mut sink = Sink::connect(config.clone()).await.unwrap();
        sink.prepare(&definition()).await.unwrap();
        for (change, object) in [
            ("ALTER TABLE progress ALTER topics TYPE text", "column topics"),
            ("ALTER TABLE frontier ADD extra bigint", "column extra"),
            ("ALTER TABLE gaps ALTER object SET NOT NULL", "column object"),
        ] {
            client
                .batch_execute(&format!("BEGIN; DELETE FROM gaps; {change}; COMMIT"))
                .await
                .unwrap();
            match sink.prepare(&definition()).await {
                Err(SinkError::SchemaMismatch { object: found, .. }) => assert_eq!(found, object),
                other => panic!("{change}: {other:?}"),
            }
            let undo = "ALTER TABLE progress ALTER topics TYPE jsonb USING topics::jsonb; \
                        ALTER TABLE frontier DROP COLUMN IF EXISTS extra";
            client.batch_execute(undo).await.unwrap();
        }
    });
}

#[test]
fn a_role_that_may_not_alter_is_named_with_the_owner_and_the_statements() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = earlier(&cluster).await;
        let role = format!("writer_{}", config.schema);
        let grants = format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE, CREATE ON SCHEMA {0} TO {role}; \
             GRANT ALL ON ALL TABLES IN SCHEMA {0} TO {role}",
            config.schema
        );
        client.batch_execute(&grants).await.unwrap();
        let mut as_role = config.clone();
        as_role.url = config.url.replace("postgres@", &format!("{role}@"));
        let mut sink = Sink::connect(as_role.clone()).await.unwrap();
        let error = sink.prepare(&definition()).await.unwrap_err();
        let text = with_causes(&error);
        assert!(matches!(error, SinkError::Upgrade { .. }), "{text}");
        for part in [
            &format!("schema {}", config.schema),
            &format!("GRANT \"postgres\" TO \"{role}\""),
            &format!("ALTER TABLE \"{}\".\"progress\" ADD COLUMN", config.schema),
            &format!("ALTER TABLE \"{}\".\"gaps\" ADD COLUMN", config.schema),
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        // what it says to run is enough
        let (_, statements) = text.split_once("or run as \"postgres\": ").unwrap();
        client.batch_execute(statements).await.unwrap();
        sink.prepare(&definition()).await.unwrap();
        sink.take_fence(Claim::Run, &run_id()).await.unwrap();
        sink.heartbeat(6).await.unwrap();
    });
}

#[test]
fn an_upgrade_waits_for_whoever_reads_the_tables() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, mut client) = earlier(&cluster).await;
        let reading = client.transaction().await.unwrap();
        let sql = format!("SELECT commits FROM {}.progress", config.schema);
        reading.query_one(&sql, &[]).await.unwrap();
        let prepared = tokio::spawn(async move {
            let mut sink = Sink::connect(config.clone()).await?;
            sink.prepare(&definition()).await?;
            Ok::<_, SinkError>(config)
        });
        // longer than one try waits; others can read meanwhile, between the tries
        tokio::time::sleep(Duration::from_millis(2500)).await;
        assert!(!prepared.is_finished());
        let other = cluster.client().await;
        tokio::time::timeout(Duration::from_secs(10), other.query_one(&sql, &[]))
            .await
            .expect("a reader gets its turn")
            .unwrap();
        reading.rollback().await.unwrap();
        let config = prepared.await.unwrap().unwrap();
        open(&config).await.heartbeat(6).await.unwrap();
    });
}

#[test]
fn a_schema_that_another_run_holds_is_altered_by_whoever_takes_it_over() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = earlier(&cluster).await;
        // a run of the earlier version, as far as a later one can tell: it holds the lock, and columns are missing
        let mut running = open(&config).await;
        let older = format!("ALTER TABLE {}.gaps DROP COLUMN object", config.schema);
        client.batch_execute(&older).await.unwrap();
        let has_it = async || {
            let columns = columns(&client, &config.schema).await;
            columns.iter().any(|column| column.starts_with("gaps.object "))
        };
        let mut backfill = Sink::connect(config.clone()).await.unwrap();
        backfill.prepare(&definition()).await.unwrap();
        let refused = backfill
            .take_fence(Claim::Backfill { takeover: false }, "backfill")
            .await;
        assert!(matches!(refused, Err(SinkError::Held { .. })), "{refused:?}");
        assert!(!has_it().await);
        running.heartbeat(6).await.unwrap();
        backfill
            .take_fence(Claim::Backfill { takeover: true }, "backfill")
            .await
            .unwrap();
        assert!(has_it().await);
        backfill.heartbeat(7).await.unwrap();
        assert!(running.heartbeat(8).await.unwrap_err().is_fenced());
    });
}

#[test]
fn a_run_that_was_stopped_in_a_commit_does_not_keep_the_tables_from_its_successor() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, mut client) = earlier(&cluster).await;
        let mut stopped = open(&config).await;
        let older = format!("ALTER TABLE {}.progress DROP COLUMN topics", config.schema);
        client.batch_execute(&older).await.unwrap();
        // it keeps the progress row locked for as long as somebody else has locked a row that it deletes
        let blocker = client.transaction().await.unwrap();
        let lock = format!("SELECT * FROM {}.names FOR UPDATE", config.schema);
        blocker.execute(&lock, &[]).await.unwrap();
        let step = Step {
            epoch: 6,
            results: vec![vec![], vec![(vec![Value::Int(2020), "a".into()], -1)]],
            progress: stopped.progress().clone(),
            ..Step::default()
        };
        let zombie = tokio::spawn(async move { stopped.commit(&step).await });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut new = tokio::time::timeout(Duration::from_secs(20), open(&config))
            .await
            .expect("the fence in time");
        blocker.rollback().await.unwrap();
        // fenced, or stumbling over the column that is missing here and was not where it came from
        zombie.await.unwrap().unwrap_err();
        new.heartbeat(7).await.unwrap();
        assert_eq!(new.read_progress().await.unwrap().commits, 3);
    });
}
