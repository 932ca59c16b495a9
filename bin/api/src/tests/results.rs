//! What is answered: the same from memory as from PostgreSQL, of one commit, and nothing that is not there.

use super::*;

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
