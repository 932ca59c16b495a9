//! Creating tables, and refusing those of another shape.

use crate::cluster::{run, schema, shared};
use crate::tables::{COUNTS, RESULTS, definition, empty_full_snapshot, open};
use causes::with_causes;
use sinks::{Claim, Sink, SinkError, Step};
use values::{Row, Symbol, Table, Value};

#[test]
fn tables_are_created_once_and_described() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut sink = Sink::connect(config.clone()).await.unwrap();
        sink.prepare(&definition()).await.unwrap();
        sink.prepare(&definition()).await.unwrap();
        let client = cluster.client().await;
        let name = format!("{}.counts", config.schema);
        let described = "SELECT obj_description($1::text::regclass), col_description($1::text::regclass, 3)";
        let row = client.query_one(described, &[&name]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), "things by country and name");
        assert_eq!(row.get::<_, &str>(1), "it's a column");
        let undescribed = "SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind = 'r' AND a.attnum > 0 \
             AND col_description(c.oid, a.attnum) IS NULL";
        let count: i64 = client.query_one(undescribed, &[&config.schema]).await.unwrap().get(0);
        assert_eq!(count, 0, "every column has a comment");
        // several at once: one creates, the others find
        let fresh = cluster.config(&schema());
        let prepare = || async { Sink::connect(fresh.clone()).await.unwrap().prepare(&definition()).await };
        let (a, b, c) = tokio::join!(prepare(), prepare(), prepare());
        a.and(b).and(c).unwrap();
    });
}

#[test]
fn other_shapes_are_named() {
    let Some(cluster) = shared() else { return };
    run(async {
        let client = cluster.client().await;
        for (change, object, found) in [
            ("ALTER TABLE counts ALTER count TYPE integer", "column count", "integer"),
            ("ALTER TABLE counts DROP rank", "column rank", "missing"),
            ("ALTER TABLE counts ADD extra text", "column extra", "text"),
            (
                "ALTER TABLE counts DROP CONSTRAINT counts_pkey",
                "primary key",
                "absent",
            ),
            (
                "ALTER TABLE counts DROP CONSTRAINT counts_pkey, ADD PRIMARY KEY (name, country)",
                "primary key",
                "(name, country)",
            ),
            ("ALTER TABLE counts ALTER rank SET NOT NULL", "column rank", "not null"),
            (
                "ALTER TABLE counts ALTER name TYPE text COLLATE \"default\"",
                "column name",
                "collated \"default\"",
            ),
            ("ALTER TABLE things DROP log_offset", "column log_offset", "missing"),
            (
                "ALTER TABLE progress ALTER epoch TYPE integer",
                "column epoch",
                "integer",
            ),
            (
                "ALTER TABLE counts RENAME count TO x; ALTER TABLE counts ADD count bigint",
                "column count",
                "column number 5",
            ),
        ] {
            let config = cluster.config(&schema());
            let mut sink = Sink::connect(config.clone()).await.unwrap();
            sink.prepare(&definition()).await.unwrap();
            client
                .batch_execute(&format!("SET search_path TO {}; {change}", config.schema))
                .await
                .unwrap();
            match sink.prepare(&definition()).await {
                Err(SinkError::SchemaMismatch {
                    table,
                    object: o,
                    found: f,
                    wanted,
                }) => {
                    assert!(table.starts_with(&format!("{}.", config.schema)), "{table}");
                    assert_eq!((o.as_str(), f.as_str()), (object, found), "{change}; wanted {wanted}");
                }
                other => panic!("{change}: {other:?}"),
            }
            // nothing stays open after a refusal, and a progress of another shape is an error, no panic
            assert_eq!(sink.read_progress().await.is_err(), object == "column epoch");
        }
    });
}

#[test]
fn a_database_that_cannot_hold_every_text_is_refused_at_the_start() {
    let Some(cluster) = shared() else { return };
    run(async {
        let client = cluster.client().await;
        for (encoding, name) in [("LATIN1", "of_latin1"), ("SQL_ASCII", "of_bytes")] {
            let create = format!("CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0");
            client.batch_execute(&create).await.unwrap();
            let mut config = cluster.config(&schema());
            config.url = config.url.replace("/postgres?", &format!("/{name}?"));
            for error in [
                Sink::connect(config.clone()).await.map(drop).unwrap_err(),
                sinks::Reader::connect(&config).await.map(drop).unwrap_err(),
            ] {
                let text = with_causes(&error);
                let expected = format!("database {name} is encoded in {encoding}, wanted UTF8");
                assert!(text.contains(&expected) && text.contains("CREATE DATABASE"), "{text}");
            }
        }
    });
}

