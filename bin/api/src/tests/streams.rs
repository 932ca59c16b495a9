//! Streams of tables that are not held in memory.

use super::*;

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
