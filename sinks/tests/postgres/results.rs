//! Which results a schema holds: recorded, refused when they are no more or otherwise, and dropped when asked.

mod dropping;

use crate::cluster::{run, schema, shared};
use crate::tables::{COUNTS, NAMES, WIDE, definition, empty_full_snapshot, open, open_as, progress, run_id};
use sinks::{Claim, Definition, PostgresConfig, ResultProblem, Sink, SinkError, Step};
use tokio_postgres::Client;
use values::{Column, ColumnType, Row, Table, Value};

/// NAMES with other columns.
const NAMES_ANEW: Table = Table {
    columns: &[
        Column {
            name: "year",
            ty: ColumnType::Int8,
            comment: "another type",
        },
        Column {
            name: "name",
            ty: ColumnType::Text,
            comment: "as before",
        },
    ],
    ..NAMES
};

/// A result that was not there before.
const MORE: Table = Table { name: "more", ..NAMES };

fn row(year: i64) -> Row {
    vec![Value::Int(year), "x".into()]
}

/// `names` and `more` hold these years, the others nothing.
fn full_snapshot(definition: &Definition, next: i64, years: &[i64]) -> Step {
    let rows = |table: &Table| match table.name {
        "names" | "more" => years.iter().map(|year| (row(*year), 1)).collect(),
        _ => Vec::new(),
    };
    Step {
        results: definition.results.iter().map(|(table, _)| rows(table)).collect(),
        ..empty_full_snapshot(next)
    }
}

/// All but `name`; its SQL would not matter.
fn without(name: &str) -> Definition {
    let mut less = definition();
    less.results.retain(|(table, _)| table.name != name);
    less.hash += 1;
    less
}

/// With `names` in another shape.
fn reshaped() -> Definition {
    let mut other = definition();
    other.results[1].0 = NAMES_ANEW;
    other.hash += 2;
    other
}

fn dropping(definition: Definition, names: &[&str]) -> Definition {
    Definition {
        drop: names.iter().map(|name| (*name).to_owned()).collect(),
        ..definition
    }
}

/// Starts as a run does; the error of a refusal, which changes nothing.
async fn refused(config: &PostgresConfig, client: &Client, definition: &Definition) -> Vec<ResultProblem> {
    let before = everything(client, &config.schema).await;
    let mut sink = Sink::connect(config.clone()).await.unwrap();
    let problems = match sink.prepare(definition).await {
        Err(error @ SinkError::Results { .. }) => {
            assert!(error.is_usage() && !error.is_fenced(), "{error}");
            let SinkError::Results { problems, .. } = error else {
                unreachable!()
            };
            problems
        }
        other => panic!("not refused: {other:?}"),
    };
    assert_eq!(everything(client, &config.schema).await, before, "nothing is written");
    problems
}

/// Every relation with its columns, and every row of progress and of the records.
async fn everything(client: &Client, schema: &str) -> Vec<String> {
    let mut all = Vec::new();
    let columns = format!(
        "SELECT table_name || '.' || column_name || ' ' || data_type FROM information_schema.columns \
         WHERE table_schema = '{schema}' ORDER BY 1"
    );
    let fence = format!("SELECT 'fence ' || fence FROM {schema}.progress");
    for sql in [columns, fence] {
        all.extend(texts(client, &sql).await);
    }
    all.extend(records(client, schema).await);
    all
}

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    let rows = client.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// `name since_commit` of what is held, then `-name since_commit dropped_commit`.
async fn records(client: &Client, schema: &str) -> Vec<String> {
    let held = format!("SELECT name || ' ' || since_commit FROM {schema}.results ORDER BY name");
    let dropped = format!(
        "SELECT '-' || name || ' ' || since_commit || ' ' || dropped_commit FROM {schema}.results_dropped ORDER BY name"
    );
    let mut all = texts(client, &held).await;
    all.extend(texts(client, &dropped).await);
    all
}

