//! What is refused as a whole, with which status, and what the HTTP server says by itself.

use crate::http::{Answer, Connection, JSON, V2, V2_BINARY};
use crate::limits::{REQUESTS, gateway};
use crate::{Gateway, SOON, kafka};
use anyhow::{Result, ensure};
use pinflow_tests::clients::allow;
use pinflow_tests::{Kafka, eventually, write_private};
use serde_json::json;

/// None of the records of a request is written when one of them cannot be.
#[test]
fn a_wrong_record_refuses_the_whole_request_of_rest_v2() -> Result<()> {
    let kafka = kafka()?;
    kafka.create_topic("whole.pin", 2, &[])?;
    let gateway = Gateway::start(kafka, &["--topics", "pin=whole.pin"])?;
    let base64 = |what: &str| format!("Record {what} contains invalid base64 encoding");
    let partition = "partition must be greater than or equal to 0".to_owned();
    for (kind, path, body, text) in [
        (
            V2_BINARY,
            "",
            r#"{"records":[{"value":"aGk="},{"value":"!"}]}"#,
            base64("value"),
        ),
        (
            V2_BINARY,
            "",
            r#"{"records":[{"value":"!"},{"value":"aGk="}]}"#,
            base64("value"),
        ),
        (
            V2_BINARY,
            "",
            r#"{"records":[{"value":"aGk="},{"key":"a","value":"aGk="}]}"#,
            base64("key"),
        ),
        (
            V2_BINARY,
            "",
            r#"{"records":[{"value":"aGk="},{"value":{"a":1}}]}"#,
            base64("value"),
        ),
        (
            V2_BINARY,
            "",
            r#"{"records":[{"value":"aGk="},{"value":7}]}"#,
            base64("value"),
        ),
        (
            V2,
            "",
            r#"{"records":[{"value":1},{"value":2,"partition":-1}]}"#,
            partition.clone(),
        ),
        (
            V2,
            "/partitions/1",
            r#"{"records":[{"value":1},{"value":2,"partition":-2147483649}]}"#,
            partition.clone(),
        ),
        (V2, "/partitions/-1", r#"{"records":[{"value":1}]}"#, partition),
    ] {
        let answer = gateway.ask(&format!("POST /topics/whole.pin{path}"), &[kind], body)?;
        let expected = json!({ "error_code": 422, "message": text }).to_string();
        assert_eq!((answer.status, answer.body), (422, expected), "{path} {body}");
    }
    let one = r#"{"records":[{"value":1}]}"#;
    for (path, code) in [
        ("x", 404),
        ("99999999999", 40402),
        ("2147483648", 40402),
        ("2", 40402),
        ("", 405),
    ] {
        let answer = gateway.ask(&format!("POST /topics/whole.pin/partitions/{path}"), &[V2], one)?;
        if code != 405 {
            assert_eq!(answer.json()?["error_code"], json!(code), "{path}: {answer:?}");
        }
        ensure!(answer.status == 404, "{path}: {answer:?}");
    }
    for partition in 0..2 {
        assert_eq!(kafka.watermarks("whole.pin", partition)?.1, 0, "something was written");
    }
    gateway.end()?;
    Ok(())
}

/// Apache Kafka with users and ACLs: what Kafka does not let the gateway do is 403, and 401 where it does not know it.
#[test]
fn kafkas_acls_are_403_and_its_authentication_401() -> Result<()> {
    let login = "org.apache.kafka.common.security.plain.PlainLoginModule required user_gateway=\"secret-1\" user_other=\"secret-2\";";
    let (kafka, bootstrap) = Kafka::start_sasl(
        "PLAIN",
        login,
        &[
            (
                "authorizer.class.name",
                "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            ),
            ("super.users", "User:ANONYMOUS"),
        ],
    )?;
    kafka.create_topic("acl.pin", 1, &[])?;
    kafka.create_topic("acl.geo", 1, &[])?;
    allow(&kafka, "User:gateway", "acl.pin", &["DESCRIBE"])?;
    allow(&kafka, "User:gateway", "open.pin", &["DESCRIBE", "WRITE"])?;
    allow(&kafka, "User:other", "acl.pin", &["DESCRIBE"])?;
    let start = |user: &str, password: &str| -> Result<Gateway> {
        let command = pinflow_tests::Pinflow::new("gateway")
            .args([
                "--listen",
                "127.0.0.1:0",
                "--kafka",
                &bootstrap,
                "--topics",
                "pin=acl.pin,geo=acl.geo",
            ])
            .args(["--delete-topics", "--create-topics"])
            .args(["--kafka-property", "security.protocol=SASL_PLAINTEXT"])
            .args(["--kafka-property", "sasl.mechanism=PLAIN"])
            .args(["--kafka-property", &format!("sasl.username={user}")])
            .env("PINFLOW__KAFKA__PROPERTIES__SASL_PASSWORD", password)
            .env("PINFLOW__GATEWAY__PRODUCE_TIMEOUT", "10s");
        Gateway::launch_unready(&command)
    };
    let requests = |kind: &str| {
        [
            (
                format!("POST /{kind}/"),
                JSON,
                if kind == "geo" {
                    r#"{"ind":1}"#.to_owned()
                } else {
                    pin()
                },
            ),
            (
                format!("POST /topics/acl.{kind}"),
                V2,
                r#"{"records":[{"value":{"ind":1}}]}"#.to_owned(),
            ),
            (
                format!("POST /v3/clusters/c/topics/acl.{kind}/records"),
                JSON,
                r#"{"value":{"data":{"ind":1}}}"#.to_owned(),
            ),
            (
                format!("PUT /streams/acl.{kind}/record"),
                JSON,
                r#"{"Data":{"ind":1},"PartitionKey":"k"}"#.to_owned(),
            ),
            (
                format!("PUT /streams/acl.{kind}/records"),
                JSON,
                r#"{"records":[{"data":"{}","partition-key":"k"}]}"#.to_owned(),
            ),
        ]
    };
    let gateway = start("gateway", "secret-1")?;
    // one that it may see and not write to, and one that it may not even see
    for kind in ["pin", "geo"] {
        for (line, media, body) in requests(kind) {
            let answer = settled(&gateway, &line, &[media], &body)?;
            assert_eq!(
                (answer.status, answer.header("www-authenticate")),
                (403, ""),
                "{line}: {answer:?}"
            );
            ensure!(
                !line.contains("/topics/") || answer.body.contains("40301"),
                "{line}: {answer:?}"
            );
            ensure!(
                !line.contains("/streams/") || answer.body.contains("AccessDeniedException"),
                "{line}: {answer:?}"
            );
        }
    }
    for line in ["DELETE /streams/acl.pin", "GET /topics/acl.geo", "GET /streams/acl.geo"] {
        let answer = gateway.ask(line, &[], "")?;
        assert_eq!(answer.status, 403, "{line}: {answer:?}");
    }
    let answer = gateway.ask("POST /topics/other.pin", &[V2], r#"{"records":[{"value":{"ind":1}}]}"#)?;
    assert_eq!(answer.status, 403, "a topic that may not be created: {answer:?}");
    gateway.end()?;

    // one that may write nowhere at all does not even become a producer
    let gateway = start("other", "secret-2")?;
    eventually("the refusal", SOON, || {
        let answer = gateway.ask("POST /topics/acl.pin", &[V2], r#"{"records":[{"value":{"ind":1}}]}"#)?;
        ensure!(matches!(answer.status, 200 | 403), "{answer:?}");
        Ok(answer.status == 403)
    })?;
    for (line, media, body) in requests("pin") {
        assert_eq!(settled(&gateway, &line, &[media], &body)?.status, 403, "{line}");
    }
    gateway.end()?;

    let gateway = start("gateway", "wrong")?;
    eventually("the refusal", SOON, || {
        let answer = gateway.ask("POST /topics/acl.pin", &[V2], r#"{"records":[{"value":{"ind":1}}]}"#)?;
        ensure!(matches!(answer.status, 401 | 503), "{answer:?}");
        Ok(answer.status == 401)
    })?;
    for (line, media, body) in requests("pin") {
        let answer = gateway.ask(&line, &[media], &body)?;
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, ""),
            "{line}: {answer:?}"
        );
        ensure!(
            !answer.body.contains("127.0.0.1") && !answer.body.contains("wrong"),
            "{answer:?}"
        );
        ensure!(
            !line.contains("/topics/") || answer.body.contains("40101"),
            "{line}: {answer:?}"
        );
    }
    ensure!(gateway.ask("GET /readyz", &[], "")?.status == 503);
    gateway.end()?;
    Ok(())
}

/// The answer that is not to try again: a producer that was refused gets a new id from Kafka, which takes its time.
fn settled(gateway: &Gateway, line: &str, headers: &[(&str, &str)], body: &str) -> Result<Answer> {
    let mut answer = gateway.ask(line, headers, body)?;
    eventually("an answer that is final", SOON, || {
        if answer.status == 503 {
            answer = gateway.ask(line, headers, body)?;
        }
        Ok(answer.status != 503)
    })?;
    Ok(answer)
}

fn pin() -> String {
    let texts = [
        "category",
        "unique_id",
        "title",
        "description",
        "follower_count",
        "tag_list",
        "is_image_or_video",
        "image_src",
        "save_location",
    ];
    let mut record = json!({ "index": 1, "downloaded": 0 });
    for text in texts {
        record[text] = json!("x");
    }
    record.to_string()
}

/// Who waits for leave to send a body that is not wanted gets no leave.
#[test]
fn a_refused_expectation_gets_no_100() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let tokens = folder.path().join("tokens");
    write_private(&tokens, "first-token-0001\n")?;
    let file = tokens.to_string_lossy().into_owned();
    let (gateway, _folder) = gateway("body_bytes = 10000\n", &["--token-file", &file])?;
    let token = "x-api-key: first-token-0001\r\n";
    let (json, v2) = (
        "content-type: application/json\r\n",
        "content-type: application/vnd.kafka.json.v2+json\r\n",
    );
    for (line, headers, length, status) in [
        ("POST /geo/", json.to_owned(), 9, 401),
        ("POST /topics/lim.geo", v2.to_owned(), 9, 401),
        ("PUT /streams/x-geo/record", json.to_owned(), 9, 401),
        ("POST /v3/clusters/c/topics/lim.geo/records", json.to_owned(), 9, 401),
        ("POST /topics/lim.geo", format!("{token}{json}"), 9, 415),
        ("POST /topics/nothing", format!("{token}{v2}"), 9, 404),
        ("POST /topics/lim.geo/partitions/-1", format!("{token}{v2}"), 9, 422),
        (
            "POST /v3/clusters/c/topics/nothing/records",
            format!("{token}{json}"),
            9,
            404,
        ),
        ("POST /geo/", format!("{token}{json}"), 10_001, 413),
        ("POST /nothing", format!("{token}{json}"), 9, 404),
        ("GET /geo/", format!("{token}{json}"), 9, 405),
        ("PUT /healthz", format!("{token}{json}"), 9, 405),
    ] {
        let mut connection = Connection::open(gateway.at)?;
        let head = format!(
            "{line} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}expect: 100-continue\r\ncontent-length: {length}\r\n\r\n"
        );
        connection.write(head.as_bytes())?;
        let answer = connection.answer()?;
        assert_eq!(
            (answer.status, answer.header("connection")),
            (status, "close"),
            "{line}: {answer:?}"
        );
        ensure!(connection.is_closed()?, "{line}");
    }
    let mut connection = Connection::open(gateway.at)?;
    let head = format!(
        "POST /geo/ HTTP/1.1\r\nhost: 127.0.0.1\r\n{token}{json}expect: 100-continue\r\ncontent-length: 9\r\n\r\n"
    );
    connection.write(head.as_bytes())?;
    assert_eq!(connection.head()?.0, 100);
    connection.write(br#"{"ind":1}"#)?;
    assert_eq!(connection.answer()?.status, 200);
    gateway.end()?;
    Ok(())
}

/// A stream whose first record cannot be taken now says when to try again.
#[test]
fn the_first_record_of_a_stream_says_when_to_try_again() -> Result<()> {
    let mut kafka = Kafka::start()?;
    kafka.create_topic("lim.geo", 1, &[])?;
    let settings = "body_bytes = 60000\nin_flight_bytes = 65536\nproduce_timeout = \"2s\"\nbody_timeout = \"3s\"\n";
    let (gateway, _folder) = Gateway::configured(&kafka, "lim.geo", settings, &[])?;
    let (line, kind, body) = REQUESTS[2];
    assert_eq!(gateway.ask(line, &[kind], body)?.status, 200);
    kafka.freeze()?;
    let answer = gateway.ask(line, &[kind], body)?;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"), "{answer:?}");
    let filling = format!(
        "{{\"value\":{{\"data\":{{\"ind\":1,\"x\":\"{}\"}}}}}}",
        "x".repeat(59_000)
    );
    let mut first = Connection::open(gateway.at)?;
    first.send(line, &[kind], filling.as_bytes())?;
    eventually("bytes in flight", SOON, || {
        Ok(gateway.metric("pinflow_gateway_in_flight_bytes")? > 59_000.0)
    })?;
    let large = format!("{{\"value\":{{\"data\":\"{}\"}}}}", "x".repeat(20_000));
    let answer = gateway.ask(line, &[kind], &large)?;
    ensure!(matches!(answer.status, 429 | 503), "{answer:?}");
    assert_eq!(answer.header("retry-after"), "1", "{answer:?}");
    kafka.thaw()?;
    gateway.end()?;
    Ok(())
}

/// What is no request is answered by the HTTP server: with an id, in the log and in the metrics, also behind requests
/// on the same connection.
#[test]
fn what_is_no_request_is_logged_counted_and_has_an_id() -> Result<()> {
    let (gateway, _folder) = gateway("", &[])?;
    let long = format!(
        "GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nx-a: {}\r\n\r\n",
        "x".repeat(30_000)
    );
    let many = format!("GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n{}\r\n", "x-a: 1\r\n".repeat(150));
    let path = format!("GET /{} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", "x".repeat(70_000));
    let cases: [(&[u8], u16); 7] = [
        (b"NO REQUEST\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno header\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/7.7\r\n\r\n", 400),
        (long.as_bytes(), 431),
        (many.as_bytes(), 431),
        (path.as_bytes(), 431),
    ];
    let mut ids = std::collections::BTreeSet::new();
    let health = b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    for (bytes, status) in cases {
        for (before, pause) in [(0, false), (1, false), (1, true), (3, false)] {
            let mut connection = Connection::open(gateway.at)?;
            let first = health.repeat(before);
            if pause {
                connection.write(&first)?;
                std::thread::sleep(std::time::Duration::from_millis(100));
                let _ = connection.write(bytes);
            } else {
                // all at once
                let _ = connection.write(&[&first[..], bytes].concat());
            }
            for _ in 0..before {
                assert_eq!(connection.answer()?.status, 200);
            }
            let (found, headers) = connection.head()?;
            ensure!(
                found == status || (status == 431 && found == 414),
                "{status}: {found} {headers:?}"
            );
            let id = headers.get("x-request-id").cloned().unwrap_or_default();
            ensure!(!id.is_empty() && ids.insert(id), "{headers:?}");
            assert_eq!(headers.get("connection").map(String::as_str), Some("close"));
        }
    }
    let counted = |status: u16| {
        let name = format!("pinflow_gateway_requests_total{{interface=\"http\",status=\"{status}\"}}");
        gateway.metric(&name).unwrap_or(0.0) as usize
    };
    assert_eq!(counted(400) + counted(431) + counted(414), ids.len());
    let log = gateway.end()?;
    for id in ids {
        let line = log.lines().find(|line| line.contains(&id));
        ensure!(
            line.is_some_and(|line| line.contains("\"interface\":\"http\"")),
            "{id}: {line:?}"
        );
    }
    Ok(())
}
