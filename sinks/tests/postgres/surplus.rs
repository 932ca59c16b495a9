//! Dead letters that are staged and that there will be no room for: the staging tables stay small, and the tables come
//! out as if every dead letter had been inserted and limited then.

use crate::cluster::{run, schema, shared};
use crate::history::{cases, stage_as};
use crate::tables::{empty_full_snapshot, open, progress, settling};
use proptest::prelude::*;
use sinks::{
    PostgresConfig, Reject, RejectLimits, RejectPlace, Sink, SinkError, StageBatch, StagedHistory, StagerOptions, Step,
};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Every batch is a `COPY`.
const ONE_BY_ONE: StagerOptions = StagerOptions {
    bytes_in_flight: 1,
    bytes_per_copy: 1,
};

/// A dead letter whose content follows from its place and from where it was read.
fn letter(place: RejectPlace, salt: i64) -> Reject {
    let (number, reason) = match &place {
        RejectPlace::Log {
            partition,
            offset,
            object,
        } => (
            offset * 3 + i64::from(*partition) + salt + if object.is_some() { 1 } else { 0 },
            if object.is_some() { "lake" } else { "kafka" },
        ),
        RejectPlace::Object { object, index } => (object.len() as i64 + index + salt, "object"),
    };
    Reject {
        topic: "pin".into(),
        place,
        reason: format!("{reason}{}", number % 2),
        key: (number % 4 == 0).then(|| vec![b'k'; 2]),
        value: (number % 5 != 0).then(|| vec![b'v'; (number % 5) as usize]),
    }
}

fn in_log(partition: i32, offset: i64, object: Option<&str>) -> RejectPlace {
    RejectPlace::Log {
        partition,
        offset,
        object: object.map(Into::into),
    }
}

#[derive(Clone, Debug)]
struct Scenario {
    limits: RejectLimits,
    /// What live commits brought before.
    before: Vec<Vec<Reject>>,
    staged: Vec<Vec<Reject>>,
    /// What the settling commit brings besides.
    beside: Vec<Reject>,
    /// What a live commit brings afterwards.
    after: Vec<Reject>,
    history: StagedHistory,
}

fn letters(offsets: i64, objects: bool, salt: i64, count: usize) -> impl Strategy<Value = Vec<Reject>> {
    let object = proptest::sample::select(vec![None, Some("o"), Some("p")]);
    let log = (0i32..3, 0..offsets, object);
    let log = log.prop_map(move |(partition, offset, object)| in_log(partition, offset, object.filter(|_| objects)));
    let legacy = ("[a-c]{1,2}", 0i64..3).prop_map(|(object, index)| RejectPlace::Object { object, index });
    let place = prop_oneof![8 => log, if objects { 1 } else { 0 } => legacy];
    let letter = place.prop_map(move |place| letter(place, salt));
    proptest::collection::vec(letter, 0..count)
}

fn ranges(offsets: i64) -> impl Strategy<Value = Vec<(String, i32, Range<i64>)>> {
    let range = (0i32..3, 0..offsets, 0..offsets / 2);
    let range = range.prop_map(|(partition, first, length)| ("pin".to_owned(), partition, first..first + length));
    prop_oneof![2 => Just(vec![]), 1 => proptest::collection::vec(range, 1..4)]
}

fn scenario() -> impl Strategy<Value = Scenario> {
    // the second keeps a hundredth free
    let scales = prop_oneof![3 => (2u64..9, 8u64..60, Just(14i64), Just(40usize)),
                             1 => (100u64..130, 150u64..400, Just(120i64), Just(400usize))];
    scales.prop_flat_map(|(rows, bytes, offsets, count)| {
        let before = proptest::collection::vec(letters(offsets, false, 0, count / 3), 0..4);
        let staged = (
            letters(offsets + 3, true, 0, count),
            letters(offsets + 3, true, 5, count),
            any::<bool>(),
        );
        let staged = staged.prop_map(|(same, other, is_same)| if is_same { same } else { other });
        let rest = (letters(offsets, false, 0, 4), letters(offsets + 6, false, 0, count / 4));
        (
            before,
            staged,
            1usize..9,
            rest,
            any::<bool>(),
            ranges(offsets),
            ranges(offsets),
        )
            .prop_map(
                move |(before, staged, size, (beside, after), full, from_kafka, replaced_rejects)| Scenario {
                    limits: RejectLimits {
                        record_bytes: 3,
                        rows,
                        bytes,
                    },
                    before,
                    staged: staged.chunks(size).map(<[Reject]>::to_vec).collect(),
                    beside,
                    after,
                    history: StagedHistory {
                        full,
                        from_kafka,
                        replaced_rejects,
                        ..StagedHistory::default()
                    },
                },
            )
    })
}