/// The years in a table; `None` without it.
async fn years(client: &Client, schema: &str, table: &str) -> Option<Vec<i64>> {
    let sql = format!("SELECT year::bigint FROM {schema}.{table} ORDER BY 1");
    let rows = client.query(&sql, &[]).await.ok()?;
    Some(rows.iter().map(|row| row.get(0)).collect())
}

async fn exists(client: &Client, schema: &str, table: &str) -> bool {
    let sql = format!("SELECT to_regclass('{schema}.{table}')::text");
    let row = client.query_one(&sql, &[]).await.unwrap();
    row.get::<_, Option<String>>(0).is_some()
}

/// A schema with the three results, committed twice.
async fn filled(config: &PostgresConfig) {
    let mut sink = open(config).await;
    sink.commit(&full_snapshot(&definition(), 2, &[1, 2])).await.unwrap();
    sink.close().await;
}

#[test]
fn what_the_tables_hold_is_recorded_with_the_commit_since_which() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = (cluster.config(&schema()), cluster.client().await);
        let mut sink = open(&config).await;
        assert_eq!(
            records(&client, &config.schema).await,
            Vec::<String>::new(),
            "nothing yet"
        );
        sink.commit(&full_snapshot(&definition(), 2, &[1, 2])).await.unwrap();
        let first = ["counts 1", "names 1", "wide 1"];
        assert_eq!(records(&client, &config.schema).await, first);
        let sql = format!("SELECT sql FROM {}.results WHERE name = 'names'", config.schema);
        assert_eq!(texts(&client, &sql).await, [definition().results[1].1.as_str()]);
        sink.heartbeat(1).await.unwrap();
        sink.close().await;

        // another start of the same: nothing changes
        let mut sink = open(&config).await;
        sink.commit(&full_snapshot(&definition(), 3, &[1, 2])).await.unwrap();
        assert_eq!(records(&client, &config.schema).await, first);
        sink.close().await;

        // other SQL with the same columns is reconciled, and one that is new appears with its rows
        let mut other = definition();
        other.results[1].1 = "SELECT 3, 'x'".into();
        other.results.push((MORE, "SELECT 3, 'x'".into()));
        other.hash = 7;
        let mut sink = open_as(&config, Claim::Run, &other).await;
        assert!(
            !exists(&client, &config.schema, "more").await,
            "not before it is filled"
        );
        assert_eq!(years(&client, &config.schema, "names").await, Some(vec![1, 2]));
        sink.commit(&full_snapshot(&other, 4, &[2, 3])).await.unwrap();
        assert_eq!(years(&client, &config.schema, "names").await, Some(vec![2, 3]));
        assert_eq!(years(&client, &config.schema, "more").await, Some(vec![2, 3]));
        let now = ["counts 1", "more 4", "names 4", "wide 1"];
        assert_eq!(records(&client, &config.schema).await, now);
        // live steps reach the table that was made by the full snapshot
        let live = Step {
            epoch: 1,
            results: vec![vec![], vec![], vec![], vec![(row(2), -1), (row(9), 1)]],
            progress: progress(5),
            ..Step::default()
        };
        sink.commit(&live).await.unwrap();
        assert_eq!(years(&client, &config.schema, "more").await, Some(vec![3, 9]));
        let comment = format!("SELECT obj_description('{}.more'::regclass)", config.schema);
        assert_eq!(texts(&client, &comment).await, [MORE.comment]);
    });
}

