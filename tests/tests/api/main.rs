//! Results over HTTP, as their clients see them: rows that are those of PostgreSQL at the commit that they name, reads of
//! one's own writes, streams that go on where they ended, and filters that mean what PostgreSQL's `WHERE` means.

mod fuzz;

use anyhow::{Context, Result, ensure};
use pinflow_tests::api_client::{EventStream, Followed, ask, ask_json};
use pinflow_tests::case::{Case, History, SOON, geo, pin, stop, user};
use pinflow_tests::{Database, Message, Pinflow, Producer, Program, eventually, write_private};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const COUNTRIES: [&str; 4] = ["Albania", "Côte d'Ivoire", "Peru", "Niue"];
const CATEGORIES: [&str; 3] = ["art", "travel", "home-decor"];
const BY_COUNTRY: &str = "popular_category_by_country";
const TABLES: [&str; 3] = [BY_COUNTRY, "popular_category_by_year", "users_joined_by_year"];

/// Starts `run` with the API on a free port; where it listens.
fn start(case: &Case, args: &[&str]) -> Result<(Program, String)> {
    listening(
        case.command("run")
            .args(["--listen", "127.0.0.1:0"])
            .args(args)
            .start()?,
    )
}

fn listening(mut run: Program) -> Result<(Program, String)> {
    let said = run.wait_for("on http://", SOON)?;
    let address = said.split("http://").nth(1).context("no address")?.trim().to_owned();
    Ok((run, address))
}

/// Posts with their places and users, `count` of each kind from `first` on.
fn send(case: &Case, first: i64, count: i64) -> Result<()> {
    let numbers = || first..first + count;
    let places: Vec<String> = numbers().map(|n| geo(n, COUNTRIES[n as usize % 4])).collect();
    let pins: Vec<String> = numbers().map(|n| pin(n, CATEGORIES[(n / 2) as usize % 3])).collect();
    case.send("geo", 0, &places)?;
    case.send("pin", 0, &pins)?;
    case.send("user", 0, &numbers().map(user).collect::<Vec<_>>())
}

/// A table with its commit and frontier, in one snapshot of PostgreSQL.
fn in_postgres(case: &Case, database: &Database, table: &str) -> Result<(i64, Value, Value)> {
    let schema = &case.name;
    let row = database.rows(&format!(
        "SELECT (SELECT commits FROM {schema}.progress), \
         (SELECT json_object_agg(topic, partitions) FROM (SELECT topic, json_object_agg(partition, next_offset) AS partitions \
          FROM {schema}.frontier GROUP BY topic) AS f), \
         (SELECT coalesce(json_agg(row_to_json(t)), '[]') FROM {schema}.{table} AS t)"
    ))?;
    let text = |column: usize| row[0][column].clone().context("null");
    let parse = |column: usize| -> Result<Value> { Ok(serde_json::from_str(&text(column)?)?) };
    Ok((text(0)?.parse()?, parse(1)?, sorted(&parse(2)?)))
}

/// Rows in an order that does not depend on the table.
fn sorted(rows: &Value) -> Value {
    let mut rows = rows.as_array().cloned().unwrap_or_default();
    rows.sort_by_key(Value::to_string);
    json!(rows)
}

fn commit_of(body: &Value) -> Result<i64> {
    body["commit"].as_i64().with_context(|| format!("no commit: {body}"))
}

