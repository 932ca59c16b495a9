//! The API against a real PostgreSQL, without an engine: what is answered from memory is what PostgreSQL answers.
//!
//! Without PostgreSQL the tests are skipped, and fail under CI.

#[path = "../../../tests/src/need.rs"]
mod need;

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

#[tokio::test(flavor = "multi_thread")]
async fn memory_and_postgres_answer_alike() {
    let Some(mut setting) = Setting::new().await else {
        return;
    };
    setting.fill(20_000).await;
    let (memory, postgres) = (setting.api(Bounds::default()).await, setting.api(NOTHING_HELD).await);
    let by = "ORDER BY name COLLATE \"C\", n";
    for (query, condition) in [
        ("", by.to_owned()),
        ("name=eq.", format!("WHERE name = '' {by}")),
        (
            "name=eq.C%C3%B4te+d'Ivoire",
            format!("WHERE name = 'Côte d''Ivoire' {by}"),
        ),
        (
            "name=in.(%22a%5C%22b,c%22,Zebra)",
            format!("WHERE name IN ('a\"b,c', 'Zebra') {by}"),
        ),
        ("name=not.in.()", by.to_owned()),
        ("small=in.()", format!("WHERE false {by}")),
        ("small=eq.9000000000", format!("WHERE false {by}")),
        ("small=neq.2&n=lt.50", format!("WHERE small <> 2 AND n < 50 {by}")),
        (
            "small=not.eq.2&n=gte.50",
            format!("WHERE NOT small = 2 AND n >= 50 {by}"),
        ),
        ("small=is.null", format!("WHERE small IS NULL {by}")),
        ("small=not.is.null", format!("WHERE small IS NOT NULL {by}")),
        (
            "small=is.not_null&note=is.null",
            format!("WHERE small IS NOT NULL AND note IS NULL {by}"),
        ),
        ("amount=eq.12.50", format!("WHERE amount = 12.50 {by}")),
        ("amount=gt.9", format!("WHERE amount > 9 {by}")),
        ("amount=lte.-12.5", format!("WHERE amount <= -12.5 {by}")),
        ("amount=in.(9.0,10)", format!("WHERE amount IN (9.0, 10) {by}")),
        ("mean=eq.NaN", format!("WHERE mean = 'NaN' {by}")),
        ("mean=gt.1e19", format!("WHERE mean > 1e19 {by}")),
        ("mean=eq.0", format!("WHERE mean = 0 {by}")),
        ("mean=lt.0.5", format!("WHERE mean < 0.5 {by}")),
        (
            "at=gte.1975-01-01T00:00:00&at=lt.1980-01-01",
            format!("WHERE at >= '1975-01-01' AND at < '1980-01-01' {by}"),
        ),
        ("day=lte.1960-06-01", format!("WHERE day <= '1960-06-01' {by}")),
        ("flag=is.true", format!("WHERE flag IS TRUE {by}")),
        ("flag=not.is.true", format!("WHERE flag IS NOT TRUE {by}")),
        ("flag=eq.false", format!("WHERE flag = false {by}")),
        ("note=like.*e*", format!("WHERE note LIKE '%e%' {by}")),
        ("note=not.like.*e*", format!("WHERE note NOT LIKE '%e%' {by}")),
        ("note=ilike.Z_B*", format!("WHERE note ILIKE 'Z_B%' {by}")),
        ("note=like.100%5C%25", format!("WHERE note LIKE '100\\%' {by}")),
        ("note=like.a%5C_b", format!("WHERE note LIKE 'a\\_b' {by}")),
        ("note=gt.Z", format!("WHERE note COLLATE \"C\" > 'Z' {by}")),
        ("pair=is.null", format!("WHERE pair IS NULL {by}")),
        (
            "order=note.desc",
            "ORDER BY note COLLATE \"C\" DESC, name COLLATE \"C\", n".to_owned(),
        ),
        (
            "order=amount.asc.nullsfirst",
            "ORDER BY amount NULLS FIRST, name COLLATE \"C\", n".to_owned(),
        ),
        (
            "order=mean.desc.nullslast,small",
            "ORDER BY mean DESC NULLS LAST, small, name COLLATE \"C\", n".to_owned(),
        ),
        (
            "order=pair,raw.desc",
            "ORDER BY pair, raw DESC, name COLLATE \"C\", n".to_owned(),
        ),
        (
            "order=flag,day.desc&limit=70",
            "ORDER BY flag, day DESC, name COLLATE \"C\", n LIMIT 70".to_owned(),
        ),
        ("limit=0", "LIMIT 0".to_owned()),
    ] {
        let path = format!("/api/results/wide?{query}");
        for accept in ["application/json", "text/csv", "application/x-ndjson"] {
            let (ours, theirs) = (get(&memory, &path, accept).await, get(&postgres, &path, accept).await);
            assert_eq!(ours.0, 200, "{query}: {}", ours.1);
            assert_eq!(ours, theirs, "{query} as {accept}");
        }
        let rows = get_json(&memory, &path).await;
        let rows = rows["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["n"].as_i64().unwrap());
        assert_eq!(rows.collect::<Vec<_>>(), setting.selected(&condition).await, "{query}");
    }
    // CSV is what COPY writes
    let copy = "COPY (SELECT * FROM pinflow.wide ORDER BY name COLLATE \"C\", n) TO STDOUT WITH (FORMAT csv, HEADER)";
    let mut copied = Vec::new();
    let mut stream = std::pin::pin!(setting.client.copy_out(copy).await.unwrap());
    while let Some(piece) = futures_util::StreamExt::next(&mut stream).await {
        copied.extend_from_slice(&piece.unwrap());
    }
    let (_, csv) = get(&memory, "/api/results/wide", "text/csv").await;
    assert_eq!(csv, String::from_utf8(copied).unwrap());
    let copy =
        "COPY (SELECT name FROM pinflow.wide ORDER BY name COLLATE \"C\", n) TO STDOUT WITH (FORMAT csv, HEADER)";
    let mut copied = Vec::new();
    let mut stream = std::pin::pin!(setting.client.copy_out(copy).await.unwrap());
    while let Some(piece) = futures_util::StreamExt::next(&mut stream).await {
        copied.extend_from_slice(&piece.unwrap());
    }
    let (_, csv) = get(&memory, "/api/results/wide?select=name", "text/csv").await;
    assert_eq!(csv, String::from_utf8(copied).unwrap());
    // JSON is what PostgreSQL makes of it, but for numerics, which are texts here
    let sql = "SELECT json_agg(t) FROM (SELECT *, amount::text AS amount FROM pinflow.wide ORDER BY name COLLATE \"C\", n) AS t";
    let theirs: Json = setting.client.query_one(sql, &[]).await.unwrap().get(0);
    let ours = get_json(&memory, "/api/results/wide").await;
    for (ours, theirs) in ours["rows"].as_array().unwrap().iter().zip(theirs.as_array().unwrap()) {
        for column in WIDE.columns {
            assert_eq!(ours[column.name], theirs[column.name], "{ours}");
        }
    }
    // an answer longer than what is read ahead
    for accept in ["application/json", "application/x-ndjson"] {
        let path = "/api/results/long?n=gte.5&select=text,n";
        let (ours, theirs) = (get(&memory, path, accept).await, get(&postgres, path, accept).await);
        assert!(ours.1.len() > 2 << 20 && ours == theirs, "{}", ours.1.len());
    }
    assert_eq!(
        get_json(&postgres, "/api/results/long").await["rows"]
            .as_array()
            .unwrap()
            .len(),
        20_000
    );
    let listed = |tables: &Json| {
        let of = |place: usize| {
            (
                tables["tables"][place]["rows"].clone(),
                tables["tables"][place]["served_from"].clone(),
            )
        };
        (of(0), of(1))
    };
    let rows = |from: &str| ((json!(300), json!(from)), (json!(20_000), json!(from)));
    assert_eq!(listed(&get_json(&memory, "/api/results").await), rows("memory"));
    assert_eq!(listed(&get_json(&postgres, "/api/results").await), rows("postgres"));
    assert_eq!(
        get_json(&memory, "/api/configuration").await,
        json!({ "settings": [setting_of_run()] })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_belong_to_one_commit() {
    let Some(mut setting) = Setting::new().await else {
        return;
    };
    let first = setting.fill(10).await;
    let (memory, postgres) = (setting.api(Bounds::default()).await, setting.api(NOTHING_HELD).await);
    for api in [&memory, &postgres] {
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = get_json(api, &format!("/api/results/wide?order=mean&limit=37{cursor}")).await;
            assert_eq!(page["commit"], first);
            rows.extend(page["rows"].as_array().unwrap().clone());
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(json!(rows), get_json(api, "/api/results/wide?order=mean").await["rows"]);
    }
    let page = |api: Arc<Api>| async move { get_json(&api, "/api/results/long?limit=4").await };
    let (ours, theirs) = (page(Arc::clone(&memory)).await, page(Arc::clone(&postgres)).await);
    let second = setting
        .commit(false, vec![Vec::new(), vec![(long(1).remove(0), -1)]], Vec::new())
        .await;
    for api in [&memory, &postgres] {
        reaches(api, |commit| commit >= second).await;
    }
    let next = |page: &Json| format!("/api/results/long?limit=4&cursor={}", page["next"].as_str().unwrap());
    let following = get_json(&memory, &next(&ours)).await;
    assert_eq!(
        (following["commit"].as_i64(), &following["rows"][0]["n"]),
        (Some(first), &json!(4))
    );
    assert_eq!(get_json(&memory, "/api/results/long?limit=4").await["rows"][0]["n"], 1);
    let (status, body) = get(&postgres, &next(&theirs), "*/*").await;
    assert_eq!(status, 410, "{body}");
    let (status, body) = get(&memory, &next(&ours).replace("limit=4", "n=gt.1"), "*/*").await;
    assert_eq!(status, 400, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_are_taken_over_and_what_does_not_follow_is_read_again() {
    let Some(mut setting) = Setting::new().await else {
        return;
    };
    let first = setting.fill(10).await;
    let api = setting.api(Bounds::default()).await;
    let frontier = [("pin", ingest::Partition(0), ingest::Offset(500))];
    let commit = |number, full_snapshot, rows: Vec<(Row, isize)>| Commit {
        number,
        full_snapshot,
        frontier: &frontier,
        results: vec![Vec::new(), rows],
    };
    let all = |rows: i64| long(rows).into_iter().map(|row| (row, 1)).collect();
    api.persisted(commit(first + 1, true, all(3)));
    let path = "/api/results/long?at_least=pin/0:499";
    let body = get_json(&api, path).await;
    assert_eq!(
        (body["commit"].as_i64(), body["rows"].as_array().map(Vec::len)),
        (Some(first + 1), Some(3))
    );
    assert_eq!(body["frontier"], json!({"pin": {"0": 500}}));
    api.persisted(commit(first + 2, false, vec![(long(1).remove(0), -1)]));
    reaches(&api, |commit| commit == first + 2).await;
    assert_eq!(get_json(&api, path).await["rows"][0]["n"], 1);
    // one commit is missing: what PostgreSQL holds counts
    let last = setting.commit(false, vec![Vec::new(), Vec::new()], Vec::new()).await;
    api.persisted(commit(first + 4, false, Vec::new()));
    reaches(&api, |commit| commit == last).await;
    assert_eq!(
        get_json(&api, "/api/results/long").await["rows"]
            .as_array()
            .map(Vec::len),
        Some(10)
    );
}

/// Others are answered while as many wait as may.
#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_requests_wait() {
    let Some(mut setting) = Setting::new().await else {
        return;
    };
    setting.fill(10).await;
    let api = setting.api(Bounds::default()).await;
    let late = "/api/results/long?at_least=pin/0:999999&timeout=3s";
    let waiting: Vec<_> = (0..WAITING)
        .map(|_| {
            let api = Arc::clone(&api);
            tokio::spawn(async move { get(&api, late, "*/*").await.0 })
        })
        .collect();
    while api.waiting.available_permits() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (status, body) = get(&api, late, "*/*").await;
    assert!(
        status == StatusCode::SERVICE_UNAVAILABLE && body.contains("too many requests wait"),
        "{status} {body}"
    );
    // what PostgreSQL has to be asked for waits, too
    assert_eq!(get(&api, "/api/gaps", "*/*").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&api, "/api/results/long", "*/*").await.0, StatusCode::OK);
    for waited in waiting {
        assert_eq!(waited.await.unwrap(), StatusCode::GATEWAY_TIMEOUT);
    }
    assert_eq!(get(&api, "/api/gaps", "*/*").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_come_in_pages_and_bytes_need_a_scope() {
    let Some(mut setting) = Setting::new().await else {
        return;
    };
    let commit = setting.fill(1).await;
    let api = setting.api(Bounds::default()).await;
    let body = get_json(&api, "/api/rejects").await;
    let counts = json!([
        {"topic": "pin", "reason": "no_index", "count": 2},
        {"topic": "pin", "reason": "not_json", "count": 4},
    ]);
    assert_eq!(
        (&body["commit"], &body["counts"], &body["dropped"]),
        (&json!(commit), &counts, &json!(0))
    );
    assert_eq!(
        (&body["rows"][5]["offset"], &body["rows"][5]["value"]),
        (&json!(5), &json!("AQID"))
    );
    let (mut offsets, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = get_json(&api, &format!("/api/rejects?reason=not_json&limit=3{cursor}")).await;
        offsets.extend(page["rows"].as_array().unwrap().iter().map(|row| row["offset"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(json!(offsets), json!([0, 1, 2, 3]));
    let request = Request::get("/api/rejects").body(()).unwrap().into_parts().0;
    let answer = api.answer(&request, Access::default()).await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(!String::from_utf8_lossy(&body).contains("AQID"));
    assert_eq!(get_json(&api, "/api/gaps").await["gaps"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said() {
    let Some(setting) = Setting::new().await else { return };
    let options = ApiOptions {
        results: Arc::new(Results::built_in(&dataflows::Options { top: 0 })),
        postgres: setting.config.clone(),
        log: log(),
        status: Arc::new(Status::new(None, || None)),
        settings: Vec::new(),
        auditor: None,
        bounds: Bounds::default(),
        waiting: WAITING,
    };
    let api = Api::of(vec![WIDE, LONG], options).unwrap();
    for path in [
        "/api/results",
        "/api/results/wide",
        "/api/changes",
        "/api/rejects",
        "/api/gaps",
        "/api/frontier",
    ] {
        let (began, mut said) = (Instant::now(), String::new());
        while !said.contains("schema pinflow holds no results yet") {
            assert!(began.elapsed() < Duration::from_secs(60), "{path}: {said}");
            let (status, body) = get(&api, path, "*/*").await;
            assert_eq!(status, 503, "{path}: {body}");
            said = body;
        }
    }
    for (path, status) in [
        ("/api/results/wild", 404),
        ("/api/nothing", 404),
        ("/api/results?x=1", 400),
    ] {
        assert_eq!(get(&api, path, "*/*").await.0, status, "{path}");
    }
    let request = Request::post("/api/results").body(()).unwrap().into_parts().0;
    assert_eq!(api.answer(&request, Access::default()).await.status(), 405);
}

/// The events of a stream, in order.
struct Events {
    body: crate::body::AnswerBody,
    text: String,
}

impl Events {
    async fn open(api: &Api, path: &str) -> Events {
        let request = Request::get(path).body(()).unwrap();
        let answer = api.answer(&request.into_parts().0, Access::default()).await;
        assert_eq!(answer.status(), 200, "{path}");
        Events {
            body: answer.into_body(),
            text: String::new(),
        }
    }

    /// Name and data of the next event.
    async fn next(&mut self) -> (String, Json) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let mut lines = event.lines().map(str::to_owned);
                let (name, _, data) = (lines.next().unwrap(), lines.next(), lines.next().unwrap());
                self.text = rest.to_owned();
                return (
                    name,
                    serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap(),
                );
            }
            let frame = tokio::time::timeout(Duration::from_secs(30), self.body.frame()).await;
            let frame = frame.expect("an event comes").expect("a stream has no end").unwrap();
            self.text
                .push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
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

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_tables_that_are_not_held_begins_in_postgres_and_goes_on_with_commits() {
    let Some(mut setting) = Setting::new().await else {
        return;
    };
    let first = setting.fill(5000).await;
    let api = setting.api(NOTHING_HELD).await;
    let frontier = [("pin", ingest::Partition(0), ingest::Offset(500))];
    let reported = |number, rows: Vec<(Row, isize)>| Commit {
        number,
        full_snapshot: false,
        frontier: &frontier,
        results: vec![Vec::new(), rows],
    };
    let added = |n: i64| vec![(vec![Value::Int(n), Value::from("new")], 1)];
    let path = "/api/changes?tables=wide,long&pace=0";
    let mut events = Events::open(&api, path).await;
    let (name, snapshot) = events.next().await;
    assert_eq!(
        (name.as_str(), snapshot["commit"].as_i64()),
        ("event: snapshot", Some(first))
    );
    assert_eq!(snapshot["frontier"], json!({"pin": {"0": 100}}));
    assert_eq!(
        numbers(&snapshot["tables"]["long"]["rows"]),
        (0..5000).collect::<Vec<_>>()
    );
    let wide = get_json(&api, "/api/results/wide").await;
    let sorted = |rows: &Json| {
        let mut rows: Vec<String> = rows.as_array().unwrap().iter().map(Json::to_string).collect();
        rows.sort_unstable();
        rows
    };
    assert_eq!(sorted(&snapshot["tables"]["wide"]["rows"]), sorted(&wide["rows"]));

    // a commit that this process has taken over
    assert_eq!(
        setting.commit(false, vec![Vec::new(), added(9001)], Vec::new()).await,
        first + 1
    );
    api.persisted(reported(first + 1, added(9001)));
    let (name, event) = events.next().await;
    assert_eq!(name, "event: commit");
    assert_eq!(
        (event["from"].as_i64(), event["commit"].as_i64()),
        (Some(first), Some(first + 1))
    );
    assert_eq!(numbers(&event["tables"]["long"]["insert"]), [9001]);

    // one that PostgreSQL holds already, and this process has not: no event repeats it
    assert_eq!(
        setting.commit(false, vec![Vec::new(), added(9002)], Vec::new()).await,
        first + 2
    );
    let mut ahead = Events::open(&api, path).await;
    let (_, snapshot) = ahead.next().await;
    assert_eq!(snapshot["commit"].as_i64(), Some(first + 2));
    assert_eq!(numbers(&snapshot["tables"]["long"]["rows"]).last(), Some(&9002));
    api.persisted(reported(first + 2, added(9002)));
    setting.commit(false, vec![Vec::new(), added(9003)], Vec::new()).await;
    api.persisted(reported(first + 3, added(9003)));
    let (_, event) = ahead.next().await;
    assert_eq!(
        (event["from"].as_i64(), event["commit"].as_i64()),
        (Some(first + 2), Some(first + 3))
    );
    assert_eq!(numbers(&event["tables"]["long"]["insert"]), [9003]);

    // who comes back is sent what it has missed, not all rows
    let mut resumed = Events::open(&api, &format!("{path}&last_event_id={}", first + 1)).await;
    let (name, event) = resumed.next().await;
    assert_eq!(
        (name.as_str(), event["from"].as_i64()),
        ("event: commit", Some(first + 1))
    );
    assert_eq!(numbers(&event["tables"]["long"]["insert"]), [9002, 9003]);

    // what changed is not known after a commit was missed: all rows again
    let last = setting.commit(false, vec![Vec::new(), added(9005)], Vec::new()).await;
    api.persisted(reported(last + 1, Vec::new()));
    let (name, snapshot) = resumed.next().await;
    assert_eq!(
        (name.as_str(), snapshot["commit"].as_i64()),
        ("event: snapshot", Some(last))
    );
    assert_eq!(numbers(&snapshot["tables"]["long"]["rows"]).len(), 5004);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_breaks_off_has_no_end_and_leaves_room_for_others() {
    let Some(mut setting) = Setting::new().await else {
        return;
    };
    setting.fill(40_000).await;
    let api = setting.api(NOTHING_HELD).await;
    let path = "/api/results/long/changes";
    // more clients than snapshots at a time, each of which goes away in the middle
    for _ in 0..6 {
        let mut events = Events::open(&api, path).await;
        let piece = events.body.frame().await.unwrap().unwrap();
        assert!(piece.into_data().unwrap().starts_with(b"event: snapshot"));
    }
    let mut events = Events::open(&api, path).await;
    events.body.frame().await.unwrap().unwrap();
    let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() \
                 AND query LIKE '%FROM \"pinflow\".\"long\"%'";
    assert!(setting.client.execute(ended, &[]).await.unwrap() > 0);
    let mut bytes = 0;
    let error = loop {
        match events.body.frame().await.expect("no end is said") {
            Ok(frame) => bytes += frame.into_data().unwrap().len(),
            Err(error) => break error,
        }
    };
    assert_eq!(error, http_server::CutOff);
    assert!(bytes < 40_000 * 100);
    let (_, snapshot) = Events::open(&api, path).await.next().await;
    assert_eq!(numbers(&snapshot["tables"]["long"]["rows"]).len(), 40_000);
}