/// Both tables, with the order of their times instead of the times.
async fn contents(client: &tokio_postgres::Client, schema: &str) -> Vec<String> {
    let sql = format!(
        "SELECT ROW(source, position, topic, partition, \"offset\", object, reason, key, value, \
         dense_rank() OVER (ORDER BY rejected_at))::text FROM {schema}.rejects UNION ALL \
         SELECT ROW('dropped', topic, partition, from_position, to_position, object, rows, bytes, \
         dense_rank() OVER (ORDER BY dropped_at))::text FROM {schema}.rejects_dropped ORDER BY 1"
    );
    let rows = client.query(&sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// Dead letters that have left the staging table.
async fn surplus(client: &tokio_postgres::Client, config: &PostgresConfig, sink: &Sink) -> u64 {
    let sql = format!(
        "SELECT coalesce(sum(cardinality(positions)), 0)::bigint FROM {}.staging_{}_rejects_surplus",
        config.schema,
        sink.fence().unwrap()
    );
    client.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0) as u64
}

/// How the tables come out after the settling commit and after the next one, how many were dropped by each, and how
/// many dead letters had left the staging table before; `early` says whether stagers look for such.
async fn play(
    config: &PostgresConfig,
    client: &tokio_postgres::Client,
    scenario: &Scenario,
    early: bool,
) -> (Vec<Vec<String>>, Vec<u64>, u64) {
    let config = PostgresConfig {
        schema: schema(),
        rejects: scenario.limits,
        ..config.clone()
    };
    let mut staging = config.clone();
    if !early {
        (staging.rejects.rows, staging.rejects.bytes) = (u64::MAX, u64::MAX);
    }
    let mut sink = open(&config).await;
    sink.commit(&empty_full_snapshot(1)).await.unwrap();
    let live = |epoch: i64, rejects: &[Reject]| Step {
        epoch: epoch as u64,
        rejects: rejects.to_vec(),
        progress: progress(1 + epoch),
        ..Step::default()
    };
    for (epoch, rejects) in scenario.before.iter().enumerate() {
        sink.commit(&live(1 + epoch as i64, rejects)).await.unwrap();
    }
    drop(sink);
    let mut sink = open(&config).await;
    let (mut moved, mut passes) = (0, 0);
    let settled = loop {
        sink.create_staging().await.unwrap();
        let batches = scenario.staged.iter().map(|rejects| StageBatch {
            cleaned: vec![],
            rejects: rejects.clone(),
        });
        let fence = sink.fence().unwrap();
        let rows = stage_as(&staging, fence, batches.collect(), ONE_BY_ONE).await.unwrap();
        moved += surplus(client, &config, &sink).await;
        let step = Step {
            staged: Some(StagedHistory {
                rows,
                ..scenario.history.clone()
            }),
            reject_topics: vec!["pin".into()],
            rejects: scenario.beside.clone(),
            ..empty_full_snapshot(50)
        };
        match sink.commit(&step).await {
            Ok(committed) => break committed.dropped_rejects,
            Err(SinkError::Restage { .. }) if early => passes += 1,
            Err(error) => panic!("{error}"),
        }
        assert!(passes < 10, "it comes to an end");
    };
    let mut tables = vec![contents(client, &config.schema).await];
    let last = sink.commit(&live(50, &scenario.after)).await.unwrap().dropped_rejects;
    tables.push(contents(client, &config.schema).await);
    let drop_all = format!("DROP SCHEMA {} CASCADE", config.schema);
    client.batch_execute(&drop_all).await.unwrap();
    (tables, vec![settled, last], moved)
}

#[test]
fn the_tables_are_what_they_would_be_if_all_had_been_inserted_and_limited_then() {
    let Some(cluster) = shared() else { return };
    let moved = AtomicU64::new(0);
    // how many are moved depends on when stagers look, and so on how busy the machine is
    for _ in 0..10 {
        cases(24)
            .run(&scenario(), |scenario| {
                run(async {
                    let (config, client) = (cluster.config("unused"), cluster.client().await);
                    let (wanted, dropped, none) = play(&config, &client, &scenario, false).await;
                    prop_assert_eq!(none, 0);
                    let (found, dropped_too, early) = play(&config, &client, &scenario, true).await;
                    moved.fetch_add(early, Ordering::Relaxed);
                    prop_assert_eq!(found, wanted);
                    prop_assert_eq!(dropped_too, dropped);
                    Ok(())
                })
            })
            .unwrap();
        if moved.load(Ordering::Relaxed) > 200 {
            break;
        }
    }
    assert!(moved.into_inner() > 200, "stagers moved some");
}

/// Those that fill the table by themselves turn out to be none: Kafka had other records there.
#[test]
fn history_is_staged_again_where_too_much_was_taken_for_surplus() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = (cluster.config("unused"), cluster.client().await);
        let from_lake = (0..60).map(|offset| letter(in_log(0, offset, Some("o")), 0));
        let staged: Vec<Reject> = from_lake.collect();
        let scenario = Scenario {
            limits: RejectLimits {
                record_bytes: 3,
                rows: 5,
                bytes: 1000,
            },
            before: vec![],
            staged: staged.chunks(4).map(<[Reject]>::to_vec).collect(),
            beside: vec![],
            after: vec![],
            history: StagedHistory {
                from_kafka: vec![("pin".into(), 0, 40..60)],
                ..StagedHistory::default()
            },
        };
        let (wanted, dropped, _) = play(&config, &client, &scenario, false).await;
        let (found, dropped_too, moved) = play(&config, &client, &scenario, true).await;
        assert_eq!((found, dropped_too), (wanted, dropped));
        assert!(moved > 50, "{moved}");
    });
}