#[test]
fn rows_are_those_of_postgres_at_their_commit_while_records_flow() -> Result<()> {
    let case = Case::new("api_rows", 1, History::Nowhere)?;
    send(&case, 0, 200)?;
    let (run, address) = start(&case, &["--pace", "100ms"])?;
    eventually("the first commit", SOON, || {
        Ok(ask(&address, "/api/results", &[])?.status == 200)
    })?;
    let mut stream = EventStream::open(
        &address,
        &format!("/api/changes?tables={}&pace=0", TABLES.join(",")),
        None,
    )?;
    let (mut followed, mut states) = (Followed::default(), BTreeMap::new());
    let database = case.database()?;
    let (mut over_http, mut in_tables) = (BTreeMap::new(), BTreeMap::new());
    let producer = Producer::new(&case.kafka.bootstrap())?;
    let deadline = Instant::now() + Duration::from_secs(8);
    for n in 200.. {
        if Instant::now() >= deadline {
            break;
        }
        let (place, post) = (geo(n, COUNTRIES[n as usize % 4]), pin(n, CATEGORIES[n as usize % 3]));
        for (kind, value) in [("geo", &place), ("pin", &post)] {
            pinflow_tests::case::send_through(&producer, &case.topic(kind), 0, std::slice::from_ref(value))?;
        }
        for table in TABLES {
            let body = ask_json(&address, &format!("/api/results/{table}"))?;
            ensure!(body["table"] == table, "{body}");
            over_http.insert(
                (commit_of(&body)?, table),
                (body["frontier"].clone(), sorted(&body["rows"])),
            );
            let (commit, frontier, rows) = in_postgres(&case, &database, table)?;
            in_tables.insert((commit, table), (frontier, rows));
        }
    }
    let (_, end) = case.kafka.watermarks(&case.topic("pin"), 0)?;
    while followed.frontier[case.topic("pin")]["0"].as_i64().unwrap_or(-1) < end {
        followed.take(&stream.next_event()?)?;
        for table in TABLES {
            let rows = followed.tables[table].values().cloned().collect();
            states.insert(
                (followed.commit, table),
                (followed.frontier.clone(), sorted(&Value::Array(rows))),
            );
        }
    }
    let equal = |of: &BTreeMap<(i64, &str), (Value, Value)>| -> Result<usize> {
        let common = in_tables.iter().filter_map(|(at, rows)| Some((at, rows, of.get(at)?)));
        let mut compared = 0;
        for (at, expected, found) in common {
            ensure!(
                expected == found,
                "{at:?}: {expected:?} in PostgreSQL, {found:?} over HTTP"
            );
            compared += 1;
        }
        Ok(compared)
    };
    let (compared, streamed) = (equal(&over_http)?, equal(&states)?);
    ensure!(
        compared > 20 && streamed > 20,
        "{compared} and {streamed} states were compared"
    );
    let commits: std::collections::BTreeSet<i64> = over_http.keys().map(|(commit, _)| *commit).collect();
    ensure!(commits.len() > 5, "{} commits were seen", commits.len());
    stop(run)
}

#[test]
fn whoever_wrote_a_record_reads_it() -> Result<()> {
    let case = Case::new("api_writes", 2, History::Nowhere)?;
    send(&case, 0, 8)?;
    let (run, address) = start(&case, &[])?;
    let (pins, geos) = (case.topic("pin"), case.topic("geo"));
    for n in 100..110 {
        let country = format!("Country {n}");
        case.send("geo", 1, &[geo(n, &country)])?;
        case.send("pin", 1, &[pin(n, "art")])?;
        let last = |topic: &str| -> Result<i64> { Ok(case.kafka.watermarks(topic, 1)?.1 - 1) };
        let query = format!(
            "country=eq.{}&at_least={pins}/1:{}&at_least={geos}/1:{}&timeout=30s",
            country.replace(' ', "+"),
            last(&pins)?,
            last(&geos)?
        );
        let body = ask_json(&address, &format!("/api/results/{BY_COUNTRY}?{query}"))?;
        let expected = json!([{"country": country, "category": "art", "category_count": 1, "rank": 1}]);
        ensure!(body["rows"] == expected, "{body}");
        ensure!(body["frontier"][&pins]["1"].as_i64() > Some(last(&pins)?), "{body}");
    }
    let began = Instant::now();
    let late = ask(
        &address,
        &format!("/api/frontier?at_least={pins}/1:1000000&timeout=300ms"),
        &[],
    )?;
    ensure!(
        late.status == 504 && began.elapsed() < Duration::from_secs(10),
        "{late:?}"
    );
    let body = late.json()?;
    ensure!(
        body["frontier"][&pins]["1"] == 10 && body["commit"].is_i64() && body["error"].is_string(),
        "{body}"
    );
    let unknown = ask(&address, "/api/results?at_least=api_writes.pim/0:1", &[])?;
    ensure!(
        unknown.status == 400 && unknown.json()?["nearest"] == pins.as_str(),
        "{unknown:?}"
    );
    stop(run)
}