#[test]
fn results_that_are_no_more_or_otherwise_are_refused_all_at_once() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = (cluster.config(&schema()), cluster.client().await);
        filled(&config).await;
        let gone = |table: &str| ResultProblem::Gone { table: table.into() };
        assert_eq!(refused(&config, &client, &without("names")).await, [gone("names")]);
        let problems = refused(
            &config,
            &client,
            &Definition {
                results: vec![],
                ..without("names")
            },
        )
        .await;
        assert_eq!(problems, ["counts", "names", "wide"].map(gone));

        let column = ResultProblem::Reshaped {
            table: "names".into(),
            object: "column year".into(),
            found: "integer".into(),
            wanted: "bigint".into(),
        };
        assert_eq!(
            refused(&config, &client, &reshaped()).await,
            std::slice::from_ref(&column)
        );
        assert_eq!(
            column.to_string(),
            "table names: column year is integer, wanted bigint: --drop names to recreate it, or restore its file"
        );
        let mut key = definition();
        key.results[0].0 = Table { key: 3, ..COUNTS };
        let problems = refused(&config, &client, &key).await;
        assert!(
            matches!(&problems[..], [ResultProblem::Reshaped { object, .. }] if object == "primary key"),
            "{problems:?}"
        );
        // both at once
        let mut both = reshaped();
        both.results.remove(2);
        assert_eq!(refused(&config, &client, &both).await, [column, gone("wide")]);
        // naming one of two is not enough
        let problems = refused(&config, &client, &dropping(both, &["names"])).await;
        assert_eq!(problems, [gone("wide")]);
    });
}

#[test]
fn a_result_with_other_columns_is_made_anew_in_one_commit() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = (cluster.config(&schema()), cluster.client().await);
        filled(&config).await;
        let other = dropping(reshaped(), &["names"]);
        let mut sink = open_as(&config, Claim::Run, &other).await;
        assert_eq!(
            years(&client, &config.schema, "names").await,
            Some(vec![1, 2]),
            "until the commit"
        );
        sink.commit(&full_snapshot(&other, 3, &[1 << 40])).await.unwrap();
        assert_eq!(years(&client, &config.schema, "names").await, Some(vec![1 << 40]));
        let now = ["counts 1", "names 2", "wide 1", "-names 1 2"];
        assert_eq!(records(&client, &config.schema).await, now);
        let live = Step {
            epoch: 1,
            results: vec![vec![], vec![(row(1 << 40), -1), (row(1 << 41), 1)]],
            progress: progress(4),
            ..Step::default()
        };
        sink.commit(&live).await.unwrap();
        assert_eq!(years(&client, &config.schema, "names").await, Some(vec![1 << 41]));
        sink.close().await;
        // and again with the flag: it asks for nothing any more
        let mut sink = open_as(&config, Claim::Run, &other).await;
        sink.commit(&full_snapshot(&other, 4, &[1 << 41])).await.unwrap();
        assert_eq!(records(&client, &config.schema).await, now);
    });
}

#[test]
fn runs_with_other_results_refuse_each_other_by_name() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = (cluster.config(&schema()), cluster.client().await);
        filled(&config).await;
        let mut more = definition();
        more.results.push((MORE, "SELECT 3, 'x'".into()));
        more.hash = 7;
        // prepared while the other had not committed yet
        let mut late = Sink::connect(config.clone()).await.unwrap();
        late.prepare(&definition()).await.unwrap();
        let mut too_late = Sink::connect(config.clone()).await.unwrap();
        too_late.prepare(&definition()).await.unwrap();
        let mut running = open_as(&config, Claim::Run, &more).await;
        running.commit(&full_snapshot(&more, 3, &[1])).await.unwrap();
        let gone = [ResultProblem::Gone { table: "more".into() }];
        assert_eq!(refused(&config, &client, &definition()).await, gone);
        // it ends nobody for that
        match late.take_fence(Claim::Run, &run_id()).await {
            Err(SinkError::Results { problems, .. }) => assert_eq!(problems, gone),
            other => panic!("{other:?}"),
        }
        running.heartbeat(1).await.unwrap();
        // the fence taken first, the other's records written behind its back: the commit itself looks
        running.close().await;
        let records = format!("{}.results", config.schema);
        let hide = format!(
            "CREATE TABLE hidden_{0} AS SELECT * FROM {records}; DELETE FROM {records}",
            config.schema
        );
        client.batch_execute(&hide).await.unwrap();
        too_late.take_fence(Claim::Run, &run_id()).await.unwrap();
        let show = format!("INSERT INTO {records} SELECT * FROM hidden_{0}", config.schema);
        client.batch_execute(&show).await.unwrap();
        match too_late.commit(&full_snapshot(&definition(), 4, &[8])).await {
            Err(SinkError::Results { problems, .. }) => assert_eq!(problems, gone),
            other => panic!("{other:?}"),
        }
        assert_eq!(years(&client, &config.schema, "names").await, Some(vec![1]));
        assert_eq!(years(&client, &config.schema, "more").await, Some(vec![1]));
    });
}

