//! Requests that take long, and those that come meanwhile.

use super::*;

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

/// Clients that do not take what they asked for leave a connection to others.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_taken_slowly_leave_room_for_short_ones() {
    let Some(mut setting) = Setting::new().await else {
        return;
    };
    setting.fill(40_000).await;
    let api = setting.api(NOTHING_HELD).await;
    let long = || async {
        let request = Request::get("/api/results/long").body(()).unwrap();
        api.answer(&request.into_parts().0, Access { raw: true }).await
    };
    let mut slow = Vec::new();
    let refused = loop {
        let answer = long().await;
        if answer.status() != StatusCode::OK {
            break answer;
        }
        slow.push(answer);
        assert!(slow.len() < 10, "nobody is refused");
    };
    assert_eq!((slow.len(), refused.status()), (3, StatusCode::SERVICE_UNAVAILABLE));
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    assert!(
        String::from_utf8_lossy(&body).contains("on their way already"),
        "{body:?}"
    );
    for path in ["/api/gaps", "/api/rejects", "/api/results/long?n=eq.7"] {
        assert_eq!(get(&api, path, "*/*").await.0, StatusCode::OK, "{path}");
    }
    // one is given up, and another one is read to its end
    slow.pop();
    let whole = slow.pop().unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(
        numbers(&serde_json::from_slice::<Json>(&whole).unwrap()["rows"]).len(),
        40_000
    );
    for _ in 0..2 {
        slow.push(long().await);
    }
    assert!(slow.iter().all(|answer| answer.status() == StatusCode::OK));
}
