//! The API against a real PostgreSQL, without an engine: what is answered from memory is what PostgreSQL answers.
//!
//! Without PostgreSQL the tests are skipped, and fail under CI.

mod limits;
#[path = "../../../tests/src/need.rs"]
mod need;
mod results;
mod streams;

use crate::api::{Access, Api, ApiOptions};
use crate::setting::Setting as Shown;
use crate::state::Bounds;
use crate::status::Status;
use dataflows::Results;
use engine::{Commit, LogOptions, Observer, Topics};
use http_body_util::BodyExt;
use hyper::{Request, StatusCode};
use operators::{Column, ColumnType, Row, Table, Value};
use serde_json::{Value as Json, json};
use servers::{Postgres, PostgresOptions};
use sinks::{Claim, Definition, PartitionProgress, PostgresConfig, Progress, Reject, RejectPlace, Sink, Step};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

const fn column(name: &'static str, ty: ColumnType) -> Column {
    Column { name, ty, comment: "" }
}

const WIDE: Table = Table {
    name: "wide",
    comment: "every type",
    key: 2,
    columns: &[
        column("name", ColumnType::Text),
        column("n", ColumnType::Int8),
        column("small", ColumnType::Int4),
        column("amount", ColumnType::Numeric),
        column("mean", ColumnType::Float8),
        column("at", ColumnType::Timestamp),
        column("day", ColumnType::Date),
        column("flag", ColumnType::Bool),
        column("note", ColumnType::Text),
        column("pair", ColumnType::Float8Array),
        column("raw", ColumnType::Bytes),
    ],
};

const LONG: Table = Table {
    name: "long",
    comment: "more than is read ahead",
    key: 1,
    columns: &[column("n", ColumnType::Int8), column("text", ColumnType::Text)],
};

fn wide() -> Vec<Row> {
    let names = [
        "",
        "Côte d'Ivoire",
        "a\"b,c",
        "Zebra",
        "ant",
        "new\nline",
        "é",
        "\\.",
        "100%",
        "a_b",
    ];
    let amounts = ["0", "-12.50", "12.5", "9", "10", "0.001", "99999999999999999999.5"];
    let means = [0.0, -0.0, 1.5, -2.25, 1e20, f64::NAN, f64::INFINITY, 1e-7];
    let some = |n: usize, value: Value| if n.is_multiple_of(5) { Value::Null } else { value };
    let row = |n: usize| {
        let number = n as i64;
        vec![
            Value::from(names[n % names.len()]),
            Value::Int(number),
            some(n + 1, Value::Int(number % 7 - 3)),
            some(n + 2, Value::from(amounts[n % amounts.len()])),
            some(n + 3, Value::Float(means[n % means.len()])),
            some(n + 4, Value::Int(number * 86_400_000_000 * 40 + number * 250_000)),
            some(n, Value::Int(number * 100 - 5000)),
            some(n + 1, Value::Int(i64::from(n.is_multiple_of(2)))),
            some(n + 2, Value::from(names[(n / 3) % names.len()])),
            some(n + 3, Value::Floats(vec![Some(number as f64), None].into())),
            some(n + 4, Value::Bytes(vec![n as u8, 0, 255].into())),
        ]
    };
    (0..300).map(row).collect()
}

fn long(rows: i64) -> Vec<Row> {
    let row = |n: i64| vec![Value::Int(n), Value::from("x".repeat(100).as_str())];
    (0..rows).map(row).collect()
}

fn progress(next: i64) -> Progress {
    let partition = PartitionProgress {
        next,
        ..PartitionProgress::default()
    };
    Progress {
        partitions: BTreeMap::from([(("pin".to_owned(), 0), partition)]),
        ..Progress::default()
    }
}

fn setting_of_run() -> Shown {
    Shown {
        key: "postgres.url".to_owned(),
        value: "postgres://pinflow:***@db/pins".to_owned(),
        source: "environment".to_owned(),
        origin: "PINFLOW__POSTGRES__URL".to_owned(),
    }
}

/// A cluster with both tables at a commit.
struct Setting {
    _postgres: Postgres,
    config: PostgresConfig,
    sink: Sink,
    client: Client,
    epoch: u64,
}