#[test]
fn a_stream_goes_on_where_it_ended_also_over_a_restart_of_the_engine() -> Result<()> {
    let case = Case::new("api_streams", 1, History::Nowhere)?;
    send(&case, 0, 40)?;
    let (mut run, address) = start(&case, &[])?;
    let pins = case.topic("pin");
    ask_json(&address, &format!("/api/frontier?at_least={pins}/0:39&timeout=60s"))?;
    let path = format!("/api/results/{BY_COUNTRY}/changes?pace=10ms");
    let mut stream = EventStream::open(&address, &path, None)?;
    let first = stream.next_event()?;
    ensure!(first.name == "snapshot", "{first:?}");
    let mut followed = Followed::default();
    followed.take(&first)?;
    send(&case, 40, 40)?;
    followed.follow(&mut stream, &pins, 0, 80)?;
    drop(stream);
    // records that come while it is away are in the event that it gets when it is back
    send(&case, 80, 40)?;
    ask_json(&address, &format!("/api/frontier?at_least={pins}/0:119&timeout=60s"))?;
    let mut stream = EventStream::open(&address, &path, Some(&followed.commit.to_string()))?;
    let resumed = stream.next_event()?;
    ensure!(
        resumed.name == "commit" && resumed.data["from"] == followed.commit,
        "{resumed:?}"
    );
    followed.take(&resumed)?;
    followed.follow(&mut stream, &pins, 0, 120)?;
    drop(stream);
    // one that has seen what is not known here begins again
    let other = EventStream::open(&address, &path, Some("1000000"))?.next_event()?;
    ensure!(other.name == "snapshot", "{other:?}");

    run.kill()?;
    send(&case, 120, 40)?;
    let (run, address) = start(&case, &[])?;
    eventually("the tables", SOON, || {
        Ok(ask(&address, "/api/frontier", &[])?.status == 200)
    })?;
    let mut stream = EventStream::open(&address, &path, Some(&followed.commit.to_string()))?;
    followed.follow(&mut stream, &pins, 0, 160)?;
    let (commit, _, rows) = in_postgres(&case, &case.database()?, BY_COUNTRY)?;
    let known: Value = followed.tables[BY_COUNTRY].values().cloned().collect();
    ensure!(sorted(&known) == rows, "commit {} against {commit}", followed.commit);
    stop(run)
}

/// Before the first commit of a run the tables are those of the last commit of the run before.
#[test]
fn while_a_replay_goes_on_the_last_commit_is_served() -> Result<()> {
    let case = Case::new("api_replay", 1, History::Nowhere)?;
    send(&case, 0, 20)?;
    let nowhere = Pinflow::new("run")
        .postgres(case.postgres)
        .args(["--schema", &case.name, "--listen", "127.0.0.1:0"])
        .args(["--topics", &format!("pin={}", case.topic("pin"))]);
    // a broker that does not answer: the replay does not begin
    let silent = std::net::TcpListener::bind("127.0.0.1:0")?;
    let silent = silent.local_addr()?.to_string();
    let nowhere = nowhere.args(["--kafka", &silent]);
    let (mut run, address) = listening(nowhere.start()?)?;
    for path in [
        "/api/results",
        "/api/frontier",
        "/api/gaps",
        "/api/rejects",
        "/api/changes",
    ] {
        let answered = ask(&address, path, &[])?;
        ensure!(answered.status == 503, "{path}: {answered:?}");
        ensure!(
            answered.json()?["error"].is_string() && answered.header("retry-after") == "1",
            "{answered:?}"
        );
    }
    run.kill()?;
    let (run, _) = start(&case, &[])?;
    let mut run = run;
    case.catches_up(&mut run, &case.name)?;
    stop(run)?;
    let (mut run, address) = listening(nowhere.start()?)?;
    eventually("the tables", SOON, || {
        Ok(ask(&address, "/api/frontier", &[])?.status == 200)
    })?;
    let database = case.database()?;
    for table in TABLES {
        let body = ask_json(&address, &format!("/api/results/{table}"))?;
        let (commit, frontier, rows) = in_postgres(&case, &database, table)?;
        ensure!(
            (commit_of(&body)?, &body["frontier"], sorted(&body["rows"])) == (commit, &frontier, rows),
            "{body}"
        );
    }
    let event = EventStream::open(&address, "/api/changes", None)?.next_event()?;
    ensure!(
        event.name == "snapshot" && event.data["tables"].as_object().map(|of| of.len()) == Some(10),
        "{event:?}"
    );
    run.kill()
}

