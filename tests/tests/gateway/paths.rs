//! Which paths lead to an interface: nothing that a proxy in front lets pass as one thing is another thing here.

use crate::http::{JSON, V2};
use crate::limits::{REQUESTS, gateway};
use anyhow::{Result, ensure};
use pinflow_tests::write_private;

/// The interfaces' writing paths behind something that is no prefix: nothing is written, whoever asks.
#[test]
fn an_open_path_is_no_prefix_of_a_writing_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tokens = folder.path().join("tokens");
    write_private(&tokens, "first-token-0001\n")?;
    let file = tokens.to_string_lossy().into_owned();
    let (gateway, _folder) = gateway("", &["--token-file", &file])?;
    let token = ("x-api-key", "first-token-0001");
    for prefix in [
        "/healthz",
        "/readyz",
        "/version",
        "/openapi.json",
        "/metrics",
        "/HEALTHZ",
        "/%68ealthz",
        "/healthz/",
        "/healthz//",
        "/healthz/..",
        "/healthz%2f..",
        "/test/healthz",
        "/a/b",
        "/v3",
        "/topics",
        "/streams",
        "/pin",
    ] {
        for (line, kind, body) in REQUESTS {
            let (method, path) = line.split_once(' ').unwrap_or_default();
            // a topic may have the name of a kind
            if matches!((prefix, path), ("/topics" | "/streams", "/geo/")) {
                continue;
            }
            for headers in [&[kind][..], &[kind, token]] {
                let answer = gateway.ask(&format!("{method} {prefix}{path}"), headers, body)?;
                ensure!(matches!(answer.status, 401 | 404), "{prefix}{path}: {answer:?}");
            }
        }
        let answer = gateway.ask(&format!("GET {prefix}/healthz"), &[], "")?;
        ensure!(answer.status != 200, "{prefix}/healthz: {answer:?}");
    }
    // other tests write to the topic meanwhile
    let metrics = gateway.ask("GET /metrics", &[token], "")?;
    ensure!(metrics.status == 200, "{metrics:?}");
    let mut taken = metrics
        .body
        .lines()
        .filter(|line| line.starts_with("pinflow_gateway_records_total"));
    ensure!(
        taken.all(|line| line.ends_with(" 0")),
        "something was written: {metrics:?}"
    );
    for (line, kind, body) in REQUESTS {
        let staged = line.replace(" /", " /stage/");
        assert_eq!(gateway.ask(&staged, &[kind, token], body)?.status, 200, "{staged}");
        assert_eq!(gateway.ask(&staged, &[kind], body)?.status, 401, "{staged}");
    }
    gateway.end()?;
    Ok(())
}

#[test]
fn configured_prefixes_are_all_there_are() -> Result<()> {
    let (gateway, _folder) = gateway("prefixes = [\"/prod\", \"/api/kafka\"]\n", &[])?;
    for (line, kind, body) in REQUESTS {
        for (prefix, status) in [
            ("", 200),
            ("/prod", 200),
            ("/api/kafka", 200),
            ("/test", 404),
            ("/api", 404),
        ] {
            let line = line.replacen(" /", &format!(" {prefix}/"), 1);
            assert_eq!(gateway.ask(&line, &[kind], body)?.status, status, "{line}");
        }
    }
    gateway.end()?;
    Ok(())
}

/// What the old servers had and the gateway has not is missed in their words.
#[test]
fn unknown_paths_are_missed_in_their_interfaces_words() -> Result<()> {
    let (gateway, _folder) = gateway("", &[])?;
    let v2 = (
        "application/vnd.kafka.v2+json",
        "{\"error_code\":404,\"message\":\"HTTP 404 Not Found\"}",
    );
    let v3 = ("application/json", v2.1);
    let kinesis = (
        "application/json",
        "{\"__type\":\"UnknownOperationException\",\"message\":\"Not Found\"}",
    );
    for (line, (kind, body)) in [
        ("GET /brokers", v2),
        ("GET /stage/topics/lim.geo/partitions", v2),
        ("POST /topics/lim.geo/partitions/0/messages", v2),
        ("GET /v3", v3),
        ("GET /v3/clusters/c/brokers", v3),
        ("GET /v3/clusters/c/topics/lim.geo/configs", v3),
        ("GET /kafka/v3/clusters/c/topics/lim.geo/partitions/0/replicas", v3),
        ("POST /streams/s/shards", kinesis),
    ] {
        let answer = gateway.ask(line, &[], "")?;
        assert_eq!(
            (answer.status, answer.header("content-type"), answer.body.as_str()),
            (404, kind, body),
            "{line}"
        );
    }
    let answer = gateway.ask("GET /v3/clusters/c/topics/lim.geo/records", &[], "")?;
    let words = "{\"error_code\":405,\"message\":\"HTTP 405 Method Not Allowed\"}";
    assert_eq!(
        (answer.status, answer.header("content-type"), answer.body.as_str()),
        (405, "application/json", words)
    );
    assert_eq!(gateway.ask("PATCH /topics/lim.geo", &[V2], "")?.status, 405);
    assert_eq!(
        gateway.ask("POST /nothing", &[JSON], "{}")?.body,
        "{\"detail\":\"Not Found\"}"
    );
    gateway.end()?;
    Ok(())
}

#[test]
fn a_path_that_is_too_long_is_missed_wherever_it_is_cut() -> Result<()> {
    let (gateway, _folder) = gateway("", &[])?;
    for long in [2047, 2048, 2049] {
        let answer = gateway.ask(&format!("GET /{}\u{e9}x", "a".repeat(long - 1)), &[], "")?;
        ensure!(answer.status == 404, "{long}: {answer:?}");
    }
    Ok(())
}

#[test]
fn a_question_creates_no_topic() -> Result<()> {
    let (gateway, _folder) = gateway("", &["--create-topics", "--alias", "asked=asked.geo"])?;
    for question in [
        "GET /streams/asked",
        "GET /topics/asked",
        "GET /v3/clusters/c/topics/asked",
    ] {
        let answer = gateway.ask(question, &[], "")?;
        ensure!((400..=404).contains(&answer.status), "{question}: {answer:?}");
    }
    ensure!(!crate::kafka()?.topics()?.iter().any(|name| name == "asked.geo"));
    Ok(())
}