impl Setting {
    async fn new() -> Option<Setting> {
        let options = PostgresOptions {
            icu_locale: Some("en-US".to_owned()),
            ..PostgresOptions::default()
        };
        let postgres = match Postgres::start(options) {
            Ok(postgres) => postgres,
            Err(error) => {
                need::skip(&error.to_string());
                return None;
            }
        };
        let config = PostgresConfig::new(postgres.url(), "pinflow");
        let mut sink = Sink::connect(config.clone()).await.unwrap();
        let definition = Definition {
            results: vec![(WIDE, "SELECT 1".to_owned()), (LONG, "SELECT 1".to_owned())],
            cleaned: Vec::new(),
            hash: 1,
            keep_cleaned: false,
            drop: Vec::new(),
        };
        sink.prepare(&definition).await.unwrap();
        sink.take_fence(Claim::Run, "run").await.unwrap();
        let client = sinks::connect(&config).await.unwrap();
        Some(Setting {
            _postgres: postgres,
            config,
            sink,
            client,
            epoch: 0,
        })
    }

    /// Commits; its number.
    async fn commit(&mut self, full_snapshot: bool, results: Vec<Vec<(Row, isize)>>, rejects: Vec<Reject>) -> i64 {
        let step = Step {
            epoch: self.epoch,
            full_snapshot,
            results,
            rejects,
            progress: progress(100 + self.epoch as i64),
            ..Step::default()
        };
        self.epoch += 1;
        self.sink.commit(&step).await.unwrap().commits
    }

    async fn fill(&mut self, rows: i64) -> i64 {
        let added = |rows: Vec<Row>| rows.into_iter().map(|row| (row, 1)).collect();
        let reject = |offset| Reject {
            topic: "pin".to_owned(),
            place: RejectPlace::Log {
                partition: 0,
                offset,
                object: None,
            },
            reason: if offset < 4 { "not_json" } else { "no_index" }.to_owned(),
            key: None,
            value: Some(vec![1, 2, 3]),
        };
        let rejects = (0..6).map(reject).collect();
        self.commit(true, vec![added(wide()), added(long(rows))], rejects).await
    }

    /// An API over the tables, with something to show.
    async fn api(&self, bounds: Bounds) -> Arc<Api> {
        let options = ApiOptions {
            results: Arc::new(Results::built_in(&dataflows::Options { top: 0 })),
            postgres: self.config.clone(),
            log: log(),
            status: Arc::new(Status::new(None, || None)),
            settings: vec![setting_of_run()],
            auditor: None,
            bounds,
            waiting: WAITING,
        };
        let api = Api::of(vec![WIDE, LONG], options).unwrap();
        reaches(&api, |_| true).await;
        api
    }

    /// Numbers of the rows of `wide` that a condition selects, in its order.
    async fn selected(&self, condition: &str) -> Vec<i64> {
        let sql = format!("SELECT n FROM pinflow.wide {condition}");
        let rows = self.client.query(&sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// Requests that may wait.
const WAITING: usize = 16;
const NOTHING_HELD: Bounds = Bounds {
    table_rows: 0,
    table_bytes: 0,
    all_bytes: 0,
};

/// Waits until the present state is of such a commit.
async fn reaches(api: &Api, wanted: impl Fn(i64) -> bool) {
    let began = Instant::now();
    while !api.shared.state().is_some_and(|state| wanted(state.commit)) {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", api.shared.standing());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Status and body.
async fn get(api: &Api, path: &str, accept: &str) -> (StatusCode, String) {
    let request = Request::get(path).header("accept", accept).body(()).unwrap();
    let answer = api.answer(&request.into_parts().0, Access { raw: true }).await;
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn get_json(api: &Api, path: &str) -> Json {
    let (status, body) = get(api, path, "*/*").await;
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// A log that is not read.
fn log() -> LogOptions {
    LogOptions {
        lake: None,
        kafka: None,
        topics: Topics::new([Some("pin".to_owned()), None, None]),
        limits: dataflows::Limits::default(),
        skip_unreadable: false,
    }
}

/// Numbers of the rows of a table of an event.
fn numbers(rows: &Json) -> Vec<i64> {
    let mut numbers: Vec<i64> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["n"].as_i64().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers
}