/// The rows of a table that a condition of PostgreSQL selects, ordered as the API orders them.
fn selected(case: &Case, table: &str, condition: &str) -> Result<Value> {
    let sql = format!(
        "SELECT coalesce(json_agg(t), '[]') FROM (SELECT * FROM {}.{table} {condition}) AS t",
        case.name
    );
    let text = case.database()?.value(&sql)?.context("null")?;
    Ok(serde_json::from_str(&text)?)
}

#[test]
fn filters_formats_and_pages_are_those_of_postgres() -> Result<()> {
    let case = Case::new("api_filters", 1, History::Nowhere)?;
    send(&case, 0, 60)?;
    case.send("pin", 0, &["not a record".to_owned()])?;
    let (run, address) = start(&case, &[])?;
    ask_json(
        &address,
        &format!("/api/frontier?at_least={}/0:60&timeout=60s", case.topic("pin")),
    )?;
    let path = format!("/api/results/{BY_COUNTRY}");
    for (query, condition) in [
        ("country=eq.Albania", "WHERE country = 'Albania' ORDER BY 1, 2"),
        (
            "country=eq.C%C3%B4te+d%27Ivoire&rank=lte.2",
            "WHERE country = 'Côte d''Ivoire' AND rank <= 2 ORDER BY 1, 2",
        ),
        (
            "country=neq.Peru&category_count=gt.4",
            "WHERE country <> 'Peru' AND category_count > 4 ORDER BY 1, 2",
        ),
        (
            "category=in.(art,%22home-decor%22)",
            "WHERE category IN ('art', 'home-decor') ORDER BY 1, 2",
        ),
        (
            "category=not.in.(art)&rank=not.gte.3",
            "WHERE category NOT IN ('art') AND NOT rank >= 3 ORDER BY 1, 2",
        ),
        ("country=like.*a*", "WHERE country LIKE '%a%' ORDER BY 1, 2"),
        ("country=ilike.P_RU", "WHERE country ILIKE 'P_RU' ORDER BY 1, 2"),
        ("country=is.null", "WHERE country IS NULL ORDER BY 1, 2"),
        (
            "country=not.is.null&limit=3",
            "WHERE country IS NOT NULL ORDER BY 1, 2 LIMIT 3",
        ),
        (
            "order=category_count.desc,country.desc",
            "ORDER BY category_count DESC, country DESC, category",
        ),
        ("country=lt.P&order=rank", "WHERE country < 'P' ORDER BY rank, 1, 2"),
    ] {
        let body = ask_json(&address, &format!("{path}?{query}"))?;
        let expected = selected(&case, BY_COUNTRY, condition)?;
        ensure!(
            body["rows"] == expected,
            "{query}: {body}, and {expected} in PostgreSQL"
        );
        ensure!(
            query.contains("null") || expected != json!([]),
            "{query} selects nothing"
        );
    }
    let body = ask_json(
        &address,
        &format!("{path}?select=rank,country&country=eq.Peru&rank=eq.1"),
    )?;
    ensure!(
        body["rows"]
            .as_array()
            .is_some_and(|rows| rows.iter().all(|row| row.as_object().is_some_and(|row| row.len() == 2)))
    );

    // pages of one commit, while others come
    let whole = ask_json(&address, &format!("{path}?order=rank.desc"))?;
    let (mut rows, mut next) = (Vec::new(), format!("{path}?order=rank.desc&limit=5"));
    loop {
        let page = ask(&address, &next, &[])?;
        let body = page.json()?;
        ensure!(
            body["commit"] == whole["commit"] || rows.is_empty(),
            "{body} after {}",
            whole["commit"]
        );
        rows.extend(body["rows"].as_array().cloned().unwrap_or_default());
        let Some(cursor) = body["next"].as_str() else { break };
        ensure!(page.header("link").contains(cursor), "{page:?}");
        next = format!("{path}?order=rank.desc&limit=5&cursor={cursor}");
        case.send("geo", 0, &[geo(1000 + rows.len() as i64, "Chad")])?;
    }
    ensure!(json!(rows) == whole["rows"], "{rows:?}");

    // the other formats
    let csv = ask(&address, &path, &[("accept", "text/csv")])?;
    ensure!(
        csv.header("content-type") == "text/csv" && csv.header("vary") == "Accept",
        "{csv:?}"
    );
    ensure!(
        csv.body.starts_with("country,category,category_count,rank\n"),
        "{}",
        csv.body
    );
    let lines = ask(&address, &path, &[("accept", "application/x-ndjson")])?;
    let parsed: Vec<Value> = lines.body.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    ensure!(
        json!(parsed) == selected(&case, BY_COUNTRY, "ORDER BY 1, 2")?,
        "{}",
        lines.body
    );
    ensure!(csv.body.lines().count() == parsed.len() + 1);

    // what has not changed is not sent again
    let first = ask(&address, &path, &[])?;
    let tag = first.header("etag");
    ensure!(tag.starts_with("W/\""), "{first:?}");
    let same = ask(&address, &path, &[("if-none-match", tag)])?;
    ensure!(
        same.status == 304 && same.body.is_empty() && same.header("etag") == tag,
        "{same:?}"
    );
    let tables = ask_json(&address, "/api/results")?;
    let listed = tables["tables"]
        .as_array()
        .and_then(|all| all.iter().find(|of| of["table"] == BY_COUNTRY));
    let listed = listed.context("not listed")?;
    ensure!(format!("W/\"{}\"", listed["last_change"]) == tag, "{listed} and {tag}");
    ensure!(
        listed["rows"] == parsed.len() && listed["served_from"] == "memory",
        "{listed}"
    );
    ensure!(
        listed["chart"]["y"] == "category_count" && listed["columns"][0]["key"] == true,
        "{listed}"
    );
    let pins = case.topic("pin");
    case.send("geo", 0, &[geo(2000, "Chad")])?;
    case.send("pin", 0, &[pin(2000, "art")])?;
    let changed = ask(
        &address,
        &format!("{path}?at_least={pins}/0:61&timeout=60s"),
        &[("if-none-match", tag)],
    )?;
    ensure!(changed.status == 200 && changed.header("etag") != tag, "{changed:?}");

    // what is wrong is named
    for (path, status, member, name) in [
        (format!("{path}?contry=eq.x"), 400, "nearest", "country"),
        (format!("{path}?rank=eqq.1"), 400, "nearest", "eq"),
        (format!("{path}?rank=eq.x"), 400, "column", "rank"),
        (
            "/api/results/popular_category_by_contry".to_owned(),
            404,
            "nearest",
            BY_COUNTRY,
        ),
        (
            "/api/changes?tables=users_joined_by_yeer".to_owned(),
            404,
            "nearest",
            "users_joined_by_year",
        ),
        ("/api/resluts".to_owned(), 404, "nearest", "/api/results"),
    ] {
        let answered = ask(&address, &path, &[])?;
        ensure!(answered.status == status, "{path}: {answered:?}");
        let body = answered.json()?;
        ensure!(
            body[member] == name && body["error"].is_string() && body["hint"].is_string(),
            "{path}: {body}"
        );
    }
    ensure!(ask(&address, &path, &[("accept", "image/png")])?.status == 406);

    // dead letters and holes
    let rejects = ask_json(&address, "/api/rejects")?;
    ensure!(
        rejects["counts"][0]["count"] == 1 && rejects["counts"][0]["topic"] == pins.as_str(),
        "{rejects}"
    );
    ensure!(
        rejects["rows"][0]["offset"] == 60 && rejects["rows"][0]["partition"] == 0,
        "{rejects}"
    );
    ensure!(rejects["rows"][0]["value"] == "bm90IGEgcmVjb3Jk", "{rejects}");
    ensure!(ask_json(&address, "/api/rejects?topic=none")?["rows"] == json!([]));
    ensure!(ask_json(&address, "/api/gaps")?["gaps"] == json!([]));
    let description = ask_json(&address, "/openapi.json")?;
    ensure!(description["openapi"] == "3.1.0", "{description}");
    stop(run)
}