#[test]
fn a_live_run_loses_no_table_before_its_successor_commits() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = (cluster.config(&schema()), cluster.client().await);
        let mut running = open(&config).await;
        running.commit(&full_snapshot(&definition(), 2, &[1, 2])).await.unwrap();
        let less = dropping(without("names"), &["names"]);
        let mut next = Sink::connect(config.clone()).await.unwrap();
        next.prepare(&less).await.unwrap();
        let live = |epoch: u64, next: i64, year: i64| Step {
            epoch,
            results: vec![vec![], vec![(row(year), 1)]],
            progress: progress(next),
            ..Step::default()
        };
        running.commit(&live(1, 3, 3)).await.unwrap();
        next.take_fence(Claim::Run, &run_id()).await.unwrap();
        next.commit(&full_snapshot(&less, 4, &[])).await.unwrap();
        let error = running.commit(&live(2, 4, 4)).await.unwrap_err();
        assert!(error.is_fenced(), "{error}");
        assert_eq!(
            records(&client, &config.schema).await,
            ["counts 1", "wide 1", "-names 1 3"]
        );
    });
}

#[test]
fn a_schema_without_records_gets_them_by_the_next_full_snapshot() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = (cluster.config(&schema()), cluster.client().await);
        filled(&config).await;
        let earlier = format!("DROP TABLE {0}.results, {0}.results_dropped", config.schema);
        client.batch_execute(&earlier).await.unwrap();
        // what nobody recorded cannot be told from a table of somebody else
        let mut sink = Sink::connect(config.clone()).await.unwrap();
        let refused = sink.prepare(&dropping(reshaped(), &["names"])).await;
        assert!(matches!(refused, Err(SinkError::SchemaMismatch { .. })), "{refused:?}");
        sink.close().await;
        let mut sink = open(&config).await;
        // a live step before the full snapshot, as nothing has changed
        let live = Step {
            epoch: 1,
            results: vec![vec![], vec![(row(3), 1)]],
            progress: progress(3),
            ..Step::default()
        };
        sink.commit(&live).await.unwrap();
        assert_eq!(records(&client, &config.schema).await, Vec::<String>::new());
        sink.commit(&full_snapshot(&definition(), 4, &[1])).await.unwrap();
        assert_eq!(
            records(&client, &config.schema).await,
            ["counts 3", "names 3", "wide 3"]
        );
    });
}

#[test]
fn a_role_that_may_not_create_is_refused_before_history_is_read() {
    let Some(cluster) = shared() else { return };
    run(async {
        let (config, client) = (cluster.config(&schema()), cluster.client().await);
        filled(&config).await;
        let role = format!("narrow_{}", config.schema);
        let grants = format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA {0} TO {role}; \
             GRANT ALL ON ALL TABLES IN SCHEMA {0} TO {role}",
            config.schema
        );
        client.batch_execute(&grants).await.unwrap();
        let mut narrow = config.clone();
        narrow.url = config.url.replace("postgres@", &format!("{role}@"));
        let mut more = definition();
        more.results.push((MORE, "SELECT 3, 'x'".into()));
        let mut sink = Sink::connect(narrow.clone()).await.unwrap();
        let error = sink.prepare(&more).await.unwrap_err();
        assert!(matches!(error, SinkError::MayNotCreate { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains(&format!("role \"{role}\" may not create tables")),
            "{error}"
        );
        let problems = refused(&narrow, &client, &dropping(without("names"), &["names"])).await;
        assert_eq!(
            problems[0].to_string(),
            "--drop names: owned by \"postgres\", of which this role is not a member"
        );
        sink.prepare(&definition()).await.unwrap();
    });
}
