//! What a run is said to do, from what the engine tells.

use super::state::busiest;
use super::*;
use std::collections::BTreeMap;
use std::time::SystemTime;

fn status() -> Status {
    Status::new(None, || None)
}

fn reached(next: i64) -> Reached {
    Reached {
        next: Offset(next),
        newest: None,
    }
}

#[test]
fn the_shape_is_the_contract() {
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_500);
    let message = "cannot reach Kafka".to_owned();
    let error = LoggedError { at, message };
    let status = Status::new(None, move || Some(error.clone()));
    status.claimed(3, 369);
    status.kafka("pin", ingest::Partition(0), Offset::range(0..1));
    status.lake_end("pin", ingest::Partition(0), Offset(1));
    status.hydrated();
    status.committed(370, Duration::from_millis(4));
    status.frontier("pin", ingest::Partition(0), reached(1));
    status.freshness(Duration::from_millis(12));
    status.dead_letters("not_json", 2);
    status.dead_letters("not_json", 1);
    status.gaps(300);
    let body = serde_json::to_value(handle_status(&status)).unwrap();
    let expected = serde_json::json!({
        "phase": "live",
        "replay": { "percent": 100.0, "eta_seconds": 0.0 },
        "partitions": [{
            "topic": "pin", "partition": 0, "lake_end": 1, "start": 0, "frontier": 1, "end": 1,
            "lag_records": 0, "lag_seconds": 0.0, "trend": "steady",
        }],
        "commit": 370,
        "commits_per_second": 1.0,
        "freshness_ms": { "p50": 12.0, "p99": 12.0 },
        "latency_ms": {
            "visible": { "p50": 12.0, "p99": 12.0 },
            "commit": { "p50": 3.97, "p99": 3.97 },
            "broker": { "p50": null, "p99": null },
        },
        "operators": [],
        "rejects": { "not_json": 3 },
        "gaps": 300,
        "last_error": "cannot reach Kafka",
        "last_error_at": "1970-01-01T00:00:01.500Z",
        "bottleneck": "Nothing: no records arrive.",
    });
    assert_eq!(body, expected);
    let read: StatusBody = serde_json::from_value(body.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), body);
}

#[test]
fn phases_follow_one_another_and_percent_is_100_once_history_is_committed() {
    let status = status();
    let shown = || {
        let body = handle_status(&status);
        (body.phase, body.replay.percent)
    };
    assert_eq!(shown(), (Phase::Listing, 0.0));
    assert_eq!(handle_status(&status).replay.eta_seconds, None);
    status.history(3, 1000);
    assert_eq!(shown(), (Phase::Replaying, 0.0));
    status.object(10, 250, 0);
    assert_eq!(shown(), (Phase::Replaying, 25.0));
    assert!(handle_status(&status).replay.eta_seconds.unwrap() >= 0.0);
    status.object(10, 750, 0);
    assert_eq!(shown(), (Phase::Replaying, 99.9));
    // its commit fails, and it is read again
    status.committing();
    status.history(3, 1000);
    assert_eq!(shown(), (Phase::Replaying, 0.0));
    assert_eq!(status.locked().committing, None);
    status.hydrated();
    assert_eq!(shown(), (Phase::Live, 100.0));
    // nothing of a new partition is committed for longer than a run may be behind
    let long_ago = (jiff::Timestamp::now().as_millisecond()) - 60_000;
    status.frontier(
        "pin",
        ingest::Partition(0),
        Reached {
            next: Offset(5),
            newest: Some(long_ago),
        },
    );
    status.kafka("pin", ingest::Partition(0), Offset::range(0..50));
    assert_eq!(shown(), (Phase::CatchingUp, 100.0));
    status.frontier("pin", ingest::Partition(0), reached(50));
    assert_eq!(shown(), (Phase::Live, 100.0));
}

#[test]
fn before_the_first_commit_the_last_run_s_is_told() {
    let status = status();
    status.claimed(3, 370);
    status.frontier("pin", ingest::Partition(0), reached(7));
    status.kafka("geo", ingest::Partition(1), Offset::range(2..9));
    let body = handle_status(&status);
    assert_eq!(body.commit, 370);
    let shown: Vec<_> = body
        .partitions
        .iter()
        .map(|of| (of.topic.as_str(), of.frontier, of.end))
        .collect();
    assert_eq!(shown, [("geo", None, 9), ("pin", Some(7), 7)]);
}

#[test]
fn the_busiest_worker_is_named_with_its_operator() {
    let busy = [
        ((0, "Read"), 0.5),
        ((0, "other"), 0.1),
        ((1, "Read"), 0.3),
        ((1, "a: count"), 0.6),
    ];
    let busy = busy.map(|((worker, name), share)| ((worker, name.to_owned()), share));
    let found = busiest(&busy.into()).unwrap();
    assert_eq!((found.worker, found.operator), (1, ("a: count".to_owned(), 0.6)));
    assert!((found.share - 0.9).abs() < 1e-9);
    assert_eq!(busiest(&BTreeMap::new()), None);
}

#[test]
fn a_replay_that_waits_says_for_what() {
    let status = status();
    status.history(2, 10);
    status.waits(0, Some(Wait::Lake));
    // the first sample is taken with the first answer
    handle_status(&status);
    std::thread::sleep(Duration::from_millis(50));
    let sentence = handle_status(&status).bottleneck;
    assert!(sentence.starts_with("The lake: workers wait "), "{sentence}");
}