/// Bytes that do not compress.
fn noise(seed: i64, length: usize) -> Vec<u8> {
    let mut state = (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn the_staging_tables_stay_within_the_limits_while_history_is_read() {
    let Some(cluster) = shared() else { return };
    run(async {
        const CAP: u64 = 256 << 10;
        let mut config = cluster.config(&schema());
        config.rejects = RejectLimits {
            record_bytes: 2048,
            rows: 1_000_000,
            bytes: CAP,
        };
        let client = cluster.client().await;
        let mut sink = open(&config).await;
        sink.create_staging().await.unwrap();
        // partitions of Kafka and of the lake, and objects without offsets that hold one each
        let place = |number: i64| match number % 8 {
            7 => RejectPlace::Object {
                object: format!("events/{number}.json"),
                index: 0,
            },
            partition => in_log(partition as i32, number / 8, (partition > 3).then_some("o")),
        };
        let numbers = (0..4000i64).map(|number| number * 1237 % 4000);
        let letters: Vec<Reject> = numbers
            .map(|number| Reject {
                value: Some(noise(number, 2048)),
                ..letter(place(number), 0)
            })
            .collect();
        let batches = letters.chunks(4).map(|rejects| StageBatch {
            cleaned: vec![],
            rejects: rejects.to_vec(),
        });
        let (fence, staging) = (sink.fence().unwrap(), config.clone());
        let batches = batches.collect();
        let staged = tokio::spawn(async move { stage_as(&staging, fence, batches, ONE_BY_ONE).await });
        let sql = "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c \
                   JOIN pg_namespace n ON n.oid = c.relnamespace \
                   WHERE n.nspname = $1 AND c.relname LIKE 'staging_%_reject%' AND c.relkind = 'r'";
        let mut largest = 0;
        while !staged.is_finished() {
            largest = client
                .query_one(sql, &[&config.schema])
                .await
                .unwrap()
                .get::<_, i64>(0)
                .max(largest);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let rows = staged.await.unwrap().unwrap();
        assert_eq!(rows.rejects, 4000);
        // The table and half as much again for each of two stagers, places of all, and a row for each object. Each of
        // the files is extended by 20 pages at once where both stagers want one.
        let limit = 2 * CAP + 4000 * 24 + 500 * 200 + 4 * 20 * 8192 + (160 << 10);
        assert!(largest > 0 && largest < limit as i64, "{largest} bytes of {limit}");
        let step = Step {
            staged: Some(settling(rows, true)),
            reject_topics: vec!["pin".into()],
            ..empty_full_snapshot(1)
        };
        let dropped = sink.commit(&step).await.unwrap().dropped_rejects;
        let sql = format!("SELECT count(*), sum(length(value)) FROM {}.rejects", config.schema);
        let row = client.query_one(&sql, &[]).await.unwrap();
        let (kept, bytes): (i64, i64) = (row.get(0), row.get(1));
        assert_eq!(kept as u64 + dropped, 4000);
        assert!((CAP - 4096..=CAP).contains(&(bytes as u64)), "{bytes}");
    });
}

/// The staging table as the earlier version made it, left by a run that was killed.
#[test]
fn a_staging_table_of_the_earlier_version_is_in_nobodys_way() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let client = cluster.client().await;
        drop(open(&config).await);
        let columns = "source text, position bigint, topic text, partition integer, \"offset\" bigint, object text, \
                       reason text, key bytea, value bytea";
        let left = format!(
            "CREATE UNLOGGED TABLE {0}.staging_1_rejects ({columns}); CREATE UNLOGGED TABLE {0}.staging_2_rejects \
             ({columns}); INSERT INTO {0}.staging_2_rejects VALUES ('pin/0', 1, 'pin', 0, 1, NULL, 'old', NULL, NULL)",
            config.schema
        );
        client.batch_execute(&left).await.unwrap();
        let mut sink = open(&config).await;
        sink.create_staging().await.unwrap();
        let batch = StageBatch {
            cleaned: vec![],
            rejects: vec![letter(in_log(0, 7, None), 0)],
        };
        let fence = sink.fence().unwrap();
        assert_eq!(fence, 2);
        let rows = stage_as(&config, fence, vec![batch], ONE_BY_ONE).await.unwrap();
        let step = Step {
            staged: Some(settling(rows, true)),
            ..empty_full_snapshot(1)
        };
        sink.commit(&step).await.unwrap();
        let sql = format!(
            "SELECT string_agg(source || ' ' || position, ',') FROM {}.rejects",
            config.schema
        );
        let found: String = client.query_one(&sql, &[]).await.unwrap().get(0);
        assert_eq!(found, "pin/0 7");
        let sql = "SELECT count(*) FROM pg_tables WHERE schemaname = $1 AND tablename LIKE 'staging%'";
        let left: i64 = client.query_one(sql, &[&config.schema]).await.unwrap().get(0);
        assert_eq!(left, 0);
    });
}