#[test]
fn a_definition_must_make_sense() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut sink = Sink::connect(config.clone()).await.unwrap();
        let mut twice = definition();
        twice.results.push(twice.results[0].clone());
        let mut taken = definition();
        taken.results[0].0 = Table {
            name: "frontier",
            ..COUNTS
        };
        let mut keyless = definition();
        keyless.results[0].0 = Table { key: 0, ..COUNTS };
        for definition in [twice, taken, keyless] {
            assert!(matches!(sink.prepare(&definition).await, Err(SinkError::Order(_))));
        }
        assert!(matches!(
            sink.take_fence(Claim::Run, "run").await,
            Err(SinkError::Order(_))
        ));
    });
}

#[test]
fn a_table_dropped_or_altered_under_a_run_stops_it() {
    let Some(cluster) = shared() else { return };
    run(async {
        let client = cluster.client().await;
        for change in [
            "DROP TABLE counts",
            "ALTER TABLE counts DROP rank",
            "ALTER TABLE counts ALTER rank TYPE bytea USING NULL",
        ] {
            let config = cluster.config(&schema());
            let mut sink = open(&config).await;
            sink.commit(&empty_full_snapshot(1)).await.unwrap();
            client
                .batch_execute(&format!("SET search_path TO {}; {change}", config.schema))
                .await
                .unwrap();
            let row: Row = vec!["a".into(), "b".into(), Value::Int(1), Value::Int(1)];
            let step = Step {
                epoch: 1,
                results: vec![vec![(row, 1)]],
                progress: sink.progress().clone(),
                ..Step::default()
            };
            let error = sink.commit(&step).await.expect_err(change);
            assert!(matches!(error, SinkError::SchemaChanged { .. }), "{change}: {error}");
            assert_eq!(sink.read_progress().await.unwrap().commits, 1);
        }
    });
}

#[test]
fn rows_that_do_not_fit_are_refused_before_anything_is_sent() {
    let Some(cluster) = shared() else { return };
    run(async {
        let config = cluster.config(&schema());
        let mut sink = open(&config).await;
        sink.commit(&empty_full_snapshot(1)).await.unwrap();
        let row = |country: Value, count: Value, rank: Value| -> Row {
            vec![country, Value::Text(Symbol::new("n")), count, rank]
        };
        let one = || Value::Int(1);
        for (changes, expected) in [
            (vec![(row(Value::Null, one(), one()), 1)], "null in the primary key"),
            (vec![(row("a\0b".into(), one(), one()), 1)], "U+0000"),
            (
                vec![(row("a".into(), one(), Value::Int(1 << 31)), 1)],
                "integer's range",
            ),
            (vec![(row("a".into(), Value::Float(1.0), one()), 1)], "another type"),
            (vec![(vec![Value::Null], 1)], "1 values for 4 columns"),
            (vec![(row("a".into(), one(), one()), 2)], "multiplicity"),
            (
                vec![
                    (row("a".into(), one(), one()), 1),
                    (row("a".into(), Value::Int(2), one()), 1),
                ],
                "more than one",
            ),
            (
                vec![
                    (row("a".into(), one(), one()), -1),
                    (row("a".into(), Value::Int(2), one()), -1),
                ],
                "more than one",
            ),
        ] {
            let step = Step {
                epoch: 1,
                results: vec![changes],
                progress: sink.progress().clone(),
                ..Step::default()
            };
            let error = sink.commit(&step).await.unwrap_err();
            assert!(with_causes(&error).contains(expected), "{error}");
            assert!(with_causes(&error).contains("counts"), "{error}");
        }
        // the sink goes on
        sink.heartbeat(2).await.unwrap();
        assert_eq!(
            crate::tables::results(&config).await,
            vec![Vec::<Row>::new(); RESULTS.len()]
        );
    });
}