/// A page ends where its bytes do, and the connection that it was read from goes on.
#[test]
fn dead_letters_of_more_than_a_page_are_read_page_by_page() -> Result<()> {
    let case = Case::new("api_large_rejects", 1, History::Nowhere)?;
    let (topic, count) = (case.topic("geo"), 900);
    let producer = Producer::new(&case.kafka.bootstrap())?;
    let large = "x".repeat(4_000);
    for _ in 0..count {
        producer.send(
            &topic,
            Message {
                partition: Some(0),
                key: Some(large.as_bytes()),
                value: Some(large.as_bytes()),
            },
        )?;
    }
    producer.flush()?;
    let (mut run, address) = start(&case, &[])?;
    case.reaches(&mut run, "geo", 0, count)?;
    let (mut seen, mut pages, mut cursor) = (0, 0, String::new());
    loop {
        let page = ask_json(&address, &format!("/api/rejects?limit=1000{cursor}"))?;
        seen += page["rows"].as_array().context("rows")?.len();
        pages += 1;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    ensure!(
        seen == count as usize && pages > 1,
        "{seen} dead letters on {pages} pages"
    );
    stop(run)
}

/// The graph is that of the run: what was read passes along its edges, up to the commit.
#[test]
fn the_dataflow_is_shown_with_what_passes_and_the_settings_without_secrets() -> Result<()> {
    let case = Case::new("api_dataflow", 1, History::Nowhere)?;
    send(&case, 0, 100)?;
    let command = case.command("run").args(["--listen", "127.0.0.1:0", "-w", "2"]);
    let password = [("PINFLOW__KAFKA__PROPERTIES__SASL_PASSWORD", "hunter2-of-kafka")];
    let command = password
        .iter()
        .fold(command, |command, (name, value)| command.env(name, value));
    let (run, address) = listening(command.start()?)?;
    let pins = case.topic("pin");
    ask_json(&address, &format!("/api/frontier?at_least={pins}/0:99&timeout=60s"))?;
    // a first sample, from which rates are
    ask_json(&address, "/api/dataflow")?;
    send(&case, 100, 200)?;
    ask_json(&address, &format!("/api/frontier?at_least={pins}/0:299&timeout=60s"))?;
    let body = ask_json(&address, "/api/dataflow")?;
    ensure!(body["workers"] == 2, "{body}");
    let window = body["window_seconds"].as_f64().context("no window")?;
    ensure!(window > 0.0 && window < 11.0, "{body}");
    let nodes = body["operators"].as_array().context("no operators")?;
    let stages: BTreeMap<&str, u64> = nodes
        .iter()
        .filter_map(|node| Some((node["id"].as_str()?, node["stage"].as_u64()?)))
        .collect();
    ensure!(stages.len() == nodes.len() && nodes.len() < 60, "{body}");
    let sources: Vec<&str> = nodes
        .iter()
        .filter(|of| of["kind"] == "source")
        .filter_map(|of| of["id"].as_str())
        .collect();
    let kafka = ["geo", "pin", "user"].map(|kind| format!("kafka/{}", case.topic(kind)));
    ensure!(sources == kafka, "{sources:?}");
    let results = nodes.iter().filter(|of| of["kind"] == "result").count();
    ensure!(results == 10 && stages["read"] == 1, "{body}");
    let edges = body["edges"].as_array().context("no edges")?;
    let (mut into, mut out_of) = (BTreeMap::new(), BTreeMap::new());
    for edge in edges {
        let (Some(from), Some(to)) = (edge["from"].as_str(), edge["to"].as_str()) else {
            anyhow::bail!("{edge}");
        };
        ensure!(stages[from] < stages[to], "{edge}: {stages:?}");
        let rate = edge["records_per_second"].as_f64().context("no rate")?;
        *into.entry(to).or_insert(0.0) += rate;
        *out_of.entry(from).or_insert(0.0) += rate;
    }
    // every node is on a way from a source to the commit
    for id in stages.keys() {
        ensure!(*id == "commit" || out_of.contains_key(id), "{id} leads nowhere: {body}");
        ensure!(
            id.starts_with("kafka/") || into.contains_key(id),
            "{id} comes from nowhere: {body}"
        );
    }
    // 600 records were read and became rows of results that were committed
    let about = |rate: f64, count: f64| (rate * window - count).abs() <= 0.2 * count;
    ensure!(
        about(into["read"], 600.0) && about(out_of["read"], 600.0),
        "{window} {body}"
    );
    ensure!(out_of["operator/0"] > 0.0 && into["commit"] > 0.0, "{body}");
    ensure!(
        nodes
            .iter()
            .any(|of| of["kind"] == "operator" && of["bytes"].as_u64() > Some(0)),
        "{body}"
    );

    let status = ask_json(&address, "/api/status")?;
    let latency = &status["latency_ms"];
    ensure!(latency["visible"] == status["freshness_ms"], "{status}");
    ensure!(latency["commit"]["p50"].as_f64() > Some(0.0), "{status}");
    eventually("a look at Kafka", SOON, || {
        let status = ask_json(&address, "/api/status")?;
        Ok(status["latency_ms"]["broker"]["p99"].as_f64() > Some(0.0))
    })?;

    let configuration = ask(&address, "/api/configuration", &[])?;
    ensure!(!configuration.body.contains("hunter2"), "{}", configuration.body);
    let settings = configuration.json()?;
    let setting = |key: &str| {
        let of_key = settings["settings"]
            .as_array()
            .and_then(|all| all.iter().find(|of| of["key"] == key));
        of_key.cloned().unwrap_or_default()
    };
    let expected = json!({"key": "workers.threads", "value": "2", "source": "flag", "origin": "--threads"});
    ensure!(setting("workers.threads") == expected, "{settings}");
    let expected = json!({"key": "kafka.properties.sasl.password", "value": "***", "source": "environment",
        "origin": "PINFLOW__KAFKA__PROPERTIES__SASL_PASSWORD"});
    ensure!(setting("kafka.properties.sasl.password") == expected, "{settings}");
    ensure!(setting("engine.pace")["source"] == "default", "{settings}");
    let audit = ask(&address, "/api/audit", &[])?;
    ensure!(
        audit.status == 404
            && audit.json()?["hint"]
                .as_str()
                .is_some_and(|hint| hint.contains("pinflow audit")),
        "{audit:?}"
    );
    for path in ["/api/dataflow?x=1", "/api/configuration?x=1"] {
        ensure!(ask(&address, path, &[])?.status == 400, "{path}");
    }
    stop(run)
}

#[test]
fn tokens_open_what_their_scopes_say() -> Result<()> {
    let case = Case::new("api_tokens", 1, History::Nowhere)?;
    case.send("pin", 0, &["not a record".to_owned(), pin(1, "art")])?;
    let file = case.folder().join("tokens");
    write_private(
        &file,
        "reading-token-001 scopes=read\nraw-token-0000001 scopes=read,raw\nmetrics-token-01 scopes=metrics\n",
    )?;
    let file = file.to_str().context("a path")?;
    let (run, address) = start(
        &case,
        &["--token-file", file, "--cors-origin", "https://pins.example.com"],
    )?;
    let with = |path: &str, token: &str| ask(&address, path, &[("x-api-key", token)]);
    eventually("the first commit", SOON, || {
        Ok(with("/api/results", "reading-token-001")?.status == 200)
    })?;
    for path in [
        "/api/results",
        "/api/changes",
        "/api/dataflow",
        "/api/configuration",
        "/openapi.json",
        "/api/nothing",
    ] {
        let refused = ask(&address, path, &[])?;
        ensure!(
            refused.status == 401 && refused.json()?["hint"].is_string(),
            "{path} {refused:?}"
        );
        ensure!(with(path, "metrics-token-01")?.status == 403, "{path}");
    }
    let rejects = with("/api/rejects", "reading-token-001")?.json()?;
    ensure!(
        rejects["rows"][0]["offset"] == 0 && rejects["rows"][0].get("value").is_none(),
        "{rejects}"
    );
    ensure!(with("/api/rejects?raw=true", "reading-token-001")?.status == 403);
    let rejects = with("/api/rejects", "raw-token-0000001")?.json()?;
    ensure!(rejects["rows"][0]["value"] == "bm90IGEgcmVjb3Jk", "{rejects}");
    let token = ("x-api-key", "reading-token-001");
    let page = ask(
        &address,
        "/api/results",
        &[token, ("origin", "https://pins.example.com")],
    )?;
    ensure!(
        page.header("access-control-allow-origin") == "https://pins.example.com",
        "{page:?}"
    );
    ensure!(
        ask(
            &address,
            "/api/results",
            &[token, ("origin", "https://other.example.com")]
        )?
        .status
            == 403
    );
    stop(run)
}
